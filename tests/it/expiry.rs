//! Calls without a BYE are dropped after their time; calls of which a message is seen are kept.

use std::time::{Duration, Instant};

use crate::calls::{
    self, NO_FAILOVER, all_over, assert_no_drift, at_one_and_eight_workers, hang_up_all, loads, obedient,
    ringing, set, up,
};
use crate::support::{Gateways, Kamailio, eventually};

at_one_and_eight_workers! {
    unanswered_call_is_dropped_and_an_answered_one_kept,
    call_heard_of_by_reinvite_or_update_is_kept,
    dropped_call_makes_room,
    without_initexpire_a_ringing_call_stays,
}

fn server(gateways: &Gateways, workers: u32, early: u32, confirmed: u32) -> Kamailio {
    let times = format!(
        r#"modparam("dispatcher", "ds_hash_initexpire", {early})
        modparam("dispatcher", "ds_hash_expire", {confirmed})
        modparam("dispatcher", "ds_hash_check_interval", 1)"#
    );
    calls::relaying(workers, gateways.list(100, "maxload=2"), NO_FAILOVER).modparam(&times).start()
}

/// What an expiry of a few seconds may take at the most, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(12);

pub fn unanswered_call_is_dropped_and_an_answered_one_kept(workers: u32) {
    let gateways = obedient(1);
    let server = server(&gateways, workers, 2, 600);
    let mut agent = server.agent();
    let mut answered = up(&mut agent);
    let began = Instant::now();
    let mut unanswered = ringing(&mut agent);
    eventually("one expired", DEADLINE, || assert_no_drift(&server).expired == 1);
    assert!(began.elapsed() >= Duration::from_secs(2), "after {:?}", began.elapsed());
    let audit = assert_no_drift(&server);
    assert_eq!((audit.early, audit.confirmed, loads(&server, 1)), (0, 1, vec![1]));
    // Its end comes late and finds nothing.
    assert_eq!(agent.cancel(&mut unanswered), 487);
    assert_eq!(loads(&server, 1), [1]);
    assert_eq!(agent.hang_up(&mut answered), 200);
    assert_eq!(all_over(server).expired, 1);
}

pub fn call_heard_of_by_reinvite_or_update_is_kept(workers: u32) {
    let gateways = obedient(3);
    let server = server(&gateways, workers, 2, 3);
    let mut agent = server.agent();
    let mut silent = up(&mut agent);
    let (silent_since, mut gone_at) = (Instant::now(), None);
    let (mut reinvited, mut updated) = (up(&mut agent), up(&mut agent));
    // Its 488 says nothing about the call: the request alone counts.
    set(&mut reinvited, "X-Answer", "488");
    let mut heard = Instant::now();
    eventually("three seconds after the silent one is gone", DEADLINE, || {
        if heard.elapsed() > Duration::from_millis(900) {
            heard = Instant::now();
            assert_eq!(agent.place(&mut reinvited).status(), Some(488));
            agent.send(&updated.update());
            assert_eq!(agent.answer(&updated, "UPDATE").status(), Some(200));
        }
        if gone_at.is_none() && assert_no_drift(&server).expired == 1 {
            gone_at = Some(Instant::now());
        }
        gone_at.is_some_and(|at| at.elapsed() > Duration::from_secs(3))
    });
    let silence = gone_at.unwrap() - silent_since;
    assert!(silence >= Duration::from_secs(3), "after {silence:?}");
    let audit = assert_no_drift(&server);
    assert_eq!((audit.confirmed, audit.expired), (2, 1));
    assert_eq!(agent.hang_up(&mut silent), 200);
    assert_eq!(assert_no_drift(&server).confirmed, 2);
    hang_up_all(&mut agent, [&mut reinvited, &mut updated]);
    all_over(server);
}

pub fn dropped_call_makes_room(workers: u32) {
    let gateways = obedient(1);
    let server = server(&gateways, workers, 2, 3);
    let mut agent = server.agent();
    let (_, mut ringing) = (up(&mut agent), ringing(&mut agent));
    let mut late = agent.call();
    assert_eq!(agent.place(&mut late).status(), Some(404));
    eventually("room", DEADLINE, || agent.place(&mut late).status() == Some(200));
    eventually("both expired", DEADLINE, || assert_no_drift(&server).expired >= 2);
    assert_eq!(agent.cancel(&mut ringing), 487);
    agent.hang_up(&mut late);
    all_over(server);
}

pub fn without_initexpire_a_ringing_call_stays(workers: u32) {
    let gateways = obedient(1);
    let server = server(&gateways, workers, 0, 1);
    let mut agent = server.agent();
    let mut ringing = ringing(&mut agent);
    let mut answered = up(&mut agent);
    eventually("the answered one expired", DEADLINE, || assert_no_drift(&server).expired == 1);
    assert_eq!(assert_no_drift(&server).early, 1);
    assert_eq!(agent.hang_up(&mut answered), 200);
    assert_eq!(agent.cancel(&mut ringing), 487);
    all_over(server);
}

/// With `ds_timer_mode` 1 another process does it.
#[test]
fn secondary_timer_drops_calls_as_well() {
    let gateways = obedient(1);
    let times = "modparam(\"dispatcher\", \"ds_hash_initexpire\", 2)\n\
                 modparam(\"dispatcher\", \"ds_hash_check_interval\", 1)\n\
                 modparam(\"dispatcher\", \"ds_timer_mode\", 1)";
    let server = calls::relaying(1, gateways.list(100, "maxload=2"), NO_FAILOVER).modparam(times).start();
    let mut agent = server.agent();
    let _ringing = ringing(&mut agent);
    eventually("one expired", DEADLINE, || assert_no_drift(&server).expired == 1);
    assert_eq!(loads(&server, 1), [0]);
    let names: Vec<_> = server.rpc_handle().processes().into_iter().map(|(_, name)| name).collect();
    assert!(names.iter().any(|name| name == "secondary timer"), "{names:?}");
    server.stop();
}
