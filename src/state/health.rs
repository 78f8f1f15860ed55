//! What is known of a destination's health, and why its state is what it is.

use crate::dest::Flags;
use crate::health::drain::Drain;
use crate::health::latency::Latency;
use crate::health::outage::Outage;
use crate::health::probe_id::Waiting;
use crate::shm::Shared;
use core::net::SocketAddr;

/// Behind the record's lock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Health {
    /// Failures in a row, or replies in a row while inactive, for the thresholds. A change of state resets it.
    pub streak: u32,
    /// Failed probes in a row.
    pub failures: u32,
    /// Successful probes in a row; this or `failures` is 0.
    pub successes: u32,
    /// What the last report said.
    pub last: Report,
    /// When the state changed last, in milliseconds of the wall clock; 0 is never.
    pub changed: u64,
    /// When it was probed last, likewise.
    pub probed: u64,
    /// When the script dropped its last probe, likewise; 0 if that was sent.
    pub dropped: u64,
    /// Whether anything was found out about it since it was configured.
    pub judged: bool,
    /// Probes under way.
    pub waiting: Waiting,
    /// How long it takes to answer.
    pub latency: Latency,
    /// The drain that is under way.
    pub drain: Drain,
    /// What its name means.
    pub name: NameLookup,
    /// A hash of what is probed, so that an answer from before a change is recognised.
    pub asked: u64,
}

// SAFETY: numbers and bytes.
unsafe impl Shared for Health {}

/// A report, kept for whoever asks why.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// A SIP status code, or one of the module's own; 0 is none.
    pub code: u16,
    /// In words.
    pub reason: Reason,
    /// Received from the network, not made by the module.
    pub received: bool,
}

impl Report {
    /// An operator set this state.
    pub fn by_operator(state: Flags) -> Self {
        Self::of(match state {
            _ if state.has(Flags::DRAINED) => "drained, and disabled since",
            _ if state.has(Flags::DISABLED) => "disabled by an operator",
            _ if state.has(Flags::INACTIVE) => "set inactive by an operator",
            _ if state.has(Flags::TRYING) => "set trying by an operator",
            _ => "set active by an operator",
        })
    }

    /// The line or row of the destination has this state in its flags.
    pub fn by_source(state: Flags) -> Self {
        Self::of(match state {
            _ if state.has(Flags::DISABLED) => "disabled by the flags of its line or row",
            _ if state.has(Flags::INACTIVE) => "inactive by the flags of its line or row",
            _ if state.has(Flags::TRYING) => "trying by the flags of its line or row",
            _ => "",
        })
    }

    /// A drain is over; `empty` because no call is left.
    pub fn drained(empty: bool) -> Self {
        Self::of(if empty { "drained: no call is left" } else { "drained: its time is over" })
    }

    /// An operator took back a drain that was over.
    pub fn undrained() -> Self {
        Self::of("enabled again after a drain")
    }

    fn of(reason: &str) -> Self {
        Self { reason: reason.as_bytes().into(), ..Self::default() }
    }
}

/// A short text: a reason phrase, cut.
#[derive(Debug, Clone, Copy)]
pub struct Reason {
    len: u8,
    bytes: [u8; 62],
}

impl Default for Reason {
    fn default() -> Self {
        Self { len: 0, bytes: [0; 62] }
    }
}

impl From<&[u8]> for Reason {
    fn from(text: &[u8]) -> Self {
        let mut reason = Self::default();
        for (to, from) in reason.bytes.iter_mut().zip(text) {
            *to = *from;
            reason.len += 1;
        }
        reason
    }
}

impl Reason {
    /// The text.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// What the last look-up of a destination's host name found.
#[derive(Debug, Clone, Copy, Default)]
pub struct NameLookup {
    /// Where a probe goes; none before the first look-up, and while the name does not resolve.
    pub next_hop: Option<NextHop>,
    /// When it was looked up last, in microseconds of a clock that only goes forward; 0 is never.
    pub looked: u64,
    /// The same in milliseconds of the wall clock.
    pub looked_up: u64,
    /// Since when it does not resolve, in milliseconds of the wall clock; 0 if it does.
    pub lost: u64,
    /// What that does to the state.
    pub outage: Outage,
}

impl NameLookup {
    /// Whether the last look-up found something.
    pub fn is_found(&self) -> bool {
        self.looked != 0 && self.lost == 0
    }
}

/// An address to send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop {
    /// Address and port; port 0 is the usual one.
    pub address: SocketAddr,
    /// Transport, as the host numbers them.
    pub proto: u16,
}
