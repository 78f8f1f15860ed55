//! A block: some destinations of a set that follow one another, in a few allocations. Generations share the blocks in which
//! nothing changed.
//!
//! All texts of a block are in one allocation, all addresses in another, and a destination refers to them by position. So no
//! pointer has to change when a destination moves to another block.

use super::ranks::Line;
use super::record::Record;
use crate::dest::attrs::AttrValues;
use crate::dest::limits::Reserve;
use crate::dest::{Flags, address};
use crate::load::Rate;
use crate::shm::cow_list::Run;
use crate::shm::slice::Slice;
use crate::shm::{Alloc, Foreign, OutOfMemory, Shared};
use core::net::IpAddr;
use core::ops::{Deref, Range};

/// A part of something longer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    fn of<T>(self, whole: &[T]) -> &[T] {
        let start = self.start as usize;
        whole.get(start..start + self.len as usize).unwrap_or_default()
    }

    /// A part of this one.
    pub fn part(self, start: usize, len: usize) -> Self {
        Self { start: self.start + start as u32, len: len as u32 }
    }
}

/// One destination of a set. Texts are read through [`Member::text`]; what its attributes say is read as fields of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Destination {
    /// Its URI.
    pub uri: Span,
    /// The host, a part of the URI.
    pub host: Span,
    /// The URI in the source, if its host name stands for many destinations and this is one of them; else empty.
    pub written: Span,
    /// Its attributes.
    pub values: AttrValues<Span>,
    /// Higher comes first.
    pub priority: i32,
    /// As configured; what holds now is in the record.
    pub flags: Flags,
    /// Number of its runtime record.
    pub record: u32,
    /// A hash of what is probed and looked up. An answer that comes when the record has another owner does not match it.
    pub asked: u64,
    /// The weight of its SRV record, if it is one of the destinations that a host name stands for.
    pub srv_weight: u32,
    /// The local socket to send from, where one is set.
    pub send_from: Option<Foreign>,
    /// The local socket to send probes from, where one is set for that.
    pub ping_from_socket: Option<Foreign>,
    /// Whether its host is a name, not an address.
    pub named: bool,
    /// Whether a value of it was corrected when it was read. Each reload warns again.
    pub mended: bool,
    /// Whether the addresses of that name are looked up.
    pub looked_up: bool,
    /// Whether they are, and were not known when this was built.
    pub unresolved: bool,
    /// Port of the URI; 0 where it has none.
    pub port: u16,
    /// Transport of the URI, as the host numbers them.
    pub proto: u16,
}

// There may be tens of thousands, in shared memory.
const _: () = assert!(size_of::<Destination>() <= 160, "a destination takes no more memory than before");

impl Deref for Destination {
    type Target = AttrValues<Span>;
    fn deref(&self) -> &AttrValues<Span> {
        &self.values
    }
}

// SAFETY: numbers, and addresses of sockets that were made before the fork.
unsafe impl Shared for Destination {}

impl Destination {
    /// Whether it is one of the destinations that a host name stands for.
    pub fn is_target(&self) -> bool {
        self.written.len > 0 && !self.named
    }

    /// Its line on the board of call load.
    pub fn line(&self, limits: Limits) -> Line {
        let (record, maxload, weight) = (self.record, self.maxload, self.weight);
        let Limits { maxload_reserve: reserve, capacity, rate, slow_start, .. } = limits;
        Line { record, maxload, reserve, weight, capacity, rate, slow_start }
    }

    /// The latency that algorithm 13 looks at, in milliseconds; 0 where it is not known. With congestion control how much longer than
    /// usual replies take.
    pub fn latency_of(&self, record: &Record) -> u32 {
        if self.cc { record.congestion() } else { record.latency() }
    }

    /// Where the host is in the URI.
    pub fn host_range(&self) -> Range<usize> {
        let start = (self.host.start - self.uri.start) as usize;
        start..start + self.host.len as usize
    }
}

/// What limits the calls of a destination beside its `maxload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// How many calls with priority it takes beyond its `maxload`.
    pub maxload_reserve: u32,
    /// The number of the capacity that it shares with others; 0 is none.
    pub capacity: u32,
    /// How many calls it says that those may have together; 0 where it does not say.
    pub capacity_max: u32,
    /// How many calls with priority it says that those may have beyond that.
    pub capacity_reserve: Option<Reserve>,
    /// How many new calls a second it says that they may have, and how many more at once; 0 where it does not say.
    pub capacity_rate: (u32, u32),
    /// Its limit on new calls.
    pub rate: Rate,
    /// Seconds of its slow start; 0 is none.
    pub slow_start: u32,
}

// SAFETY: numbers.
unsafe impl Shared for Limits {}

/// A destination in its block: with its texts and addresses.
#[derive(Clone, Copy)]
pub struct Member<'g> {
    fields: &'g Destination,
    texts: &'g [u8],
    /// What limits its calls beside its `maxload`.
    pub limits: Limits,
    /// Those of the block, and which of them are its own.
    addresses: (&'g [IpAddr], Span),
}

impl Deref for Member<'_> {
    type Target = Destination;
    fn deref(&self) -> &Destination {
        self.fields
    }
}

impl<'g> Member<'g> {
    /// The bytes of one of its texts.
    pub fn text(self, span: Span) -> &'g [u8] {
        span.of(self.texts)
    }

    /// Its transport, as the host numbers them. Where the stock module gives a URI without one the usual one, that; else 0.
    pub fn transport(self) -> u16 {
        match self.proto {
            0 => address::usual_transport(self.text(self.uri), !self.named, self.port),
            proto => proto,
        }
    }

    /// The local socket that it names, by name or else by address; empty where it names none.
    pub fn local_socket(self) -> &'g [u8] {
        self.fields.values.local_socket(|text| self.text(*text))
    }

    /// The addresses of its host, the first answer first; empty while they are not known.
    pub fn addresses(self) -> &'g [IpAddr] {
        let (all, own) = self.addresses;
        own.of(all)
    }
}

/// Where the texts and addresses of a destination are.
#[derive(Clone, Copy, Default)]
struct Extent {
    /// Its texts, in those of the block.
    texts: Span,
    /// Its addresses, in those of the block.
    addresses: Span,
}

// SAFETY: numbers.
unsafe impl Shared for Extent {}

/// A 32-bit FNV-1a hash of a URI without regard to case, to search for it among thousands. 0 is the hash of no URI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameTag(u32);

impl NameTag {
    /// Of a URI.
    pub fn of(uri: &[u8]) -> Self {
        let step =
            |hash: u32, byte: &u8| (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193);
        if uri.is_empty() { Self(0) } else { Self(uri.iter().fold(0x811c_9dc5, step) | 1) }
    }
}

/// Whether it is one of these. The loop does not stop at a match, so that the compiler makes a few vector instructions of it.
fn is_among(one: u32, all: &[u32]) -> bool {
    all.iter().fold(false, |found, other| found | (*other == one))
}

/// Destinations that follow one another.
pub struct Block<A: Alloc> {
    destinations: Slice<Destination, A>,
    places: Slice<Extent, A>,
    /// The numbers by which destinations are searched, close together: records, then tags of URIs, then tags of the URIs in the
    /// source, if any of those differs.
    tags: Slice<u32, A>,
    texts: Slice<u8, A>,
    addresses: Slice<IpAddr, A>,
    /// Of each destination; none where none has any.
    limits: Slice<Limits, A>,
}

// SAFETY: shared slices.
unsafe impl<A: Alloc> Shared for Block<A> {}

impl<A: Alloc> Run for Block<A> {
    fn len(&self) -> usize {
        self.destinations.len()
    }
}

impl<A: Alloc> Block<A> {
    /// The bare destinations.
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// Their lines on the board of call load, in order.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = Line> + '_ {
        self.destinations.iter().enumerate().map(|(at, one)| one.line(self.limits_at(at)))
    }

    fn limits_at(&self, at: usize) -> Limits {
        self.limits.get(at).copied().unwrap_or_default()
    }

    /// Those of its destinations that share a capacity: the number of the record, and the limits.
    pub fn sharing(&self) -> impl Iterator<Item = (u32, Limits)> + '_ {
        let limits = self.destinations.iter().zip(self.limits.iter());
        limits.filter(|(_, limits)| limits.capacity != 0).map(|(one, limits)| (one.record, *limits))
    }

    /// Whether any of its destinations has a slow start.
    pub fn has_slow_starts(&self) -> bool {
        self.limits.iter().any(|limits| limits.slow_start > 0)
    }

    /// Whether any of its destinations has a limit on new calls.
    pub fn has_rates(&self) -> bool {
        self.limits.iter().any(|limits| limits.rate.limits())
    }

    /// The destination at this position of the block.
    pub fn get(&self, at: usize) -> Option<Member<'_>> {
        Some(self.member(self.destinations.get(at)?, self.places.get(at)?, at))
    }

    /// All in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Member<'_>> + Clone {
        let all = self.destinations.iter().zip(self.places.iter()).enumerate();
        all.map(|(at, (fields, place))| self.member(fields, place, at))
    }

    fn member<'g>(&'g self, fields: &'g Destination, place: &Extent, at: usize) -> Member<'g> {
        let (texts, limits) = (place.texts.of(&self.texts), self.limits_at(at));
        Member { fields, texts, limits, addresses: (&self.addresses, place.addresses) }
    }

    /// The position of the first one with this record.
    pub fn with_record(&self, number: u32) -> Option<usize> {
        let records = self.tags.get(..self.len()).filter(|records| is_among(number, records))?;
        records.iter().position(|record| *record == number)
    }

    /// The tags of all URIs.
    pub fn tags(&self) -> impl Iterator<Item = NameTag> {
        self.tags.iter().skip(self.len()).take(self.len()).map(|tag| NameTag(*tag))
    }

    /// The positions of those whose URI, or whose URI in the source, has this tag. Compare the URIs: two may share a tag.
    pub fn with_name(&self, name: NameTag) -> impl Iterator<Item = usize> {
        let names = self.tags.get(self.len()..).filter(|names| name.0 != 0 && is_among(name.0, names));
        let (uris, written) =
            names.unwrap_or_default().split_at(if names.is_some() { self.len() } else { 0 });
        let written = move |at: usize| written.get(at) == Some(&name.0);
        let fits = uris.iter().enumerate().filter(move |(at, uri)| **uri == name.0 || written(*at));
        fits.map(|(at, _)| at)
    }
}

/// A block while it is built.
#[derive(Default)]
pub struct BlockBuilder {
    destinations: Vec<Destination>,
    places: Vec<Extent>,
    /// Tags of URIs, and of what was written for them.
    uris: Vec<u32>,
    written: Vec<u32>,
    texts: Vec<u8>,
    addresses: Vec<IpAddr>,
    limits: Vec<Limits>,
    /// Where the texts of the next destination begin.
    begun: usize,
}

impl BlockBuilder {
    /// Adds a text of the destination that is put next.
    pub fn text(&mut self, text: &[u8]) -> Span {
        let start = (self.texts.len() - self.begun) as u32;
        self.texts.extend_from_slice(text);
        Span { start, len: text.len() as u32 }
    }

    /// Adds a destination with the texts that were added for it, and with its addresses and limits.
    pub fn put(&mut self, destination: Destination, addresses: &[IpAddr], limits: Limits) {
        let texts = self.texts.get(self.begun..).unwrap_or_default();
        self.places.push(Extent {
            texts: Span { start: self.begun as u32, len: texts.len() as u32 },
            addresses: Span { start: self.addresses.len() as u32, len: addresses.len() as u32 },
        });
        self.uris.push(NameTag::of(destination.uri.of(texts)).0);
        self.written.push(NameTag::of(destination.written.of(texts)).0);
        self.begun = self.texts.len();
        self.addresses.extend_from_slice(addresses);
        self.destinations.push(destination);
        self.limits.push(limits);
    }

    /// Adds a destination that serves, with these addresses. Its limits stay.
    pub fn put_again(&mut self, member: Member<'_>, destination: Destination, addresses: &[IpAddr]) {
        self.text(member.texts);
        self.put(destination, addresses, member.limits);
    }

    /// The block; the next one begins empty.
    pub fn try_block_in<A: Alloc>(&mut self, alloc: A) -> Result<Block<A>, OutOfMemory> {
        let mut tags: Vec<u32> = self.destinations.iter().map(|one| one.record).collect();
        tags.append(&mut self.uris);
        if self.limits.iter().all(|limits| *limits == Limits::default()) {
            self.limits.clear();
        }
        if self.written.iter().any(|tag| *tag != 0) {
            tags.append(&mut self.written);
        }
        let block = Block {
            destinations: Slice::try_copy_in(&self.destinations, alloc)?,
            places: Slice::try_copy_in(&self.places, alloc)?,
            tags: Slice::try_copy_in(&tags, alloc)?,
            texts: Slice::try_copy_in(&self.texts, alloc)?,
            addresses: Slice::try_from_vec_in(core::mem::take(&mut self.addresses), alloc)?,
            limits: Slice::try_copy_in(&self.limits, alloc)?,
        };
        self.destinations.clear();
        self.places.clear();
        self.written.clear();
        self.limits.clear();
        self.texts.clear();
        self.begun = 0;
        Ok(block)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;

    fn put(parts: &mut BlockBuilder, record: u32, uri: &[u8], written: &[u8], addresses: &[IpAddr]) {
        let (uri, written) = (parts.text(uri), parts.text(written));
        let one = Destination { record, uri, written, ..Destination::default() };
        parts.put(one, addresses, Limits::default());
    }

    #[test]
    fn destinations_are_found_by_record_and_by_either_name() {
        let mut parts = BlockBuilder::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        put(&mut parts, 7, b"sip:a", b"", &[]);
        put(&mut parts, 8, b"sip:10.0.0.1", b"sip:Name", &[address]);
        put(&mut parts, 7, b"SIP:A", b"", &[]);
        let block: Block<Heap> = parts.try_block_in(Heap).unwrap();
        assert_eq!([7, 8, 9].map(|number| block.with_record(number)), [Some(0), Some(1), None]);
        let named = |name: &[u8]| block.with_name(NameTag::of(name)).collect::<Vec<_>>();
        assert_eq!(
            [named(b"sip:a"), named(b"sip:10.0.0.1"), named(b"SIP:NAME")],
            [vec![0, 2], vec![1], vec![1]]
        );
        assert_eq!([named(b"sip:b"), named(b"")], [vec![], vec![]]);
        let one = block.get(1).unwrap();
        assert_eq!((one.text(one.written), one.addresses()), (&b"sip:Name"[..], &[address][..]));
    }

    #[test]
    fn a_destination_moves_to_another_block_with_all_it_has() {
        let mut parts = BlockBuilder::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        put(&mut parts, 1, b"sip:a", b"", &[]);
        put(&mut parts, 2, b"sip:b", b"sip:name", &[address]);
        let block: Block<Heap> = parts.try_block_in(Heap).unwrap();
        put(&mut parts, 3, b"sip:c", b"", &[]);
        let one = block.get(1).unwrap();
        parts.put_again(one, *one, one.addresses());
        let other: Block<Heap> = parts.try_block_in(Heap).unwrap();
        let there = other.get(1).unwrap();
        assert_eq!((there.text(there.uri), there.text(there.written)), (&b"sip:b"[..], &b"sip:name"[..]));
        assert_eq!((there.addresses(), there.record), (&[address][..], 2));
    }
}
