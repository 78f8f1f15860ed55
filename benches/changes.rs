//! What a change of the sets costs beside the stock module.
//!
//! Both modules run in servers of their own with the same list, and are asked in turn by RPC to add a destination, to
//! change it (ours only), to remove it, and to read the list again: unchanged, with other attributes in every line, and with
//! other destinations in all lines. A command that does nothing shows what the way there and back costs.

use crate::Group;
use crate::servers::Kamailio;
use crate::support::figures::{Figures, OURS, Row, STOCK};
use crate::support::modules::{ALLOCATORS, Module};
use crate::support::plot::{Ink, Plot, Series, Shape};
use crate::support::turns::Times;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const GROUP: Group = Group {
    name: "changes",
    title: "A change of the sets",
    unit: "milliseconds",
    size: "destinations",
    about: "By RPC, the way there and back included (`nothing` is that alone). The list has one set of all destinations, or sets of \
            ten. `reload, other words` changes an attribute in each line, `reload, all others` has other destinations in each line. \
            The stock module cannot change a destination. Where it takes seconds one turn must do, by `fm`.",
    measure,
    plots,
};

/// Destinations in all, and how many of them are in one set.
const SIZES: [(usize, usize); 6] =
    [(100, 10), (3_000, 10), (30_000, 10), (100, 100), (3_000, 3_000), (30_000, 30_000)];
const TURNS: usize = 11;
/// The stock module takes seconds for a change of a set of this size: one turn shows it.
const LARGE: usize = 10_000;
const FEW: usize = 1;
const PATIENCE: Duration = Duration::from_secs(60);
/// The size of a small set.
const IN_SMALL: usize = 10;
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
    module: Module,
}

impl Side {
    fn start(module: Module, list: &str, allocator: &str) -> Side {
        let builder = module.server(allocator).list(list).shm_megabytes(SHM);
        Side { server: builder.modparam("modparam(\"dispatcher\", \"reload_delta\", 0)").start(), module }
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
    fn turn(&self, lists: &[String; 3], took: &mut [Times; CHANGES.len()]) {
        let uri = "sip:10.99.99.99:5060";
        took[0].push(self.ask(NOTHING, json!([])));
        took[1].push(self.ask("dispatcher.add", json!([1, uri, 0, 0, "duid=new"])));
        if self.module != Module::Stock {
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

/// The case of a row.
pub fn case(change: &str, in_set: usize) -> String {
    if in_set == IN_SMALL { format!("{change}; sets of {IN_SMALL}") } else { format!("{change}; one set") }
}

fn measure() -> Vec<Row> {
    let mut rows = Vec::new();
    for allocator in ALLOCATORS {
        for (size, in_set) in SIZES {
            let lists = lists(size, in_set);
            let at_all = |module: &Module| match module {
                Module::Stock => allocator == "fm" || in_set < LARGE,
                module => *module != Module::Copy,
            };
            let modules = Module::all().into_iter().filter(at_all);
            let sides: Vec<Side> = modules.map(|module| Side::start(module, &lists[0], allocator)).collect();
            let mut took: Vec<[Times; CHANGES.len()]> = sides.iter().map(|_| Default::default()).collect();
            for turn in 0..TURNS {
                for (side, took) in sides.iter().zip(&mut took) {
                    if turn < FEW || in_set < LARGE || side.module != Module::Stock {
                        side.turn(&lists, took);
                    }
                }
            }
            for (at, change) in CHANGES.into_iter().enumerate() {
                let mut row = Row::new(allocator, &case(change, in_set), None, size);
                for (side, took) in sides.iter().zip(&took).filter(|(_, took)| !took[at].is_empty()) {
                    row = row.with(side.module.name(), &took[at]);
                }
                rows.push(row);
            }
        }
    }
    rows
}

fn plots(figures: &Figures) -> Vec<Plot> {
    let plot = |in_set: usize, called: &str| {
        let mut series = Vec::new();
        for (change, dashed) in [("add", false), ("reload, other words", true)] {
            for (who, ink) in [(STOCK, Ink::Stock), (OURS, Ink::Ours)] {
                let point = |size: u64| {
                    figures.get("fm", &case(change, in_set), None, size, who).map(|s| (size as f64, s.best))
                };
                let points = [100, 3_000, 30_000].into_iter().filter_map(point).collect();
                let change = change.split(',').next().unwrap_or_default();
                series.push(Series { name: format!("{who}, {change}"), ink, dashed, points });
            }
        }
        Plot {
            file: format!("changes-{called}").replace(' ', "-"),
            title: format!("Adding one destination, and a reload: {called}, allocator fm"),
            shape: Shape::Lines { x: "destinations".into(), y: "milliseconds".into(), series },
        }
    };
    vec![plot(IN_SMALL, "sets of ten"), plot(0, "one set")]
}
