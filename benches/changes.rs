//! What a change of the sets costs beside the stock module: `make bench`.
//!
//! Both modules run in servers of their own with the same list, and are asked in turn by RPC to add a destination, to
//! change it (ours only), to remove it, and to read the list again: unchanged, with other attributes in every line, and with
//! other destinations in all lines. A command that does nothing shows what the way there and back costs. The best of the turns
//! and their median count. Only ratios mean something: ours to the stock module's, and ours with many destinations to ours
//! with few.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::Kamailio;

/// Destinations in all, and how many of them are in one set.
const SIZES: [(usize, usize); 4] = [(100, 10), (3_000, 3_000), (30_000, 30_000), (30_000, 10)];
const TURNS: usize = 30;
/// The stock module takes seconds for a change of a set of this size: two turns show it.
const LARGE: usize = 10_000;
const FEW: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);
const NOTHING: &str = "core.version";
const SHM: u32 = 512;

/// Lists as they are loaded: the first, one with other attributes, and one of other destinations.
fn lists(size: usize, in_set: usize) -> [String; 3] {
    [(5060, ""), (5060, ";weight=5"), (5061, "x")].map(|(port, more)| {
        let line = |n: usize| {
            let (set, [a, b, c]) = (n / in_set + 1, [n / 62_500, n / 250 % 250, n % 250]);
            format!("{set} sip:10.{a}.{b}.{c}:{port} 0 0 duid=gw{n}{more}\n")
        };
        (0..size).map(line).collect()
    })
}

/// What is asked for, in this order.
const CHANGES: [&str; 7] =
    ["nothing", "add", "update", "remove", "reload, unchanged", "reload, other words", "reload, all others"];

struct Side {
    server: Kamailio,
    stock: bool,
}

impl Side {
    fn start(stock: bool, list: &str, fast: bool) -> Side {
        let builder = Kamailio::builder().list(list).shm_megabytes(SHM);
        let builder = builder.modparam("modparam(\"dispatcher\", \"reload_delta\", 0)");
        let builder = if stock { builder.stock() } else { builder };
        Side { server: if fast { builder.fast_allocator() } else { builder }.start(), stock }
    }

    /// Milliseconds.
    fn ask(&self, method: &str, params: Value) -> f64 {
        let begun = Instant::now();
        let answer = self.server.rpc_handle().call_within(PATIENCE, method, params);
        let took = begun.elapsed().as_secs_f64() * 1e3;
        answer.unwrap_or_else(|error| panic!("{method}: {error:?}"));
        took
    }

    /// Adds milliseconds to those of each of [`CHANGES`].
    fn turn(&self, lists: &[String; 3], took: &mut [Vec<f64>; CHANGES.len()]) {
        let uri = "sip:10.99.99.99:5060";
        took[0].push(self.ask(NOTHING, json!([])));
        took[1].push(self.ask("dispatcher.add", json!([1, uri, 0, 0, "duid=new"])));
        if !self.stock {
            took[2].push(self.ask("dispatcher.update", json!([1, uri, -1, -1, "duid=new;maxload=5"])));
        }
        took[3].push(self.ask("dispatcher.remove", json!([1, uri])));
        for (list, took) in lists.iter().zip(&mut took[4..]) {
            // There and back again.
            for list in [list, &lists[0]] {
                self.server.write_list(list);
                took.push(self.ask("dispatcher.reload", json!([])));
            }
        }
    }
}

/// The best and the median.
fn summary(took: &mut [f64]) -> [f64; 2] {
    took.sort_by(f64::total_cmp);
    [0, took.len() / 2].map(|at| took.get(at).copied().unwrap_or(f64::NAN))
}

fn main() {
    println!(
        "a change, milliseconds (best and median of {TURNS}; of {FEW} where one takes long); ratio = ours / stock\n"
    );
    println!(
        "{:<10}{:>7}{:>10}  {:<20}{:>9}{:>9}{:>10}{:>10}{:>8}{:>8}{:>20}",
        "allocator", "size", "in a set", "change", "ours", "", "stock", "", "ratio", "", "ours / ours of 100"
    );
    for fast in [true, false] {
        let mut of_few = [f64::NAN; CHANGES.len()];
        for (size, in_set) in SIZES {
            let lists = lists(size, in_set);
            let sides = [false, true].map(|stock| Side::start(stock, &lists[0], fast));
            let mut took = [const { [const { Vec::new() }; CHANGES.len()] }; 2];
            for turn in 0..TURNS {
                for (side, took) in sides.iter().zip(&mut took) {
                    if turn < FEW || in_set < LARGE || !side.stock {
                        side.turn(&lists, took);
                    }
                }
            }
            for (at, change) in CHANGES.into_iter().enumerate() {
                let [mine, theirs] = [0, 1].map(|side| summary(&mut took[side][at]));
                if size == 100 {
                    of_few[at] = mine[0];
                }
                println!(
                    "{:<10}{size:>7}{in_set:>10}  {change:<20}{:>9.3}{:>9.3}{:>10.3}{:>10.3}{:>8.2}{:>8.2}{:>20.2}",
                    if fast { "fm" } else { "qm" },
                    mine[0],
                    mine[1],
                    theirs[0],
                    theirs[1],
                    mine[0] / theirs[0],
                    mine[1] / theirs[1],
                    mine[0] / of_few[at]
                );
            }
        }
    }
}
