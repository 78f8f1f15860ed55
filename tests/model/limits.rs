//! Calls that count already and are sent on by an algorithm that does not count to a destination with a limit.

use dispatcher::load::{Event, Invite};
use dispatcher::select::Refusal;
use dispatcher::service::routing::call_count::{self, NotPlaced};

use super::mapping::Mapping;
use super::{WORKERS, call_load, fork_workers, load_is_right, publish, report, root};

const LIMIT: u32 = 3;

#[test]
fn calls_that_are_sent_on_in_all_workers_at_once_pass_no_limit() {
    let mapping = Mapping::new(16 << 20);
    let root = root(mapping);
    publish(root, &format!("1 sip:a\n2 sip:b 0 0 maxload={LIMIT}")).unwrap();
    let went = mapping.keep([const { core::sync::atomic::AtomicU32::new(0) }; 2]);
    fork_workers(
        |worker| {
            let sets = root.sets.pin(worker).unwrap();
            let limited = sets.set(2).unwrap();
            let record = root.registry.record(limited.get(0).unwrap().record).unwrap();
            let key = root.secret.call(&worker.to_ne_bytes());
            let invite = || Invite { number: 1, failed: None, now: 0 };
            for _ in 0..30_000 {
                call_load(root, &sets, key, 0).unwrap();
                let gone = call_count::go_on(root, limited, 0, (Some(&key), false), invite);
                let load = record.load.get();
                assert!(load <= LIMIT, "{load} calls");
                assert!(matches!(gone, Ok(true) | Err(NotPlaced::Refused(Refusal::NoRoom))), "{gone:?}");
                went[usize::from(gone.is_ok())].fetch_add(1, core::sync::atomic::Ordering::Relaxed);
                assert!(report(root, &key, Event::Refused, 0));
            }
        },
        || {},
    );
    let [refused, gone] = went.each_ref().map(|count| count.load(core::sync::atomic::Ordering::Relaxed));
    assert!(refused > 100 && gone > 100, "{refused} found no room, {gone} did, of {WORKERS} workers");
    assert_eq!(load_is_right(root, 0), 0);
}
