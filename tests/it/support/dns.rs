//! A DNS server whose answers a test changes while it runs.
//!
//! It is at port 53 of an address of its own, since resolv.conf has no place for a port; that takes root or
//! CAP_NET_BIND_SERVICE. A server that is to ask it is started with
//! [`Builder::dns`](super::server_config::Builder::dns).

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
pub use simple_dns::TYPE;
use simple_dns::rdata::{A, AAAA, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord};

use super::net;
use super::wait::until;

const NAP: Duration = Duration::from_millis(10);

/// In the place of the answer that the table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    NxDomain,
    ServFail,
    /// No answer at all.
    Timeout,
    /// The right answer, later.
    Delay(Duration),
}

pub struct Dns {
    shared: Arc<Shared>,
    address: Ipv4Addr,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    table: Mutex<Table>,
    stop: AtomicBool,
}

/// Names are in lower case, without a dot at the end.
#[derive(Default)]
struct Table {
    records: HashMap<String, Vec<(u32, RData<'static>)>>,
    troubles: HashMap<String, Trouble>,
    queries: HashMap<(String, TYPE), usize>,
}

impl Dns {
    #[track_caller]
    pub fn start() -> Dns {
        let address = net::address();
        let socket = UdpSocket::bind((address, 53))
            .unwrap_or_else(|e| panic!("port 53 of {address} (root, or CAP_NET_BIND_SERVICE?): {e}"));
        socket.set_read_timeout(Some(NAP)).expect("a timeout above zero");
        let shared = Arc::<Shared>::default();
        let worker = Arc::clone(&shared);
        let thread = std::thread::spawn(move || worker.run(&socket));
        Dns { shared, address, thread: Some(thread) }
    }

    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The A records of `name`, in the place of those before. A name with records of other types only has an empty
    /// answer, one without any does not exist.
    pub fn a(&self, name: &str, ttl: u32, addresses: &[Ipv4Addr]) {
        let data = |ip: &Ipv4Addr| RData::A(A { address: (*ip).into() });
        self.set(name, TYPE::A, ttl, addresses.iter().map(data).collect());
    }

    pub fn aaaa(&self, name: &str, ttl: u32, addresses: &[Ipv6Addr]) {
        let data = |ip: &Ipv6Addr| RData::AAAA(AAAA { address: (*ip).into() });
        self.set(name, TYPE::AAAA, ttl, addresses.iter().map(data).collect());
    }

    /// `name` is such as `_sip._udp.trunk.test`. A service is priority, weight, port and the name of the host.
    #[track_caller]
    pub fn srv(&self, name: &str, ttl: u32, services: &[(u16, u16, u16, &str)]) {
        let data = |&(priority, weight, port, target): &(u16, u16, u16, &str)| {
            let target = Name::new(target).unwrap_or_else(|e| panic!("{target}: {e}")).into_owned();
            RData::SRV(SRV { priority, weight, port, target })
        };
        self.set(name, TYPE::SRV, ttl, services.iter().map(data).collect());
    }

    /// Records of any other type.
    pub fn set(&self, name: &str, kind: TYPE, ttl: u32, data: Vec<RData<'static>>) {
        let mut table = self.shared.table.lock();
        let records = table.records.entry(key(name)).or_default();
        records.retain(|(_, data)| data.type_code() != kind);
        records.extend(data.into_iter().map(|data| (ttl, data)));
    }

    /// From now on the name does not exist.
    pub fn forget(&self, name: &str) {
        self.shared.table.lock().records.remove(&key(name));
    }

    /// For queries of any type.
    pub fn trouble(&self, name: &str, trouble: Trouble) {
        self.shared.table.lock().troubles.insert(key(name), trouble);
    }

    pub fn no_trouble(&self, name: &str) {
        self.shared.table.lock().troubles.remove(&key(name));
    }

    /// How often it was asked for this.
    pub fn queries(&self, name: &str, kind: TYPE) -> usize {
        self.shared.table.lock().queries.get(&(key(name), kind)).copied().unwrap_or(0)
    }

    pub fn all_queries(&self) -> HashMap<(String, TYPE), usize> {
        self.shared.table.lock().queries.clone()
    }

    pub fn forget_queries(&self) {
        self.shared.table.lock().queries.clear();
    }

    /// Waits until it was asked `count` times for this.
    #[track_caller]
    pub fn wait_for(&self, name: &str, kind: TYPE, count: usize, deadline: Duration) {
        let asked = until(deadline, || self.queries(name, kind) >= count);
        assert!(asked, "{count} queries for {name} {kind:?} within {deadline:?}: {:?}", self.all_queries());
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn run(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        let mut later: Vec<(Instant, SocketAddr, Vec<u8>)> = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let answer = self.table.lock().answer(buffer.get(..length).unwrap_or_default());
                later.extend(answer.map(|(delay, bytes)| (Instant::now() + delay, from, bytes)));
            }
            let now = Instant::now();
            later.retain(|(due, to, bytes)| {
                *due > now || {
                    drop::<io::Result<_>>(socket.send_to(bytes, to));
                    false
                }
            });
        }
    }
}

impl Table {
    /// What to send and when; nothing to what is no query.
    fn answer(&mut self, query: &[u8]) -> Option<(Duration, Vec<u8>)> {
        let query = Packet::parse(query).ok()?;
        let question = query.questions.first()?;
        let QTYPE::TYPE(kind) = question.qtype else { return None };
        let name = key(&question.qname.to_string());
        *self.queries.entry((name.clone(), kind)).or_default() += 1;

        let mut reply = Packet::new_reply(query.id());
        let asked_for = query.has_flags(PacketFlag::RECURSION_DESIRED);
        reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
        reply.set_flags(if asked_for { PacketFlag::RECURSION_DESIRED } else { PacketFlag::empty() });
        reply.questions.push(question.clone());
        let mut delay = Duration::ZERO;
        match (self.troubles.get(&name), self.records.get(&name)) {
            (Some(Trouble::Timeout), _) => return None,
            (Some(Trouble::ServFail), _) => *reply.rcode_mut() = RCODE::ServerFailure,
            (Some(Trouble::NxDomain), _) | (_, None) => *reply.rcode_mut() = RCODE::NameError,
            (trouble, Some(records)) => {
                if let Some(Trouble::Delay(by)) = trouble {
                    delay = *by;
                }
                for (ttl, data) in records.iter().filter(|(_, data)| data.type_code() == kind) {
                    let name = question.qname.clone();
                    reply.answers.push(ResourceRecord::new(name, CLASS::IN, *ttl, data.clone()));
                }
            }
        }
        Some((delay, reply.build_bytes_vec_compressed().ok()?))
    }
}

fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
