//! Several operators change destinations at the same time while calls and probes run: afterwards the sets are as they ordered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::calls::{self, NO_FAILOVER, all_over, assert_no_drift, obedient};
use crate::odd_messages::Random;
use crate::support::{Agent, Behaviour, Gateways, Kamailio, Probed, Rpc, eventually};

const STORM: Duration = Duration::from_secs(12);
const OPERATORS: usize = 3;
/// Destinations that nobody touches, so that a call always has one.
const STEADY: usize = 10;
/// Destinations of each operator.
const OWN: usize = 15;
/// Destinations that are probed, and whose gateways are down half of the time.
const PROBED: usize = 40;
const TIDY: Duration = Duration::from_secs(20);
const SHM_SLACK: i64 = 64 * 1024;

/// What an operator's destinations must be: flags and attributes by URI.
type Model = BTreeMap<String, (&'static str, String)>;

fn line(gateways: &Gateways, n: usize) -> String {
    format!("100 {} 0 0 duid=gw{n}\n", gateways.uri(n))
}

/// Does one thing after the other to his own destinations, and keeps book.
fn operate(rpc: &Rpc, gateways: &Gateways, operator: usize, over: &dyn Fn() -> bool) -> (Model, usize) {
    let own: Vec<usize> = (0..OWN).map(|n| STEADY + operator * OWN + n).collect();
    let mut model: Model = own.iter().map(|&n| (gateways.uri(n), ("AX", format!("duid=gw{n}")))).collect();
    let mut random = Random::new(operator as u64 + 1);
    let mut done = 0;
    let ask = |method: &str, params| {
        rpc.call(method, params).unwrap_or_else(|error| panic!("{method}: {error:?}"));
    };
    while !over() {
        let n = random.of(&own);
        let uri = gateways.uri(n);
        match (random.of(&[0, 1, 2, 3]), model.contains_key(&uri)) {
            (0, true) => {
                ask("dispatcher.remove", json!([100, uri]));
                model.remove(&uri);
            }
            (1, true) => {
                let attrs = format!("duid=gw{n};maxload={}", random.of(&[50, 60, 70]));
                ask("dispatcher.update", json!([100, uri, -1, -1, attrs]));
                model.get_mut(&uri).unwrap().1 = attrs;
            }
            (_, true) => {
                let (state, letters) = random.of(&[("d", "DX"), ("a", "AX"), ("i", "IX")]);
                ask("dispatcher.set_state", json!([state, 100, uri]));
                model.get_mut(&uri).unwrap().0 = letters;
            }
            (_, false) => {
                let attrs = format!("duid=gw{n}");
                ask("dispatcher.add", json!([100, uri, 0, 0, attrs]));
                model.insert(uri, ("AX", attrs));
            }
        }
        done += 1;
    }
    (model, done)
}

pub fn call_and_hang_up(agent: &mut Agent, over: &dyn Fn() -> bool) -> usize {
    let mut calls = 0;
    while !over() {
        let mut call = agent.call();
        assert_eq!(agent.place(&mut call).status(), Some(200), "call {calls}");
        assert_eq!(agent.hang_up(&mut call), 200);
        calls += 1;
    }
    calls
}

/// Gateways that answer and do not, in turn.
fn flap(gateways: &Probed, over: &dyn Fn() -> bool) {
    let mut good = true;
    while !over() {
        good = !good;
        let code = if good { 200 } else { 503 };
        gateways.behave(Behaviour::Answer(code, "In Turn"));
        gateways.forget();
        gateways.wait_for(PROBED / 2, TIDY);
    }
    gateways.behave(Behaviour::Answer(200, "Good"));
}

#[test]
fn whatever_operators_do_at_once_the_list_is_what_they_said_and_no_call_suffers() {
    let gateways = obedient(STEADY + OPERATORS * OWN);
    let probed = Probed::start();
    let steady_and_own: String = (0..STEADY + OPERATORS * OWN).map(|n| line(&gateways, n)).collect();
    let list = steady_and_own + &probed.list(200, PROBED, "").replace(" 0 0 ", " 8 0 ");
    let params = "modparam(\"tm\", \"wt_timer\", 500)\nmodparam(\"dispatcher\", \"ds_ping_interval\", 1)\n\
                  modparam(\"dispatcher\", \"ds_probing_mode\", 3)";
    let mut server = calls::plain(8, list.as_str(), NO_FAILOVER).modparam(params).start();
    eventually("all are probed", TIDY, || probed.probes().len() >= PROBED);
    let before = server.shm_used();

    let until = Instant::now() + STORM;
    let over = || Instant::now() >= until;
    let (models, calls) = std::thread::scope(|scope| {
        let (gateways, over) = (&gateways, &over);
        let operators: Vec<_> = (0..OPERATORS)
            .map(|operator| {
                let rpc = server.rpc_handle();
                scope.spawn(move || operate(&rpc, gateways, operator, over))
            })
            .collect();
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let mut agent = server.agent();
                scope.spawn(move || call_and_hang_up(&mut agent, over))
            })
            .collect();
        scope.spawn(|| flap(&probed, over));
        let models: Vec<_> = operators.into_iter().map(|one| one.join().unwrap()).collect();
        (models, callers.into_iter().map(|one| one.join().unwrap()).sum::<usize>())
    });

    let done: usize = models.iter().map(|(_, done)| done).sum();
    assert!(done > 300 && calls > 100, "{done} changes and {calls} calls are no storm");
    let mut due: Model = (0..STEADY).map(|n| (gateways.uri(n), ("AX", format!("duid=gw{n}")))).collect();
    models.into_iter().for_each(|(model, _)| due.extend(model));
    let listed = |server: &Kamailio, set: i64| -> BTreeMap<String, (String, String)> {
        let of_set = server.list().into_iter().filter(|one| one.set == set);
        of_set.map(|one| (one.uri, (one.flags, one.attrs))).collect()
    };
    let due: BTreeMap<_, _> =
        due.into_iter().map(|(uri, (flags, attrs))| (uri, (flags.to_owned(), attrs))).collect();
    assert_eq!(listed(&server, 100), due);
    eventually("all that are probed are back", TIDY, || {
        listed(&server, 200).values().all(|(flags, _)| flags == "AP")
    });
    assert_eq!(listed(&server, 200).len(), PROBED);
    server.assert_healthy();
    assert_eq!(assert_no_drift(&server).calls, 0);
    server.write_list(&list);
    server.rpc("dispatcher.reload", json!([])).unwrap();
    eventually("shared memory is back at its level", TIDY, || server.shm_used() < before + SHM_SLACK);
    all_over(server);
}
