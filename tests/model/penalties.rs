//! Failed calls weigh on: a gateway that fails each call at once gets no more than its share, limits and counts stay as they are, and nobody is refused.

use core::sync::atomic::{AtomicU64, Ordering};

use dispatcher::load::key::Key;
use dispatcher::load::{
    About, Branch, Event, Failed, Failures, Invite, News, Tags, Timer, Transaction, Unsent,
};
use dispatcher::select::attempts::Tried;
use dispatcher::service::report::audit;
use dispatcher::service::routing::choose::{Call, NoRoute, Retry, select, tried_at};
use dispatcher::service::routing::explain::{Question, explain};
use dispatcher::service::routing::{call_count, penalty};
use dispatcher::state::{Generation, Root};

use super::mapping::Mapping;
use super::{Random, WORKERS, asking, fork_workers, load_is_right, publish, report, timed_root};

const MILLISECOND: u64 = 1_000_000;
const HALF: u32 = 5_000;

/// A call that is failed by its gateway, as a reply route tells it.
fn fail(root: &Root<Mapping>, key: &Key) -> bool {
    let (event, about) = (Event::Refused, About::NoTransaction);
    let news = News { event, about, tags: Tags::default(), now: 0, timer: Timer::Same };
    call_count::report_failed(root, key, &news, Failures::UNWATCHED).unwrap()
}

/// Chooses for a call by this algorithm, where it has `tried` one.
fn choose(
    root: &Root<Mapping>,
    sets: &Generation<Mapping>,
    algorithm: i32,
    (key, invite): (Key, Invite),
    tried: &[Tried],
) -> Result<usize, NoRoute> {
    let retry = (!tried.is_empty()).then_some(Retry { tried, from: None });
    let call = Call::Goes { key: &|| Some(key), invite: &|| invite, may_stay: false };
    let ask = dispatcher::service::routing::choose::Ask { retry, ..asking(1, algorithm, call) };
    select(root, sets, &ask).map(|chosen| chosen.at)
}

/// Gateways of which the first fails each call at once, and the calls that the others have.
struct Traffic {
    root: &'static Root<Mapping>,
    clock: &'static AtomicU64,
    algorithm: i32,
    /// All attempts so far, by gateway.
    attempts: Vec<u32>,
    calls: u64,
    up: std::collections::VecDeque<(u64, Key)>,
    /// How long calls last, in milliseconds.
    length: u64,
}

const PAUSE: u64 = 20;

impl Traffic {
    /// Where the first attempts of the calls of a second go, of 50; `fails` says who fails.
    fn second(&mut self, fails: impl Fn(usize) -> bool) -> Vec<u32> {
        let mut first = vec![0; self.attempts.len()];
        for turn in 0..1_000 / PAUSE {
            let now = self.clock.fetch_add(PAUSE * MILLISECOND, Ordering::SeqCst) / MILLISECOND + PAUSE;
            while self.up.front().is_some_and(|(end, _)| *end <= now) {
                let (_, key) = self.up.pop_front().unwrap();
                assert!(report(self.root, &key, Event::Ended, 0));
            }
            let sets = self.root.sets.pin(WORKERS).unwrap();
            if turn % 12 == 0 {
                penalty::decay(self.root, &sets);
            }
            self.calls += 1;
            let key = self.root.secret.call(&self.calls.to_ne_bytes());
            let invite = Invite { number: 1, ..Invite::default() };
            let mut tried = Vec::new();
            while tried.len() < 2 {
                let at = choose(self.root, &sets, self.algorithm, (key, invite), &tried).unwrap();
                first[at] += u32::from(tried.is_empty());
                self.attempts[at] += 1;
                if !fails(at) {
                    assert!(report(self.root, &key, Event::Answered, 0));
                    self.up.push_back((now + self.length, key));
                    break;
                }
                assert!(fail(self.root, &key));
                tried.push(tried_at(self.root, sets.set(1).unwrap(), at).unwrap());
            }
        }
        first
    }

    fn end(&mut self) {
        self.up.drain(..).for_each(|(_, key)| assert!(report(self.root, &key, Event::Ended, 0)));
        assert_eq!(load_is_right(self.root, 0), 0);
    }
}

macro_rules! traffic {
    ($half:expr, $algorithm:expr, $length:expr, $list:expr) => {{
        static CLOCK: AtomicU64 = AtomicU64::new(1_000 * MILLISECOND);
        let root = timed_root(Mapping::new(32 << 20), || CLOCK.load(Ordering::SeqCst));
        root.failure_decay.turn($half);
        let list: Vec<String> = $list;
        publish(root, &list.concat()).unwrap();
        let (attempts, up) = (vec![0; list.len()], std::collections::VecDeque::new());
        Traffic { root, clock: &CLOCK, algorithm: $algorithm, attempts, calls: 0, up, length: $length }
    }};
}

fn alike(gateways: usize) -> Vec<String> {
    (0..gateways).map(|n| format!("1 sip:gw{n} 0 0 duid=gw{n};maxload=2000;weight=1\n")).collect()
}

/// The bar: of ten, at most twice its share of 50 calls a second, from the first second on; and it is back soon when it takes calls.
#[test]
fn one_of_ten_that_fails_each_call_at_once_gets_at_most_twice_its_share() {
    for (algorithm, length) in [(10, 500), (10, 4_000), (10, 60_000), (100, 60_000), (10, 300_000)] {
        let mut traffic = traffic!(HALF, algorithm, length, alike(10));
        // All are well until as many calls are up as will be.
        let warm = (length / 1_000 + 1).min(120);
        (0..warm).for_each(|_| drop(traffic.second(|_| false)));
        let seconds: Vec<u32> = (0..60).map(|_| traffic.second(|at| at == 0)[0]).collect();
        let all: u32 = seconds.iter().sum();
        assert!(seconds.iter().all(|calls| *calls <= 10), "{algorithm}, {length} ms: {seconds:?}");
        assert!(all <= 5 * 60, "{algorithm}, {length} ms: {all} of {}", 50 * 60);
        let back: Vec<u32> = (0..30).map(|_| traffic.second(|_| false)[0]).collect();
        let first = back.iter().position(|calls| *calls >= 2);
        assert!(first.is_some_and(|second| second <= 10), "{algorithm}, {length} ms: {back:?}");
        traffic.end();
    }
}

/// What the bar is for.
#[test]
fn where_failed_calls_do_not_weigh_one_that_fails_each_gets_all() {
    let mut traffic = traffic!(0, 10, 60_000, alike(10));
    (0..20).for_each(|_| drop(traffic.second(|_| false)));
    // The failing one has calls from before, which end first.
    let failing = (0..80).map(|_| traffic.second(|at| at == 0)[0]).max();
    assert_eq!(failing, Some(50));
    traffic.end();
}

/// A large one that fails among small ones, by its share of calls.
#[test]
fn a_large_gateway_that_fails_gets_at_most_twice_its_share_of_relative_loads() {
    let line =
        |n: usize| format!("1 sip:gw{n} 0 0 duid=gw{n};maxload={}\n", if n == 0 { 10_000 } else { 1_000 });
    let mut traffic = traffic!(HALF, 100, 60_000, (0..11).map(line).collect());
    (0..60).for_each(|_| drop(traffic.second(|_| false)));
    let seconds: Vec<u32> = (0..40).map(|_| traffic.second(|at| at == 0)[0]).collect();
    assert!(seconds.iter().all(|calls| *calls < 50) && seconds.iter().sum::<u32>() < 40 * 25, "{seconds:?}");
    traffic.end();
}

#[test]
fn where_all_fail_all_get_alike_and_none_is_refused() {
    let mut traffic = traffic!(HALF, 10, 60_000, alike(10));
    (0..20).for_each(|_| drop(traffic.second(|_| false)));
    // The calls from before end from the fortieth second on.
    for second in (0..100).step_by(5) {
        traffic.attempts.fill(0);
        (0..5).for_each(|_| drop(traffic.second(|_| true)));
        let (of, share) = (&traffic.attempts, 5 * 2 * 50 / 10);
        assert!(
            of.iter().all(|calls| (share / 3..=share * 2).contains(calls)),
            "from second {second}: {of:?}"
        );
    }
    // Nine of them still do: soon the one that does not has all.
    let seconds: Vec<u32> = (0..30).map(|_| traffic.second(|at| at != 3)[3]).collect();
    assert!(seconds.last().is_some_and(|calls| *calls >= 35), "{seconds:?}");
    traffic.end();
}

static CLOCK: core::sync::atomic::AtomicPtr<AtomicU64> =
    core::sync::atomic::AtomicPtr::new(core::ptr::null_mut());

fn step() -> u64 {
    // SAFETY: kept in a mapping for good.
    let clock = unsafe { CLOCK.load(Ordering::SeqCst).as_ref() }.unwrap();
    clock.fetch_add(MILLISECOND / 20, Ordering::SeqCst)
}

/// A call of its own that fails, or is sent on, in each way that there is.
fn one_call(root: &Root<Mapping>, sets: &Generation<Mapping>, key: Key, random: &mut Random) {
    let invite = Invite { number: 1, ..Invite::default() };
    let algorithm = [10, 100][random.below(2) as usize];
    let at = choose(root, sets, algorithm, (key, invite), &[]).unwrap_or_else(|error| panic!("{error:?}"));
    let set = sets.set(1).unwrap();
    let number = set.get(at).unwrap().record;
    let (transaction, on) = (Transaction::of(7, random.below(9) as u32), random.below(3) as u16);
    let branch = Branch::of(transaction, on);
    let status = [503, 486, 408][random.below(3) as usize];
    let failures = Failures::of([(on, status, false)].into_iter());
    match random.below(6) {
        0 => drop(fail(root, &key)),
        1 => drop(report(root, &key, Event::Cancelled, 0)),
        2 => {
            call_count::sent(root, sets, &key, number, branch, invite).unwrap();
            let invite = Invite { failed: Some(Failed { transaction, failures }), ..invite };
            let tried = [tried_at(root, set, at).unwrap()];
            choose(root, sets, algorithm, (key, invite), &tried).unwrap_or_else(|error| panic!("{error:?}"));
        }
        3 => {
            call_count::sent(root, sets, &key, number, branch, invite).unwrap();
            call_count::given_up(root, &key, transaction, invite, (|_| true, failures)).unwrap();
        }
        4 => {
            call_count::sent(root, sets, &key, number, branch, invite).unwrap();
            let unsent = (|one| one != branch, Failures::on(on));
            call_count::script_ended(root, &key, invite, Unsent::Forgotten, unsent).unwrap();
        }
        _ => drop(report(root, &key, Event::Answered, 0)),
    }
    let transaction = (|_| false, failures);
    call_count::transaction_ended(root, &key, branch.transaction(), invite, transaction).unwrap();
    if random.below(4) > 0 {
        report(root, &key, Event::Ended, 0);
    }
}

/// Whoever fails calls, places that are free are found; in the end the index is what a walk finds, and nothing is left of what failed.
#[test]
fn in_all_workers_at_once_limits_hold_and_none_is_refused_while_there_is_room() {
    let mapping = Mapping::new(64 << 20);
    CLOCK.store(core::ptr::from_ref(mapping.keep(AtomicU64::new(1))).cast_mut(), Ordering::SeqCst);
    let root = timed_root(mapping, step);
    root.failure_decay.turn(200);
    // Each worker has at most three calls up, and one that is placed counts at two for a moment.
    let lists: Vec<String> = (0..3)
        .map(|turn| {
            let shared = |n: usize| if n % 3 == turn { ";capacity=c;capacity_max=300" } else { "" };
            let line =
                |n: usize| format!("1 sip:gw{n} 0 0 duid=gw{n};maxload=8;maxload_reserve=1{}\n", shared(n));
            (0..9).map(line).collect()
        })
        .collect();
    publish(root, &lists[0]).unwrap();
    let weighed = mapping.keep(AtomicU64::new(0));
    let mut turn = 0;
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 3);
            for call in 0..4_000u64 {
                let sets = root.sets.pin(worker).unwrap();
                let key = |call: u64| root.secret.call(format!("{worker}-{call}").as_bytes());
                one_call(root, &sets, key(call), &mut random);
                if let Some(old) = call.checked_sub(2) {
                    report(root, &key(old), Event::Ended, 0);
                    fail(root, &key(old));
                }
                let all = sets.set(1).unwrap().iter();
                let penalty = |number| root.registry.record(number).map_or(0, |record| record.penalty());
                let sum: u32 = all.map(|one| penalty(one.record)).sum();
                weighed.fetch_max(sum.into(), Ordering::SeqCst);
            }
        },
        || {
            turn += 1;
            publish(root, &lists[turn % lists.len()]).unwrap();
            let sets = root.sets.pin(WORKERS).unwrap();
            penalty::decay(root, &sets);
            let audit = audit::audit(root);
            assert!(audit.accounts.iter().all(|account| account.drift == 0), "{:?}", audit.accounts);
        },
    );
    assert!(turn > 10 && weighed.load(Ordering::SeqCst) > 9, "{turn} turns, {weighed:?}");
    load_is_right(root, 8);
    // A walk over the penalties that are left finds the same; some time later none is left.
    let sets = root.sets.pin(WORKERS).unwrap();
    let question =
        Question { algorithm: 10, text: None, priority: false, spare_last: false, random: &|| 0, now_ms: 0 };
    for name in 0..20u64 {
        let (expected, _) = explain(root, sets.set(1).unwrap(), &question).unwrap();
        let key = root.secret.call(&name.to_ne_bytes());
        let invite = Invite { number: 1, ..Invite::default() };
        assert_eq!(choose(root, &sets, 10, (key, invite), &[]).ok(), expected.ok());
        fail(root, &key);
    }
    for _ in 0..40 {
        (0..20_000).for_each(|_| assert!(step() > 0));
        penalty::decay(root, &sets);
    }
    assert!(sets.set(1).unwrap().iter().all(|one| root.registry.record(one.record).unwrap().penalty() == 0));
    assert!(!root.penalties.is_on());
    load_is_right(root, 8);
}
