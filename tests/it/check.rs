//! `dispatcher.check`: a dry run of a reload says what the reload then does, and changes nothing.

use serde_json::{Value, json};

use crate::support::database::{Database, Engine};
use crate::support::{Gateways, Kamailio};

const ROUTE: &str = r#"
request_route {
    if (is_method("ACK")) exit;
    if (is_method("BYE")) { ds_load_update(); t_relay(); exit; }
    if (!ds_select_dst("1", "10")) { sl_send_reply("404", "No destination"); exit; }
    t_relay();
}
onreply_route { ds_load_update(); }
"#;

fn check(server: &Kamailio, params: Value) -> Value {
    server.rpc("dispatcher.check", params).unwrap()
}

fn counts(answer: &Value) -> [i64; 7] {
    let names = ["LOADS", "LOADED", "ERRORS", "WARNINGS", "ADDED", "REMOVED", "CHANGED"];
    names.map(|name| answer[name].as_i64().unwrap())
}

/// Each change as `kind set URI calls what`.
fn changes(answer: &Value) -> Vec<String> {
    let all = answer["CHANGES"].as_array().unwrap().iter().map(|one| &one["CHANGE"]);
    let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
    let line = |one: &Value| {
        let [kind, uri, what] = ["KIND", "URI", "WHAT"].map(|name| text(one, name));
        format!("{kind} {} {uri} {} {what}", one["SET"], one["CALLS"]).trim_end().to_owned()
    };
    all.map(line).collect()
}

fn findings(answer: &Value) -> Vec<String> {
    let all = answer["FINDINGS"].as_array().unwrap().iter().map(|one| &one["FINDING"]);
    let line = |one: &Value| {
        let place = one["PLACE"].as_str().unwrap().rsplit('/').next().unwrap();
        format!("{place} {} {}", one["SEVERITY"].as_str().unwrap(), one["TEXT"].as_str().unwrap())
    };
    all.map(line).collect()
}

/// All that a reload could change.
fn state(server: &Kamailio) -> [Value; 2] {
    let full = server.rpc("dispatcher.list", json!(["full"])).unwrap();
    [full, server.rpc("dispatcher.load_audit", json!([])).unwrap()]
}

#[test]
fn check_of_a_file_tells_what_the_reload_then_does_and_changes_nothing() {
    let gateways = Gateways::start(2, |_, request| match request.method() {
        Some("INVITE") => vec![180, 200],
        _ => vec![200],
    });
    let [first, second] = [0, 1].map(|n| gateways.uri(n));
    let list = format!("1 {first} 0 0 duid=a\n1 {second} 0 0 duid=b\n2 sip:127.0.2.1 0 0 duid=c\n");
    let server = Kamailio::builder().list(&*list).route(ROUTE).start();
    let same = check(&server, json!([]));
    assert_eq!((counts(&same), same["UNCHANGED"].as_i64()), ([1, 3, 0, 0, 0, 0, 0], Some(3)));

    let mut agent = server.agent();
    let mut calls = [agent.call(), agent.call()];
    for call in &mut calls {
        assert_eq!(agent.place(call).status(), Some(200));
    }
    assert_eq!(server.total_load(), 2);
    let list = format!(
        "1 {first} 16 0 duid=a;maxload=20ms\n2 sip:127.0.2.1 0 5 duid=c\n2 sip:127.0.2.2\n2 sip:h>\n\
         3 sip:127.0.3.1 0 0 socket=udp:192.0.2.99:5060\n"
    );
    server.write_list(&list);
    let before = state(&server);
    let told = check(&server, json!([]));
    assert_eq!(counts(&told), [1, 3, 2, 1, 1, 1, 2]);
    assert_eq!(
        changes(&told),
        [
            format!("removed 1 {second} 1 its call goes on until it ends"),
            format!("changed 1 {first} 1 flags 0 -> 16, maxload none -> '20ms'"),
            "added 2 sip:127.0.2.2 0".to_owned(),
            "changed 2 sip:127.0.2.1 0 priority 0 -> 5".to_owned(),
        ]
    );
    assert_eq!((&told["CALLS_REMOVED"], &told["CALLS_CHANGED"]), (&json!(1), &json!(1)));
    let wrong = findings(&told);
    assert!(wrong[0].contains(" warning maxload='20ms'"), "{wrong:?}");
    assert!(wrong[1].contains(":4:3 error 'sip:h>': a > at byte 6"), "{wrong:?}");
    assert!(wrong[2].contains(":5:3 error socket='udp:192.0.2.99:5060': not a socket"), "{wrong:?}");
    assert_eq!(changes(&check(&server, json!([1, 2]))), changes(&told)[1..3]);
    assert_eq!(state(&server), before, "a check changes nothing");

    server.rpc("dispatcher.reload", json!([])).unwrap();
    let after = check(&server, json!([]));
    assert_eq!((counts(&after), after["UNCHANGED"].as_i64()), ([1, 3, 2, 1, 0, 0, 0], Some(3)));
    for call in &mut calls {
        assert_eq!(agent.hang_up(call), 200);
    }
    server.stop();
}

#[test]
fn check_says_when_a_reload_would_keep_what_serves() {
    let server = Kamailio::builder().list("1 sip:127.0.1.1\n1 sip:127.0.1.2\n").start();
    server.write_list("x\ny\n");
    let told = check(&server, json!([]));
    assert_eq!((counts(&told), told["UNCHANGED"].as_i64()), ([0, 0, 2, 0, 0, 0, 0], Some(2)));
    assert!(server.rpc("dispatcher.reload", json!([])).is_err());
    server.stop();
    let strict = "modparam(\"dispatcher\", \"ds_load_mode\", 1)";
    let server = Kamailio::builder().list("1 sip:127.0.1.1\n").modparam(strict).start();
    server.write_list("1 sip:127.0.1.1 0 0 maxload=2x\n1 sip:127.0.1.3\n");
    assert_eq!(counts(&check(&server, json!([]))), [0, 0, 1, 0, 0, 0, 0]);
    assert!(server.rpc("dispatcher.reload", json!([])).is_err());
    server.stop();
}

#[test]
fn check_of_a_table_tells_rows() {
    let database = Database::start(Engine::Sqlite);
    database.rows(&[(1, "sip:127.0.1.1", 0, 0, "duid=a"), (1, "sip:127.0.1.2", 0, 0, "duid=b")]);
    let params =
        format!("modparam(\"dispatcher\", \"db_url\", \"{}\")\n{}", database.url(), database.modparam());
    let server = Kamailio::builder().module(database.module()).modparam(&params).start();
    let before = state(&server);
    database.rows(&[
        (1, "sip:127.0.1.1", 0, 7, "duid=a"),
        (1, "sip:127.0.1.3", 0, 0, "duid=c"),
        (1, "nonsense@@", 0, 0, ""),
    ]);
    let told = check(&server, json!([]));
    assert_eq!(counts(&told), [1, 2, 1, 0, 1, 1, 1]);
    assert!(findings(&told)[0].contains("row 3 error "), "{:?}", findings(&told));
    assert_eq!(state(&server), before, "a check changes nothing");
    server.stop();
}

/// `dispatcher-check --stock` has a model of the reading of the stock module of 5.6: here is the real one beside it. Later ones read
/// hexadecimal flags, and drop the flag for probes where nothing is probed.
#[test]
#[cfg(not(stock_overload))]
fn stock_module_reads_a_list_as_the_program_says() {
    let list = "400 sip:127.0.4.1 0x8 10 duid=c1;prefix=49\n400 sip:127.0.4.2 8 -5 duid=c2\n\
                410 sip:127.0.4.3 0 0 rweight=250\n-7 sip:127.0.4.4 4 0\n7sip:127.0.4.5 8 2 x=y z\n127.0.4.6 8\n";
    let server = Kamailio::builder().list(list).stock().start();
    let answer = server.rpc("dispatcher.list", json!([])).unwrap();
    let mut read = Vec::new();
    for set in answer["RECORDS"].as_array().unwrap().iter().map(|one| &one["SET"]) {
        for one in set["TARGETS"].as_array().unwrap().iter().map(|one| &one["DEST"]) {
            let body = one["ATTRS"]["BODY"].as_str().unwrap_or_default();
            let rweight = one["ATTRS"]["RWEIGHT"].as_i64().unwrap_or(0);
            let (flags, uri) = (one["FLAGS"].as_str().unwrap(), one["URI"].as_str().unwrap());
            read.push(format!("{} {uri} {flags} {} {body} {rweight}", set["ID"], one["PRIORITY"]));
        }
    }
    read.sort();
    assert_eq!(
        read,
        [
            "127 sip:.0.4.6 AP 0  0",
            "400 sip:127.0.4.1 AX 0 x8 0",
            "400 sip:127.0.4.2 AP 0 -5 0",
            "410 sip:127.0.4.3 AX 0 rweight=250 0",
            "7 sip:127.0.4.5 AP 2 x=y 0",
        ]
    );
    // Without an address a line keeps all of the file from being loaded.
    server.write_list(&format!("{list}420\n"));
    assert!(server.rpc("dispatcher.reload", json!([])).is_err());
    server.stop();

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dispatcher.list");
    std::fs::write(&file, format!("{list}420\n")).unwrap();
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_dispatcher-check"));
    let output = program.args(["--stock", "--format", "json"]).arg(&file).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let line = |one: &Value| format!("{} {}", one["at"]["line"], one["text"].as_str().unwrap());
    let told: Vec<_> = report["stock"]["lines"].as_array().unwrap().iter().map(line).collect();
    assert_eq!(
        told,
        [
            "1 it reads flags 0 (here 8), priority 0 (here 10), attributes 'x8' (here 'duid=c1;prefix=49')",
            "2 it reads priority 0 (here -5), attributes '-5' (here 'duid=c2')",
            "3 it wants rweight from 1 to 100, and takes 250 for 0",
            "4 it takes '-7' for the URI, which is none, and leaves the line out",
            "6 it loads '.0.4.6' into set 127",
            "7 it loads nothing of the whole file because of this line",
        ]
    );
}
