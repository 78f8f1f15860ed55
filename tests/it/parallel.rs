//! Algorithm 12: every active gateway gets the INVITE at once, the first 200 wins.

use std::time::Duration;

use serde_json::json;

use crate::calls::assert_quiet;
use crate::support::{Agent, Call, Gateways, Kamailio, eventually};

const SOON: Duration = Duration::from_secs(5);

/// `X-Domain` asks for the request URI to be set.
const ROUTE: &str = r#"
request_route {
	if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
	if (has_totag()) {
		if (is_method("ACK") && t_check_trans()) { t_relay(); exit; }
		loose_route();
		t_relay();
		exit;
	}
	t_check_trans();
	record_route();
	if (is_present_hf("X-Domain")) $var(found) = ds_select_domain("100", "12");
	else $var(found) = ds_select_dst("100", "12");
	if ($var(found) < 0) { sl_send_reply("404", "No destination"); exit; }
	t_relay();
}
"#;

fn server(gateways: &Gateways) -> Kamailio {
    let flags = "modparam(\"dispatcher\", \"flags\", 2)";
    Kamailio::builder().workers(4).list(gateways.list(100, "")).modparam(flags).route(ROUTE).start()
}

/// Until `count` ring, as the server has told the caller: tm cancels only where it has heard something.
#[track_caller]
fn all_ring(agent: &mut Agent, call: &mut Call, count: usize) {
    agent.ring(call);
    for _ in 1..count {
        agent.reply_to(call, "INVITE", 180..=180);
    }
}

#[test]
fn first_answer_wins_and_the_others_are_cancelled() {
    for domain in [false, true] {
        let gateways = Gateways::ringing(4);
        let server = server(&gateways);
        server.rpc("dispatcher.set_state", json!(["i", 100, gateways.uri(2)])).unwrap();
        let mut agent = server.agent();
        let mut call = agent.call();
        if domain {
            call.extra.push(("X-Domain".into(), "1".into()));
        }
        all_ring(&mut agent, &mut call, 3);
        assert!(gateways.answer(&call.id, 200));
        let answer = agent.settle(&mut call);
        assert_eq!(answer.status(), Some(200));
        let winner = [0, 1, 3]
            .into_iter()
            .find(|&n| answer.contact().unwrap().ends_with(&gateways.address(n).to_string()));
        let mut cancelled = vec![1, 1, 0, 1];
        cancelled[winner.unwrap()] = 0;
        eventually("the others are cancelled", SOON, || gateways.counts("CANCEL") == cancelled);
        assert_eq!(gateways.counts("INVITE"), [1, 1, 0, 1]);
        for received in gateways.received().iter().filter(|r| r.message.method() == Some("INVITE")) {
            let (uri, address) = (received.message.uri().unwrap(), gateways.address(received.gateway));
            assert_eq!(uri.ends_with(&address.to_string()), domain, "gateway {} got {uri}", received.gateway);
        }
        assert_eq!(agent.hang_up(&mut call), 200);
        assert_eq!(gateways.count(winner.unwrap(), "BYE"), 1);
        assert_quiet(&server.stop());
    }
}

#[test]
fn one_refusal_leaves_the_others_ringing() {
    let gateways = Gateways::start(3, |gateway, request| match request.method() {
        Some("INVITE") if gateway == 1 => vec![486],
        Some("INVITE") if request.tag("To").is_none() => vec![180],
        Some("CANCEL") => vec![487],
        _ => vec![200],
    });
    let server = server(&gateways);
    let mut agent = server.agent();
    let mut call = agent.call();
    all_ring(&mut agent, &mut call, 2);
    eventually("the refusal is acknowledged", SOON, || gateways.count(1, "ACK") == 1);
    assert!(gateways.answer(&call.id, 200));
    assert_eq!(agent.settle(&mut call).status(), Some(200));
    eventually("the other is cancelled", SOON, || gateways.counts("CANCEL").iter().sum::<usize>() == 1);
    assert_eq!(gateways.count(1, "CANCEL"), 0);
    assert_eq!(agent.hang_up(&mut call), 200);
    assert_quiet(&server.stop());
}

#[test]
fn caller_who_gives_up_cancels_all() {
    let gateways = Gateways::ringing(3);
    let server = server(&gateways);
    let mut agent = server.agent();
    let mut call = agent.call();
    all_ring(&mut agent, &mut call, 3);
    assert_eq!(agent.cancel(&mut call), 487);
    assert_eq!(gateways.counts("CANCEL"), [1, 1, 1]);
    assert_quiet(&server.stop());
}

#[test]
fn no_active_gateway_is_no_destination() {
    let gateways = Gateways::ringing(2);
    let server = server(&gateways);
    server.rpc("dispatcher.set_state", json!(["i", 100, "all"])).unwrap();
    let mut agent = server.agent();
    let mut call = agent.call();
    assert_eq!(agent.place(&mut call).status(), Some(404));
    assert_eq!(gateways.counts("INVITE"), [0, 0]);
    server.stop();
}
