//! What a [`Probed`](super::probed::Probed) gateway has seen.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Instant;

use super::message::Message;
use super::sip_sockets::{Arrived, Peer};

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Probe {
    pub at: Instant,
    /// What tells gateways behind one socket apart, see [`gateway_of`].
    pub gateway: String,
    pub peer: Peer,
    pub message: Message,
}

impl Probe {
    pub(super) fn new(arrived: Arrived) -> Probe {
        let Arrived { at, message, peer } = arrived;
        let gateway = gateway_of(message.uri().unwrap_or_default()).to_owned();
        Probe { at, gateway, peer, message }
    }

    pub fn source(&self) -> SocketAddr {
        self.peer.address()
    }

    pub fn uri(&self) -> &str {
        self.message.uri().unwrap_or_default()
    }

    pub fn uri_of_from(&self) -> &str {
        address_of(self.message.header("From").unwrap_or_default())
    }

    pub fn uri_of_to(&self) -> &str {
        address_of(self.message.header("To").unwrap_or_default())
    }

    pub fn call_id(&self) -> &str {
        self.message.call_id()
    }

    /// Of the topmost Via. A retransmission has that of the request before, a new probe one of its own.
    pub fn branch(&self) -> &str {
        let via = self.message.header("Via").unwrap_or_default();
        let branch = via.split(";branch=").nth(1).unwrap_or_default();
        branch.split([';', ',', ' ']).next().unwrap_or_default()
    }
}

/// The user of a SIP URI, or its host if it has none: `gw7` of `sip:gw7@127.0.0.1:5060`, `a.test` of
/// `sip:a.test:5060;transport=udp`.
pub fn gateway_of(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    match rest.split_once('@') {
        Some((user, _)) => user,
        None => rest.split([':', ';', '?']).next().unwrap_or_default(),
    }
}

/// How many requests these are if each is counted once, however often it was sent.
pub fn distinct(probes: &[Probe]) -> usize {
    probes.iter().map(Probe::branch).collect::<HashSet<_>>().len()
}

fn address_of(header: &str) -> &str {
    match header.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
        None => header.split(';').next().unwrap_or_default(),
    }
}
