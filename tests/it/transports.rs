//! 20 000 destinations with 4 KiB of attributes each, 82 MB of text, read by every transport that RPC has.
//!
//! No transport is for answers of any size, so `dispatcher.list` gives parts (set, from, count). What fits into one
//! answer, measured on Kamailio 5.6.3 with its default 8 MB of private memory:
//!
//! | transport | limit | destinations of this size |
//! |---|---|---|
//! | jsonrpcs, Unix datagram | its send buffer of 128 KiB | 30 |
//! | jsonrpcs, UDP | a datagram of 64 KiB | 15 |
//! | jsonrpcs, FIFO | none found: it builds answers outside of the private memory | all: 86 MB in one answer |
//! | jsonrpcs, HTTP | two copies in private memory; `tcp_conn_wq_max` | 500, not 1000 |
//! | xhttp_rpc | a third of the private memory, then as HTTP | 500, not 600 |
//! | ctl, any socket | `kamcmd` reads 128 KiB; in the server 8 KiB (`binrpc_struct_max_body_size`) for the list of a set without what is in it | 30; in the server between 1000 and 2000 |
//!
//! Too much is an error line of the transport and no answer where the answer is there but cannot be sent (datagrams, HTTP), else an
//! answer with an error.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::odd_messages::Random;
use crate::support::rpc::read_list;
use crate::support::server_config::Builder;
use crate::support::transports::{Http, by_fifo, kamcmd};
use crate::support::{Kamailio, eventually, net};

const DESTINATIONS: usize = 20_000;
const ATTRS: usize = 4096;
/// What one datagram takes: of a Unix socket, of UDP. Some servers tell more of each destination, and `ctl` of 6.1 answers by a
/// datagram in at most 96 pieces.
const PART: [usize; 2] = if cfg!(stock_iuid) {
    [14, 14]
} else if cfg!(stock_overload) {
    [28, 14]
} else {
    [30, 15]
};
/// What one answer by HTTP takes.
const PAGE: usize = if cfg!(stock_overload) { 300 } else { 400 };
const PATIENCE: Duration = Duration::from_secs(60);

const ROUTE: &str = r#"
request_route {
    if (ds_select_dst("1", "4")) sl_send_reply("200", "OK"); else sl_send_reply("404", "No destination");
}
"#;
const HTTP_ROUTE: &str = r#"
event_route[xhttp:request] {
    if ($hu =~ "^/rpc/") dispatch_xhttp_rpc(); else jsonrpc_dispatch();
}
"#;

/// Attributes by URI.
type Written = HashMap<String, String>;
/// What a part of the list says, in its order.
type Read = Vec<(String, String)>;

fn written() -> Written {
    let mut random = Random::new(20_000);
    let one = |n: usize| {
        let mut attrs = format!("duid=d{n};maxload={};note=", n % 1000 + 1);
        while attrs.len() < ATTRS {
            let _ = write!(attrs, "{:016x}", random.below(usize::MAX));
        }
        attrs.truncate(ATTRS);
        (format!("sip:127.{}.{}.1:{}", n % 100, n / 100, 5060 + n % 7), attrs)
    };
    let written: Written = (0..DESTINATIONS).map(one).collect();
    assert_eq!(written.len(), DESTINATIONS);
    written
}

struct Ctl {
    sockets: Vec<String>,
    modparams: String,
}

/// Every kind of socket that `ctl` has.
fn ctl() -> Ctl {
    let [tcp, udp] = [(); 2].map(|()| net::free_port(net::address()));
    let sockets: Vec<String> = [
        "unixs:RUN_DIR/ctl-stream".into(),
        "unixd:RUN_DIR/ctl".into(),
        format!("tcp:{tcp}"),
        format!("udp:{udp}"),
    ]
    .into();
    let modparam = |socket: &String| format!("modparam(\"ctl\", \"binrpc\", \"{socket}\")\n");
    Ctl { modparams: sockets.iter().map(modparam).collect(), sockets }
}

fn builder(written: &Written) -> Builder {
    let lines = written.iter().map(|(uri, attrs)| format!("1 {uri} 0 0 {attrs}\n"));
    // Two generations while a reload runs: 101 MB each.
    Kamailio::builder().shm_megabytes(512).list(lines.collect::<String>()).route(ROUTE)
}

fn all_transports(written: &Written, ctl: &Ctl) -> Kamailio {
    let jsonrpcs = "modparam(\"jsonrpcs\", \"transport\", 7)\n\
                    modparam(\"jsonrpcs\", \"fifo_name\", \"RUN_DIR/fifo\")\n\
                    modparam(\"jsonrpcs\", \"fifo_reply_dir\", \"RUN_DIR/\")";
    let builder = builder(written).route(&[ROUTE, HTTP_ROUTE].concat());
    let builder = builder.module("ctl").module("xhttp").module("xhttp_rpc");
    let builder = builder.tcp().globals("tcp_accept_no_cl=yes\ntcp_conn_wq_max=16777216");
    builder.modparam(jsonrpcs).modparam(&ctl.modparams).start()
}

fn in_json(answer: &Value) -> Read {
    read_list(answer).into_iter().map(|one| (one.uri, one.attrs)).collect()
}

/// Each URI and the BODY behind it, where each stands on a line of its own.
fn in_text<'a>(lines: impl Iterator<Item = &'a str>) -> Read {
    let mut read = Read::new();
    for line in lines {
        match line.trim().split_once(": ") {
            Some(("URI", uri)) => read.push((uri.into(), String::new())),
            Some(("BODY", attrs)) => read.last_mut().expect("a URI before it").1 = attrs.into(),
            _ => {}
        }
    }
    read
}

fn by_http(server: SocketAddr, from: usize, count: usize) -> Http {
    let question =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "dispatcher.list", "params": ["", 1, from, count] });
    Http::ask(server, "/RPC", &question.to_string())
}

fn json_by_http(server: SocketAddr, from: usize, count: usize) -> Read {
    let (status, body) = by_http(server, from, count).answer();
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(status, 200, "{answer}");
    in_json(&answer["result"])
}

fn page_of_html(server: SocketAddr, from: usize, count: usize) -> (u16, Read) {
    // The page for people: a mode has to be there, any will do.
    let path = format!("/rpc/dispatcher/dispatcher.list?arg=x+1+{from}+{count}");
    let (status, body) = Http::ask(server, &path, "").answer();
    (status, in_text(String::from_utf8_lossy(&body).split("<br/>")))
}

fn by_kamcmd(socket: &str, dir: &Path, parts: impl Iterator<Item = (usize, usize)>) -> (Read, String) {
    let commands: String =
        parts.map(|(from, count)| format!("dispatcher.list x 1 {from} {count}\n")).collect();
    let (output, errors) = kamcmd(&socket.replace("RUN_DIR", dir.to_str().unwrap()), dir, &commands);
    (
        in_text(output.lines()),
        errors + &output.lines().filter(|line| line.contains("error: ")).collect::<String>(),
    )
}

fn parts(size: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..DESTINATIONS).step_by(size).map(move |from| (from, size))
}

/// Every destination is there, once, with its attributes to the last byte.
#[track_caller]
fn assert_whole(how: &str, read: &Read, written: &Written) {
    let mut seen = HashSet::new();
    for (uri, attrs) in read {
        assert!(seen.insert(uri), "{how}: {uri} twice");
        assert!(written.get(uri) == Some(attrs), "{how}: {uri} has {} bytes: {attrs:.80}", attrs.len());
    }
    assert_eq!(seen.len(), written.len(), "{how}");
}

fn selects(server: &Kamailio) -> bool {
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.send(&call.within("MESSAGE"));
    agent.answer(&call, "MESSAGE").status() == Some(200)
}

#[test]
fn twenty_thousand_destinations_with_4_kib_each_arrive_whole_by_every_transport() {
    let (written, ctl) = (written(), ctl());
    let mut server = all_transports(&written, &ctl);
    let (dir, address, rpc) = (server.run_dir().to_owned(), server.address(), server.rpc_handle());
    // A busy machine may have answered a question whether it is ready when nobody waited for that any more.
    let at_start = server.log_lines("ERROR");
    let datagrams = |(from, count)| {
        in_json(&rpc.call_within(PATIENCE, "dispatcher.list", json!(["", 1, from, count])).unwrap())
    };
    assert_whole("datagrams", &parts(PART[0]).flat_map(datagrams).collect(), &written);
    let whole = by_fifo(&dir.join("fifo"), &dir, "dispatcher.list", json!([]));
    assert_whole("FIFO, one answer", &in_json(&whole["result"]), &written);
    drop(whole);
    let http = parts(PAGE).flat_map(|(from, count)| json_by_http(address, from, count));
    assert_whole("HTTP", &http.collect(), &written);
    let html = parts(PAGE).flat_map(|(from, count)| page_of_html(address, from, count).1);
    assert_whole("xhttp_rpc", &html.collect(), &written);
    for socket in &ctl.sockets {
        let (read, errors) = by_kamcmd(socket, &dir, parts(PART[0]));
        assert!(!errors.contains("rror"), "{socket}: {errors}");
        assert_whole(socket, &read, &written);
    }
    // A reload reads all of it once more, beside what serves.
    assert!(rpc.call_within(PATIENCE, "dispatcher.reload", json!([])).is_ok());
    assert_whole("datagrams", &parts(PART[0]).flat_map(datagrams).collect(), &written);
    assert!(selects(&server));
    server.assert_healthy();
    assert_eq!(server.log_lines("ERROR"), at_start);
    server.stop();
}

#[test]
fn twenty_thousand_destinations_with_4_kib_each_arrive_whole_by_udp() {
    let written = written();
    let server = builder(&written).rpc_by_udp().start();
    let rpc = server.rpc_handle();
    let read = parts(PART[1]).flat_map(|(from, count)| {
        in_json(&rpc.call_within(PATIENCE, "dispatcher.list", json!(["", 1, from, count])).unwrap())
    });
    assert_whole("UDP", &read.collect(), &written);
    assert!(selects(&server));
    server.stop();
}

/// By each transport that has a limit: all at once, then a part that fits.
#[test]
fn too_much_for_one_answer_is_an_error_and_hurts_nobody() {
    let (written, ctl) = (written(), ctl());
    let mut server = all_transports(&written, &ctl);
    let (dir, address, rpc) = (server.run_dir().to_owned(), server.address(), server.rpc_handle());
    let told = |server: &Kamailio, what: &str| {
        eventually(what, PATIENCE, || !server.log_lines(what).is_empty());
    };

    // These two have no answer to give: what they say is in the log.
    let asker = UnixDatagram::bind(dir.join("asker")).unwrap();
    let question = json!({ "jsonrpc": "2.0", "id": 1, "method": "dispatcher.list", "params": [] });
    asker.send_to(question.to_string().as_bytes(), dir.join("rpc")).unwrap();
    told(&server, "Message too long");
    let part = rpc.call_within(PATIENCE, "dispatcher.list", json!(["", 1, 7, PART[0]])).unwrap();
    assert_eq!(in_json(&part).len(), PART[0]);
    let connection = by_http(address, 0, DESTINATIONS);
    told(&server, "Error while adding reply lump");
    drop(connection);
    assert_eq!(json_by_http(address, 7, PAGE).len(), PAGE);

    assert_eq!(page_of_html(address, 0, DESTINATIONS), (500, Read::new()));
    assert_eq!(page_of_html(address, 7, PAGE).1.len(), PAGE);
    for socket in &ctl.sockets {
        let all = [(0, DESTINATIONS)];
        let (read, errors) = by_kamcmd(socket, &dir, all.into_iter());
        assert!(errors.contains("500 - Internal error creating the reply"), "{socket}: {errors}");
        assert_eq!(read, [], "{socket}");
        // More than the client takes: it is the one to give up. By a datagram the server of 6.1 has no answer to that.
        if !cfg!(stock_iuid) || socket.starts_with("unixs") || socket.starts_with("tcp") {
            assert!(by_kamcmd(socket, &dir, [(0, 40)].into_iter()).1.contains("reply too big"), "{socket}");
        }
        assert_eq!(by_kamcmd(socket, &dir, [(7, PART[0])].into_iter()).0.len(), PART[0], "{socket}");
    }
    assert!(selects(&server));
    server.assert_healthy();
    server.stop();
}
