//! Numbers that need more than 31 bits, and the commands that answer with many numbers, over each kind of RPC: not every transport knows
//! the letters of wide numbers.

use serde_json::json;

use crate::support::transports::{Http, kamcmd};
use crate::support::{Kamailio, eventually};

const ROUTES: &str = r#"
request_route {
	if (ds_select_dst("1", "10")) sl_send_reply("200", "OK"); else sl_send_reply("404", "No destination");
}
event_route[xhttp:request] {
	dispatch_xhttp_rpc();
}
"#;

fn start() -> Kamailio {
    let builder =
        Kamailio::builder().list("1 sip:127.0.1.1:5060 0 0 duid=a;maxload=2147483647\n").route(ROUTES);
    let builder = builder.modparam("modparam(\"ctl\", \"binrpc\", \"unixs:RUN_DIR/ctl\")");
    let builder = builder.module("ctl").module("xhttp").module("xhttp_rpc");
    builder.tcp().globals("tcp_accept_no_cl=yes").start()
}

fn by_kamcmd(server: &Kamailio, command: &str) -> String {
    let dir = server.run_dir();
    let (text, errors) = kamcmd(&format!("unixs:{}/ctl", dir.display()), dir, &format!("{command}\n"));
    assert!(!errors.contains("rror") && !text.contains("error:"), "{command}: {errors}{text}");
    text
}

fn by_html(server: &Kamailio, command: &str, arguments: &str) -> String {
    let path = format!("/rpc/dispatcher/dispatcher.{command}{arguments}");
    let (status, body) = Http::ask(server.address(), &path, "").answer();
    let text = String::from_utf8_lossy(&body).into_owned();
    assert_eq!(status, 200, "{command}: {text}");
    text
}

#[test]
fn number_above_31_bits_is_the_same_by_every_transport() {
    let server = start();
    let hash =
        |key: &str| server.rpc("dispatcher.hash", json!([8, key])).unwrap()["hashid"].as_u64().unwrap();
    // The binary transport reads digits as a number.
    let keys = (0..1000).map(|n| format!("key{n:0>64}"));
    let (key, number) =
        keys.map(|key| (key.clone(), hash(&key))).find(|(_, hash)| *hash > 1 << 31).expect("one in two");
    let text = by_kamcmd(&server, &format!("dispatcher.hash 8 {key}"));
    assert!(text.contains(&format!("hashid: {number}")), "{number}: {text}");
    let page = by_html(&server, "hash", &format!("?arg=8+{key}"));
    assert!(page.contains(&number.to_string()), "{number}: {page}");
    server.stop();
}

#[test]
fn commands_with_many_numbers_answer_by_every_transport() {
    let server = start();
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.send(&call.within("MESSAGE"));
    assert_eq!(agent.answer(&call, "MESSAGE").status(), Some(200));
    for (question, name) in [("list normal", "MAXLOAD"), ("stats 1", "SELECTED"), ("load_audit 0", "PLACED")]
    {
        let (command, argument) = question.split_once(' ').unwrap();
        let answer = server.rpc(&format!("dispatcher.{command}"), json!([])).unwrap().to_string();
        let text = by_kamcmd(&server, &format!("dispatcher.{question}"));
        let page = by_html(&server, command, &format!("?arg={argument}"));
        for told in [&answer, &text, &page] {
            assert!(told.contains(name), "{command} has no {name}: {told}");
            assert!(!told.contains(": -"), "{command} has a number below 0: {told}");
        }
    }
    let page = by_html(&server, "list", "?arg=full");
    assert!(page.contains("2147483647"), "{page}");
    eventually("no error in the log", std::time::Duration::from_secs(1), || {
        server.log_lines("ERROR").is_empty()
    });
    server.stop();
}
