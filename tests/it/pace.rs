//! When probes arrive at the gateways: spread evenly, each destination at its interval, whatever else happens.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness_probing;
use crate::support::server_config::Builder;
use crate::support::{BlackHole, Kamailio, Probe, Probed, Stalls, eventually, until};

const SOON: Duration = Duration::from_secs(10);

/// All are probed every so many seconds by our module.
pub fn probing(list: impl Into<String>, seconds: u32) -> Builder {
    Kamailio::builder().list(list).modparam(&format!(
        "modparam(\"dispatcher\", \"ds_ping_interval\", {seconds})\n\
         modparam(\"dispatcher\", \"ds_probing_mode\", 1)"
    ))
}

/// Waits until this many requests have come. Cheaper than [`Probed::wait_for`], which copies them all each time.
#[track_caller]
fn wait_for(gateways: &Probed, count: usize, deadline: Duration) {
    eventually(&format!("{count} probes"), deadline, || gateways.count("OPTIONS") >= count);
}

/// Each once, however often it was sent.
fn once(mut probes: Vec<Probe>) -> Vec<Probe> {
    let mut seen = HashSet::new();
    probes.retain(|probe| seen.insert(probe.branch().to_owned()));
    probes
}

/// Each of `count` gateways was probed once an interval, no turn lost and none given twice: at least twice by now, and
/// each time an interval after the last. To either side of it a 64th of jitter, at both ends, and what the machine does.
#[track_caller]
pub fn assert_on_time(gateways: &Probed, count: usize, interval: Duration, stalls: &Stalls) {
    let mut times = HashMap::<String, Vec<Instant>>::new();
    for probe in once(gateways.probes()) {
        times.entry(probe.gateway).or_default().push(probe.at);
    }
    assert_eq!(times.len(), count, "every one of {interval:?} is probed");
    let most = interval / 32 + stalls.longest() * 2;
    for (gateway, times) in &times {
        assert!(times.len() >= 2, "{gateway} of {interval:?} was probed once");
        for pair in times.windows(2) {
            let gap = pair[1] - pair[0];
            assert!(
                gap.abs_diff(interval) <= most,
                "{gateway} of {interval:?}: {gap:?}, {most:?} off at most"
            );
        }
    }
}

/// The counts of all whole windows, but for those in which, or right before which, the machine stood still.
fn counts(probes: &[Probe], from: Instant, window: Duration, stalls: &Stalls) -> Vec<usize> {
    let last = probes.last().map_or(from, |probe| probe.at);
    let mut counts = Vec::new();
    let mut begin = from;
    while begin + window <= last {
        let end = begin + window;
        if !stalls.between(begin - Duration::from_secs(1), end) {
            counts.push(probes.iter().filter(|probe| (begin..end).contains(&probe.at)).count());
        }
        begin = end;
    }
    counts
}

#[test]
fn two_thousand_in_ten_seconds_are_two_hundred_each_second_and_no_burst() {
    const COUNT: usize = 2000;
    let interval = Duration::from_secs(10);
    let gateways = Probed::start();
    let mut server = probing(gateways.list(1, COUNT, ""), 10).start();
    wait_for(&gateways, COUNT, interval * 3);
    gateways.forget();
    let (stalls, from) = (Stalls::watch(), Instant::now());
    wait_for(&gateways, COUNT * 5 / 2, interval * 5);

    assert_on_time(&gateways, COUNT, interval, &stalls);
    let probes = once(gateways.probes());
    let seconds = counts(&probes, from, Duration::from_secs(1), &stalls);
    assert!(seconds.len() >= 8, "the machine is too busy to tell: {seconds:?}");
    println!("probes a second: {seconds:?}");
    assert!(seconds.iter().all(|count| (160..=240).contains(count)), "{seconds:?}");
    let tenths = counts(&probes, from, Duration::from_millis(100), &stalls);
    println!("in a tenth of a second at most: {:?}", tenths.iter().max());
    assert!(tenths.iter().all(|&count| count <= 60), "{tenths:?}");
    server.assert_healthy();
    server.stop();
}

#[test]
fn stock_module_sends_two_thousand_in_one_burst() {
    const COUNT: usize = 2000;
    let gateways = Probed::start();
    let builder = harness_probing::probing(gateways.list(1, COUNT, ""));
    let server = builder.modparam(r#"modparam("dispatcher", "ds_ping_interval", 6)"#).start();
    wait_for(&gateways, COUNT, SOON * 2);
    let probes = once(gateways.probes());
    let first = probes.first().unwrap().at;
    let burst = probes.iter().filter(|probe| probe.at - first < Duration::from_secs(1)).count();
    println!("stock: {burst} of {COUNT} in the first second of six");
    assert!(burst > COUNT * 3 / 4, "{burst}");
    server.stop();
}

#[test]
fn each_has_its_own_interval_while_the_list_is_reloaded_all_the_time() {
    const EACH: usize = 50;
    let intervals = [1, 2, 3, 4];
    let groups = intervals.map(|seconds| (seconds, Probed::start()));
    // The last group has no interval of its own, and so the default of 4.
    let attrs = |seconds| if seconds == 4 { String::new() } else { format!("ping_interval={seconds}") };
    let lists = groups.iter().map(|(seconds, gateways)| gateways.list(*seconds, EACH, &attrs(*seconds)));
    let list: String = lists.collect();
    let backwards: String = list.lines().rev().map(|line| format!("{line}\n")).collect();
    let server = probing(list.clone(), 4).start();
    for (_, gateways) in &groups {
        wait_for(gateways, EACH, SOON);
        gateways.forget();
    }
    let (stalls, from) = (Stalls::watch(), Instant::now());
    let (mut reloads, mut next) = (0, from);
    until(Duration::from_secs(13), || {
        if Instant::now() >= next {
            server.write_list(if reloads % 2 == 0 { &backwards } else { &list });
            server.rpc("dispatcher.reload", json!([])).unwrap();
            (reloads, next) = (reloads + 1, next + Duration::from_millis(100));
        }
        false
    });
    assert!(reloads >= 100, "{reloads} reloads in 13 seconds");
    for (seconds, gateways) in &groups {
        assert_on_time(gateways, EACH, Duration::from_secs((*seconds).into()), &stalls);
    }
    server.stop();
}

#[test]
fn black_hole_goes_down_in_time_and_keeps_no_other_waiting() {
    const OTHERS: usize = 99;
    let interval = Duration::from_secs(3);
    let (gateways, hole) = (Probed::start(), BlackHole::start());
    let list = format!("{}1 {} 0 0 duid=hole\n", gateways.list(1, OTHERS, ""), hole.uri());
    // What tm itself would wait is much longer.
    let time = "modparam(\"dispatcher\", \"ds_ping_fr_timer\", 500)\nmodparam(\"tm\", \"fr_timer\", 30000)";
    let mut server = probing(list, 3).modparam(time).tcp().start();
    let stalls = Stalls::watch();
    let down = || server.list().into_iter().find(|one| one.duid == "hole").unwrap().flags == "IP";
    eventually("the black hole is down", SOON, down);
    let list = server.rpc("dispatcher.list", json!(["full"])).unwrap();
    let targets = list["RECORDS"][0]["SET"]["TARGETS"].as_array().unwrap();
    let hole_of = |target: &&serde_json::Value| target["DEST"]["ATTRS"]["DUID"] == "hole";
    let health = &targets.iter().find(hole_of).unwrap()["DEST"]["HEALTH"];
    assert_eq!(health["CODE"], 408, "{health}");
    let waited = health["CHANGED"].as_i64().unwrap() - health["PROBED"].as_i64().unwrap();
    assert!((0..=1).contains(&waited), "half a second after the probe, in whole seconds: {health}");

    wait_for(&gateways, OTHERS * 5, SOON * 3);
    assert_on_time(&gateways, OTHERS, interval, &stalls);
    let others = server.list().into_iter().filter(|one| one.duid != "hole").collect::<Vec<_>>();
    assert!(others.len() == OTHERS && others.iter().all(|one| one.flags == "AP"), "{others:?}");
    assert!(down() && hole.hangs());
    server.assert_healthy();
    server.stop();
}
