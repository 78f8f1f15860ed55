//! The first gateway is dead: the call reaches the next one by `failure_route` and `ds_next_dst()`, and counts there.

use crate::calls::{all_over, assert_no_drift, loads, with};
use crate::support::{Agent, Call, Gateways, Kamailio, Received, net};

/// `X-Alg` in set 100, or `X-Rules`. The gateways see in `X-First` where the call went first.
const ROUTE: &str = r#"
request_route {
	if (has_totag()) {
		if (is_method("ACK") && t_check_trans()) { t_relay(); exit; }
		loose_route();
		if (is_method("BYE")) ds_load_update();
		t_relay();
		exit;
	}
	t_check_trans();
	record_route();
	if (is_present_hf("X-Rules")) $var(found) = ds_select_routes("$hdr(X-Rules)", "d");
	else if (is_present_hf("X-Domain")) $var(found) = ds_select_domain("100", "$(hdr(X-Domain){s.int})");
	else $var(found) = ds_select_dst("100", "$(hdr(X-Alg){s.int})");
	if ($var(found) < 0) { sl_send_reply("404", "No destination"); exit; }
	if ($du != $null) append_hf("X-First: $du\r\n"); else append_hf("X-First: sip:$rd:$rp\r\n");
	t_on_failure("FAILED");
	t_relay();
}
onreply_route {
	if (is_method("INVITE") && status =~ "^2") ds_load_update();
}
failure_route[FAILED] {
	if (t_is_canceled()) exit;
	if (t_check_status("408|477|5[0-9][0-9]")) {
		if (is_present_hf("X-Domain")) $var(next) = ds_next_domain(); else $var(next) = ds_next_dst();
		if ($var(next) > 0) { t_on_failure("FAILED"); t_relay(); exit; }
	}
	ds_load_unset();
}
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dead {
    /// It has the socket and says nothing.
    Silent,
    /// Its machine answers that the port is closed (ICMP).
    Closed,
    /// It says 503.
    Unavailable,
}

/// Three gateways as gw0, gw1, gw2, of which gw0 is dead.
struct Network {
    gateways: Gateways,
    dead: String,
    list: String,
}

/// The dead one has the highest priority. `others` is the set of the other two.
fn network(how: Dead, others: u32) -> Network {
    let gateways = Gateways::start(3, move |gateway, request| match (gateway, request.method()) {
        (0, Some("INVITE")) if how == Dead::Silent => vec![],
        (0, Some("INVITE")) => vec![503],
        (_, Some("INVITE")) => vec![180, 200],
        _ => vec![200],
    });
    let dead = match how {
        Dead::Closed => format!("sip:{}", net::free_port(net::address())),
        Dead::Silent | Dead::Unavailable => gateways.uri(0),
    };
    let [one, two] = [1, 2].map(|n| gateways.uri(n));
    let list = format!(
        "100 {dead} 0 9 duid=gw0;maxload=10\n{others} {one} 0 5 duid=gw1;maxload=10\n\
         {others} {two} 0 1 duid=gw2;maxload=10\n"
    );
    Network { gateways, dead, list }
}

const SHORT: &str = "modparam(\"tm\", \"fr_timer\", 300)\nmodparam(\"dispatcher\", \"flags\", 2)";

/// Places calls until one went to the dead gateway first; gives that, still up, and where it is now.
#[track_caller]
fn fail_over(network: &Network, server: &Kamailio, agent: &mut Agent, header: (&str, &str)) -> (Call, usize) {
    for _ in 0..40 {
        let mut call = with(agent.call(), header.0, header.1);
        assert_eq!(agent.place(&mut call).status(), Some(200), "{header:?}: {}", network.list);
        let at = network.gateways.of_call(&call.id).unwrap();
        assert_ne!(at, 0);
        let received = network.gateways.received();
        let is_invite =
            |r: &&Received| r.message.method() == Some("INVITE") && r.message.call_id() == call.id;
        let invite = received.iter().rev().find(is_invite).unwrap();
        let first = invite.message.header("X-First").unwrap().to_owned();
        if first == network.dead {
            return (call, at);
        }
        assert_eq!(agent.hang_up(&mut call), 200);
        assert_no_drift(server);
    }
    panic!("no call went to the dead gateway first: {header:?}");
}

/// `counted` calls have the load where they are; no others have any.
fn reaches_the_next(how: Dead, others: u32, header: (&str, &str), counted: bool) {
    let network = network(how, others);
    let server = Kamailio::builder().list(&*network.list).modparam(SHORT).route(ROUTE).start();
    let mut agent = server.agent();
    let (mut call, at) = fail_over(&network, &server, &mut agent, header);
    let mut expected = vec![0; 3];
    expected[at] = i64::from(counted);
    assert_eq!(loads(&server, 3), expected, "{how:?} {header:?}");
    let audit = assert_no_drift(&server);
    assert_eq!((audit.calls, audit.confirmed), (i64::from(counted), i64::from(counted)));
    if how == Dead::Silent || how == Dead::Unavailable {
        let tried = network.gateways.received();
        assert!(tried.iter().any(|r| r.gateway == 0 && r.message.call_id() == call.id));
    }
    assert_eq!(agent.hang_up(&mut call), 200);
    assert_eq!(loads(&server, 3), [0, 0, 0]);
    all_over(server);
}

/// A test for each way to be dead.
macro_rules! dead_in_three_ways {
    ($($test:ident),+ $(,)?) => {
        mod silent { $(#[test] fn $test() { super::$test(super::Dead::Silent); })+ }
        mod closed { $(#[test] fn $test() { super::$test(super::Dead::Closed); })+ }
        mod unavailable { $(#[test] fn $test() { super::$test(super::Dead::Unavailable); })+ }
    };
}

dead_in_three_ways! {
    call_by_call_id_reaches_the_next,
    call_by_round_robin_reaches_the_next,
    call_by_priority_reaches_the_next,
    call_by_load_reaches_the_next_with_its_count,
    call_moves_to_the_second_set_with_its_count,
    call_moves_to_a_set_of_another_algorithm_with_its_count,
    request_uri_follows_to_the_next_domain,
}

fn call_by_call_id_reaches_the_next(how: Dead) {
    reaches_the_next(how, 100, ("X-Alg", "0"), false);
}

fn call_by_round_robin_reaches_the_next(how: Dead) {
    reaches_the_next(how, 100, ("X-Alg", "4"), false);
}

fn call_by_priority_reaches_the_next(how: Dead) {
    reaches_the_next(how, 100, ("X-Alg", "8"), false);
}

fn call_by_load_reaches_the_next_with_its_count(how: Dead) {
    reaches_the_next(how, 100, ("X-Alg", "10"), true);
}

fn call_moves_to_the_second_set_with_its_count(how: Dead) {
    reaches_the_next(how, 200, ("X-Rules", "100=10;200=10"), true);
}

fn call_moves_to_a_set_of_another_algorithm_with_its_count(how: Dead) {
    reaches_the_next(how, 200, ("X-Rules", "100=10;200=4"), true);
}

fn request_uri_follows_to_the_next_domain(how: Dead) {
    let network = network(how, 100);
    let server = Kamailio::builder().list(&*network.list).modparam(SHORT).route(ROUTE).start();
    let mut agent = server.agent();
    for (algorithm, counted) in [("8", 0), ("10", 1)] {
        let (mut call, at) = fail_over(&network, &server, &mut agent, ("X-Domain", algorithm));
        let received = network.gateways.received();
        let invite = received.iter().rev().find(|r| r.gateway == at && r.message.method() == Some("INVITE"));
        let uri = invite.unwrap().message.uri().unwrap().to_owned();
        assert_eq!(uri, format!("sip:callee@{}", network.gateways.address(at)));
        assert_eq!(loads(&server, 3)[at], counted);
        assert_eq!(assert_no_drift(&server).calls, counted);
        assert_eq!(agent.hang_up(&mut call), 200);
    }
    all_over(server);
}
