//! The index that choices read, while processes change calls, states, lines and limits at the same time: after each pause it equals
//! what a walk over the set finds.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dispatcher::dest::Flags;
use dispatcher::load::{Event, Invite};
use dispatcher::select::{Refusal, Tickets, hash};
use dispatcher::service::health::set_state;
use dispatcher::service::routing::call_count;
use dispatcher::service::routing::choose::{Ask, Call, NoRoute, select};
use dispatcher::service::routing::explain::{Question, explain};
use dispatcher::service::sets::edit;
use dispatcher::state::Root;

use super::mapping::Mapping;
use super::{Random, WORKERS, asking, audit, drains, edits, fork_workers, latencies, publish, report, root};

const SET: i32 = 1;
const OTHER: i32 = 2;
const NAMES: u64 = 90;
const CALLS: u64 = 300;
const ROUNDS: usize = 150;
/// Algorithms that look for a usable destination from some position on, or for one of all usable ones.
const NEXT_USABLE: [i32; 5] = [0, 4, 6, 8, 64];
/// Algorithms that choose in proportion to shares.
const WEIGHTED: [i32; 3] = [9, 11, 15];
/// The one that chooses the quickest.
const BY_LATENCY: i32 = 13;
const PATIENCE: Duration = Duration::from_secs(20);

/// Some of the names, with limits and weights; now and then a name has two lines. None, some or all of a list have congestion control,
/// or share capacities, of which another set has lines, too.
fn list(random: &mut Random) -> String {
    let (congested, sharing) = (random.below(3), random.below(3));
    let capacity = |random: &mut Random| {
        let (name, most) = (random.below(4), 1 + random.below(30));
        if random.below(2) < sharing {
            let reserve = ["", ";capacity_reserve=3", ";capacity_reserve=50%"][random.below(3) as usize];
            format!(";capacity=c{name};capacity_max={most}{reserve}")
        } else {
            String::new()
        }
    };
    let line = |name: u64, random: &mut Random| {
        let (limit, weight, priority) = (random.below(6), 1 + random.below(4), 5 * random.below(2));
        let cc = if random.below(2) < congested { ";cc=1;latency=10" } else { "" };
        let relative = random.below(4);
        let reserve = ["", ";maxload_reserve=2"][usize::from(limit > 3)];
        format!(
            "{SET} sip:gw{name} 0 {priority} maxload={limit};weight={weight};rweight={relative}{cc}{reserve}{}\n",
            capacity(random)
        )
    };
    let first = random.below(NAMES / 2);
    let mut list = String::new();
    for name in first..first + 1 + random.below(NAMES / 2) {
        list += &line(name, random);
        if random.below(20) == 0 {
            list += &line(name, random);
        }
    }
    for name in 0..6 {
        list += &format!("{OTHER} sip:other{name} 0 0 x=y{}\n", capacity(random));
    }
    list
}

/// What operators and reloads do.
fn change(root: &Root<Mapping>, random: &mut Random) {
    let name = random.below(NAMES) as u32;
    let uri = format!("sip:gw{name}");
    match random.below(4) {
        0 => drop(publish(root, &list(random)).unwrap()),
        1 => edits::add(root, SET, name, 5 * random.below(2) as i32, random.below(6) as u32).unwrap(),
        // Some are not there.
        2 => drop(edits::limit(root, SET, uri.as_bytes(), random.below(6) as u32)),
        _ => drop(edit::remove(root, SET, uri.as_bytes(), edits::PACE)),
    }
}

/// Where a selection goes: the record. The call stays.
fn choose(root: &Root<Mapping>, algorithm: i32, call: u64) -> Result<u32, Refusal> {
    choose_by(root, algorithm, call, 0)
}

/// The same by this hash and random number.
fn choose_by(root: &Root<Mapping>, algorithm: i32, call: u64, number: u32) -> Result<u32, Refusal> {
    choose_of(root, SET, algorithm, call, number, WORKERS)
}

fn choose_of(
    root: &Root<Mapping>,
    set: i32,
    algorithm: i32,
    call: u64,
    number: u32,
    slot: usize,
) -> Result<u32, Refusal> {
    let key = root.secret.call(&call.to_ne_bytes());
    let goes = Call::Goes {
        key: &|| Some(key),
        invite: &|| Invite { number: 1, failed: None, now: 0 },
        may_stay: true,
    };
    let call = if algorithm == 10 { goes } else { Call::None };
    let (now_ms, random) = (&|| 0, &|| number.into());
    let hash = &|kind| Some(hash::of_text(kind, &number.to_ne_bytes()));
    let ask = Ask { now_ms, random, hash, ..asking(set, algorithm, call) };
    let sets = root.sets.pin(slot).unwrap();
    match select(root, &sets, &ask) {
        Ok(chosen) => Ok(chosen.set.get(chosen.at).unwrap().record),
        Err(NoRoute::Refused(refusal)) => Err(refusal),
        // Of the set that serves next.
        Err(NoRoute::Outdated) if slot != WORKERS => Err(Refusal::NoSet),
        Err(other) => panic!("{other:?}"),
    }
}

/// What a walk finds, for the next selection.
fn walk(root: &Root<Mapping>, algorithm: i32) -> Result<u32, Refusal> {
    walk_by(root, algorithm, 0)
}

/// The same by this hash and random number.
fn walk_by(root: &Root<Mapping>, algorithm: i32, number: u32) -> Result<u32, Refusal> {
    let sets = root.sets.pin(WORKERS).unwrap();
    let set = sets.set(SET).ok_or(Refusal::NoSet)?;
    let random = &|| number.into();
    let text = &number.to_ne_bytes();
    let question =
        Question { algorithm, text: Some(text), spare_last: false, random, now_ms: 0, priority: false };
    let (chosen, _) = explain(root, set, &question).unwrap();
    chosen.map(|at| set.get(at).unwrap().record)
}

/// While nobody changes anything.
fn check(root: &Root<Mapping>, round: usize) {
    let audit = audit::audit(root);
    assert_eq!(audit.misplaced, 0, "round {round}");
    assert!(audit.accounts.iter().all(|account| account.drift == 0), "round {round}: {:?}", audit.accounts);
    for call in 0..20 {
        let name = CALLS + call;
        let expected = walk(root, 10);
        assert_eq!(choose(root, 10, name), expected, "round {round}, call {call}");
        let key = root.secret.call(&name.to_ne_bytes());
        assert_eq!(call_count::get(root, &key).counted().next(), expected.ok());
        for algorithm in WEIGHTED {
            let expected = walk(root, algorithm);
            assert_eq!(
                choose(root, algorithm, name),
                expected,
                "round {round}, algorithm {algorithm}, {call}"
            );
        }
        for algorithm in NEXT_USABLE.into_iter().chain([BY_LATENCY]) {
            let number = call as u32 * 7;
            let expected = walk_by(root, algorithm, number);
            let chosen = choose_by(root, algorithm, name, number);
            assert_eq!(chosen, expected, "round {round}, algorithm {algorithm}, {number}");
        }
    }
    for call in 0..20 {
        report(root, &root.secret.call(&(CALLS + call).to_ne_bytes()), Event::Refused, 0);
    }
}

/// A probe of the destination of this record was answered after so many milliseconds.
fn answered(root: &Root<Mapping>, number: u32, after: u64) {
    let record = root.registry.record(number).unwrap();
    root.registry.change(number, 0, |flags, health| {
        record.sample(health, after as f64, 1.0);
        Some((flags, health.streak))
    });
}

/// One thing after the other that happens to calls and states.
fn work(root: &Root<Mapping>, worker: usize, random: &mut Random) {
    if random.below(6) == 0 {
        let call = 2 * CALLS + random.below(CALLS);
        return match random.below(2) {
            0 => drop(choose_of(root, OTHER, 10, call, 0, worker)),
            _ => drop(Some(report(root, &root.secret.call(&call.to_ne_bytes()), Event::Ended, 0))),
        };
    }
    let sets = root.sets.pin(worker).unwrap();
    let call = random.below(CALLS);
    let key = root.secret.call(&call.to_ne_bytes());
    match random.below(12) {
        0..=3 => match super::call_load_of(root, &sets, key, random.below(2) == 0) {
            Ok(()) | Err(NoRoute::Refused(_)) => {}
            Err(other) => panic!("{other:?}"),
        },
        4 => drop(report(root, &key, Event::Answered, 0)),
        5 | 6 => drop(report(root, &key, Event::Ended, 0)),
        7 => {
            let Some(set) = sets.set(SET) else { return };
            let one = set.get(random.below(set.len() as u64) as usize).unwrap();
            answered(root, one.record, 8 + random.below(8));
        }
        8 => {
            let Some(set) = sets.set(SET) else { return };
            latencies::choose(root, set, random);
        }
        9 => {
            let Some(set) = sets.set(SET) else { return };
            drains::drain(root, set, random);
        }
        10 => drop(drains::end(root, &sets, random)),
        _ => {
            let Some(set) = sets.set(SET) else { return };
            let state = [Flags::default(), Flags::default(), Flags::INACTIVE, Flags::DISABLED];
            let one = set.get(random.below(set.len() as u64) as usize);
            set_state::set(root, one.as_slice(), state[random.below(4) as usize], 0);
        }
    }
}

#[test]
fn after_each_pause_a_choice_is_what_a_walk_over_the_set_finds() {
    let mapping = Mapping::new(64 << 20);
    let root = root(mapping);
    let mut random = Random(5);
    publish(root, &list(&mut random)).unwrap();
    let (over, pause) = (mapping.keep(AtomicBool::new(false)), mapping.keep(AtomicBool::new(false)));
    let (paused, done) = (mapping.keep(AtomicUsize::new(0)), mapping.keep(AtomicUsize::new(0)));
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let end = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < end, "not within twenty seconds: {what}");
            std::thread::yield_now();
        }
    };
    let mut round = 0;
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 11);
            while !over.load(Ordering::SeqCst) {
                if pause.load(Ordering::SeqCst) {
                    paused.fetch_add(1, Ordering::SeqCst);
                    until("it goes on", &|| !pause.load(Ordering::SeqCst));
                    paused.fetch_sub(1, Ordering::SeqCst);
                }
                work(root, worker, &mut random);
                done.fetch_add(1, Ordering::Relaxed);
            }
        },
        || {
            if round == ROUNDS {
                return;
            }
            let before = done.load(Ordering::Relaxed);
            (0..3).for_each(|_| change(root, &mut random));
            until("they work", &|| done.load(Ordering::Relaxed) > before + 500);
            pause.store(true, Ordering::SeqCst);
            until("all pause", &|| paused.load(Ordering::SeqCst) == WORKERS);
            check(root, round);
            round += 1;
            over.store(round == ROUNDS, Ordering::SeqCst);
            pause.store(false, Ordering::SeqCst);
            until("all go on", &|| paused.load(Ordering::SeqCst) == 0);
        },
    );
    assert_eq!(round, ROUNDS);
}

/// Few of many take calls. Sometimes a few states change between two choices, sometimes more than are remembered; some lines have a
/// twin, and the lines change, too.
#[test]
fn where_most_are_down_a_choice_is_what_a_walk_over_the_set_finds() {
    const MANY: u64 = 9_000;
    let root = root(Mapping::new(64 << 20));
    let mut random = Random(3);
    let line = |name: u64| format!("{SET} sip:gw{name} 0 {} weight={}\n", name % 2, 1 + name % 5);
    let list = |twins: &[u64]| (0..MANY).chain(twins.iter().copied()).map(line).collect::<String>();
    let uri = |name: u64| format!("sip:gw{name}");
    let set = |name: u64, state: Flags| {
        let sets = root.sets.pin(WORKERS).unwrap();
        let set = sets.set(SET).unwrap();
        let uri = uri(name);
        let all: Vec<_> = set.with_uri(uri.as_bytes()).map(|(_, one)| one).collect();
        set_state::set(root, &all, state, 0);
    };
    publish(root, &list(&[])).unwrap();
    (0..MANY).for_each(|name| set(name, Flags::INACTIVE));
    let mut up = Vec::new();
    for round in 0..120 {
        for _ in 0..[0, 1, 3, 20, 50][random.below(5) as usize] {
            if up.len() > 6 || !up.is_empty() && random.below(2) == 0 {
                let name = up.swap_remove(random.below(up.len() as u64) as usize);
                set(name, [Flags::INACTIVE, Flags::DISABLED][random.below(2) as usize]);
            } else {
                let name = random.below(MANY);
                set(name, Flags::default());
                up.push(name);
            }
        }
        if random.below(8) == 0 {
            let twins: Vec<_> = up.iter().copied().take(random.below(3) as usize).collect();
            publish(root, &list(&twins)).unwrap();
        }
        // A walk over so many takes its time.
        for algorithm in WEIGHTED.into_iter().filter(|_| round % 4 == 0) {
            let expected = walk(root, algorithm);
            assert_eq!(choose(root, algorithm, 0), expected, "round {round}, algorithm {algorithm}");
        }
        for _ in 0..6 {
            let number = random.below(1 << 32) as u32;
            for algorithm in NEXT_USABLE {
                let expected = walk_by(root, algorithm, number);
                let chosen = choose_by(root, algorithm, 0, number);
                assert_eq!(chosen, expected, "round {round}, algorithm {algorithm}, {number}");
                assert!(chosen.is_ok() || up.is_empty(), "round {round}");
            }
        }
    }
}

/// Few destinations with congestion control, so that often nothing is left of any share.
#[test]
fn where_all_are_congested_a_choice_is_what_a_walk_over_the_set_finds() {
    let root = root(Mapping::new(8 << 20));
    let mut random = Random(7);
    let line = |name: u64| format!("{SET} sip:gw{name} 0 0 weight={};cc=1;latency=10\n", 1 + name % 2);
    publish(root, &(0..4).map(line).collect::<String>()).unwrap();
    let (mut all_congested, mut rounds) = (0, 0);
    while rounds < 4_000 {
        {
            let sets = root.sets.pin(WORKERS).unwrap();
            let set = sets.set(SET).unwrap();
            let one = set.get(random.below(4) as usize).unwrap();
            let state = [Flags::default(), Flags::INACTIVE][random.below(2) as usize];
            match random.below(6) {
                0 => drop(set_state::set(root, &[one], state, 0)),
                _ => answered(root, one.record, 9 + random.below(6)),
            }
            let record = |one| root.registry.record(set.get(one).unwrap().record).unwrap();
            all_congested += u32::from((0..4).all(|one| record(one).congestion() > 1));
        }
        for _ in 0..random.below(4) {
            let expected = walk(root, 11);
            assert_eq!(choose(root, 11, 0), expected, "round {rounds}");
        }
        rounds += 1;
    }
    assert!(all_congested > 50, "{all_congested}");
}

/// A choice after an edit or a reload does not have to.
#[test]
fn a_commit_makes_what_choices_have_looked_up() {
    let root = root(Mapping::new(8 << 20));
    let list = |names: u32| (0..names).map(|name| format!("{SET} sip:gw{name}\n")).collect::<String>();
    let made = |len: usize| {
        let sets = root.sets.pin(WORKERS).unwrap();
        let set = sets.set(SET).unwrap();
        let fields = Tickets::ALL.iter().map(|row| set.weights.field(*row));
        assert!(fields.clone().all(|field| field.is_none_or(|field| field == len)));
        let weighed = fields.clone().all(|field| field.is_some());
        [set.usable.is_in_use(), set.by_latency.is_in_use(), set.slots.is_in_use(), weighed]
    };
    publish(root, &list(40)).unwrap();
    assert_eq!(made(40), [false; 4], "nobody has asked");
    edits::add(root, SET, 100, 0, 0).unwrap();
    assert_eq!(made(41), [false; 4], "nobody has asked");
    for algorithm in [6, 9, 11, 13, 15, 101] {
        choose(root, algorithm, 0).unwrap();
    }
    assert_eq!(made(41), [true; 4]);
    edits::add(root, SET, 101, 0, 0).unwrap();
    assert_eq!(made(42), [true; 4], "after an edit");
    publish(root, &list(50)).unwrap();
    assert_eq!(made(50), [true; 4], "after a reload");
    // What is kept for all slots is what each of them gives alone.
    for number in 0..200 {
        assert_eq!(choose_by(root, 101, 0, number), walk_by(root, 101, number));
    }
}
