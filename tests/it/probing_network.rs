//! What the network does to probes: streams without an end, a connection that is lost, answers that overtake each other.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::calls::assert_quiet;
use crate::support::{Behaviour, Malformed, Probed};
use crate::watch::{
    INTERVAL, SLACK, all, at, become_all, becomes, call, counted, flags, more_probes, probing, reason, set,
    told,
};

/// What tm takes for an answer; over TCP what has no end is none. `Huge` is left out: it depends on the server's buffer.
const ANSWERS: [Malformed; 3] = [Malformed::OtherCseq, Malformed::LongCseq, Malformed::OtherCallId];

#[test]
fn nonsense_over_tcp_is_no_answer_and_breaks_nothing() {
    let ways = Malformed::ALL.into_iter().filter(|how| *how != Malformed::Huge);
    let gateways: Vec<(Malformed, Probed)> = ways.map(|how| (how, Probed::with_tcp())).collect();
    let line = |(how, gateway): &(Malformed, Probed)| {
        format!("1 {};transport=tcp 0 0 duid={how:?}\n", gateway.uri())
    };
    for (how, gateway) in &gateways {
        gateway.behave(Behaviour::Malformed(*how));
    }
    let mut server = probing(1, gateways.iter().map(line).collect::<String>()).tcp().start();
    let wanted: Vec<&str> =
        gateways.iter().map(|(how, _)| if ANSWERS.contains(how) { "AP" } else { "IP" }).collect();
    become_all(&server, &wanted);
    gateways.iter().for_each(|(_, gateway)| more_probes(gateway, 2));
    assert_eq!(flags(&server), wanted, "and they stay so");
    server.assert_healthy();
    // With their connections goes what was read of them.
    let places: Vec<_> = gateways.iter().map(|(_, gateway)| gateway.local()).collect();
    drop(gateways);
    let _again: Vec<Probed> = places.into_iter().map(Probed::with_tcp_at).collect();
    become_all(&server, &vec!["AP"; wanted.len()]);
    server.assert_healthy();
    server.stop();
}

/// Neither the module's time nor tm's would be over in this test.
#[test]
fn connection_that_was_good_and_is_lost_fails_the_next_probe_at_once() {
    let gateway = Probed::with_tcp();
    let uri = format!("{};transport=tcp", gateway.uri());
    let builder = set(probing(1, format!("1 {uri}\n")).tcp(), "ds_ping_fr_timer", 60_000);
    let mut server = builder.modparam("modparam(\"tm\", \"fr_timer\", 60000)").start();
    becomes(&server, 0, "AP");
    assert_eq!((call(&server, 8), gateway.count("INVITE")), (Some(200), 1));
    more_probes(&gateway, 1);
    let (address, killed) = (gateway.local(), Instant::now());
    drop(gateway);
    let down = becomes(&server, 0, "IP");
    assert!(killed.elapsed() <= INTERVAL + SLACK, "{:?}", killed.elapsed());
    assert_eq!(reason(&down), (500, "Sending keepalive failed".into()));
    assert_eq!(call(&server, 8), Some(404));
    let gateway = Probed::with_tcp_at(address);
    let restarted = Instant::now();
    becomes(&server, 0, "AP");
    assert!(restarted.elapsed() <= INTERVAL + SLACK, "{:?}", restarted.elapsed());
    assert_eq!((call(&server, 8), gateway.count("INVITE")), (Some(200), 1));
    told(&server, &[format!("down {uri}"), format!("up {uri}")]);
    server.assert_healthy();
    server.stop();
}

/// Each answer takes longer than an interval, so there are always two or three probes out; each counts for itself.
#[test]
fn answer_is_in_time_though_later_probes_are_out() {
    let gateway = Probed::start();
    gateway.behave(Behaviour::Delay(Duration::from_millis(2300), 200));
    let list = format!("1 {} 9 0 ping_timeout=6000\n", gateway.uri());
    let builder = set(set(probing(1, list), "ds_inactive_threshold", 2), "ds_ping_latency_stats", 1);
    let mut server = builder.modparam("modparam(\"tm\", \"fr_timer\", 20000)").start();
    gateway.wait_for(2, INTERVAL * 3);
    assert_eq!(at(&server, 0)["HEALTH"]["SUCCESSES"], json!(0), "two are out");
    let up = becomes(&server, 0, "AP");
    assert_eq!(up["HEALTH"]["SUCCESSES"], json!(2));
    let average = up["LATENCY"]["AVG"].as_f64().unwrap();
    // Of the probe before it would be a second less, of the one after a second more.
    assert!((2299.0..3000.0).contains(&average), "{up}");
    assert_eq!((counted(&server, "FAILED_PROBES"), counted(&server, "STALE_PROBES")), (0, 0));

    // The quick ones of later overtake the slow ones of before: all are good.
    gateway.behave(Behaviour::Answer(200, "Quick Now"));
    let before = all(&server)[0]["HEALTH"]["SUCCESSES"].as_i64().unwrap();
    more_probes(&gateway, 4);
    let after = &all(&server)[0];
    assert!(after["HEALTH"]["SUCCESSES"].as_i64().unwrap() >= before + 5, "{after}");
    assert_eq!((&after["FLAGS"], counted(&server, "STALE_PROBES")), (&json!("AP"), 0));
    server.assert_healthy();
    assert_quiet(&server.stop());
}
