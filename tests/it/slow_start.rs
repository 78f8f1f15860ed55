//! Slow start on a real server: who comes back gets its ramp, then at most twice its share, and is level in the end.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::calls::{assert_no_drift, hang_up_all, obedient, up, with};
use crate::followed::proxy;
use crate::support::server_config::Builder;
use crate::support::{Agent, Call, Gateways, Kamailio};
use crate::watch::{at, reload, text};

const GATEWAYS: usize = 10;
/// Seconds, and windows in a second.
const RAMP: f64 = 6.0;
const WINDOWS: f64 = 2.0;
/// Calls a second.
const RATE: f64 = 150.0;

fn server(workers: u32, list: String) -> Builder {
    let limits = "modparam(\"dispatcher\", \"ds_limits\", 1)\nmodparam(\"dispatcher\", \"ds_slowstart\", 6)";
    proxy(workers, list).modparam(limits)
}

/// Calls that are up, with what they went to.
struct Placed<'a> {
    gateways: &'a Gateways,
    all: Vec<Call>,
}

impl Placed<'_> {
    fn place(&mut self, agent: &mut Agent) {
        self.all.push(up(agent));
    }

    /// How many of the last calls from this one on went to the first gateway.
    fn to_first(&self, from: usize) -> usize {
        let ids: HashSet<_> = self.all[from..].iter().map(|call| call.id.clone()).collect();
        let invites =
            self.gateways.received().into_iter().filter(|one| one.message.method() == Some("INVITE"));
        let mine = invites.filter(|one| one.gateway == 0 && ids.contains(one.message.call_id()));
        mine.map(|one| one.message.call_id().to_owned()).collect::<HashSet<_>>().len()
    }
}

fn set_state(server: &Kamailio, state: &str, uri: &str) {
    server.rpc("dispatcher.set_state", json!([state, 100, uri])).unwrap();
}

fn percent(server: &Kamailio) -> i64 {
    at(server, 0)["SLOWSTART"]["PERCENT"].as_i64().expect("a slow start")
}

fn why(server: &Kamailio, algorithm: u32) -> String {
    let told = server.rpc("dispatcher.explain", json!([100, algorithm])).unwrap();
    let targets = told["TARGETS"].as_array().unwrap();
    let first = targets.iter().map(|one| &one["DEST"]).min_by_key(|one| one["LOAD"].as_i64());
    text(&first.unwrap()["WHY"])
}

/// A gateway comes back to nine that have calls.
#[test]
fn one_that_comes_back_gets_its_ramp_then_twice_its_share_and_is_level_in_the_end() {
    let gateways = obedient(GATEWAYS);
    let server = server(8, gateways.list(100, "x=y")).start();
    let mut agent = server.agent();
    let mut placed = Placed { gateways: &gateways, all: Vec::new() };
    set_state(&server, "i", &gateways.uri(0));
    (0..90).for_each(|_| placed.place(&mut agent));
    assert_eq!(placed.to_first(0), 0);

    // Before it can begin: so no ramp is further than this clock says.
    let back = Instant::now();
    set_state(&server, "a", &gateways.uri(0));
    assert_eq!((percent(&server), why(&server, 10)), (10, "in slow start".to_owned()));
    assert_eq!(at(&server, 0)["SLOWSTART"]["SECONDS"], json!(6));
    // Its state outlives a reload, and its slow start with it.
    reload(&server);
    assert!(percent(&server) < 40);
    let (mut windows, mut level) = (Vec::new(), None);
    while level.is_none() {
        let from = placed.all.len();
        let end = back + Duration::from_secs_f64((windows.len() + 1) as f64 / WINDOWS);
        while Instant::now() < end {
            placed.place(&mut agent);
            let next = back + Duration::from_secs_f64((placed.all.len() - 90) as f64 / RATE);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let share = (placed.all.len() - from) as f64 / GATEWAYS as f64;
        windows.push((back.elapsed().as_secs_f64(), share, placed.to_first(from) as f64));
        level = Some(percent(&server)).filter(|percent| *percent == 100);
        assert!(back.elapsed() < Duration::from_secs(40), "never level: {windows:?}");
    }
    for (at, share, had) in &windows {
        let ramp = 0.1 + 0.9 * (at / RAMP).min(1.0);
        // It may be through within this window.
        let most = if *at < RAMP { 1.5 * ramp * share } else { 2.0 * share };
        assert!(*had <= most + 1.0, "{had} of {share} at {at}: {windows:?}");
    }
    let (loads, calls) = (crate::calls::loads(&server, GATEWAYS), placed.all.len());
    println!("{calls} calls, windows {windows:?}, loads {loads:?}");
    let fair = (calls / GATEWAYS) as i64;
    assert!((loads[0] - fair).abs() <= fair / 10 + 3, "{loads:?}");
    hang_up_all(&mut agent, &mut placed.all);
    assert_no_drift(&server);
    server.stop();
}

/// By weight, where one is added to others: ten of a hundred and ten at first. No other algorithm knows of it.
#[test]
fn one_that_is_added_gets_a_part_of_its_weight_and_none_is_refused_where_it_is_alone() {
    let gateways = obedient(3);
    let list = gateways.list(100, "weight=1;slowstart=1000");
    let others: String = list.lines().skip(1).map(|line| format!("{line}\n")).collect();
    let server = server(2, others).start();
    let mut agent = server.agent();
    assert_eq!(percent(&server), 100, "at a start all are as new as the others");
    server.write_list(&list);
    reload(&server);
    let mut placed = Placed { gateways: &gateways, all: Vec::new() };
    let place = |agent: &mut Agent, placed: &mut Placed<'_>, algorithm: &str, count: usize| {
        let from = placed.all.len();
        for _ in 0..count {
            let mut call = with(agent.call(), "X-Alg", algorithm);
            assert_eq!(agent.place(&mut call).status(), Some(200));
            placed.all.push(call);
        }
        placed.to_first(from)
    };
    // 10, or 11 where a percent has gone by, of 210.
    let by_weight = place(&mut agent, &mut placed, "9", 63);
    assert!((2..=4).contains(&by_weight), "{by_weight}");
    assert_eq!(why(&server, 9), "in slow start");
    assert_eq!(place(&mut agent, &mut placed, "4", 30), 10);
    let page: Value = server.rpc("dispatcher.stats", json!([])).unwrap();
    assert!(page.to_string().contains("SLOW_START_PERCENT"), "{page}");
    for gateway in [1, 2] {
        set_state(&server, "i", &gateways.uri(gateway));
    }
    assert_eq!(place(&mut agent, &mut placed, "10", 5), 5);
    hang_up_all(&mut agent, &mut placed.all);
    assert_no_drift(&server);
    server.stop();
}
