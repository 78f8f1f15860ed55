//! Calls with several branches, transactions and dialogs, in forked processes that meet at the same Call-IDs.

use dispatcher::load::{
    About, Branch, Event, Failed, Failures, Invite, News, Tags, Timer, Transaction, Unsent,
};
use dispatcher::service::housekeeping;
use dispatcher::service::report::audit;
use dispatcher::service::routing::call_count;

use super::mapping::Mapping;
use super::{Random, call_load, fork_workers, load_is_right, publish, root};

const CALLS: u64 = 300;
const TRANSACTIONS: u64 = 4;
const BRANCHES: u64 = 6;

/// Everything that the server may tell, in any order, while the sets are replaced and audited; and when all transactions and
/// dialogs are over nothing counts.
#[test]
fn a_storm_of_branches_leaves_no_drift_and_nothing_behind() {
    let root = root(Mapping::new(64 << 20));
    let lists = [0, 1, 2].map(|turn| {
        let line = |name: u32| format!("1 sip:gw{name} 0 0 duid=gw{name}\n");
        (0..6).filter(|name| (name + turn) % 5 != 0).map(line).collect::<String>()
    });
    publish(root, &lists[0]).unwrap();
    let key = |call: u64| root.secret.call(&call.to_ne_bytes());
    let transaction = |call: u64, at: u64| Transaction::of(call as u32 * 7, at as u32);
    let mut turn = 0;
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 11);
            for now in 0..20_000 {
                let sets = root.sets.pin(worker).unwrap();
                let (call, at) = (random.below(CALLS), random.below(TRANSACTIONS));
                let branch = Branch::of(transaction(call, at), random.below(BRANCHES) as u16);
                let (key, number) = (key(call), random.below(6) as u32);
                let invite = Invite { number: at as u16, failed: None, now };
                let failures = Failures::of([(branch.number(), 503, false)].into_iter());
                let transaction = branch.transaction();
                let failed = Invite { failed: Some(Failed { transaction, failures }), ..invite };
                let tags = Tags { to: 1 + random.below(3) as u16, from: 0 };
                let about = [
                    About::Branch(branch, at as u16),
                    About::OtherTransaction,
                    About::NoTransaction,
                    About::Request,
                ][random.below(4) as usize];
                let event = [
                    Event::Answered,
                    Event::Refused,
                    Event::Lost,
                    Event::Cancelled,
                    Event::Ended,
                    Event::Unset,
                ][random.below(6) as usize];
                match random.below(12) {
                    0..=2 => call_load(root, &sets, key, now).unwrap(),
                    3 | 4 => {
                        // Only what is configured can be sent to.
                        if sets.set(1).unwrap().first_of(number).is_some() {
                            call_count::sent(root, &sets, &key, number, branch, invite).unwrap();
                        }
                    }
                    5 => call_count::leave(root, &key, failed).unwrap(),
                    6 => {
                        let all = [Unsent::Forgotten, Unsent::Forwarded, Unsent::OfAnother];
                        let unsent = all[random.below(3) as usize];
                        call_count::script_ended(root, &key, invite, unsent, (|one| one != branch, failures))
                            .unwrap();
                    }
                    7 => {
                        let answered = |one: Branch| one.number() == 0;
                        call_count::transaction_ended(
                            root,
                            &key,
                            branch.transaction(),
                            invite,
                            (answered, failures),
                        )
                        .unwrap();
                    }
                    _ => drop(
                        call_count::report(root, &key, &News { event, about, tags, now, timer: Timer::Same })
                            .unwrap(),
                    ),
                }
            }
        },
        || {
            turn += 1;
            publish(root, &lists[turn % lists.len()]).unwrap();
            housekeeping::make_room(root).unwrap();
            housekeeping::give_back(root);
            let audit = audit::audit(root);
            assert!(audit.accounts.iter().all(|account| account.drift == 0), "{:?}", audit.accounts);
        },
    );
    assert!(turn > 5, "the storm was over before it began");
    load_is_right(root, u32::MAX);
    for call in 0..CALLS {
        let key = key(call);
        for at in 0..TRANSACTIONS {
            let invite = Invite { number: at as u16, failed: None, now: 0 };
            call_count::transaction_ended(
                root,
                &key,
                transaction(call, at),
                invite,
                (|_| false, Failures::NONE),
            )
            .unwrap();
        }
        for (event, to) in [(Event::Ended, 1), (Event::Ended, 2), (Event::Ended, 3), (Event::Unset, 0)] {
            let tags = Tags { to, from: 0 };
            call_count::report(
                root,
                &key,
                &News { event, about: About::Request, tags, now: 0, timer: Timer::Same },
            )
            .unwrap();
        }
    }
    assert_eq!(load_is_right(root, 0), 0);
    let audit = audit::audit(root);
    assert_eq!((audit.early, audit.confirmed), (0, 0));
}
