//! The configurations in `examples/`, as they are: each starts, and its calls of every fate leave no load behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::calls::{all_over, assert_no_drift, hang_up_all, loads, obedient, with};
use crate::support::{Agent, Gateways, Kamailio, eventually};

const SOON: Duration = Duration::from_secs(10);

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// Calls that are answered, refused, cancelled and not answered: even while they last, and nothing in the end.
fn takes_calls_of_every_fate(config: &str, script: &str) {
    let gateways = obedient(3);
    let script = format!("SCRIPT=\"{}\"", example(script).display());
    let server = Kamailio::builder()
        .file(example(config))
        .define(script)
        .list(gateways.list(100, "maxload=4"))
        .start();
    let mut agent = server.agent();
    let mut answered: Vec<_> = (0..9).map(|_| agent.call()).collect();
    for call in &mut answered {
        assert_eq!(agent.place(call).status(), Some(200));
    }
    assert_eq!(loads(&server, 3), [3; 3]);
    let mut refused = with(agent.call(), "X-Answer", "486");
    assert_eq!(agent.place(&mut refused).status(), Some(486));
    let mut cancelled: Vec<_> = (0..3).map(|_| with(agent.call(), "X-Answer", "180")).collect();
    for call in &mut cancelled {
        agent.ring(call);
    }
    let mut too_many = agent.call();
    assert_eq!(agent.place(&mut too_many).status(), Some(404));
    for call in &mut cancelled {
        assert_eq!(agent.cancel(call), 487);
    }
    assert_eq!(loads(&server, 3), [3; 3]);
    hang_up_all(&mut agent, &mut answered);
    eventually("all are empty", SOON, || assert_no_drift(&server).calls == 0);
    assert_eq!(loads(&server, 3), [0; 3]);
    all_over(server);
}

#[test]
fn shortest_proxy() {
    takes_calls_of_every_fate("shortest.cfg", "");
}

#[test]
fn shortest_proxy_in_lua() {
    takes_calls_of_every_fate("lua.cfg", "shortest.lua");
}

#[test]
fn shortest_proxy_in_python() {
    takes_calls_of_every_fate("python.cfg", "shortest.py");
}

#[test]
fn two_sets_spill_over_when_the_first_is_full_or_says_nothing() {
    let gateways = Gateways::start(3, |gateway, request| match (request.method(), gateway) {
        (Some("INVITE"), 1) => vec![], // set 100 has a dead one
        _ => vec![200],
    });
    let line = |set: u32, gateway: usize| {
        format!("{set} {} 0 0 duid=gw{gateway};maxload=2\n", gateways.uri(gateway))
    };
    let list = [line(100, 0), line(100, 1), line(200, 2)].concat();
    let server = Kamailio::builder().file(example("spill.cfg")).list(list).start();
    let mut agents: Vec<Agent> = (0..4).map(|_| server.agent()).collect();
    let mut calls: Vec<_> = agents.iter().map(Agent::call).collect();
    for (agent, call) in std::iter::zip(&mut agents, &mut calls) {
        assert_eq!(agent.place(call).status(), Some(200));
    }
    assert_eq!(loads(&server, 3), [2, 0, 2]);
    for (agent, call) in std::iter::zip(&mut agents, &mut calls) {
        hang_up_all(agent, [call]);
    }
    all_over(server);
}
