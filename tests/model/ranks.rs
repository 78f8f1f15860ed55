//! The index that choices read, while processes change calls, states, lines and limits at the same time: after each pause it equals
//! what a walk over the set finds.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dispatcher::dest::Flags;
use dispatcher::load::{Event, Invite};
use dispatcher::select::Refusal;
use dispatcher::service::health::set_state;
use dispatcher::service::routing::call_count;
use dispatcher::service::routing::choose::{Ask, Call, NoRoute, select};
use dispatcher::service::routing::explain::{Question, explain};
use dispatcher::service::sets::edit;
use dispatcher::state::Root;

use super::mapping::Mapping;
use super::{Random, WORKERS, audit, edits, fork_workers, publish, report, root};

const SET: i32 = 1;
const NAMES: u64 = 90;
const CALLS: u64 = 300;
const ROUNDS: usize = 150;
const PATIENCE: Duration = Duration::from_secs(20);

/// Some of the names, with limits and weights; now and then a name has two lines.
fn list(random: &mut Random) -> String {
    let line = |name: u64, random: &mut Random| {
        let (limit, weight, priority) = (random.below(6), 1 + random.below(4), random.below(2));
        format!("{SET} sip:gw{name} 0 {priority} maxload={limit};weight={weight}\n")
    };
    let first = random.below(NAMES / 2);
    let mut list = String::new();
    for name in first..first + 1 + random.below(NAMES / 2) {
        list += &line(name, random);
        if random.below(20) == 0 {
            list += &line(name, random);
        }
    }
    list
}

/// What operators and reloads do.
fn change(root: &Root<Mapping>, random: &mut Random) {
    let name = random.below(NAMES) as u32;
    let uri = format!("sip:gw{name}");
    match random.below(4) {
        0 => drop(publish(root, &list(random)).unwrap()),
        1 => edits::add(root, SET, name, random.below(2) as i32, random.below(6) as u32).unwrap(),
        // Some are not there.
        2 => drop(edits::limit(root, SET, uri.as_bytes(), random.below(6) as u32)),
        _ => drop(edit::remove(root, SET, uri.as_bytes(), edits::PACE)),
    }
}

/// Where a selection goes: the record. The call stays.
fn choose(root: &Root<Mapping>, algorithm: i32, call: u64) -> Result<u32, Refusal> {
    let key = root.secret.call(&call.to_ne_bytes());
    let goes = Call::Goes {
        key: &|| Some(key),
        invite: &|| Invite { cseq: 1, failed: None, now: 0 },
        may_stay: true,
    };
    let call = if algorithm == 10 { goes } else { Call::None };
    let (now_ms, random, hash) = (&|| 0, &|| 0, &|_| None);
    let ask = Ask {
        set: SET,
        algorithm,
        call,
        now_ms,
        random,
        spare_last: false,
        counts_all: false,
        hash,
        retry: None,
    };
    let sets = root.sets.pin(WORKERS).unwrap();
    match select(root, &sets, &ask) {
        Ok(chosen) => Ok(chosen.set.get(chosen.at).unwrap().record),
        Err(NoRoute::Refused(refusal)) => Err(refusal),
        Err(other) => panic!("{other:?}"),
    }
}

/// What a walk finds, for the next selection.
fn walk(root: &Root<Mapping>, algorithm: i32) -> Result<u32, Refusal> {
    let sets = root.sets.pin(WORKERS).unwrap();
    let set = sets.set(SET).ok_or(Refusal::NoSet)?;
    let question = Question { algorithm, hash: None, spare_last: false, random: &|| 0, now_ms: 0 };
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
        let expected = walk(root, 9);
        assert_eq!(choose(root, 9, name), expected, "round {round}, weighted {call}");
    }
    for call in 0..20 {
        report(root, &root.secret.call(&(CALLS + call).to_ne_bytes()), Event::Refused, 0);
    }
}

/// One thing after the other that happens to calls and states.
fn work(root: &Root<Mapping>, worker: usize, random: &mut Random) {
    let sets = root.sets.pin(worker).unwrap();
    let call = random.below(CALLS);
    let key = root.secret.call(&call.to_ne_bytes());
    match random.below(8) {
        0..=3 => match super::call_load(root, &sets, key, 0) {
            Ok(()) | Err(NoRoute::Refused(_)) => {}
            Err(other) => panic!("{other:?}"),
        },
        4 => drop(report(root, &key, Event::Answered, 0)),
        5 | 6 => drop(report(root, &key, Event::Ended, 0)),
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
