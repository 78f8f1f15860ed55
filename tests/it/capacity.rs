//! Capacities that destinations share, in whatever sets: never a call too many, and none refused while there is room.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::calls::{
    self, FAILOVER, NO_FAILOVER, all_over, assert_no_drift, burst, counted_in_each_way, hang_up_all,
    let_scripts_end, set, with,
};
use crate::restart;
use crate::support::server_config::Builder;
use crate::support::{Agent, Call, Gateways, Kamailio};

const WORKERS: u32 = 8;
const MOST: usize = 10;
const LIMITS: &str = "modparam(\"dispatcher\", \"ds_limits\", 1)\n";

counted_in_each_way! {
    bursts_in_three_sets_take_each_place_once,
    calls_that_fail_over_keep_their_places,
    answers_that_cross_their_cancels_count_in_the_capacity,
}

/// Set 100 has the first gateways, so many of them, set 101 the next ones, and set 102 the last. All share one capacity.
fn list(gateways: &Gateways, each: usize) -> String {
    let line = |n: usize| {
        let (set, uri) = (100 + n / each, gateways.uri(n));
        format!("{set} {uri} 0 0 duid=gw{n};capacity=carrier;capacity_max={MOST}\n")
    };
    (0..3 * each).map(line).collect()
}

fn limited(builder: Builder) -> Builder {
    builder.modparam(&format!("modparam(\"dispatcher\", \"flags\", 2)\n{LIMITS}"))
}

/// The calls of each agent, each in one of three sets.
fn spread(agents: &[Agent]) -> Vec<Call> {
    let one = |(at, agent): (usize, &Agent)| with(agent.call(), "X-Set", &(100 + at % 3).to_string());
    agents.iter().enumerate().map(one).collect()
}

/// Each capacity: name, calls, limit and members.
fn capacities(server: &Kamailio) -> Vec<(String, i64, i64, usize)> {
    let answer = server.rpc("dispatcher.capacity", json!([])).unwrap();
    let one = |one: &Value| {
        let one = &one["CAPACITY"];
        let members = one["MEMBERS"].as_array().unwrap();
        let loads: i64 = members.iter().map(|one| one["DEST"]["LOAD"].as_i64().unwrap()).sum();
        let calls = one["CALLS"].as_i64().unwrap();
        assert_eq!((loads, members.len() as i64), (calls, one["SIZE"].as_i64().unwrap()), "{answer}");
        (one["NAME"].as_str().unwrap().to_owned(), calls, one["LIMIT"].as_i64().unwrap(), members.len())
    };
    answer["CAPACITIES"].as_array().unwrap().iter().map(one).collect()
}

fn calls_in(server: &Kamailio) -> usize {
    capacities(server)[0].1 as usize
}

fn bursts_in_three_sets_take_each_place_once() {
    let gateways = Gateways::ringing(3);
    let server = limited(calls::plain(WORKERS, list(&gateways, 1), NO_FAILOVER)).start();
    let mut agents: Vec<Agent> = (0..30).map(|_| server.agent()).collect();
    let mut held: Vec<(Agent, Call)> = Vec::new();
    for round in 0..40 {
        gateways.forget_received();
        let mut calls = spread(&agents);
        let accepted = burst(&mut agents, &mut calls);
        let invites: usize = gateways.counts("INVITE").iter().sum();
        assert_eq!((accepted.len(), invites), (MOST - held.len(), MOST - held.len()), "burst {round}");
        assert_eq!(capacities(&server), [("carrier".into(), MOST as i64, MOST as i64, 3)], "burst {round}");
        for (agent, call) in accepted {
            assert_eq!(agent.cancel(call), 487);
        }
        for (mut agent, mut call) in held.drain(..) {
            assert_eq!(agent.cancel(&mut call), 487);
        }
        assert_eq!((assert_no_drift(&server).calls, calls_in(&server)), (0, 0), "burst {round}");
        // Some ring on beside the next burst.
        for at in 0..round % 5 {
            let mut agent = server.agent();
            let mut call = with(agent.call(), "X-Set", &(100 + at % 3).to_string());
            agent.ring(&mut call);
            held.push((agent, call));
        }
    }
    for (mut agent, mut call) in held {
        assert_eq!(agent.cancel(&mut call), 487);
    }
    all_over(server);
}

/// Says at its end that a test is over, whatever ended it.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Half of the gateways refuse, so calls go on to the other one of their set, which shares the same capacity: a call that has a place
/// there goes on though no other is left.
fn calls_that_fail_over_keep_their_places() {
    let gateways = Gateways::start(6, |gateway, request| match request.method() {
        Some("INVITE") if gateway % 2 == 0 => vec![503],
        Some("INVITE") => vec![180],
        Some("CANCEL") => vec![487],
        _ => vec![200],
    });
    let server = limited(calls::plain(WORKERS, list(&gateways, 2), FAILOVER)).start();
    let mut agents: Vec<Agent> = (0..30).map(|_| server.agent()).collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = Over(&over);
        let looks = scope.spawn(|| {
            let mut looks = 0;
            while !over.load(Ordering::SeqCst) {
                let calls = calls_in(&server);
                assert!(calls <= MOST, "{calls} calls");
                looks += 1;
            }
            looks
        });
        for round in 0..40 {
            gateways.forget_received();
            let mut calls = spread(&agents);
            let invites: Vec<_> = calls.iter_mut().map(Call::invite).collect();
            std::iter::zip(&agents, &invites).for_each(|(agent, invite)| agent.send(invite));
            let mut accepted = Vec::new();
            for (agent, call) in std::iter::zip(&mut agents, &mut calls) {
                let reply = agent.reply_to(call, "INVITE", 180..=699);
                match reply.status() {
                    Some(180) => accepted.push((agent, call)),
                    // The other gateway's place went to another call meanwhile.
                    Some(404 | 500 | 503) => agent.send(&call.ack(&reply)),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((accepted.len(), calls_in(&server)), (MOST, MOST), "burst {round}");
            for (agent, call) in accepted {
                assert_eq!(agent.cancel(call), 487);
            }
            assert_eq!((assert_no_drift(&server).calls, calls_in(&server)), (0, 0), "burst {round}");
        }
        drop(end);
        assert!(looks.join().unwrap() > 40);
    });
    all_over(server);
}

fn answers_that_cross_their_cancels_count_in_the_capacity() {
    let gateways = Gateways::start(3, |_, request| match request.method() {
        Some("INVITE") => vec![180],
        _ => vec![200], // to a CANCEL: the call is answered all the same
    });
    let server = limited(calls::plain(WORKERS, list(&gateways, 1), NO_FAILOVER)).start();
    let mut agents: Vec<Agent> = (0..30).map(|_| server.agent()).collect();
    for round in 0..10 {
        let mut calls = spread(&agents);
        let mut accepted = burst(&mut agents, &mut calls);
        assert_eq!((accepted.len(), calls_in(&server)), (MOST, MOST), "burst {round}");
        for (agent, call) in &mut accepted {
            assert_eq!(agent.cancel(call), 200);
        }
        assert_eq!((assert_no_drift(&server).calls, calls_in(&server)), (MOST as i64, MOST), "burst {round}");
        // All are up: there is no room.
        let mut other = server.agent();
        let mut call = other.call();
        assert_eq!(other.place(&mut call).status(), Some(404));
        for (agent, call) in accepted {
            assert_eq!(agent.hang_up(call), 200);
        }
        let_scripts_end(&server);
        assert_eq!(calls_in(&server), 0);
    }
    all_over(server);
}

fn up(server: &Kamailio, set: u32) -> Option<(Agent, Call)> {
    let mut agent = server.agent();
    let mut call = with(agent.call(), "X-Set", &set.to_string());
    match agent.place(&mut call).status() {
        Some(200) => Some((agent, call)),
        Some(404) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_reloads_and_commands_say_of_a_capacity_counts_at_once() {
    let gateways = calls::obedient(3);
    let line = |n: usize, attrs: &str| format!("{} {} 0 0 duid=gw{n};{attrs}\n", 100 + n, gateways.uri(n));
    let start =
        line(0, "capacity=a;capacity_max=3") + &line(1, "capacity=a;capacity_max=2") + &line(2, "x=y");
    let server = limited(calls::plain(4, start, NO_FAILOVER)).start();
    let smallest =
        "capacity='a': capacity_max is 3 here and 2 on line 2: the smallest of all, 2, is in effect";
    assert_eq!(server.log_lines(smallest).len(), 1);
    let mut held: Vec<_> = [100, 101].map(|set| up(&server, set).unwrap()).into();
    assert!(up(&server, 100).is_none() && up(&server, 101).is_none());
    // Why, and where it is seen.
    let told = server.rpc("dispatcher.explain", json!([101, 10])).unwrap();
    let why = &told["TARGETS"][0]["DEST"];
    assert_eq!((told["REFUSED"].as_str(), why["WHY"].as_str()), (Some("no room"), Some("capacity a full")));
    assert_eq!(why["CAPACITY"], json!({"NAME": "a", "CALLS": 2, "LIMIT": 2, "RESERVE": 0}));
    let full = server.rpc("dispatcher.list", json!(["full", 100])).unwrap();
    let shown = &full["RECORDS"][0]["SET"]["TARGETS"][0]["DEST"]["CAPACITY"];
    assert_eq!(*shown, json!({"NAME": "a", "CALLS": 2, "LIMIT": 2, "RESERVE": 0}));
    // A reload says more.
    server.write_list(&(line(0, "capacity=a;capacity_max=3") + &line(1, "capacity=a") + &line(2, "x=y")));
    server.rpc("dispatcher.reload", json!([])).unwrap();
    held.push(up(&server, 101).unwrap());
    assert!(up(&server, 100).is_none());
    // Another destination comes to it, and then it is of another one.
    let update =
        |attrs: &str| server.rpc("dispatcher.update", json!([102, gateways.uri(2), -1, -1, attrs])).unwrap();
    held.push(up(&server, 102).unwrap());
    update("duid=gw2;capacity=a");
    assert_eq!(capacities(&server), [("a".into(), 4, 3, 3)]);
    assert_eq!(update("duid=gw2;capacity=b;capacity_max=2"), "Ok. Dispatcher destination updated.");
    let told = update("duid=gw2;capacity=a;capacity_max=4").as_str().map(str::to_owned).unwrap();
    assert!(told.contains("Findings: capacity='a': capacity_max is 4 here and 3 at "), "{told}");
    update("duid=gw2;capacity=b;capacity_max=2");
    assert_eq!(capacities(&server), [("a".into(), 3, 3, 2), ("b".into(), 1, 2, 1)]);
    held.push(up(&server, 102).unwrap());
    assert!(up(&server, 102).is_none());
    // One that is gone keeps its calls in it until they end.
    server.rpc("dispatcher.remove", json!([101, gateways.uri(1)])).unwrap();
    assert_eq!(capacities(&server)[0], ("a".into(), 3, 3, 2));
    assert!(up(&server, 100).is_none());
    let (mut agent, mut call) = held.remove(1);
    assert_eq!(agent.hang_up(&mut call), 200);
    held.push(up(&server, 100).unwrap());
    // Who says otherwise than another line is told so.
    let other = format!("at '{}' in set 100", gateways.uri(0));
    let told = format!(
        "Ok. Dispatcher destination added. Findings: capacity='a': capacity_max is 9 here and 3 {other}: the smallest of all, 3, is in effect"
    );
    let add = json!([101, gateways.uri(1), 0, 0, "duid=gw1;capacity=a;capacity_max=9"]);
    assert_eq!(server.rpc("dispatcher.add", add).unwrap(), told);
    assert_eq!(capacities(&server)[0], ("a".into(), 3, 3, 2), "the smallest counts");
    assert!(up(&server, 101).is_none());
    assert_no_drift(&server);
    for (mut agent, mut call) in held {
        hang_up_all(&mut agent, [&mut call]);
    }
    assert_eq!(capacities(&server), [("a".into(), 0, 3, 2), ("b".into(), 0, 2, 1)]);
    assert_eq!(assert_no_drift(&server).calls, 0);
    server.stop();
}

#[test]
fn calls_count_in_their_capacity_after_a_restart() {
    const ROUTE: &str = r#"
request_route {
	if (is_method("ACK")) exit;
	if (is_method("BYE")) { ds_load_update(); sl_send_reply("200", "OK"); exit; }
	$var(set) = $(hdr(X-Set){s.int});
	if (!ds_select_dst("$var(set)", "10")) { sl_send_reply("404", "No destination"); exit; }
	t_relay();
}
onreply_route { if (status =~ "2[0-9][0-9]") ds_load_update(); }
"#;
    let (folder, gateways) = (restart::folder(), calls::obedient(3));
    let file = folder.path().join("state");
    let start = || restart::builder(&list(&gateways, 1), &file).modparam(LIMITS).route(ROUTE).start();
    let server = start();
    let mut held: Vec<_> = (0..MOST as u32).map(|n| up(&server, 100 + n % 3).unwrap()).collect();
    assert!(up(&server, 100).is_none());
    server.stop();
    let server = start();
    assert_eq!(capacities(&server), [("carrier".into(), MOST as i64, MOST as i64, 3)]);
    assert_no_drift(&server);
    assert!([100, 101, 102].iter().all(|set| up(&server, *set).is_none()));
    for (agent, call) in &mut held {
        agent.turn_to(server.address());
        assert_eq!(agent.hang_up(call), 200);
    }
    assert_eq!(calls_in(&server), 0);
    all_over(server);
}

#[test]
fn without_ds_limits_a_capacity_is_text_for_the_script() {
    let gateways = calls::obedient(3);
    let list = list(&gateways, 1).replace("capacity_max=10", "capacity_max=many");
    let server = calls::plain(4, list, NO_FAILOVER).start();
    let mut held: Vec<_> = (0..MOST as u32 + 5).map(|n| up(&server, 100 + n % 3).unwrap()).collect();
    assert_eq!(capacities(&server), []);
    let told = "without ds_limits these attributes are only text for the script: capacity, capacity_max";
    let lines = server.log_lines(told);
    assert!(lines.len() == 1 && lines[0].contains("INFO"), "{lines:?}");
    for (agent, call) in &mut held {
        set(call, "X-Set", "100");
        assert_eq!(agent.hang_up(call), 200);
    }
    all_over(server);
}
