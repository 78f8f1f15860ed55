//! Bytes that are no UTF-8, from a gateway's reply or a file in another encoding, in the answers of every transport.

use serde_json::{Value, json};

use crate::support::transports::{Http, kamcmd};
use crate::support::{Behaviour, Kamailio, Probed};
use crate::watch::{INTERVAL, SOON, all, becomes, probing, reason};

/// With a control character, DEL, quotes, a backslash, Latin-1, and an `é` of two bytes.
const PHRASE: &[u8] = b"not \x01 \x7f \"here\" \\ caf\xe9 caf\xc3\xa9";
const SHOWN: &str = "not \\x01 \\x7f \"here\" \\ caf\\xe9 café";

const HTTP_ROUTE: &str = r#"
event_route[xhttp:request] {
    if ($hu =~ "^/rpc/") dispatch_xhttp_rpc(); else jsonrpc_dispatch();
}
"#;

/// A server whose one gateway has answered its probe with [`PHRASE`], and has a `duid` in Latin-1.
fn server(gateway: &Probed) -> Kamailio {
    gateway.behave(Behaviour::Phrase(503, PHRASE));
    let builder = probing(1, "").more_route(HTTP_ROUTE).module("ctl").module("xhttp").module("xhttp_rpc");
    let builder = builder.tcp().globals("tcp_accept_no_cl=yes");
    let ctl =
        "modparam(\"ctl\", \"binrpc\", \"unixs:RUN_DIR/ctl\")\nmodparam(\"jsonrpcs\", \"transport\", 5)";
    let server = builder.modparam(ctl).start();
    let line = [b"1 ", gateway.uri().as_bytes(), b" 0 0 duid=caf\xe9;note=\xff\n"].concat();
    std::fs::write(server.list_file(), line).unwrap();
    server.rpc("dispatcher.reload", json!([])).unwrap();
    gateway.wait_for(1, SOON + INTERVAL);
    becomes(&server, 0, "IP");
    server
}

/// All commands that show what comes from elsewhere.
fn commands() -> [(&'static str, Value); 7] {
    [
        ("dispatcher.list", json!([])),
        ("dispatcher.list", json!(["full"])),
        ("dispatcher.list", json!(["short"])),
        ("dispatcher.stats", json!([])),
        ("dispatcher.explain", json!([1, 4])),
        ("dispatcher.oclist", json!([1])),
        ("dispatcher.load_audit", json!([])),
    ]
}

#[test]
fn any_byte_of_a_gateway_or_a_file_leaves_json_what_it_is() {
    let gateway = Probed::start();
    let server = server(&gateway);
    let one = all(&server).remove(0);
    assert_eq!(reason(&one), (503, SHOWN.to_owned()));
    assert_eq!(one["ATTRS"]["DUID"], "caf\\xe9");
    assert_eq!(one["ATTRS"]["BODY"], "duid=caf\\xe9;note=\\xff");
    for (method, params) in commands() {
        let answer = server.rpc(method, params.clone());
        assert!(answer.is_ok(), "{method}: {answer:?}");
        let question = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let (status, body) = Http::ask(server.address(), "/RPC", &question.to_string()).answer();
        let answer: Result<Value, _> = serde_json::from_slice(&body);
        assert!(status == 200 && answer.is_ok(), "{method} by HTTP: {status} {answer:?}");
    }
    let stats = server.rpc("dispatcher.stats", json!([])).unwrap();
    assert_eq!(stats[0]["DUID"], "caf\\xe9");
    let audit = server.rpc("dispatcher.load_audit", json!([])).unwrap();
    assert_eq!(audit["DESTINATIONS"][0]["DEST"]["NAME"], "caf\\xe9");
    server.stop();
}

#[test]
fn any_byte_of_a_gateway_is_shown_by_the_other_transports() {
    let gateway = Probed::start();
    let server = server(&gateway);
    let path = "/rpc/dispatcher/dispatcher.list?arg=full";
    let (status, body) = Http::ask(server.address(), path, "").answer();
    let page = String::from_utf8(body).expect("UTF-8");
    assert!(status == 200 && page.contains(SHOWN), "{page}");
    assert!(!page.contains(|c: char| c.is_control() && !"\r\n\t".contains(c)), "{page:?}");
    let dir = server.run_dir();
    let socket = format!("unixs:{}/ctl", dir.display());
    let (output, errors) = kamcmd(&socket, dir, "dispatcher.list full\n");
    assert!(output.contains(&format!("REASON: {SHOWN}\n")), "{output} {errors}");
    for (method, params) in commands() {
        let words: Vec<String> =
            params.as_array().unwrap().iter().map(|one| one.to_string().replace('"', "")).collect();
        let (output, errors) = kamcmd(&socket, dir, &format!("{method} {}\n", words.join(" ")));
        assert!(!output.contains("error") && errors.is_empty(), "{method}: {output} {errors}");
    }
    server.stop();
}
