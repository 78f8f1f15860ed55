//! What the module's own part of a selection costs, without the host's functions.
//!
//! The code of a selection in this process's memory: the sets are pinned, a destination is chosen, and for algorithm 10 the
//! call is counted and released. Once by one worker, and once by two at the same set on two cores.

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
use dispatcher::state::Root;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

pub const GROUP: Group = Group {
    name: "choices",
    title: "The module's own part of a selection",
    unit: "nanoseconds",
    size: "destinations",
    about: "The module's code without a server, in the memory of one process: pin the sets, choose, and for algorithm 10 count the call \
            and release it. `alone` is one worker, `two contending` two at the same set on two cores, the time of the slower. \
            All have the same priority, so 14 does as 8.",
    measure,
    plots,
};

pub const SIZES: [u32; 5] = [3, 30, 300, 3_000, 30_000];
pub const ALGORITHMS: [u32; 10] = [0, 4, 8, 9, 10, 11, 13, 14, 15, 64];
const TURNS: usize = 15;
/// How long a worker selects in a turn.
const TURN: Duration = Duration::from_millis(4);
/// Rounds that show how long one takes.
const TRIAL: u32 = 100;
/// Calls of a worker that are known.
const CALLS: u32 = 1_000;

/// A root that serves a set of this many destinations to two workers.
pub fn root(size: u32) -> Root<Heap> {
    let line = |n: u32| format!("1 sip:gw{n} 0 0 weight={};rweight={}\n", 1 + n % 9, 1 + n % 9);
    serving(&(0..size).map(line).collect::<String>(), 2)
}

/// One selection by the worker of this number, and for algorithm 10 the end of the call.
pub fn one(root: &Root<Heap>, worker: usize, algorithm: u32, round: u32) {
    let sets = root.sets.pin(worker).unwrap();
    let call = key(root, round % CALLS * 2 + worker as u32);
    let invite = || Invite { cseq: 1, failed: None, now: 0 };
    let goes = Call::Goes { key: &|| Some(call), invite: &invite, may_stay: true };
    let ask = Ask {
        set: 1,
        algorithm: algorithm as i32,
        call: if algorithm == 10 { goes } else { Call::None },
        now_ms: &|| 0,
        random: &|| 0,
        spare_last: false,
        counts_all: false,
        hash: &|_| Some(round.wrapping_mul(0x9e37_79b9)),
        retry: None,
    };
    black_box(select(root, &sets, &ask).unwrap().at);
    if algorithm == 10 {
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

/// Nanoseconds of a selection, by so many workers at once.
fn turn(root: &Root<Heap>, workers: usize, algorithm: u32, rounds: u32) -> f64 {
    let all = Barrier::new(workers);
    std::thread::scope(|scope| {
        let work = |worker: usize| {
            let all = &all;
            move || {
                all.wait();
                let begun = Instant::now();
                (0..rounds).for_each(|round| one(root, worker, algorithm, round));
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
    let roots = SIZES.map(root);
    let mut subjects = Vec::new();
    for (at, size) in SIZES.into_iter().enumerate() {
        for algorithm in ALGORITHMS {
            let trial = turn(&roots[at], 1, algorithm, TRIAL) * f64::from(TRIAL) / 1e9;
            let rounds = (f64::from(TRIAL) * TURN.as_secs_f64() / trial) as u32 + 1;
            subjects.extend([1, 2].map(|workers| Subject { at, size, algorithm, workers, rounds }));
        }
    }
    let times = in_turns(TURNS, &subjects, |s| turn(&roots[s.at], s.workers, s.algorithm, s.rounds));
    let row = |at: usize| {
        let Subject { size, algorithm, .. } = subjects[at];
        Row::new("", CASE, Some(algorithm), size).with(ALONE, &times[at]).with(CONTENDING, &times[at + 1])
    };
    (0..subjects.len()).step_by(2).map(row).collect()
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
