//! The status page's data: what a program and a terminal get, in parts, with headers that forbid all else.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::server_config::Builder;
use crate::support::{Gateways, Kamailio, Probed};
use crate::watch::{becomes, probing};

const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a part at most, without its headers.
const MOST: usize = 16 * 1024;

pub const ROUTE: &str = r#"
event_route[xhttp:request] {
    if ($hu =~ "^/status([?].*)?$") { ds_status_page(); exit; }
    xhttp_reply("404", "Not Found", "text/plain", "");
}
"#;

/// With the page, beside what it has already.
pub fn with_page(builder: Builder) -> Builder {
    builder.tcp().module("xhttp").globals("tcp_accept_no_cl=yes\n").more_route(ROUTE)
}

/// An answer: its status, its headers and its body.
pub struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        assert!(self.head.contains("\r\nContent-Type: application/json\r\n"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Asks on a connection of its own.
#[track_caller]
fn ask(server: &Kamailio, method: &str, path: &str, accept: &str) -> Answer {
    let mut stream = TcpStream::connect(server.address()).expect("a TCP listen");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let accept = if accept.is_empty() { String::new() } else { format!("Accept: {accept}\r\n") };
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: kamailio\r\n{accept}Content-Length: 0\r\n\r\n")
        .unwrap();
    let (mut answer, mut part) = (Vec::new(), [0; 65536]);
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length.expect("a length").trim().parse().unwrap();
            if body.len() >= length {
                let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
                return Answer { status, head: format!("{head}\r\n"), body: body.to_owned() };
            }
        }
        let len = stream.read(&mut part).expect("the rest of the answer");
        assert!(len > 0, "the answer ends early: {text}");
        answer.extend(&part[..len]);
    }
}

#[track_caller]
fn get(server: &Kamailio, query: &str) -> Answer {
    let answer = ask(server, "GET", &format!("/status{query}"), "*/*");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

/// All parts of an answer in JSON, each no longer than it may be; each destination as set and position, with its row.
#[track_caller]
fn all_parts(server: &Kamailio, query: &str) -> Vec<((i64, u64), Value)> {
    let (mut all, mut from) = (Vec::new(), String::new());
    loop {
        let answer = get(server, &format!("?format=json{query}{from}"));
        assert!(answer.body.len() <= MOST, "{} bytes", answer.body.len());
        let part = answer.json();
        for group in part["part"].as_array().unwrap() {
            let first = group["from"].as_u64().unwrap();
            for (n, row) in group["rows"].as_array().unwrap().iter().enumerate() {
                all.push(((group["set"].as_i64().unwrap(), first + n as u64), row.clone()));
            }
        }
        match part["next"].as_str() {
            Some(next) => from = format!("&from={next}"),
            None => return all,
        }
    }
}

/// The rows as they are, without parts.
#[track_caller]
fn objects(server: &Kamailio) -> Vec<Value> {
    all_parts(server, "").into_iter().map(|(_, row)| row).collect()
}

#[test]
fn json_says_what_rpc_says_of_each_destination() {
    let gateways = Gateways::answering(2, 200);
    let list = gateways.list(1, "maxload=7;weight=30") + "-2 sip:127.0.2.1;transport=tcp 4 3\n";
    // An ACK is not chosen for: it may still be under way when the figures are read.
    let route = "request_route { if (!is_method(\"ACK\")) ds_select_dst(\"1\", \"10\"); t_relay(); }\n";
    let mut server = with_page(Kamailio::builder().list(list).route(route)).start();
    let mut agent = server.agent();
    let mut calls = [agent.call(), agent.call(), agent.call()];
    for call in &mut calls {
        assert_eq!(agent.place(call).status(), Some(200));
    }
    let all = objects(&server);
    let full = server.rpc("dispatcher.list", json!(["full"])).unwrap();
    let sets = full["RECORDS"].as_array().unwrap();
    let told: Vec<_> =
        sets.iter().flat_map(|set| set["SET"]["TARGETS"].as_array().unwrap().clone()).collect();
    let stats = server.rpc("dispatcher.stats", json!([])).unwrap();
    assert_eq!((all.len(), told.len()), (3, 3));
    for ((row, told), stats) in all.iter().zip(&told).zip(stats.as_array().unwrap()) {
        let told = &told["DEST"];
        assert_eq!((&row["uri"], &row["state"]), (&told["URI"], &told["FLAGS"]));
        assert_eq!(row["priority"], told["PRIORITY"]);
        assert_eq!((&row["code"], &row["reason"]), (&told["HEALTH"]["CODE"], &told["HEALTH"]["REASON"]));
        for name in ["maxload", "load", "latency_milliseconds"] {
            assert_eq!(row[name], stats[name.to_uppercase()], "{name}");
        }
        for name in ["selected", "failed_over", "refused", "failed_probes"] {
            assert_eq!(row[name], stats[format!("{}_TOTAL", name.to_uppercase())], "{name}");
        }
    }
    assert_eq!(all[0]["reason"], json!("disabled by the flags of its line or row"));
    assert_eq!(all[1]["load"].as_i64().unwrap() + all[2]["load"].as_i64().unwrap(), 3);
    let mut one = all_parts(&server, "&set=-2");
    assert_eq!(one.len(), 1);
    assert_eq!(one.remove(0), ((-2, 0), all[0].clone()));
    // What the page asks for has the same values, without names.
    let list = all_parts(&server, "&rows=list");
    let now = all_parts(&server, "&rows=now");
    for (row, ((_, list), (_, now))) in all.iter().zip(list.iter().zip(&now)) {
        let expected = ["id", "uri", "duid", "name", "maxload", "priority", "weight"].map(|name| &row[name]);
        assert_eq!(list.as_array().unwrap().iter().collect::<Vec<_>>(), expected);
        let expected = [
            "id",
            "state",
            "load",
            "selected",
            "failed_over",
            "refused",
            "failed_probes",
            "latency_milliseconds",
            "changed",
            "code",
            "reason",
        ]
        .map(|name| &row[name]);
        assert_eq!(now.as_array().unwrap().iter().collect::<Vec<_>>(), expected);
    }
    server.assert_healthy();
    server.stop();
}

#[test]
fn twenty_thousand_destinations_come_in_short_parts_and_each_exactly_once() {
    const SETS: usize = 40;
    const EACH: usize = 500;
    let line = |n: usize| {
        let (set, at) = (n / EACH, n % EACH);
        format!(
            "{} sip:gw{at}@127.{}.{}.1:5060 0 0 duid=gw-{n};maxload=30\n",
            set as i64 - 3,
            set + 1,
            at / 2
        )
    };
    let list: String = (0..SETS * EACH).map(line).collect();
    let mut server = with_page(Kamailio::builder().list(list).shm_megabytes(512)).start();
    let due: BTreeSet<(i64, u64)> =
        (0..SETS * EACH).map(|n| ((n / EACH) as i64 - 3, (n % EACH) as u64)).collect();
    for rows in ["", "&rows=list", "&rows=now"] {
        let all = all_parts(&server, rows);
        assert_eq!(all.len(), due.len(), "each once");
        assert_eq!(all.into_iter().map(|(place, _)| place).collect::<BTreeSet<_>>(), due, "{rows}");
    }
    // As text, too.
    let (mut seen, mut from) = (BTreeSet::new(), String::new());
    loop {
        let body = get(&server, &from).body;
        assert!(body.len() <= MOST, "{} bytes", body.len());
        let duids = body.split("(gw-").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned());
        for duid in duids {
            assert!(seen.insert(duid), "twice: {body}");
        }
        match body.split_once("more: ") {
            Some((_, next)) => from = next.trim().to_owned(),
            None => break,
        }
    }
    assert_eq!(seen.len(), SETS * EACH);
    // From a set that is not there on, and of one.
    let part = get(&server, "?format=json&from=-100:77&count=1").json();
    assert_eq!((&part["part"][0]["set"], &part["next"]), (&json!(-3), &json!("-3:1")));
    let part = get(&server, "?format=json&from=5:9999&count=2").json();
    assert_eq!((&part["part"][0]["set"], &part["next"]), (&json!(6), &json!("6:2")));
    let part = get(&server, "?format=json&from=1000:0").json();
    assert_eq!((&part["part"], &part["next"]), (&json!([]), &Value::Null));
    server.assert_healthy();
    server.stop();
}

#[test]
fn the_longest_texts_make_no_part_too_long() {
    let long = "\u{e9}".repeat(300);
    let list: String =
        (0..40).map(|n| format!("1 sip:{n}@127.0.0.{n};x={long} 0 0 duid={n}{long}\n")).collect();
    let server = with_page(Kamailio::builder().list(list)).start();
    assert_eq!(server.list().len(), 40);
    assert_eq!(all_parts(&server, "").len(), 40);
    assert_eq!(get(&server, "?count=1").body.matches('…').count(), 2);
    server.stop();
}

const HOSTILE: &[u8] = b"<script>hostile()</script>\"' \\ \xff caf\xe9 & \x7f";

#[test]
fn odd_bytes_and_markup_come_out_as_text() {
    let gateway = Probed::start();
    gateway.behave(crate::support::Behaviour::Phrase(503, HOSTILE));
    let server = with_page(probing(1, "")).start();
    let line = [b"1 ", gateway.uri().as_bytes(), b" 0 0 duid=<img/src=x>\xe9\"'\n"].concat();
    std::fs::write(server.list_file(), line).unwrap();
    server.rpc("dispatcher.reload", json!([])).unwrap();
    becomes(&server, 0, "IP");
    let shown = "<script>hostile()</script>\"' \\ \\xff caf\\xe9 & \\x7f";
    let row = objects(&server).remove(0);
    assert_eq!((&row["code"], &row["reason"]), (&json!(503), &json!(shown)));
    assert!(row["duid"].as_str().unwrap().starts_with("<img/src=x>\\xe9"), "{row}");
    let text = get(&server, "");
    assert!(text.body.contains(shown) && !text.body.contains('\u{fffd}'), "{}", text.body);
    assert!(text.head.contains("Content-Type: text/plain; charset=utf-8\r\n"), "{}", text.head);
    server.stop();
}

#[test]
fn curl_gets_a_text_and_a_browser_the_page() {
    let list = "1 sip:127.0.1.1 0 0 duid=one;maxload=5\n1 sip:127.0.1.2 4\n7 sip:127.0.7.1\n";
    let server = with_page(Kamailio::builder().list(list)).start();
    let output = std::process::Command::new("curl")
        .args(["-sS", &format!("http://{}/status", server.address())])
        .output()
        .expect("curl is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "dispatcher: 2 sets, 0 calls counted since the start");
    assert_eq!(lines[2], "set 1: 2 destinations, 1 up, 1 with room");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(lines[5]), "AX 0/5 0 - - sip:127.0.1.1 (one)");
    assert_eq!(words(lines[4]), "DX 0/- 0 - - sip:127.0.1.2 disabled by the flags of its line or row");
    assert!(lines[7] == "set 7: 1 destination, 1 up, 1 with room" && !text.contains("more:"), "{text}");
    let page = ask(&server, "GET", "/status", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
    assert!(page.head.contains("Content-Type: text/html; charset=utf-8\r\n"), "{}", page.head);
    assert!(page.body.starts_with("<!doctype html>") && page.body.len() <= MOST + 64, "{}", page.body.len());
    let script = ask(&server, "GET", "/status?format=script", "*/*");
    assert!(script.head.contains("Content-Type: text/javascript; charset=utf-8\r\n"), "{}", script.head);
    assert!(
        page.body.contains("src=\"?format=script\"") && script.body.len() <= MOST,
        "{}",
        script.body.len()
    );
    assert!(ask(&server, "GET", "/status", "application/json").json()["next"].is_null());
    server.stop();
}

#[test]
fn answers_forbid_frames_foreign_content_and_keeping() {
    let server = with_page(Kamailio::builder().list("1 sip:127.0.1.1\n")).start();
    let policy = |answer: &Answer| {
        let found = answer.head.lines().find_map(|line| line.strip_prefix("Content-Security-Policy: "));
        found.unwrap_or_else(|| panic!("no policy: {}", answer.head)).to_owned()
    };
    for (query, status) in [
        ("?format=html", 200),
        ("?format=script", 200),
        ("?format=json", 200),
        ("?format=text", 200),
        ("?from=here", 400),
    ] {
        let answer = ask(&server, "GET", &format!("/status{query}"), "");
        assert_eq!(answer.status, status);
        for header in [
            "X-Frame-Options: DENY",
            "X-Content-Type-Options: nosniff",
            "Referrer-Policy: no-referrer",
            "Cache-Control: no-store",
        ] {
            assert!(answer.head.contains(&format!("\r\n{header}\r\n")), "{query}: {header}: {}", answer.head);
        }
        let policy = policy(&answer);
        assert!(policy.starts_with("default-src 'none'; "), "{query}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{query}: {policy}");
    }
    // The page runs its own script by a word that is another in each answer.
    let nonce = || {
        let page = ask(&server, "GET", "/status?format=html", "");
        let policy = policy(&page);
        let nonce = policy.split_once("script-src 'nonce-").unwrap().1.split_once('\'').unwrap().0.to_owned();
        assert_eq!(page.body.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
        nonce
    };
    assert_ne!(nonce(), nonce());
    server.stop();
}

/// RFC 9110 sections 8.6 and 9.3.2. On one connection: what follows the headers of the answer to HEAD is the next answer.
#[test]
fn answer_to_head_has_the_headers_of_get_with_its_length_and_no_body() {
    let mut server = with_page(Kamailio::builder().list("1 sip:127.0.1.1\n")).start();
    for (path, accept, status) in
        [("/status", "text/html", 200), ("/status?format=text", "*/*", 200), ("/status?count=x", "*/*", 400)]
    {
        let due = ask(&server, "GET", path, accept);
        assert!(due.status == status && !due.body.is_empty(), "{path}: {}", due.head);
        let mut stream = TcpStream::connect(server.address()).expect("a TCP listen");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = |method: &str| {
            format!(
                "{method} {path} HTTP/1.1\r\nHost: kamailio\r\nAccept: {accept}\r\nContent-Length: 0\r\n\r\n"
            )
        };
        // Those that are the same each time.
        fn steady(head: &str) -> Vec<&str> {
            let other = |line: &&str| line.is_empty() || line.contains("nonce-") || line.starts_with("Sia: ");
            head.lines().filter(|line| !other(line)).collect()
        }
        for method in ["HEAD", "HEAD", "GET"] {
            stream.write_all(request(method).as_bytes()).unwrap();
            let (mut answer, mut byte) = (Vec::new(), [0]);
            while !answer.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).expect("the headers");
                answer.extend(byte);
            }
            let head = String::from_utf8(answer).unwrap();
            assert_eq!(steady(&head), steady(&due.head), "{method} {path}");
        }
        let mut body = vec![0; due.body.len()];
        stream.read_exact(&mut body).expect("the body, at the end");
    }
    // A stateless reply after that is whole.
    assert!(ask(&server, "POST", "/status", "").body.contains("nothing can be changed here"));
    server.assert_healthy();
    server.stop();
}

#[test]
fn nothing_but_get_and_head_is_taken_and_a_sip_request_is_not_answered() {
    let route = "request_route { if (is_method(\"INFO\")) { \
                 if (ds_status_page()) exit; sl_send_reply(\"488\", \"Not here\"); } }\n";
    let mut server = with_page(Kamailio::builder().list("1 sip:127.0.1.1\n").route(route)).start();
    for method in ["POST", "PUT", "DELETE", "get"] {
        let answer = ask(&server, method, "/status", "text/html");
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("\r\nAllow: GET, HEAD\r\n"), "{}", answer.head);
    }
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.send(&call.within("INFO"));
    assert_eq!(agent.answer(&call, "INFO").status(), Some(488));
    assert_eq!(server.log_lines("ds_status_page: there is no HTTP request to answer").len(), 1);
    server.assert_healthy();
    server.stop();
}
