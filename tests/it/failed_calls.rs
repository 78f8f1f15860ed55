//! Failed calls weigh on (`ds_failure_decay`): a gateway that fails each call at once does not look idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::calls::{
    FAILOVER, NO_FAILOVER, all_over, assert_no_drift, counted_in_each_way, hang_up_all, loads, obedient,
    obeys, relaying, up, with,
};
use crate::support::server_config::Builder;
use crate::support::{Gateways, Kamailio, eventually};
use crate::watch::set;

counted_in_each_way! {
    of_ten_gateways_one_that_fails_at_once_gets_at_most_twice_its_share,
    failures_of_gateways_weigh_and_what_callees_say_does_not,
}

const SOON: Duration = Duration::from_secs(10);

fn weighing(builder: Builder, seconds: u32) -> Builder {
    set(builder, "ds_failure_decay", seconds)
}

/// `PENALTY` of each destination of set 100, by name, where it is shown.
fn penalties(server: &Kamailio) -> Vec<Option<i64>> {
    let list = server.rpc("dispatcher.list", json!(["full"])).unwrap();
    let targets = list["RECORDS"][0]["SET"]["TARGETS"].as_array().unwrap();
    let mut all: Vec<&Value> = targets.iter().map(|one| &one["DEST"]).collect();
    all.sort_by_key(|one| one["ATTRS"]["DUID"].to_string());
    all.iter().map(|one| one["PENALTY"].as_i64()).collect()
}

/// The bar of 50 calls a second, with eight calls up at each gateway.
fn of_ten_gateways_one_that_fails_at_once_gets_at_most_twice_its_share() {
    let fails = Arc::new(AtomicBool::new(false));
    let says = fails.clone();
    let gateways = Gateways::start(10, move |gateway, request| match request.method() {
        Some("INVITE") if gateway == 0 && says.load(Ordering::SeqCst) => vec![503],
        _ => obeys(gateway, request),
    });
    let server = weighing(relaying(4, gateways.list(100, "maxload=500"), FAILOVER), 2).start();
    let mut agent = server.agent();
    let mut calls: Vec<_> = (0..80).map(|_| up(&mut agent)).collect();
    assert_eq!(loads(&server, 10), [8; 10]);
    // It has lost its calls, and takes no new ones.
    fails.store(true, Ordering::SeqCst);
    let (mut lost, rest): (Vec<_>, Vec<_>) =
        calls.into_iter().partition(|call| gateways.of_call(&call.id) == Some(0));
    hang_up_all(&mut agent, &mut lost);
    calls = rest;
    let mut second = || {
        let before = gateways.count(0, "INVITE");
        let mut due = Instant::now();
        for _ in 0..50 {
            calls.push(up(&mut agent));
            due += Duration::from_millis(20);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        gateways.count(0, "INVITE") - before
    };
    let seconds = [second(), second(), second()];
    assert!(seconds.iter().all(|attempts| *attempts <= 10), "{seconds:?} of 50 calls each");
    assert!(seconds[0] > 0 && penalties(&server)[0] > Some(2), "{seconds:?}, {:?}", penalties(&server));
    assert_eq!(loads(&server, 10)[0], 0);
    assert_no_drift(&server);
    // It is well again.
    fails.store(false, Ordering::SeqCst);
    eventually("it has calls", SOON, || {
        second();
        loads(&server, 10)[0] > 5
    });
    eventually("nothing weighs", SOON * 2, || penalties(&server).iter().all(|penalty| *penalty == Some(0)));
    hang_up_all(&mut agent, &mut calls);
    crate::calls::let_scripts_end(&server);
    all_over(server);
}

fn failures_of_gateways_weigh_and_what_callees_say_does_not() {
    let gateways = obedient(1);
    let timers = "modparam(\"tm\", \"fr_timer\", 500)\nmodparam(\"tm\", \"fr_inv_timer\", 500)";
    let server = weighing(relaying(4, gateways.list(100, ""), NO_FAILOVER), 3600).modparam(timers).start();
    let mut agent = server.agent();
    let mut place = |answer: &str, status: u16| {
        let mut call = with(agent.call(), "X-Answer", answer);
        assert_eq!(agent.place(&mut call).status(), Some(status), "{answer}");
    };
    for (answer, status) in
        [("486", 486), ("180 603", 603), ("302", 302), ("404", 404), ("487", 487), ("180", 408), ("480", 480)]
    {
        place(answer, status);
        assert_eq!(penalties(&server), [Some(0)], "{answer}");
    }
    // Each one doubles what is left, up to a bound.
    for (answer, status, weighs) in [("503", 500, 1), ("0", 408, 3), ("180 500", 500, 4), ("503", 500, 4)] {
        place(answer, status);
        eventually(&format!("{answer} weighs"), SOON, || penalties(&server) == [Some(weighs)]);
    }
    let explained = server.rpc("dispatcher.explain", json!([100, 10])).unwrap();
    assert_eq!(explained["TARGETS"][0]["DEST"]["PENALTY"], json!(4), "{explained}");
    // It stays through a reload.
    server.rpc("dispatcher.reload", json!([])).unwrap();
    assert_eq!((penalties(&server), loads(&server, 1)), (vec![Some(4)], vec![0]));
    crate::calls::let_scripts_end(&server);
    all_over(server);
}

#[test]
fn what_cannot_be_sent_weighs() {
    let gateways = obedient(1);
    // Nobody listens there.
    let list = "100 sip:127.0.0.1:9;transport=tcp 0 0 duid=gw0\n";
    let failure = "ds_load_unset();";
    let server = weighing(relaying(2, list, failure), 3600).tcp().start();
    let mut agent = server.agent();
    let mut call = agent.call();
    let status = agent.place(&mut call).status();
    eventually(&format!("{status:?} weighs"), SOON, || penalties(&server) == [Some(1)]);
    eventually("it counts no more", SOON, || loads(&server, 1) == [0]);
    assert_no_drift(&server);
    drop(gateways);
    server.stop();
}

#[test]
fn without_the_parameter_nothing_weighs_and_nothing_is_shown() {
    let gateways = obedient(2);
    let server = relaying(2, gateways.list(100, ""), NO_FAILOVER).start();
    let mut agent = server.agent();
    for _ in 0..4 {
        let mut call = with(agent.call(), "X-Answer", "503");
        assert_eq!(agent.place(&mut call).status(), Some(500));
    }
    assert_eq!(penalties(&server), [None, None]);
    assert_eq!(
        server.rpc("dispatcher.explain", json!([100, 10])).unwrap()["TARGETS"][0]["DEST"]["PENALTY"],
        Value::Null
    );
    assert_eq!(gateways.counts("INVITE"), [2, 2]);
    all_over(server);
}
