//! The shared types in memory that is really shared: forked processes on one mapping.
//!
//! Each test forks workers that do what a server's workers do, through the same services, while the parent reloads. A
//! worker that finds something wrong exits with another code than 0; the parent then looks at what is left.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod branches;
mod capacities;
mod deaths;
mod drains;
mod edits;
mod ejections;
mod failover;
mod latencies;
mod limits;
mod listed;
mod mapping;
mod peaks;
mod penalties;
mod probes;
mod ranks;
mod rates;
mod records;
mod reloads;
mod reserves;
mod shared_rates;
mod slow_starts;
mod targets;

use core::net::IpAddr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use core::time::Duration;
use dispatcher::dest::{Entry, Problem, Severity, SourceLine, SourcePosition};
use dispatcher::load::key::{Key, SECRET_LEN};
use dispatcher::load::{About, Event, Expiry, Invite, News, Secret, Tags, Timer};
use dispatcher::select::Refusal;
use dispatcher::service::housekeeping;
use dispatcher::service::report::audit;
use dispatcher::service::routing::call_count;
use dispatcher::service::routing::choose::{Ask, Call, NoRoute, select};
use dispatcher::service::sets::load::{NotLoaded, Policy, first_load, reload};
use dispatcher::service::sets::resolve::{Meaning, Resolved};
use dispatcher::service::sets::source::{Found, Source};
use dispatcher::shm::counter::Audited;
use dispatcher::shm::lock::Mutex;
use dispatcher::shm::{Alloc, OutOfMemory, Shared};
use dispatcher::state::{Generation, Root, Shift};
use listed::{KEEP, Listed, POLICY, unlocated};
use mapping::Mapping;
use std::time::Instant;

const WORKERS: usize = 8;

/// Waits until all workers have come to this step.
fn all_arrive(arrived: &AtomicUsize, step: &mut usize) {
    *step += 1;
    arrived.fetch_add(1, Ordering::SeqCst);
    let end = Instant::now() + Duration::from_secs(20);
    while arrived.load(Ordering::SeqCst) < *step * WORKERS {
        assert!(Instant::now() < end, "not all arrived within twenty seconds");
        std::thread::yield_now();
    }
}

/// Runs `work` in forked processes and waits for all; `meanwhile` runs here until they are done.
fn fork_workers(work: impl Fn(usize), mut meanwhile: impl FnMut()) {
    let mut workers = Workers(Vec::new());
    for number in 0..WORKERS {
        // SAFETY: the child runs `work` and leaves by `_exit`; it shares no lock with other threads of this test.
        match unsafe { libc::fork() } {
            0 => {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(number)));
                // SAFETY: ends this process only, without running the parent's exit handlers.
                unsafe { libc::_exit(if done.is_ok() { 0 } else { 1 }) };
            }
            pid => workers.0.push(pid),
        }
    }
    while !workers.0.is_empty() {
        meanwhile();
        let mut failed = None;
        workers.0.retain(|&pid| {
            let mut status = 0;
            // SAFETY: our own child.
            match unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } {
                0 => true,
                gone => {
                    failed = failed.or((gone != pid || status != 0).then_some((pid, status)));
                    false
                }
            }
        });
        assert!(failed.is_none(), "a worker failed: {failed:x?}");
    }
}

/// Those that run. Where the test fails they may wait for something that does not come any more, and are ended.
struct Workers(Vec<libc::pid_t>);

impl Drop for Workers {
    fn drop(&mut self) {
        for &pid in &self.0 {
            // SAFETY: our own child, which was not waited for; the status is not asked for.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, core::ptr::null_mut(), 0);
            }
        }
    }
}

/// Makes the destinations of this list file serve; gives the warnings.
fn publish(root: &Root<Mapping>, list: &str) -> Result<Vec<Problem>, OutOfMemory> {
    let done = reload(root, &Listed(list), 0, 0, POLICY).map_err(|error| match error {
        NotLoaded::OutOfMemory(error) => error,
        error => panic!("{error:?}"),
    });
    if let Ok(problems) = &done {
        assert!(problems.iter().all(|problem| problem.severity == Severity::Warning), "{problems:?}");
    }
    done
}

fn root(mapping: Mapping) -> &'static Root<Mapping> {
    timed_root(mapping, || 0)
}

/// The same with a clock.
fn timed_root(mapping: Mapping, clock: fn() -> u64) -> &'static Root<Mapping> {
    let secret = Secret::new(core::array::from_fn::<_, SECRET_LEN, _>(|at| (at * 151 % 251) as u8));
    let mut root = Root::try_new_in(secret, mapping).unwrap();
    root.clock = clock;
    let root = mapping.keep(root);
    root.sets.open(WORKERS + 1).unwrap();
    root
}

/// A selection for such a request.
fn asking(set: i32, algorithm: i32, call: Call<'_>) -> Ask<'_> {
    Ask {
        set,
        algorithm,
        call,
        now_ms: &|| 0,
        random: &|| 0,
        spare_last: false,
        counts_all: false,
        priority: false,
        hash: &|_| None,
        is_repeated: &|| false,
        retry: None,
    }
}

/// Algorithm 10 for an INVITE of this call to set 1.
fn call_load<A: Alloc>(root: &Root<A>, sets: &Generation<A>, key: Key, now: u32) -> Result<(), NoRoute> {
    call_load_at(root, sets, (key, false), now)
}

/// The same, with priority or without.
fn call_load_of<A: Alloc>(
    root: &Root<A>,
    sets: &Generation<A>,
    key: Key,
    priority: bool,
) -> Result<(), NoRoute> {
    call_load_at(root, sets, (key, priority), 0)
}

fn call_load_at<A: Alloc>(
    root: &Root<A>,
    sets: &Generation<A>,
    (key, priority): (Key, bool),
    now: u32,
) -> Result<(), NoRoute> {
    let (key, invite) = (&|| Some(key), &|| Invite { number: 1, failed: None, now });
    let ask = Ask { priority, ..asking(1, 10, Call::Goes { key, invite, may_stay: true }) };
    match select(root, sets, &ask) {
        // As a script's function does: once more, of the sets that serve now.
        Err(NoRoute::Outdated) => {
            let retired = root.writer.lock();
            select(root, root.sets.current(&retired).unwrap(), &ask).map(|_| ())
        }
        done => done.map(|_| ()),
    }
}

/// Without a transaction: the leg that was chosen last is meant.
fn report<A: Alloc>(root: &Root<A>, key: &Key, event: Event, now: u32) -> bool {
    let news = News { event, about: About::NoTransaction, tags: Tags::default(), now, timer: Timer::Same };
    call_count::report(root, key, &news).unwrap()
}

/// A small generator of its own in each worker: a test that fails must fail again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn load_is_right<A: Alloc>(root: &Root<A>, maxload: u32) -> u32 {
    let audit = audit::audit(root);
    assert_eq!(audit.misplaced, 0);
    for account in &audit.accounts {
        assert_eq!(account.drift, 0, "{account:?}");
        assert!(account.recorded <= maxload, "{account:?}");
    }
    audit.accounts.iter().map(|account| account.recorded).sum()
}

#[test]
fn the_lock_counts_right_between_processes() {
    struct Total(u64);
    // SAFETY: a number.
    unsafe impl Shared for Total {}
    let mapping = Mapping::new(1 << 20);
    let total = mapping.keep(Mutex::new(Total(0)));
    fork_workers(
        |_| {
            for _ in 0..20_000 {
                total.lock().0 += 1;
            }
        },
        || {},
    );
    assert_eq!(total.lock().0, WORKERS as u64 * 20_000);
}

#[test]
fn no_destination_passes_its_limit_and_all_places_are_used() {
    let mapping = Mapping::new(16 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a 0 0 maxload=50\n1 sip:b 0 0 maxload=50\n1 sip:c 0 0 maxload=50").unwrap();
    let placed = mapping.keep(AtomicU32::new(0));
    fork_workers(
        |worker| {
            let sets = root.sets.pin(worker).unwrap();
            for call in 0..60 {
                let key = root.secret.call(format!("{worker}-{call}").as_bytes());
                match call_load(root, &sets, key, 0) {
                    Ok(_) => drop(placed.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => assert_eq!(error, NoRoute::Refused(Refusal::NoRoom)),
                }
            }
        },
        || {},
    );
    // 480 attempts for 150 places: all are taken, none twice.
    assert_eq!(placed.load(Ordering::Relaxed), 150);
    assert_eq!(load_is_right(root, 50), 150);
}

#[test]
fn one_invite_in_all_workers_at_once_counts_once() {
    let mapping = Mapping::new(16 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a\n1 sip:b\n1 sip:c").unwrap();
    fork_workers(
        |worker| {
            let sets = root.sets.pin(worker).unwrap();
            for call in 0..2_000 {
                let key = root.secret.call(format!("same-{call}").as_bytes());
                assert!(call_load(root, &sets, key, 0).is_ok());
            }
        },
        || {},
    );
    assert_eq!(load_is_right(root, u32::MAX), 2_000);
}

/// Calls of every fate in every worker, over a few Call-IDs so that they meet, while the sets are replaced all the time
/// by ones in which destinations come and go and limits change.
#[test]
fn a_storm_of_calls_and_reloads_leaves_no_drift() {
    let mapping = Mapping::new(64 << 20);
    let root = root(mapping);
    let lists: Vec<_> = (0..6)
        .map(|turn| {
            let line = |name: u32| format!("1 sip:gw{name} 0 0 duid=gw{name};maxload=20\n");
            (0..8).filter(|name| (name + turn) % 5 != 0).map(line).collect::<String>()
        })
        .collect();
    publish(root, &lists[0]).unwrap();
    let mut turn = 0;
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 1);
            for now in 0..30_000 {
                let sets = root.sets.pin(worker).unwrap();
                let key = root.secret.call(&random.below(400).to_ne_bytes());
                let event = match random.below(10) {
                    0..=4 => {
                        if let Err(error) = call_load(root, &sets, key, now) {
                            assert_eq!(error, NoRoute::Refused(Refusal::NoRoom));
                        }
                        continue;
                    }
                    5 => Event::Answered,
                    6 => Event::Cancelled,
                    7 => Event::Refused,
                    8 => Event::Unset,
                    _ => Event::Ended,
                };
                report(root, &key, event, now);
            }
        },
        || {
            turn += 1;
            publish(root, &lists[turn % lists.len()]).unwrap();
            housekeeping::make_room(root).unwrap();
            let audit = audit::audit(root);
            assert!(audit.accounts.iter().all(|account| account.drift == 0), "{:?}", audit.accounts);
        },
    );
    assert!(turn > 10, "the storm was over before it began");
    // What nobody ended expires, and then nothing is left of any call.
    housekeeping::expire(root, Expiry { early: 1, confirmed: 1 }, 1_000_000);
    assert_eq!(load_is_right(root, 0), 0);
    let audit = audit::audit(root);
    assert_eq!((audit.early, audit.confirmed, audit.released), (0, 0, 0));
}

#[test]
fn calls_use_the_room_made_for_them_without_an_allocation() {
    let mapping = Mapping::new(16 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a\n1 sip:b").unwrap();
    housekeeping::make_room(root).unwrap();
    let before = mapping.allocations();
    fork_workers(
        |worker| {
            let sets = root.sets.pin(worker).unwrap();
            for call in 0..100 {
                let key = root.secret.call(format!("{worker}-{call}").as_bytes());
                assert!(call_load(root, &sets, key, 0).is_ok());
                for event in [Event::Answered, Event::Seen, Event::Ended] {
                    assert!(report(root, &key, event, 0));
                }
            }
        },
        || {},
    );
    assert_eq!(mapping.allocations(), before);
}

#[test]
fn replaced_sets_give_their_memory_back() {
    let mapping = Mapping::new(32 << 20);
    let root = root(mapping);
    let lists: Vec<_> = (0..2)
        .map(|turn| (0..50).map(|name| format!("1 sip:gw{name}-{turn} 0 0 x=y\n")).collect::<String>())
        .collect();
    let mut level = 0;
    for turn in 0..200 {
        publish(root, &lists[turn % 2]).unwrap();
        housekeeping::tidy(root);
        if turn == 9 {
            level = mapping.used();
        }
    }
    assert_eq!(mapping.used(), level);
}

/// The only way to see one: the count of a destination is changed behind the back of the call table.
#[test]
fn an_audit_that_finds_drift_leaves_it_to_the_metrics_until_the_next_one() {
    let mapping = Mapping::new(2 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a\n1 sip:b\n1 sip:c\n").unwrap();
    let last = || {
        let last = &root.counters.last_audit;
        (last.drift(), last.misplaced(), last.time())
    };
    assert_eq!(last(), (0, 0, 0));
    (0..2).for_each(|number| root.registry.shift(number, Shift::TAKE, Audited::NotYet));
    assert_eq!(last(), (0, 0, 0));
    audit::audit(root).note(root, 77);
    assert_eq!(last(), (2, 0, 77));
    (0..2).for_each(|number| root.registry.shift(number, Shift::GIVE, Audited::NotYet));
    audit::audit(root).note(root, 99);
    assert_eq!(last(), (0, 0, 99));
}

#[test]
fn a_full_pool_is_an_error_and_the_old_sets_serve_on() {
    let mapping = Mapping::new(2 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a").unwrap();
    let huge = (0..20_000).map(|name| format!("1 sip:gw{name} 0 0 x=y\n")).collect::<String>();
    let before = audit::audit(root).accounts.len();
    assert!(publish(root, &huge).is_err());
    let sets = root.sets.pin(0).unwrap();
    assert_eq!(sets.set(1).unwrap().len(), 1);
    drop(sets);
    housekeeping::tidy(root);
    assert_eq!(audit::audit(root).accounts.len(), before);
    publish(root, "1 sip:b").unwrap();
}

/// A list file in which some names do not resolve.
struct Names<'a> {
    text: &'a str,
    resolving: bool,
}

impl Source for Names<'_> {
    fn read<'t>(&self, text: &'t mut Vec<u8>) -> Result<(Vec<SourceLine<'t>>, Vec<Problem>), String> {
        Listed(self.text).read(text)
    }

    fn locate<'t>(&self, entry: Entry<'t>) -> Result<Resolved<'t>, Problem> {
        Ok(unlocated(entry))
    }

    fn look_up(&self, _: &Resolved<'_>) -> Found {
        let addresses = vec!["192.0.2.7".parse().unwrap()];
        if self.resolving {
            Found::Meaning(Meaning { addresses, port_and_proto: None })
        } else {
            Found::Nothing
        }
    }
}

#[test]
fn a_reload_looks_no_name_up_and_keeps_the_addresses_that_serve() {
    let root = root(Mapping::new(1 << 20));
    let source = |text, resolving| Names { text, resolving };
    assert!(first_load(root, &source("1 sip:gw", true), POLICY).unwrap().is_empty());
    assert!(reload(root, &source("1 sip:new\n1 sip:gw", true), 0, 0, POLICY).unwrap().is_empty());
    let sets = root.sets.pin(0).unwrap();
    let set = sets.set(1).unwrap();
    let addresses: Vec<_> = set.iter().map(|one| one.addresses().to_vec()).collect();
    assert_eq!(addresses, [vec!["192.0.2.7".parse::<IpAddr>().unwrap()], Vec::new()]);
}

#[test]
fn a_name_that_means_nothing_at_start_is_loaded_and_told() {
    let root = root(Mapping::new(1 << 20));
    let problems = first_load(root, &Names { text: "1 sip:gw", resolving: false }, POLICY).unwrap();
    assert_eq!((problems[0].place, problems[0].severity), (SourcePosition::Line(1, 3), Severity::Warning));
    assert_eq!(root.sets.pin(0).unwrap().set(1).unwrap().len(), 1);
}

#[test]
fn a_source_in_which_nothing_is_right_or_too_soon_leaves_what_serves() {
    let root = root(Mapping::new(1 << 20));
    let source = |text| Names { text, resolving: true };
    first_load(root, &source("1 sip:gw"), POLICY).unwrap();
    let wrong = |text, policy| matches!(reload(root, &source(text), 0, 0, policy), Err(NotLoaded::Wrong(..)));
    assert!(wrong("x sip:gw\n", POLICY));
    let strict = Policy { strict: true, ..POLICY };
    assert!(wrong("1 sip:new\nx sip:gw\n", strict));
    assert_eq!(root.sets.pin(0).unwrap().set(1).unwrap().len(), 1);
    // A refused reload does not use up the time between two.
    assert!(reload(root, &source("1 sip:gw"), 5, 100, POLICY).is_ok());
    assert!(matches!(reload(root, &source("1 sip:gw"), 5, 104, POLICY), Err(NotLoaded::TooSoon)));
    assert!(reload(root, &source("1 sip:gw"), 5, 105, POLICY).is_ok());
    assert_eq!(root.sets.pin(0).unwrap().set(1).unwrap().len(), 1);
}

#[test]
fn the_sets_mirror_the_source_even_if_that_is_empty() {
    let root = root(Mapping::new(1 << 20));
    let source = |text| Names { text, resolving: true };
    first_load(root, &source("1 sip:gw\n2 sip:gw"), POLICY).unwrap();
    assert_eq!(reload(root, &source("# all gone\n"), 0, 0, POLICY).unwrap(), []);
    assert!(root.sets.pin(0).unwrap().sets.is_empty());
}
