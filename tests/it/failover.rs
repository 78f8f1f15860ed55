//! `ds_next_dst()` moves the count of a call to a destination that has room at that moment.

use std::time::Duration;

use serde_json::json;

use crate::calls::{
    self, FAILOVER, all_over, assert_no_drift, at_one_and_eight_workers, fill, hang_up_all, loads, obedient,
    ringing, with,
};
use crate::support::{Agent, Call, Gateways, Kamailio, eventually};

const SOON: Duration = Duration::from_secs(5);

at_one_and_eight_workers! {
    next_is_the_least_loaded_of_those_usable_by_then,
    count_follows_the_call_from_gateway_to_gateway,
    call_that_nobody_takes_counts_nowhere,
    silent_gateway_loses_the_call_to_the_next,
    selection_after_a_failure_leaves_the_gateway_that_failed,
    late_refusal_of_the_gateway_before_changes_nothing,
    late_refusal_from_the_set_before_changes_nothing,
}

fn server(gateways: &Gateways, workers: u32, attrs: &str) -> Kamailio {
    calls::relaying(workers, gateways.list(100, attrs), FAILOVER).start()
}

/// The gateway where the call rings says `status`; waits until the call rings at the next.
#[track_caller]
fn refuse(agent: &mut Agent, gateways: &Gateways, call: &Call, status: u16) {
    assert!(gateways.answer(&call.id, status));
    agent.reply_to(call, "INVITE", 180..=180);
}

pub fn next_is_the_least_loaded_of_those_usable_by_then(workers: u32) {
    let gateways = obedient(5);
    let server = server(&gateways, workers, "maxload=4");
    let mut agent = server.agent();
    // Its failover list is made while all are idle.
    let mut call = ringing(&mut agent);
    let first = gateways.of_call(&call.id).unwrap();
    // The list goes from the last line to the first: in this order it meets full, inactive, busy, least.
    let [least, busy, inactive, full] = [1, 2, 3, 4].map(|n| (first + n) % 5);
    let mut wanted = [0; 5];
    (wanted[full], wanted[busy], wanted[least], wanted[first]) = (4, 3, 2, 3);
    let mut held = fill(&mut agent, &gateways, &wanted);
    let state = json!(["i", 100, gateways.uri(inactive)]);
    server.rpc("dispatcher.set_state", state).unwrap();

    refuse(&mut agent, &gateways, &call, 500);
    assert_eq!(gateways.of_call(&call.id), Some(least));
    let mut expected = wanted.map(|n| n as i64);
    expected[least] += 1;
    assert_eq!(loads(&server, 5), expected);
    assert_no_drift(&server);

    assert_eq!(agent.cancel(&mut call), 487);
    hang_up_all(&mut agent, held.iter_mut().flatten());
    all_over(server);
}

pub fn count_follows_the_call_from_gateway_to_gateway(workers: u32) {
    let gateways = obedient(4);
    let server = server(&gateways, workers, "maxload=9");
    let mut agent = server.agent();
    let mut call = ringing(&mut agent);
    let mut seen = vec![gateways.of_call(&call.id).unwrap()];
    for _ in 0..3 {
        refuse(&mut agent, &gateways, &call, 500);
        let gateway = gateways.of_call(&call.id).unwrap();
        assert!(!seen.contains(&gateway), "{gateway} again after {seen:?}");
        seen.push(gateway);
        let mut expected = [0; 4];
        expected[gateway] = 1;
        assert_eq!(loads(&server, 4), expected);
        assert_eq!(assert_no_drift(&server).early, 1);
    }
    assert!(gateways.answer(&call.id, 200));
    assert_eq!(agent.settle(&mut call).status(), Some(200));
    assert_eq!(loads(&server, 4)[seen[3]], 1);
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}

pub fn call_that_nobody_takes_counts_nowhere(workers: u32) {
    let gateways = obedient(3);
    let server = server(&gateways, workers, "maxload=9");
    let mut agent = server.agent();
    let mut call = with(agent.call(), "X-Answer", "180 500");
    assert_eq!(agent.place(&mut call).status(), Some(500));
    assert_eq!(gateways.counts("INVITE"), [1, 1, 1]);
    // When all others are full, there is no next.
    let mut held = fill(&mut agent, &gateways, &[9, 9, 8]);
    gateways.forget_received();
    assert_eq!(agent.place(&mut call).status(), Some(500));
    assert_eq!(gateways.counts("INVITE"), [0, 0, 1]);
    assert_eq!(loads(&server, 3), [9, 9, 8]);
    hang_up_all(&mut agent, held.iter_mut().flatten());
    all_over(server);
}

const SHORT: &str = r#"modparam("tm", "fr_timer", 600)"#;

/// Two gateways, the first of which says nothing to an INVITE.
fn first_is_silent() -> Gateways {
    Gateways::start(2, |gateway, request| match request.method() {
        Some("INVITE") if gateway == 0 => vec![],
        _ => vec![200],
    })
}

pub fn silent_gateway_loses_the_call_to_the_next(workers: u32) {
    let gateways = first_is_silent();
    let server = calls::relaying(workers, gateways.list(100, ""), FAILOVER).modparam(SHORT).start();
    let mut agent = server.agent();
    let mut held: Vec<Call> = (0..3).map(|_| agent.call()).collect();
    for call in &mut held {
        assert_eq!(agent.place(call).status(), Some(200));
        assert_eq!(gateways.of_call(&call.id), Some(1));
    }
    assert_eq!(loads(&server, 2), [0, 3]);
    assert_no_drift(&server);
    hang_up_all(&mut agent, &mut held);
    all_over(server);
}

/// A failure route that selects again, in place of going on in the list.
const ANEW: &str = r#"
	if (t_check_status("408") && ds_select_dst("100", "10")) { t_relay(); exit; }
	ds_load_unset();
"#;

fn selection_after_a_failure_leaves_the_gateway_that_failed(workers: u32) {
    let gateways = first_is_silent();
    let server = calls::plain(workers, gateways.list(100, ""), ANEW).modparam(SHORT).start();
    let mut agent = server.agent();
    // The silent one has the fewest calls, and this call among them, each time.
    let mut held: Vec<Call> = (0..4).map(|_| agent.call()).collect();
    for call in &mut held {
        assert_eq!(agent.place(call).status(), Some(200));
        assert_eq!(gateways.of_call(&call.id), Some(1));
    }
    assert_eq!(loads(&server, 2), [0, 4]);
    hang_up_all(&mut agent, &mut held);
    all_over(server);
}

pub fn late_refusal_of_the_gateway_before_changes_nothing(workers: u32) {
    let gateways = obedient(2);
    let server = server(&gateways, workers, "");
    let mut agent = server.agent();
    let mut call = ringing(&mut agent);
    let first = gateways.of_call(&call.id).unwrap();
    let invite = gateways.received().pop().unwrap().message;
    refuse(&mut agent, &gateways, &call, 500);
    for status in [487, 500, 408, 481, 302] {
        gateways.send(first, &invite.reply(status, "late"), server.address());
    }
    eventually("five late replies", SOON, || assert_no_drift(&server).late >= 5);
    assert_eq!((loads(&server, 2)[first], loads(&server, 2)[1 - first]), (0, 1));
    assert!(gateways.answer(&call.id, 200));
    assert_eq!(agent.settle(&mut call).status(), Some(200));
    assert_eq!(assert_no_drift(&server).confirmed, 1);
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}

/// The second carrier has a set of its own.
const OTHER_SET: &str = r#"
	if (ds_select_dst("200", "10")) { t_relay(); exit; }
	ds_load_unset();
"#;

fn late_refusal_from_the_set_before_changes_nothing(workers: u32) {
    let (first, second) = (obedient(1), obedient(1));
    let list = format!("{}200 {} 0 0 duid=other\n", first.list(100, ""), second.uri(0));
    let server = calls::relaying(workers, list, OTHER_SET).start();
    let mut agent = server.agent();
    let mut call = ringing(&mut agent);
    let invite = first.received().pop().unwrap().message;
    refuse(&mut agent, &first, &call, 500);
    assert_eq!((server.load_of("gw0"), server.load_of("other")), (0, 1));
    for status in [487, 500, 487] {
        first.send(0, &invite.reply(status, "late"), server.address());
    }
    eventually("late replies", SOON, || {
        let audit = assert_no_drift(&server);
        audit.late + audit.unknown >= 2
    });
    assert_eq!((server.load_of("gw0"), server.load_of("other")), (0, 1));
    assert!(second.answer(&call.id, 200));
    assert_eq!(agent.settle(&mut call).status(), Some(200));
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}
