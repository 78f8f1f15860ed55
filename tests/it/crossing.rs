//! A call counts exactly while it is up when messages cross: a CANCEL and a 2xx, challenges, re-INVITEs that fail.

use crate::calls::{
    self, NO_FAILOVER, all_over, assert_no_drift, at_one_and_eight_workers, loads, obedient, ringing, set, up,
};
use crate::support::{Call, Gateways, Kamailio};

at_one_and_eight_workers! {
    cancel_releases_at_once,
    answer_that_crosses_the_cancel_counts_until_its_bye,
    refusal_forgets_the_call,
    challenged_call_counts_once,
    refused_reinvite_leaves_the_call_counted,
    reinvite_of_a_lost_dialog_ends_the_call,
    answer_counts_where_its_branch_went_whatever_address_it_comes_from,
}

fn server(gateways: &Gateways, workers: u32) -> Kamailio {
    calls::relaying(workers, gateways.list(100, "maxload=9"), NO_FAILOVER).start()
}

pub fn cancel_releases_at_once(workers: u32) {
    let gateways = Gateways::start(1, |_, request| match request.method() {
        Some("INVITE") => vec![180],
        _ => vec![],
    });
    let server = server(&gateways, workers);
    let mut agent = server.agent();
    let mut calls: Vec<Call> = (0..9).map(|_| ringing(&mut agent)).collect();
    for (left, call) in calls.iter_mut().enumerate().rev() {
        agent.send(&call.cancel());
        agent.answer(call, "CANCEL");
        assert_eq!(loads(&server, 1), [left as i64]); // the gateway has not said a word yet
        assert!(gateways.answer(&call.id, 487));
        assert_eq!(agent.settle(call).status(), Some(487));
        let audit = assert_no_drift(&server);
        assert_eq!((audit.early, audit.released), (left as i64, 0));
    }
    all_over(server);
}

pub fn answer_that_crosses_the_cancel_counts_until_its_bye(workers: u32) {
    let gateways = Gateways::start(2, |_, request| match request.method() {
        Some("INVITE") => vec![180],
        _ => vec![200], // to a CANCEL: the call is answered all the same
    });
    let server = server(&gateways, workers);
    let mut agent = server.agent();
    for n in 1..=10 {
        let mut call = ringing(&mut agent);
        let gateway = gateways.of_call(&call.id).unwrap();
        assert_eq!(agent.cancel(&mut call), 200);
        let audit = assert_no_drift(&server);
        assert_eq!((audit.confirmed, audit.crossed), (1, n));
        assert_eq!(loads(&server, 2)[gateway], 1);
        assert_eq!(agent.hang_up(&mut call), 200);
        assert_eq!(assert_no_drift(&server).calls, 0);
    }
    all_over(server);
}

pub fn refusal_forgets_the_call(workers: u32) {
    let gateways = obedient(2);
    let server = server(&gateways, workers);
    let mut agent = server.agent();
    for status in [300, 302, 400, 404, 408, 480, 481, 486, 487, 488, 500, 600, 603] {
        let mut call = ringing(&mut agent);
        assert!(gateways.answer(&call.id, status));
        assert_eq!(agent.settle(&mut call).status(), Some(status));
        let audit = assert_no_drift(&server);
        assert_eq!((audit.calls, audit.released), (0, 0), "{status}");
    }
    all_over(server);
}

pub fn challenged_call_counts_once(workers: u32) {
    let gateways = obedient(3);
    let server = server(&gateways, workers);
    let mut agent = server.agent();
    let mut held = Vec::new();
    for n in 1..=9 {
        let mut call = agent.call();
        set(&mut call, "X-Answer", "407");
        assert_eq!(agent.place(&mut call).status(), Some(407));
        assert_eq!(assert_no_drift(&server).calls, n - 1);
        set(&mut call, "X-Answer", "180 200");
        assert_eq!(agent.place(&mut call).status(), Some(200));
        assert_eq!(assert_no_drift(&server).confirmed, n);
        held.push(call);
    }
    assert_eq!(loads(&server, 3), [3, 3, 3]);
    calls::hang_up_all(&mut agent, &mut held);
    all_over(server);
}

pub fn refused_reinvite_leaves_the_call_counted(workers: u32) {
    let gateways = obedient(2);
    let server = server(&gateways, workers);
    let mut agent = server.agent();
    let mut call = up(&mut agent);
    for status in [488, 491, 500, 486, 401] {
        set(&mut call, "X-Answer", &status.to_string());
        agent.send(&call.invite());
        assert_eq!(agent.answer(&call, "INVITE").status(), Some(status));
        assert_eq!(assert_no_drift(&server).confirmed, 1, "{status}");
    }
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}

pub fn reinvite_of_a_lost_dialog_ends_the_call(workers: u32) {
    let gateways = obedient(2);
    let server = server(&gateways, workers);
    let mut agent = server.agent();
    for status in [481, 408] {
        let mut call = up(&mut agent);
        set(&mut call, "X-Answer", &status.to_string());
        agent.send(&call.invite());
        assert_eq!(agent.answer(&call, "INVITE").status(), Some(status));
        assert_eq!(assert_no_drift(&server).calls, 0, "{status}");
    }
    all_over(server);
}

pub fn answer_counts_where_its_branch_went_whatever_address_it_comes_from(workers: u32) {
    let gateways = obedient(3);
    let server = server(&gateways, workers);
    let mut agent = server.agent();
    let mut call = ringing(&mut agent);
    let asked = gateways.of_call(&call.id).unwrap();
    let other = (asked + 1) % 3;
    let contact = format!("<{}>", gateways.uri(other));
    let answer = gateways.received().pop().unwrap().message.reply(200, "other").with("Contact", contact);
    gateways.send(other, &answer, server.address());
    assert_eq!(agent.settle(&mut call).status(), Some(200));
    let mut expected = [0; 3];
    expected[asked] = 1;
    assert_eq!(loads(&server, 3), expected);
    assert_eq!(assert_no_drift(&server).confirmed, 1);
    assert_eq!(agent.hang_up(&mut call), 200);
    assert_eq!(gateways.count(other, "BYE"), 1);
    all_over(server);
}
