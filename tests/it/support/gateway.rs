//! Media gateways: any number of addresses, one thread, one policy.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::agent::token;
use super::message::Message;
use super::net;
use super::over::Over;
use super::sip_sockets::{Peer, SipSockets, await_any};
use super::wait::until;

/// A request that arrived at a gateway.
#[derive(Debug, Clone)]
pub struct Received {
    /// Index of the gateway.
    pub gateway: usize,
    pub message: Message,
}

/// The replies a gateway sends, at once and in order, to the request it is shown: to an INVITE `&[180]` rings
/// until it is cancelled or [`Gateways::answer`]ed, `&[]` is silence. To a CANCEL they are the replies to its
/// INVITE (the CANCEL gets its 200 anyway): `&[487]` ends it, `&[200]` lets an answer cross, `&[]` leaves it
/// ringing. Other requests but ACK get what is said as well.
pub type Policy = dyn Fn(usize, &Message) -> Vec<u16> + Send;

pub struct Gateways {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    over: Over,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    sockets: Vec<Mutex<SipSockets>>,
    over: Over,
    received: Mutex<Vec<Received>>,
    /// The last INVITE of each call that has no final answer yet, and where it came from.
    open: Mutex<HashMap<(usize, String), (Message, Peer)>>,
    /// 2xx to INVITEs that were not acknowledged, if they come again; none if they do not.
    unacknowledged: Mutex<Option<HashMap<Dialog, Unacknowledged>>>,
    stop: AtomicBool,
}

/// A gateway, a Call-ID and a To-tag.
type Dialog = (usize, String, String);

/// A 2xx to an INVITE that was not acknowledged.
struct Unacknowledged {
    reply: Message,
    to: Peer,
    /// When it is due again, and the time after that.
    due: Instant,
    wait: Duration,
    /// When it is given up.
    end: Instant,
}

/// T1 and T2 (RFC 3261 section 17.1.1.1).
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

impl Gateways {
    /// `count` gateways; each answers every INVITE with 180 and `status`, everything else with 200.
    pub fn answering(count: usize, status: u16) -> Gateways {
        Gateways::start(count, move |_, request| match request.method() {
            Some("INVITE") => vec![180, status],
            Some("CANCEL") => vec![487],
            _ => vec![200],
        })
    }

    /// `count` gateways that ring until they are cancelled or answered by the test.
    pub fn ringing(count: usize) -> Gateways {
        Gateways::start(count, |_, request| match request.method() {
            Some("INVITE") if request.tag("To").is_none() => vec![180],
            Some("CANCEL") => vec![487],
            _ => vec![200],
        })
    }

    pub fn start(count: usize, policy: impl Fn(usize, &Message) -> Vec<u16> + Send + 'static) -> Gateways {
        let with_tcp = Over::now().is_tcp();
        let bind = |_| SipSockets::with(net::socket(), with_tcp).expect("a port for TCP as well");
        Gateways::on((0..count).map(bind).collect(), policy)
    }

    /// A gateway that starts again where one was before.
    pub fn again(at: SocketAddr, policy: impl Fn(usize, &Message) -> Vec<u16> + Send + 'static) -> Gateways {
        let sockets = SipSockets::bind(at, Over::now().is_tcp()).expect("the address is free");
        Gateways::on(vec![sockets], policy)
    }

    fn on(
        sockets: Vec<SipSockets>,
        policy: impl Fn(usize, &Message) -> Vec<u16> + Send + 'static,
    ) -> Gateways {
        let over = Over::now();
        let addresses = sockets.iter().map(|s| s.local().expect("the address just bound")).collect();
        let shared = Arc::new(Shared {
            sockets: sockets.into_iter().map(Mutex::new).collect(),
            over,
            received: Mutex::default(),
            open: Mutex::default(),
            unacknowledged: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let worker = Arc::clone(&shared);
        let thread = std::thread::spawn(move || worker.run(&policy));
        Gateways { shared, addresses, over, thread: Some(thread) }
    }

    /// From now on their 2xx to an INVITE comes again until it is acknowledged (RFC 3261 section 13.3.1.4): tm drops one on a branch that it
    /// has just given up, and relays it once the caller has another answer.
    pub fn until_acknowledged(self) -> Gateways {
        lock(&self.shared.unacknowledged).get_or_insert_default();
        self
    }

    pub fn address(&self, gateway: usize) -> SocketAddr {
        self.addresses[gateway]
    }

    pub fn how_many(&self) -> usize {
        self.addresses.len()
    }

    pub fn uri(&self, gateway: usize) -> String {
        format!("sip:{}{}", self.address(gateway), self.over.parameter())
    }

    /// The value of a Via of its own.
    pub fn via(&self, gateway: usize, branch: &str) -> String {
        format!("SIP/2.0/{} {};branch=z9hG4bK{branch}", self.over.in_via(), self.address(gateway))
    }

    /// Lines of a list file: the gateways in `set` as `duid=gw0`, `gw1`, … with `attrs` behind it.
    pub fn list(&self, set: u32, attrs: &str) -> String {
        let more = if attrs.is_empty() { String::new() } else { format!(";{attrs}") };
        let line = |n| format!("{set} {} 0 0 duid=gw{n}{more}\n", self.uri(n));
        (0..self.how_many()).map(line).collect()
    }

    /// Everything received so far, in order of arrival at this thread.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    pub fn forget_received(&self) {
        lock(&self.shared.received).clear();
    }

    /// Forgets all but the last that were received.
    pub fn forget_but(&self, last: usize) {
        let mut received = lock(&self.shared.received);
        let old = received.len().saturating_sub(last);
        received.drain(..old);
    }

    /// How many requests of this method the gateway got.
    pub fn count(&self, gateway: usize, method: &str) -> usize {
        let fits = |r: &&Received| r.gateway == gateway && r.message.method() == Some(method);
        lock(&self.shared.received).iter().filter(fits).count()
    }

    /// How many requests of this method each gateway got.
    pub fn counts(&self, method: &str) -> Vec<usize> {
        (0..self.addresses.len()).map(|gateway| self.count(gateway, method)).collect()
    }

    /// The gateway that got the last INVITE of this call.
    pub fn of_call(&self, call_id: &str) -> Option<usize> {
        self.last_invite(|one| one.message.call_id() == call_id).map(|one| one.gateway)
    }

    /// The last INVITE that is like this.
    pub fn last_invite(&self, like: impl Fn(&Received) -> bool) -> Option<Received> {
        let fits = |one: &&Received| one.message.method() == Some("INVITE") && like(one);
        lock(&self.shared.received).iter().rev().find(fits).cloned()
    }

    /// Sends a reply to a ringing INVITE; false when no gateway has it.
    pub fn answer(&self, call_id: &str, status: u16) -> bool {
        let open = lock(&self.shared.open);
        let found = open.iter().find(|((_, id), _)| id == call_id).map(|((n, _), v)| (*n, v.clone()));
        drop(open);
        let Some((gateway, (invite, from))) = found else { return false };
        self.shared.send_reply(gateway, &invite, from, status);
        true
    }

    /// Sends a message of the gateway's own making, such as its BYE.
    pub fn send(&self, gateway: usize, message: &Message, to: SocketAddr) {
        let to = if self.over.is_tcp() { Peer::Tcp(to) } else { Peer::Udp(to) };
        self.shared.remember(gateway, message, to);
        lock(&self.shared.sockets[gateway]).send_to(to, &message.bytes()).expect("the way there");
    }

    /// The BYE of the gateway that answered this call, sent along the route set that its INVITE left.
    #[track_caller]
    pub fn hang_up(&self, call_id: &str) {
        let (gateway, bye) = self.within(call_id, "BYE", 1);
        self.send(gateway, &bye, bye.next_hop());
    }

    /// The gateway that answered this call, and a request of its own in the dialog, with the route set that its INVITE left.
    #[track_caller]
    pub fn within(&self, call_id: &str, method: &str, cseq: u32) -> (usize, Message) {
        let of_call = self.last_invite(|one| one.message.call_id() == call_id);
        let Received { gateway, message: invite } = of_call.expect("an INVITE");
        let header = |name: &str| invite.header(name).unwrap_or_default().to_owned();
        let mut request = Message::request(method, invite.contact().expect("a Contact"))
            .with("Via", self.via(gateway, &token()))
            .with("From", format!("{};tag=gw{gateway}", header("To")))
            .with("To", header("From"))
            .with("Call-ID", call_id)
            .with("CSeq", format!("{cseq} {method}"))
            .with("Contact", format!("<{}>", self.shared.contact(self.address(gateway))))
            .with("Max-Forwards", "70");
        for route in invite.values("Record-Route") {
            request = request.with("Route", route);
        }
        (gateway, request)
    }

    /// Waits until the gateways together have got `count` requests of this method.
    pub fn await_total(&self, method: &str, count: usize, deadline: Duration) -> bool {
        until(deadline, || self.counts(method).iter().sum::<usize>() >= count)
    }
}

impl Drop for Gateways {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn run(&self, policy: &Policy) {
        while !self.stop.load(Ordering::Relaxed) {
            let handles = |sockets: &Mutex<SipSockets>| lock(sockets).handles().collect::<Vec<_>>();
            let handles: Vec<_> = self.sockets.iter().flat_map(handles).collect();
            // Nobody who wants to send waits meanwhile.
            await_any(handles.into_iter(), Duration::from_millis(20));
            for (gateway, sockets) in self.sockets.iter().enumerate() {
                let arrived = lock(sockets).arrived();
                for one in arrived {
                    self.serve(gateway, one.message, one.peer, policy);
                }
            }
            self.accept_again();
        }
    }

    fn accept_again(&self) {
        let now = Instant::now();
        let mut all = lock(&self.unacknowledged);
        let Some(all) = all.as_mut() else { return };
        all.retain(|_, one| now < one.end);
        for ((gateway, ..), one) in all.iter_mut().filter(|(_, one)| one.due <= now) {
            one.wait = T2.min(2 * one.wait);
            one.due = now + one.wait;
            drop(lock(&self.sockets[*gateway]).send_to(one.to, &one.reply.bytes()));
        }
    }

    /// A gateway sends this: if it is a 2xx to an INVITE, and if those come again, it does until it is acknowledged.
    fn remember(&self, gateway: usize, reply: &Message, to: Peer) {
        let mut all = lock(&self.unacknowledged);
        let Some(all) = all.as_mut().filter(|_| reply.status().is_some_and(|code| code / 100 == 2)) else {
            return;
        };
        if reply.cseq().1 == "INVITE" {
            let now = Instant::now();
            let one =
                Unacknowledged { reply: reply.clone(), to, due: now + T1, wait: T1, end: now + 64 * T1 };
            all.insert((gateway, reply.call_id().to_owned(), to_tag(reply)), one);
        }
    }

    fn serve(&self, gateway: usize, message: Message, from: Peer, policy: &Policy) {
        let method = message.method().unwrap_or_default().to_owned();
        let key = (gateway, message.call_id().to_owned());
        // First: a test that knows of the INVITE may answer it.
        if method == "INVITE" {
            lock(&self.open).insert(key.clone(), (message.clone(), from));
        }
        lock(&self.received).push(Received { gateway, message: message.clone() });
        if method == "ACK" {
            let key = (gateway, message.call_id().to_owned(), to_tag(&message));
            lock(&self.unacknowledged).iter_mut().for_each(|all| _ = all.remove(&key));
            return;
        }
        if method.is_empty() {
            return;
        }
        let statuses = policy(gateway, &message);
        let subject = if method == "CANCEL" {
            self.send_reply(gateway, &message, from, 200);
            lock(&self.open).get(&key).cloned()
        } else {
            Some((message, from))
        };
        let Some((subject, from)) = subject else { return };
        for status in statuses {
            self.send_reply(gateway, &subject, from, status);
        }
    }

    fn send_reply(&self, gateway: usize, request: &Message, from: Peer, status: u16) {
        if status >= 200 && request.method() == Some("INVITE") {
            lock(&self.open).remove(&(gateway, request.call_id().to_owned()));
        }
        let Ok(local) = lock(&self.sockets[gateway]).local() else { return };
        let contact = format!("<{}>", self.contact(local));
        let reply = request.reply(status, &format!("gw{gateway}")).with("Contact", contact);
        self.remember(gateway, &reply, from);
        lock(&self.sockets[gateway]).send(from, &reply.bytes());
    }

    fn contact(&self, local: SocketAddr) -> String {
        format!("sip:gw@{local}{}", self.over.parameter())
    }
}

fn to_tag(message: &Message) -> String {
    message.tag("To").unwrap_or_default().into()
}

/// A policy that panicked has failed its test already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
