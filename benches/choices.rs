//! What the module's own part of a selection costs, without the host's functions: `make bench`.
//!
//! The code of a selection in this process's memory: the sets are pinned, a destination is chosen, and for algorithm 10 the
//! call is counted and released. Once by one worker, and once by two at the same set on two cores. Nanoseconds; the best of
//! all turns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use dispatcher::load::{About, Event, Invite, News, Tags};
use dispatcher::service::routing::call_count;
use dispatcher::service::routing::choose::{Ask, Call, select};
use dispatcher::shm::Heap;
use dispatcher::state::Root;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;
use support::{key, serving};

const SIZES: [u32; 5] = [3, 30, 300, 3_000, 30_000];
const ALGORITHMS: [i32; 6] = [0, 4, 8, 9, 10, 11];
const TURNS: usize = 15;
const ROUNDS: u32 = 50_000;
/// Calls of a worker that are known.
const CALLS: u32 = 1_000;

/// One selection by the worker of this number, and for algorithm 10 the end of the call.
fn one(root: &Root<Heap>, worker: usize, algorithm: i32, round: u32) {
    let sets = root.sets.pin(worker).unwrap();
    let call = key(root, round % CALLS * 2 + worker as u32);
    let invite = || Invite { cseq: 1, failed: None, now: 0 };
    let goes = Call::Goes { key: &|| Some(call), invite: &invite, may_stay: true };
    let ask = Ask {
        set: 1,
        algorithm,
        call: if algorithm == 10 { goes } else { Call::None },
        now_ms: &|| 0,
        random: &|| 0,
        spare_last: false,
        hash: &|_| Some(round.wrapping_mul(0x9e37_79b9)),
        retry: None,
    };
    black_box(select(root, &sets, &ask).unwrap().at);
    if algorithm == 10 {
        let news = News { event: Event::Unset, about: About::Request, tags: Tags::default(), now: 0 };
        assert!(call_count::report(root, &call, &news).unwrap());
    }
}

/// Nanoseconds of a selection, by so many workers at once.
fn measure(root: &Root<Heap>, workers: usize, algorithm: i32) -> f64 {
    let turn = || {
        let all = Barrier::new(workers);
        std::thread::scope(|scope| {
            let work = |worker: usize| {
                let all = &all;
                move || {
                    all.wait();
                    let begun = Instant::now();
                    (0..ROUNDS).for_each(|round| one(root, worker, algorithm, round));
                    begun.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
                }
            };
            let others: Vec<_> = (1..workers).map(|worker| scope.spawn(work(worker))).collect();
            let own = work(0)();
            others.into_iter().map(|other| other.join().unwrap()).fold(own, f64::max)
        })
    };
    (0..TURNS).map(|_| turn()).fold(f64::INFINITY, f64::min)
}

fn main() {
    println!("nanoseconds of a selection; best of {TURNS} turns\n");
    println!("{:<24}{}", "one worker", SIZES.map(|size| format!("{size:>9}")).concat());
    let roots = SIZES.map(|size| {
        let line = |n: u32| format!("1 sip:gw{n} 0 0 weight={};rweight={}\n", 1 + n % 9, 1 + n % 9);
        serving(&(0..size).map(line).collect::<String>(), 2)
    });
    let row = |workers: usize, algorithm: i32| {
        let figures = roots.each_ref().map(|root| format!("{:>9.0}", measure(root, workers, algorithm)));
        println!("algorithm {algorithm:<14}{}", figures.concat());
    };
    ALGORITHMS.into_iter().for_each(|algorithm| row(1, algorithm));
    println!("\ntwo workers, each");
    ALGORITHMS.into_iter().for_each(|algorithm| row(2, algorithm));
}
