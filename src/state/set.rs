//! A set of destinations in the generation that serves: its destinations in order, its turns and tickets, and what choices look up.

use super::block::{Block, Destination, Member, NameTag};
use super::latency_order::{LatencyOrder, Order};
use super::ranks::{Line, Ranks};
use super::record::Record;
use super::registry::Registry;
use super::slots::Slots;
use super::usable::{Bits, Usable};
use super::weights::Weights;
use crate::select::Refusal;
use crate::shm::arc::Arc;
use crate::shm::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::shm::counter::Counter;
use crate::shm::cow_list::CowList;
use crate::shm::{Alloc, Shared};

/// Rows of tickets of a set: as many as algorithms draw from, which `service::route` asserts.
pub const ROWS: usize = 3;

/// A set of destinations.
pub struct Set<A: Alloc> {
    /// Its id.
    pub id: i32,
    /// Its destinations, in the order in which algorithms count them.
    pub blocks: CowList<Block<A>, A>,
    /// Its next turn and tickets. All generations of a set share them.
    pub turns: Arc<Turns, A>,
    /// Its load board. All generations of a set share it, and so do the records of its destinations.
    pub ranks: Arc<Ranks<A>, A>,
    /// Its lines by weight.
    pub weights: Weights<A>,
    /// Which of its positions are usable.
    pub usable: Usable<A>,
    /// Its usable positions by priority after latency.
    pub by_latency: LatencyOrder<A>,
    /// Whose its slots are, for the hash that stays put.
    pub slots: Slots<A>,
}

// SAFETY: shared parts.
unsafe impl<A: Alloc> Shared for Set<A> {}

/// What the algorithms of a set have given out so far, and refused.
#[derive(Default)]
pub struct Turns {
    /// Whose turn it is in round robin.
    turn: AtomicU32,
    /// Tickets, by row.
    tickets: [AtomicU64; ROWS],
    /// Selections that found nothing, by cause.
    refused: Refused,
}

/// How many selections were refused, by cause.
#[derive(Default)]
pub struct Refused([Counter; Refusal::ALL.len()]);

// SAFETY: atomics.
unsafe impl Shared for Refused {}

impl Refused {
    /// One more, for this cause.
    pub fn bump(&self, cause: Refusal) {
        self.0.get(cause as usize).into_iter().for_each(Counter::bump);
    }

    /// How many so far.
    pub fn get(&self, cause: Refusal) -> u64 {
        self.0.get(cause as usize).map_or(0, Counter::get)
    }
}

// SAFETY: atomics.
unsafe impl Shared for Turns {}

impl<A: Alloc> Set<A> {
    /// Selections of this set that found nothing, by cause. They outlive reloads as long as the set is there.
    pub fn refused(&self) -> &Refused {
        &self.turns.refused
    }

    /// How many destinations it has.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The destination at this position.
    pub fn get(&self, at: usize) -> Option<Member<'_>> {
        let (start, block) = self.blocks.run_of(at)?;
        block.get(at - start)
    }

    /// The same without its texts.
    pub fn destination(&self, at: usize) -> Option<&Destination> {
        let (start, block) = self.blocks.run_of(at)?;
        block.destinations().get(at - start)
    }

    /// All destinations in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Member<'_>> + Clone {
        self.blocks.runs().flat_map(|(_, block)| block.iter())
    }

    /// All destinations with their positions.
    pub fn places(&self) -> impl Iterator<Item = (usize, Member<'_>)> + Clone {
        self.iter().enumerate()
    }

    /// Where the last line of a source with this priority stands: before all others of that priority.
    pub fn rank(&self, priority: i32) -> usize {
        let before = |one: &Destination| one.priority > priority;
        let found = self.blocks.partition_point(|block| block.destinations().last().is_some_and(before));
        found.map_or(self.len(), |(start, block)| start + block.destinations().partition_point(before))
    }

    /// The position of the first one with this record.
    pub fn first_of(&self, number: u32) -> Option<usize> {
        self.blocks.runs().find_map(|(start, block)| Some(start + block.with_record(number)?))
    }

    /// The position of one with this record: where it was last, or near it, or anywhere.
    pub fn place_of(&self, number: u32, record: &Record) -> Option<usize> {
        /// How many were added or removed before it since, most likely.
        const NEAR: usize = 4;
        let last = record.place();
        let is_it = |at: &usize| self.destination(*at).is_some_and(|one| one.record == number);
        if is_it(&last) {
            return Some(last);
        }
        let near = last.saturating_sub(NEAR)..=last.saturating_add(NEAR);
        let found = near.into_iter().find(is_it).or_else(|| self.first_of(number))?;
        record.found_at(found);
        Some(found)
    }

    /// Those whose URI, or the URI that was written for them, is this, without regard to case; with their positions.
    pub fn named<'g>(&'g self, name: &'g [u8]) -> impl Iterator<Item = (usize, Member<'g>)> + 'g {
        let tag = NameTag::of(name);
        let places = self
            .blocks
            .runs()
            .flat_map(move |(start, block)| block.with_name(tag).map(move |at| (start + at, block.get(at))));
        let is_it = |one: Member<'_>| {
            [one.uri, one.written].iter().any(|text| one.text(*text).eq_ignore_ascii_case(name))
        };
        places.filter_map(move |(at, one)| one.filter(|one| is_it(*one)).map(|one| (at, one)))
    }

    /// The tags of all URIs.
    pub fn tags(&self) -> impl Iterator<Item = NameTag> {
        self.blocks.runs().flat_map(|(_, block)| block.tags())
    }

    /// Those with this URI, without regard to case; with their positions.
    pub fn with_uri<'g>(&'g self, uri: &'g [u8]) -> impl Iterator<Item = (usize, Member<'g>)> + 'g {
        self.named(uri).filter(|(_, one)| one.text(one.uri).eq_ignore_ascii_case(uri))
    }

    /// Takes the next turn; the one after it is the next position.
    pub fn take_turn(&self) -> u32 {
        let len = self.ring();
        let next = |turn| Some(following(within(turn, len), len));
        within(self.turns.turn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0), len)
    }

    /// Peeks at the next turn without taking it.
    pub fn turn(&self) -> u32 {
        within(self.turns.turn.load(Ordering::Relaxed), self.ring())
    }

    /// Peeks at the next ticket of a row without taking it.
    pub fn ticket(&self, row: usize) -> u64 {
        self.turns.tickets.get(row).map_or(0, |given| given.load(Ordering::Relaxed))
    }

    /// Says which position the turn came to, so that the next turn follows it, unless another has moved on already.
    pub fn settle_turn(&self, turn: u32, at: usize) {
        let len = self.ring();
        let (taken, next) = (following(turn, len), following(at as u32, len));
        if next != taken {
            let _ = self.turns.turn.compare_exchange(taken, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The position of this line.
    pub fn position_of(&self, line: Line, record: &Record) -> Option<usize> {
        let is_it = |one: &Destination| one.record == line.record && one.maxload == line.maxload;
        let stands = |at: usize| self.destination(at).is_some_and(is_it).then_some(at);
        let found = stands(record.place()).or_else(|| stands(self.place_of(line.record, record)?));
        if found.is_some() {
            return found;
        }
        // Several lines mean one destination, with limits of their own.
        self.places().find(|(_, one)| is_it(one)).map(|(at, _)| at)
    }

    /// What `look` makes of the usable positions; nothing if there is no memory to know them.
    pub fn usable<T>(&self, registry: &Registry<A>, look: impl Fn(&Bits<'_>) -> T) -> Option<T> {
        self.usable.look(self, registry, look)
    }

    /// What `look` makes of the usable positions by priority after latency; nothing if there is no memory to know them.
    pub fn by_latency<T>(&self, registry: &Registry<A>, look: impl Fn(&Order<'_>) -> T) -> Option<T> {
        self.by_latency.look(self, registry, look)
    }

    /// All lines, as call load knows them.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = Line> + '_ {
        self.blocks.runs().flat_map(|(_, block)| block.lines())
    }

    /// The next ticket of a row.
    pub fn next_ticket(&self, row: usize) -> u64 {
        self.turns.tickets.get(row).map_or(0, |given| given.fetch_add(1, Ordering::Relaxed))
    }

    /// Destinations, at least 1 so that it can divide.
    fn ring(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX).max(1)
    }
}

/// The turn in a set of this many. It is beyond only where the set has become smaller.
fn within(turn: u32, len: u32) -> u32 {
    if turn < len { turn } else { turn % len }
}

/// The turn after this one, which is within the set.
fn following(turn: u32, len: u32) -> u32 {
    if turn + 1 < len { turn + 1 } else { 0 }
}
