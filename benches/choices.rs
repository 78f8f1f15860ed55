//! What the module's own part of a selection costs, without the host's functions.
//!
//! The code of a selection in this process's memory: the sets are pinned, a destination is chosen, and for algorithms 10 and 100
//! the call is counted and released. Once by one worker, and once by two at the same set on two cores.

use crate::Group;
use crate::support::figures::{Figures, Row};
use crate::support::in_process::{key, serving};
use crate::support::plot::{Ink, Plot, Series, Shape};
use crate::support::table::algorithm;
use crate::support::turns::in_turns;
use dispatcher::load::{About, Event, Invite, News, Tags, Timer};
use dispatcher::service::routing::call_count;
use dispatcher::service::routing::choose::{Ask, Call, select};
use dispatcher::shm::Heap;
use dispatcher::shm::lock::Mutex;
use dispatcher::state::Root;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

pub const GROUP: Group = Group {
    name: "choices",
    title: "The module's own part of a selection",
    unit: "nanoseconds",
    size: "destinations",
    about: "The module's code without a server, in the memory of one process: pin the sets, choose, and for algorithms 10 and 100 count the call \
            and release it. `alone` is one worker, `two contending` two at the same set on two cores, the time of the slower; each after as \
            many that are not timed, so that the caches know the set. \
            All have the same priority, so 14 does as 8. `a bare lock` is a counter behind one of the module's locks, and no more: \
            what the machine takes for two that contend. `choosing only` is algorithm 10 for a request that starts no call, so that \
            nothing is counted. `a read at random` reads one of so many cache lines, where the one before says which: what the \
            machine takes for memory that it did not foresee.",
    measure,
    plots,
};

pub const SIZES: [u32; 5] = [3, 30, 300, 3_000, 30_000];
pub const ALGORITHMS: [u32; 12] = [0, 4, 8, 9, 10, 11, 13, 14, 15, 64, 100, 101];
const TURNS: usize = 60;
/// How long a worker selects in a turn.
const TURN: Duration = Duration::from_millis(1);
/// Rounds that show how long one takes.
const TRIAL: u32 = 100;
/// Calls of a worker that are known.
const CALLS: u32 = 1_000;

/// A root that serves a set of this many destinations to two workers.
pub fn root(size: u32) -> Root<Heap> {
    let line = |n: u32| {
        let share = 1 + n % 9;
        format!("1 sip:gw{n} 0 0 weight={share};rweight={share};maxload={share}000\n")
    };
    serving(&(0..size).map(line).collect::<String>(), 2)
}

/// One selection by the worker of this number, and for algorithms that count the end of the call.
pub fn one(root: &Root<Heap>, worker: usize, algorithm: u32, round: u32) {
    selection(root, worker, algorithm, round, algorithm == 10 || algorithm == 100);
}

/// The same for a call that counts, or for a request that starts none.
fn selection(root: &Root<Heap>, worker: usize, algorithm: u32, round: u32, counts: bool) {
    let sets = root.sets.pin(worker).unwrap();
    let call = key(root, round % CALLS * 2 + worker as u32);
    let invite = || Invite { number: 1, failed: None, now: 0 };
    let goes = Call::Goes { key: &|| Some(call), invite: &invite, may_stay: true };
    let ask = Ask {
        set: 1,
        algorithm: algorithm as i32,
        call: if counts { goes } else { Call::None },
        now_ms: &|| 0,
        random: &|| 0,
        spare_last: false,
        counts_all: false,
        priority: false,
        hash: &|_| Some(round.wrapping_mul(0x9e37_79b9)),
        is_repeated: &|| false,
        retry: None,
    };
    black_box(select(root, &sets, &ask).unwrap().at);
    if counts {
        let news = News {
            event: Event::Unset,
            about: About::Request,
            tags: Tags::default(),
            now: 0,
            timer: Timer::Same,
        };
        assert!(call_count::report(root, &call, &news).unwrap());
    }
}

/// Nanoseconds of a selection, by so many workers at once; after as many as there are destinations, or as are timed.
fn turn(root: &Root<Heap>, workers: usize, algorithm: u32, rounds: u32, size: u32) -> f64 {
    each(workers, size.max(rounds), rounds, |worker, round| one(root, worker, algorithm, round))
}

/// Nanoseconds of one of these, by so many workers at once, after some that are not timed.
fn each(workers: usize, before: u32, rounds: u32, one: impl Fn(usize, u32) + Sync) -> f64 {
    let all = Barrier::new(workers);
    std::thread::scope(|scope| {
        let work = |worker: usize| {
            let (all, one) = (&all, &one);
            move || {
                (0..before).for_each(|round| one(worker, round));
                all.wait();
                let begun = Instant::now();
                (0..rounds).for_each(|round| one(worker, round));
                begun.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
            }
        };
        let others: Vec<_> = (1..workers).map(|worker| scope.spawn(work(worker))).collect();
        let own = work(0)();
        others.into_iter().map(|other| other.join().unwrap()).fold(own, f64::max)
    })
}

/// The case of all rows.
pub const CASE: &str = "a selection";
/// The case of the rows that choose and count nothing.
pub const CHOOSING: &str = "choosing only";
/// The case of the rows that read memory, and no more.
pub const RANDOM_READ: &str = "a read at random";
/// The case of the row without a selection.
pub const BARE_LOCK: &str = "a bare lock";
pub const ALONE: &str = "alone";
pub const CONTENDING: &str = "two contending";

/// One algorithm over one set, by so many workers.
struct Subject {
    at: usize,
    size: u32,
    algorithm: u32,
    workers: usize,
    rounds: u32,
}

fn measure() -> Vec<Row> {
    // Once loads were compared by size, that order is kept, too, and costs other algorithms a little.
    let roots = [false, true].map(|_| SIZES.map(root));
    let root_of = |at: usize, algorithm: u32| &roots[usize::from(algorithm == 100)][at];
    let mut subjects = Vec::new();
    for (at, size) in SIZES.into_iter().enumerate() {
        for algorithm in ALGORITHMS {
            let trial = turn(root_of(at, algorithm), 1, algorithm, TRIAL, size) * f64::from(TRIAL) / 1e9;
            let rounds = (f64::from(TRIAL) * TURN.as_secs_f64() / trial) as u32 + 1;
            subjects.extend([1, 2].map(|workers| Subject { at, size, algorithm, workers, rounds }));
        }
    }
    let times = in_turns(TURNS, &subjects, |s| {
        turn(root_of(s.at, s.algorithm), s.workers, s.algorithm, s.rounds, s.size)
    });
    let row = |at: usize| {
        let Subject { size, algorithm, .. } = subjects[at];
        Row::new("", CASE, Some(algorithm), size).with(ALONE, &times[at]).with(CONTENDING, &times[at + 1])
    };
    let choosing = SIZES.iter().zip(&roots[0]).map(|(size, root)| choosing_only(root, *size));
    let reads = SIZES.into_iter().map(random_read);
    (0..subjects.len()).step_by(2).map(row).chain(choosing).chain(reads).chain([bare_lock()]).collect()
}

/// What algorithm 10 takes to choose.
fn choosing_only(root: &Root<Heap>, size: u32) -> Row {
    const ROUNDS: u32 = 10_000;
    let times = in_turns(TURNS, &[()], |()| {
        each(1, ROUNDS, ROUNDS, |worker, round| selection(root, worker, 10, round, false))
    });
    Row::new("", CHOOSING, Some(10), size).with(ALONE, &times[0])
}

/// One of so many cache lines.
#[repr(align(64))]
struct Line {
    next: usize,
}

/// What it takes to read a cache line that nothing foretells, of a line for each destination.
fn random_read(size: u32) -> Row {
    const ROUNDS: u32 = 10_000;
    let mut order: Vec<usize> = (0..size as usize).collect();
    order.sort_by_key(|at| xxh3_64(&at.to_ne_bytes()));
    let mut lines: Vec<Line> = order.iter().map(|at| Line { next: *at }).collect();
    for (one, next) in order.iter().zip(order.iter().cycle().skip(1)) {
        lines[*one].next = *next;
    }
    let at = AtomicUsize::new(0);
    let read = |_, _| at.store(lines[at.load(Ordering::Relaxed)].next, Ordering::Relaxed);
    let times = in_turns(TURNS, &[()], |()| each(1, ROUNDS, ROUNDS, read));
    Row::new("", RANDOM_READ, None, size).with(ALONE, &times[0])
}

/// What two workers take at least that change something behind one lock.
fn bare_lock() -> Row {
    const ROUNDS: u32 = 20_000;
    let counter = Mutex::new(0u64);
    let times =
        in_turns(TURNS, &[1, 2], |workers| each(*workers, ROUNDS, ROUNDS, |_, _| *counter.lock() += 1));
    Row::new("", BARE_LOCK, None, 0u32).with(ALONE, &times[0]).with(CONTENDING, &times[1])
}

/// A line for each of these algorithms, alone and dashed by two.
pub fn lines(figures: &Figures, who: [&str; 2]) -> Vec<Series> {
    let mut series = Vec::new();
    for (number, ink) in [(10, Ink::Ours), (11, Ink::LeanOne), (4, Ink::LeanTwo), (0, Ink::Plain)] {
        for (who, dashed) in who.into_iter().zip([false, true]) {
            let point = |size: u32| {
                figures.get("", CASE, Some(number), size.into(), who).map(|s| (f64::from(size), s.best))
            };
            let points: Vec<_> = SIZES.into_iter().filter_map(point).collect();
            if !points.is_empty() {
                series.push(Series { name: format!("{}, {who}", algorithm(number)), ink, dashed, points });
            }
        }
    }
    series
}

fn plots(figures: &Figures) -> Vec<Plot> {
    let series = lines(figures, [ALONE, CONTENDING]);
    vec![Plot {
        file: "choices".into(),
        title: "The module's own part of a selection".into(),
        shape: Shape::Lines { x: "destinations in the set".into(), y: "nanoseconds".into(), series },
    }]
}
