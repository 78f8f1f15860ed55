//! Processes are killed in the middle of their work, as when the server stops: the shared state that they leave can be read.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dispatcher::load::key::Key;
use dispatcher::load::{Event, Leg};
use dispatcher::service::housekeeping;
use dispatcher::shm::lock::LastAlive;
use dispatcher::state::Root;

use super::mapping::Mapping;
use super::{Random, WORKERS, call_load, publish, report, root};

const STABLE: u32 = 3_000;

fn key(root: &Root<Mapping>, name: u32) -> Key {
    root.secret.call(&name.to_ne_bytes())
}

/// Calls come and go, so that the table grows, shrinks and moves its entries, for ever.
fn work(root: &Root<Mapping>, worker: usize, seed: u64) {
    let mut random = Random(seed * 100 + worker as u64 + 1);
    loop {
        let sets = root.sets.pin(worker).unwrap();
        let (first, many) = (random.below(100_000) as u32 + STABLE, random.below(400) as u32);
        (first..first + many).for_each(|name| call_load(root, &sets, key(root, name), 0).unwrap());
        for name in first..first + many {
            report(root, &key(root, name), Event::Lost, 0);
        }
        if worker == 0 {
            housekeeping::make_room(root).unwrap();
            housekeeping::relieve(root);
        }
    }
}

#[test]
fn what_killed_processes_leave_holds_all_calls_but_those_in_their_hands() {
    let mut held = 0;
    for round in 0..40 {
        let mapping = Mapping::new(64 << 20);
        let root = root(mapping);
        publish(root, "1 sip:a\n1 sip:b\n1 sip:c").unwrap();
        let sets = root.sets.pin(WORKERS).unwrap();
        (0..STABLE).for_each(|name| call_load(root, &sets, key(root, name), 7).unwrap());
        let before: HashMap<Key, Leg> = (0..STABLE)
            .map(|name| key(root, name))
            .map(|key| (key, root.calls.shard(&key).get(&key).legs()[0]))
            .collect();
        let children: Vec<_> = (0..WORKERS)
            // SAFETY: the child does nothing but `work`, until it is killed.
            .map(|worker| match unsafe { libc::fork() } {
                0 => {
                    let work = || work(root, worker, round);
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                    // SAFETY: ends this process only.
                    unsafe { libc::_exit(1) }
                }
                pid => pid,
            })
            .collect();
        // At another moment in each round: after so many calls.
        let enough = u64::from(STABLE) + 2_000 + round * 37;
        let end = Instant::now() + Duration::from_secs(20);
        while root.counters.placed.get() < enough {
            assert!(Instant::now() < end, "{} calls of {enough}", root.counters.placed.get());
            std::thread::yield_now();
        }
        for &pid in &children {
            // SAFETY: our own child, not waited for yet.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        for pid in children {
            let mut status = 0;
            // SAFETY: our own child.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            assert!(libc::WIFSIGNALED(status), "worker {pid} ended by itself: {status:#x}");
        }
        // SAFETY: all others were waited for.
        let alone = unsafe { LastAlive::new() };
        held += root.calls.shards().iter().filter(|shard| shard.try_lock().is_none()).count();
        let mut found = HashMap::new();
        root.calls.each_left(&alone, |key, leg| {
            found.insert(*key, *leg);
        });
        let lost = before.iter().filter(|(key, leg)| found.get(*key) != Some(leg)).count();
        assert_eq!(lost, 0, "in round {round}");
    }
    assert!(held > 40, "only {held} locks were held: the workers did not work");
}
