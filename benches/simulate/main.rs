//! `make simulate`: the module's own code chooses for modelled gateways, beside rules of others, and `docs/balance.md` says what came of
//! it. The same numbers each time: all chance comes from one seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

// What the benchmarks have that is of use here, too.
#[path = "../support/in_process.rs"]
#[allow(dead_code)] // calls have keys of their own here
mod in_process;
#[path = "../support/numbers.rs"]
mod numbers;
#[path = "../support/plot.rs"]
#[allow(dead_code)] // lines are for benchmarks
mod plot;

mod keys;
mod page;
mod passive;
mod ramp;
mod random;
mod rules;
mod world;

use rules::Rule::{
    self, Bounded, FewestTransactions, LeastWork, Ours, Passive, Slow, Stock10, TwoChoices, Weighing,
};
use world::{Case, Lengths, Odd};

const ALL: &[Rule] = &[
    Ours(0),
    Ours(4),
    Ours(6),
    Ours(9),
    Ours(10),
    Ours(100),
    Ours(101),
    Stock10,
    TwoChoices,
    FewestTransactions,
    LeastWork,
];
/// The same where gateways fail calls.
const OF_FAILING: &[Rule] = &[
    Ours(0),
    Ours(4),
    Ours(6),
    Ours(9),
    Ours(10),
    Weighing(10),
    Ours(100),
    Weighing(100),
    Ours(101),
    Passive(0),
    Passive(4),
    Passive(10),
    Passive(101),
    Stock10,
    TwoChoices,
    FewestTransactions,
    LeastWork,
];
/// Where failures are nobody's fault, or everybody's.
const OF_NO_FAULT: &[Rule] = &[Passive(0), Passive(4), Passive(10), Passive(101)];
/// Those that do not walk over three thousand gateways for each call.
const OF_MANY: &[Rule] = &[Ours(0), Ours(4), Ours(6), Ours(9), Ours(10), Ours(100), Ours(101)];

/// With slow starts and without.
const OF_RETURN: &[Rule] = &[Ours(10), Slow(10), Ours(100), Slow(100), Ours(9), Slow(9)];
/// A hash beside rules that bound what a key may have.
const OF_KEYS: &[Rule] = &[
    Ours(0),
    Ours(4),
    Ours(6),
    Ours(9),
    Ours(10),
    Ours(100),
    Ours(101),
    Bounded(10),
    Bounded(25),
    Bounded(50),
    Stock10,
    TwoChoices,
    FewestTransactions,
    LeastWork,
];

fn cases() -> Vec<Case> {
    let alike = || Case {
        name: "Gateways alike",
        about: "Ten gateways of 100 channels, calls of 60 seconds (log-normal, sigma 1.5), 80 % of all channels offered.",
        sizes: vec![100; 10],
        offered: 0.8,
        length: 60.0,
        lengths: Lengths::LogNormal,
        bursts: false,
        users: 0,
        odd: Odd::None,
        tries: 2,
        calls: 100_000,
        rules: ALL,
    };
    vec![
        alike(),
        Case {
            name: "A few very long calls",
            about: "The same with lengths of a heavy tail (Pareto, 1.5): a few calls last for hours.",
            lengths: Lengths::Pareto,
            ..alike()
        },
        Case {
            name: "Bursts",
            about: "The same, but calls come nearly four times as often for six seconds of each minute.",
            bursts: true,
            ..alike()
        },
        Case {
            name: "Gateways of two sizes",
            about: "Five gateways of 50 channels and five of 200.",
            sizes: [50, 200].repeat(5),
            ..alike()
        },
        Case {
            name: "Hot callers",
            about: "Gateways alike; of 1 000 callers the nth calls as often as the first one divided by n. The key of 0 and 101 is the caller.",
            users: 1_000,
            rules: OF_KEYS,
            ..alike()
        },
        Case {
            name: "One refuses at once",
            about: "Gateways alike, 70 % offered; one answers each INVITE with 503 at once and OPTIONS with 200.",
            offered: 0.7,
            odd: Odd::Refuses,
            rules: OF_FAILING,
            ..alike()
        },
        Case {
            name: "One is silent",
            about: "Gateways alike, 70 % offered; one answers no INVITE, and OPTIONS with 200. The proxy waits for five seconds.",
            offered: 0.7,
            odd: Odd::Silent,
            rules: OF_FAILING,
            ..alike()
        },
        Case {
            name: "Fifty calls a second, one refuses",
            about: "Ten gateways of 400 channels, calls of 56 seconds, 70 % offered: fifty come in a second. One gateway answers each INVITE with 503 at once.",
            sizes: vec![400; 10],
            offered: 0.7,
            length: 56.0,
            odd: Odd::Refuses,
            rules: &[Ours(4), Ours(10), Ours(101), Passive(4), Passive(10), Passive(101)],
            ..alike()
        },
        Case {
            name: "A dead number",
            about: "Gateways alike, 70 % offered. One call in five goes to a number that no gateway gets an answer from, each from another caller; the script does not fail over.",
            offered: 0.7,
            odd: Odd::DeadNumber,
            tries: 1,
            rules: OF_NO_FAULT,
            ..alike()
        },
        Case {
            name: "Calls that all refuse",
            about: "Gateways alike, 70 % offered. One call in fifty is answered with 500 by every gateway, and the script tries all ten.",
            offered: 0.7,
            odd: Odd::BadCalls,
            tries: 10,
            rules: OF_NO_FAULT,
            ..alike()
        },
        Case {
            name: "All refuse",
            about: "Each of ten gateways answers each INVITE with 503 at once; the script does not fail over.",
            offered: 0.7,
            odd: Odd::All,
            tries: 1,
            rules: OF_NO_FAULT,
            ..alike()
        },
        Case {
            name: "One returns",
            about: "Gateways alike, 70 % offered; one is down, which probes know, and comes back after half of the time.",
            offered: 0.7,
            odd: Odd::Returns,
            ..alike()
        },
        Case {
            name: "One returns, fifty calls a second",
            about: "Ten gateways of 430 channels; one is down, which probes know, and comes back after half of the time. Slow starts take 60 seconds.",
            sizes: vec![430; 10],
            offered: 50.0 * 60.0 / 4300.0,
            odd: Odd::Returns,
            calls: 60_000,
            rules: OF_RETURN,
            ..alike()
        },
        Case {
            name: "Three thousand gateways",
            about: "Gateways alike, a million calls.",
            sizes: vec![100; 3_000],
            calls: 1_000_000,
            rules: OF_MANY,
            ..alike()
        },
    ]
}

fn main() {
    let mut all = Vec::new();
    for case in cases() {
        println!("{}", case.name);
        let mut outcomes = Vec::new();
        for rule in case.rules {
            let outcome = world::run(&case, *rule);
            println!("  {}", page::line(&case, *rule, &outcome).join("  "));
            outcomes.push((*rule, outcome));
        }
        all.push((case, outcomes));
    }
    page::write(&all);
}
