//! Limits on new calls, in forked processes: in no second more than the limit and its burst, whatever chooses, and none refused that the
//! limits allow.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use dispatcher::load::{Event, Invite};
use dispatcher::select::attempts::{Attempts, NO_LIMIT, Rule};
use dispatcher::select::{Measure, Refusal};
use dispatcher::service::routing::choose::{self, Ask, Call, NoRoute, select, tried_at};
use dispatcher::service::routing::{call_count, failover, rate};
use dispatcher::shm::slice::Slice;
use dispatcher::state::{Generation, Root};

use super::mapping::Mapping;
use super::{Random, asking, fork_workers, load_is_right, publish, report, timed_root};

pub(super) const SECOND: u64 = 1_000_000_000;

/// A clock that all processes share and each look moves on. The number that this process has seen last is the time of its token.
pub(super) struct Clock {
    shared: AtomicPtr<AtomicU64>,
    seen: AtomicU64,
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self { shared: AtomicPtr::new(null_mut()), seen: AtomicU64::new(0) }
    }

    pub(super) fn begin(&self, mapping: Mapping) {
        let shared = mapping.keep(AtomicU64::new(SECOND));
        self.shared.store(core::ptr::from_ref(shared).cast_mut(), Ordering::SeqCst);
    }

    pub(super) fn step(&self, step: u64) -> u64 {
        // SAFETY: kept in a mapping for good.
        let shared = unsafe { self.shared.load(Ordering::SeqCst).as_ref() }.unwrap();
        let now = shared.fetch_add(step, Ordering::SeqCst) + step;
        self.seen.store(now, Ordering::SeqCst);
        now
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }
}

/// Selections that found a destination: the record and the time, one in each word.
pub(super) struct Log {
    next: &'static AtomicUsize,
    all: &'static Slice<AtomicU64, Mapping>,
}

impl Log {
    const MOST: usize = 1 << 18;

    pub(super) fn new(mapping: Mapping) -> Self {
        Self {
            next: mapping.keep(AtomicUsize::new(0)),
            all: mapping.keep(Slice::try_from_fn_in(Self::MOST, |_| AtomicU64::new(0), mapping).unwrap()),
        }
    }

    fn note(&self, record: u32, time: u64) {
        let at = self.next.fetch_add(1, Ordering::SeqCst);
        self.all[at].store(u64::from(record) << 56 | time, Ordering::SeqCst);
    }

    /// The times of these records, in order.
    pub(super) fn times(&self, records: &[u32]) -> Vec<u64> {
        let all = self.all[..self.next.load(Ordering::SeqCst)].iter().map(|word| word.load(Ordering::SeqCst));
        let mut times: Vec<u64> = all.filter(|word| records.contains(&((*word >> 56) as u32))).collect();
        times.iter_mut().for_each(|word| *word &= (1 << 56) - 1);
        times.sort_unstable();
        times
    }
}

/// The most of these times in any second.
pub(super) fn most_in_a_second(times: &[u64]) -> usize {
    let until = |from: usize| times.partition_point(|time| *time <= times[from] + SECOND) - from;
    (0..times.len()).map(until).max().unwrap_or(0)
}

static CLOCK: Clock = Clock::new();

fn record_of(chosen: &choose::Selection<'_, Mapping>) -> u32 {
    chosen.set.get(chosen.at).unwrap().record
}

/// An INVITE by this algorithm, and, at times, a failover of it by one of the ways that scripts have. Each that is sent is noted.
pub(super) fn call(
    root: &Root<Mapping>,
    sets: &Generation<Mapping>,
    (log, clock): (&Log, &Clock),
    (set, algorithm): (i32, i32),
    call: (u64, &mut Random),
) -> bool {
    let (number, random) = call;
    let seen = || clock.seen();
    let key = root.secret.call(&number.to_ne_bytes());
    let (key_of, invite) = (&|| Some(key), &|| Invite { number: 1, failed: None, now: 0 });
    let any = random.below(u64::from(u32::MAX));
    let ask = Ask {
        random: &|| any,
        hash: &|_| Some(any as u32),
        ..asking(set, algorithm, Call::Goes { key: key_of, invite, may_stay: true })
    };
    let chosen = match select(root, sets, &ask) {
        Ok(chosen) => chosen,
        Err(NoRoute::Refused(Refusal::OverRate | Refusal::NoRoom) | NoRoute::Outdated) => return false,
        Err(error) => panic!("{algorithm}: {error:?}"),
    };
    let (set, at) = (chosen.set, chosen.at);
    log.note(record_of(&chosen), seen());
    let tried = tried_at(root, set, at).unwrap();
    let others: Vec<usize> = (0..set.len()).filter(|other| *other != at).collect();
    match random.below(8) {
        // The next one, chosen now.
        0 => {
            let rules = [Rule { set: set.id, algorithm }];
            let attempts = Attempts::first(rules.into_iter(), NO_LIMIT, tried, at);
            let retry = Call::Goes { key: key_of, invite, may_stay: false };
            match failover::next(root, sets, &attempts, &Ask { call: retry, ..ask }) {
                Ok((_, next)) => log.note(record_of(&next), seen()),
                Err(NoRoute::Refused(_) | NoRoute::Outdated) => {}
                Err(error) => panic!("{algorithm}: {error:?}"),
            }
        }
        // The next of the list that the selection left.
        1 if chosen.counted.is_some() => {
            let by = (Measure::Calls, &others[..]);
            if let Ok(next) = choose::retry(root, set, by, key, invite(), (false, false)) {
                log.note(set.get(next).unwrap().record, seen());
            }
        }
        1 => {
            let next = others
                .iter()
                .find(|other| call_count::go_on(root, set, **other, (Some(&key), false), invite).is_ok());
            next.into_iter().for_each(|next| log.note(set.get(*next).unwrap().record, seen()));
        }
        // All of them, as algorithm 12.
        2 if chosen.counted.is_none() => {
            chosen.branches(root, true).for_each(|one| log.note(one.record, seen()));
        }
        // What goes to the first of the list.
        3 if chosen.counted.is_none() => {
            rate::renew(root, set);
            if rate::take_once(root, set, at, Some(&key), invite()) {
                log.note(set.get(at).unwrap().record, seen());
            }
        }
        _ => {}
    }
    report(root, &key, Event::Refused, 0);
    true
}

const CPS: u32 = 50;
const BURST: u32 = 10;
const GATEWAYS: usize = 12;

fn list(turn: u64) -> String {
    let line = |n: usize| {
        let (weight, priority) = (1 + (n as u64 + turn) % 5, n % 2);
        let shares = format!("weight={weight};rweight={weight};maxload=900");
        format!("1 sip:gw{n} 0 {priority} duid=gw{n};{shares};cps={CPS};cps_burst={BURST}\n")
    };
    (0..GATEWAYS).map(line).collect()
}

/// Each worker calls many times, each time one of the set that is chosen for it, while lists come one after the other, by their numbers; how many
/// seconds that took. Many are refused.
pub(super) fn call_while_reloading(
    (mapping, root): (Mapping, &Root<Mapping>),
    (log, clock): (&Log, &Clock),
    algorithm: i32,
    (set, list): (impl Fn(&mut Random) -> i32, impl Fn(u64) -> String),
) -> f64 {
    const CALLS: u64 = 1500;
    publish(root, &list(0)).unwrap();
    let refused = mapping.keep(AtomicUsize::new(0));
    let mut turn = 0;
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 7);
            for n in 0..CALLS {
                let sets = root.sets.pin(worker).unwrap();
                let (number, set) = (worker as u64 * CALLS + n, set(&mut random));
                if !call(root, &sets, (log, clock), (set, algorithm), (number, &mut random)) {
                    refused.fetch_add(1, Ordering::SeqCst);
                    clock.step(400_000);
                }
            }
        },
        || {
            turn += 1;
            publish(root, &list(turn)).unwrap();
        },
    );
    let refused = refused.load(Ordering::SeqCst);
    assert!(refused > 500, "{algorithm}: {refused} refused");
    (clock.step(0) - SECOND) as f64 / SECOND as f64
}

/// Reloads that change the lines come between.
#[test]
fn no_second_has_more_calls_than_the_limit_whatever_chooses() {
    for algorithm in [0, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 64, 100] {
        let mapping = Mapping::new(64 << 20);
        let root = timed_root(mapping, || CLOCK.step(100_000));
        CLOCK.begin(mapping);
        let log = Log::new(mapping);
        let seconds = call_while_reloading((mapping, root), (&log, &CLOCK), algorithm, (|_| 1, list));
        let mut sent = 0;
        let sets = root.sets.pin(0).unwrap();
        for one in sets.set(1).unwrap().iter() {
            let times = log.times(&[one.record]);
            let most = most_in_a_second(&times);
            assert!(most <= (CPS + BURST) as usize, "{algorithm}: {most} in a second to {}", one.record);
            sent += times.len();
        }
        // Nobody is refused while there is a token: where calls are refused all the time, all tokens are used.
        let could = f64::from(CPS) * seconds * GATEWAYS as f64;
        assert!(sent as f64 > could, "{algorithm}: {sent} of {could} in {seconds} s");
        assert_eq!(load_is_right(root, 900), 0);
    }
}

const OVER: Result<usize, NoRoute> = Err(NoRoute::Refused(Refusal::OverRate));

static STEPS: Clock = Clock::new();

/// A refusal takes no token, so one that waits for the next token gets it: at the nanosecond.
#[test]
fn the_next_call_goes_when_a_token_is_back_and_not_before() {
    let mapping = Mapping::new(4 << 20);
    let root = timed_root(mapping, || STEPS.step(0));
    STEPS.begin(mapping);
    let publish = |attrs: &str| {
        publish(root, &format!("1 sip:a 0 5 duid=a;{attrs}\n1 sip:b 1 0 duid=b\n")).map(|_| ()).unwrap()
    };
    let number = AtomicU64::new(0);
    let ask = |algorithm| {
        let key = root.secret.call(&number.fetch_add(1, Ordering::SeqCst).to_ne_bytes());
        let (key, invite) = (&|| Some(key), &|| Invite { number: 1, failed: None, now: 0 });
        let sets = root.sets.pin(0).unwrap();
        let chosen = select(
            root,
            &sets,
            &Ask { hash: &|_| Some(2), ..asking(1, algorithm, Call::Goes { key, invite, may_stay: true }) },
        );
        let chosen = chosen.map(|chosen| chosen.at);
        report(root, &key().unwrap(), Event::Refused, 0);
        chosen
    };
    let other = || {
        let sets = root.sets.pin(0).unwrap();
        select(root, &sets, &asking(1, 8, Call::None)).map(|chosen| chosen.at)
    };
    for algorithm in [0, 4, 8, 9, 10, 11, 13, 100] {
        // From a state without anything taken.
        publish("x=y");
        STEPS.step(60 * SECOND);
        publish("cps=5;cps_burst=3");
        assert_eq!([ask(algorithm), ask(algorithm), ask(algorithm)], [Ok(0), Ok(0), Ok(0)], "{algorithm}");
        for _ in 0..5 {
            assert_eq!((ask(algorithm), other()), (OVER, Ok(0)), "{algorithm}");
        }
        STEPS.step(SECOND / 5 - 1);
        assert_eq!(ask(algorithm), OVER, "{algorithm}");
        STEPS.step(1);
        assert_eq!([ask(algorithm), ask(algorithm)], [Ok(0), OVER], "{algorithm}");
        // A reload with the same limit, and other words, gives none back.
        publish("cps=5;cps_burst=3;note=x");
        assert_eq!((load_is_right(root, u32::MAX), ask(algorithm)), (0, OVER), "{algorithm}");
        // Nor do others, that come before it in the set and go again.
        let others = (0..9).map(|n| format!("1 sip:c{n} 1 9 duid=c{n}\n")).collect::<String>();
        super::publish(root, &format!("{others}1 sip:a 0 5 duid=a;cps=5;cps_burst=3\n")).unwrap();
        assert_eq!((load_is_right(root, u32::MAX), ask(algorithm)), (0, OVER), "{algorithm}");
        STEPS.step(SECOND / 5);
        assert_eq!([ask(algorithm), ask(algorithm)], [Ok(9), OVER], "{algorithm}");
        publish("cps=5;cps_burst=3;note=y");
        assert_eq!((load_is_right(root, u32::MAX), ask(algorithm)), (0, OVER), "{algorithm}");
        // More at once: three were taken of ten. And fewer.
        publish("cps=10;cps_burst=10");
        let got = (0..20).filter(|_| ask(algorithm).is_ok()).count();
        assert_eq!(got, 7, "{algorithm}");
        publish("cps=1;cps_burst=1");
        assert_eq!(ask(algorithm), OVER, "{algorithm}");
        STEPS.step(SECOND);
        assert_eq!([ask(algorithm), ask(algorithm)], [Ok(0), OVER], "{algorithm}");
        // None any more.
        publish("x=z");
        assert!((0..100).all(|_| ask(algorithm) == Ok(0)), "{algorithm}");
    }
    assert_eq!(load_is_right(root, u32::MAX), 0);
}

/// The list of a selection has those that are over their rates now: they are asked again when it comes to them.
#[test]
fn what_is_for_later_waits_for_no_token_and_takes_none() {
    let mapping = Mapping::new(4 << 20);
    let root = timed_root(mapping, || SECOND);
    let lines = (0..20).map(|n| format!("1 sip:gw{n} 0 {} duid=gw{n};weight=1;rweight=1;cps=1\n", 50 - n));
    publish(root, &lines.collect::<String>()).unwrap();
    let sets = root.sets.pin(0).unwrap();
    let key = &|| Some(root.secret.call(b"one"));
    let invite = &|| Invite { number: 1, failed: None, now: 0 };
    let ask = |algorithm, call| Ask { hash: &|_| Some(3), ..asking(1, algorithm, call) };
    let goes = || Call::Goes { key, invite, may_stay: true };
    for at in 0..19 {
        let chosen = select(root, &sets, &ask(8, goes())).unwrap();
        assert_eq!((chosen.at, chosen.alternatives(root, 99).len()), (at, 19));
    }
    for algorithm in [0, 4, 6, 8, 9, 11, 13, 14, 15, 64] {
        for call in [Call::Waits, Call::None] {
            let at = |call| select(root, &sets, &ask(algorithm, call)).unwrap().at;
            // By the hash, or in turn, and so on: as if there were no limits.
            let seen: Vec<usize> = (0..60).map(|_| at(call)).collect();
            let expected = match algorithm {
                0 => 3..4,
                6 | 8 | 13 | 14 => 0..1,
                15 => 19..20,
                _ => 0..20,
            };
            assert!(expected.clone().all(|at| seen.contains(&at)), "{algorithm}: {seen:?}");
            assert!(seen.iter().all(|at| expected.contains(at)), "{algorithm}: {seen:?}");
        }
    }
    let chosen = select(root, &sets, &ask(0, goes())).unwrap();
    assert_eq!(chosen.at, 19, "the only one that may have a call");
    assert_eq!(select(root, &sets, &ask(0, goes())).map(|chosen| chosen.at), OVER);
    assert_eq!(load_is_right(root, 0), 0);
}

/// One that `tm` knows.
#[test]
fn a_known_retransmission_takes_no_token_and_is_not_refused() {
    let mapping = Mapping::new(4 << 20);
    let root = timed_root(mapping, || SECOND);
    publish(root, "1 sip:a 0 5 duid=a;weight=1;rweight=1;cps=1;cps_burst=2").unwrap();
    let sets = root.sets.pin(0).unwrap();
    let select = |algorithm, again: bool| {
        let (key, invite) =
            (&|| Some(root.secret.call(b"x")), &|| Invite { number: 1, failed: None, now: 0 });
        let call = Call::Goes { key, invite, may_stay: true };
        let ask = Ask { hash: &|_| Some(2), is_repeated: &|| again, ..asking(1, algorithm, call) };
        select(root, &sets, &ask).map(|chosen| chosen.at)
    };
    let all = [0, 4, 8, 9, 11, 13];
    assert_eq!(select(4, false), Ok(0));
    assert!(all.iter().all(|algorithm| select(*algorithm, true) == Ok(0)));
    assert_eq!([select(4, false), select(4, false)], [Ok(0), OVER]);
    assert!(all.iter().all(|algorithm| select(*algorithm, true) == Ok(0)));
}

/// As far as the call counts where it was sent.
#[test]
fn a_retransmission_of_what_counts_takes_no_token() {
    let mapping = Mapping::new(4 << 20);
    let root = timed_root(mapping, || SECOND);
    publish(root, "1 sip:a 0 5 duid=a;cps=1;cps_burst=2\n1 sip:b 0 4 duid=b;cps=1;cps_burst=2").unwrap();
    let sets = root.sets.pin(0).unwrap();
    for algorithm in [8, 10] {
        let (one, other) = (root.secret.call(&[algorithm, 1]), root.secret.call(&[algorithm, 2]));
        let select = |key, cseq| {
            let (key, invite) = (&|| Some(key), &|| Invite { number: cseq, failed: None, now: 0 });
            let call = Call::Goes { key, invite, may_stay: true };
            let ask = Ask { counts_all: true, ..asking(1, algorithm.into(), call) };
            select(root, &sets, &ask).map(|chosen| chosen.at)
        };
        let first = select(one, 1).unwrap();
        assert!((0..9).all(|_| select(one, 1) == Ok(first)), "{algorithm}");
        if algorithm == 8 {
            // Another INVITE of the same call takes one.
            assert_eq!([select(one, 2), select(other, 1), select(other, 1)], [Ok(0), Ok(1), Ok(1)]);
        } else {
            assert_eq!(select(other, 1), OVER);
        }
    }
}
