//! An INVITE that comes again counts once; a call that goes elsewhere takes its count along.

use std::time::Duration;

use crate::calls::{
    self, NO_FAILOVER, all_over, assert_no_drift, at_one_and_eight_workers, hang_up_all, loads, obedient,
    ringing, set, up, with,
};
use crate::support::{Call, Gateways, eventually};

at_one_and_eight_workers! {
    retransmission_gets_the_same_gateway_and_counts_once,
    same_invite_to_all_workers_at_once_counts_once,
    new_invite_of_a_call_stays_where_it_counts,
    call_resent_to_another_set_moves_its_count,
    call_of_a_gateway_gone_inactive_moves_with_its_next_invite,
    call_at_a_full_gateway_stays_there,
    invite_that_comes_again_after_its_answer_ends_with_the_call,
}

/// Without a transaction nothing but the module knows that the INVITE came before.
const STATELESS: &str = r#"
request_route {
	if (has_totag()) { loose_route(); if (is_method("BYE")) ds_load_update(); forward(); exit; }
	record_route();
	if (!ds_select_dst("100", "10")) { sl_send_reply("404", "No destination"); exit; }
	forward();
}
onreply_route {
	if (is_method("INVITE") && status =~ "^2") ds_load_update();
}
"#;

const SOON: Duration = Duration::from_secs(5);

fn retransmission_gets_the_same_gateway_and_counts_once(workers: u32) {
    let gateways = obedient(3);
    let server =
        calls::relaying(workers, gateways.list(100, "maxload=40"), NO_FAILOVER).route(STATELESS).start();
    let mut agent = server.agent();
    for round in 0..20 {
        gateways.forget_received();
        let mut call = with(agent.call(), "X-Answer", "180");
        let invite = call.invite();
        for _ in 0..10 {
            agent.send(&invite);
        }
        assert!(gateways.await_total("INVITE", 10, SOON));
        // Its gateway is not the least loaded any more when the next copy comes.
        let mut others = [up(&mut agent), up(&mut agent)];
        agent.send(&invite);
        assert!(gateways.await_total("INVITE", 13, SOON));
        let gateway = gateways.of_call(&call.id).unwrap();
        let copies = gateways.received().into_iter().filter(|r| r.message.call_id() == call.id);
        assert!(copies.into_iter().all(|r| r.gateway == gateway), "round {round}");
        assert_eq!(assert_no_drift(&server).calls, 3);
        assert!(gateways.answer(&call.id, 200));
        agent.settle(&mut call);
        assert_eq!(agent.hang_up(&mut call), 200);
        hang_up_all(&mut agent, &mut others);
        calls::let_scripts_end(&server);
    }
    all_over(server);
}

pub fn same_invite_to_all_workers_at_once_counts_once(workers: u32) {
    let gateways = obedient(3);
    let server = calls::relaying(workers, gateways.list(100, "maxload=40"), NO_FAILOVER).start();
    let mut agent = server.agent();
    let mut held: Vec<Call> = Vec::new();
    for round in 1..=60 {
        let mut call = agent.call();
        let invite = call.invite();
        for _ in 0..8 {
            agent.send(&invite);
        }
        assert_eq!(agent.settle(&mut call).status(), Some(200));
        held.push(call);
        assert_eq!(assert_no_drift(&server).calls, round);
    }
    for call in &held {
        let reached = gateways.received().into_iter().filter(|r| r.message.call_id() == call.id);
        let reached: std::collections::HashSet<usize> = reached.map(|r| r.gateway).collect();
        assert_eq!(reached.len(), 1);
    }
    assert_eq!(loads(&server, 3), [20, 20, 20]);
    hang_up_all(&mut agent, &mut held);
    all_over(server);
}

pub fn new_invite_of_a_call_stays_where_it_counts(workers: u32) {
    let gateways = obedient(3);
    let server = calls::relaying(workers, gateways.list(100, "maxload=40"), NO_FAILOVER).start();
    let mut agent = server.agent();
    let mut call = ringing(&mut agent);
    let gateway = gateways.of_call(&call.id);
    for _ in 0..4 {
        agent.ring(&mut call);
        assert_eq!(gateways.of_call(&call.id), gateway);
        assert_eq!(assert_no_drift(&server).calls, 1);
    }
    assert_eq!(agent.cancel(&mut call), 487);
    all_over(server);
}

pub fn call_resent_to_another_set_moves_its_count(workers: u32) {
    let (first, second) = (obedient(2), obedient(1));
    let list = format!("{}200 {} 0 0 duid=other\n", first.list(100, ""), second.uri(0));
    let server = calls::relaying(workers, list, NO_FAILOVER).start();
    let mut agent = server.agent();
    let mut call = ringing(&mut agent);
    assert_eq!((loads(&server, 2).iter().sum::<i64>(), server.load_of("other")), (1, 0));
    set(&mut call, "X-Set", "200");
    agent.ring(&mut call);
    assert_eq!((loads(&server, 2), server.load_of("other")), (vec![0, 0], 1));
    assert_eq!(assert_no_drift(&server).calls, 1);
    // And back again, now to be answered.
    set(&mut call, "X-Set", "100");
    set(&mut call, "X-Answer", "200");
    assert_eq!(agent.place(&mut call).status(), Some(200));
    assert_eq!((loads(&server, 2).iter().sum::<i64>(), server.load_of("other")), (1, 0));
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}

/// The failure route takes a gateway out that says 500; the caller gets the 500.
const TAKE_OUT: &str = r#"if (t_check_status("500")) ds_mark_dst("i"); ds_load_unset();"#;

fn call_of_a_gateway_gone_inactive_moves_with_its_next_invite(workers: u32) {
    let gateways = obedient(2);
    let server = calls::relaying(workers, gateways.list(100, ""), TAKE_OUT).start();
    let mut agent = server.agent();
    let mut call = ringing(&mut agent);
    let gateway = gateways.of_call(&call.id).unwrap();
    let mut failing = with(agent.call(), "X-Answer", "500");
    let mut other = up(&mut agent); // one call each now, and the turn is the first one's
    assert_eq!(agent.place(&mut failing).status(), Some(500));
    assert_eq!(gateways.of_call(&failing.id), Some(gateway));
    assert_eq!(server.list().iter().filter(|d| d.flags == "IX").count(), 1);
    agent.ring(&mut call);
    assert_eq!(gateways.of_call(&call.id), Some(1 - gateway));
    assert_eq!((loads(&server, 2)[gateway], loads(&server, 2)[1 - gateway]), (0, 2));
    assert_eq!(assert_no_drift(&server).calls, 2);
    assert_eq!(agent.cancel(&mut call), 487);
    assert_eq!(agent.hang_up(&mut other), 200);
    all_over(server);
}

pub fn call_at_a_full_gateway_stays_there(workers: u32) {
    let gateways = Gateways::ringing(2);
    let server = calls::relaying(workers, gateways.list(100, "maxload=1"), NO_FAILOVER).start();
    let mut agent = server.agent();
    let mut calls = [ringing(&mut agent), ringing(&mut agent)];
    for call in &mut calls {
        let gateway = gateways.of_call(&call.id);
        agent.ring(call);
        assert_eq!(gateways.of_call(&call.id), gateway);
        assert_eq!(loads(&server, 2), [1, 1]);
    }
    assert_no_drift(&server);
    for call in &mut calls {
        assert_eq!(agent.cancel(call), 487);
    }
    all_over(server);
}

fn invite_that_comes_again_after_its_answer_ends_with_the_call(workers: u32) {
    let gateways = obedient(1);
    let server = calls::relaying(workers, gateways.list(100, ""), NO_FAILOVER).route(STATELESS).start();
    let mut agent = server.agent();
    for round in 1..=10 {
        let mut call = agent.call();
        let invite = call.invite();
        agent.send(&invite);
        assert_eq!(agent.answer(&call, "INVITE").status(), Some(200));
        // The answer was on its way.
        agent.send(&invite);
        assert_eq!(agent.settle(&mut call).status(), Some(200));
        assert_eq!(loads(&server, 1), [1]);
        assert_eq!(agent.hang_up(&mut call), 200);
        eventually("its BYE ends the call", SOON, || assert_no_drift(&server).calls == 0);
        assert_eq!(gateways.count(0, "INVITE"), 2 * round);
    }
    all_over(server);
}
