//! The configured sets as they serve: built aside, published whole, never changed.
//!
//! A set owns one run of destinations, one of text and one of addresses; a destination names its texts and addresses by
//! position, so there is no pointer to mend and one set is three blocks of memory.

use super::record::Record;
use crate::dest::Flags;
use crate::shm::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::shm::slice::Slice;
use crate::shm::{Alloc, Foreign, OutOfMemory, Shared};
use core::net::IpAddr;
use core::ops::Range;

/// Rows of tickets of a set.
pub const ROWS: usize = 3;

/// All sets, by id.
pub struct Generation<A: Alloc> {
    /// Each one has a higher number than those before it.
    pub number: u64,
    sets: Slice<Set<A>, A>,
}

// SAFETY: a shared slice.
unsafe impl<A: Alloc> Shared for Generation<A> {}

/// Where a destination is in a generation: the positions of its set and of itself in the set.
pub type Position = (u32, u32);

/// A set of destinations.
pub struct Set<A: Alloc> {
    /// Its id.
    pub id: i32,
    /// Its destinations, in the order in which algorithms count them.
    pub destinations: Slice<Destination, A>,
    text: Slice<u8, A>,
    addresses: Slice<IpAddr, A>,
    /// Whose turn it is in round robin. Carried over by a reload.
    turn: AtomicU32,
    /// Choices by call load so far. Carried over by a reload.
    choices: AtomicU64,
    /// Tickets given so far, by row. Carried over by a reload.
    tickets: [AtomicU64; ROWS],
}

// SAFETY: shared slices and atomics.
unsafe impl<A: Alloc> Shared for Set<A> {}

/// A text of the set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    start: u32,
    len: u32,
}

/// One destination of a set. Texts are read through [`Set::text`].
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)] // the names of the manual
pub struct Destination {
    pub uri: Span,
    pub host: Span,
    /// The URI that was written, if that is a name which stands for many destinations.
    pub written: Span,
    pub attrs: Span,
    pub duid: Span,
    pub socket: Span,
    pub sockname: Span,
    pub obproxy: Span,
    pub ping_from: Span,
    pub ping_reply_codes: Span,
    pub ping_interval: u32,
    pub ping_timeout: u32,
    pub cc: bool,
    pub priority: i32,
    pub maxload: u32,
    pub weight: u32,
    pub ocmin: u32,
    pub rweight: u32,
    /// As configured; what holds now is in the record.
    pub flags: Flags,
    /// Number of its runtime record.
    pub record: u32,
    /// What is probed and looked up, as a hash: the record may be another's by the time that an answer comes.
    pub asked: u64,
    /// The weight of its SRV record, if it is one of the destinations that a written name stands for.
    pub srv_weight: u32,
    /// The local socket to send from, where one is set.
    pub send_from: Option<Foreign>,
    /// The local socket to send probes from, where one is set for that.
    pub ping_from_socket: Option<Foreign>,
    /// Whether its host is a name, not an address.
    pub named: bool,
    /// What its host means; read through [`Set::addresses`].
    pub addresses: Span,
    /// Port of the URI; 0 where it has none.
    pub port: u16,
    /// Transport of the URI, as the host numbers them.
    pub proto: u16,
}

// SAFETY: numbers, and addresses of sockets that were made before the fork.
unsafe impl Shared for Destination {}

impl Destination {
    /// Whether it is one of the destinations that a written name stands for.
    pub fn is_target(&self) -> bool {
        self.written.len > 0 && !self.named
    }

    /// Where the host is in the URI.
    pub fn host_range(&self) -> Range<usize> {
        let start = (self.host.start - self.uri.start) as usize;
        start..start + self.host.len as usize
    }
}

impl<A: Alloc> Generation<A> {
    /// From sets in the order of their ids.
    pub fn new(number: u64, sets: Slice<Set<A>, A>) -> Self {
        Self { number, sets }
    }

    /// The destination of this record, with its set. One record may have several destinations: the first of its set.
    pub fn of_record(&self, number: u32, record: &Record) -> Option<(&Set<A>, &Destination)> {
        let set = self.set(record.set())?;
        let is_it = |one: &&Destination| one.record == number;
        let here = set.destinations.get(record.place()).filter(is_it);
        Some((set, here.or_else(|| set.destinations.iter().find(is_it))?))
    }

    /// The destination at this position, with its set.
    pub fn at(&self, (set, place): Position) -> Option<(&Set<A>, &Destination)> {
        let set = self.sets.get(set as usize)?;
        Some((set, set.destinations.get(place as usize)?))
    }

    /// All destinations with their sets, in order.
    pub fn all(&self) -> impl Iterator<Item = (Position, &Set<A>, &Destination)> {
        self.sets.iter().enumerate().flat_map(|(at, set)| {
            let with_set = move |(place, one)| ((at as u32, place as u32), set, one);
            set.destinations.iter().enumerate().map(with_set)
        })
    }

    /// All sets, by id.
    pub fn sets(&self) -> &[Set<A>] {
        &self.sets
    }

    /// The set of this id.
    pub fn set(&self, id: i32) -> Option<&Set<A>> {
        let at = self.sets.binary_search_by_key(&id, |set| set.id).ok()?;
        self.sets.get(at)
    }
}

impl<A: Alloc> Set<A> {
    /// A set of `destinations` whose texts and addresses are in `parts`, going on where `before` was.
    pub fn try_new_in(
        id: i32,
        destinations: &[Destination],
        parts: &Parts,
        before: Option<&Self>,
        alloc: A,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            id,
            destinations: Slice::try_copy_in(destinations, alloc)?,
            text: Slice::try_copy_in(&parts.text, alloc)?,
            addresses: Slice::try_from_vec_in(parts.addresses.clone(), alloc)?,
            turn: AtomicU32::new(before.map_or(0, |set| set.turn.load(Ordering::Relaxed))),
            choices: AtomicU64::new(before.map_or(0, |set| set.choices.load(Ordering::Relaxed))),
            tickets: core::array::from_fn(|row| {
                let given = before.and_then(|set| set.tickets.get(row));
                AtomicU64::new(given.map_or(0, |given| given.load(Ordering::Relaxed)))
            }),
        })
    }

    /// The bytes of a text of this set.
    pub fn text(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.text.get(start..start + span.len as usize).unwrap_or_default()
    }

    /// What the host of a destination of this set means, the first answer first; empty where nobody knows.
    pub fn addresses(&self, destination: &Destination) -> &[IpAddr] {
        let start = destination.addresses.start as usize;
        self.addresses.get(start..start + destination.addresses.len as usize).unwrap_or_default()
    }

    /// Its texts and addresses, to make another set of.
    pub fn parts(&self) -> Parts {
        Parts { text: self.text.to_vec(), addresses: self.addresses.to_vec() }
    }

    /// Takes the next turn; the one after it is the next position.
    pub fn take_turn(&self) -> u32 {
        let len = self.len();
        let next = |turn: u32| Some((turn % len + 1) % len);
        self.turn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0) % len
    }

    /// Whose turn it is; it stays his.
    pub fn turn(&self) -> u32 {
        self.turn.load(Ordering::Relaxed) % self.len()
    }

    /// The next ticket of a row, which stays the next.
    pub fn ticket(&self, row: usize) -> u64 {
        self.tickets.get(row).map_or(0, |given| given.load(Ordering::Relaxed))
    }

    /// Says which position the turn came to, so that the next turn follows it, unless another has moved on already.
    pub fn settle_turn(&self, turn: u32, at: usize) {
        let len = self.len();
        let next = (at as u32 + 1) % len;
        let _ = self.turn.compare_exchange((turn + 1) % len, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The number of a choice by call load, larger than all before it.
    pub fn next_choice(&self) -> u64 {
        self.choices.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The next ticket of a row.
    pub fn next_ticket(&self, row: usize) -> u64 {
        self.tickets.get(row).map_or(0, |given| given.fetch_add(1, Ordering::Relaxed))
    }

    /// Destinations, at least 1 so that it can divide.
    fn len(&self) -> u32 {
        u32::try_from(self.destinations.len()).unwrap_or(u32::MAX).max(1)
    }
}

/// Texts and addresses of a set while it is built.
#[derive(Default)]
pub struct Parts {
    text: Vec<u8>,
    addresses: Vec<IpAddr>,
}

impl Parts {
    /// Adds a text.
    pub fn add(&mut self, text: &[u8]) -> Span {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        Span { start, len: text.len() as u32 }
    }

    /// A part of a text that was added.
    pub fn part(whole: Span, start: usize, len: usize) -> Span {
        Span { start: whole.start + start as u32, len: len as u32 }
    }

    /// Adds addresses.
    pub fn add_addresses(&mut self, addresses: &[IpAddr]) -> Span {
        let start = self.addresses.len() as u32;
        self.addresses.extend_from_slice(addresses);
        Span { start, len: addresses.len() as u32 }
    }

    /// Forgets all addresses.
    pub fn without_addresses(self) -> Self {
        Self { addresses: Vec::new(), ..self }
    }
}
