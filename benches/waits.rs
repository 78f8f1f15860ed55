//! How long the work on all calls keeps one call waiting: `make bench`.
//!
//! The module's own code on calls in this process's memory, without a server, so the stock module is not here: it has no
//! audit. For each piece of work: how long it takes in all, and how long a process that asks for one call after the other waits
//! meanwhile. What it waits when nothing is done is the machine's share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

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
use support::{key, serving};

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

fn tell(size: u32, work: &str, turns: &[[Duration; 3]]) {
    let best =
        |at: usize| turns.iter().map(|turn| turn[at].as_secs_f64() * 1e3).fold(f64::INFINITY, f64::min);
    println!("{size:>9}  {work:<32} {:>9.2} {:>9.3} {:>9.3}", best(0), best(1), best(2));
}

fn main() {
    println!("milliseconds; best of {TURNS} turns\n");
    println!(
        "{:>9}  {:<32} {:>9} {:>9} {:>9}",
        "calls", "work on all of them", "took", "longest", "999/1000"
    );
    for size in SIZES {
        let root = filled(size, 0);
        root.counters.placed.bump();
        let turns = |work: &dyn Fn()| -> Vec<_> { (0..TURNS).map(|_| timed(&root, size, work)).collect() };
        tell(size, "nothing", &turns(&|| std::thread::sleep(Duration::from_millis(100))));
        tell(size, "audit", &turns(&|| drop(audit::audit(&root))));
        tell(size, "sweep, none is over", &turns(&|| assert_eq!(housekeeping::expire(&root, EXPIRY, 1), 0)));
        tell(size, "room ahead of need", &turns(&|| housekeeping::make_room(&root).unwrap()));
        drop(root);
        let mut ends = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            let root = filled(size, 0);
            let over = || assert_eq!(housekeeping::expire(&root, EXPIRY, EXPIRY.early + 1), u64::from(size));
            ends[0].push(timed(&root, size, over));
            ends[1].push(timed(&root, size, || (0..30).for_each(|_| housekeeping::give_back(&root))));
        }
        tell(size, "sweep, all are over", &ends[0]);
        tell(size, "memory of all given back", &ends[1]);
    }
}
