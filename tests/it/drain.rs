//! Drains: no new calls, those that are up go on, one event at the end, whatever comes in between. What else becomes of one that is
//! drained is in [`crate::drain_states`].

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::calls::{assert_no_drift, hang_up_all, loads, obedient, up, with};
use crate::followed::proxy;
use crate::restart::{folder, state_file};
use crate::support::server_config::Builder;
use crate::support::{Agent, Call, Gateways, Kamailio, eventually};
use crate::watch::{all, flags, reload};

pub const SOON: Duration = Duration::from_secs(10);
/// An event comes within a second; a busy machine takes longer.
const A_SECOND: Duration = Duration::from_millis(1900);
const CALLS: usize = 50;

pub const EVENT: &str = r#"
event_route[dispatcher:dst-drained] {
	xlog("L_INFO", "EVENT drained $ru set=$dsv(setid) flags=$dsv(flags) $dsv(reason)\n");
}
"#;
const DOWN: &str = r#"event_route[dispatcher:dst-down] { xlog("L_INFO", "EVENT down $ru\n"); }
"#;

/// Calls count themselves; `X-Alg` names the algorithm.
pub fn counting(list: impl Into<String>) -> Builder {
    proxy(8, list).more_route(EVENT).more_route(DOWN)
}

pub fn drained(server: &Kamailio) -> Vec<String> {
    server.log_lines("EVENT drained")
}

#[track_caller]
pub fn ask(server: &Kamailio, command: &str, arguments: Value) -> String {
    let answer = server.rpc(&format!("dispatcher.{command}"), arguments).unwrap_or_else(|e| panic!("{e:?}"));
    answer.to_string()
}

/// Calls at the first gateway of two, and none at the other.
#[track_caller]
fn fifty(agent: &mut Agent, gateways: &Gateways) -> Vec<Call> {
    let mut all: Vec<_> = (0..2 * CALLS).map(|_| up(agent)).collect();
    let (mine, mut others): (Vec<_>, Vec<_>) =
        all.drain(..).partition(|call| gateways.of_call(&call.id) == Some(0));
    assert_eq!(mine.len(), CALLS);
    hang_up_all(agent, &mut others);
    mine
}

/// Calls by every algorithm: all of them go to the second gateway.
#[track_caller]
fn all_go_elsewhere(agent: &mut Agent, gateways: &Gateways) {
    for algorithm in ["0", "1", "2", "4", "6", "8", "9", "10", "11", "13", "14", "15", "64", "100"] {
        for _ in 0..3 {
            let mut call = with(agent.call(), "X-Alg", algorithm);
            assert_eq!(agent.place(&mut call).status(), Some(200), "algorithm {algorithm}");
            assert_eq!(gateways.of_call(&call.id), Some(1), "algorithm {algorithm}");
            assert_eq!(agent.hang_up(&mut call), 200);
        }
    }
}

/// All but one end, then the last; only then it is told.
#[track_caller]
fn ends_with_the_last(server: &Kamailio, agent: &mut Agent, calls: &mut [Call], uri: &str) {
    let (last, others) = calls.split_last_mut().unwrap();
    hang_up_all(agent, others);
    assert_eq!((loads(server, 2)[0], drained(server).len()), (1, 0));
    assert_eq!(agent.hang_up(last), 200);
    let ended = Instant::now();
    eventually("it is told", SOON, || !drained(server).is_empty());
    assert!(ended.elapsed() < A_SECOND, "{:?}", ended.elapsed());
    let told = format!("EVENT drained {uri} set=100 flags=0 drained: no call is left");
    assert!(drained(server)[0].ends_with(&told), "{:?}", drained(server));
    assert_eq!(flags(server), ["DX", "AX"]);
}

/// The lines of a list with attributes, the first gateway first.
pub fn lines(gateways: &Gateways, attrs: &str) -> String {
    (0..2)
        .map(|n| format!("100 {} 0 {} duid=gw{n};weight=50;rweight=50;{attrs}\n", gateways.uri(n), 9 - n))
        .collect()
}

#[test]
fn one_with_fifty_calls_gets_none_new_and_is_told_once_when_the_last_has_ended() {
    let gateways = obedient(2);
    let mut server = counting(lines(&gateways, "")).start();
    let mut agent = server.agent();
    let mut calls = fifty(&mut agent, &gateways);
    assert_eq!(ask(&server, "drain", json!([100, "gw0"])), "\"Ok. Dispatcher destinations draining: 1.\"");
    assert_eq!(flags(&server), ["AXD", "AX"]);
    assert_eq!(all(&server)[0]["DRAIN"], json!({"STATE": "draining"}));
    all_go_elsewhere(&mut agent, &gateways);
    // What is up goes on.
    for call in &mut calls {
        agent.send(&call.update());
        assert_eq!(agent.answer(call, "UPDATE").status(), Some(200));
    }
    assert_eq!(loads(&server, 2), [CALLS as i64, 0]);
    // Over a reload, a change of attributes and one of the priority.
    for attrs in ["", "maxload=7", "maxload=70;x=y"] {
        server.write_list(&lines(&gateways, attrs));
        reload(&server);
        assert_eq!((flags(&server), loads(&server, 2)), (vec!["AXD".into(), "AX".into()], vec![50, 0]));
    }
    ask(&server, "update", json!([100, gateways.uri(0), -1, 10, "duid=gw0;maxload=9"]));
    assert_eq!(flags(&server)[0], "AXD");
    all_go_elsewhere(&mut agent, &gateways);
    ends_with_the_last(&server, &mut agent, &mut calls, &gateways.uri(0));
    assert_eq!(all(&server)[0]["DRAIN"], json!({"STATE": "drained"}));
    assert_eq!(all(&server)[0]["HEALTH"]["REASON"], "drained: no call is left");
    reload(&server);
    all_go_elsewhere(&mut agent, &gateways);
    // Asked again, it is over already.
    ask(&server, "drain", json!([100, gateways.uri(0)]));
    assert_eq!(flags(&server), ["DX", "AX"]);
    assert_no_drift(&server);
    ask(&server, "undrain", json!([100, "gw0"]));
    assert_eq!(flags(&server), ["AX", "AX"]);
    assert_eq!(gateways.of_call(&up(&mut agent).id), Some(0));
    assert_eq!(drained(&server).len(), 1);
    assert_eq!(server.log_lines("EVENT down"), [""; 0], "nobody found it down");
    server.assert_healthy();
    server.stop();
}

#[test]
fn it_goes_on_over_a_restart_and_is_told_once() {
    let (dir, gateways) = (folder(), obedient(2));
    let file = state_file(&dir.path().join("s"));
    let list = lines(&gateways, "maxload=60");
    let server = counting(list.clone()).modparam(&file).start();
    let mut agent = server.agent();
    fifty(&mut agent, &gateways);
    ask(&server, "drain", json!([100, "gw0", 5000]));
    server.stop();

    let server = counting(list.clone()).modparam(&file).start();
    assert_eq!((flags(&server), loads(&server, 2)), (vec!["AXD".into(), "AX".into()], vec![50, 0]));
    let left = all(&server)[0]["DRAIN"]["SECONDS"].as_i64().unwrap();
    assert!((4900..=5000).contains(&left), "{left}");
    agent.turn_to(server.address());
    all_go_elsewhere(&mut agent, &gateways);
    assert_eq!(drained(&server), [""; 0]);
    server.crash();

    // What is known after a crash: the states, not the calls.
    let server = counting(list.clone()).modparam(&file).start();
    agent.turn_to(server.address());
    eventually("it is told", SOON, || drained(&server).len() == 1);
    assert_eq!(flags(&server), ["DX", "AX"]);
    server.stop();
    let server = counting(list).modparam(&file).start();
    assert_eq!(flags(&server), ["DX", "AX"]);
    assert_eq!(all(&server)[0]["DRAIN"], json!({"STATE": "drained"}));
    assert_eq!(drained(&server), [""; 0]);
    server.stop();
}

#[test]
fn calls_that_were_up_before_a_restart_end_the_drain_with_the_last_of_them() {
    let (dir, gateways) = (folder(), obedient(2));
    let file = state_file(&dir.path().join("s"));
    let list = lines(&gateways, "");
    let server = counting(list.clone()).modparam(&file).start();
    let mut agent = server.agent();
    let mut calls = fifty(&mut agent, &gateways);
    ask(&server, "drain", json!([100, "gw0"]));
    server.stop();
    let mut server = counting(list).modparam(&file).start();
    // The Contact and Record-Route of the calls name the server of before.
    let route = format!("<sip:{};lr>", server.address());
    agent.turn_to(server.address());
    for call in &mut calls {
        call.route_by(&route);
    }
    ends_with_the_last(&server, &mut agent, &mut calls, &gateways.uri(0));
    assert_no_drift(&server);
    assert_eq!(drained(&server).len(), 1);
    server.assert_healthy();
    server.stop();
}

#[test]
fn its_time_is_over_before_the_last_call() {
    let gateways = obedient(2);
    let mut server = counting(lines(&gateways, "")).start();
    let mut agent = server.agent();
    let mut calls = fifty(&mut agent, &gateways);
    let begun = Instant::now();
    ask(&server, "drain", json!([100, "gw0", 2]));
    all_go_elsewhere(&mut agent, &gateways);
    hang_up_all(&mut agent, &mut calls.split_off(30));
    eventually("it is told", SOON, || !drained(&server).is_empty());
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1990) && took < Duration::from_secs(2) + A_SECOND, "{took:?}");
    assert!(drained(&server)[0].ends_with("drained: its time is over"), "{:?}", drained(&server));
    let uri = gateways.uri(0);
    let line = format!("set 100: '{uri}' is disabled, drained: its time is over; 30 calls are up");
    assert_eq!(server.log_lines(&line).len(), 1, "{}", server.log());
    assert_eq!((flags(&server), loads(&server, 2)), (vec!["DX".into(), "AX".into()], vec![30, 0]));
    // Those that are up go on still.
    for call in &mut calls {
        agent.send(&call.update());
        assert_eq!(agent.answer(call, "UPDATE").status(), Some(200));
    }
    hang_up_all(&mut agent, &mut calls);
    assert_eq!(loads(&server, 2), [0, 0]);
    all_go_elsewhere(&mut agent, &gateways);
    assert_eq!(drained(&server).len(), 1);
    assert_no_drift(&server);
    server.assert_healthy();
    server.stop();
}
