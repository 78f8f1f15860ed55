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
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};
use support::{Agent, Kamailio};

const TURNS: usize = 9;
/// Entries of the table that ages the allocator.
const AGE: u32 = 40_000;
const SIZES: [usize; 3] = [3, 30, 300];
const ALGORITHMS: [(u32, &str); 4] = [(0, "hash"), (4, "round robin"), (8, "priority"), (10, "call load")];

fn route() -> String {
    let mut text = String::from(
        "request_route {\n\
         \tif (is_method(\"ACK\")) exit;\n\
         \t$var(i) = 0; $var(n) = $(rU{s.int});\n\
         \tif ($hdr(X-Algorithm) == \"age\") {\n\
         \t\twhile ($var(i) < $var(n)) { $sht(age=>$var(i)) = \"0123456789012345678901234567890123456789\"; $var(i) = $var(i) + 1; }\n\
         \t\twhile ($var(i) > 0) { $var(i) = $var(i) - 2; $sht(age=>$var(i)) = $null; } }\n",
    );
    for (algorithm, _) in ALGORITHMS {
        let release = if algorithm == 10 { "ds_load_unset();" } else { "" };
        text.push_str(&format!(
            "\tif ($hdr(X-Algorithm) == \"{algorithm}\") {{ while ($var(i) < $var(n)) {{\n\
             \t\tif (!ds_select_dst(\"1\", \"{algorithm}\")) {{ sl_send_reply(\"500\", \"No\"); exit; }} {release}\n\
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

impl Side {
    fn start(stock: bool, size: usize, failover: bool, fast: bool) -> Side {
        let list: String = (0..size)
            .map(|n| format!("1 sip:127.200.{}.{}:5060 0 0 duid=gw{n}\n", n / 250, n % 250 + 1))
            .collect();
        let mut builder = Kamailio::builder()
            .list(list)
            .module("htable")
            .modparam("modparam(\"htable\", \"htable\", \"age=>size=12;\")")
            .globals("max_while_loops=1000000")
            .modparam(&format!("modparam(\"dispatcher\", \"flags\", {})", if failover { 2 } else { 0 }))
            .route(&route());
        if stock {
            builder = builder.stock();
        }
        if fast {
            builder = builder.fast_allocator();
        }
        let server = builder.start();
        let agent = server.agent();
        let mut side = Side { server, agent, rounds: AGE };
        side.once("age");
        side.rounds = if size > 100 { 300 } else { 2_000 };
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

/// Microseconds of a selection: ours, stock.
fn measure(ours: &mut Side, stock: &mut Side, algorithm: u32) -> (f64, f64) {
    let mut best = [f64::MAX; 4];
    for _ in 0..TURNS {
        let times = [
            ours.once(&algorithm.to_string()),
            stock.once(&algorithm.to_string()),
            ours.once("none"),
            stock.once("none"),
        ];
        for (best, time) in best.iter_mut().zip(times) {
            *best = best.min(time);
        }
    }
    let micros = |with: f64, without: f64| (with - without).max(0.0) / f64::from(ours.rounds) * 1e6;
    (micros(best[0], best[2]), micros(best[1], best[3]))
}

fn main() {
    println!("a selection, microseconds (best of {TURNS}); ratio = ours / stock, less is better\n");
    println!(
        "{:<10}{:<10}{:>6}  {:<12}{:>9}{:>9}{:>8}",
        "allocator", "failover", "size", "algorithm", "ours", "stock", "ratio"
    );
    for fast in [true, false] {
        for failover in [false, true] {
            for size in SIZES {
                let (mut ours, mut stock) =
                    (Side::start(false, size, failover, fast), Side::start(true, size, failover, fast));
                for (algorithm, name) in ALGORITHMS {
                    if algorithm == 10 && !failover {
                        continue; // without failover the stock module cannot release in a loop
                    }
                    let (mine, theirs) = measure(&mut ours, &mut stock, algorithm);
                    println!(
                        "{:<10}{:<10}{size:>6}  {name:<12}{mine:>9.2}{theirs:>9.2}{:>8.2}",
                        if fast { "fm" } else { "qm" },
                        if failover { "on" } else { "off" },
                        mine / theirs
                    );
                }
            }
        }
    }
}
