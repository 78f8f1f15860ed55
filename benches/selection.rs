//! What a selection costs in a script, beside the stock module's.
//!
//! Servers of both modules, and of a copy of ours, run at the same time with the same list and the same script, and loop
//! in turn over the same selection.

use crate::support::figures::{COPY, Figures, OURS, Row, STOCK, Summary};
use crate::support::modules::{ALLOCATORS, Module};
use crate::support::plot::{Bar, Ink, Plot, Series, Shape};
use crate::support::script_loop::{Looping, NOTHING, select, selection};
use crate::support::table::algorithm;
use crate::support::turns::{Times, in_turns};
use crate::{Group, destinations};
use std::time::Duration;

pub const GROUP: Group = Group {
    name: "selection",
    title: "A selection in the script",
    unit: "microseconds a selection",
    size: "destinations",
    about: "One request loops over `ds_select_dst` (for algorithm 10 with `ds_load_unset`, for 12 with `clear_branches`), and the \
            empty loop is taken off. Each round clears both xavps. `no list` is `flags` 0, `limit 1` is `flags` 2 with a limit of \
            1, `full list` is `flags` 2 without. `lean 1` and `lean 2` are `ds_lean_failover` with the whole set for failover; \
            their rows stand once beside the stock module's full list and once beside its limit 1. `calls count` is in a server where calls \
            count, so that each other selection looks whether its call is one of those; the other rows of algorithms that do not count \
            are in servers where none ever did. `copy` is our own module again, \
            from another file in another server: how far it is from 1 is the noise.",
    measure,
    plots,
};

const SIZES: [usize; 4] = [3, 30, 300, 3_000];
/// The stock module needs no comparison here: what counts is that a lean selection stays as it is.
const LARGEST: usize = 30_000;
const TURNS: usize = 75;
/// How long a request loops.
const TURN: Duration = Duration::from_millis(5);
const SHM: u32 = 512;

/// How a server leaves alternatives, by its parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    NoList,
    List,
    Lean(u32),
}

impl Mode {
    pub fn parameters(self) -> String {
        match self {
            Mode::NoList => "modparam(\"dispatcher\", \"flags\", 0)".into(),
            Mode::List => "modparam(\"dispatcher\", \"flags\", 2)".into(),
            Mode::Lean(mode) => format!(
                "modparam(\"dispatcher\", \"flags\", 2)\nmodparam(\"dispatcher\", \"ds_lean_failover\", {mode})"
            ),
        }
    }
}

pub const NO_LIST: &str = "no list";
pub const LIMIT: &str = "limit 1";
/// In a server where calls count: each other selection looks whether its call is one of those.
pub const LIMIT_BESIDE_CALLS: &str = "limit 1, calls count";
pub const ALL: &str = "full list";

/// Whole sets for failover in a lean mode, beside one of the stock module's ways.
pub fn lean(mode: u32, beside: &str) -> String {
    format!("lean {mode}, beside {beside}")
}

/// What is measured of each mode in servers where calls count, and in those where none ever did. In parallel forking a request has
/// 12 branches at most.
fn algorithms(mode: Mode, limit: Option<u32>, size: usize, calls: bool) -> &'static [u32] {
    match (mode, limit) {
        // Without failover the stock module cannot release a call in a loop.
        (Mode::NoList, _) if calls => &[],
        (Mode::NoList, _) if size <= 10 => &[0, 4, 8, 12],
        (Mode::NoList, _) => &[0, 4, 8],
        (Mode::List, Some(_)) if calls => &[4, 10],
        (_, _) if calls => &[10],
        (Mode::List, Some(_)) => &[0, 4, 8, 9, 11, 13],
        (Mode::List, None) => &[0, 4, 8],
        (Mode::Lean(_), _) => &[0, 4],
    }
}

/// One loop on one server.
struct Subject {
    server: usize,
    name: String,
    rounds: u32,
}

/// A server and what is asked of it.
struct Kind {
    module: Module,
    mode: Mode,
    limits: &'static [Option<u32>],
    /// Whether calls count in it.
    calls: bool,
}

impl Kind {
    /// The selections that it is asked for, by algorithm and limit.
    fn asked(&self, size: usize) -> Vec<(u32, Option<u32>)> {
        let mut asked = Vec::new();
        for &limit in self.limits {
            asked.extend(
                algorithms(self.mode, limit, size, self.calls).iter().map(|algorithm| (*algorithm, limit)),
            );
        }
        asked
    }
}

fn kinds(size: usize) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for calls in [false, true] {
        let lean = |mode| Kind { module: Module::Ours, mode: Mode::Lean(mode), limits: &[None], calls };
        kinds.extend([1, 2].map(lean));
        for module in Module::all().into_iter().filter(|_| size < LARGEST) {
            kinds.push(Kind { module, mode: Mode::NoList, limits: &[None], calls });
            kinds.push(Kind { module, mode: Mode::List, limits: &[Some(1), None], calls });
        }
    }
    kinds.retain(|kind| !kind.asked(size).is_empty());
    kinds
}

fn measure() -> Vec<Row> {
    let mut rows = Vec::new();
    for allocator in ALLOCATORS {
        for size in SIZES.into_iter().chain([LARGEST]) {
            rows.extend(at(allocator, size));
        }
    }
    rows
}

/// What there is to measure by one allocator over a set of this size, all of it in turns.
fn at(allocator: &str, size: usize) -> Vec<Row> {
    let kinds = kinds(size);
    let start = |kind: &Kind| {
        let asked = kind.asked(size).into_iter();
        let statements: Vec<_> = asked.map(|(algorithm, limit)| select(1, algorithm, limit)).collect();
        let builder = kind.module.server(allocator).list(destinations(1, size)).shm_megabytes(SHM);
        Looping::start(builder.modparam(&kind.mode.parameters()), &statements, 1)
    };
    let mut servers: Vec<Looping> = kinds.iter().map(start).collect();
    let mut subjects = Vec::new();
    for (server, kind) in kinds.iter().enumerate() {
        let names = kind.asked(size).into_iter().map(|(algorithm, limit)| selection(1, algorithm, limit));
        for name in names.chain([NOTHING.into()]) {
            let rounds = servers[server].rounds(&name, TURN);
            subjects.push(Subject { server, name, rounds });
        }
    }
    let times = in_turns(TURNS, &subjects, |subject| {
        let seconds = servers[subject.server].alone(&subject.name, subject.rounds);
        seconds / f64::from(subject.rounds) * 1e6
    });
    let found = Found { kinds: &kinds, subjects: &subjects, times: &times };
    found.rows(allocator, size)
}

/// The times of all loops, by what they are of.
struct Found<'a> {
    kinds: &'a [Kind],
    subjects: &'a [Subject],
    times: &'a [Times],
}

impl Found<'_> {
    fn times(&self, server: usize, name: &str) -> Option<&Times> {
        let at = self.subjects.iter().position(|subject| subject.server == server && subject.name == name)?;
        self.times.get(at)
    }

    /// What this selection takes beyond the empty loop.
    fn of(&self, module: Module, mode: Mode, calls: bool, what: (u32, Option<u32>)) -> Option<Summary> {
        let is_it = |kind: &Kind| kind.module == module && kind.mode == mode && kind.calls == calls;
        let server = self.kinds.iter().position(is_it)?;
        let with = self.times(server, &selection(1, what.0, what.1))?;
        Some(Summary::beyond(with, self.times(server, NOTHING)?))
    }

    fn rows(&self, allocator: &str, size: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        for (case, mode, limit, calls) in [
            (NO_LIST, Mode::NoList, None, false),
            (LIMIT, Mode::List, Some(1), false),
            (LIMIT_BESIDE_CALLS, Mode::List, Some(1), true),
            (ALL, Mode::List, None, false),
            (ALL, Mode::List, None, true),
        ] {
            for &algorithm in algorithms(mode, limit, size, calls) {
                // Call load counts wherever it is.
                let case = if algorithm == 10 && limit.is_some() { LIMIT } else { case };
                let mut row = Row::new(allocator, case, Some(algorithm), size);
                for module in Module::all() {
                    let summary = self.of(module, mode, calls, (algorithm, limit));
                    row.figures.extend(summary.map(|summary| (module.name().to_owned(), summary)));
                }
                rows.push(row);
            }
        }
        for (lean_mode, calls) in [(1, false), (1, true), (2, false), (2, true)] {
            let mode = Mode::Lean(lean_mode);
            for &algorithm in algorithms(mode, None, size, calls) {
                let Some(ours) = self.of(Module::Ours, mode, calls, (algorithm, None)) else { continue };
                for (beside, limit) in [(ALL, None), (LIMIT, Some(1))] {
                    let row = Row::new(allocator, &lean(lean_mode, beside), Some(algorithm), size);
                    let row = row.with(OURS, ours);
                    rows.push(match self.of(Module::Stock, Mode::List, calls, (algorithm, limit)) {
                        Some(stock) => row.with(STOCK, stock),
                        None => row,
                    });
                }
            }
        }
        rows.retain(|row| !row.figures.is_empty());
        rows
    }
}

fn plots(figures: &Figures) -> Vec<Plot> {
    let by_size = |allocator: &str| {
        let line = |name: &str, case: &str, who: &str, ink, dashed| Series {
            name: name.into(),
            ink,
            dashed,
            points: SIZES
                .into_iter()
                .chain([LARGEST])
                .filter_map(|size| {
                    figures.get(allocator, case, Some(10), size as u64, who).map(|s| (size as f64, s.best))
                })
                .collect(),
        };
        let series = vec![
            line("stock, full list", ALL, STOCK, Ink::Stock, true),
            line("ours, full list", ALL, OURS, Ink::Ours, true),
            line("stock, limit 1", LIMIT, STOCK, Ink::Stock, false),
            line("ours, limit 1", LIMIT, OURS, Ink::Ours, false),
            line("lean 1, whole set", &lean(1, ALL), OURS, Ink::LeanOne, false),
            line("lean 2, whole set", &lean(2, ALL), OURS, Ink::LeanTwo, false),
        ];
        let series = series.into_iter().filter(|line| !line.points.is_empty()).collect();
        Plot {
            file: format!("selection-{allocator}"),
            title: format!("Algorithm 10 in the script, allocator {allocator}"),
            shape: Shape::Lines { x: "destinations in the set".into(), y: "µs a selection".into(), series },
        }
    };
    let by_algorithm = |allocator: &str| {
        let mut bars = Vec::new();
        for row in figures
            .rows
            .iter()
            .filter(|row| row.allocator == allocator && row.size == 30 && row.case == LIMIT)
        {
            for (who, ink) in [(OURS, Ink::Ours), (STOCK, Ink::Stock)] {
                let name = format!("{}, {who}", row.algorithm.map_or_else(String::new, algorithm));
                bars.extend(row.of(who).map(|summary| Bar { name, ink, value: summary.best }));
            }
        }
        Plot {
            file: format!("algorithms-{allocator}"),
            title: format!("Limit 1 of 30, allocator {allocator}"),
            shape: Shape::Bars { unit: "µs a selection".into(), bars, mark: None },
        }
    };
    ALLOCATORS.into_iter().flat_map(|allocator| [by_size(allocator), by_algorithm(allocator)]).collect()
}

/// How far the copy is from the module, in one half of the rows and in the worst of all.
pub fn noise(figures: &Figures) -> Option<[f64; 2]> {
    let off = |row: &Row| {
        let ratio = row.of(COPY)?.best / row.of(OURS)?.best;
        Some(ratio.max(1.0 / ratio) - 1.0)
    };
    let mut off: Vec<f64> = figures.rows.iter().filter_map(off).collect();
    off.sort_by(f64::total_cmp);
    Some([*off.get(off.len() / 2)?, *off.last()?])
}
