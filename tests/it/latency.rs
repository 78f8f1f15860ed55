//! Latency: what is measured, and the algorithms that use it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::server_config::Builder;
use crate::support::{Behaviour, Kamailio, Probed, distinct, eventually};
use crate::watch::{SOON, all, at, become_all, choices, freeze, probing, set, set_state};

/// Latencies are measured, and half of the estimate is the newest.
fn measuring(list: &str) -> Builder {
    let builder = set(set(probing(1, list), "ds_ping_latency_stats", 1), "ds_ping_fr_timer", 1500);
    set(builder, "ds_latency_estimator_alpha", 500)
}

fn figure(one: &Value, name: &str) -> f64 {
    one["LATENCY"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {one}"))
}

fn slow(milliseconds: u64) -> Behaviour {
    Behaviour::Delay(Duration::from_millis(milliseconds), 200)
}

/// What a busy machine may add to a delay, in milliseconds.
const BUSY: f64 = 60.0;

#[test]
fn figures_follow_the_gateway() {
    let gateways = Probed::start();
    gateways.behave_at("gw0", slow(150));
    gateways.behave_at("gw1", Behaviour::Silent);
    let server = measuring(&gateways.list(1, 3, "")).start();
    eventually("three answers of each", SOON, || {
        all(&server).iter().all(|one| one["HEALTH"]["SUCCESSES"] == json!(3) || one["FLAGS"] == json!("IP"))
            && figure(&at(&server, 1), "TIMEOUT") >= 1.0
    });
    let found = all(&server);
    for name in ["AVG", "EST", "MAX"] {
        let value = figure(&found[0], name);
        assert!((150.0..150.0 + BUSY).contains(&value), "{name}: {}", found[0]);
        assert_eq!(figure(&found[1], name), 0.0, "{}", found[1]);
        assert!((0.0..BUSY).contains(&figure(&found[2], name)), "{name}: {}", found[2]);
    }
    assert!(figure(&found[0], "STD") < BUSY, "{}", found[0]);
    assert_eq!([&found[0]["LATENCY"]["TIMEOUT"], &found[2]["LATENCY"]["TIMEOUT"]], [0, 0]);
    server.stop();
}

/// The answer to a refusal is as quick as another; what never came is no sample.
#[test]
fn bad_reply_is_a_sample_too() {
    let gateway = Probed::start();
    gateway.behave(slow_refusal());
    let server = measuring(&format!("1 {}\n", gateway.uri())).start();
    let found = become_all(&server, &["IP"]);
    assert!((100.0..100.0 + BUSY).contains(&figure(&found[0], "AVG")), "{}", found[0]);
    server.stop();
}

fn slow_refusal() -> Behaviour {
    Behaviour::Delay(Duration::from_millis(100), 503)
}

#[test]
fn attribute_is_the_start_and_the_average_hardly_leaves_it() {
    let gateway = Probed::start();
    gateway.behave(slow(200));
    let server = measuring(&format!("1 {} 0 0 latency=20\n", gateway.uri())).start();
    let first = at(&server, 0);
    if first["HEALTH"]["SUCCESSES"] == json!(0) {
        assert_eq!(["AVG", "EST", "MAX"].map(|name| figure(&first, name)), [20.0; 3]);
    }
    eventually("three answers", SOON, || at(&server, 0)["HEALTH"]["SUCCESSES"] == json!(3));
    let one = at(&server, 0);
    // 20, then 110, 155, 177.5 if each takes 200 ms.
    assert!((177.0..177.5 + BUSY).contains(&figure(&one, "EST")), "{one}");
    assert!((20.0..21.0).contains(&figure(&one, "AVG")), "{one}");
    server.stop();
}

#[test]
fn attribute_counts_before_anything_is_measured() {
    let list = "1 sip:127.0.0.9:9 0 50 latency=300\n1 sip:127.0.0.9:10 0 50 latency=20\n";
    let server = set(measuring(list), "ds_ping_interval", 0).start();
    for (place, latency) in [300.0, 20.0].into_iter().enumerate() {
        let one = at(&server, place);
        assert_eq!(["AVG", "EST", "MAX"].map(|name| figure(&one, name)), [latency; 3]);
    }
    assert_eq!(choices(&server, 13, 6), ["sip:127.0.0.9:10"; 6]);
    server.stop();
}

/// Two gateways of one priority, of which gw0 has become slow; without probes from then on.
fn slow_and_quick(attributes: &str, delay: u64) -> (Kamailio, Probed) {
    let gateways = Probed::start();
    gateways.behave_at("gw0", slow(delay));
    let list = gateways.list(1, 2, attributes).replace(" 0 0 ", " 0 10 ");
    let server = measuring(&list).start();
    eventually("three answers of each", SOON, || {
        ["gw0", "gw1"].iter().all(|name| distinct(&gateways.probes_of(name)) >= 3)
    });
    freeze(&server);
    (server, gateways)
}

#[track_caller]
fn prefers_the_quick_one_never_one_that_is_inactive(attributes: &str) {
    let (server, gateways) = slow_and_quick(attributes, 150);
    let [slow, quick] = [0, 1].map(|n| gateways.uri_of(n));
    assert_eq!(choices(&server, 13, 6), vec![quick.clone(); 6]);
    set_state(&server, "i", &quick);
    assert_eq!(choices(&server, 13, 6), vec![slow.clone(); 6]);
    set_state(&server, "d", &slow);
    assert_eq!(choices(&server, 13, 2), ["", ""]);
    set_state(&server, "a", &quick);
    assert_eq!(choices(&server, 13, 6), vec![quick; 6]);
    server.stop();
}

#[test]
fn algorithm_13_prefers_the_quick_one() {
    prefers_the_quick_one_never_one_that_is_inactive("");
}

/// With `cc=1` it is not the one that is quick, but the one that is as quick as usual.
#[test]
fn algorithm_13_with_cc_prefers_the_one_that_is_not_congested() {
    prefers_the_quick_one_never_one_that_is_inactive("latency=5;cc=1");
    // Slow, and never been quicker.
    let (server, gateways) = slow_and_quick("latency=150;cc=1", 150);
    let congestion = figure(&at(&server, 0), "EST") - figure(&at(&server, 0), "AVG");
    let turns = choices(&server, 13, 6);
    let slow = turns.iter().filter(|&one| *one == gateways.uri_of(0)).count();
    // Its priority is 10: up to ten milliseconds cost nothing.
    assert_eq!(slow, if congestion < 11.0 { 3 } else { 0 }, "{congestion}: {turns:?}");
    server.stop();
}

/// Calls go on while probes find out who is quick now.
#[test]
fn algorithm_13_follows_latencies_that_change() {
    let gateways = Probed::start();
    let list = gateways.list(1, 2, "").replace(" 0 0 ", " 0 10 ");
    let server = measuring(&list).start();
    for quick in [1, 0, 1] {
        gateways.behave_at(&format!("gw{}", 1 - quick), slow(200));
        gateways.behave_at(&format!("gw{quick}"), slow(0));
        let wanted = vec![gateways.uri_of(quick); 3];
        eventually("all calls go to the quick one", SOON, || choices(&server, 13, 3) == wanted);
    }
    server.stop();
}

#[test]
fn algorithm_11_takes_a_point_of_weight_for_each_millisecond_of_congestion() {
    let (server, gateways) = slow_and_quick("latency=5;weight=200;cc=1", 100);
    let found = all(&server);
    let congestion = found.iter().map(|one| (figure(one, "EST") - figure(one, "AVG")).max(0.0).floor());
    let congestion: Vec<f64> = congestion.collect();
    assert!(congestion[0] >= 70.0 && congestion[1] < BUSY, "{congestion:?}");
    let shares: Vec<f64> = congestion.iter().map(|ms| (200.0 - ms).max(0.0)).collect();
    let chosen = choices(&server, 11, 200);
    let slow = chosen.iter().filter(|&one| *one == gateways.uri_of(0)).count() as f64;
    let wanted = 200.0 * shares[0] / (shares[0] + shares[1]);
    assert!((slow - wanted).abs() <= 4.0, "{slow}, not {wanted}, of {shares:?}");
    // One that is inactive gets nothing, whatever the other has left.
    set_state(&server, "i", &gateways.uri_of(1));
    assert_eq!(choices(&server, 11, 4), vec![gateways.uri_of(0); 4]);
    server.stop();
}

#[test]
fn alpha_as_it_was_before_6_1_warns_at_the_start() {
    for (alpha, lines) in [(900, 1), (500, 0)] {
        let builder = set(measuring("1 sip:127.0.0.9:9 32\n"), "ds_latency_estimator_alpha", alpha);
        let log = builder.start().stop();
        let warns = |line: &&str| line.contains("WARNING: ") && line.contains("ds_latency_estimator_alpha");
        assert_eq!(log.lines().filter(warns).count(), lines, "{alpha}: {log}");
    }
}
