//! What the rules of health cost a selection: all of them on, beside none.

use crate::servers::server_config::Builder;
use crate::support::figures::{Figures, Row, Summary};
use crate::support::modules::{ALLOCATORS, Module};
use crate::support::plot::Plot;
use crate::support::script_loop::{Looping, NOTHING, Statement, selection};
use crate::support::turns::{Times, in_turns};
use crate::{Group, destinations};
use std::time::Duration;

pub const GROUP: Group = Group {
    name: "health",
    title: "What rules of health cost a selection",
    unit: "microseconds a selection",
    size: "destinations",
    about: "One request loops over `ds_select_dst` with limit 1 and `ds_load_unset`, and the empty loop is taken off; with `ds_load_auto` 1, so that each call \
            counts by each algorithm. `health` has slow starts (`ds_slowstart`), failed calls that weigh on (`ds_failure_decay`), a bound for keys \
            (`hash_balance`) and passive health (`ds_passive_health`). What becomes of calls is followed by `tm` once a call: that is part of \
            [a whole relayed call](#a-whole-relayed-call). `copy` is the same module in another server.",
    measure,
    plots: |_: &Figures| Vec::<Plot>::new(),
};

pub const SIZES: [usize; 2] = [30, 3_000];
pub const ALGORITHMS: [u32; 3] = [4, 10, 101];
pub const WITHOUT: &str = "none";
pub const WITH: &str = "health";
const TURNS: usize = 75;
/// How long a request loops.
const TURN: Duration = Duration::from_millis(5);
const SHM: u32 = 512;
const LIMIT: Option<u32> = Some(1);

/// A server that follows calls, with all rules of health or with none.
pub fn with_health(builder: Builder, health: bool) -> Builder {
    let parameters = [
        ("ds_load_auto", 1, true),
        ("ds_slowstart", 60, health),
        ("ds_failure_decay", 10, health),
        ("hash_balance", 25, health),
        ("ds_passive_health", 1, health),
    ];
    let on = parameters.into_iter().filter(|(_, _, on)| *on);
    on.fold(builder, |builder, (name, value, _)| {
        builder.modparam(&format!("modparam(\"dispatcher\", \"{name}\", {value})"))
    })
}

/// A selection, and the end of the call.
fn selected_and_over(algorithm: u32) -> Statement {
    let text = format!(
        "if (!ds_select_dst(\"1\", \"{algorithm}\", \"1\")) {{ sl_send_reply(\"500\", \"No\"); exit; }} ds_load_unset();"
    );
    Statement::new(selection(1, algorithm, LIMIT), text)
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
    let kinds = [Module::Ours, Module::Copy].map(|module| [(module, WITHOUT), (module, WITH)]).concat();
    let start = |(module, case): &(Module, &str)| {
        let builder = module.server(allocator).list(destinations(1, size)).shm_megabytes(SHM);
        let builder = builder.modparam("modparam(\"dispatcher\", \"flags\", 2)");
        Looping::start(with_health(builder, *case == WITH), &ALGORITHMS.map(selected_and_over), 1)
    };
    let mut servers: Vec<Looping> = kinds.iter().map(start).collect();
    let mut subjects = Vec::new();
    for (server, looping) in servers.iter_mut().enumerate() {
        let names = ALGORITHMS.map(|algorithm| selection(1, algorithm, LIMIT));
        for name in names.into_iter().chain([NOTHING.into()]) {
            let rounds = looping.rounds(&name, TURN);
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
    let mut rows: Vec<Row> = Vec::new();
    for algorithm in ALGORITHMS {
        for case in [WITHOUT, WITH] {
            let mut row = Row::new(allocator, case, Some(algorithm), size);
            for (server, (module, _)) in kinds.iter().enumerate().filter(|(_, kind)| kind.1 == case) {
                let beyond =
                    Summary::beyond(of(server, &selection(1, algorithm, LIMIT)), of(server, NOTHING));
                row = row.with(module.name(), beyond);
            }
            rows.push(row);
        }
    }
    rows
}
