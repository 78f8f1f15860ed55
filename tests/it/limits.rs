//! The least loaded is chosen and counted in one step, and no limit is passed.

use crate::calls::{
    self, NO_FAILOVER, all_over, assert_no_drift, at_one_and_eight_workers, burst, hang_up_all, loads,
    obedient, up,
};
use crate::support::counting;
use crate::support::{Agent, Call, Gateways, Kamailio};

at_one_and_eight_workers! {
    bursts_fill_every_gateway_to_its_limit_and_no_further,
    every_place_is_taken_once,
    counted_calls_that_go_on_in_a_list_that_does_not_count_pass_no_limit,
    zero_or_absent_maxload_is_no_limit,
    short_calls_over_idle_gateways_are_shared_evenly,
    loads_of_long_calls_differ_by_one_at_most,
    freed_place_is_given_to_the_next_call,
    spare_destination_takes_calls_only_when_the_others_are_full,
}

const BURSTS: usize = 40;
const BURST: usize = 40;

pub fn bursts_fill_every_gateway_to_its_limit_and_no_further(workers: u32) {
    let gateways = Gateways::ringing(3);
    let server = calls::relaying(workers, gateways.list(100, "maxload=5"), NO_FAILOVER).start();
    let mut agents: Vec<Agent> = (0..BURST).map(|_| server.agent()).collect();
    for round in 0..BURSTS {
        gateways.forget_received();
        let mut calls: Vec<Call> = agents.iter().map(Agent::call).collect();
        let accepted = burst(&mut agents, &mut calls);
        assert_eq!(accepted.len(), 15, "burst {round}");
        assert_eq!(gateways.counts("INVITE"), [5, 5, 5], "burst {round}");
        assert_eq!(loads(&server, 3), [5, 5, 5], "burst {round}");
        for (agent, call) in accepted {
            assert_eq!(agent.cancel(call), 487);
        }
        assert_eq!(assert_no_drift(&server).calls, 0, "burst {round}");
    }
    all_over(server);
}

/// The script sends the request where nobody is and answers by itself: next to nothing but choosing and counting is left
/// for the workers to meet in.
const ANSWER: &str = r#"
request_route {
	if (is_method("ACK")) exit;
	if (is_method("CANCEL")) ds_load_update();
	else if (ds_select_dst("100", "10")) forward();
	else { sl_send_reply("404", "No destination"); exit; }
	sl_send_reply("200", "OK");
}
"#;

const PLACES: usize = 200;
const AT_ONCE: usize = 52;
const ROUNDS: usize = 40;

fn every_place_is_taken_once(workers: u32) {
    // A script that answers by itself sends nothing: such a call does not count where the module follows it.
    counting::in_script();
    let line = |n: usize| format!("100 sip:127.0.{}.{}:5060 0 0 maxload=1\n", n / 100 + 1, n % 100 + 1);
    let list: String = (0..PLACES).map(line).collect();
    let server = Kamailio::builder().workers(workers).list(list).route(ANSWER).start();
    let mut agent = server.agent();
    for round in 0..ROUNDS {
        let mut accepted = Vec::new();
        for _ in 0..4 {
            let mut calls: Vec<Call> = (0..AT_ONCE).map(|_| agent.call()).collect();
            for call in &mut calls {
                agent.send(&call.invite());
            }
            calls.retain(|call| agent.answer(call, "INVITE").status() == Some(200));
            accepted.append(&mut calls);
        }
        let loads: Vec<i64> = server.list().iter().filter_map(|d| d.load).collect();
        assert!(loads == [1; PLACES], "round {round}: {loads:?}");
        assert_eq!(accepted.len(), PLACES, "round {round}");
        for call in &accepted {
            agent.send(&call.cancel());
            agent.answer(call, "CANCEL");
        }
    }
    let audit = assert_no_drift(&server);
    assert_eq!((audit.calls, audit.released), (0, (PLACES * ROUNDS) as i64));
    all_over(server);
}

/// The call counts, then goes to a set whose list an algorithm made that does not count, and on in that.
const SENT_ON: &str = r#"
request_route {
	if (is_method("ACK")) exit;
	if (is_method("CANCEL")) ds_load_update();
	else if (ds_select_dst("100", "10") && ds_select_dst("200", "8") && ds_next_dst()) forward();
	else { sl_send_reply("404", "No destination"); exit; }
	sl_send_reply("200", "OK");
}
"#;

fn counted_calls_that_go_on_in_a_list_that_does_not_count_pass_no_limit(workers: u32) {
    // A script that answers by itself sends nothing: such a call does not count where the module follows it.
    counting::in_script();
    let line = |set: u32, n: usize, priority: usize, attrs: &str| {
        format!("{set} sip:127.0.0.{}:5060 0 {priority} duid=gw{n}{attrs}\n", n + 1)
    };
    let list = [
        line(100, 0, 0, ""),
        line(200, 1, 9, ""),
        line(200, 2, 5, ";maxload=3"),
        line(200, 3, 1, ";maxload=2"),
    ];
    let server = calls::relaying(workers, list.concat(), NO_FAILOVER).route(SENT_ON).start();
    let mut agents: Vec<Agent> = (0..AT_ONCE).map(|_| server.agent()).collect();
    for round in 0..ROUNDS {
        let mut calls: Vec<Call> = agents.iter().map(Agent::call).collect();
        let invites: Vec<_> = calls.iter_mut().map(Call::invite).collect();
        for (agent, invite) in std::iter::zip(&agents, &invites) {
            agent.send(invite);
        }
        for (agent, call) in std::iter::zip(&mut agents, &calls) {
            assert_eq!(agent.answer(call, "INVITE").status(), Some(200), "round {round}");
        }
        // For the others the list goes on to where they came from.
        assert_eq!(loads(&server, 4), [AT_ONCE as i64 - 5, 0, 3, 2], "round {round}");
        for (agent, call) in std::iter::zip(&mut agents, &calls) {
            agent.send(&call.cancel());
            assert_eq!(agent.answer(call, "CANCEL").status(), Some(200));
        }
        assert_eq!(assert_no_drift(&server).calls, 0, "round {round}");
    }
    all_over(server);
}

pub fn zero_or_absent_maxload_is_no_limit(workers: u32) {
    let gateways = obedient(2);
    let list =
        format!("100 {} 0 0 duid=gw0;maxload=0\n100 {} 0 0 duid=gw1\n", gateways.uri(0), gateways.uri(1));
    let server = calls::relaying(workers, list, NO_FAILOVER).start();
    let mut agent = server.agent();
    let mut calls: Vec<Call> = (0..120).map(|_| up(&mut agent)).collect();
    assert_eq!(loads(&server, 2), [60, 60]);
    hang_up_all(&mut agent, &mut calls);
    all_over(server);
}

pub fn short_calls_over_idle_gateways_are_shared_evenly(workers: u32) {
    let gateways = obedient(8);
    let server = calls::relaying(workers, gateways.list(100, "maxload=50"), NO_FAILOVER).start();
    let mut agent = server.agent();
    for _ in 0..800 {
        let mut call = up(&mut agent);
        assert_eq!(agent.hang_up(&mut call), 200);
    }
    assert_eq!(gateways.counts("INVITE"), [100; 8]);
    all_over(server);
}

pub fn loads_of_long_calls_differ_by_one_at_most(workers: u32) {
    let gateways = obedient(5);
    let server = calls::relaying(workers, gateways.list(100, ""), NO_FAILOVER).start();
    let mut agents: Vec<Agent> = (0..23).map(|_| server.agent()).collect();
    let mut held = Vec::new();
    for round in 1..=4 {
        let mut calls: Vec<Call> = agents.iter().map(Agent::call).collect();
        for (agent, call) in std::iter::zip(&agents, &mut calls) {
            agent.send(&call.invite());
        }
        for (agent, call) in std::iter::zip(&mut agents, &mut calls) {
            assert_eq!(agent.settle(call).status(), Some(200));
        }
        held.push(calls);
        let loads = loads(&server, 5);
        assert_eq!(loads.iter().sum::<i64>(), 23 * round);
        assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{loads:?}");
    }
    for mut calls in held {
        for (agent, call) in std::iter::zip(&mut agents, &mut calls) {
            assert_eq!(agent.hang_up(call), 200);
        }
    }
    all_over(server);
}

pub fn freed_place_is_given_to_the_next_call(workers: u32) {
    let gateways = obedient(3);
    let server = calls::relaying(workers, gateways.list(100, "maxload=2"), NO_FAILOVER).start();
    let mut agent = server.agent();
    let mut calls: Vec<Call> = (0..6).map(|_| up(&mut agent)).collect();
    assert_eq!(refused_status(&mut agent), 404);
    for _ in 0..10 {
        let mut ended = calls.remove(2);
        let freed = gateways.of_call(&ended.id);
        assert_eq!(agent.hang_up(&mut ended), 200);
        let next = up(&mut agent);
        assert_eq!(gateways.of_call(&next.id), freed);
        assert_eq!(refused_status(&mut agent), 404);
        calls.push(next);
    }
    hang_up_all(&mut agent, &mut calls);
    all_over(server);
}

fn spare_destination_takes_calls_only_when_the_others_are_full(workers: u32) {
    let gateways = obedient(3);
    let line =
        |n: usize, priority: usize| format!("100 {} 0 {priority} duid=gw{n};maxload=2\n", gateways.uri(n));
    let list = format!("{}{}{}", line(2, 1), line(0, 9), line(1, 5));
    let spare = r#"modparam("dispatcher", "use_default", 1)"#;
    let server = calls::relaying(workers, list, NO_FAILOVER).modparam(spare).start();
    let mut agent = server.agent();
    let mut calls = Vec::new();
    for expected in [[0, 0, 0], [1, 0, 0], [1, 1, 0], [2, 1, 0], [2, 2, 0], [2, 2, 1], [2, 2, 2]] {
        assert_eq!(sorted_with_spare(&server), expected);
        if calls.len() < 6 {
            calls.push(up(&mut agent));
        }
    }
    assert_eq!(refused_status(&mut agent), 404);
    hang_up_all(&mut agent, &mut calls);
    all_over(server);
}

/// The loads of gw0 and gw1, the higher first, and of gw2.
fn sorted_with_spare(server: &Kamailio) -> [i64; 3] {
    let loads = loads(server, 3);
    [loads[0].max(loads[1]), loads[0].min(loads[1]), loads[2]]
}

fn refused_status(agent: &mut Agent) -> u16 {
    let mut call = agent.call();
    agent.place(&mut call).status().unwrap()
}
