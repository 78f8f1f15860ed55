//! Hundreds of thousands of calls: their memory is given back, ended calls make room for new ones, and work on all calls does not
//! make a single call wait long.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dispatcher::load::key::Key;
use dispatcher::load::{Branch, Event, Expiry, Invite, Transaction};
use dispatcher::service::housekeeping;
use dispatcher::service::report::audit;
use dispatcher::service::routing::call_count;
use dispatcher::service::routing::choose::NoRoute;
use dispatcher::service::sets::edit;
use dispatcher::service::sets::readdress::readdress;
use dispatcher::shm::counter::Audited;
use dispatcher::state::{Root, Shift};

use super::mapping::Mapping;
use super::{Random, call_load, edits, fork_workers, load_is_right, publish, report, root};

const EXPIRY: Expiry = Expiry { early: 60, confirmed: 7200 };

fn key(root: &Root<Mapping>, name: u32) -> Key {
    root.secret.call(&name.to_ne_bytes())
}

fn place(root: &Root<Mapping>, name: u32, now: u32) -> Result<(), NoRoute> {
    call_load(root, &root.sets.pin(0).unwrap(), key(root, name), now)
}

fn say(root: &Root<Mapping>, name: u32, event: Event, now: u32) {
    report(root, &key(root, name), event, now);
}

/// What the timer does.
fn second(root: &Root<Mapping>, now: u32, sweep: &mut housekeeping::Sweep) {
    // Where the memory is full there is no room ahead of need.
    let _ = housekeeping::make_room(root);
    sweep.begin(now);
    housekeeping::expire_some(root, EXPIRY, now, sweep);
    housekeeping::give_back(root);
    housekeeping::tidy(root);
}

#[test]
fn a_peak_of_calls_is_given_back_within_a_minute() {
    let mapping = Mapping::new(64 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a\n1 sip:b").unwrap();
    let mut sweep = housekeeping::Sweep::default();
    second(root, 0, &mut sweep);
    let before = mapping.used();
    for round in 0..2 {
        (0..200_000).for_each(|name| place(root, name, 0).unwrap());
        // Half of them are remembered for a while.
        (0..100_000).for_each(|name| say(root, name, Event::Answered, 0));
        (0..200_000).for_each(|name| say(root, name, Event::Ended, 0));
        assert!(mapping.used() > before + 200_000 * 32, "round {round}");
        (0..60).for_each(|now| second(root, now, &mut sweep));
        assert_eq!(mapping.used(), before, "round {round}");
    }
}

#[test]
fn calls_that_come_and_go_evenly_move_no_memory() {
    let mapping = Mapping::new(64 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a\n1 sip:b").unwrap();
    let (mut random, mut sweep) = (Random(3), housekeeping::Sweep::default());
    let (mut first, mut last) = (0, 100_000);
    (first..last).for_each(|name| place(root, name, 0).unwrap());
    (0..30).for_each(|now| second(root, now, &mut sweep));
    let before = mapping.allocations();
    for now in 30..90 {
        // Between 95 000 and 105 000.
        let (gone, come) = (4_000 + random.below(2_000) as u32, 4_000 + random.below(2_000) as u32);
        let come = if last - first > 104_000 { 0 } else { come };
        let gone = if last - first < 96_000 { 0 } else { gone };
        for name in first..first + gone {
            say(root, name, Event::Lost, now);
        }
        (last..last + come).for_each(|name| place(root, name, now).unwrap());
        (first, last) = (first + gone, last + come);
        second(root, now, &mut sweep);
    }
    let moved = mapping.allocations() - before;
    assert!(moved < root.calls.shards().len(), "{moved} blocks in a minute, of 2 000");
}

/// Fills the memory with calls; gives how many there are.
fn fill(root: &Root<Mapping>, now: u32) -> u32 {
    let mut admitted = 0;
    for name in 0.. {
        match place(root, name, now) {
            Ok(()) => admitted = name + 1,
            // Others may still find room in their shard.
            Err(NoRoute::OutOfMemory(_)) if name > 2 * admitted => break,
            Err(NoRoute::OutOfMemory(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    admitted
}

#[test]
fn what_is_remembered_of_ended_calls_gives_way_to_new_ones() {
    let mapping = Mapping::new(32 << 20);
    mapping.limit(4 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a\n1 sip:b").unwrap();
    let held = fill(root, 5);
    assert!(held > 30_000, "{held}");
    assert!(matches!(place(root, 1_000_000, 5), Err(NoRoute::OutOfMemory(_))));
    (0..held).for_each(|name| say(root, name, Event::Ended, 5));
    assert!(audit::audit(root).released > 20_000);
    (2_000_000..2_020_000).for_each(|name| place(root, name, 5).unwrap());
    assert_eq!(load_is_right(root, u32::MAX), 20_000);
    (2_000_000..2_020_000).for_each(|name| say(root, name, Event::Answered, 5));
    assert_eq!(audit::audit(root).confirmed, 20_000);
}

/// A second leg lies elsewhere than the first ones, whose memory serves for it.
#[test]
fn second_leg_of_a_call_finds_room_among_calls_that_ended() {
    let mapping = Mapping::new(32 << 20);
    mapping.limit(4 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a\n1 sip:b").unwrap();
    let held = fill(root, 5);
    mapping.limit(mapping.used());
    let fork = |name: u32| {
        let sets = root.sets.pin(0).unwrap();
        (0..2).try_for_each(|number| {
            let branch = Branch::of(Transaction::of(name, 1), number as u16);
            let invite = Invite { number: 1, failed: None, now: 5 };
            call_count::sent(root, &sets, &key(root, name), number, branch, invite)
        })
    };
    assert!(fork(0).is_err(), "there is room in spite of the flood");
    (1..held).for_each(|name| say(root, name, Event::Ended, 5));
    fork(0).unwrap();
    assert_eq!(load_is_right(root, u32::MAX), 2);
}

#[test]
fn a_reload_succeeds_at_once_after_a_flood() {
    let mapping = Mapping::new(32 << 20);
    mapping.limit(4 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a\n1 sip:b").unwrap();
    let list = |turn| (0..300).map(|name| format!("1 sip:gw{name}-{turn} 0 0 x=y\n")).collect::<String>();
    let held = fill(root, 5);
    assert!(publish(root, &list(0)).is_err(), "there is room in spite of the flood");
    assert_eq!(
        load_is_right(root, u32::MAX),
        (0..held).filter(|&name| call_count::get(root, &key(root, name)).counts()).count() as u32
    );
    (0..held).for_each(|name| say(root, name, Event::Ended, 5));
    (1..20).for_each(|turn| drop(publish(root, &list(turn)).unwrap()));
    assert_eq!(load_is_right(root, 0), 0);
}

#[test]
fn edits_and_answers_for_names_succeed_at_once_after_a_flood() {
    let mapping = Mapping::new(32 << 20);
    mapping.limit(2 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a\n1 sip:gw1\n1 sip:gw2").unwrap();
    let full = || {
        let held = fill(root, 5);
        // Not a byte more.
        mapping.limit(mapping.used());
        held
    };
    let changes: [(&str, &dyn Fn() -> bool); 4] = [
        ("add", &|| edits::add(root, 1, 3, 0, 0).is_ok()),
        ("update", &|| edits::limit(root, 1, b"sip:gw1", 100_000).is_ok()),
        ("remove", &|| edit::remove(root, 1, b"sip:gw2", edits::PACE).is_ok()),
        ("readdress", &|| readdress(root, &[edits::last(root, 1).unwrap()].into()).is_ok()),
    ];
    for (what, change) in changes {
        let held = full();
        assert!(!change(), "{what}: there is room in spite of the flood");
        (0..held).for_each(|name| say(root, name, Event::Ended, 5));
        assert!(change(), "{what}");
        assert_eq!(load_is_right(root, 0), 0, "{what}");
    }
}

/// Two seconds of the timer: all expired calls go, a bounded number in each second.
#[test]
fn calls_that_nobody_ended_are_dropped_in_slices_and_each_once() {
    const CALLS: u32 = 300_000;
    let root = root(Mapping::new(64 << 20));
    publish(root, "1 sip:a").unwrap();
    (0..CALLS).for_each(|name| place(root, name, 0).unwrap());
    let mut sweep = housekeeping::Sweep::default();
    sweep.begin(61);
    let mut dropped = Vec::new();
    while dropped.iter().sum::<u64>() < u64::from(CALLS) {
        dropped.push(housekeeping::expire_some(root, EXPIRY, 61, &mut sweep));
        // Others come and go meanwhile.
        let now = CALLS + dropped.len() as u32;
        place(root, now, 61).unwrap();
        assert!(dropped.len() < 10, "{dropped:?}");
    }
    assert!(dropped.iter().all(|&one| one <= (1 << 17) + housekeeping::LOOKS as u64), "{dropped:?}");
    assert_eq!(load_is_right(root, u32::MAX), dropped.len() as u32);
}

#[test]
fn an_audit_holds_no_shard_while_it_waits_for_another() {
    let root = root(Mapping::new(16 << 20));
    publish(root, "1 sip:a").unwrap();
    (0..10_000).for_each(|name| place(root, name, 0).unwrap());
    let shards = root.calls.shards();
    let end = Instant::now() + Duration::from_secs(20);
    let soon = |what: &dyn Fn() -> bool| {
        while !what() {
            assert!(Instant::now() < end, "not within twenty seconds");
            std::thread::yield_now();
        }
    };
    let (early, late) = (shards.len() / 4, shards.len() / 2);
    shards[late - 1].lock().audited = Audited::Already;
    let held = shards[late].lock();
    std::thread::scope(|scope| {
        let audit = scope.spawn(|| audit::audit(root));
        // It goes through all shards to say that it has not been there, and waits for the one that is held.
        soon(&|| shards[late - 1].lock().audited == Audited::NotYet);
        let guard = shards[early].lock();
        drop(held);
        // It counts, and waits again.
        soon(&|| shards[early - 1].lock().audited == Audited::Already);
        for other in (0..shards.len()).filter(|at| *at != early) {
            soon(&|| shards[other].try_lock().is_some());
        }
        drop(guard);
        let audit = audit.join().unwrap();
        assert_eq!(
            (audit.early, audit.accounts[0].recorded, audit.accounts[0].counted),
            (10_000, 10_000, 10_000)
        );
    });
}

/// An audit in the middle of calls of all fates is right about each destination, and finds what is wrong.
#[test]
fn an_audit_in_a_storm_finds_a_load_that_no_call_explains_and_nothing_else() {
    let mapping = Mapping::new(64 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a\n1 sip:b\n1 sip:c\n1 sip:d").unwrap();
    // Enough of them that an audit takes a while.
    (0..50_000).for_each(|name| place(root, name, 0).unwrap());
    let stop = mapping.keep(AtomicBool::new(false));
    let done = mapping.keep(AtomicU32::new(0));
    let (mut audits, mut wrong) = (0, [0i64; 4]);
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 1);
            while !stop.load(Ordering::Relaxed) {
                let sets = root.sets.pin(worker).unwrap();
                let name = random.below(60_000) as u32;
                let event = match random.below(8) {
                    0..=3 => {
                        call_load(root, &sets, key(root, name), 0).unwrap();
                        continue;
                    }
                    4 => Event::Answered,
                    5 => Event::Cancelled,
                    6 => Event::Refused,
                    _ => Event::Ended,
                };
                report(root, &key(root, name), event, 0);
                done.fetch_add(1, Ordering::Relaxed);
            }
        },
        || {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let drifts: Vec<_> = audit::audit(root).accounts.iter().map(|account| account.drift).collect();
            assert_eq!(drifts, wrong, "audit {audits}");
            let at = audits % 4;
            let wrongly = |load| root.registry.shift(at as u32, Shift { load, legs: 0 }, Audited::NotYet);
            // As a fault in the module would: a call that is counted and in no table, or the other way about.
            if audits % 3 == 2 {
                wrongly(-1);
                wrong[at] -= 1;
            } else {
                wrongly(1);
                wrong[at] += 1;
            }
            housekeeping::make_room(root).unwrap();
            housekeeping::give_back(root);
            audits += 1;
            stop.store(audits >= 40 && done.load(Ordering::Relaxed) > 50_000, Ordering::Relaxed);
        },
    );
    assert!(audits >= 40);
}
