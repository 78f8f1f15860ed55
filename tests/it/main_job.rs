//! `kamailio.cfg.example`, the configuration that operators start from, end to end through SIPp.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::sipp::Run;
use crate::support::{Gateways, Kamailio, Sipp, eventually, net};

const DUIDS: [&str; 3] = ["1015", "1016", "1017"];

fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn calls_of_every_fate_are_spread_evenly_and_leave_no_load() {
    let logs = tempfile::tempdir().unwrap();
    let addresses = DUIDS.map(|_| net::free_port(net::address()));
    let list: String = std::iter::zip(DUIDS, addresses)
        .map(|(duid, address)| format!("100 sip:{address} 0 0 duid={duid};maxload=500\n"))
        .collect();
    let server = Kamailio::builder().file(in_tree("kamailio.cfg.example")).list(list).start();

    let gateway = in_tree("tests/demo/gateway.xml");
    let gateways = addresses.map(|address| Run::new(&gateway, logs.path()).at(address).start());
    let caller = |fate: &str, calls, limit| {
        let scenario = in_tree(&format!("tests/demo/{fate}.xml"));
        Run::new(&scenario, logs.path()).caller(server.address(), user(fate), calls, 50, limit).start()
    };
    // Thirty at once in all, so that each gateway has ten at the most (see tests/demo/demo.rs).
    let callers = [caller("answered", 60, 20), caller("busy", 25, 2), caller("cancelled", 25, 8)];

    let mut highest = 0;
    eventually("both other fates and a full house", Duration::from_secs(20), || {
        let loads: Vec<i64> = server.list().iter().filter_map(|d| d.load).collect();
        assert!(loads.iter().all(|load| (0..=10).contains(load)), "uneven: {loads:?}");
        highest = highest.max(loads.iter().sum());
        highest >= 27 && fates(&gateways, "cancelled").iter().sum::<usize>() == 25
    });
    for caller in callers {
        caller.finish(Duration::from_secs(30));
    }
    eventually("zero load", Duration::from_secs(5), || server.total_load() == 0);

    assert_eq!(fates(&gateways, "answered").iter().sum::<usize>(), 60);
    assert_eq!(fates(&gateways, "busy").iter().sum::<usize>(), 25);
    for (gateway, calls) in fates(&gateways, "").into_iter().enumerate() {
        assert!(calls >= 20, "gateway {gateway} got {calls} of 110 calls");
    }
    server.stop();
}

#[test]
fn example_fails_over_from_503_and_the_call_counts_once() {
    let gateways = Gateways::start(3, |gateway, request| match (request.method(), gateway) {
        (Some("INVITE"), 0) => vec![503],
        (Some("CANCEL"), _) => vec![487],
        _ => vec![200],
    });
    let server =
        Kamailio::builder().file(in_tree("kamailio.cfg.example")).list(gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut calls: Vec<_> = (0..12).map(|_| agent.call()).collect();
    for call in &mut calls {
        assert_eq!(agent.place(call).status(), Some(200));
    }
    assert!(gateways.count(0, "INVITE") > 0, "nothing to fail over from");
    assert_eq!(["gw0", "gw1", "gw2"].map(|duid| server.load_of(duid)), [0, 6, 6]);
    for call in &mut calls {
        agent.send(&call.update());
        assert_eq!(agent.answer(call, "UPDATE").status(), Some(200));
        assert_eq!(agent.hang_up(call), 200);
    }
    assert_eq!(server.total_load(), 0);
    server.stop();
}

#[test]
fn example_takes_a_silent_gateway_out_until_told_otherwise() {
    let gateways = Gateways::start(2, |gateway, request| match (request.method(), gateway) {
        (Some("INVITE"), 1) => vec![],
        _ => vec![200],
    });
    let server =
        Kamailio::builder().file(in_tree("kamailio.cfg.example")).list(gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut calls: Vec<_> = (0..4).map(|_| agent.call()).collect();
    for call in &mut calls {
        assert_eq!(agent.place(call).status(), Some(200));
    }
    let silent = |server: &Kamailio| server.list().into_iter().find(|d| d.duid == "gw1").unwrap();
    assert!(silent(&server).flags.starts_with('I'), "{:?}", silent(&server));
    assert_eq!((server.load_of("gw0"), server.load_of("gw1")), (4, 0));
    server.rpc("dispatcher.set_state", serde_json::json!(["a", 100, gateways.uri(1)])).unwrap();
    assert!(silent(&server).flags.starts_with('A'), "{:?}", silent(&server));
    for call in &mut calls {
        assert_eq!(agent.hang_up(call), 200);
    }
    assert_eq!(server.total_load(), 0);
    server.stop();
}

#[test]
fn example_keeps_the_count_when_a_reinvite_is_refused() {
    let gateways = Gateways::start(1, |_, request| match (request.method(), request.tag("To")) {
        (Some("INVITE"), Some(_)) => vec![488],
        _ => vec![200],
    });
    let server =
        Kamailio::builder().file(in_tree("kamailio.cfg.example")).list(gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut call = agent.call();
    assert_eq!(agent.place(&mut call).status(), Some(200));
    assert_eq!(agent.place(&mut call).status(), Some(488));
    assert_eq!(server.total_load(), 1);
    assert_eq!(agent.hang_up(&mut call), 200);
    assert_eq!(server.total_load(), 0);
    server.stop();
}

#[test]
fn example_answers_404_when_the_set_is_empty() {
    let server =
        Kamailio::builder().file(in_tree("kamailio.cfg.example")).list("1 sip:127.0.0.9:5060\n").start();
    let mut agent = server.agent();
    let mut call = agent.call();
    assert_eq!(agent.place(&mut call).status(), Some(404));
    server.stop();
}

fn user(fate: &str) -> &str {
    match fate {
        "cancelled" => "ring",
        other => other,
    }
}

fn fates(gateways: &[Sipp], fate: &str) -> Vec<usize> {
    gateways.iter().map(|g| g.log_lines().iter().filter(|line| line.contains(fate)).count()).collect()
}
