//! What limits cost a choice: none of them, each of them with room, and each at its limit.

use crate::Group;
use crate::support::figures::{Figures, Row};
use crate::support::in_process::{key, serving};
use crate::support::plot::Plot;
use crate::support::turns::{Times, in_turns};
use dispatcher::load::{About, Event, Invite, News, Tags, Timer};
use dispatcher::service::health::drain::{self, Terms};
use dispatcher::service::health::probe::Now;
use dispatcher::service::routing::call_count;
use dispatcher::service::routing::choose::{Ask, Call, select};
use dispatcher::shm::Heap;
use dispatcher::state::Root;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub const GROUP: Group = Group {
    name: "limits",
    title: "What limits cost a choice",
    unit: "nanoseconds",
    size: "destinations",
    about: "The module's code without a server, as above, by one worker, for an INVITE; with algorithm 10 the call is counted and released. `none` has no \
            limit at all. `cps` and `capacity_cps` have tokens for all; `at it` they have one when a call comes, so that each brings a destination, or the ten \
            that share a capacity, back and takes its last token. Ten destinations share each capacity. `reserve` is for calls without priority, `priority` \
            for calls with it. `drain beside` is `none` with one destination drained.",
    measure,
    plots: |_: &Figures| Vec::<Plot>::new(),
};

const SIZES: [u32; 3] = [30, 300, 3_000];
const ALGORITHMS: [u32; 2] = [4, 10];
const ALONE: &str = "alone";
const TURNS: usize = 60;
/// How long a worker selects in a turn.
const TURN: Duration = Duration::from_millis(1);
/// Rounds that show how long one takes.
const TRIAL: u32 = 100;
/// Calls that are known.
const CALLS: u32 = 1_000;
const SECOND: u64 = 1_000_000_000;
/// Destinations that share a capacity.
const SHARE: u32 = 10;
/// As many tokens as a limit can have.
const MANY: u32 = i32::MAX as u32;

/// A kind of limit.
struct Case {
    name: &'static str,
    /// The attributes of a destination, by its number.
    attrs: fn(u32) -> String,
    /// In a set of this size: how much time goes on with each call.
    step: fn(u32) -> u64,
    priority: bool,
    drained: bool,
}

impl Case {
    const fn of(name: &'static str, attrs: fn(u32) -> String) -> Self {
        Self { name, attrs, step: |_| 0, priority: false, drained: false }
    }
}

const CASES: [Case; 10] = [
    Case::of("none", |_| "x=y".into()),
    Case::of("maxload", |_| "maxload=900".into()),
    Case::of("cps", |_| format!("cps={MANY};cps_burst={MANY}")),
    Case {
        step: |size| SECOND / u64::from(size) + 1,
        ..Case::of("cps, at it", |_| "cps=1;cps_burst=1".into())
    },
    Case::of("capacity", |n| format!("capacity=c{};capacity_max=9000", n / SHARE)),
    Case::of("capacity_cps", |n| {
        format!("capacity=c{};capacity_cps={MANY};capacity_cps_burst={MANY}", n / SHARE)
    }),
    Case {
        step: |size| SECOND / u64::from(size / SHARE) + 1,
        ..Case::of("capacity_cps, at it", |n| {
            format!("capacity=c{};capacity_cps=1;capacity_cps_burst=1", n / SHARE)
        })
    },
    Case::of("reserve", |_| "maxload=900;maxload_reserve=10%".into()),
    Case { priority: true, ..Case::of("priority", |_| "maxload=900;maxload_reserve=10%".into()) },
    Case { drained: true, ..Case::of("drain beside", |_| "x=y".into()) },
];

/// Nanoseconds that the subjects' clocks show.
static CLOCK: AtomicU64 = AtomicU64::new(SECOND);

struct Subject {
    case: &'static Case,
    algorithm: u32,
    size: u32,
    root: Root<Heap>,
    rounds: u32,
}

impl Subject {
    fn new(case: &'static Case, algorithm: u32, size: u32) -> Self {
        let line = |n: u32| format!("1 sip:gw{n} 0 0 {}\n", (case.attrs)(n));
        let mut root = serving(&(0..size).map(line).collect::<String>(), 1);
        root.clock = || CLOCK.load(Ordering::Relaxed);
        if case.drained {
            let sets = root.sets.pin(0).unwrap();
            let set = sets.set(1).unwrap();
            let terms = Terms { seconds: Some(3600), counts_all: false };
            let one: Vec<_> = set.iter().skip(size as usize / 2).take(1).collect();
            drain::begin(&root, set, &one, terms, Now { wall: 0, micros: 0 }).unwrap();
        }
        let mut subject = Self { case, algorithm, size, root, rounds: TRIAL };
        let trial = subject.turn() * f64::from(TRIAL) / 1e9;
        subject.rounds = (f64::from(TRIAL) * TURN.as_secs_f64() / trial) as u32 + 1;
        subject
    }

    /// Nanoseconds of a selection; after as many as there are destinations, or as are timed.
    fn turn(&self) -> f64 {
        let step = (self.case.step)(self.size);
        (0..self.size.max(self.rounds)).for_each(|round| self.one(round, step));
        let begun = Instant::now();
        (0..self.rounds).for_each(|round| self.one(round, step));
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(self.rounds)
    }

    /// One selection, and with algorithm 10 the end of the call.
    fn one(&self, round: u32, step: u64) {
        CLOCK.fetch_add(step, Ordering::Relaxed);
        let sets = self.root.sets.pin(0).unwrap();
        let call = key(&self.root, round % CALLS);
        let invite = || Invite { number: 1, failed: None, now: 0 };
        let ask = Ask {
            set: 1,
            algorithm: self.algorithm as i32,
            call: Call::Goes { key: &|| Some(call), invite: &invite, may_stay: true },
            now_ms: &|| 0,
            random: &|| 0,
            spare_last: false,
            counts_all: false,
            priority: self.case.priority,
            hash: &|_| None,
            is_repeated: &|| false,
            retry: None,
        };
        black_box(select(&self.root, &sets, &ask).unwrap().at);
        if self.algorithm == 10 {
            let (about, tags, timer) = (About::Request, Tags::default(), Timer::Same);
            let news = News { event: Event::Unset, about, tags, now: 0, timer };
            assert!(call_count::report(&self.root, &call, &news).unwrap());
        }
    }
}

fn measure() -> Vec<Row> {
    let mut subjects = Vec::new();
    for size in SIZES {
        for algorithm in ALGORITHMS {
            subjects.extend(CASES.iter().map(|case| Subject::new(case, algorithm, size)));
        }
    }
    let times = in_turns(TURNS, &subjects, Subject::turn);
    let row = |(subject, times): (&Subject, &Times)| {
        Row::new("", subject.case.name, Some(subject.algorithm), subject.size).with(ALONE, times)
    };
    subjects.iter().zip(&times).map(row).collect()
}
