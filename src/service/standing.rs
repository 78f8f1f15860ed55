//! Which lines of a source serve already, word for word: such a line is neither checked nor built again.
//!
//! All else that a destination has follows from its words and from what no reload changes: the server's sockets, the
//! parameters, and what names mean, which a reload takes over.

use crate::dest::Entry;
use crate::shm::Alloc;
use crate::state::{Member, Set};
use std::collections::HashMap;

/// Finds the lines of a source in the set that serves.
pub(super) struct Standing<'g, A: Alloc> {
    set: Option<&'g Set<A>>,
    /// Where the next line is, most likely.
    next: usize,
    /// Where the lines are, by URI; made when one is not where it was expected.
    places: Option<HashMap<&'g [u8], Vec<usize>>>,
}

impl<'g, A: Alloc> Standing<'g, A> {
    /// In this set.
    pub fn of(set: Option<&'g Set<A>>) -> Self {
        Self { set, next: 0, places: None }
    }

    /// The position of the destination of this line, with itself. Lines are best asked for in their order.
    pub fn find(&mut self, entry: &Entry) -> Option<(usize, Member<'g>)> {
        let set = self.set?;
        let is_it = |at: &usize| set.get(*at).filter(|one| says(*one, entry)).map(|one| (*at, one));
        let found = is_it(&self.next).or_else(|| {
            let places = self.places.get_or_insert_with(|| places(set));
            places.get(entry.uri.as_slice())?.iter().find_map(is_it)
        })?;
        self.next = found.0 + 1;
        Some(found)
    }
}

fn places<A: Alloc>(set: &Set<A>) -> HashMap<&[u8], Vec<usize>> {
    let mut places = HashMap::<_, Vec<_>>::with_capacity(set.len());
    for (at, one) in set.places() {
        places.entry(one.text(one.uri)).or_default().push(at);
    }
    places
}

/// Whether the destination is what this line says. One of those that a name stands for is not: its words are not the line's.
fn says(one: Member<'_>, entry: &Entry) -> bool {
    let Entry { uri, flags, priority, attrs, .. } = entry;
    let words = |span| one.text(span);
    words(one.uri) == uri.as_slice()
        && words(one.attrs) == attrs.body.as_slice()
        && (one.flags, one.priority) == (*flags, *priority)
        && words(one.written).is_empty()
}
