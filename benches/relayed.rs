//! The processor time of a whole relayed call, beside one that goes to a fixed `$du`.
//!
//! Each call is INVITE, 200, ACK, BYE, 200, record-routed, through a server with one worker. What counts is the time that all
//! its processes have taken, as the kernel knows it, until the last transaction is freed.

use crate::Group;
use crate::health::with_health;
use crate::selection::{ALL, LIMIT, Mode};
use crate::servers::{Kamailio, until};
use crate::support::aging;
use crate::support::figures::{Figures, OURS, Row, STOCK};
use crate::support::machine;
use crate::support::modules::{ALLOCATORS, Module};
use crate::support::numbers::whole;
use crate::support::plot::{Bar, Ink, Plot, Shape};
use crate::support::processes::{pin, processor_time, workers, working};
use crate::support::traffic::Ends;
use crate::support::turns::in_turns;
use serde_json::json;
use std::time::Duration;

pub const GROUP: Group = Group {
    name: "relayed",
    title: "A whole relayed call",
    unit: "microseconds of processor time a call",
    size: "destinations",
    about: "INVITE, 200, ACK, BYE and 200 through `tm` with `record_route`, algorithm 10 with `ds_load_update`; caller and gateways \
            are one thread of the benchmark, eight calls at a time, one worker. The processor time of all processes of the server \
            is read from the kernel (`/proc/<pid>/schedstat`) before the calls and after the last transaction is freed. `fixed $du` \
            does not use the module, which is loaded. `followed` is limit 1 with `ds_load_auto` and no word of counting in the script, `followed, health` the same with all \
            [rules of health](#what-rules-of-health-cost-a-selection).",
    measure,
    plots,
};

const TURNS: usize = 13;
const CALLS: usize = 1_000;
const AT_ONCE: usize = 8;
const ALGORITHM: u32 = 10;
const SHM: u32 = 512;
pub const FIXED: &str = "fixed $du";
pub const FOLLOWED: &str = "followed";
pub const HEALTH: &str = "followed, health";

/// What a server relays; each does one thing only, so that its memory has that past and no other.
struct Kind {
    module: Module,
    mode: Mode,
    /// The name of its row.
    case: &'static str,
    /// How the script selects, by the user of the request URI.
    user: &'static str,
    size: usize,
}

fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for module in Module::all() {
        let stock_contract = |case, user, size| Kind { module, mode: Mode::List, case, user, size };
        kinds.push(stock_contract(FIXED, "fixed", 30));
        kinds.push(stock_contract(LIMIT, "one", 30));
        if module != Module::Copy {
            kinds.push(stock_contract(LIMIT, "one", 3_000));
            kinds.push(stock_contract(ALL, "all", 30));
        }
    }
    // What a server is left with by its start makes a call dearer or cheaper, by a tenth with `qm`: two of each are compared.
    for (module, size) in [(Module::Ours, 30), (Module::Copy, 30), (Module::Ours, 3_000)] {
        for case in [FOLLOWED, HEALTH] {
            kinds.push(Kind { module, mode: Mode::List, case, user: "one", size });
        }
    }
    for (mode, case) in [(1, "lean 1"), (2, "lean 2")] {
        for size in [30, 3_000] {
            kinds.push(Kind { module: Module::Ours, mode: Mode::Lean(mode), case, user: "all", size });
        }
    }
    kinds
}

/// A configuration that counts in the script, with a choice of how to select. The user of the request URI says it in requests within the
/// call, too.
fn route(port: u16, followed: bool) -> String {
    let words = |text: &'static str| if followed { "" } else { text };
    let (ended, armed) = (
        words("if (is_method(\"BYE\") && $rU != \"fixed\") ds_load_update(); "),
        words("t_on_reply(\"COUNTED\"); t_on_failure(\"FAILED\"); "),
    );
    let routes = words(
        "onreply_route[COUNTED] {\n\
         \tif (status =~ \"^2\") ds_load_update();\n\telse if (status =~ \"^[3-7]\") ds_load_unset();\n}\n\
         failure_route[FAILED] {\n\tds_load_unset();\n}\n",
    );
    format!(
        "request_route {{\n\
         \tif (has_totag()) {{\n\
         \t\tif (loose_route()) {{ {ended}t_relay(); }}\n\
         \t\telse if (is_method(\"ACK\") && t_check_trans()) t_relay();\n\
         \t\texit;\n\t}}\n\
         \tt_check_trans();\n\
         \tif (!is_method(\"INVITE\")) {{ sl_send_reply(\"405\", \"Method Not Allowed\"); exit; }}\n\
         \trecord_route();\n\
         \tif ($rU == \"fixed\") {{ $du = \"sip:127.200.0.1:{port}\"; t_relay(); exit; }}\n\
         \tif ($rU == \"one\") $var(found) = ds_select_dst(\"1\", \"{ALGORITHM}\", \"1\");\n\
         \telse $var(found) = ds_select_dst(\"1\", \"{ALGORITHM}\");\n\
         \tif ($var(found) < 0) {{ sl_send_reply(\"404\", \"No destination\"); exit; }}\n\
         \t{armed}t_relay();\n}}\n\
         {routes}"
    )
}

/// A server, and what is known of it once it is up.
struct Relay {
    server: Kamailio,
    processes: Vec<i64>,
    user: &'static str,
}

impl Relay {
    fn start(kind: &Kind, allocator: &str, ends: &Ends) -> Relay {
        let followed = kind.case == FOLLOWED || kind.case == HEALTH;
        let builder = kind
            .module
            .server(allocator)
            .list(ends.gateways(1, kind.size))
            .modparam(&kind.mode.parameters())
            // Transactions go soon after their end, so that a turn need not wait for them.
            .modparam("modparam(\"tm\", \"wt_timer\", 100)")
            .shm_megabytes(SHM);
        let builder = with_health(builder, followed, kind.case == HEALTH);
        let server = aging::start(builder, &route(ends.port(), followed));
        if machine::cores() > 1 {
            workers(&server).into_iter().for_each(|pid| pin(pid, 0));
        }
        let processes = working(&server);
        Relay { server, processes, user: kind.user }
    }

    /// Microseconds of processor time a call.
    fn turn(&self, ends: &mut Ends) -> f64 {
        let before = processor_time(&self.processes);
        ends.calls(self.server.address(), self.user, CALLS, AT_ONCE);
        let freed = until(Duration::from_secs(10), || {
            let now = self.server.rpc("tm.stats", json!([])).expect("tm.stats");
            now["current"].as_i64() == Some(0) && now["waiting"].as_i64() == Some(0)
        });
        assert!(freed, "transactions stay:\n{}", self.server.log());
        (processor_time(&self.processes) - before) / CALLS as f64 / 1e3
    }
}

fn measure() -> Vec<Row> {
    ALLOCATORS.into_iter().flat_map(by).collect()
}

fn by(allocator: &str) -> Vec<Row> {
    let mut ends = Ends::bind();
    let kinds = kinds();
    let relays: Vec<Relay> = kinds.iter().map(|kind| Relay::start(kind, allocator, &ends)).collect();
    // A server that is new takes longer.
    in_turns(1, &relays, |relay| relay.turn(&mut ends));
    let times = in_turns(TURNS, &relays, |relay| relay.turn(&mut ends));
    let mut rows: Vec<Row> = Vec::new();
    for (Kind { module, case, size, .. }, times) in kinds.iter().zip(&times) {
        // Where no set is asked for, its size is no matter.
        let (algorithm, size) = if *case == FIXED { (None, 0) } else { (Some(ALGORITHM), *size as u64) };
        match rows.iter_mut().find(|row| row.case == *case && row.size == size) {
            Some(row) => row.figures.push((module.name().into(), times.into())),
            None => rows.push(Row::new(allocator, case, algorithm, size).with(module.name(), times)),
        }
    }
    rows
}

fn plots(figures: &Figures) -> Vec<Plot> {
    let plot = |allocator: &str| {
        let of = |case: &str, size: u64, who: &str| {
            let algorithm = (size > 0).then_some(ALGORITHM);
            figures.get(allocator, case, algorithm, size, who).map(|summary| summary.best)
        };
        let mut bars = Vec::new();
        for (case, size, who, ink) in [
            (FIXED, 0, OURS, Ink::Plain),
            (FIXED, 0, STOCK, Ink::Plain),
            (LIMIT, 30, STOCK, Ink::Stock),
            (LIMIT, 30, OURS, Ink::Ours),
            (FOLLOWED, 30, OURS, Ink::Ours),
            (LIMIT, 3_000, STOCK, Ink::Stock),
            (LIMIT, 3_000, OURS, Ink::Ours),
            (ALL, 30, STOCK, Ink::Stock),
            (ALL, 30, OURS, Ink::Ours),
            ("lean 1", 30, OURS, Ink::LeanOne),
            ("lean 1", 3_000, OURS, Ink::LeanOne),
            ("lean 2", 30, OURS, Ink::LeanTwo),
            ("lean 2", 3_000, OURS, Ink::LeanTwo),
        ] {
            let of_size = if size == 0 { String::new() } else { format!(" of {}", whole(size)) };
            let name = format!("{who}, {case}{of_size}");
            bars.extend(of(case, size, who).map(|value| Bar { name, ink, value }));
        }
        Plot {
            file: format!("relayed-{allocator}"),
            title: format!("Processor time of a relayed call, allocator {allocator}"),
            shape: Shape::Bars {
                unit: "µs a call; the line is a fixed $du with our module loaded".into(),
                bars,
                mark: of(FIXED, 0, OURS),
            },
        }
    };
    ALLOCATORS.map(plot).into()
}
