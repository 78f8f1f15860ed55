//! Probes and events without end leave no trace: shared memory, and the memory of each process, stay what they were.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::pace::probing;
use crate::support::{Behaviour, Kamailio, Probed, eventually};

const DESTINATIONS: usize = 2000;
/// Before what is measured begins: tables and buffers have their size by then.
const WARM_UP: usize = 8_000;
const PROBES: usize = 100_000;
const SOON: Duration = Duration::from_secs(30);

/// Room in shared memory for what the allocator keeps in other pieces than before: a third of a byte a probe.
const SHM_SLACK: i64 = 32 * 1024;
/// The same for a process's own pool; each of them ran event routes or sent probes ten thousands of times.
const PKG_SLACK: i64 = 4 * 1024;
/// For what the module itself has from the system, in whole pages. Holes that reading the list left take in the first few
/// hundred kilobytes of a leak.
const OWN_SLACK: i64 = 128 * 1024;

/// What event routes may use, and leave behind.
const ROUTE: &str = r#"
request_route {
	exit;
}
event_route[dispatcher:dst-up] {
	$var(up) = $dsv(uri) + " up";
	$avp(code) = $dsv(code);
	$avp(code) = $dsv(setid);
	$xavp(up=>uri) = $dsv(uri);
	$xavp(up[0]=>why) = $dsv(reason);
	route(COUNT);
}
event_route[dispatcher:dst-down] {
	$var(down) = $dsv(uri) + " down";
	$avp(s:reason) = $dsv(reason);
	$xavp(down=>uri) = $du;
	$xavp(down[0]=>flags) = $dsv(flags);
	route(COUNT);
}
route[COUNT] {
	if ($ru != $dsv(uri) || $avp(left) != $null || $xavp(left=>it) != $null) xlog("L_ERR", "SOAK: $ru $avp(left)\n");
	$avp(left) = $ru;
	$xavp(left=>it) = $ru;
	$shv(events) = $shv(events) + 1;
}
"#;

/// Bytes in use when nothing is under way.
#[derive(Debug)]
struct Use {
    shm: [i64; 2],
    /// By process: its own pool, and what it has from the system.
    own: BTreeMap<i64, (String, [i64; 3])>,
}

fn events(server: &Kamailio) -> usize {
    server.rpc("pv.shvGet", json!(["events"])).unwrap()["value"].as_u64().unwrap_or(0) as usize
}

fn transactions(server: &Kamailio) -> i64 {
    server.rpc("tm.stats", json!([])).unwrap()["current"].as_i64().unwrap()
}

/// Bytes in a process's own pages. (VmRSS and its parts are off by up to some dozens of pages.)
fn anonymous(pid: i64) -> i64 {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = maps.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<i64>().unwrap() * 1024
}

/// Probes until there were `count` more. Half of the gateways refuse while the others answer, in turns of about an
/// interval. They are counted where they arrive.
#[track_caller]
fn run(server: &Kamailio, gateways: &Probed, count: usize) {
    server.rpc("dispatcher.ping_active", json!([1])).unwrap();
    let mut probes = 0;
    for turn in 0.. {
        for gateway in 0..DESTINATIONS {
            let code = if (gateway + turn) % 2 == 0 { 200 } else { 503 };
            gateways.behave_at(&format!("gw{gateway}"), Behaviour::Answer(code, "As It Is"));
        }
        gateways.forget();
        eventually("a probe of each", SOON, || gateways.count("OPTIONS") >= DESTINATIONS);
        probes += gateways.count("OPTIONS");
        if probes >= count {
            break;
        }
    }
    server.rpc("dispatcher.ping_active", json!([0])).unwrap();
    eventually("all transactions forgotten", SOON, || transactions(server) == 0);
}

fn measure(server: &Kamailio) -> Use {
    let shm = server.rpc("core.shmmem", json!([])).unwrap();
    let pkg = server.rpc("pkg.stats", json!([])).unwrap();
    let own = |row: &serde_json::Value| {
        let pid = row["pid"].as_i64().unwrap();
        let what = row["desc"].as_str().unwrap_or_default().to_owned();
        let (used, real) = (row["used"].as_i64().unwrap(), row["real_used"].as_i64().unwrap());
        (pid, (what, [used, real, anonymous(pid)]))
    };
    Use {
        shm: ["used", "real_used"].map(|field| shm[field].as_i64().unwrap()),
        own: pkg.as_array().unwrap().iter().map(own).collect(),
    }
}

#[test]
fn probes_and_events_leave_no_trace_in_any_memory() {
    let gateways = Probed::start();
    let time = "modparam(\"pv\", \"shvset\", \"events=i:0\")\nmodparam(\"tm\", \"wt_timer\", 2000)";
    let builder = probing(gateways.list(1, DESTINATIONS, ""), 1).modparam(time).route(ROUTE);
    let mut server = builder.workers(2).start();
    run(&server, &gateways, WARM_UP);
    let (before, seen) = (measure(&server), events(&server));

    run(&server, &gateways, PROBES);
    let (after, events) = (measure(&server), events(&server) - seen);
    println!("{PROBES} probes, {events} events; shared memory {:?}, then {:?}", before.shm, after.shm);
    for (pid, (what, was)) in &before.own {
        let is = after.own.get(pid).map(|(_, is)| *is);
        println!("{what}: pool {was:?}, then {is:?} (used, real used, pages)");
    }
    assert!(events > PROBES / 2, "{events} events of {PROBES} probes are not many");
    for (was, is) in before.shm.iter().zip(after.shm) {
        assert!(is - was <= SHM_SLACK, "shared memory: {was}, then {is}");
    }
    assert_eq!(before.own.keys().collect::<Vec<_>>(), after.own.keys().collect::<Vec<_>>());
    for (pid, (what, was)) in &before.own {
        let (_, is) = &after.own[pid];
        for (field, slack) in [PKG_SLACK, PKG_SLACK, OWN_SLACK].into_iter().enumerate() {
            assert!(is[field] - was[field] <= slack, "{what}: {was:?}, then {is:?}");
        }
    }
    assert_eq!(server.log_lines("SOAK"), [""; 0], "what one event route leaves is gone in the next");
    server.assert_healthy();
    server.stop();
}
