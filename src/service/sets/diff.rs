//! Which lines of a source serve already, word for word: such a line is neither checked nor built again.
//!
//! All else that a destination has follows from its words and from what no reload changes: the server's sockets, the
//! parameters, and what names mean, which a reload takes over. (The core's `dns_try_ipv6` can be set at run time. It counts
//! for new lines.)
//!
//! A line without a scheme and one with a name that stands for many destinations serve under other words, and are checked
//! each time.

use crate::dest::{Written, attrs};
use crate::shm::Alloc;
use crate::state::{Member, NameTag, Set};

/// What stands in the place of a line.
pub(super) enum Stood<'g> {
    /// The line itself, at this position.
    Same(usize, Member<'g>),
    /// One with its URI and other words.
    Other(Member<'g>),
}

/// Finds the lines of a source in the set that serves.
pub(super) struct Diff<'g, A: Alloc> {
    set: &'g Set<A>,
    /// Where the next line is, most likely.
    next: usize,
    /// Where the lines are, by URI, in order; made when one is not where it was expected.
    places: Option<Vec<(NameTag, u32)>>,
}

impl<'g, A: Alloc> Diff<'g, A> {
    /// In this set.
    pub fn of(set: &'g Set<A>) -> Self {
        Self { set, next: 0, places: None }
    }

    /// What stood in the place of this line. Lines are best asked for in their order.
    pub fn find(&mut self, line: &Written<'_>) -> Option<Stood<'g>> {
        let (at, one) = self.with_uri(line)?;
        self.next = at + 1;
        Some(if says(one, line) { Stood::Same(at, one) } else { Stood::Other(one) })
    }

    /// The one that is expected, if it has this URI; else one that has it, and the same words if there is one.
    fn with_uri(&mut self, line: &Written<'_>) -> Option<(usize, Member<'g>)> {
        let set = self.set;
        let with_uri =
            |at: usize| set.get(at).filter(|one| one.text(one.uri) == &*line.uri).map(|one| (at, one));
        if let Some(expected) = with_uri(self.next) {
            return Some(expected);
        }
        let tag = NameTag::of(&line.uri);
        let places = self.places.get_or_insert_with(|| {
            let mut places: Vec<_> = set.tags().zip(0..).collect();
            places.sort_unstable();
            places
        });
        let tagged = places.iter().skip(places.partition_point(|(other, _)| *other < tag));
        let tagged = tagged.take_while(|(other, _)| *other == tag).map(|(_, at)| *at as usize);
        let mut found = tagged.filter_map(with_uri);
        found.clone().find(|(_, one)| says(*one, line)).or_else(|| found.next())
    }
}

/// Whether the destination with the URI of this line is all that the line says. One of those that a name stands for is not:
/// its words are not the line's.
fn says(one: Member<'_>, line: &Written<'_>) -> bool {
    // What was mended is read again, so that it is told again.
    !one.mended
        && one.text(one.attrs) == attrs::body(&line.attrs)
        && (one.flags, one.priority) == (line.flags, line.priority)
        && one.text(one.written).is_empty()
}
