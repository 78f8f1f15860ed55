//! Calls with priority: requests with the flag of `ds_priority_flag` pass `maxload` and shared capacities by a reserve, others do not.

use serde_json::json;

use crate::calls::{
    self, FAILOVER, NO_FAILOVER, all_over, assert_no_drift, burst, counted_in_each_way, hang_up_all, loads,
    obedient, set, with,
};
use crate::support::server_config::Builder;
use crate::support::{Agent, Call, Gateways, Kamailio};

const WORKERS: u32 = 8;
const NORMAL: usize = 100;
const FLAGGED: usize = 20;
const RESERVE: usize = 10;

counted_in_each_way! {
    a_full_set_takes_as_many_calls_with_priority_as_its_reserve,
    a_full_capacity_takes_as_many_calls_with_priority_as_its_reserve,
}

const PARAMETERS: &str = "modparam(\"dispatcher\", \"flags\", 2)\nmodparam(\"dispatcher\", \"ds_limits\", 1)\n\
    modparam(\"dispatcher\", \"ds_priority_flag\", 5)\n";

fn server(list: String, failure: &str) -> Builder {
    calls::flagging(WORKERS, list, failure).modparam(PARAMETERS)
}

fn flagged(call: Call) -> Call {
    with(call, "X-Priority", "1")
}

/// 20 places; then 100 calls without and 20 with priority at once, many times.
fn takes_its_reserve(gateways: &Gateways, list: String, sets: usize) {
    let server = server(list, NO_FAILOVER).start();
    let mut first: Vec<Agent> = (0..20).map(|_| server.agent()).collect();
    let to = |call: Call, at: usize| with(call, "X-Set", &(100 + at % sets).to_string());
    let mut held: Vec<Call> = first.iter().enumerate().map(|(at, agent)| to(agent.call(), at)).collect();
    let held = burst(&mut first, &mut held);
    assert_eq!(held.len(), 20, "all places are taken");
    let mut agents: Vec<Agent> = (0..NORMAL + FLAGGED).map(|_| server.agent()).collect();
    for round in 0..12 {
        gateways.forget_received();
        // Those with priority come among the others.
        let has_priority = |at: usize| at % 6 == 5;
        let one = |(at, agent): (usize, &Agent)| {
            let call = to(agent.call(), at);
            if has_priority(at) { flagged(call) } else { call }
        };
        let mut calls: Vec<Call> = agents.iter().enumerate().map(one).collect();
        assert_eq!(calls.iter().filter(|call| call.extra.len() == 2).count(), FLAGGED);
        let accepted = burst(&mut agents, &mut calls);
        let all_flagged =
            accepted.iter().all(|(_, call)| call.extra.iter().any(|(name, _)| name == "X-Priority"));
        assert!(all_flagged, "round {round}");
        assert_eq!(
            (accepted.len(), gateways.counts("INVITE").iter().sum()),
            (RESERVE, RESERVE),
            "round {round}"
        );
        assert_eq!(assert_no_drift(&server).calls as usize, 20 + RESERVE);
        for (agent, call) in accepted {
            assert_eq!(agent.cancel(call), 487);
        }
        assert_eq!(assert_no_drift(&server).calls, 20, "round {round}");
    }
    for (agent, call) in held {
        assert_eq!(agent.cancel(call), 487);
    }
    all_over(server);
}

fn a_full_set_takes_as_many_calls_with_priority_as_its_reserve() {
    let gateways = Gateways::ringing(3);
    let attrs =
        ["maxload=10;maxload_reserve=5", "maxload=4;maxload_reserve=75%", "maxload=6;maxload_reserve=2"];
    let line = |(n, attrs): (usize, &&str)| format!("100 {} 0 0 duid=gw{n};{attrs}\n", gateways.uri(n));
    takes_its_reserve(&gateways, attrs.iter().enumerate().map(line).collect(), 1);
}

fn a_full_capacity_takes_as_many_calls_with_priority_as_its_reserve() {
    let gateways = Gateways::ringing(3);
    let line = |n: usize| {
        let reserve = if n == 1 { ";capacity_reserve=50%" } else { "" };
        format!("{} {} 0 0 duid=gw{n};capacity=carrier;capacity_max=20{reserve}\n", 100 + n, gateways.uri(n))
    };
    takes_its_reserve(&gateways, (0..3).map(line).collect(), 3);
}

/// A gateway that refuses, and one that is full: the call goes on to that one if it has priority, whatever the way of failover.
fn failover_keeps_the_priority(lean: u32) {
    let gateways = Gateways::start(2, |gateway, request| match (gateway, request.method()) {
        (0, Some("INVITE")) => vec![503],
        _ => calls::obeys(gateway, request),
    });
    let list = format!(
        "100 {} 0 0 duid=gw0;maxload=9\n100 {} 0 0 duid=gw1;maxload=1;maxload_reserve=1\n",
        gateways.uri(0),
        gateways.uri(1)
    );
    let lean = format!("modparam(\"dispatcher\", \"ds_lean_failover\", {lean})");
    let server = server(list, FAILOVER).modparam(&lean).start();
    let mut agent = server.agent();
    let mut place = |has_priority: bool| {
        let call = agent.call();
        let mut call = if has_priority { flagged(call) } else { call };
        let status = agent.place(&mut call).status();
        (status, call)
    };
    let (first, other) = (place(false), place(false));
    assert_eq!([first.0, other.0], [Some(200), Some(500)], "the second finds both used up");
    let (one, more) = (place(true), place(true));
    assert_eq!([one.0, more.0], [Some(200), Some(500)]);
    assert_eq!(loads(&server, 2), [0, 2]);
    hang_up_all(&mut agent, &mut [first.1, one.1]);
    all_over(server);
}

#[test]
fn failover_by_a_list_keeps_the_priority() {
    failover_keeps_the_priority(0);
}

#[test]
fn failover_by_one_record_keeps_the_priority() {
    failover_keeps_the_priority(1);
}

#[test]
fn failover_without_a_record_keeps_the_priority() {
    failover_keeps_the_priority(2);
}

fn place(server: &Kamailio, priority: bool) -> Option<(Agent, Call)> {
    let mut agent = server.agent();
    let mut call = agent.call();
    if priority {
        set(&mut call, "X-Priority", "1");
    }
    match agent.place(&mut call).status() {
        Some(200) => Some((agent, call)),
        Some(404) => None,
        other => panic!("{other:?}"),
    }
}

const ONE: &str = "duid=gw0;maxload=1;maxload_reserve=1;capacity=c;capacity_max=2;capacity_reserve=10%";

#[test]
fn a_flag_may_be_given_by_its_name() {
    let gateways = obedient(1);
    let named = |value: &str| {
        let parameters = PARAMETERS.replace(", 5)", &format!(", {value})"));
        let list = format!("100 {} 0 0 {ONE}\n", gateways.uri(0));
        let server = calls::flagging(4, list, NO_FAILOVER)
            .modparam(&parameters)
            .globals("flags OTHER:3, EMERGENCY:5\n");
        server.start()
    };
    for (value, passes) in [("\"EMERGENCY\"", true), ("\"5\"", true), ("\"OTHER\"", false), ("-1", false)] {
        let server = named(value);
        let held = place(&server, false).unwrap();
        assert!(place(&server, false).is_none());
        let more = place(&server, true);
        assert_eq!(more.is_some(), passes, "{value}");
        for (mut agent, mut call) in more.into_iter().chain([held]) {
            assert_eq!(agent.hang_up(&mut call), 200);
        }
        assert_eq!(server.log_lines("ds_priority_flag"), [""; 0], "{value}");
        all_over(server);
    }
    for value in ["\"UNKNOWN\"", "32", "-2", "\"99\""] {
        let server = named(value);
        let told = server.log_lines("\"ds_priority_flag\"");
        let expected = "expected a number from 0 to 31, or a name of the core's flags; no call has priority";
        assert!(told.len() == 1 && told[0].ends_with(expected), "{value}: {told:?}");
        server.stop();
    }
}

#[test]
fn reserves_are_shown_and_change_with_a_reload() {
    let gateways = obedient(1);
    let list = |attrs: &str| format!("100 {} 0 0 {attrs}\n", gateways.uri(0));
    let server = calls::flagging(4, list(ONE), NO_FAILOVER).modparam(PARAMETERS).start();
    let mut held = vec![place(&server, false).unwrap()];
    let why = |priority: u32| {
        let told = server.rpc("dispatcher.explain", json!([100, 10, "-", priority])).unwrap();
        told["TARGETS"][0]["DEST"]["WHY"].as_str().map(str::to_owned).unwrap()
    };
    assert_eq!([why(0), why(1)], ["full", "chosen, by its reserve"]);
    held.push(place(&server, true).unwrap());
    assert_eq!([why(0), why(1)], ["full", "full, its reserve too"]);
    assert!(place(&server, true).is_none());
    let full = server.rpc("dispatcher.list", json!(["full", 100])).unwrap();
    let dest = &full["RECORDS"][0]["SET"]["TARGETS"][0]["DEST"];
    assert_eq!(dest["MAXLOAD_RESERVE"], json!(1));
    assert_eq!(
        dest["CAPACITY"],
        json!({"NAME": "c", "CALLS": 2, "LIMIT": 2, "RESERVE": 0}),
        "a tenth of 2 is none"
    );
    let told = server.rpc("dispatcher.explain", json!([100, 10])).unwrap();
    assert_eq!(told["TARGETS"][0]["DEST"]["MAXLOAD_RESERVE"], json!(1));
    let capacity = server.rpc("dispatcher.capacity", json!([])).unwrap();
    assert_eq!(capacity["CAPACITIES"][0]["CAPACITY"]["RESERVE"], json!(0));
    // More of both, and then less.
    let more = "duid=gw0;maxload=1;maxload_reserve=200%;capacity=c;capacity_max=2;capacity_reserve=7";
    server.write_list(&list(more));
    server.rpc("dispatcher.reload", json!([])).unwrap();
    held.push(place(&server, true).unwrap());
    assert!(place(&server, true).is_none() && place(&server, false).is_none());
    let stats = server.rpc("dispatcher.stats", json!([100])).unwrap();
    let stats = stats.as_array().map_or(&stats, |all| &all[0]);
    assert_eq!(
        [&stats["LOAD"], &stats["MAXLOAD"], &stats["MAXLOAD_RESERVE"]],
        [&json!(3), &json!(1), &json!(2)]
    );
    let update =
        |attrs: &str| server.rpc("dispatcher.update", json!([100, gateways.uri(0), -1, -1, attrs])).unwrap();
    update("duid=gw0;maxload=3;maxload_reserve=1");
    held.push(place(&server, true).unwrap());
    update("duid=gw0;maxload=3");
    assert!(place(&server, true).is_none());
    let (mut agent, mut call) = held.remove(0);
    assert_eq!(agent.hang_up(&mut call), 200);
    assert!(place(&server, true).is_none(), "at its limit, and nothing is beyond it");
    assert_no_drift(&server);
    for (mut agent, mut call) in held {
        assert_eq!(agent.hang_up(&mut call), 200);
    }
    all_over(server);
}

#[test]
fn without_ds_limits_nothing_passes_and_both_are_told() {
    let gateways = obedient(1);
    let list = format!("100 {} 0 0 {ONE}\n", gateways.uri(0));
    let parameters = PARAMETERS.replace("\"ds_limits\", 1", "\"ds_limits\", 0");
    let server = calls::flagging(4, list, NO_FAILOVER).modparam(&parameters).start();
    let told = "only text for the script: capacity, capacity_max, maxload_reserve, capacity_reserve";
    assert_eq!(server.log_lines(told).len(), 1);
    let told = server.log_lines("\"ds_priority_flag\", 5): expected ds_limits 1 as well; it has no effect");
    assert!(told.len() == 1 && told[0].contains("WARNING"), "{told:?}");
    let (mut agent, mut call) = place(&server, false).unwrap();
    assert!(place(&server, true).is_none());
    assert_eq!(agent.hang_up(&mut call), 200);
    assert_no_drift(&server);
    server.stop();
}

#[test]
fn reserves_without_sense_are_told_with_file_line_and_column() {
    let list = "1 sip:127.0.1.1 0 0 maxload=9;maxload_reserve=-1\n1 sip:127.0.1.2 0 0 maxload_reserve=10%\n\
        2 sip:127.0.1.3 0 0 capacity=c;capacity_reserve=many\n";
    let server = Kamailio::builder().list(list).modparam(PARAMETERS).start();
    for told in [
        "list:1:31: maxload_reserve='-1': expected a whole number from 0 to 2147483647, or percent of the limit; 0 is in effect",
        "list:2:21: maxload_reserve='10%': expected a maxload beside it; it has no effect",
        "list:3:32: capacity_reserve='many': expected a whole number from 0 to 2147483647, or percent of the limit; it is as if",
    ] {
        assert_eq!(server.log_lines(told).len(), 1, "{told}: {:?}", server.log_lines("reserve"));
    }
    server.stop();
}
