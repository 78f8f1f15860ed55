//! Capacities that destinations of several sets share, in forked processes: never a call too many, and none refused while there is room.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use dispatcher::load::{Event, Invite, key::Key};
use dispatcher::select::attempts::{Attempts, NO_LIMIT, Rule, Tried};
use dispatcher::select::{Measure, Refusal};
use dispatcher::service::routing::call_count;
use dispatcher::service::routing::choose::{self, Call, NoRoute, select, tried_at};
use dispatcher::service::routing::failover;
use dispatcher::state::{Generation, Root};

use super::mapping::Mapping;
use super::{Random, WORKERS, all_arrive, asking, fork_workers, load_is_right, publish, report, root};

const SETS: u64 = 3;

/// Two lines a set that share one capacity; the first set has a limit for all lines, so that relative loads are compared by it.
fn list(most: u32) -> String {
    let line = |set: u64, n: u32| {
        let own = if set == 1 { "maxload=50" } else { "weight=3" };
        format!("{set} sip:gw{set}-{n} 0 0 duid=gw{set}-{n};{own};capacity=carrier;capacity_max={most}\n")
    };
    (1..=SETS).flat_map(|set| [line(set, 1), line(set, 2)]).collect()
}

/// Calls that count in the only capacity.
fn counted(root: &Root<Mapping>) -> u32 {
    root.registry.capacities.lock().each().map(|one| one.calls).sum()
}

/// An INVITE of this call to this set: where it went.
fn place(
    root: &Root<Mapping>,
    sets: &Generation<Mapping>,
    key: Key,
    (set, algorithm): (i32, i32),
) -> Result<(Tried, usize), NoRoute> {
    let (key, invite) = (&|| Some(key), &|| Invite { number: 1, failed: None, now: 0 });
    let call = Call::Goes { key, invite, may_stay: true };
    let chosen = select(root, sets, &asking(set, algorithm, call))?;
    Ok((tried_at(root, chosen.set, chosen.at).unwrap(), chosen.at))
}

/// A call that counts goes on to another destination, in one of the ways that scripts have.
fn go_on(root: &Root<Mapping>, sets: &Generation<Mapping>, key: Key, from: (i32, Tried, usize), way: u64) {
    let invite = || Invite { number: 1, failed: None, now: 0 };
    let (set, tried, at) = from;
    let next = set % SETS as i32 + 1;
    match way {
        // The next of the list that the selection left.
        0 => {
            let serving = sets.set(set).unwrap();
            let others: Vec<_> = (0..serving.len()).filter(|other| *other != at).collect();
            let by = (Measure::Calls, &others[..]);
            choose::retry(root, serving, by, key, invite(), (false, false)).unwrap();
        }
        // By algorithm 10 in this set; then by round robin in another one.
        1 | 2 => {
            let rules = [
                Rule { set: if way == 1 { set } else { next }, algorithm: 10 },
                Rule { set: next, algorithm: 4 },
            ];
            let attempts = Attempts::first(rules.into_iter(), NO_LIMIT, tried, at);
            let (key, invite) = (&|| Some(key), &invite);
            let ask = asking(set, 10, Call::Goes { key, invite, may_stay: false });
            assert!(failover::next(root, sets, &attempts, &ask).is_ok());
        }
        _ => {
            let serving = sets.set(next).unwrap();
            assert_eq!(call_count::go_on(root, serving, 0, (Some(&key), false), invite), Ok(true));
        }
    }
}

/// As many places as processes, each of which has one call at a time: the capacity turns full and free all the time, and there is
/// always room for the call that comes, and for one that goes from one destination to another.
#[test]
fn no_call_is_refused_while_there_is_room_and_one_that_moves_needs_none() {
    let mapping = Mapping::new(16 << 20);
    let root = root(mapping);
    publish(root, &list(WORKERS as u32)).unwrap();
    let full = mapping.keep(AtomicU32::new(0));
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 1);
            let key = root.secret.call(&worker.to_ne_bytes());
            let sets = root.sets.pin(worker).unwrap();
            for _ in 0..40_000 {
                let set = 1 + random.below(SETS) as i32;
                let algorithm = [10, 100][random.below(2) as usize];
                let (tried, at) = place(root, &sets, key, (set, algorithm)).unwrap();
                let calls = counted(root);
                full.fetch_add(u32::from(calls == WORKERS as u32), Ordering::Relaxed);
                if random.below(2) == 0 {
                    go_on(root, &sets, key, (set, tried, at), random.below(4));
                    assert_eq!(call_count::get(root, &key).counted().count(), 1);
                }
                assert!(calls.max(counted(root)) <= WORKERS as u32);
                assert!(report(root, &key, [Event::Refused, Event::Ended][random.below(2) as usize], 0));
            }
        },
        || {},
    );
    let full = full.load(Ordering::Relaxed);
    assert!(full > 100, "it was full {full} times");
    assert_eq!((load_is_right(root, 0), counted(root)), (0, 0));
}

/// Bursts: all processes ask for more than there is, in all sets at once, while calls end; then all that is left is taken.
#[test]
fn bursts_of_all_workers_take_each_place_once() {
    const MOST: u32 = 10;
    const CALLS: usize = 4;
    const ROUNDS: usize = 400;
    let mapping = Mapping::new(16 << 20);
    let root = root(mapping);
    publish(root, &list(MOST)).unwrap();
    let (arrived, placed) = (mapping.keep(AtomicUsize::new(0)), mapping.keep(AtomicU32::new(0)));
    let all_arrive = |step: &mut usize| all_arrive(arrived, step);
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 7);
            let sets = root.sets.pin(worker).unwrap();
            let mut step = 0;
            let keys: Vec<_> =
                (0..CALLS).map(|call| root.secret.call(format!("{worker}-{call}").as_bytes())).collect();
            for round in 0..ROUNDS {
                all_arrive(&mut step);
                let mut up = Vec::new();
                for &key in &keys {
                    let set = 1 + random.below(SETS) as i32;
                    match place(root, &sets, key, (set, 10)) {
                        Ok(_) => up.push(key),
                        Err(error) => assert_eq!(error, NoRoute::Refused(Refusal::NoRoom)),
                    }
                    assert!(counted(root) <= MOST);
                    // Some go at once, and others get their places.
                    if random.below(3) == 0 {
                        up.pop().into_iter().for_each(|key| assert!(report(root, &key, Event::Refused, 0)));
                    }
                }
                all_arrive(&mut step);
                // What is left, while nothing ends.
                for &key in &keys {
                    if !up.contains(&key)
                        && place(root, &sets, key, (1 + random.below(SETS) as i32, 10)).is_ok()
                    {
                        up.push(key);
                    }
                }
                placed.fetch_add(up.len() as u32, Ordering::SeqCst);
                all_arrive(&mut step);
                let expected = (round as u32 + 1) * MOST;
                assert_eq!((placed.load(Ordering::SeqCst), counted(root)), (expected, MOST), "round {round}");
                all_arrive(&mut step);
                up.iter().for_each(|key| assert!(report(root, key, Event::Refused, 0)));
                all_arrive(&mut step);
                assert_eq!(counted(root), 0, "round {round}");
            }
        },
        || {},
    );
    assert_eq!(load_is_right(root, 0), 0);
}

/// What a reload says of a capacity counts at once, and calls stay with it.
#[test]
fn limits_names_and_members_change_under_calls() {
    let mapping = Mapping::new(4 << 20);
    let root = root(mapping);
    let up = |call: u32, set: i32| {
        let sets = root.sets.pin(0).unwrap();
        place(root, &sets, root.secret.call(&call.to_ne_bytes()), (set, 10)).map(drop)
    };
    let down = |call: u32| assert!(report(root, &root.secret.call(&call.to_ne_bytes()), Event::Refused, 0));
    let all = || {
        let mut all: Vec<_> = root.registry.capacities.lock().each().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all.into_iter()
            .map(|one| (String::from_utf8(one.name).unwrap(), one.calls, one.limit))
            .collect::<Vec<_>>()
    };
    let line = |set: u32, name: &str, attrs: &str| format!("{set} sip:{name} 0 0 {attrs}\n");
    let refused = Err(NoRoute::Refused(Refusal::NoRoom));
    // Lines that disagree: the smallest counts, and that is told.
    let told = publish(
        root,
        &(line(1, "a", "capacity=c;capacity_max=3") + &line(2, "b", "capacity=c;capacity_max=2")),
    );
    assert_eq!(told.unwrap().len(), 1);
    assert_eq!([up(1, 1), up(2, 2), up(3, 1)], [Ok(()), Ok(()), refused]);
    assert_eq!(all(), [("c".into(), 2, 2)]);
    // More, and less than there are.
    publish(root, &(line(1, "a", "capacity=c;capacity_max=3") + &line(2, "b", "capacity=c"))).unwrap();
    assert_eq!([up(3, 1), up(4, 2)], [Ok(()), Err(NoRoute::Refused(Refusal::NoRoom))]);
    publish(root, &(line(1, "a", "capacity=c;capacity_max=1") + &line(2, "b", "capacity=c"))).unwrap();
    down(1);
    assert_eq!((up(4, 2), all()), (Err(NoRoute::Refused(Refusal::NoRoom)), vec![("c".into(), 2, 1)]));
    // One leaves it: its calls go with it. Another one comes.
    publish(
        root,
        &(line(1, "a", "capacity=c;capacity_max=1") + &line(2, "b", "x=y") + &line(3, "d", "capacity=e")),
    )
    .unwrap();
    assert_eq!(all(), [("c".into(), 1, 1), ("e".into(), 0, 0)]);
    assert_eq!((up(5, 2), up(6, 1)), (Ok(()), Err(NoRoute::Refused(Refusal::NoRoom))));
    // A destination that is gone has calls still: they count until they end.
    publish(root, &(line(2, "b", "capacity=c;capacity_max=4") + &line(3, "d", "capacity=c;capacity_max=4")))
        .unwrap();
    assert_eq!(all(), [("c".into(), 3, 4)]);
    assert_eq!([up(7, 3), up(8, 2)], [Ok(()), Err(NoRoute::Refused(Refusal::NoRoom))]);
    down(3);
    assert_eq!((all(), up(8, 2)), (vec![("c".into(), 3, 4)], Ok(())));
    assert_eq!(load_is_right(root, 9), 4);
    publish(root, &line(2, "b", "x=y")).unwrap();
    assert_eq!(all(), [("c".into(), 1, 4)], "one call of what was in it is left");
    down(7);
    publish(root, &line(2, "b", "x=z")).unwrap();
    assert_eq!((all().len(), load_is_right(root, 9)), (0, 3));
}
