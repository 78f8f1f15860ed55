//! Slow starts, in forked processes: none is refused while there is room, whatever flaps; and who returns has its part of all choices.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use dispatcher::dest::Flags;
use dispatcher::load::{Event, Invite};
use dispatcher::service::health::{set_state, slow_start};
use dispatcher::service::routing::choose::{Call, NoRoute, select};
use dispatcher::state::{Generation, Root};

use super::mapping::Mapping;
use super::{Random, asking, fork_workers, load_is_right, publish, report, timed_root};

const SET: i32 = 1;
/// Calls that a process has up at most.
const CALLS: u64 = 10;

fn clock() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64)
}

/// A call by this algorithm; its position.
fn call(
    root: &Root<Mapping>,
    sets: &Generation<Mapping>,
    algorithm: i32,
    key: &[u8],
) -> Result<usize, NoRoute> {
    let key = root.secret.call(key);
    let (key, invite) = (&|| Some(key), &|| Invite { number: 1, failed: None, now: 0 });
    select(root, sets, &asking(SET, algorithm, Call::Goes { key, invite, may_stay: true }))
        .map(|chosen| chosen.at)
}

fn turn(root: &Root<Mapping>, sets: &Generation<Mapping>, at: usize, up: bool) {
    let state = if up { Flags::default() } else { Flags::INACTIVE };
    set_state::set(root, sets.set(SET).unwrap().get(at).as_slice(), state, 0);
}

/// `steady` has room for all calls and starts slowly all the time; the others flap, come and go, and are full soon.
fn list(round: usize) -> String {
    let steady = "1 sip:steady 0 90 duid=s;maxload=1000;slowstart=100000\n1 sip:full 0 80 duid=f;maxload=1\n";
    let other = |name: usize| {
        let slow = [0, 1, 2][(name + round) % 3];
        format!(
            "1 sip:o{name} 0 {name} duid=o{name};maxload={};slowstart={slow}\n",
            3 + (name + round / 2) % 4
        )
    };
    steady.to_owned() + &(0..3 + round % 4).map(other).collect::<String>()
}

#[test]
fn none_is_refused_while_there_is_room_whatever_flaps_and_is_reloaded() {
    let mapping = Mapping::new(64 << 20);
    let root = timed_root(mapping, clock);
    publish(root, &list(0)).unwrap();
    {
        let sets = root.sets.pin(0).unwrap();
        turn(root, &sets, 0, false);
        turn(root, &sets, 0, true);
    }
    let over = mapping.keep(AtomicUsize::new(0));
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 5);
            while over.load(Ordering::SeqCst) == 0 {
                let sets = root.sets.pin(worker).unwrap();
                let key = [worker as u8, random.below(CALLS) as u8];
                match random.below(10) {
                    0 => {
                        let len = sets.set(SET).unwrap().len() as u64;
                        turn(root, &sets, 2 + random.below(len - 2) as usize, random.below(2) == 0);
                    }
                    1 => slow_start::go_on(root, &sets),
                    2..5 => _ = report(root, &root.secret.call(&key), Event::Ended, 0),
                    number => {
                        let algorithm = [10, 100, 10, 9, 10][number as usize - 5];
                        match call(root, &sets, algorithm, &key) {
                            Ok(_) | Err(NoRoute::Outdated) => {}
                            Err(error) => panic!("{algorithm}: {error:?}"),
                        }
                    }
                }
            }
        },
        || {
            let rounds = if over.load(Ordering::SeqCst) == 0 { 0..300 } else { 0..0 };
            for round in rounds {
                publish(root, &list(round)).unwrap();
                let sets = root.sets.pin(0).unwrap();
                let steady = root.registry.record(sets.set(SET).unwrap().get(0).unwrap().record).unwrap();
                assert!(steady.is_on_ramp());
            }
            over.store(1, Ordering::SeqCst);
        },
    );
    for worker in 0..super::WORKERS as u8 {
        for name in 0..CALLS as u8 {
            report(root, &root.secret.call(&[worker, name]), Event::Ended, 0);
        }
    }
    assert_eq!(load_is_right(root, 1000), 0);
}

#[test]
fn one_that_returns_has_its_part_of_the_choices_of_all_processes() {
    let mapping = Mapping::new(32 << 20);
    let root = timed_root(mapping, || 1);
    let all: String = (0..10).map(|name| format!("1 sip:g{name} 0 0 duid=g{name};slowstart=60\n")).collect();
    publish(root, &all).unwrap();
    let had = mapping.keep(AtomicUsize::new(0));
    {
        let sets = root.sets.pin(0).unwrap();
        turn(root, &sets, 0, false);
        turn(root, &sets, 0, true);
    }
    fork_workers(
        |worker| {
            for number in 0..1_000u32 {
                let sets = root.sets.pin(worker).unwrap();
                let key = [&[worker as u8], &number.to_ne_bytes()[..]].concat();
                let chosen = call(root, &sets, 10, &key).unwrap();
                had.fetch_add(usize::from(chosen == 0), Ordering::SeqCst);
            }
        },
        || {},
    );
    // A tenth of its tenth: first after as many choices.
    assert_eq!(had.load(Ordering::SeqCst), super::WORKERS * 1_000 / 100 - 1);
    let audit = dispatcher::service::report::audit::audit(root);
    assert!(audit.misplaced == 0 && audit.accounts.iter().all(|one| one.drift == 0), "{audit:?}");
}
