//! A call is released once, whatever messages come after.

use std::time::Duration;

use crate::calls::{
    self, Audit, NO_FAILOVER, all_over, assert_no_drift, at_one_and_eight_workers, loads, obedient, ringing,
    set, up, with,
};
use crate::support::counting::Counting;
use crate::support::{Agent, Call, Gateways, Kamailio, eventually};

/// A worker may still have a copy in its hands when another one's answer is here: nobody answers a copy.
const COPIES: Duration = Duration::from_secs(10);

at_one_and_eight_workers! {
    two_byes_release_once,
    bye_of_an_unknown_call_changes_nothing,
    cancel_after_the_answer_changes_nothing,
    cancel_sent_twice_releases_once,
    refusal_after_the_bye_changes_nothing,
    storm_of_byes_ends_at_zero_in_silence,
}

fn server(gateways: &Gateways, workers: u32) -> Kamailio {
    calls::relaying(workers, gateways.list(100, "maxload=1000"), NO_FAILOVER).start()
}

/// Messages about calls that are not known: the script reports them; where the module follows calls they are none of its own.
fn told(by_script: i64) -> i64 {
    if Counting::now().is_followed() { 0 } else { by_script }
}

/// The audit once the script has reported so many messages that were about no call any more.
#[track_caller]
fn reported(server: &Kamailio, by_script: i64) -> Audit {
    let reports = || {
        let audit = assert_no_drift(server);
        audit.unknown + audit.late
    };
    eventually("each is reported", COPIES, || reports() >= told(by_script));
    let audit = assert_no_drift(server);
    assert_eq!(audit.unknown + audit.late, told(by_script));
    audit
}

pub fn two_byes_release_once(workers: u32) {
    let gateways = obedient(1);
    let server = server(&gateways, workers);
    let mut agent = server.agent();
    let mut stays = up(&mut agent);
    for round in 1..=20 {
        let mut call = up(&mut agent);
        assert_eq!(loads(&server, 1), [2]);
        let bye = call.bye();
        for _ in 0..4 {
            agent.send(&bye);
        }
        assert_eq!(agent.answer(&call, "BYE").status(), Some(200));
        assert_eq!(agent.hang_up(&mut call), 200); // one more, with a number of its own
        let audit = reported(&server, 4 * round);
        assert_eq!((audit.calls, audit.confirmed), (1, 1));
    }
    assert_eq!(agent.hang_up(&mut stays), 200);
    all_over(server);
}

pub fn bye_of_an_unknown_call_changes_nothing(workers: u32) {
    let gateways = obedient(2);
    let server = server(&gateways, workers);
    let mut agent = server.agent();
    let mut stays = up(&mut agent);
    for n in 1..=50 {
        assert_eq!(unknown_bye(&mut agent), 481);
        assert_eq!(assert_no_drift(&server).unknown, told(n));
    }
    assert_eq!(loads(&server, 2).iter().sum::<i64>(), 1);
    assert_eq!(agent.hang_up(&mut stays), 200);
    all_over(server);
}

/// Hangs up a call that there never was.
fn unknown_bye(agent: &mut Agent) -> u16 {
    let mut call = agent.call();
    call.to_tag = Some("nobody".into());
    agent.hang_up(&mut call)
}

pub fn cancel_after_the_answer_changes_nothing(workers: u32) {
    let gateways = obedient(1);
    let server = server(&gateways, workers);
    let mut agent = server.agent();
    for n in 1..=10 {
        let mut call = up(&mut agent);
        agent.send(&call.cancel());
        agent.answer(&call, "CANCEL");
        let audit = assert_no_drift(&server);
        assert_eq!((audit.confirmed, audit.late), (1, n));
        assert_eq!(agent.hang_up(&mut call), 200);
        assert_eq!(assert_no_drift(&server).calls, 0);
    }
    all_over(server);
}

pub fn cancel_sent_twice_releases_once(workers: u32) {
    // Keeps ringing after a CANCEL, so that the call stays in its last moments for a while.
    let gateways = Gateways::start(1, |_, request| match request.method() {
        Some("INVITE") => vec![180],
        Some("CANCEL") => vec![],
        _ => vec![200],
    });
    let server = server(&gateways, workers);
    let mut agent = server.agent();
    let mut stays = ringing(&mut agent);
    let mut call = ringing(&mut agent);
    for _ in 0..5 {
        agent.send(&call.cancel());
        agent.answer(&call, "CANCEL");
    }
    let audit = assert_no_drift(&server);
    assert_eq!((audit.early, audit.released, loads(&server, 1)), (1, 1, vec![1]));
    assert!(gateways.answer(&call.id, 487));
    agent.settle(&mut call);
    assert_eq!((assert_no_drift(&server).released, loads(&server, 1)), (0, vec![1]));
    agent.send(&stays.cancel());
    assert!(gateways.answer(&stays.id, 487));
    assert_eq!(agent.settle(&mut stays).status(), Some(487));
    all_over(server);
}

pub fn refusal_after_the_bye_changes_nothing(workers: u32) {
    let gateways = obedient(1);
    let server = server(&gateways, workers);
    let mut agent = server.agent();
    let mut stays = up(&mut agent);
    let mut call = up(&mut agent);
    // A re-INVITE rings while the call is hung up; its answer comes when the call is no more.
    set(&mut call, "X-Answer", "180");
    agent.ring(&mut call);
    let reinvite = call.clone();
    assert_eq!(agent.hang_up(&mut call), 200);
    assert!(gateways.answer(&call.id, 487));
    assert_eq!(agent.answer(&reinvite, "INVITE").status(), Some(487));
    let audit = assert_no_drift(&server);
    assert_eq!((audit.confirmed, loads(&server, 1)), (1, vec![1]));
    assert_eq!(agent.hang_up(&mut stays), 200);
    all_over(server);
}

const SENDERS: usize = 4;
const CALLS_EACH: usize = 100;

pub fn storm_of_byes_ends_at_zero_in_silence(workers: u32) {
    let gateways = obedient(3);
    let server = server(&gateways, workers);
    let mut agents: Vec<Agent> = (0..SENDERS).map(|_| server.agent()).collect();
    let place = |agent: &mut Agent| (0..CALLS_EACH).map(|_| up(agent)).collect::<Vec<Call>>();
    let mut calls: Vec<Vec<Call>> = agents.iter_mut().map(place).collect();
    assert_eq!(loads(&server, 3).iter().sum::<i64>(), 400);
    std::thread::scope(|scope| {
        for (agent, calls) in std::iter::zip(&mut agents, &mut calls) {
            scope.spawn(move || {
                for call in calls {
                    let bye = call.bye();
                    for _ in 0..3 {
                        agent.send(&bye);
                    }
                    unknown_bye(agent);
                    assert_eq!(agent.answer(call, "BYE").status(), Some(200));
                }
            });
        }
        scope.spawn(|| {
            let mut last = 400;
            while last > 0 {
                let loads = loads(&server, 3);
                assert!(loads.iter().all(|load| (0..=134).contains(load)), "{loads:?}");
                let sum = loads.iter().sum();
                assert!(sum <= last, "{sum} after {last}");
                last = sum;
            }
        });
    });
    reported(&server, 400 * 3); // two copies and one of nobody's, each
    // The server still takes calls.
    let mut call = with(agents[0].call(), "X-Answer", "486");
    assert_eq!(agents[0].place(&mut call).status(), Some(486));
    all_over(server);
}
