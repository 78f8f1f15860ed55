//! Drains, while processes place and end calls: none is placed where one was seen to begin, each ends once, and only when no call is left.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dispatcher::dest::Flags;
use dispatcher::load::Event;
use dispatcher::service::health::drain::{self, Over, Terms};
use dispatcher::service::health::probe::Now;
use dispatcher::service::routing::choose::NoRoute;
use dispatcher::state::{Generation, Root, Set};

use super::mapping::Mapping;
use super::{Random, WORKERS, audit, call_load, fork_workers, publish, report, root};

const TERMS: Terms = Terms { seconds: None, counts_all: true };

fn at(micros: u64) -> Now {
    Now { micros, wall: micros / 1000 }
}

/// Begins or takes back a drain of some destination.
pub fn drain(root: &Root<Mapping>, set: &Set<Mapping>, random: &mut Random) {
    let one = set.get(random.below(set.len() as u64) as usize);
    let terms = Terms { seconds: (random.below(2) == 0).then_some(random.below(9) as u32), ..TERMS };
    if random.below(3) == 0 {
        drain::undo(root, one.as_slice(), at(0)).unwrap();
    } else {
        drain::begin(root, set, one.as_slice(), terms, at(random.below(9) * 1_000_000)).unwrap();
    }
}

/// Ends those that are over at some time.
pub fn end(root: &Root<Mapping>, sets: &Generation<Mapping>, random: &mut Random) -> Vec<Over> {
    drain::end_those_over(root, sets, at(random.below(20) * 1_000_000))
}

const SET: i32 = 1;
const GATEWAYS: usize = 4;
const ROUNDS: usize = 300;

/// Each process ends calls that it placed and places others; the first drains one gateway after the other, and all look for drains that
/// are over.
#[test]
fn none_is_placed_once_a_drain_has_begun_and_each_ends_once_when_no_call_is_left() {
    let mapping = Mapping::new(32 << 20);
    let root = root(mapping);
    let list: String = (0..GATEWAYS).map(|name| format!("{SET} sip:gw{name} 0 0 maxload=40\n")).collect();
    publish(root, &list).unwrap();
    let ends = mapping.keep(AtomicUsize::new(0));
    let begun = mapping.keep(AtomicUsize::new(0));
    let over = mapping.keep(AtomicBool::new(false));
    let look = |worker: usize| {
        let sets = root.sets.pin(worker).unwrap();
        for Over { told, calls } in drain::end_those_over(root, &sets, at(u64::MAX)) {
            assert_eq!(calls, 0, "{}", told.uri.escape_ascii());
            assert_eq!(told.report.reason.bytes(), b"drained: no call is left");
            ends.fetch_add(1, Ordering::SeqCst);
        }
    };
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 3);
            let (mut round, mut lows) = (0, [0; GATEWAYS]);
            while !over.load(Ordering::SeqCst) {
                let key = root.secret.call(&[worker as u8, random.below(30) as u8]);
                {
                    let sets = root.sets.pin(worker).unwrap();
                    match random.below(3) {
                        0 => match call_load(root, &sets, key, 0) {
                            Ok(()) | Err(NoRoute::Refused(_)) => {}
                            Err(other) => panic!("{other:?}"),
                        },
                        _ => _ = report(root, &key, Event::Ended, 0),
                    }
                }
                look(worker);
                if worker == 0 {
                    round = (round + 1) % GATEWAYS;
                    drain_one(root, worker, (round, &mut lows[round]), begun);
                    over.store(begun.load(Ordering::SeqCst) >= ROUNDS, Ordering::SeqCst);
                }
            }
        },
        || {},
    );
    // Those that were under way at the end.
    for worker in 0..WORKERS {
        for call in 0..30 {
            let _ = report(root, &root.secret.call(&[worker as u8, call]), Event::Ended, 0);
        }
    }
    look(WORKERS);
    assert_eq!(ends.load(Ordering::SeqCst), begun.load(Ordering::SeqCst));
    let audit = audit::audit(root);
    assert!(audit.misplaced == 0 && audit.accounts.iter().all(|one| one.drift == 0), "{audit:?}");
}

/// Drains a gateway. While it is drained, and after that, no call has come since the last look, of which `low` knows; then it takes calls
/// again.
fn drain_one(root: &Root<Mapping>, worker: usize, (name, low): (usize, &mut u32), begun: &AtomicUsize) {
    let sets = root.sets.pin(worker).unwrap();
    let set = sets.set(SET).unwrap();
    let one = set.get(name).unwrap();
    let record = root.registry.record(one.record).unwrap();
    let (flags, load) = (record.flags(), record.load.get());
    if flags.has(Flags::DRAINING) || flags.has(Flags::DRAINED) {
        assert!(load <= *low, "{load} calls, where there were {low}");
        *low = load;
    }
    if flags.has(Flags::DRAINED) {
        assert_eq!(load, 0, "it ended too early");
        drain::undo(root, &[one], at(0)).unwrap();
    } else if !flags.has(Flags::DRAINING) && load > 3 {
        begun.fetch_add(1, Ordering::SeqCst);
        drain::begin(root, set, &[one], TERMS, at(0)).unwrap();
        *low = record.load.get();
    }
}
