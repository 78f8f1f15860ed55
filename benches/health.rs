//! What the rules of health cost a selection: all of them on, beside none.

use crate::servers::server_config::Builder;
use crate::support::figures::{Figures, Row, Summary};
use crate::support::modules::{ALLOCATORS, Module};
use crate::support::plot::Plot;
use crate::support::script_loop::{Looping, NOTHING, select, selection};
use crate::support::turns::{Times, in_turns};
use crate::{Group, destinations};
use std::time::Duration;

pub const GROUP: Group = Group {
    name: "health",
    title: "What rules of health cost a selection",
    unit: "microseconds a selection",
    size: "destinations",
    about: "One request loops over `ds_select_dst` with limit 1, for algorithm 10 with `ds_load_unset`, and the empty loop is taken off. With 101 the call counts \
            by `ds_load_auto` 1, and goes where it is. `health` has slow starts (`ds_slowstart`), failed calls that weigh on (`ds_failure_decay`), a bound for keys \
            (`hash_balance`) and passive health (`ds_passive_health`). What becomes of calls is followed by `tm` once a call: that is part of \
            [a whole relayed call](#a-whole-relayed-call). `copy` is the same module in another server.",
    measure,
    plots: |_: &Figures| Vec::<Plot>::new(),
};

pub const SIZES: [usize; 2] = [30, 3_000];
pub const ALGORITHMS: [u32; 3] = [4, 10, CONSISTENT];
const CONSISTENT: u32 = 101;
pub const WITHOUT: &str = "none";
pub const WITH: &str = "health";
const TURNS: usize = 75;
/// How long a request loops.
const TURN: Duration = Duration::from_millis(5);
const SHM: u32 = 512;
/// A bound, in percent, that the one call of a loop stays below, as the calls of most gateways do.
const HIGH: u32 = 1_000_000;
const LIMIT: Option<u32> = Some(1);

/// A server that `follows` calls, with all rules of health or with none.
pub fn with_health(builder: Builder, follows: bool, health: bool) -> Builder {
    let parameters = [
        ("ds_load_auto", 1, follows),
        ("ds_limits", 1, health),
        ("ds_slowstart", 60, health),
        ("ds_failure_decay", 10, health),
        ("hash_balance", HIGH, health),
        ("ds_passive_health", 1, health),
    ];
    let on = parameters.into_iter().filter(|(_, _, on)| *on);
    on.fold(builder, |builder, (name, value, _)| {
        builder.modparam(&format!("modparam(\"dispatcher\", \"{name}\", {value})"))
    })
}

/// A server, and the algorithms that it is asked for.
struct Kind {
    module: Module,
    case: &'static str,
    algorithms: &'static [u32],
}

fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for module in [Module::Ours, Module::Copy] {
        for case in [WITHOUT, WITH] {
            let of = |algorithms| Kind { module, case, algorithms };
            kinds.extend([of(&[4, 10]), of(&[CONSISTENT])]);
        }
    }
    kinds
}

/// One loop on one server.
struct Subject {
    server: usize,
    name: String,
    rounds: u32,
}

fn measure() -> Vec<Row> {
    ALLOCATORS.into_iter().flat_map(|allocator| SIZES.map(|size| at(allocator, size))).flatten().collect()
}

fn at(allocator: &str, size: usize) -> Vec<Row> {
    let kinds = kinds();
    let start = |Kind { module, case, algorithms }: &Kind| {
        let builder = module.server(allocator).list(destinations(1, size)).shm_megabytes(SHM);
        let builder = builder.modparam("modparam(\"dispatcher\", \"flags\", 2)");
        let builder = with_health(builder, algorithms.contains(&CONSISTENT), *case == WITH);
        let statements: Vec<_> = algorithms.iter().map(|algorithm| select(1, *algorithm, LIMIT)).collect();
        Looping::start(builder, &statements, 1)
    };
    let mut servers: Vec<Looping> = kinds.iter().map(start).collect();
    let mut subjects = Vec::new();
    for (server, kind) in kinds.iter().enumerate() {
        let names = kind.algorithms.iter().map(|algorithm| selection(1, *algorithm, LIMIT));
        for name in names.chain([NOTHING.into()]) {
            let rounds = servers[server].rounds(&name, TURN);
            subjects.push(Subject { server, name, rounds });
        }
    }
    let times = in_turns(TURNS, &subjects, |subject| {
        servers[subject.server].alone(&subject.name, subject.rounds) / f64::from(subject.rounds) * 1e6
    });
    let of = |server: usize, name: &str| -> &Times {
        let at = subjects.iter().position(|subject| subject.server == server && subject.name == name);
        &times[at.expect("a loop that was measured")]
    };
    let row = |(algorithm, case): (u32, &'static str)| {
        let is_it = |(_, kind): &(usize, &Kind)| kind.case == case && kind.algorithms.contains(&algorithm);
        let row = Row::new(allocator, case, Some(algorithm), size);
        kinds.iter().enumerate().filter(is_it).fold(row, |row, (server, kind)| {
            let selected = of(server, &selection(1, algorithm, LIMIT));
            row.with(kind.module.name(), Summary::beyond(selected, of(server, NOTHING)))
        })
    };
    ALGORITHMS.into_iter().flat_map(|algorithm| [WITHOUT, WITH].map(|case| row((algorithm, case)))).collect()
}
