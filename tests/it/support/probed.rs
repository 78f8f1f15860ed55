//! A gateway that is probed, or thousands behind one socket: what it answers is changed while it runs, and what
//! arrived is kept.
//!
//! Gateways behind one socket are told apart by the user of the request URI, or its host if it has none
//! ([`gateway_of`]): `sip:gw17@127.0.0.1:5060` is gateway `gw17`. Bound to 0.0.0.0 it is at all of 127.0.0.0/8.
//! Dropped it is gone at once, with its sockets and connections; [`Probed::at`] the same address it is back.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::behaviour::Behaviour;
use super::net;
use super::probes::{Probe, distinct, gateway_of};
use super::sip_sockets::{Arrived, Peer, SipSockets};
use super::wait::until;

/// How long the thread stays asleep while nothing arrives and no reply has to be sent.
const NAP: Duration = Duration::from_millis(10);

/// How long an address may still be in use after its gateway is gone.
const REBIND: Duration = Duration::from_secs(5);

pub struct Probed {
    shared: Arc<Shared>,
    local: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    stop: AtomicBool,
}

struct State {
    seen: Vec<Probe>,
    usual: Behaviour,
    of: HashMap<String, Behaviour>,
    from: HashMap<SocketAddr, Behaviour>,
    method: String,
    held: bool,
    replies: Vec<Reply>,
}

struct Reply {
    /// None while it is held.
    due: Option<Instant>,
    peer: Peer,
    bytes: Vec<u8>,
}

impl Probed {
    /// On an address of its own. Answers 200 until told otherwise.
    pub fn start() -> Probed {
        Probed::at((net::address(), 0).into())
    }

    /// At this address; port 0 is one that the kernel chooses.
    #[track_caller]
    pub fn at(address: SocketAddr) -> Probed {
        Probed::serve(address, false)
    }

    /// As [`Probed::start`], and on TCP at the same port.
    pub fn with_tcp() -> Probed {
        Probed::with_tcp_at((net::address(), 0).into())
    }

    #[track_caller]
    pub fn with_tcp_at(address: SocketAddr) -> Probed {
        Probed::serve(address, true)
    }

    #[track_caller]
    fn serve(address: SocketAddr, tcp: bool) -> Probed {
        // A process that another test is starting right now holds copies of all sockets until it runs its own program.
        let mut bound = SipSockets::bind(address, tcp);
        until(REBIND, || {
            let in_use = bound.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
            if in_use {
                bound = SipSockets::bind(address, tcp);
            }
            !in_use
        });
        let sockets = bound.unwrap_or_else(|e| panic!("a gateway at {address}: {e}"));
        let local = sockets.local().expect("the address just bound");
        let state = State {
            seen: Vec::new(),
            usual: Behaviour::Answer(200, "OK"),
            of: HashMap::new(),
            from: HashMap::new(),
            method: "OPTIONS".into(),
            held: false,
            replies: Vec::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), stop: AtomicBool::new(false) });
        let worker = Arc::clone(&shared);
        let thread = std::thread::spawn(move || worker.run(sockets));
        Probed { shared, local, thread: Some(thread) }
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    #[track_caller]
    pub fn ip(&self) -> Ipv4Addr {
        match self.local.ip() {
            IpAddr::V4(ip) => ip,
            IpAddr::V6(ip) => panic!("{ip} is no IPv4 address"),
        }
    }

    pub fn uri(&self) -> String {
        format!("sip:{}", self.local)
    }

    /// Of one gateway among many, `gw0` and so on.
    pub fn uri_of(&self, gateway: usize) -> String {
        format!("sip:gw{gateway}@{}", self.local)
    }

    /// Lines of a list file: `gw0`, `gw1`, … in `set`, each with its name as `duid` and `attrs` behind it.
    pub fn list(&self, set: u32, count: usize, attrs: &str) -> String {
        let more = if attrs.is_empty() { String::new() } else { format!(";{attrs}") };
        (0..count).map(|n| format!("{set} {} 0 0 duid=gw{n}{more}\n", self.uri_of(n))).collect()
    }

    /// From now on, for all gateways, also those that [`Probed::behave_at`] has named.
    pub fn behave(&self, behaviour: Behaviour) {
        let mut state = self.shared.state.lock();
        state.usual = behaviour;
        state.of.clear();
    }

    pub fn behave_at(&self, gateway: &str, behaviour: Behaviour) {
        self.shared.state.lock().of.insert(gateway.into(), behaviour);
    }

    /// To probes from this address, whichever gateway they are for.
    pub fn behave_to(&self, source: SocketAddr, behaviour: Behaviour) {
        self.shared.state.lock().from.insert(source, behaviour);
    }

    /// What a probe is, where that is not OPTIONS.
    pub fn probed_by(&self, method: &str) {
        self.shared.state.lock().method = method.into();
    }

    /// Keeps the answers to probes from now on.
    pub fn hold(&self) {
        self.shared.state.lock().held = true;
    }

    /// Sends what was kept, in order of arrival, and keeps nothing more. Says how many there were.
    pub fn release(&self) -> usize {
        let mut state = self.shared.state.lock();
        state.held = false;
        let now = Instant::now();
        let kept = state.replies.iter_mut().filter(|reply| reply.due.is_none());
        kept.map(|reply| reply.due = Some(now)).count()
    }

    /// Every probe so far, retransmissions too, in order of arrival.
    pub fn probes(&self) -> Vec<Probe> {
        self.requests(|_| true)
    }

    pub fn probes_since(&self, instant: Instant) -> Vec<Probe> {
        self.requests(|probe| probe.at >= instant)
    }

    pub fn probes_of(&self, gateway: &str) -> Vec<Probe> {
        self.requests(|probe| probe.gateway == gateway)
    }

    fn requests(&self, fits: impl Fn(&Probe) -> bool) -> Vec<Probe> {
        let state = self.shared.state.lock();
        let probe = |probe: &&Probe| probe.message.method() == Some(state.method.as_str());
        state.seen.iter().filter(probe).filter(|probe| fits(probe)).cloned().collect()
    }

    /// How many requests of this method have arrived, each counted as often as it was sent.
    pub fn count(&self, method: &str) -> usize {
        self.shared.state.lock().seen.iter().filter(|r| r.message.method() == Some(method)).count()
    }

    pub fn forget(&self) {
        self.shared.state.lock().seen.clear();
    }

    /// Waits for `count` probes, each counted once however often it was sent, and gives all there are.
    #[track_caller]
    pub fn wait_for(&self, count: usize, deadline: Duration) -> Vec<Probe> {
        let came = until(deadline, || distinct(&self.probes()) >= count);
        let probes = self.probes();
        assert!(came, "{} of {count} probes of {} within {deadline:?}", distinct(&probes), self.local);
        probes
    }
}

impl Drop for Probed {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn run(&self, mut sockets: SipSockets) {
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let next = self.state.lock().replies.iter().filter_map(|reply| reply.due).min();
            let wait = next.map_or(NAP, |due| due.saturating_duration_since(now).min(NAP));
            let arrived = sockets.receive(wait);
            let mut state = self.state.lock();
            arrived.into_iter().for_each(|arrived| state.take(arrived));
            let now = Instant::now();
            let due = |reply: &Reply| reply.due.is_some_and(|due| due <= now);
            let (ready, later): (Vec<Reply>, Vec<Reply>) = state.replies.drain(..).partition(due);
            state.replies = later;
            drop(state);
            for Reply { peer, bytes, .. } in ready {
                sockets.send(peer, &bytes);
            }
        }
    }
}

impl State {
    fn take(&mut self, arrived: Arrived) {
        let probe = Probe::new(arrived);
        let method = probe.message.method().unwrap_or_default();
        let probing = method == self.method;
        if probing {
            let own = self.from.get(&probe.source()).or_else(|| self.of.get(gateway_of(probe.uri())));
            let behaviour = own.copied().unwrap_or(self.usual);
            let due = (!self.held).then_some(probe.at + behaviour.delay());
            let bytes = behaviour.reply(&probe.message);
            self.replies.extend(bytes.map(|bytes| Reply { due, peer: probe.peer, bytes }));
        } else if !method.is_empty() && method != "ACK" {
            let bytes =
                probe.message.reply(200, "probed").with("Contact", format!("<{}>", probe.uri())).bytes();
            self.replies.push(Reply { due: Some(probe.at), peer: probe.peer, bytes });
        }
        self.seen.push(probe);
    }
}
