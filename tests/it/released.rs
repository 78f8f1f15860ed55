//! A call that a script selects a destination for but does not send stops counting when the script ends.

use std::time::Duration;

use crate::calls::{all_over, assert_no_drift, loads, with};
use crate::support::{Agent, Gateways, Kamailio, eventually};

/// `X-Do` says what the script does with what it has selected; `X-Then` what the failure route does.
const ROUTE: &str = r#"
request_route {
	if (is_method("ACK|CANCEL|BYE")) { if (t_check_trans()) t_relay(); exit; }
	t_on_failure("FAILED");
	if ($hdr(X-Do) == "tries") t_newtran();
	if (!ds_select_dst("100", "10")) { sl_send_reply("404", "No destination"); exit; }
	switch ($hdr(X-Do)) {
	case "exits": exit;
	case "drops": drop;
	case "answers": sl_send_reply("480", "Not now"); exit;
	case "redirects": sl_send_reply("302", "Elsewhere"); exit;
	case "refuses": t_newtran(); t_reply("480", "Not now"); exit;
	case "tries": t_reply("480", "Not now"); exit;
	case "no-name": $du = "sip:no-such-host.invalid"; t_relay(); exit;
	case "no-route": $du = "sip:127.0.0.1:9;transport=tcp"; t_relay(); exit;
	case "not-sent": t_relay(); exit;
	case "list": ds_select("100", "10"); exit;
	case "twice": ds_select_dst("100", "4"); exit;
	case "elsewhere": $du = $hdr(X-To); t_relay(); exit;
	case "stateless": $du = "sip:no-such-host.invalid"; forward(); sl_send_reply("500", "No"); exit;
	}
	t_relay();
}
failure_route[FAILED] {
	if ($hdr(X-Then) == "nothing") exit;
	if (!ds_next_dst()) exit;
	switch ($hdr(X-Then)) {
	case "next-no-name": $du = "sip:no-such-host.invalid"; t_relay(); exit;
	case "next-exits": exit;
	case "next-answers": t_reply("480", "Not now"); exit;
	}
	t_relay();
}
"#;

fn server(list: String) -> (Kamailio, Agent) {
    let server = Kamailio::builder()
        .workers(2)
        .list(list)
        .modparam("modparam(\"dispatcher\", \"flags\", 2)")
        .route(ROUTE)
        .start();
    let agent = server.agent();
    (server, agent)
}

/// Some scripts answer nothing: the next request of this worker's tells that the script has ended.
const SOON: Duration = Duration::from_secs(2);
/// A transaction is gone five seconds after its end.
const GONE: Duration = Duration::from_secs(15);

#[test]
fn selection_that_is_not_sent_is_released() {
    let gateways = Gateways::ringing(2);
    let (server, mut agent) = server(gateways.list(100, "maxload=1"));
    for what in [
        "exits",
        "drops",
        "answers",
        "redirects",
        "refuses",
        "tries",
        "no-name",
        "no-route",
        "list",
        "twice",
        "stateless",
    ] {
        for _ in 0..3 {
            let mut call = with(agent.call(), "X-Do", what);
            agent.send(&call.invite());
            if !["exits", "drops", "list", "twice"].contains(&what) {
                let answer = agent.answer(&call, "INVITE");
                assert_ne!(answer.status(), Some(404), "{what}: a place was lost");
                agent.send(&call.ack(&answer));
            }
            eventually(what, SOON, || assert_no_drift(&server).calls == 0);
        }
    }
    assert_eq!(gateways.counts("INVITE"), [0, 0]);
    // Both have their place still.
    let mut calls = [agent.call(), agent.call()];
    calls.iter_mut().for_each(|call| drop(agent.ring(call)));
    assert_eq!(loads(&server, 2), [1, 1]);
    for call in &mut calls {
        assert_eq!(agent.cancel(call), 487);
    }
    server.stop();
}

#[test]
fn destination_that_cannot_be_sent_to_is_released() {
    // The server has no TCP, and no way to a broadcast address.
    let list = "100 sip:127.0.0.1:9;transport=tcp 0 0 duid=gw0\n100 sip:255.255.255.255:5060 0 0 duid=gw1\n";
    let (server, mut agent) = server(list.into());
    for _ in 0..4 {
        let mut call = with(agent.call(), "X-Do", "not-sent");
        assert!(agent.place(&mut call).status() >= Some(400));
        eventually("released", SOON, || assert_no_drift(&server).calls == 0);
    }
    server.stop();
}

#[test]
fn request_that_is_sent_elsewhere_leaves_the_selected_one_free() {
    let (gateways, elsewhere) = (Gateways::ringing(1), Gateways::answering(1, 200));
    let (server, mut agent) = server(gateways.list(100, "maxload=1"));
    for _ in 0..3 {
        let mut call = with(with(agent.call(), "X-Do", "elsewhere"), "X-To", &elsewhere.uri(0));
        assert_eq!(agent.place(&mut call).status(), Some(200));
        // The answer may come before the script has ended.
        eventually("free", SOON, || (loads(&server, 1), assert_no_drift(&server).calls) == (vec![0], 0));
    }
    all_over(server);
}

#[test]
fn failover_that_is_not_sent_is_released() {
    let gateways = Gateways::start(3, |_, request| match request.method() {
        Some("INVITE") => vec![503],
        _ => vec![200],
    });
    let (server, mut agent) = server(gateways.list(100, "maxload=1"));
    for then in ["next-no-name", "next-exits", "next-answers", "nothing"] {
        for _ in 0..3 {
            let mut call = with(agent.call(), "X-Then", then);
            assert!(agent.place(&mut call).status() >= Some(400), "{then}");
            // Where the script does nothing, the end of the transaction tells.
            eventually(then, if then == "nothing" { GONE } else { SOON }, || {
                assert_no_drift(&server).calls == 0
            });
        }
    }
    assert_eq!(assert_no_drift(&server).calls, 0);
    server.stop();
}

#[test]
fn gateway_that_says_nothing_is_free_when_the_transaction_ends() {
    let gateways = Gateways::start(1, |_, _| vec![]);
    let (server, mut agent) = server(gateways.list(100, "maxload=1"));
    let mut call = with(agent.call(), "X-Then", "nothing");
    assert_eq!(agent.place(&mut call).status(), Some(408));
    eventually("the transaction is gone", GONE, || assert_no_drift(&server).calls == 0);
    server.stop();
}
