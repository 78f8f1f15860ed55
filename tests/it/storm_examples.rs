//! The calls of each example configuration at its eight workers, while a gateway crashes and comes back. At every rest each gateway
//! has as much load as calls that are up there, and nothing in the end. STORM_SECONDS makes it longer: `make storm`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::calls::{assert_no_drift, loads, obeys, with};
use crate::examples::{Secure, cannot_run, with_example};
use crate::odd_messages::Random;
use crate::storm_branches::{TIDY, long};
use crate::support::{Agent, Call, Gateways, Kamailio, Message, Over, eventually, until};

const CALLERS: usize = 6;
/// Calls that a caller has up at a time, at most.
const HELD: usize = 6;
/// What a gateway that is up takes to answer, and more.
const SOON: Duration = Duration::from_secs(10);
/// tm keeps each transaction, some 14 kB, for five seconds after its end: ten thousand a second have room.
const SHM_MEGABYTES: u32 = 1024;
/// What buffers of connections may have grown by.
const SHM_SLACK: i64 = 64 * 1024;
/// Requests that a gateway has still to know while its calls are up.
const REMEMBERED: usize = 4_000;

/// One of the three; none while it is down.
type Place = RwLock<Option<Gateways>>;

fn up(place: &Place) -> RwLockReadGuard<'_, Option<Gateways>> {
    place.read().unwrap()
}

/// What came of calls: the final answer of each, or `silence`, and who ended it.
type Fates = BTreeMap<String, usize>;

struct Caller<'a> {
    agent: Agent,
    random: Random,
    gateways: &'a [Place],
    /// How long it waits for a first answer before it gives up.
    patience: Duration,
    held: Vec<Call>,
    fates: Fates,
}

impl Caller<'_> {
    fn count(&mut self, fate: impl Into<String>) {
        *self.fates.entry(fate.into()).or_default() += 1;
    }

    fn call_until(&mut self, end: Instant) {
        while Instant::now() < end {
            if self.held.len() < HELD && self.random.below(2) == 0 {
                self.begin();
            } else if !self.held.is_empty() {
                let call = self.held.swap_remove(self.random.below(self.held.len()));
                self.end(call);
            }
        }
        self.end_the_rest();
        self.agent.forget_waiting();
    }

    /// A gateway that has come back answers what was given up long ago, when the server has sent it once more.
    fn end_the_rest(&mut self) {
        let is_answer = |m: &Message| m.status() == Some(200) && m.cseq().1 == "INVITE";
        while let Some(answer) = self.agent.receive_where(Duration::from_millis(20), is_answer) {
            let mut call = self.agent.call_with_id(answer.call_id());
            call.cseq = answer.cseq().0;
            call.from_tag = answer.tag("From").unwrap_or_default().into();
            call.learn(&answer);
            self.agent.send(&call.ack(&answer));
            if self.held.iter().all(|held| held.id != call.id) {
                self.count("200 to a call that was given up");
                self.end(call);
            }
        }
    }

    fn begin(&mut self) {
        let answer = self.random.of(&["200", "180 200", "180 200", "180", "486", "503"]);
        let mut call = with(self.agent.call(), "X-Answer", answer);
        self.agent.send(&call.invite());
        let of_call = |m: &Message, from: u16| {
            m.status().is_some_and(|status| status >= from)
                && m.call_id() == call.id
                && m.cseq().1 == "INVITE"
        };
        let Some(first) = self.agent.receive_where(self.patience, |m| of_call(m, 180)) else {
            self.agent.send(&call.cancel());
            return self.count("silence");
        };
        let rings = first.status() == Some(180);
        if rings && answer == "180" {
            self.agent.send(&call.cancel());
        }
        let last =
            if rings { self.agent.receive_where(self.patience, |m| of_call(m, 200)) } else { Some(first) };
        // It has crashed while it rang.
        let Some(last) = last else {
            self.agent.send(&call.cancel());
            return self.count("silence");
        };
        let status = last.status().unwrap_or(0);
        if status == 200 {
            call.learn(&last);
        }
        self.agent.send(&call.ack(&last));
        self.count(status.to_string());
        if status == 200 {
            call.extra.clear();
            self.held.push(call);
        }
    }

    fn end(&mut self, mut call: Call) {
        let gateway = self.random.below(2) == 0 && self.gateway_ends(&call);
        if gateway {
            let is_bye = |m: &Message| m.method() == Some("BYE") && m.call_id() == call.id;
            let bye = self.agent.receive_where(SOON, is_bye).expect("the gateway's BYE");
            self.agent.reply(&bye, 200);
            return self.count("ended by the gateway");
        }
        self.agent.send(&call.bye());
        // Who is down says nothing.
        let is_answer = |m: &Message| m.status().is_some() && m.call_id() == call.id && m.cseq().1 == "BYE";
        let answer = self.agent.receive_where(self.patience, is_answer);
        self.count(if answer.is_some() { "ended by the caller" } else { "ended by the caller, silence" });
    }

    /// Whether the gateway knows the call still, and hangs up.
    fn gateway_ends(&self, call: &Call) -> bool {
        self.gateways.iter().any(|place| {
            let gateway = up(place);
            let knows = gateway.as_ref().filter(|gateway| gateway.of_call(&call.id).is_some());
            let has = |one: &&Gateways| is_at(call, one.address(0));
            knows.filter(has).map(|gateway| gateway.hang_up(&call.id)).is_some()
        })
    }
}

fn is_at(call: &Call, gateway: SocketAddr) -> bool {
    call.target().is_some_and(|target| target.contains(&gateway.to_string()))
}

/// All callers call until then, and rest.
fn call(callers: &mut [Caller<'_>], end: Instant, meanwhile: impl FnOnce()) {
    std::thread::scope(|scope| {
        for caller in callers {
            scope.spawn(move || caller.call_until(end));
        }
        meanwhile();
    });
}

/// Runs the calls of `agents`, with gateways 0 and 1 in set 100 and 2 in set `last`. Gateway 1 crashes.
fn storm(name: &str, last: u32, patience: Duration, start: impl FnOnce(String) -> (Kamailio, Vec<Agent>)) {
    if cannot_run(name) {
        return;
    }
    let started = || Some(Gateways::start(1, obeys));
    let places: Vec<Place> = (0..3).map(|_| RwLock::new(started())).collect();
    let addresses: Vec<SocketAddr> = places.iter().map(|one| up(one).as_ref().unwrap().address(0)).collect();
    let line = |n: usize| {
        let set = if n == 2 { last } else { 100 };
        format!("{set} sip:{} 0 0 duid=gw{n};maxload=200\n", addresses[n])
    };
    let (server, agents) = start((0..3).map(line).collect());
    let seeded = |(seed, agent)| Caller {
        agent,
        random: Random::new(seed),
        gateways: &places,
        patience,
        held: Vec::new(),
        fates: Fates::new(),
    };
    let before = server.shm_used();
    let mut callers: Vec<Caller<'_>> = (1..).zip(agents).map(seeded).collect();
    let rest = |callers: &mut [Caller<'_>], when: &str| {
        let at = |gateway| {
            callers.iter().flat_map(|one| &one.held).filter(|call| is_at(call, gateway)).count() as i64
        };
        let expected: Vec<i64> = addresses.iter().map(|gateway| at(*gateway)).collect();
        println!("{name}: {when}: calls {expected:?}");
        let mut seen = loads(&server, 3);
        until(TIDY, || {
            callers.iter_mut().for_each(Caller::end_the_rest);
            seen = loads(&server, 3);
            seen == expected
        });
        assert_eq!(seen, expected, "{when}");
        assert_no_drift(&server);
        places.iter().for_each(|one| up(one).iter().for_each(|gateway| gateway.forget_but(REMEMBERED)));
    };
    let part = long() / 4;
    let after = |time: Duration| Instant::now() + time;
    call(&mut callers, after(part), || {});
    rest(&mut callers, "before the crash");
    call(&mut callers, after(2 * part), || {
        std::thread::sleep(part / 2);
        *places[1].write().unwrap() = None;
    });
    rest(&mut callers, "after the crash");
    *places[1].write().unwrap() = Some(Gateways::again(addresses[1], obeys));
    // Where the script takes out who says nothing, an operator takes it in again.
    server.rpc("dispatcher.set_state", json!(["a", 100, format!("sip:{}", addresses[1])])).unwrap();
    call(&mut callers, after(part), || {});
    rest(&mut callers, "when it is back");
    for caller in &mut callers {
        std::mem::take(&mut caller.held).into_iter().for_each(|call| caller.end(call));
    }
    rest(&mut callers, "at the end");
    // The last late answer may come after that.
    eventually("no call counts", SOON, || {
        callers.iter_mut().for_each(Caller::end_the_rest);
        assert_no_drift(&server).calls == 0
    });
    eventually("shared memory is back at its level", TIDY, || server.shm_used() < before + SHM_SLACK);
    let mut fates = Fates::new();
    for (fate, count) in callers.into_iter().flat_map(|caller| caller.fates) {
        *fates.entry(fate).or_default() += count;
    }
    println!("{name}: {fates:?}");
    for fate in ["200", "486", "487", "ended by the caller", "ended by the gateway"] {
        assert!(fates.get(fate).is_some_and(|count| *count > 10), "{fates:?} is no storm");
    }
    server.stop();
}

fn plain(config: &str, script: &str, last: u32, patience: Duration) {
    storm(config, last, patience, |list| {
        let server = with_example(config, script).shm_megabytes(SHM_MEGABYTES).list(list).start();
        let agents = (0..CALLERS).map(|_| server.agent()).collect();
        (server, agents)
    });
}

/// Without failover the caller of a dead gateway waits for nothing.
const NO_FAILOVER: Duration = Duration::from_millis(800);
/// The script waits for a dead gateway, and for the next.
const FAILOVER: Duration = Duration::from_secs(8);

#[test]
fn shortest_proxy() {
    plain("shortest.cfg", "", 100, NO_FAILOVER);
}

#[test]
fn shortest_proxy_in_lua() {
    plain("lua.cfg", "shortest.lua", 100, NO_FAILOVER);
}

#[test]
fn shortest_proxy_in_python() {
    plain("python.cfg", "shortest.py", 100, NO_FAILOVER);
}

#[test]
fn two_sets() {
    plain("spill.cfg", "", 200, FAILOVER);
}

#[test]
fn script_that_counts() {
    plain("../kamailio.cfg.example", "", 100, FAILOVER);
}

#[test]
fn callers_on_tls_and_websocket() {
    let secure = Secure::new();
    storm("browser.cfg", 100, NO_FAILOVER, |list| {
        let server = secure.builder().shm_megabytes(SHM_MEGABYTES).list(list).start();
        let by =
            [Over::Udp, Over::Tcp, Over::Tls, Over::WebSocket, Over::SecureWebSocket, Over::SecureWebSocket];
        let agents = by.iter().map(|over| secure.agent(&server, *over)).collect();
        (server, agents)
    });
}
