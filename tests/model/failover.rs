//! Requests that go from destination to destination, in forked processes, while the sets change under them.

use dispatcher::load::{Event, Invite};
use dispatcher::select::attempts::{Attempts, NO_LIMIT, Rule};
use dispatcher::service::routing::choose::{Ask, Call, NoRoute, select, tried_at};
use dispatcher::service::routing::failover;
use dispatcher::service::sets::commit;

use super::mapping::Mapping;
use super::{Random, fork_workers, load_is_right, publish, report, root};

const LIMIT: u32 = 3;
const RULES: [Rule; 2] = [Rule { set: 1, algorithm: 10 }, Rule { set: 2, algorithm: 4 }];

/// Nobody goes twice to one destination, and no limit is passed, though calls of all workers fail over at once.
#[test]
fn requests_of_all_workers_go_on_to_what_they_have_not_tried_and_pass_no_limit() {
    let mapping = Mapping::new(32 << 20);
    let root = root(mapping);
    let lists = [0, 1, 2].map(|turn| {
        let line = |n: u32| format!("1 sip:a{n} 0 0 duid=a{n};maxload={LIMIT}\n");
        let others = "2 sip:b1\n2 sip:b2\n";
        (0..6).filter(|n| (n + turn) % 4 != 0).map(line).collect::<String>() + others
    });
    publish(root, &lists[0]).unwrap();
    let far = mapping.keep([const { core::sync::atomic::AtomicU32::new(0) }; 2]);
    let mut turn = 0;
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 3);
            for round in 0..6_000u32 {
                let key = root.secret.call(&(u64::from(round) << 8 | worker as u64).to_ne_bytes());
                let call = Call::Goes {
                    key: &|| Some(key),
                    invite: &|| Invite { number: 1, failed: None, now: 0 },
                    may_stay: true,
                };
                let (now_ms, random_number, hash) = (&|| 0, &|| 0, &|_| None);
                let ask = Ask {
                    set: 1,
                    algorithm: 10,
                    call,
                    now_ms,
                    random: random_number,
                    spare_last: false,
                    counts_all: false,
                    priority: false,
                    hash,
                    is_repeated: &|| false,
                    retry: None,
                };
                // As a script's function does: once more, of the sets that serve then.
                let again = |error: &NoRoute| {
                    let outdated = *error == NoRoute::Outdated;
                    if outdated {
                        commit::settled(root);
                    }
                    outdated
                };
                let first = loop {
                    let sets = root.sets.pin(worker).unwrap();
                    match select(root, &sets, &ask) {
                        Ok(one) => break Some((tried_at(root, one.set, one.at).unwrap(), one.at)),
                        Err(error) => {
                            drop(sets);
                            if !again(&error) {
                                break None;
                            }
                        }
                    }
                };
                let Some((tried, at)) = first else { continue };
                let mut attempts = Attempts::first(RULES.into_iter(), NO_LIMIT, tried, at);
                for _ in 0..random.below(9) {
                    let sets = root.sets.pin(worker).unwrap();
                    match failover::next(root, &sets, &attempts, &ask) {
                        Ok((rule, next)) => {
                            let one = tried_at(root, next.set, next.at).unwrap();
                            assert!(!attempts.tried().contains(&one), "{one:?} again: {attempts:?}");
                            attempts.go_on(rule, one, next.at);
                            far[usize::from(next.set.id == 2)]
                                .fetch_add(1, core::sync::atomic::Ordering::Relaxed);
                            let load = root.registry.record(one.record).unwrap().load.get();
                            assert!(next.set.id == 2 || load <= LIMIT, "{load} calls");
                        }
                        Err(error) => {
                            drop(sets);
                            if !again(&error) {
                                break;
                            }
                        }
                    }
                }
                let tried = attempts.tried().len();
                assert!(tried <= 8, "{tried} of at most 6 and 2: {attempts:?}");
                report(root, &key, Event::Unset, 0);
            }
        },
        || {
            turn += 1;
            publish(root, &lists[turn % lists.len()]).unwrap();
        },
    );
    let [in_set, beyond] = far.each_ref().map(|count| count.load(core::sync::atomic::Ordering::Relaxed));
    assert!(
        in_set > 1000 && beyond > 1000 && turn > 3,
        "{in_set} in the set, {beyond} beyond, {turn} reloads"
    );
    assert_eq!(load_is_right(root, 0), 0);
}
