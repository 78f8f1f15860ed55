//! What becomes of a destination that is drained: who ends it, what probes and scripts do to it, which cause a script sees, and where a
//! request goes that comes back.

use serde_json::{Value, json};

use crate::calls::{hang_up_all, loads, obedient, ringing, up, with};
use crate::drain::{EVENT, SOON, ask, counting, drained, lines};
use crate::support::{Agent, Behaviour, Kamailio, Probed, eventually};
use crate::watch::{all, becomes, events, flags, more_probes, probing};

/// A request each: `X-Do` says what is asked, in set 1.
const ROUTE: &str = r#"
request_route {
	if (!is_method("INVITE")) exit;
	switch ($hdr(X-Do)) {
		case "choose": ds_select_dst("1", "$(hdr(X-Alg){s.int})"); break;
		case "routes": ds_select_routes("$hdr(X-Rules)", "d"); break;
		case "active": ds_is_active("1"); break;
		case "from": ds_is_from_list("1", "$(hdr(X-Mode){s.int})", "$hdr(X-Uri)"); break;
		case "drain": ds_drain("1", "$hdr(X-Uri)"); break;
		case "undrain": ds_undrain("1", "$hdr(X-Uri)"); break;
		case "for": ds_drain("1", "$hdr(X-Uri)", "$(hdr(X-Seconds){s.int})"); break;
		case "mark": ds_mark_addr("$hdr(X-Mark)", "1", "$hdr(X-Uri)"); break;
	}
	append_to_reply("X-Got: $rc $dsv(reason) $du\r\n");
	sl_send_reply("200", "OK");
}
"#;

const LIST: &str =
    "1 sip:127.0.1.1:5060 0 9 duid=a\n1 sip:127.0.1.2:5060 0 5 duid=b\n2 sip:127.0.1.1:5060 0 0 duid=a\n";

#[track_caller]
fn got(agent: &mut Agent, headers: &[(&str, &str)]) -> String {
    let mut call = agent.call();
    for (name, value) in headers {
        call = with(call, name, value);
    }
    agent.place(&mut call).header("X-Got").unwrap().to_owned()
}

fn chosen(agent: &mut Agent, algorithm: &str) -> String {
    got(agent, &[("X-Do", "choose"), ("X-Alg", algorithm)])
}

fn fault(server: &Kamailio, command: &str, arguments: Value) -> (i64, String) {
    let error = server.rpc(&format!("dispatcher.{command}"), arguments).unwrap_err();
    (error.code, error.message)
}

#[test]
fn where_calls_do_not_count_a_drain_needs_its_time_and_lasts_that_long() {
    let server = Kamailio::builder().list(LIST).route(ROUTE).more_route(EVENT).start();
    let mut agent = server.agent();
    assert!(chosen(&mut agent, "8").starts_with("1 "));
    let told = "calls are not counted in this set, so nobody can tell when it is empty: give seconds, or set ds_load_auto to 1";
    assert_eq!(fault(&server, "drain", json!([1, "a"])), (400, told.into()));
    assert_eq!(fault(&server, "drain", json!([1])), (400, told.into()));
    assert_eq!(got(&mut agent, &[("X-Do", "drain"), ("X-Uri", "a")]), "-2 <null> <null>");
    assert_eq!(flags(&server), ["AX", "AX", "AX"]);
    ask(&server, "drain", json!([1, "a", 3600]));
    ask(&server, "drain", json!([1, "b", 1]));
    eventually("its time is over", SOON, || drained(&server).len() == 1);
    assert!(drained(&server)[0].contains("sip:127.0.1.2:5060 set=1"), "{:?}", drained(&server));
    assert_eq!(flags(&server), ["AXD", "DX", "AX"], "though it has no call");
    let undrain = |agent: &mut Agent, which: &str| got(agent, &[("X-Do", "undrain"), ("X-Uri", which)]);
    assert_eq!(undrain(&mut agent, "none"), "-1 <null> <null>");
    assert_eq!(undrain(&mut agent, "a"), "1 <null> <null>");
    assert_eq!(flags(&server), ["AX", "DX", "AX"]);
    assert_eq!(undrain(&mut agent, "sip:127.0.1.2:5060"), "1 <null> <null>");
    assert_eq!(flags(&server), ["AX", "AX", "AX"], "also one that is over");
    ask(&server, "drain", json!([1, "a", 3600]));
    // An algorithm that counts has chosen: now there is something to count.
    ask(&server, "undrain", json!([1, "all"]));
    assert!(chosen(&mut agent, "10").starts_with("1 "));
    assert_eq!(got(&mut agent, &[("X-Do", "drain"), ("X-Uri", "SIP:127.0.1.2:5060")]), "1 <null> <null>");
    eventually("it is empty", SOON, || drained(&server).len() == 2);
    server.stop();
}

#[test]
fn a_set_where_all_are_drained_has_a_cause_of_its_own() {
    let server = Kamailio::builder().list(LIST).route(ROUTE).start();
    let mut agent = server.agent();
    ask(&server, "drain", json!([1, "all", 3600]));
    assert_eq!(flags(&server), ["AXD", "AXD", "AX"], "set 2 is another set");
    let algorithms = ["0", "4", "6", "8", "9", "10", "11", "12", "13", "14", "15", "64", "100"];
    for algorithm in algorithms {
        assert_eq!(chosen(&mut agent, algorithm), "-5 drained <null>", "algorithm {algorithm}");
        let why =
            server.rpc("dispatcher.explain", json!([1, algorithm.parse::<i32>().unwrap(), "x"])).unwrap();
        assert_eq!(why["REFUSED"], "drained", "algorithm {algorithm}: {why}");
        let target = &why["TARGETS"][0]["DEST"];
        assert_eq!((&target["WHY"], &target["FLAGS"]), (&json!("drained"), &json!("AXD")));
    }
    assert!(got(&mut agent, &[("X-Do", "active")]).starts_with("-1 "));
    // One that is down as well is down; the other is drained still.
    got(&mut agent, &[("X-Do", "mark"), ("X-Mark", "i"), ("X-Uri", "sip:127.0.1.2:5060")]);
    assert_eq!(flags(&server), ["AXD", "IXD", "AX"]);
    assert_eq!(chosen(&mut agent, "4"), "-5 drained <null>");
    assert_eq!(got(&mut agent, &[("X-Do", "routes"), ("X-Rules", "9=4;1=4")]), "-5 drained <null>");
    // Over, it is the same cause; only where all are down otherwise it is another.
    ask(&server, "drain", json!([1, "a", 0]));
    eventually("it is over", SOON, || flags(&server)[0] == "DX");
    assert_eq!(chosen(&mut agent, "10"), "-5 drained <null>");
    ask(&server, "set_state", json!(["i", 1, "sip:127.0.1.1:5060"]));
    assert_eq!(chosen(&mut agent, "10"), "-3 none active <null>");
    // Of several rules the one that came nearest tells: no room is nearer than drained.
    ask(&server, "drain", json!([2, "all", 3600]));
    assert_eq!(got(&mut agent, &[("X-Do", "routes"), ("X-Rules", "2=4;1=4;9=1")]), "-5 drained <null>");
    server.stop();
}

#[test]
fn an_operators_word_ends_a_drain_and_a_scripts_does_not() {
    let server = Kamailio::builder().list(LIST).route(ROUTE).more_route(EVENT).start();
    let mut agent = server.agent();
    let uri = "sip:127.0.1.1:5060";
    for (mark, state) in
        [("t", "IXD"), ("i", "IXD"), ("a", "AXD"), ("ip", "IPD"), ("ap", "APD"), ("d", "DXD")]
    {
        ask(&server, "drain", json!([1, "a", 3600]));
        got(&mut agent, &[("X-Do", "mark"), ("X-Mark", mark), ("X-Uri", uri)]);
        assert_eq!(flags(&server)[0], state, "{mark}");
    }
    for (word, state) in [("a", "AX"), ("i", "IX"), ("tp", "TP"), ("d", "DX")] {
        ask(&server, "drain", json!([1, "a", 3600]));
        ask(&server, "set_state", json!([word, 1, uri]));
        assert_eq!((flags(&server)[0].as_str(), &all(&server)[0]["DRAIN"]), (state, &Value::Null));
    }
    // Neither is told: both drains were ended.
    assert_eq!(drained(&server), [""; 0]);
    ask(&server, "set_state", json!(["a", 1, uri]));
    ask(&server, "drain", json!([1, "a", 0]));
    eventually("it is over", SOON, || drained(&server).len() == 1);
    ask(&server, "set_state", json!(["d", 1, uri]));
    assert_eq!(all(&server)[0]["DRAIN"], Value::Null, "it is disabled by an operator now");
    ask(&server, "undrain", json!([1, "a"]));
    assert_eq!(flags(&server)[0], "DX");
    // One that he had disabled before is told of when it is empty, and stays disabled.
    ask(&server, "drain", json!([1, "a", 0]));
    eventually("it is over", SOON, || drained(&server).len() == 2);
    ask(&server, "undrain", json!([1, "a"]));
    assert_eq!((flags(&server)[0].as_str(), &all(&server)[0]["DRAIN"]), ("DX", &Value::Null));
    assert_eq!(all(&server)[0]["HEALTH"]["REASON"], "disabled by an operator");
    // A script that finds it active again enables what a drain has disabled, as it enables any.
    ask(&server, "set_state", json!(["a", 1, uri]));
    ask(&server, "drain", json!([1, "a", 0]));
    eventually("it is over", SOON, || drained(&server).len() == 3);
    got(&mut agent, &[("X-Do", "mark"), ("X-Mark", "a"), ("X-Uri", uri)]);
    assert_eq!((flags(&server)[0].as_str(), &all(&server)[0]["DRAIN"]), ("AX", &Value::Null));
    server.stop();
}

#[test]
fn probing_goes_on_and_no_answer_begins_or_ends_a_drain() {
    let gateway = Probed::start();
    let list = format!("1 {} 0 0 duid=a\n", gateway.uri());
    let server = probing(1, list).more_route(EVENT).start();
    becomes(&server, 0, "AP");
    ask(&server, "drain", json!([1, "a", 3600]));
    more_probes(&gateway, 2);
    assert_eq!(flags(&server), ["APD"]);
    gateway.behave(Behaviour::Answer(503, "Not Now"));
    becomes(&server, 0, "IPD");
    eventually("it is told that it is down", SOON, || {
        events(&server).iter().any(|it| it.starts_with("down "))
    });
    gateway.behave(Behaviour::Answer(200, "OK"));
    becomes(&server, 0, "APD");
    more_probes(&gateway, 1);
    ask(&server, "drain", json!([1, "a", 0]));
    eventually("it is over", SOON, || drained(&server).len() == 1);
    assert_eq!(flags(&server), ["DP"]);
    ask(&server, "undrain", json!([1, "a"]));
    assert_eq!(flags(&server), ["AP"]);
    assert_eq!(drained(&server).len(), 1);
    server.stop();
}

/// Nothing is probed, no name is looked up, no file is kept: there is no process of the module's own.
#[test]
fn the_timer_ends_a_drain_where_the_module_has_no_process() {
    let without = "modparam(\"dispatcher\", \"ds_dns_mode\", 0)";
    let server = Kamailio::builder().list(LIST).modparam(without).route(ROUTE).more_route(EVENT).start();
    assert_eq!(
        server.rpc_handle().processes().iter().filter(|(_, name)| name.contains("ispatcher")).count(),
        0
    );
    ask(&server, "drain", json!([1, "a", 0]));
    eventually("it is told", SOON, || drained(&server).len() == 1);
    assert_eq!(flags(&server), ["DX", "AX", "AX"]);
    server.stop();
}

#[test]
fn requests_of_its_calls_come_from_a_destination_still() {
    let server = Kamailio::builder().list(LIST).route(ROUTE).start();
    let mut agent = server.agent();
    let uri = "sip:127.0.1.1:5060";
    let from = |agent: &mut Agent, mode: &str| {
        got(agent, &[("X-Do", "from"), ("X-Mode", mode), ("X-Uri", uri)]).starts_with("1 ")
    };
    ask(&server, "drain", json!([1, "a", 3600]));
    assert!(from(&mut agent, "2") && from(&mut agent, "6"), "active or not, and only if active");
    ask(&server, "drain", json!([1, "a", 0]));
    eventually("it is over", SOON, || flags(&server)[0] == "DX");
    assert!(from(&mut agent, "2") && !from(&mut agent, "6"), "it is disabled");
    server.stop();
}

#[test]
fn lines_of_one_destination_in_one_set_are_drained_together_and_told_once() {
    let list = "1 sip:127.0.1.1:5060 0 9 duid=a;maxload=3\n1 sip:127.0.1.1:5060 0 8 duid=a;maxload=5\n\
                1 sip:127.0.1.1:5060 0 7 duid=other\n1 sip:127.0.1.4:5060 0 6\n";
    let server = Kamailio::builder().list(list).route(ROUTE).more_route(EVENT).start();
    ask(&server, "drain", json!([1, "A", 3600]));
    assert_eq!(flags(&server), ["AXD", "AXD", "AX", "AX"]);
    // A URI names all destinations that have it.
    ask(&server, "drain", json!([1, "sip:127.0.1.1:5060", 0]));
    eventually("both are over", SOON, || drained(&server).len() >= 2);
    assert_eq!(flags(&server), ["DX", "DX", "DX", "AX"]);
    ask(&server, "undrain", json!([1]));
    assert_eq!((flags(&server), drained(&server).len()), (vec!["AX".to_owned(); 4], 2));
    server.stop();
}

#[test]
fn what_makes_no_sense_is_refused_and_drains_nothing() {
    let server = counting("1 sip:127.0.1.1:5060 0 9 duid=a\n").start();
    for command in ["drain", "undrain"] {
        assert_eq!(fault(&server, command, json!([7, "a"])), (404, "Destination Group Not Found".into()));
        assert_eq!(fault(&server, command, json!([1, "b"])), (404, "Destination Not Found".into()));
    }
    let (code, text) = fault(&server, "drain", json!([1, "a", -1]));
    assert_eq!((code, text.as_str()), (400, "seconds: expected a whole number from 0 to 2147483647"));
    assert_eq!(flags(&server), ["AX"]);
    assert_eq!(
        ask(&server, "undrain", json!([1, "a"])),
        "\"Ok. Dispatcher destinations not draining any more: 1.\""
    );
    server.stop();
}

/// Three gateways; the first refuses later. The request goes on to the third, by each way of failover.
#[test]
fn a_request_that_comes_back_passes_over_one_that_is_drained_by_then() {
    const RELAY: &str = r#"
request_route {
	if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
	if (has_totag()) { if (loose_route()) t_relay(); exit; }
	record_route();
	if (!ds_select_dst("100", "$(hdr(X-Alg){s.int})")) { send_reply("404", "No destination"); exit; }
	t_on_failure("NEXT");
	t_relay();
}
failure_route[NEXT] { if (t_is_canceled()) exit; if (ds_next_dst()) { t_on_failure("NEXT"); t_relay(); } }
"#;
    for mode in [0, 1, 2] {
        for algorithm in ["8", "10", "4"] {
            let gateways = obedient(3);
            let list: String =
                (0..3).map(|n| format!("100 {} 0 {} duid=gw{n}\n", gateways.uri(n), 9 - n)).collect();
            let params = format!(
                "modparam(\"dispatcher\", \"flags\", 2)\nmodparam(\"dispatcher\", \"ds_lean_failover\", {mode})\n\
                 modparam(\"dispatcher\", \"ds_load_auto\", 1)"
            );
            let server = Kamailio::builder().workers(2).list(list).modparam(&params).route(RELAY).start();
            let mut agent = server.agent();
            let mut call = with(with(agent.call(), "X-Answer", "180"), "X-Alg", algorithm);
            agent.ring(&mut call);
            assert_eq!(gateways.of_call(&call.id), Some(0), "{mode}, {algorithm}");
            ask(&server, "drain", json!([100, "gw1", 3600]));
            assert!(gateways.answer(&call.id, 503));
            eventually("it went on", SOON, || gateways.counts("INVITE") == [1, 0, 1]);
            // Nor does it go to the last one that is left.
            ask(&server, "drain", json!([100, "gw2", 3600]));
            server.stop();
        }
    }
}

/// A second copy of an INVITE, after the drain has begun, goes where the call is.
#[test]
fn an_invite_that_comes_again_goes_where_its_call_is() {
    let gateways = obedient(2);
    let server = counting(lines(&gateways, "")).start();
    let mut agent = server.agent();
    let mut call = ringing(&mut agent);
    assert_eq!(gateways.of_call(&call.id), Some(0));
    ask(&server, "drain", json!([100, "gw0"]));
    // With another branch it makes a transaction of its own.
    call.cseq -= 1;
    agent.send(&call.invite());
    eventually("it arrives", SOON, || gateways.counts("INVITE") == [2, 0]);
    assert_eq!(loads(&server, 2), [1, 0]);
    let mut other = up(&mut agent);
    assert_eq!(gateways.of_call(&other.id), Some(1));
    hang_up_all(&mut agent, [&mut other]);
    server.stop();
}
