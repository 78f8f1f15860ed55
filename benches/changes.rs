//! What a change of the sets costs beside the stock module: `make bench`.
//!
//! Both modules run in servers of their own with the same list, and are asked in turn by RPC to add a destination, to
//! change it (ours only), to remove it and to read the list again. A command that does nothing shows what the way there and
//! back costs. The best of the turns counts. Only ratios mean something: ours to the stock module's, and ours with many
//! destinations to ours with few.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::Kamailio;

/// Destinations in all, and how many of them are in one set.
const SIZES: [(usize, usize); 4] = [(100, 100), (3_000, 3_000), (30_000, 30_000), (30_000, 10)];
const TURNS: usize = 30;
/// The stock module takes seconds for one at this size with `qm`, Debian's default: two turns show it.
const FEW: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);
const NOTHING: &str = "core.version";
const SHM: u32 = 512;

fn list(size: usize, in_set: usize) -> String {
    let line = |n: usize| {
        format!(
            "{} sip:10.{}.{}.{}:5060 0 0 duid=gw{n}\n",
            n / in_set + 1,
            n / 62_500,
            n / 250 % 250,
            n % 250
        )
    };
    (0..size).map(line).collect()
}

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

    /// The best of all turns for nothing, add, update, remove and reload.
    fn turn(&self, best: &mut [f64; 5]) {
        let uri = "sip:10.99.99.99:5060";
        let mut took = [
            self.ask(NOTHING, json!([])),
            self.ask("dispatcher.add", json!([1, uri, 0, 0, "duid=new"])),
            0.0,
            0.0,
            0.0,
        ];
        if !self.stock {
            took[2] = self.ask("dispatcher.update", json!([1, uri, -1, -1, "duid=new;maxload=5"]));
        }
        took[3] = self.ask("dispatcher.remove", json!([1, uri]));
        took[4] = self.ask("dispatcher.reload", json!([]));
        for (best, took) in best.iter_mut().zip(took) {
            *best = best.min(took);
        }
    }
}

fn main() {
    println!(
        "a change, milliseconds (best of {TURNS}; of {FEW} where one takes long); ratio = ours / stock\n"
    );
    let columns = ["allocator", "size", "in a set", "change", "ours", "stock", "ratio", "ours / ours of 100"];
    let [allocator, size, in_set, change, ours, stock, ratio, own] = columns;
    println!("{allocator:<10}{size:>7}{in_set:>10}  {change:<8}{ours:>9}{stock:>10}{ratio:>9}{own:>20}");
    for fast in [true, false] {
        let mut of_few = [f64::NAN; 5];
        for (size, in_set) in SIZES {
            let list = list(size, in_set);
            let sides = [false, true].map(|stock| Side::start(stock, &list, fast));
            let mut best = [[f64::INFINITY; 5]; 2];
            let turns = if !fast && size > 100 { FEW } else { TURNS };
            for turn in 0..TURNS {
                for (side, best) in sides.iter().zip(&mut best) {
                    if turn < turns || !side.stock {
                        side.turn(best);
                    }
                }
            }
            let [mine, theirs] = best;
            if size == 100 {
                of_few = mine;
            }
            for (at, change) in ["nothing", "add", "update", "remove", "reload"].into_iter().enumerate() {
                let (theirs, ratio) = match at {
                    2 => ("-".into(), "-".into()),
                    _ => (format!("{:.3}", theirs[at]), format!("{:.4}", mine[at] / theirs[at])),
                };
                println!(
                    "{:<10}{size:>7}{in_set:>10}  {change:<8}{:>9.3}{theirs:>10}{ratio:>9}{:>20.2}",
                    if fast { "fm" } else { "qm" },
                    mine[at],
                    mine[at] / of_few[at]
                );
            }
        }
    }
}
