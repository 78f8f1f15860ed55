//! Why a selection failed: the return codes that a script sees.

use serde_json::{Value, json};

use crate::calls::with;
use crate::support::{Agent, Kamailio};

const LIST: &str = "1 sip:127.0.1.1:5060 0 0 duid=a;maxload=1\n2 sip:127.0.2.1:5060\n2 sip:127.0.2.2:5060\n\
                    3 sip:127.0.1.3:5060 0 0 cps=1\n";

const ROUTE: &str = r#"
request_route {
	if (!is_method("INVITE")) exit;
	$var(rules) = $hdr(X-Rules);
	$var(mode) = $hdr(X-Mode);
	ds_select_routes("$var(rules)", "$var(mode)");
	append_to_reply("X-Cause: $rc $dsv(code) $dsv(reason) $dsv(flags)\r\n");
	# Only a call that is sent there takes a place.
	if ($du != $null) forward();
	sl_send_reply("200", "OK");
}
"#;

fn cause(agent: &mut Agent, rules: &str, mode: &str) -> String {
    let mut call = with(with(agent.call(), "X-Rules", rules), "X-Mode", mode);
    agent.place(&mut call).header("X-Cause").unwrap().to_owned()
}

#[test]
fn each_cause_has_a_code_and_words() {
    let limits = "modparam(\"dispatcher\", \"ds_limits\", 1)";
    let server = Kamailio::builder().list(LIST).modparam(limits).route(ROUTE).start();
    let mut agent = server.agent();
    assert_eq!(cause(&mut agent, "1=10", "d"), "1 <null> <null> <null>");
    assert_eq!(cause(&mut agent, "1=10", "d"), "-4 -4 no room <null>");
    // One a second: of a few in a row the next is refused, unless the machine stands still.
    for algorithm in [4, 10] {
        let rule = format!("3={algorithm}");
        let causes: Vec<_> = (0..10).map(|_| cause(&mut agent, &rule, "d")).collect();
        let over = causes.iter().filter(|cause| *cause == "-6 -6 over the rate <null>").count();
        assert!(
            over >= 5 && causes.iter().all(|cause| cause.starts_with("1 ") || cause.starts_with("-6 ")),
            "{causes:?}"
        );
        // It is nearer than no room.
        assert_eq!(cause(&mut agent, &format!("1=10;{rule};9=1"), "d"), "-6 -6 over the rate <null>");
    }
    assert_eq!(cause(&mut agent, "9=10", "d"), "-2 -2 no such set <null>");
    server.rpc("dispatcher.set_state", json!(["i", 2, "all"])).unwrap();
    assert_eq!(cause(&mut agent, "2=4", "d"), "-3 -3 none active <null>");
    assert_eq!(cause(&mut agent, "2=4", "what"), "-1 -1 error <null>");
    // Of several rules the one that came nearest tells.
    for rules in ["2=4;1=10", "1=10;2=4", "9=1;1=10;2=4"] {
        assert_eq!(cause(&mut agent, rules, "d"), "-4 -4 no room <null>");
    }
    assert_eq!(cause(&mut agent, "1=4", "d"), "1 <null> <null> <null>");
    server.stop();
}

/// What is counted by cause, of a set.
fn refused(server: &Kamailio, set: i32) -> Value {
    let stats = server.rpc("dispatcher.stats", json!([set])).unwrap();
    let all = stats.as_array().map_or(vec![stats.clone()], Clone::clone);
    assert!(
        all.iter().all(|one| one["SET"] == json!(set) && one["SET_REFUSED"] == all[0]["SET_REFUSED"]),
        "{all:?}"
    );
    all[0]["SET_REFUSED"].clone()
}

#[test]
fn refusals_are_counted_by_set_and_cause() {
    const METRICS: &str =
        "event_route[xhttp:request] { if ($hu == \"/2\") ds_prometheus(\"2\"); else ds_prometheus(); }\n";
    let server = Kamailio::builder()
        .list(LIST)
        .tcp()
        .module("xhttp")
        .globals("tcp_accept_no_cl=yes\n")
        .route(&format!("{ROUTE}{METRICS}"))
        .start();
    let mut agent = server.agent();
    let none = json!({"NONE_ACTIVE": 0, "DRAINED": 0, "NO_ROOM": 0, "OVER_RATE": 0});
    assert_eq!([refused(&server, 1), refused(&server, 2)], [none.clone(), none]);
    // One that is sent; then one that is not.
    cause(&mut agent, "1=10", "d");
    cause(&mut agent, "1=10", "d");
    // Each set that is asked counts for itself, also where another one is found.
    cause(&mut agent, "1=10;2=4", "d");
    server.rpc("dispatcher.drain", json!([2, "sip:127.0.2.1:5060", 3600])).unwrap();
    server.rpc("dispatcher.set_state", json!(["i", 2, "sip:127.0.2.2:5060"])).unwrap();
    cause(&mut agent, "2=4", "d");
    server.rpc("dispatcher.undrain", json!([2, "all"])).unwrap();
    server.rpc("dispatcher.set_state", json!(["i", 2, "all"])).unwrap();
    cause(&mut agent, "2=4;9=4", "d");
    cause(&mut agent, "2=10;8=4", "d");
    assert_eq!(refused(&server, 1), json!({"NONE_ACTIVE": 0, "DRAINED": 0, "NO_ROOM": 2, "OVER_RATE": 0}));
    assert_eq!(refused(&server, 2), json!({"NONE_ACTIVE": 2, "DRAINED": 1, "NO_ROOM": 0, "OVER_RATE": 0}));
    // They outlive a reload, as the set does.
    server.write_list(&LIST.replace("maxload=1", "maxload=2"));
    server.rpc("dispatcher.reload", json!([])).unwrap();
    let lines = |path: &str| {
        let text = crate::metrics::get(&server, path);
        let lines = text.lines().filter(|line| line.starts_with("kamailio_dispatcher_refused_total"));
        lines.map(|line| line["kamailio_dispatcher_refused_total".len()..].to_owned()).collect::<Vec<_>>()
    };
    let of_set_2 = [
        "{set=\"2\",cause=\"none_active\"} 2",
        "{set=\"2\",cause=\"drained\"} 1",
        "{set=\"2\",cause=\"no_room\"} 0",
        "{set=\"2\",cause=\"over_rate\"} 0",
    ];
    assert_eq!(lines("/2"), of_set_2);
    let all = lines("/");
    assert_eq!(all.len(), 13, "{all:?}");
    assert_eq!(all[2], "{set=\"1\",cause=\"no_room\"} 2");
    assert_eq!((&all[4..8], &*all[12]), (&of_set_2.map(str::to_owned)[..], "{set=\"\",cause=\"no_set\"} 2"));
    server.stop();
}
