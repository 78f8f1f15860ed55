//! What a selection costs in a script when two workers do nothing else at the same time.
//!
//! As in [`crate::selection`], but each server has two workers, each on a core of its own. One caller lets one of them
//! loop; two callers both, over the same set or over one set each. The longer of the two counts.

use crate::selection::{ALL, LIMIT, Mode};
use crate::support::figures::{Figures, OURS, Row, STOCK, Summary};
use crate::support::machine;
use crate::support::modules::{ALLOCATORS, Module};
use crate::support::plot::{Bar, Ink, Plot, Shape};
use crate::support::processes::{pin, workers};
use crate::support::script_loop::{Looping, NOTHING, select, selection};
use crate::support::turns::{Times, in_turns};
use crate::{Group, destinations};
use std::time::Duration;

pub const GROUP: Group = Group {
    name: "two_workers",
    title: "Two workers on two cores",
    unit: "microseconds a selection, of each worker",
    size: "destinations",
    about: "As above, with algorithm 10, in servers with two workers, each kept on its own core. `alone`: one of them loops. `one \
            set` and `two sets`: both loop at the same time, over the same set or each over its own; the longer time counts. Two \
            workers do together what one does alone if each takes twice as long.",
    measure,
    plots,
};

const SIZE: usize = 30;
const TURNS: usize = 13;
/// Long beside the time that a worker needs to wake up.
const TURN: Duration = Duration::from_millis(40);
const ALGORITHM: u32 = 10;

/// Who loops, and over which sets.
const CALLERS: [(&str, &[u32]); 3] = [(ALONE, &[1]), (ONE_SET, &[1, 1]), (TWO_SETS, &[1, 2])];
pub const ALONE: &str = "alone";
pub const ONE_SET: &str = "one set";
pub const TWO_SETS: &str = "two sets";

/// The case of a row.
pub fn case(mode: &str, callers: &str) -> String {
    format!("{mode}, {callers}")
}

/// A server and what its rows are called.
struct Kind {
    module: Module,
    mode: Mode,
    limit: Option<u32>,
    name: &'static str,
}

fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for module in Module::all() {
        kinds.push(Kind { module, mode: Mode::List, limit: Some(1), name: LIMIT });
        kinds.push(Kind { module, mode: Mode::List, limit: None, name: ALL });
    }
    for (mode, name) in [(1, "lean 1"), (2, "lean 2")] {
        kinds.push(Kind { module: Module::Ours, mode: Mode::Lean(mode), limit: None, name });
    }
    kinds
}

/// One loop by one or two workers, or the empty one.
struct Subject {
    server: usize,
    callers: usize,
    nothing: bool,
    rounds: u32,
}

fn measure() -> Vec<Row> {
    if machine::cores() < 2 {
        println!("skipped: there is one core");
        return Vec::new();
    }
    ALLOCATORS.into_iter().flat_map(by).collect()
}

fn by(allocator: &str) -> Vec<Row> {
    let kinds = kinds();
    let lists = destinations(1, SIZE) + &destinations(2, SIZE);
    let start = |kind: &Kind| {
        let statements = [1, 2].map(|set| select(set, ALGORITHM, kind.limit));
        let builder = kind.module.server(allocator).list(lists.as_str()).modparam(&kind.mode.parameters());
        let looping = Looping::start(builder, &statements, 2);
        workers(looping.server()).into_iter().enumerate().for_each(|(core, pid)| pin(pid, core));
        looping
    };
    let mut servers: Vec<Looping> = kinds.iter().map(start).collect();
    let mut subjects = Vec::new();
    for (server, kind) in kinds.iter().enumerate() {
        for nothing in [true, false] {
            let name = if nothing { NOTHING.into() } else { selection(1, ALGORITHM, kind.limit) };
            let rounds = servers[server].rounds(&name, TURN);
            let each = (0..CALLERS.len()).filter(|callers| !nothing || CALLERS[*callers].0 != TWO_SETS);
            subjects.extend(each.map(|callers| Subject { server, callers, nothing, rounds }));
        }
    }
    let times = in_turns(TURNS, &subjects, |subject| {
        let name = |set: u32| match subject.nothing {
            true => NOTHING.into(),
            false => selection(set, ALGORITHM, kinds[subject.server].limit),
        };
        let server = &mut servers[subject.server];
        let seconds = match *CALLERS[subject.callers].1 {
            [one, other] => server.together([&name(one), &name(other)], subject.rounds),
            _ => server.alone(&name(1), subject.rounds),
        };
        seconds / f64::from(subject.rounds) * 1e6
    });
    let of = |server: usize, callers: usize, nothing: bool| -> Option<&Times> {
        let fits = |s: &Subject| s.server == server && s.callers == callers && s.nothing == nothing;
        times.get(subjects.iter().position(fits)?)
    };
    let mut rows: Vec<Row> = Vec::new();
    for (server, kind) in kinds.iter().enumerate() {
        for (callers, (called, sets)) in CALLERS.iter().enumerate() {
            let (Some(with), Some(without)) = (of(server, callers, false), of(server, sets.len() - 1, true))
            else {
                continue;
            };
            let summary = Summary::beyond(with, without);
            let name = case(kind.name, called);
            match rows.iter_mut().find(|row| row.case == name) {
                Some(row) => row.figures.push((kind.module.name().into(), summary)),
                None => rows.push(
                    Row::new(allocator, &name, Some(ALGORITHM), SIZE).with(kind.module.name(), summary),
                ),
            }
        }
    }
    rows
}

fn plots(figures: &Figures) -> Vec<Plot> {
    let plot = |allocator: &str| {
        let mut bars = Vec::new();
        for (mode, who, ink) in [
            (LIMIT, STOCK, Ink::Stock),
            (LIMIT, OURS, Ink::Ours),
            ("lean 1", OURS, Ink::LeanOne),
            ("lean 2", OURS, Ink::LeanTwo),
        ] {
            for (callers, _) in CALLERS {
                let found = figures.get(allocator, &case(mode, callers), Some(ALGORITHM), SIZE as u64, who);
                let name = format!("{who}, {mode}, {callers}");
                bars.extend(found.map(|summary| Bar { name, ink, value: summary.best }));
            }
        }
        Plot {
            file: format!("two-workers-{allocator}"),
            title: format!("Algorithm 10 of {SIZE} by two workers, allocator {allocator}"),
            shape: Shape::Bars { unit: "µs a selection, of each worker".into(), bars, mark: None },
        }
    };
    ALLOCATORS.map(plot).into()
}
