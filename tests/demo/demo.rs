//! The demonstration: three gateways under one real server, calls of every fate, a live picture of the load, and the status page.
//!
//! Timeline: the callers fill the house; steady phase; gateway 1016 loses power and its calls fail over; it comes
//! back and is put to use again; the callers stop and the last calls end. What is asserted, and why that is true
//! of an exact balancer alone, is in `verdict.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod picture;
#[path = "../it/support/mod.rs"]
mod support;
mod verdict;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;

use picture::{Picture, Row};
use support::sipp::Run;
use support::{Kamailio, Sipp, net};
use verdict::{Fates, Loads, Outcome, Steady};

const DUIDS: [&str; 3] = ["1015", "1016", "1017"];
/// The gateway that loses power.
const VICTIM: usize = 1;
/// Scenario, user of the request URI, calls a second while the house fills, calls at once.
const CALLERS: [(&str, &str, u32, u32); 3] =
    [("answered", "alice", 50, 45), ("busy", "busy", 20, 3), ("cancelled", "ring", 30, 12)];
/// Calls up when the house is full: the sum of [`CALLERS`].
const LIMIT: i64 = 60;
/// Of these a gateway's share.
const SHARE: i64 = LIMIT / DUIDS.len() as i64;

const SAMPLE: Duration = Duration::from_millis(50);
const FILL: Duration = Duration::from_secs(12);
const STEADY: Duration = Duration::from_secs(13);
const DOWN: Duration = Duration::from_secs(8);
const BACK: Duration = Duration::from_secs(9);
const DRAIN: Duration = Duration::from_secs(14);

fn main() -> ExitCode {
    let mut show = Show::open();
    let outcome = show.run();
    drop(show);
    outcome.print();
    let broken = outcome.broken_promises();
    for what in &broken {
        println!(" FAILED: {what}");
    }
    if broken.is_empty() {
        println!("\n Even to one call, and every call accounted for.");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

struct Show {
    // Dropped in this order: no caller outlives the server.
    callers: Vec<Sipp>,
    gateways: Vec<Sipp>,
    server: Kamailio,
    logs: tempfile::TempDir,
    addresses: [SocketAddr; DUIDS.len()],
    /// Of the victim's first life.
    earlier: Fates,
    highest: Loads,
    picture: Picture,
}

impl Show {
    fn open() -> Show {
        assert_eq!(CALLERS.iter().map(|c| i64::from(c.3)).sum::<i64>(), LIMIT);
        let logs = tempfile::Builder::new().prefix("demo-").tempdir().expect("a directory for the logs");
        let addresses = DUIDS.map(|_| net::free_port(net::address()));
        let line = |(duid, address)| format!("100 sip:{address} 0 0 duid={duid};maxload=500\n");
        let list: String = std::iter::zip(DUIDS, addresses).map(line).collect();
        let server = Kamailio::builder().file(config(logs.path())).list(list).start();
        let mut show = Show {
            callers: Vec::new(),
            gateways: Vec::new(),
            server,
            logs,
            addresses,
            earlier: Fates::default(),
            highest: Loads::default(),
            picture: Picture::new(),
        };
        show.gateways = addresses.iter().map(|address| show.gateway(*address)).collect();
        show.callers = CALLERS.map(|caller| show.caller(caller)).into();
        show
    }

    fn gateway(&self, address: SocketAddr) -> Sipp {
        Run::new(&in_tree("tests/demo/gateway.xml"), self.logs.path()).at(address).start()
    }

    fn caller(&self, (scenario, user, rate, limit): (&str, &str, u32, u32)) -> Sipp {
        let scenario = in_tree(&format!("tests/demo/{scenario}.xml"));
        Run::new(&scenario, self.logs.path())
            .caller(self.server.address(), user, 100_000, rate, limit)
            .start()
    }

    fn run(&mut self) -> Outcome {
        let mut complaints = Vec::new();
        if !self.watch("the house fills", FILL, |loads| loads.iter().sum::<i64>() >= LIMIT) {
            complaints.push(format!("not {LIMIT} calls up within {FILL:?}"));
        }
        let mut steady = Steady::default();
        self.watch("steady", STEADY, |loads| {
            steady.add(loads);
            false
        });

        self.gateways[VICTIM].kill();
        self.watch(&format!("{} has no power", DUIDS[VICTIM]), DOWN, |_| false);

        self.earlier = Fates::count(&self.gateways[VICTIM].log_lines());
        self.gateways[VICTIM] = self.gateway(self.addresses[VICTIM]);
        let uri = format!("sip:{}", self.addresses[VICTIM]);
        if let Err(e) = self.server.rpc("dispatcher.set_state", json!(["a", 100, uri])) {
            complaints.push(format!("dispatcher.set_state: {e:?}"));
        }
        self.watch(&format!("{} is back", DUIDS[VICTIM]), BACK, |_| false);

        self.callers.iter_mut().for_each(Sipp::no_more_calls);
        let mut callers = std::mem::take(&mut self.callers);
        self.watch("the last calls end", DRAIN, |loads| {
            let ended = callers.iter_mut().filter_map(Sipp::ended).count() == CALLERS.len();
            ended && loads.iter().all(|load| *load == 0)
        });
        complaints.extend(callers.iter_mut().filter_map(|caller| caller.wait(Duration::ZERO).err()));
        self.outcome(steady, complaints)
    }

    /// Looks at the loads and draws them until `done` says so or the time is up; says whether it was `done`.
    fn watch(&mut self, phase: &str, time: Duration, mut done: impl FnMut(&Loads) -> bool) -> bool {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let (loads, states) = self.look();
            let fates = self.fates();
            let row = |n: usize| Row { load: loads[n], calls: fates[n].total(), state: states[n].clone() };
            self.picture.draw(phase, &[row(0), row(1), row(2)]);
            if done(&loads) {
                return true;
            }
            std::thread::sleep(SAMPLE);
        }
        false
    }

    /// Load and state of each gateway.
    fn look(&mut self) -> (Loads, [String; DUIDS.len()]) {
        let list = self.server.list();
        let find = |duid: &str| list.iter().find(|d| d.duid == duid).expect("each gateway is in the list");
        let loads = DUIDS.map(|duid| find(duid).load.unwrap_or(0));
        for (highest, load) in self.highest.iter_mut().zip(loads) {
            *highest = load.max(*highest);
        }
        let states = DUIDS.map(|duid| match find(duid).flags.get(..1) {
            Some("A") => "active".to_owned(),
            Some("I") => "inactive".to_owned(),
            _ => find(duid).flags.clone(),
        });
        (loads, states)
    }

    fn fates(&self) -> [Fates; DUIDS.len()] {
        let mut fates = [Fates::default(); DUIDS.len()];
        for (fates, gateway) in fates.iter_mut().zip(&self.gateways) {
            *fates = Fates::count(&gateway.log_lines());
        }
        fates[VICTIM] = fates[VICTIM].plus(self.earlier);
        fates
    }

    fn outcome(&mut self, steady: Steady, complaints: Vec<String>) -> Outcome {
        let (left, _) = self.look();
        self.server.assert_healthy();
        let fates = self.fates();
        Outcome {
            steady,
            highest: self.highest,
            left,
            failed_over: self.server.log_lines("fails over to").len(),
            after_restart: fates[VICTIM].total() - self.earlier.total(),
            fates,
            complaints,
        }
    }
}

/// The example with the status page at a port of its own, whose address is told, if the server has the module for that.
fn config(folder: &Path) -> PathBuf {
    let example = in_tree("kamailio.cfg.example");
    if !support::host::has_module("xhttp") {
        return example;
    }
    // The port is free again when it has been asked for.
    let page = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    let page = page.expect("a free port");
    let text = std::fs::read_to_string(example).expect("the example");
    let with_tcp = text.replace("disable_tcp=yes", "tcp_children=1\ntcp_accept_no_cl=yes");
    assert_ne!(text, with_tcp, "the example has no TCP");
    let file = folder.join("kamailio.cfg");
    let route = format!(
        "listen=tcp:{page}\nloadmodule \"xhttp.so\"\nevent_route[xhttp:request] {{\n\
         if ($Rp == {} && $hu =~ \"^/status([?].*)?$\") {{ ds_status_page(); exit; }}\n\
         xhttp_reply(\"404\", \"Not Found\", \"text/plain\", \"\");\n}}\n",
        page.port()
    );
    std::fs::write(&file, with_tcp + &route).expect("the configuration can be written");
    println!(" Status page while it runs: http://{page}/status\n");
    file
}

fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
