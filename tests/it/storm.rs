//! The reload storm: what kills the stock module within seconds.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::calls::{self, NO_FAILOVER, all_over, assert_no_drift, obedient, reload_by_script};
use crate::support::{Agent, Call, Gateways, Kamailio, Rpc, eventually};

const STORM: Duration = Duration::from_secs(30);
const DESTINATIONS: usize = 200;
/// Calls that each caller holds at a time.
const HELD: usize = 50;
/// Reloads that are under way at once.
const AT_ONCE: usize = 8;
/// What tm needs to forget its transactions, and more.
const TIDY: Duration = Duration::from_secs(20);
/// Room for what the allocator keeps in other pieces than before.
const SHM_SLACK: i64 = 64 * 1024;

#[derive(Default)]
struct Tally {
    calls: AtomicUsize,
    reloads: AtomicUsize,
}

impl Tally {
    fn bump(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The list, forwards or backwards, whole or without every tenth.
fn list(gateways: &Gateways, variant: usize) -> String {
    let numbers = (0..DESTINATIONS).filter(|n| variant % 3 != 0 || n % 10 != 0);
    let mut lines: Vec<String> =
        numbers.map(|n| format!("100 {} 0 0 duid=gw{n};v={variant}\n", gateways.uri(n))).collect();
    if variant % 2 == 1 {
        lines.reverse();
    }
    lines.concat()
}

fn storm(server: &Kamailio, gateways: &Gateways, until: Instant) -> Tally {
    let tally = Tally::default();
    let over = || Instant::now() >= until;
    std::thread::scope(|scope| {
        for mut agent in [server.agent(), server.agent(), server.agent()] {
            let (tally, over) = (&tally, &over);
            scope.spawn(move || call_and_hang_up(&mut agent, tally, over));
        }
        for mut agent in [server.agent(), server.agent()] {
            let (tally, over) = (&tally, &over);
            scope.spawn(move || reload_from_workers(&mut agent, tally, over));
        }
        let (rpc, file) = (server.rpc_handle(), server.list_file());
        let (tally, over) = (&tally, &over);
        scope.spawn(move || change_the_file(&rpc, gateways, &file, tally, over));
    });
    tally
}

/// Every call is taken, every call is hung up, the oldest first.
fn call_and_hang_up(agent: &mut Agent, tally: &Tally, over: &dyn Fn() -> bool) {
    let mut held = std::collections::VecDeque::new();
    let hang_up = |agent: &mut Agent, mut call: Call| assert_eq!(agent.hang_up(&mut call), 200);
    while !over() {
        let mut call = agent.call();
        assert_eq!(agent.place(&mut call).status(), Some(200), "call {tally:?}", tally = tally.calls);
        Tally::bump(&tally.calls);
        held.push_back(call);
        if held.len() > HELD {
            hang_up(agent, held.pop_front().unwrap());
        }
    }
    held.into_iter().for_each(|call| hang_up(agent, call));
}

fn reload_from_workers(agent: &mut Agent, tally: &Tally, over: &dyn Fn() -> bool) {
    while !over() {
        let mut asked: Vec<Call> = (0..AT_ONCE).map(|_| agent.call()).collect();
        for call in &mut asked {
            agent.send(&call.within("MESSAGE"));
        }
        for call in &asked {
            assert_eq!(agent.answer(call, "MESSAGE").status(), Some(200));
            Tally::bump(&tally.reloads);
        }
    }
}

/// A new file all at once, as a careful operator does it.
pub fn replace(file: &Path, list: &str) {
    let next = file.with_extension("next");
    std::fs::write(&next, list).unwrap();
    std::fs::rename(&next, file).unwrap();
}

fn change_the_file(rpc: &Rpc, gateways: &Gateways, file: &Path, tally: &Tally, over: &dyn Fn() -> bool) {
    for variant in 0.. {
        let last = over();
        replace(file, &list(gateways, if last { 1 } else { variant }));
        rpc.call("dispatcher.reload", json!([])).unwrap_or_else(|e| panic!("{e:?}"));
        Tally::bump(&tally.reloads);
        gateways.forget_received();
        if last {
            return;
        }
    }
}

#[test]
fn storm_of_reloads_refuses_no_call_and_leaves_no_trace() {
    let gateways = obedient(DESTINATIONS);
    // tm keeps a transaction five seconds after its end; at this rate that alone would fill the pool.
    let any_time = r#"modparam("dispatcher", "reload_delta", 0) modparam("tm", "wt_timer", 500)"#;
    let mut server = calls::plain(8, list(&gateways, 1), NO_FAILOVER).modparam(any_time).start();
    assert_eq!(reload_by_script(&mut server.agent()), 200);
    let before = server.shm_used();

    let tally = storm(&server, &gateways, Instant::now() + STORM);
    server.assert_healthy();
    assert_eq!(assert_no_drift(&server).calls, 0);
    let (calls, reloads) = (tally.calls.into_inner(), tally.reloads.into_inner());
    assert!(calls > 1000 && reloads > 1000, "{calls} calls and {reloads} reloads are no storm");
    eventually("removed ones forgotten, old generations and transactions freed", TIDY, || {
        assert_no_drift(&server).accounts.len() == DESTINATIONS && server.shm_used() < before + SHM_SLACK
    });
    assert_eq!(server.list().len(), DESTINATIONS);
    all_over(server);
}
