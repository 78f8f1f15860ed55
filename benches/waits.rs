//! How long the work on all calls keeps one call waiting.
//!
//! The module's own code on calls in this process's memory, without a server, so the stock module is not here: it has no
//! audit. For each piece of work: how long it takes in all, and how long a process that asks for one call after the other waits
//! meanwhile. What it waits when nothing is done is the machine's share.

use crate::Group;
use crate::support::figures::{Figures, Row};
use crate::support::in_process::{key, serving};
use crate::support::plot::Plot;
use crate::support::turns::Times;
use dispatcher::load::Expiry;
use dispatcher::service::housekeeping;
use dispatcher::service::report::audit;
use dispatcher::service::routing::call_count;
use dispatcher::shm::Heap;
use dispatcher::state::Root;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const GROUP: Group = Group {
    name: "waits",
    title: "Work on all calls",
    unit: "milliseconds",
    size: "live calls",
    about: "The module's code without a server. While a piece of work on all calls is done another process asks for one call after the other: \
            `took` is the work, `longest` the longest that it waited, `999/1000` what it waited at most in 999 of 1 000 times. \
            `nothing` shows the machine's share.",
    measure,
    plots,
};

const SIZES: [u32; 2] = [1_000_000, 10_000_000];
const GATEWAYS: u32 = 30;
const EXPIRY: Expiry = Expiry { early: 60, confirmed: 7200 };
/// How often each piece of work is done; the best counts.
const TURNS: usize = 3;

/// A server with so many calls, each up at its gateway since `now`.
fn filled(size: u32, now: u32) -> Root<Heap> {
    let root = serving(&(0..GATEWAYS).map(|n| format!("1 sip:gw{n}\n")).collect::<String>(), 1);
    for name in 0..size {
        place(&root, name, now);
    }
    root
}

fn place(root: &Root<Heap>, name: u32, now: u32) {
    use dispatcher::load::leg::{Leg, Way};
    call_count::restore(root, &key(root, name), Leg::new(name % GATEWAYS, Way::Ahead, 1, now)).unwrap();
}

/// Does the work while somebody asks for one call after the other; gives how long it took, and how long the asker waited at
/// most and in 999 of 1 000 times.
fn timed(root: &Root<Heap>, size: u32, work: impl FnOnce()) -> [Duration; 3] {
    let (over, both) = (AtomicBool::new(false), Barrier::new(2));
    std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let (mut waits, mut name) = (Vec::with_capacity(1 << 20), 0u32);
            both.wait();
            while waits.is_empty() || !over.load(Ordering::Relaxed) {
                name = (name.wrapping_mul(5) + 12_347) % size;
                let begun = Instant::now();
                black_box(call_count::get(root, &key(root, name)).counts());
                waits.push(begun.elapsed());
            }
            waits
        });
        both.wait();
        let begun = Instant::now();
        work();
        let took = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        let mut waits = asker.join().unwrap();
        waits.sort_unstable();
        [took, waits[waits.len() - 1], waits[waits.len() * 999 / 1000]]
    })
}

fn row(size: u32, work: &str, turns: &[[Duration; 3]]) -> Row {
    let mut row = Row::new("", work, None, size);
    for (at, who) in ["took", "longest", "999/1000"].into_iter().enumerate() {
        let mut times = Times::default();
        turns.iter().for_each(|turn| times.push(turn[at].as_secs_f64() * 1e3));
        row = row.with(who, &times);
    }
    row
}

fn measure() -> Vec<Row> {
    let mut rows = Vec::new();
    for size in SIZES {
        let mut tell = |work: &str, turns: &[[Duration; 3]]| rows.push(row(size, work, turns));
        let root = filled(size, 0);
        root.counters.placed.bump(&key(&root, 0));
        let turns = |work: &dyn Fn()| -> Vec<_> { (0..TURNS).map(|_| timed(&root, size, work)).collect() };
        tell("nothing", &turns(&|| std::thread::sleep(Duration::from_millis(100))));
        tell("audit", &turns(&|| drop(audit::audit(&root))));
        tell("sweep, none is over", &turns(&|| assert_eq!(housekeeping::expire(&root, EXPIRY, 1), 0)));
        tell("room ahead of need", &turns(&|| housekeeping::make_room(&root).unwrap()));
        drop(root);
        let mut ends = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            let root = filled(size, 0);
            let over = || assert_eq!(housekeeping::expire(&root, EXPIRY, EXPIRY.early + 1), u64::from(size));
            ends[0].push(timed(&root, size, over));
            ends[1].push(timed(&root, size, || (0..30).for_each(|_| housekeeping::give_back(&root))));
        }
        tell("sweep, all are over", &ends[0]);
        tell("memory of all given back", &ends[1]);
    }
    rows
}

fn plots(_: &Figures) -> Vec<Plot> {
    Vec::new()
}
