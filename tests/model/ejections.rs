//! Ejections, while processes report calls and choose: never more of a set than may be out, and no more calls in a trial than it has.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dispatcher::dest::Flags;
use dispatcher::health::ejection::{Outcome, People, Rules};
use dispatcher::service::health::probe::Now;
use dispatcher::service::health::{ejection, set_state};
use dispatcher::service::routing::choose::{Call, NoRoute, select};

use super::mapping::Mapping;
use super::{Random, WORKERS, asking, audit, call_load, fork_workers, publish, root};

const SET: i32 = 1;
const GATEWAYS: usize = 10;
const RULES: Rules = Rules {
    row: 3,
    window: 5,
    min_calls: 5,
    share: 50,
    time: 1,
    max_time: 3,
    trial: 3,
    retry_after_max: 2,
    most: 30,
};

fn at(micros: u64) -> Now {
    Now { micros, wall: micros / 1000 }
}

fn list() -> String {
    (0..GATEWAYS).map(|name| format!("{SET} sip:gw{name}\n")).collect()
}

/// All gateways fail nearly always. Whoever looks, with the board locked, sees that not more than three take no calls.
#[test]
fn never_more_of_a_set_than_may_be_are_out() {
    let mapping = Mapping::new(32 << 20);
    let root = root(mapping);
    publish(root, &list()).unwrap();
    let clock = mapping.keep(AtomicU64::new(1));
    let seen = mapping.keep([const { AtomicUsize::new(0) }; 4]);
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 7);
            for _ in 0..20_000 {
                let sets = root.sets.pin(worker).unwrap();
                let set = sets.set(SET).unwrap();
                let one = set.get(random.below(GATEWAYS as u64) as usize).unwrap();
                let now = at(clock.fetch_add(random.below(500), Ordering::SeqCst));
                let sent = ejection::sent(root, one.record).unwrap();
                let outcome = match random.below(20) {
                    0 | 1 => Outcome::Good,
                    2 => Outcome::Rang,
                    3 => Outcome::Unknown,
                    4 => Outcome::Failed { wait: Some(1) },
                    _ => Outcome::Failed { wait: None },
                };
                let people = People::of(random.below(64), random.below(64));
                ejection::told(root, &sets, &RULES, sent, (outcome, false, people, 503), now);
                if random.below(20) == 0 {
                    ejection::look(root, &sets, &RULES, now);
                }
                if random.below(500) == 0 {
                    // The word of an operator: at once, whatever the rest do.
                    assert!(set_state::set(root, &[one], Flags::default(), now.wall));
                }
                let out = GATEWAYS - set.ranks.usable_and_open().0;
                assert!(out <= 3, "{out} of {GATEWAYS} are out");
                seen[out].fetch_add(1, Ordering::Relaxed);
            }
        },
        || {},
    );
    assert!(seen.iter().all(|times| times.load(Ordering::Relaxed) > 0), "{seen:?}");
    assert_eq!(audit::audit(root).misplaced, 0);
}

/// What is down by the word of an operator counts to those that are out, and no failing call brings it back.
#[test]
fn what_an_operator_says_is_never_overruled() {
    let mapping = Mapping::new(32 << 20);
    let root = root(mapping);
    publish(root, &list()).unwrap();
    {
        let sets = root.sets.pin(WORKERS).unwrap();
        let down: Vec<_> = sets.set(SET).unwrap().iter().take(2).collect();
        assert!(set_state::set(root, &down, Flags::DISABLED, 0));
    }
    let clock = mapping.keep(AtomicU64::new(1));
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 77);
            for _ in 0..5_000 {
                let sets = root.sets.pin(worker).unwrap();
                let set = sets.set(SET).unwrap();
                let one = set.get(random.below(GATEWAYS as u64) as usize).unwrap();
                let now = at(clock.fetch_add(random.below(500), Ordering::SeqCst));
                let sent = ejection::sent(root, one.record).unwrap();
                let outcome =
                    if random.below(9) == 0 { Outcome::Good } else { Outcome::Failed { wait: None } };
                let people = People::of(random.below(64), random.below(64));
                ejection::told(root, &sets, &RULES, sent, (outcome, false, people, 503), now);
                ejection::look(root, &sets, &RULES, now);
                for disabled in set.iter().take(2) {
                    assert_eq!(root.registry.record(disabled.record).unwrap().flags(), Flags::DISABLED);
                }
                let out = GATEWAYS - set.ranks.usable_and_open().0;
                assert!(out <= 3, "{out} of {GATEWAYS} are out");
            }
        },
        || {},
    );
}

/// Eight processes choose at once where one of two is on trial: three of their calls go there, by whatever algorithm.
#[test]
fn no_more_calls_go_to_a_trial_than_it_has() {
    for algorithm in [10, 4, 8] {
        let mapping = Mapping::new(32 << 20);
        let root = root(mapping);
        publish(root, &format!("{SET} sip:gw0 0 9\n{SET} sip:gw1 0 1\n")).unwrap();
        let on_trial = {
            let sets = root.sets.pin(WORKERS).unwrap();
            let one = sets.set(SET).unwrap().get(0).unwrap();
            let rules = Rules { most: 50, ..RULES };
            for n in 0..3 {
                let sent = ejection::sent(root, one.record).unwrap();
                let failed = (Outcome::Failed { wait: None }, false, People::of(n, n), 503);
                ejection::told(root, &sets, &rules, sent, failed, at(1));
            }
            assert!(root.registry.record(one.record).unwrap().flags().has(Flags::EJECTED));
            ejection::look(root, &sets, &rules, at(5_000_000));
            one.record
        };
        let went = mapping.keep(AtomicUsize::new(0));
        fork_workers(
            |worker| {
                for call in 0..40u8 {
                    let sets = root.sets.pin(worker).unwrap();
                    let key = root.secret.call(&[worker as u8, call]);
                    if algorithm == 10 {
                        match call_load(root, &sets, key, 0) {
                            Ok(()) | Err(NoRoute::Refused(_)) => continue,
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                    let goes = Call::Goes { key: &|| Some(key), invite: &Default::default, may_stay: false };
                    let chosen = select(root, &sets, &asking(SET, algorithm, goes)).unwrap();
                    if chosen.set.get(chosen.at).unwrap().record == on_trial {
                        went.fetch_add(1, Ordering::SeqCst);
                    }
                }
            },
            || {},
        );
        let record = root.registry.record(on_trial).unwrap();
        let went = if algorithm == 10 { record.load.get() as usize } else { went.load(Ordering::SeqCst) };
        assert_eq!(went, 3, "algorithm {algorithm}");
        assert_eq!(record.flags(), Flags::EJECTED.with(Flags::ON_TRIAL));
        assert_eq!(audit::audit(root).misplaced, 0);
    }
}
