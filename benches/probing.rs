//! What probing costs a selection: two of our servers with the same lists, of which one probes two thousand destinations
//! that are in a set of their own.
//!
//! The best of the turns shows what probing does to the data that a selection reads, the median also the processor time that
//! it takes.

use crate::selection::{ALL, Mode, NO_LIST};
use crate::servers::Probed;
use crate::support::figures::{Figures, Row, Summary};
use crate::support::modules::Module;
use crate::support::plot::Plot;
use crate::support::script_loop::{Looping, NOTHING, select, selection};
use crate::support::turns::in_turns;
use crate::{Group, destinations};
use std::time::Duration;

pub const GROUP: Group = Group {
    name: "probing",
    title: "A selection while others are probed",
    unit: "microseconds a selection",
    size: "destinations",
    about: "Two servers of ours with the same lists, in the script as above; one of them probes 2 000 destinations of another set every \
            10 seconds. The best shows what probing does to the data that a selection reads, the median also the processor time \
            that it takes.",
    measure,
    plots,
};

/// Probed meanwhile, and how often in seconds.
const OTHERS: usize = 2_000;
const INTERVAL: u64 = 10;
const SIZE: usize = 30;
/// Many: what is looked for is small.
const TURNS: usize = 41;
const TURN: Duration = Duration::from_millis(40);
const ALGORITHMS: [u32; 4] = [0, 4, 8, 10];

fn measure() -> Vec<Row> {
    [(NO_LIST, Mode::NoList), (ALL, Mode::List)].into_iter().flat_map(|(case, mode)| of(case, mode)).collect()
}

fn of(case: &str, mode: Mode) -> Vec<Row> {
    let gateways = Probed::start();
    // Nothing answers at the addresses of the first set: they have the flag for no probes.
    let quiet = destinations(1, SIZE).replace(" 0 0 ", " 32 0 ");
    let lists = quiet + &gateways.list(2, OTHERS, "");
    let statements = ALGORITHMS.map(|algorithm| select(1, algorithm, None));
    let parameters = format!(
        "modparam(\"dispatcher\", \"ds_ping_interval\", {INTERVAL})\nmodparam(\"dispatcher\", \"ds_probing_mode\", 1)"
    );
    let mut servers = ["", &parameters].map(|more| {
        let builder =
            Module::Ours.server("fm").list(lists.as_str()).modparam(&mode.parameters()).modparam(more);
        Looping::start(builder, &statements, 2)
    });
    gateways.wait_for(OTHERS, Duration::from_secs(INTERVAL * 3));
    gateways.forget();
    let begun = std::time::Instant::now();
    let mut subjects = Vec::new();
    for name in ALGORITHMS.map(|algorithm| selection(1, algorithm, None)).into_iter().chain([NOTHING.into()])
    {
        for server in [0, 1] {
            let rounds = servers[server].rounds(&name, TURN);
            subjects.push((server, name.clone(), rounds));
        }
    }
    let times = in_turns(TURNS, &subjects, |(server, name, rounds)| {
        servers[*server].alone(name, *rounds) / f64::from(*rounds) * 1e6
    });
    let rate = gateways.count("OPTIONS") as f64 / begun.elapsed().as_secs_f64();
    println!("{case}: {rate:.0} probes a second meanwhile");
    let beyond = |at: usize, server: usize| {
        Summary::beyond(&times[at * 2 + server], &times[ALGORITHMS.len() * 2 + server])
    };
    let row = |(at, algorithm): (usize, u32)| {
        let row = Row::new("fm", case, Some(algorithm), SIZE);
        row.with("not probing", beyond(at, 0)).with("probing", beyond(at, 1))
    };
    ALGORITHMS.into_iter().enumerate().map(row).collect()
}

fn plots(_: &Figures) -> Vec<Plot> {
    Vec::new()
}
