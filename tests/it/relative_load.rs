//! Algorithm 100: gateways of different sizes fill evenly.

use crate::calls::{
    self, NO_FAILOVER, all_over, assert_no_drift, burst, counted_in_each_way, hang_up_all, loads, obedient,
    set, up, with,
};
use crate::support::{Agent, Call, Gateways, Kamailio};

counted_in_each_way! {
    gateways_fill_in_proportion_to_their_limits,
    limits_hold_in_bursts,
}

const WORKERS: u32 = 8;

fn list(gateways: &Gateways, attrs: &[&str]) -> String {
    let line = |(n, attrs): (usize, &&str)| format!("100 {} 0 0 duid=gw{n};{attrs}\n", gateways.uri(n));
    attrs.iter().enumerate().map(line).collect()
}

fn relaying(list: String) -> Kamailio {
    calls::relaying_by(100, WORKERS, list, NO_FAILOVER).start()
}

fn gateways_fill_in_proportion_to_their_limits() {
    let gateways = obedient(3);
    let server = relaying(list(&gateways, &["maxload=40", "maxload=10", "maxload=20"]));
    let mut agent = server.agent();
    let mut calls: Vec<Call> = Vec::new();
    for filled in 1..=7i64 {
        calls.extend((0..10).map(|_| up(&mut agent)));
        let loads = loads(&server, 3);
        // A tenth of 70 places more: no gateway is a whole call away from its share.
        let share = |size: i64| size * filled / 7;
        for (load, size) in std::iter::zip(&loads, [40, 10, 20]) {
            assert!((load - share(size)).abs() <= 1, "{loads:?} of 40, 10, 20 after {} calls", calls.len());
        }
    }
    assert_eq!(loads(&server, 3), [40, 10, 20]);
    let mut refused = agent.call();
    assert_eq!(agent.place(&mut refused).status(), Some(404), "all are full");
    // Those that end make room in proportion, too.
    let mut gone: Vec<Call> = calls.drain(..35).collect();
    hang_up_all(&mut agent, &mut gone);
    calls.extend((0..35).map(|_| up(&mut agent)));
    assert_eq!(loads(&server, 3), [40, 10, 20]);
    hang_up_all(&mut agent, &mut calls);
    assert_eq!(assert_no_drift(&server).calls, 0);
    all_over(server);
}

fn limits_hold_in_bursts() {
    let gateways = Gateways::ringing(3);
    let server = relaying(list(&gateways, &["maxload=8", "maxload=1", "maxload=3"]));
    let mut agents: Vec<Agent> = (0..30).map(|_| server.agent()).collect();
    for round in 0..20 {
        gateways.forget_received();
        let mut calls: Vec<Call> = agents.iter().map(Agent::call).collect();
        let accepted = burst(&mut agents, &mut calls);
        assert_eq!((accepted.len(), gateways.counts("INVITE")), (12, vec![8, 1, 3]), "burst {round}");
        for (agent, call) in accepted {
            assert_eq!(agent.cancel(call), 487);
        }
        assert_eq!(assert_no_drift(&server).calls, 0, "burst {round}");
    }
    all_over(server);
}

#[test]
fn weight_decides_where_some_have_no_limit() {
    let gateways = obedient(3);
    let attrs = ["weight=3;maxload=1000", "weight=1", "maxload=1000"];
    let server = relaying(list(&gateways, &attrs));
    let mut agent = server.agent();
    let mut calls: Vec<Call> = (0..25).map(|_| up(&mut agent)).collect();
    assert_eq!(loads(&server, 3), [15, 5, 5], "without a weight it is 1");
    // With limits for all, those decide at once, over the calls that are up.
    let limits = ["weight=3;maxload=30", "weight=1;maxload=30", "maxload=60"];
    server.write_list(&list(&gateways, &limits));
    server.rpc("dispatcher.reload", serde_json::json!([])).unwrap();
    calls.extend((0..30).map(|_| up(&mut agent)));
    let of = loads(&server, 3);
    assert!(
        of[0] == 15 && of[1] >= 13 && of[2] >= 26 && of.iter().sum::<i64>() == 55,
        "{of:?} of 30, 30, 60"
    );
    hang_up_all(&mut agent, &mut calls);
    assert_eq!(assert_no_drift(&server).calls, 0);
    let log = server.stop();
    let warned = log.matches("where only some destinations have a maxload").count();
    assert!((1..=WORKERS as usize).contains(&warned), "once a process: {warned}");
}

/// The list of the stock contract tells a failover by what the selection compared; the lean modes know the rule.
const NEXT: &str = r#"
request_route {
	if (is_method("ACK")) exit;
	if (has_totag()) { loose_route(); if (is_method("BYE")) ds_load_update(); t_relay(); exit; }
	record_route();
	if (!ds_select_dst("100", "$(hdr(X-Alg){s.int})")) { send_reply("404", "No destination"); exit; }
	if (is_present_hf("X-Fail") && !ds_next_dst()) { send_reply("404", "No next"); exit; }
	t_relay();
}
onreply_route { if (is_method("INVITE") && status =~ "^2") ds_load_update(); }
"#;

fn next_is_the_least_loaded_for_its_size(lean: u32) {
    let gateways = obedient(3);
    let list = list(&gateways, &["maxload=100", "maxload=4", "maxload=10"]);
    let lean = format!("modparam(\"dispatcher\", \"ds_lean_failover\", {lean})");
    let parameters = format!("modparam(\"dispatcher\", \"flags\", 2)\n{lean}");
    let server = Kamailio::builder().workers(2).list(list).modparam(&parameters).route(NEXT).start();
    let mut agent = server.agent();
    let mut calls: Vec<Call> = (0..57).map(|_| place(&mut agent, "100", &[])).collect();
    // All are half full, and then a little more.
    assert_eq!(loads(&server, 3), [50, 2, 5]);
    calls.extend((0..3).map(|_| place(&mut agent, "100", &[])));
    assert_eq!(loads(&server, 3), [51, 3, 6]);
    let fails = [("X-Fail", "1")];
    // The one with 51 % is chosen and passed over: by share the next has 60 %, not 75 %.
    calls.push(place(&mut agent, "100", &fails));
    assert_eq!(loads(&server, 3), [51, 3, 7]);
    // The one with 3 calls is chosen and passed over: by calls the next has 7, not 51.
    calls.push(place(&mut agent, "10", &fails));
    assert_eq!(loads(&server, 3), [51, 3, 8]);
    hang_up_all(&mut agent, &mut calls);
    assert_eq!(assert_no_drift(&server).calls, 0);
    all_over(server);
}

#[track_caller]
fn place(agent: &mut Agent, algorithm: &str, more: &[(&str, &str)]) -> Call {
    let mut call = with(agent.call(), "X-Alg", algorithm);
    more.iter().for_each(|(name, value)| set(&mut call, name, value));
    assert_eq!(agent.place(&mut call).status(), Some(200));
    call
}

#[test]
fn next_of_a_list_is_the_least_loaded_for_its_size() {
    next_is_the_least_loaded_for_its_size(0);
}

#[test]
fn next_of_one_record_is_the_least_loaded_for_its_size() {
    next_is_the_least_loaded_for_its_size(1);
}

#[test]
fn next_of_no_record_is_the_least_loaded_for_its_size() {
    next_is_the_least_loaded_for_its_size(2);
}
