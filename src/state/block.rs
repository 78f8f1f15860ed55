//! A run of destinations of a set, in a few pieces of memory: the generations in which nothing of it is another share it.
//!
//! Texts of a destination lie one behind the other, its addresses too, and it names them by position: there is no pointer
//! to mend when it moves to another block.

use crate::dest::Flags;
use crate::shm::sequence::Run;
use crate::shm::slice::Slice;
use crate::shm::{Alloc, Foreign, OutOfMemory, Shared};
use core::net::IpAddr;
use core::ops::{Deref, Range};
use xxhash_rust::xxh3::xxh3_64;

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

/// One destination of a set. Texts are read through [`Member::text`].
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
    /// Milliseconds that its replies take, until something is measured; 0 is not known.
    pub latency: u32,
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

/// A destination where it serves: with its texts and addresses.
#[derive(Clone, Copy)]
pub struct Member<'g> {
    fields: &'g Destination,
    texts: &'g [u8],
    addresses: &'g [IpAddr],
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

    /// What its host means, the first answer first; empty where nobody knows.
    pub fn addresses(self) -> &'g [IpAddr] {
        self.addresses
    }
}

/// Where what a destination names by position is.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Its texts, in those of the block.
    texts: Span,
    /// What its host means, in the addresses of the block.
    addresses: Span,
}

// SAFETY: numbers.
unsafe impl Shared for Place {}

/// What destinations are searched by, close together: a look at thousands of them is one at a few pages.
#[derive(Clone, Copy, Default)]
struct Tag {
    record: u32,
    uri: u32,
    written: u32,
}

// SAFETY: numbers.
unsafe impl Shared for Tag {}

/// A name as tags have it, without regard to case; 0 is that of none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NameTag(u32);

impl NameTag {
    /// Of a URI.
    pub fn of(uri: &[u8]) -> Self {
        if uri.is_empty() { Self(0) } else { Self(xxh3_64(&uri.to_ascii_lowercase()) as u32 | 1) }
    }
}

/// Destinations that follow one another.
pub struct Block<A: Alloc> {
    destinations: Slice<Destination, A>,
    places: Slice<Place, A>,
    tags: Slice<Tag, A>,
    texts: Slice<u8, A>,
    addresses: Slice<IpAddr, A>,
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

    /// The destination at this position of the block.
    pub fn get(&self, at: usize) -> Option<Member<'_>> {
        Some(self.member(self.destinations.get(at)?, self.places.get(at)?))
    }

    /// All in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Member<'_>> + Clone {
        self.destinations.iter().zip(self.places.iter()).map(|(fields, place)| self.member(fields, place))
    }

    fn member<'g>(&'g self, fields: &'g Destination, place: &Place) -> Member<'g> {
        Member { fields, texts: place.texts.of(&self.texts), addresses: place.addresses.of(&self.addresses) }
    }

    /// The position of the first one with this record.
    pub fn with_record(&self, number: u32) -> Option<usize> {
        self.tags.iter().position(|tag| tag.record == number)
    }

    /// The positions of those whose URI, or the URI that was written for them, has this tag: most likely has this name.
    pub fn with_name(&self, name: NameTag) -> impl Iterator<Item = usize> {
        let fits = move |tag: &Tag| name.0 != 0 && (tag.uri == name.0 || tag.written == name.0);
        self.tags.iter().enumerate().filter(move |(_, tag)| fits(tag)).map(|(at, _)| at)
    }
}

/// A block while it is built.
#[derive(Default)]
pub struct Parts {
    destinations: Vec<Destination>,
    places: Vec<Place>,
    tags: Vec<Tag>,
    texts: Vec<u8>,
    addresses: Vec<IpAddr>,
    /// Where the texts of the next destination begin.
    begun: usize,
}

impl Parts {
    /// Adds a text of the destination that is put next.
    pub fn text(&mut self, text: &[u8]) -> Span {
        let start = (self.texts.len() - self.begun) as u32;
        self.texts.extend_from_slice(text);
        Span { start, len: text.len() as u32 }
    }

    /// Adds a destination with the texts that were added for it, and with its addresses.
    pub fn put(&mut self, destination: Destination, addresses: &[IpAddr]) {
        let texts = self.texts.get(self.begun..).unwrap_or_default();
        self.places.push(Place {
            texts: Span { start: self.begun as u32, len: texts.len() as u32 },
            addresses: Span { start: self.addresses.len() as u32, len: addresses.len() as u32 },
        });
        let [uri, written] = [destination.uri, destination.written].map(|span| NameTag::of(span.of(texts)).0);
        self.tags.push(Tag { record: destination.record, uri, written });
        self.begun = self.texts.len();
        self.addresses.extend_from_slice(addresses);
        self.destinations.push(destination);
    }

    /// Adds a destination that serves, with these addresses.
    pub fn put_again(&mut self, member: Member<'_>, destination: Destination, addresses: &[IpAddr]) {
        self.text(member.texts);
        self.put(destination, addresses);
    }

    /// The block.
    pub fn try_block_in<A: Alloc>(self, alloc: A) -> Result<Block<A>, OutOfMemory> {
        Ok(Block {
            destinations: Slice::try_copy_in(&self.destinations, alloc)?,
            places: Slice::try_copy_in(&self.places, alloc)?,
            tags: Slice::try_copy_in(&self.tags, alloc)?,
            texts: Slice::try_copy_in(&self.texts, alloc)?,
            addresses: Slice::try_from_vec_in(self.addresses, alloc)?,
        })
    }
}
