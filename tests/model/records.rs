//! Records of destinations that come and go: their memory is given back, and no reader uses a freed record.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use dispatcher::load::{Event, Expiry};
use dispatcher::service::housekeeping;
use dispatcher::service::report::audit;
use dispatcher::state::Root;
use std::time::{Duration, Instant};

use super::mapping::Mapping;
use super::{Random, call_load, fork_workers, load_is_right, publish, report, root};

/// A list of destinations that were never there before.
fn new_ones(turn: u32, many: u32) -> String {
    (0..many).map(|name| format!("1 sip:gw{name}-{turn} 0 0 x=y\n")).collect()
}

/// What the timer does.
fn second(root: &Root<Mapping>) {
    housekeeping::make_room(root).unwrap();
    housekeeping::give_back(root);
    housekeeping::tidy(root);
}

/// Waits until the child has changed its state so; nothing, if that is not so within twenty seconds.
fn state_of(pid: libc::pid_t, options: i32, is: impl Fn(i32) -> bool) {
    let (end, mut status) = (Instant::now() + Duration::from_secs(20), 0);
    // SAFETY: our own child.
    while unsafe { libc::waitpid(pid, &raw mut status, options | libc::WNOHANG) } != pid || !is(status) {
        assert!(Instant::now() < end, "child {pid} is not as it should be");
        std::thread::yield_now();
    }
}

#[test]
fn what_reloads_leave_while_a_process_is_stopped_is_given_back_when_it_goes_on() {
    const MANY: u32 = 3_000;
    let mapping = Mapping::new(1 << 30);
    let root = root(mapping);
    publish(root, &new_ones(0, MANY)).unwrap();
    (0..60).for_each(|_| second(root));
    let before = mapping.used();
    let (reads, go_on) = (mapping.keep(AtomicBool::new(false)), mapping.keep(AtomicBool::new(false)));
    // SAFETY: the child reads the sets and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let sets = root.sets.pin(0).unwrap();
        let set = sets.set(1).unwrap();
        let records = || set.iter().map(|one| root.registry.record(one.record));
        reads.store(true, Ordering::Release);
        while !go_on.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // What it began to read is as it was.
        let whole = records().all(|record| record.is_some_and(|record| record.set() == 1));
        drop(sets);
        // SAFETY: ends this process only.
        unsafe { libc::_exit(if whole { 0 } else { 1 }) };
    }
    let end = Instant::now() + Duration::from_secs(20);
    while !reads.load(Ordering::Acquire) {
        assert!(Instant::now() < end, "the reader does not read");
        std::thread::yield_now();
    }
    // SAFETY: our own child.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    state_of(pid, libc::WUNTRACED, |status| libc::WIFSTOPPED(status));
    for turn in 1..=100 {
        publish(root, &new_ones(turn, MANY)).unwrap();
        second(root);
    }
    let peak = mapping.used();
    assert!(peak > before * 20, "{peak} after {before}");
    go_on.store(true, Ordering::Release);
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGCONT) };
    state_of(pid, 0, |status| libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
    (0..60).for_each(|_| second(root));
    let after = mapping.used();
    assert!(after.abs_diff(before) <= before / 20, "{after} after {before}, with {peak} between");
    assert_eq!(audit::audit(root).accounts.len(), MANY as usize);
}

#[test]
fn a_long_call_keeps_its_record_and_few_others() {
    let mapping = Mapping::new(64 << 20);
    let root = root(mapping);
    publish(root, &new_ones(0, 1_000)).unwrap();
    (0..10).for_each(|_| second(root));
    let before = mapping.used();
    publish(root, &new_ones(1, 1_000)).unwrap();
    let key = root.secret.call(b"long");
    {
        let sets = root.sets.pin(0).unwrap();
        call_load(root, &sets, key, 0).unwrap();
        assert!(report(root, &key, Event::Answered, 0));
    }
    (2..10).for_each(|turn| drop(publish(root, &new_ones(turn, 1_000)).unwrap()));
    (0..10).for_each(|_| second(root));
    assert!(mapping.used().abs_diff(before) <= before / 10, "{} after {before}", mapping.used());
    assert_eq!(load_is_right(root, 1), 1);
    assert!(report(root, &key, Event::Ended, 0));
    housekeeping::expire(root, Expiry { early: 1, confirmed: 1 }, 1_000);
    publish(root, &new_ones(0, 1_000)).unwrap();
    (0..10).for_each(|_| second(root));
    assert_eq!(load_is_right(root, 0), 0);
    assert!(mapping.used().abs_diff(before) <= before / 20, "{} after {before}", mapping.used());
}

/// Calls in every worker, and readers of all records, while all destinations are others all the time and upkeep takes the
/// memory of the former. A reader of what is freed sees a set of another number, or a call that was never counted.
#[test]
fn a_storm_of_calls_to_destinations_that_come_and_go_leaves_no_drift_and_no_memory() {
    const MANY: [u32; 3] = [150, 400, 20];
    let mapping = Mapping::new(256 << 20);
    let root = root(mapping);
    let list = |turn: u32| new_ones(turn, MANY[turn as usize % MANY.len()]);
    // Records lie where others left room, in more chunks or fewer; those of the first list in the fewest, if nothing else is there.
    let anew = || {
        for list in [String::new(), list(0)] {
            publish(root, &list).unwrap();
            (0..60).for_each(|_| second(root));
        }
    };
    // So that the call table has what it keeps: in each shard calls that went to two destinations.
    for turn in 0..2 {
        publish(root, &list(turn)).unwrap();
        let sets = root.sets.pin(0).unwrap();
        (0..5_000u32).for_each(|name| {
            let key = root.secret.call(&name.to_ne_bytes());
            call_load(root, &sets, key, 0).unwrap();
            report(root, &key, Event::Answered, 0);
        });
    }
    housekeeping::expire(root, Expiry { early: 1, confirmed: 1 }, 10);
    anew();
    let before = mapping.used();
    let turns = mapping.keep(AtomicU32::new(0));
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 1);
            let end = Instant::now() + Duration::from_secs(60);
            let mut now = 0;
            while turns.load(Ordering::Relaxed) < 150 && Instant::now() < end {
                now += 1;
                let sets = root.sets.pin(worker).unwrap();
                let key = root.secret.call(&random.below(500).to_ne_bytes());
                match random.below(8) {
                    0..=3 => call_load(root, &sets, key, now).unwrap(),
                    4 => drop(report(root, &key, Event::Answered, now)),
                    5 => {
                        let set = sets.set(1).unwrap();
                        for one in set.iter() {
                            let record = root.registry.record(one.record).unwrap();
                            assert_eq!(record.set(), 1);
                            assert!(record.load.get() <= 500);
                        }
                    }
                    _ => drop(report(root, &key, Event::Ended, now)),
                }
            }
        },
        || {
            let turn = turns.fetch_add(1, Ordering::Relaxed) + 1;
            publish(root, &list(turn)).unwrap();
            second(root);
            load_is_right(root, 500);
        },
    );
    assert!(turns.load(Ordering::Relaxed) >= 150, "the storm was over before it began");
    housekeeping::expire(root, Expiry { early: 1, confirmed: 1 }, 10_000_000);
    anew();
    assert_eq!(load_is_right(root, 0), 0);
    assert_eq!(audit::audit(root).accounts.len(), MANY[0] as usize);
    assert!(mapping.used().abs_diff(before) < 4_096, "{} after {before}", mapping.used());
}
