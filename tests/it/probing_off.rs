//! Destinations that an operator disabled stay disabled and are not probed; and the switch for all probes.

use serde_json::{Value, json};

use crate::calls::{assert_quiet, with};
use crate::support::{Behaviour, Kamailio, Probed, distinct, eventually};
use crate::watch::{
    SOON, all, at, become_all, becomes, counted, events, flags, more_probes, no_probe, probing, reload, set,
    set_state,
};

#[test]
fn disabled_gateway_is_not_probed_in_any_mode() {
    for mode in 0..=3 {
        let gateways = Probed::start();
        let list: String =
            [4, 12, 13].map(|flags| format!("1 {} {flags} 9\n", gateways.uri_of(flags))).concat();
        let server = probing(mode, list).start();
        let before = flags(&server);
        no_probe(&gateways);
        assert_eq!((flags(&server), counted(&server, "PROBES")), (before, 0), "mode {mode}");
        server.stop();
    }
}

#[test]
fn disabled_by_rpc_it_stays_out_until_an_operator_says_otherwise() {
    let gateways = Probed::start();
    let server = probing(1, gateways.list(1, 2, "")).start();
    become_all(&server, &["AP", "AP"]);
    set_state(&server, "d", &gateways.uri_of(0));
    let probes = distinct(&gateways.probes_of("gw0"));
    for _ in 0..2 {
        // The other one is the clock.
        more_probes(&gateways, 3);
        assert_eq!(flags(&server), ["DX", "AP"]);
        reload(&server);
    }
    assert!(distinct(&gateways.probes_of("gw0")) <= probes + 1, "but one that was under way");
    assert_eq!(at(&server, 0)["HEALTH"]["NEXT_PROBE"], json!(0));
    set_state(&server, "a", &gateways.uri_of(0));
    become_all(&server, &["AP", "AP"]);
    assert_eq!(events(&server).len(), 0, "an operator makes no event");
    assert_quiet(&server.stop());
}

/// Whatever the answer is that comes when it is disabled already.
#[test]
fn answer_that_was_under_way_does_not_lift_it() {
    for answer in [Behaviour::Answer(200, "OK"), Behaviour::Answer(503, "No"), Behaviour::Silent] {
        let gateway = Probed::start();
        gateway.behave(answer);
        gateway.hold();
        let builder = set(probing(1, format!("1 {}\n", gateway.uri())), "ds_ping_fr_timer", 900);
        let server = builder.start();
        gateway.wait_for(1, SOON);
        set_state(&server, "d", &gateway.uri());
        let answers = gateway.release() as i64;
        eventually("the answer is dropped", SOON, || counted(&server, "STALE_PROBES") == answers);
        no_probe(&gateway);
        let one = at(&server, 0);
        assert_eq!((&one["FLAGS"], &one["HEALTH"]["CODE"]), (&json!("DX"), &json!(0)), "{answer:?}");
        assert_eq!(events(&server).len(), 0);
        server.stop();
    }
}

/// Chooses the gateway; an operator disables it meanwhile; then the call's failure is reported, in the words of `X-Mark`.
const MARKING: &str = r#"
request_route {
	if (ds_select_dst("1", "8")) {
		jsonrpc_exec('{"jsonrpc": "2.0", "method": "dispatcher.set_state", "params": ["d", 1, "all"]}');
		ds_mark_dst("$hdr(X-Mark)");
	} else {
		ds_mark_addr("$hdr(X-Mark)", "1", "$hdr(X-Uri)");
	}
	sl_send_reply("200", "OK");
}
"#;

#[test]
fn failure_that_a_script_reports_does_not_lift_it() {
    let gateway = Probed::start();
    let list = format!("1 {}\n", gateway.uri());
    let server = probing(1, &list).route(MARKING).start();
    let mut agent = server.agent();
    let mut report = |state: &str| {
        let mut call = with(with(agent.call(), "X-Mark", state), "X-Uri", &gateway.uri());
        agent.send(&call.invite());
        assert_eq!(agent.answer(&call, "INVITE").status(), Some(200));
        flags(&server).concat()
    };
    for state in ["t", "t", "i", "ip", "tp", "d"] {
        assert_eq!(report(state), "DX", "after {state}");
    }
    assert_eq!(report("a"), "AX");
    becomes(&server, 0, "AP");
    assert_quiet(&server.stop());
}

#[test]
fn operator_who_lifts_it_begins_anew() {
    let gateway = Probed::start();
    gateway.behave(Behaviour::Answer(503, "No"));
    let server = set(probing(1, format!("1 {} 4\n", gateway.uri())), "ds_probing_threshold", 2).start();
    set_state(&server, "a", &gateway.uri());
    becomes(&server, 0, "TP");
    let down = becomes(&server, 0, "IP");
    assert_eq!(down["HEALTH"]["FAILURES"], json!(2));
    server.stop();
}

#[test]
fn flag_32_keeps_probes_away_and_survives_states() {
    let gateways = Probed::start();
    let list = format!("1 {} 40 9\n1 {} 33 5\n", gateways.uri_of(0), gateways.uri_of(1));
    let server = probing(1, &list).start();
    no_probe(&gateways);
    assert_eq!(flags(&server), ["AP", if cfg!(stock_no_ping) { "IN" } else { "IX" }]);
    set_state(&server, "ip", &gateways.uri_of(0));
    set_state(&server, "ap", &gateways.uri_of(1));
    no_probe(&gateways);
    assert_eq!(flags(&server), ["IP", "AP"]);
    assert!(all(&server).iter().all(|one| one["HEALTH"]["NEXT_PROBE"] == json!(0)));
    server.stop();
}

/// What the switch answers, and the same question to the stock module.
#[test]
fn switch_for_all_probes_answers_as_in_the_stock_module_and_holds() {
    let gateway = Probed::start();
    let list = format!("1 {}\n", gateway.uri());
    let ours = probing(1, &list).start();
    let stock = Kamailio::builder().stock().list(&list).start();
    let ask = |server: &Kamailio, params: &Value| server.rpc("dispatcher.ping_active", params.clone());
    for params in [json!([]), json!([0]), json!([]), json!([0]), json!([1]), json!([])] {
        let [mine, theirs] = [&ours, &stock].map(|server| ask(server, &params));
        assert_eq!(mine.ok(), theirs.ok(), "{params}");
    }
    more_probes(&gateway, 1);
    ask(&ours, &json!([0])).unwrap();
    // The one that may be under way comes first.
    let before = counted(&ours, "PROBES");
    gateway.wait_for(before as usize, SOON);
    no_probe(&gateway);
    assert_eq!(counted(&ours, "PROBES"), before);
    ask(&ours, &json!([1])).unwrap();
    more_probes(&gateway, 1);
    ours.stop();
    drop(stock);
}
