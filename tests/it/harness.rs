//! Tests of the harness itself: what the other tests rely on.

use std::time::Duration;

use serde_json::json;

use crate::support::over::{Over, over};
use crate::support::{Gateways, Kamailio, eventually};

/// The shortest routing by call load: one attempt, no failover.
pub const PLAIN_ROUTE: &str = r#"
request_route {
	if (is_method("CANCEL")) { ds_load_update(); if (t_check_trans()) t_relay(); exit; }
	if (has_totag()) {
		if (is_method("ACK") && t_check_trans()) { t_relay(); exit; }
		if (loose_route()) {
			if (is_method("BYE|INVITE|UPDATE")) ds_load_update();
			t_relay();
		} else {
			sl_send_reply("404", "Not here");
		}
		exit;
	}
	t_check_trans();
	record_route();
	if (!ds_select_dst("100", "10")) { send_reply("404", "No destination"); exit; }
	t_on_reply("REPLY");
	t_relay();
}
onreply_route[REPLY] {
	if (status =~ "^2") ds_load_update();
	else if (status =~ "^[3-7]") ds_load_unset();
}
"#;

fn server(gateways: &Gateways, workers: u32) -> Kamailio {
    Kamailio::builder()
        .workers(workers)
        .list(gateways.list(100, ""))
        .modparam(r#"modparam("dispatcher", "flags", 2)"#)
        .route(PLAIN_ROUTE)
        .start()
}

#[test]
fn answered_call_counts_until_bye() {
    let gateways = Gateways::answering(3, 200);
    let server = server(&gateways, 1);
    let mut agent = server.agent();
    let mut call = agent.call();
    assert_eq!(agent.place(&mut call).status(), Some(200));
    let gateway = gateways.of_call(&call.id).unwrap();
    assert_eq!(server.load_of(&format!("gw{gateway}")), 1);
    assert_eq!(server.total_load(), 1);
    assert_eq!(agent.hang_up(&mut call), 200);
    assert_eq!(server.total_load(), 0);
    assert_eq!(gateways.count(gateway, "BYE"), 1);
    server.stop();
}

#[test]
fn refused_and_cancelled_calls_leave_no_load() {
    let busy = Gateways::answering(2, 486);
    let server = server(&busy, 8);
    let mut agent = server.agent();
    let mut call = agent.call();
    assert_eq!(agent.place(&mut call).status(), Some(486));
    assert_eq!(server.total_load(), 0);
    server.stop();

    let ringing = Gateways::ringing(2);
    let server = self::server(&ringing, 8);
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.ring(&mut call);
    assert_eq!(server.total_load(), 1);
    assert_eq!(agent.cancel(&mut call), 487);
    assert_eq!(server.total_load(), 0);
    server.stop();
}

#[test]
fn test_over_tcp_sends_everything_by_it() {
    over(Over::Tcp, || {
        let gateways = Gateways::answering(1, 200);
        let server = server(&gateways, 2);
        let mut agent = server.agent();
        let mut call = agent.call();
        assert_eq!(agent.place(&mut call).status(), Some(200));
        gateways.hang_up(&call.id);
        let bye = agent.receive_where(Duration::from_secs(5), |m| m.method() == Some("BYE"));
        let bye = bye.expect("the gateway's BYE");
        agent.reply(&bye, 200);
        assert!(gateways.await_total("ACK", 1, Duration::from_secs(5)));
        let received = gateways.received().into_iter().map(|one| one.message);
        for message in received.filter(|one| one.method().is_some()).chain([bye]) {
            let vias: Vec<&str> = message.values("Via").collect();
            assert!(vias.len() == 2 && vias.iter().all(|via| via.starts_with("SIP/2.0/TCP")), "{vias:?}");
        }
        server.stop();
    });
}

#[test]
fn ringing_call_is_answered_by_the_test() {
    let gateways = Gateways::ringing(1);
    let server = server(&gateways, 1);
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.ring(&mut call);
    assert!(gateways.answer(&call.id, 200));
    assert_eq!(agent.settle(&mut call).status(), Some(200));
    agent.send(&call.update());
    assert_eq!(agent.answer(&call, "UPDATE").status(), Some(200));
    assert_eq!(agent.hang_up(&mut call), 200);
    assert_eq!(server.total_load(), 0);
    server.stop();
}

#[test]
fn list_of_three_hundred_destinations_arrives_whole() {
    let list: String = (0..300)
        .map(|n| format!("{} sip:127.0.{}.{}:5060 0 0 duid=d{n};maxload=9\n", n % 7, n / 200, n % 200 + 1))
        .collect();
    let server = Kamailio::builder().list(list).route("request_route {\n}\n").start();
    assert_eq!(server.list().len(), 300);
    server.stop();
}

#[test]
fn call_ids_from_one_byte_to_sixty_thousand_go_through() {
    let gateways = Gateways::answering(30, 200);
    let server = server(&gateways, 2);
    let mut agent = server.agent();
    for length in [1, 36, 255, 4_000, 60_000] {
        let mut call = agent.call_with_id(&"i".repeat(length));
        assert_eq!(agent.place(&mut call).status(), Some(200), "{length} bytes");
        assert_eq!(agent.hang_up(&mut call), 200, "{length} bytes");
    }
    eventually("zero load", Duration::from_secs(2), || server.total_load() == 0);
    server.stop();
}

#[test]
fn server_that_ends_leaves_no_process() {
    let server = Kamailio::builder().workers(4).start();
    let processes: Vec<i64> = server.rpc_handle().processes().into_iter().map(|(pid, _)| pid).collect();
    assert!(processes.len() > 4, "{processes:?}");
    assert_eq!(server.rpc("no.such", json!([])).map_err(|e| e.code), Err(500));
    drop(server);
    let alive = |pid: &i64| std::path::Path::new(&format!("/proc/{pid}")).exists();
    eventually("no process left", Duration::from_secs(2), || !processes.iter().any(alive));
}
