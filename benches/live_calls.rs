//! What one of very many live calls costs: its look-up in `ds_load_update`, its end, and its memory.
//!
//! The server is filled with calls step by step. At each step replies and BYEs of calls from all over the table arrive, and
//! the processor time of the worker counts; that of the same messages without `ds_load_update` is taken off.

use crate::Group;
use crate::servers::Kamailio;
use crate::support::figures::{Figures, OURS, Row, STOCK, Summary};
use crate::support::modules::{ALLOCATORS, Module};
use crate::support::plot::{Bar, Ink, Plot, Series, Shape};
use crate::support::processes::{processor_time, workers};
use crate::support::traffic::Ends;
use crate::support::turns::{Times, in_turns};
use serde_json::json;

pub const GROUP: Group = Group {
    name: "live_calls",
    title: "Live calls: `ds_load_update` and memory",
    unit: "microseconds, or bytes, as the row says",
    size: "live calls",
    about: "A server is filled with calls by algorithm 10 over 30 gateways (Call-IDs as long as a UUID). Then 200s to the INVITEs of \
            calls from all over the table arrive, and BYEs, each of another call; the processor time of the worker a message counts, \
            less that of the same message without `ds_load_update`. The stock module needs `ds_hash_size`: 8 (as its manual has it), \
            and 16. Memory is all that the server's shared memory has lost to the calls, the allocator's own share included; our first calls have room from the start.",
    measure,
    plots,
};

const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];
/// With a table of 256 parts the stock module takes minutes to be filled with more.
const MOST_OTHERWISE: u32 = 100_000;
const GATEWAYS: usize = 30;
const TURNS: usize = 41;
/// Messages of a turn, and how many are on their way at a time: what the server's socket has room for.
const MESSAGES: u32 = 1_000;
const AT_ONCE: u32 = 100;
const SHM: u32 = 1_024;
const STOCK_LARGE: &str = "stock, ds_hash_size 16";
const MEMORY: &str = "shared memory a call, bytes";
const CONFIRM: &str = "ds_load_update at a 200, µs";
const RELEASE: &str = "ds_load_update at a BYE, µs";

/// The user of a request, and the status of a reply, say what is to be done with it.
const ROUTE: &str = r#"
request_route {
	if (is_method("INVITE")) { if (ds_select_dst("1", "10")) forward(); exit; }
	if (is_method("BYE") && $rU == "counted") ds_load_update();
	exit;
}
onreply_route {
	if (status == "200") ds_load_update();
	drop;
}
"#;

/// What is sent in a turn.
#[derive(Clone, Copy)]
enum What {
    Reply(&'static str),
    Bye(&'static str),
}

const SUBJECTS: [What; 4] =
    [What::Reply("299"), What::Reply("200"), What::Bye("plain"), What::Bye("counted")];

struct Filled {
    server: Kamailio,
    worker: Vec<i64>,
    ends: Ends,
    calls: u32,
    empty: i64,
}

impl Filled {
    fn start(module: Module, allocator: &str, hash_size: Option<u32>) -> Filled {
        let ends = Ends::bind();
        let mut builder =
            module.server(allocator).list(ends.gateways(1, GATEWAYS)).route(ROUTE).shm_megabytes(SHM);
        builder = builder.modparam("modparam(\"dispatcher\", \"flags\", 2)");
        if let Some(size) = hash_size {
            builder = builder.modparam(&format!("modparam(\"dispatcher\", \"ds_hash_size\", {size})"));
        }
        let server = builder.start();
        let worker = workers(&server);
        let empty = used(&server);
        Filled { server, worker, ends, calls: 0, empty }
    }

    /// Places this call; what the gateway gets shows that it is done.
    fn invite(&self, call: u32) {
        let start = format!("INVITE sip:callee@{} SIP/2.0", self.server.address());
        self.ends.send(self.server.address(), &self.ends.message(&start, "", &name(call), "1 INVITE", ""));
    }

    fn invite_all(&mut self, calls: impl Iterator<Item = u32>) {
        let mut open = 0;
        for call in calls {
            self.invite(call);
            open += 1;
            if open == AT_ONCE {
                (0..open).for_each(|_| drop(self.ends.receive()));
                open = 0;
            }
        }
        (0..open).for_each(|_| drop(self.ends.receive()));
    }

    fn fill(&mut self, calls: u32) {
        self.invite_all(self.calls..calls);
        self.calls = calls;
        assert_eq!(self.server.total_load(), i64::from(calls), "{}", self.server.log());
    }

    /// Calls from all over the table.
    fn some(&self) -> impl Iterator<Item = u32> + use<> {
        let (calls, step) = (self.calls, self.calls / MESSAGES);
        (0..MESSAGES).map(move |n| (n * step + step / 2) % calls)
    }

    /// Microseconds of the worker for one of these messages.
    fn turn(&mut self, what: What) -> f64 {
        let before = processor_time(&self.worker);
        for (n, call) in (1..).zip(self.some()) {
            self.send(what, call);
            if n % AT_ONCE == 0 {
                // One worker reads in order: what comes back has all of them before it.
                self.ends.ready(self.server.address());
            }
        }
        let took = processor_time(&self.worker) - before;
        if let What::Bye("counted") = what {
            self.invite_all(self.some());
        }
        took / f64::from(MESSAGES) / 1e3
    }

    fn send(&self, what: What, call: u32) {
        let server = self.server.address();
        let text = match what {
            What::Reply(status) => {
                // To the server's own Via above ours, as it sent the INVITE.
                let via = format!("SIP/2.0 {status} OK\r\nVia: SIP/2.0/UDP {server};branch=z9hG4bKcydzigwkX");
                self.ends.message(&via, ";tag=gw", &name(call), "1 INVITE", "")
            }
            What::Bye(user) => {
                let start = format!("BYE sip:{user}@{server} SIP/2.0");
                self.ends.message(&start, ";tag=gw", &name(call), "2 BYE", "")
            }
        };
        self.ends.send(server, &text);
    }
}

/// As long as a UUID.
fn name(call: u32) -> String {
    format!("{:08x}-0000-4000-8000-{call:012x}", call.wrapping_mul(0x9e37_79b9))
}

fn used(server: &Kamailio) -> i64 {
    let answer = server.rpc("core.shmmem", json!([])).expect("core.shmmem");
    answer["real_used"].as_i64().expect("core.shmmem has real_used")
}

fn measure() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for allocator in ALLOCATORS {
        for (module, hash_size, who) in [
            (Module::Ours, None, OURS),
            (Module::Stock, Some(8), STOCK),
            (Module::Stock, Some(16), STOCK_LARGE),
        ] {
            let mut filled = Filled::start(module, allocator, hash_size);
            // The allocator is no matter to a look-up, and its share of a call's memory shows among fewer, too.
            let most = if allocator == "fm" && who != STOCK { u32::MAX } else { MOST_OTHERWISE };
            for size in SIZES.into_iter().filter(|size| *size <= most) {
                filled.fill(size);
                let bytes = (used(&filled.server) - filled.empty) as f64 / f64::from(size);
                let times = in_turns(TURNS, &SUBJECTS, |what| filled.turn(*what));
                let beyond = |with: &Times, without: &Times| Summary::beyond(with, without);
                for (case, summary) in [
                    (CONFIRM, beyond(&times[1], &times[0])),
                    (RELEASE, beyond(&times[3], &times[2])),
                    (MEMORY, bytes.into()),
                ] {
                    let fits = |row: &&mut Row| {
                        row.allocator == allocator && row.case == case && row.size == u64::from(size)
                    };
                    match rows.iter_mut().find(fits) {
                        Some(row) => row.figures.push((who.into(), summary)),
                        None => rows.push(Row::new(allocator, case, Some(10), size).with(who, summary)),
                    }
                }
            }
        }
    }
    rows
}

fn plots(figures: &Figures) -> Vec<Plot> {
    let line = |name: &str, case: &str, who: &str, ink, dashed| {
        let point = |size: u32| {
            figures.get("fm", case, Some(10), size.into(), who).map(|summary| (f64::from(size), summary.best))
        };
        Series { name: name.into(), ink, dashed, points: SIZES.into_iter().filter_map(point).collect() }
    };
    let series = vec![
        line("stock (8), 200", CONFIRM, STOCK, Ink::Stock, false),
        line("stock (8), BYE", RELEASE, STOCK, Ink::Stock, true),
        line("stock (16), 200", CONFIRM, STOCK_LARGE, Ink::Plain, false),
        line("stock (16), BYE", RELEASE, STOCK_LARGE, Ink::Plain, true),
        line("ours, 200", CONFIRM, OURS, Ink::Ours, false),
        line("ours, BYE", RELEASE, OURS, Ink::Ours, true),
    ];
    let mut bars = Vec::new();
    for row in figures.rows.iter().filter(|row| row.case == MEMORY && row.size == 100_000) {
        for (who, ink) in [(OURS, Ink::Ours), (STOCK, Ink::Stock)] {
            let name = format!("{who}, allocator {}", row.allocator);
            bars.extend(row.of(who).map(|summary| Bar { name, ink, value: summary.best }));
        }
    }
    vec![
        Plot {
            file: "load-update".into(),
            title: "ds_load_update among live calls, allocator fm (stock: ds_hash_size)".into(),
            shape: Shape::Lines { x: "live calls".into(), y: "µs a message".into(), series },
        },
        Plot {
            file: "memory".into(),
            title: "Shared memory of a live call, of 100 000".into(),
            shape: Shape::Bars { unit: "bytes a call".into(), bars, mark: None },
        },
    ]
}
