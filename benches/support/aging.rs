//! Servers with a past.
//!
//! Nearly all of the cost of a selection may be the host's allocator. `qm` keeps a list of free blocks for each size, and looks
//! through the lists of all greater sizes until one has a block: two thousand, where memory is new. How long that takes is a
//! matter of luck then, and two servers that do the same differ by a half. So each server is aged first, in the same way, its
//! shared memory and the private one of each worker: it is filled with texts of many sizes, and every other one is taken out.
//! After that each does only what is measured of it.

use crate::servers::Kamailio;
use crate::servers::server_config::Builder;
use crate::support::processes::workers;
use std::collections::HashSet;
use std::fmt::Write;
use std::time::Duration;

/// Entries of the table.
const ENTRIES: u32 = 20_000;
/// Their sizes, in bytes: up to a transaction's.
const SIZES: usize = 8_000;
/// The sizes of private texts, and how many of each: a message leaves dozens of small blocks and a few large ones.
const PRIVATE: [(usize, usize, usize); 2] = [(8, 264, 40), (264, 4_104, 8)];
const STEPS: usize = 16;
/// Requests to age private memory, until each worker has taken one.
const TRIES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a script may loop.
pub const MOST_ROUNDS: u32 = 1_000_000;

const ROUTE: &str = r#"request_route {
	if (is_method("OPTIONS") && $rU == "age") {
		$var(i) = 0;
		while ($var(i) < $(hdr(X-Entries){s.int})) {
			$var(size) = 1 + $var(i) * 37 mod $(hdr(X-Text){s.len});
			$sht(age=>$var(i)) = $(hdr(X-Text){s.substr,0,$var(size)});
			$var(i) = $var(i) + 1;
		}
		while ($var(i) > 0) { $var(i) = $var(i) - 2; $sht(age=>$var(i)) = $null; }
		sl_send_reply("200", "Aged");
		exit;
	}
	if (is_method("OPTIONS") && $rU == "agealone") {
		route(AGE_ALONE);
		sl_send_reply("200", "$pp");
		exit;
	}
"#;

/// Fills the private memory of the worker that runs it. A variable keeps its text there from one message to the next.
fn age_alone() -> String {
    let sizes = |(least, most, each): (usize, usize, usize)| {
        let sizes = (least..most).step_by((most - least) / STEPS);
        sizes.flat_map(move |size| std::iter::repeat_n(size, each))
    };
    let (mut filled, mut taken) = (String::new(), String::new());
    for (at, size) in PRIVATE.into_iter().flat_map(sizes).enumerate() {
        writeln!(filled, "\t$var(age{at}) = $(hdr(X-Text){{s.substr,0,{size}}});").unwrap();
        if at % 2 == 0 {
            writeln!(taken, "\t$var(age{at}) = 0;").unwrap();
        }
    }
    format!("route[AGE_ALONE] {{\n{filled}{taken}}}\n")
}

/// Starts a server with this routing, and ages it.
pub fn start(builder: Builder, route: &str) -> Kamailio {
    let server = builder
        .module("htable")
        .modparam("modparam(\"htable\", \"htable\", \"age=>size=12;\")")
        .globals(&format!("max_while_loops={MOST_ROUNDS}"))
        .route(&(route.replacen("request_route {\n", ROUTE, 1) + &age_alone()))
        .start();
    let mut agent = server.agent();
    let mut ask = |user: &str| {
        let mut call = agent.call();
        call.uri = format!("sip:{user}@{}", server.address());
        let entries = ENTRIES.to_string();
        agent.send(&call.within("OPTIONS").with("X-Entries", entries).with("X-Text", "x".repeat(SIZES)));
        let answer = agent.receive(PATIENCE).expect("an answer");
        assert_eq!(answer.status(), Some(200), "{}", server.log());
        answer.start
    };
    ask("age");
    let mut alone = HashSet::new();
    let all = workers(&server).len();
    for _ in 0..TRIES {
        alone.insert(ask("agealone"));
        if alone.len() == all {
            return server;
        }
    }
    panic!("{} of {all} workers aged", alone.len());
}
