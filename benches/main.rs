//! `make bench`: what selections, calls and changes of the sets cost, beside the stock module.
//!
//! Each group measures one thing and prints its table. Its figures are kept, and the page `docs/benchmarks.md` is made from
//! those of all groups. Arguments are the names of groups to measure; `page` makes the page again of what was measured last,
//! `list` names the groups. Nothing here is asserted: what a machine has time for is no test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/it/support/mod.rs"]
mod servers;

mod bars;
mod changes;
mod choices;
mod health;
mod instructions;
mod limits;
mod live_calls;
mod probing;
mod relayed;
mod selection;
mod support;
mod two_workers;
mod waits;

use std::time::Instant;
use support::figures::{Figures, Row};
use support::plot::Plot;
use support::table::Table;
use support::{machine, page};

/// One thing that is measured.
pub struct Group {
    /// What it is asked for by.
    pub name: &'static str,
    /// Its head in the page.
    pub title: &'static str,
    /// What the figures are in.
    pub unit: &'static str,
    /// What the sizes are of.
    pub size: &'static str,
    /// How it is measured.
    pub about: &'static str,
    /// Measures it.
    pub measure: fn() -> Vec<Row>,
    /// Plots of its figures.
    pub plots: fn(&Figures) -> Vec<Plot>,
}

/// All of them, in the order of the page.
const GROUPS: [Group; 11] = [
    selection::GROUP,
    two_workers::GROUP,
    relayed::GROUP,
    choices::GROUP,
    instructions::GROUP,
    limits::GROUP,
    health::GROUP,
    live_calls::GROUP,
    changes::GROUP,
    probing::GROUP,
    waits::GROUP,
];

/// A set of this many destinations at which nobody answers.
fn destinations(set: u32, count: usize) -> String {
    let line = |n: usize| {
        let [a, b, c] = [200 + n / 62_500, n / 250 % 250, n % 250 + 1];
        let share = 1 + n % 9;
        format!("{set} sip:127.{a}.{b}.{c}:5060 0 0 duid=gw{n};weight={share};rweight={share}\n")
    };
    (0..count).map(line).collect()
}

fn measure(group: &Group) {
    let begun = Instant::now();
    println!("{} ({}): {}, best and median of all turns", group.title, group.name, group.unit);
    let (when, machine) = (machine::now(), machine::machine());
    let figures = Figures { when, commit: machine::commit(), machine, rows: (group.measure)() };
    print!("{}", Table::of(&figures.rows, group.size).text());
    println!("{:.0} s\n", begun.elapsed().as_secs_f64());
    // A group that was left out here does not take the place of what was measured elsewhere.
    if !figures.rows.is_empty() {
        figures.save(group.name);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [instructions::COUNTED, size] => instructions::count(size.parse().expect("a size")),
        ["list"] => GROUPS.iter().for_each(|group| println!("{:<14}{}", group.name, group.title)),
        ["page"] => page::write(&GROUPS),
        [] => {
            GROUPS.iter().for_each(measure);
            page::write(&GROUPS);
        }
        _ => {
            for name in arguments {
                let group = GROUPS.iter().find(|group| group.name == name);
                measure(group.unwrap_or_else(|| panic!("no group {name}; `list` names them")));
            }
        }
    }
}
