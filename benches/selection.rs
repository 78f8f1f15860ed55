//! What a selection costs beside the stock module: `make bench`.
//!
//! Both modules run in servers of their own at the same time, with the same list and the same script, and are measured
//! in turn: a loop inside the script selects `ROUNDS` times for one request, and the same loop without the selection is
//! taken off. The best of `TURNS` counts, so that what the machine does besides is left out. Only ratios mean something.
//!
//! Nearly all of the cost is the host's allocator, and `qm` is ten times slower while it has no small free blocks. So both
//! servers are aged first, in the same way: a table is filled and every other entry taken out.
//!
//! The loop clears both xavps, as a script that selects once leaves them to the end of the transaction; for algorithm 10
//! it also releases the call, because the stock module counts a Call-ID once.
//!
//! In the same way one of our servers that probes is measured beside one that does not: see [`probing`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};
use support::server_config::Builder;
use support::{Agent, Kamailio, Probed};

const TURNS: usize = 9;
/// Probed meanwhile, in a set of their own, and how often in seconds.
const OTHERS: usize = 2_000;
const INTERVAL: u64 = 10;
/// More turns there: what is looked for is small.
const TURNS_BESIDE_PROBES: usize = 41;
/// Entries of the table that ages the allocator.
const AGE: u32 = 40_000;
/// What is measured beside probes.
const ALGORITHMS: [u32; 4] = [0, 4, 8, 10];

fn name(algorithm: u32) -> &'static str {
    match algorithm {
        0 => "hash",
        4 => "round robin",
        8 => "priority",
        9 => "weight",
        10 => "call load",
        11 => "rel. weight",
        _ => "",
    }
}

/// What a selection leaves for failover.
#[derive(Clone, Copy, PartialEq)]
enum List {
    /// `flags` 0: nothing.
    Off,
    /// `flags` 2 and a limit of 1: the chosen one.
    One,
    /// `flags` 2: the whole set.
    All,
}

impl List {
    fn name(self) -> &'static str {
        match self {
            List::Off => "off",
            List::One => "limit 1",
            List::All => "all",
        }
    }
}

/// What is measured, over sets of which sizes. Without failover the stock module cannot release in a loop.
const ROWS: [(List, &[u32], &[usize]); 3] = [
    (List::Off, &[0, 4, 8], &[3, 30, 300]),
    (List::One, &[0, 4, 9, 10, 11], &[3, 30, 300, 3_000]),
    (List::All, &ALGORITHMS, &[3, 30, 300]),
];

fn route(list: List) -> String {
    let mut text = String::from(
        "request_route {\n\
         \tif (is_method(\"ACK\")) exit;\n\
         \t$var(i) = 0; $var(n) = $(rU{s.int});\n\
         \tif ($hdr(X-Algorithm) == \"age\") {\n\
         \t\twhile ($var(i) < $var(n)) { $sht(age=>$var(i)) = \"0123456789012345678901234567890123456789\"; $var(i) = $var(i) + 1; }\n\
         \t\twhile ($var(i) > 0) { $var(i) = $var(i) - 2; $sht(age=>$var(i)) = $null; } }\n",
    );
    for algorithm in [0, 4, 8, 9, 10, 11] {
        let release = if algorithm == 10 { "ds_load_unset();" } else { "" };
        let limit = if list == List::One { ", \"1\"" } else { "" };
        text.push_str(&format!(
            "\tif ($hdr(X-Algorithm) == \"{algorithm}\") {{ while ($var(i) < $var(n)) {{\n\
             \t\tif (!ds_select_dst(\"1\", \"{algorithm}\"{limit})) {{ sl_send_reply(\"500\", \"No\"); exit; }} {release}\n\
             \t\t$xavp(_dsdst_[*]) = $null; $xavp(_dsctx_[*]) = $null; $var(i) = $var(i) + 1; }} }}\n"
        ));
    }
    text.push_str(
        "\tif ($hdr(X-Algorithm) == \"none\") { while ($var(i) < $var(n)) {\n\
         \t\t$xavp(_dsdst_[*]) = $null; $xavp(_dsctx_[*]) = $null; $var(i) = $var(i) + 1; } }\n\
         \tsl_send_reply(\"200\", \"OK\");\n}\n",
    );
    text
}

/// A server of one of the two modules and its caller.
struct Side {
    server: Kamailio,
    agent: Agent,
    rounds: u32,
}

/// A set of this size to select from.
fn destinations(size: usize, flags: u32) -> String {
    (0..size)
        .map(|n| {
            format!(
                "1 sip:127.200.{}.{}:5060 {flags} 0 duid=gw{n};weight={};rweight={}\n",
                n / 250,
                n % 250 + 1,
                1 + n % 9,
                1 + n % 9
            )
        })
        .collect()
}

impl Side {
    fn start(stock: bool, size: usize, list: List, fast: bool) -> Side {
        let builder = Kamailio::builder().list(destinations(size, 0));
        Side::of(if stock { builder.stock() } else { builder }, size, list, fast)
    }

    fn of(builder: Builder, size: usize, list: List, fast: bool) -> Side {
        let mut builder = builder
            .module("htable")
            .modparam("modparam(\"htable\", \"htable\", \"age=>size=12;\")")
            .globals("max_while_loops=1000000")
            .modparam(&format!(
                "modparam(\"dispatcher\", \"flags\", {})",
                if list == List::Off { 0 } else { 2 }
            ))
            .route(&route(list));
        if fast {
            builder = builder.fast_allocator();
        }
        let server = builder.start();
        let agent = server.agent();
        let mut side = Side { server, agent, rounds: AGE };
        side.once("age");
        // Long enough for the way there and back to be nothing beside it.
        side.rounds = match (list, size) {
            (List::Off, _) => 50_000,
            (List::One, ..1_000) => 20_000,
            (List::One, _) => 5_000,
            (List::All, ..100) => 2_000,
            (List::All, _) => 300,
        };
        side
    }

    /// Seconds of one request that loops `rounds` times.
    fn once(&mut self, algorithm: &str) -> f64 {
        let mut call = self.agent.call();
        call.uri = format!("sip:{}@{}", self.rounds, self.server.address());
        let invite = call.invite().with("X-Algorithm", algorithm);
        let start = Instant::now();
        self.agent.send(&invite);
        let answer = self.agent.receive(Duration::from_secs(60)).expect("an answer");
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(answer.status(), Some(200), "algorithm {algorithm}:\n{}", self.server.log());
        seconds
    }
}

/// Microseconds of a selection in each of the two: the best and the median of all turns.
fn measure(sides: [&mut Side; 2], algorithm: u32, turns: usize) -> [[f64; 2]; 2] {
    let (mut with, mut without) =
        (sides.each_ref().map(|_| Vec::new()), sides.each_ref().map(|_| Vec::new()));
    let rounds = f64::from(sides[0].rounds);
    let [one, other] = sides;
    for _ in 0..turns {
        for (all, algorithm) in [(&mut with, algorithm.to_string()), (&mut without, "none".into())] {
            all[0].push(one.once(&algorithm));
            all[1].push(other.once(&algorithm));
        }
    }
    let at = |times: &mut Vec<f64>, place: usize| {
        times.sort_by(f64::total_cmp);
        times[place]
    };
    [0, 1].map(|side| {
        [0, turns / 2]
            .map(|place| (at(&mut with[side], place) - at(&mut without[side], place)).max(0.0) / rounds * 1e6)
    })
}

/// The same lists in two of our servers, of which one probes the others. The best shows what probing does to the data that
/// a selection reads, the median also the processor time that it takes.
fn probing(list: List) {
    let gateways = Probed::start();
    // Nothing answers at the addresses of the first set: they have the flag for no probes.
    let lists = destinations(30, 32) + &gateways.list(2, OTHERS, "");
    let quiet = Kamailio::builder().workers(2).list(&lists);
    let probing = Kamailio::builder().workers(2).list(&lists).modparam(&format!(
        "modparam(\"dispatcher\", \"ds_ping_interval\", {INTERVAL})\nmodparam(\"dispatcher\", \"ds_probing_mode\", 1)"
    ));
    let (mut probing, mut quiet) = (Side::of(probing, 30, list, true), Side::of(quiet, 30, list, true));
    gateways.wait_for(OTHERS, Duration::from_secs(INTERVAL * 3));
    gateways.forget();
    let begun = Instant::now();
    for algorithm in ALGORITHMS {
        let [with, without] = measure([&mut probing, &mut quiet], algorithm, TURNS_BESIDE_PROBES);
        let ratio = |at: usize| with[at] / without[at];
        println!(
            "{:<10}{:<12}{:>9.3}{:>9.3}{:>8.2}{:>18.2}",
            list.name(),
            name(algorithm),
            with[0],
            without[0],
            ratio(0),
            ratio(1)
        );
    }
    let rate = gateways.count("OPTIONS") as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} probes a second meanwhile");
}

fn main() {
    beside_stock();
    println!("\nof 30, while {OTHERS} others are probed every {INTERVAL} s; ratio = probing / not probing\n");
    println!(
        "{:<10}{:<12}{:>9}{:>9}{:>8}{:>18}",
        "failover", "algorithm", "probing", "not", "ratio", "ratio of medians"
    );
    [List::Off, List::All].into_iter().for_each(probing);
}

fn beside_stock() {
    println!("a selection, microseconds (best of {TURNS}); ratio = stock / ours, more is better\n");
    println!(
        "{:<10}{:<10}{:>6}  {:<12}{:>9}{:>9}{:>8}",
        "allocator", "failover", "size", "algorithm", "ours", "stock", "ratio"
    );
    for fast in [true, false] {
        for (list, algorithms, sizes) in ROWS {
            for &size in sizes {
                let (mut ours, mut stock) =
                    (Side::start(false, size, list, fast), Side::start(true, size, list, fast));
                for &algorithm in algorithms {
                    let [[mine, _], [theirs, _]] = measure([&mut ours, &mut stock], algorithm, TURNS);
                    println!(
                        "{:<10}{:<10}{size:>6}  {:<12}{mine:>9.2}{theirs:>9.2}{:>8.2}",
                        if fast { "fm" } else { "qm" },
                        list.name(),
                        name(algorithm),
                        theirs / mine
                    );
                }
            }
        }
    }
}
