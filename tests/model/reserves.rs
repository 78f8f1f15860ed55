//! Calls with priority, which limits let pass by their reserves, in forked processes: never one beyond a reserve, none without priority
//! beyond a limit, and none refused while there is room for it.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use dispatcher::load::{Event, Invite, key::Key};
use dispatcher::select::attempts::{Attempts, NO_LIMIT, Rule, Tried};
use dispatcher::select::{Measure, Refusal};
use dispatcher::service::routing::call_count;
use dispatcher::service::routing::choose::{self, Ask, Call, NoRoute, select, tried_at};
use dispatcher::service::routing::failover;
use dispatcher::service::sets::edit;
use dispatcher::state::{Generation, Root};

use super::mapping::Mapping;
use super::{
    Random, WORKERS, all_arrive, asking, audit, edits, fork_workers, load_is_right, publish, report, root,
};

/// What the capacity of all sets may have, and what comes beyond it.
const MOST: u32 = 10;
const BEYOND: u32 = 4;
const SETS: i32 = 3;

const INVITE: Invite = Invite { number: 1, failed: None, now: 0 };

/// Two lines a set that share a capacity, and have no limits of their own; the reserve is said once.
fn shared() -> String {
    let line = |set: i32, n: u32| {
        let beyond = if (set, n) == (2, 1) { ";capacity_reserve=40%" } else { "" };
        format!("{set} sip:gw{set}-{n} 0 0 duid=gw{set}-{n};capacity=carrier;capacity_max={MOST}{beyond}\n")
    };
    (1..=SETS).flat_map(|set| [line(set, 1), line(set, 2)]).collect()
}

/// The same number of places in limits of their own, in each set.
fn own() -> String {
    let line = |set: i32| {
        format!(
            "{set} sip:a{set} 0 0 maxload=4;maxload_reserve=50%\n{set} sip:b{set} 0 0 maxload=6;maxload_reserve=2\n"
        )
    };
    (1..=SETS).map(line).collect()
}

/// An INVITE of this call to this set: where it went.
fn place(
    root: &Root<Mapping>,
    sets: &Generation<Mapping>,
    (key, priority): (Key, bool),
    (set, algorithm): (i32, i32),
) -> Result<(Tried, usize), NoRoute> {
    let call = Call::Goes { key: &|| Some(key), invite: &|| INVITE, may_stay: true };
    let chosen = select(root, sets, &Ask { priority, ..asking(set, algorithm, call) })?;
    Ok((tried_at(root, chosen.set, chosen.at).unwrap(), chosen.at))
}

/// A call goes on to another destination, in one of the ways that scripts have, if there is room for it.
fn go_on(
    root: &Root<Mapping>,
    sets: &Generation<Mapping>,
    (key, priority): (Key, bool),
    (set, tried, at): (i32, Tried, usize),
    way: u64,
) {
    let serving = sets.set(set).unwrap();
    match way {
        0 => {
            let others: Vec<_> = (0..serving.len()).filter(|other| *other != at).collect();
            let by = (Measure::Calls, &others[..]);
            drop(choose::retry(root, serving, by, key, INVITE, (false, priority)));
        }
        1 => {
            let attempts = Attempts::first([Rule { set, algorithm: 10 }].into_iter(), NO_LIMIT, tried, at);
            let call = Call::Goes { key: &|| Some(key), invite: &|| INVITE, may_stay: false };
            drop(failover::next(root, sets, &attempts, &Ask { priority, ..asking(set, 10, call) }));
        }
        _ => drop(call_count::go_on(root, serving, 1 - at, (Some(&key), priority), || INVITE)),
    }
}

/// What a set, or the capacity, has by far most: the loads of its destinations, or the calls in it.
fn loads(root: &Root<Mapping>, sets: &Generation<Mapping>, set: i32) -> Vec<u32> {
    let load = |record| root.registry.record(record).unwrap().load.get();
    sets.set(set).unwrap().iter().map(|one| load(one.record)).collect()
}

fn counted(root: &Root<Mapping>) -> u32 {
    root.registry.capacities.lock().each().map(|one| one.calls).sum()
}

/// Bursts of all processes: more calls without priority than there are places, together with calls that have it; then what is left.
/// `all` is how many places there are for each kind of list.
fn bursts(list: &str, sets: i32, algorithm: i32, most: (u32, u32)) {
    const CALLS: usize = 12;
    const ROUNDS: usize = 250;
    let mapping = Mapping::new(16 << 20);
    let root = root(mapping);
    publish(root, list).unwrap();
    let (arrived, placed) =
        (mapping.keep(AtomicUsize::new(0)), mapping.keep([const { AtomicU32::new(0) }; 2]));
    let all_arrive = |step: &mut usize| all_arrive(arrived, step);
    let (limit, beyond) = most;
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 3);
            let serving = root.sets.pin(worker).unwrap();
            let (mut step, mut before) = (0, [0; 2]);
            let call = |call: usize| root.secret.call(format!("{worker}-{call}").as_bytes());
            let set = |random: &mut Random| 1 + random.below(sets as u64) as i32;
            for round in 0..ROUNDS {
                all_arrive(&mut step);
                let mut up = Vec::new();
                let mut refused = [false; 2];
                let mut ask = |number: usize, priority: bool, random: &mut Random, up: &mut Vec<Key>| {
                    let to = (set(random), algorithm);
                    match place(root, &serving, (call(number), priority), to) {
                        Ok(_) => {
                            up.push(call(number));
                            placed[usize::from(priority)].fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => {
                            assert_eq!(error, NoRoute::Refused(Refusal::NoRoom));
                            refused[usize::from(priority)] = true;
                        }
                    }
                };
                // All at once.
                for number in 0..CALLS {
                    ask(number, number % 4 == 3, &mut random, &mut up);
                }
                all_arrive(&mut step);
                let [ordinary, flagged] =
                    [0, 1].map(|kind: usize| placed[kind].load(Ordering::SeqCst) - before[kind]);
                // So many came that all places are taken, by whomever; nobody passed what he may.
                assert!(
                    ordinary <= limit && ordinary + flagged <= limit + beyond,
                    "{ordinary} and {flagged}"
                );
                assert!(ordinary + flagged >= limit, "round {round}: {ordinary} and {flagged}");
                all_arrive(&mut step);
                // Those without priority find nothing more, the others what is beyond the limit.
                ask(CALLS, false, &mut random, &mut up);
                all_arrive(&mut step);
                assert_eq!(placed[0].load(Ordering::SeqCst) - before[0], ordinary, "round {round}");
                for number in 0..2 {
                    ask(CALLS + 1 + number, true, &mut random, &mut up);
                }
                all_arrive(&mut step);
                let all = [0, 1].map(|kind: usize| placed[kind].load(Ordering::SeqCst) - before[kind]);
                assert_eq!(all.iter().sum::<u32>(), limit + beyond, "round {round}: {all:?}");
                all_arrive(&mut step);
                up.iter().for_each(|key| assert!(report(root, key, Event::Refused, 0)));
                for kind in [0, 1] {
                    before[kind] += all[kind];
                }
                all_arrive(&mut step);
            }
        },
        || {},
    );
    assert_eq!((load_is_right(root, 0), audit::audit(root).misplaced), (0, 0));
}

#[test]
fn bursts_take_each_place_of_a_capacity_once_and_those_beyond_it_with_priority_only() {
    bursts(&shared(), SETS, 10, (MOST, BEYOND));
}

#[test]
fn bursts_take_each_place_of_destinations_once_and_those_beyond_with_priority_only() {
    for algorithm in [10, 100] {
        bursts(&own(), 1, algorithm, (10, 4));
    }
}

/// A call at one destination goes on to the other one, which is full, in each way that scripts have.
#[test]
fn a_call_that_moves_uses_a_reserve_with_priority_only() {
    for list in [
        "1 sip:a 0 0 maxload=1;maxload_reserve=1\n1 sip:b\n",
        "1 sip:a 0 0 capacity=c;capacity_max=1;capacity_reserve=1\n1 sip:b\n",
    ] {
        for (way, priority) in (0..3).flat_map(|way| [(way, false), (way, true)]) {
            let root = root(Mapping::new(4 << 20));
            publish(root, list).unwrap();
            let sets = root.sets.pin(0).unwrap();
            let call = |name: &[u8]| root.secret.call(name);
            let (b, a) = (0, 1);
            // One at each; the next one is placed where there is room.
            place(root, &sets, (call(b"first"), false), (1, 10)).unwrap();
            place(root, &sets, (call(b"second"), false), (1, 10)).unwrap();
            let (tried, at) = place(root, &sets, (call(b"third"), false), (1, 10)).unwrap();
            assert_eq!((at, loads(root, &sets, 1)), (b, vec![2, 1]));
            let third = call(b"third");
            go_on(root, &sets, (third, priority), (1, tried, at), way);
            let expected = if priority { [1, 2] } else { [2, 1] };
            assert_eq!(
                (loads(root, &sets, 1)[b], loads(root, &sets, 1)[a]),
                (expected[0], expected[1]),
                "{list}{way}"
            );
            assert_eq!(audit::audit(root).misplaced, 0);
        }
    }
}

/// Whatever calls do, with edits and reloads that change limits and reserves between them.
#[test]
fn no_limit_with_its_reserve_is_ever_passed_while_all_changes() {
    let mapping = Mapping::new(32 << 20);
    let root = root(mapping);
    let list = |both: bool| {
        own()
            + if both {
                "4 sip:x 0 0 capacity=c;capacity_max=7;capacity_reserve=3\n5 sip:y 0 0 capacity=c\n"
            } else {
                "4 sip:x\n5 sip:y\n"
            }
    };
    publish(root, &list(true)).unwrap();
    let passed = mapping.keep(AtomicU32::new(0));
    let working = mapping.keep(AtomicUsize::new(WORKERS));
    let mut random = Random(99);
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 21);
            for _ in 0..20_000 {
                let sets = root.sets.pin(worker).unwrap();
                // The first calls of a worker have priority.
                let number = random.below(6);
                let (key, priority) = (root.secret.call(format!("{worker}-{number}").as_bytes()), number < 2);
                let set = 1 + random.below(5) as i32;
                match random.below(4) {
                    0 => drop(report(root, &key, Event::Ended, 0)),
                    1 => drop(report(root, &key, Event::Refused, 0)),
                    _ => {
                        match place(root, &sets, (key, priority), (set, [10, 100][random.below(2) as usize]))
                        {
                            Ok((tried, at))
                                if set <= SETS
                                    && random.below(2) == 0
                                    && sets.set(set).unwrap().len() == 2 =>
                            {
                                go_on(root, &sets, (key, priority), (set, tried, at), random.below(3));
                            }
                            Ok(_) | Err(NoRoute::Outdated) => {}
                            Err(error) => assert_eq!(error, NoRoute::Refused(Refusal::NoRoom)),
                        }
                    }
                }
                for set in 1..=SETS {
                    // The limits of these two are always the same.
                    let loads = loads(root, &sets, set);
                    let (a, b) = (loads[loads.len() - 1], loads[loads.len() - 2]);
                    assert!(a.min(b) <= 6 && a.max(b) <= 8, "{loads:?}");
                    passed.fetch_add(u32::from(a.max(b) > 6), Ordering::Relaxed);
                }
                assert!(counted(root) <= 10);
            }
            working.fetch_sub(1, Ordering::SeqCst);
        },
        || {
            if working.load(Ordering::SeqCst) == 0 {
                return;
            }
            match random.below(3) {
                // The capacity has calls beyond a limit that comes again: it takes none until there is room.
                0 => drop(publish(root, &list(true)).unwrap()),
                1 => {
                    edits::add(root, 1 + random.below(3) as i32, 100 + random.below(4) as u32, 0, 1).unwrap()
                }
                _ => drop(edit::remove(root, 1, b"sip:gw100", edits::PACE)),
            }
            std::thread::sleep(Duration::from_millis(1));
        },
    );
    assert!(passed.load(Ordering::Relaxed) > 100);
    assert_eq!(audit::audit(root).misplaced, 0);
    publish(root, &list(false)).unwrap();
    assert_eq!(audit::audit(root).misplaced, 0);
}
