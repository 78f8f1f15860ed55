//! Compares the lines of a source with the sets that serve: a line that serves word for word is neither checked nor built
//! again.
//!
//! Everything else that a destination has follows from its words and from what no reload changes: the server's sockets, the
//! parameters, and what names mean, which a reload takes over. (The core's `dns_try_ipv6` can be set at run time. It counts
//! for new lines.)
//!
//! A line without a scheme and one with a name that stands for many destinations serve under other words, and are checked
//! each time.

use crate::dest::{SourceLine, attrs};
use crate::shm::Alloc;
use crate::state::{Generation, Member, NameTag, Set};

/// A set of the source beside the one that serves.
pub(super) enum SetDiff<'g> {
    /// It serves line for line, at this position of the generation.
    Unchanged(usize, &'g [&'g SourceLine<'g>]),
    /// The set of this id has these lines.
    Changed(i32, Vec<LineDiff<'g>>),
}

/// A line of the source beside what serves.
pub(super) enum LineDiff<'g> {
    /// It serves word for word, at this position of its set.
    Same(&'g SourceLine<'g>, usize, Member<'g>),
    /// It is new or has other words. With the destination of the same URI that serves, where there is one.
    New(&'g SourceLine<'g>, Option<Member<'g>>),
}

/// Compares all lines, which are in the order of [`crate::dest::arranged`], with the sets that serve.
pub(super) fn diff<'g, A: Alloc>(
    serving: Option<&'g Generation<A>>,
    lines: &'g [&'g SourceLine<'g>],
) -> Vec<SetDiff<'g>> {
    let sets = lines.chunk_by(|one, next| one.set == next.set);
    let set = |lines: &'g [&'g SourceLine<'g>]| {
        let id = lines.first()?.set;
        Some(set_diff(serving.and_then(|serving| serving.find(id)), id, lines))
    };
    sets.filter_map(set).collect()
}

fn set_diff<'g, A: Alloc>(
    serving: Option<(usize, &'g Set<A>)>,
    id: i32,
    lines: &'g [&'g SourceLine<'g>],
) -> SetDiff<'g> {
    let Some((position, set)) = serving else {
        return SetDiff::Changed(id, lines.iter().map(|line| LineDiff::New(line, None)).collect());
    };
    let mut finder = Finder { set, next: 0, places: None };
    let found: Vec<_> = lines.iter().map(|line| finder.find(line)).collect();
    let stays =
        |(at, line): (usize, &LineDiff<'_>)| matches!(line, LineDiff::Same(_, there, _) if *there == at);
    if set.len() == found.len() && found.iter().enumerate().all(stays) {
        return SetDiff::Unchanged(position, lines);
    }
    SetDiff::Changed(id, found)
}

/// Finds lines of a source in the set that serves.
struct Finder<'g, A: Alloc> {
    set: &'g Set<A>,
    /// Where the next line is, most likely.
    next: usize,
    /// Where the lines are, by URI, in order; made when one is not where it was expected.
    places: Option<Vec<(NameTag, u32)>>,
}

impl<'g, A: Alloc> Finder<'g, A> {
    /// What serves of this line. Lines are best asked for in their order.
    fn find(&mut self, line: &'g SourceLine<'g>) -> LineDiff<'g> {
        let Some((at, one)) = self.with_uri(line) else { return LineDiff::New(line, None) };
        self.next = at + 1;
        if says(one, line) { LineDiff::Same(line, at, one) } else { LineDiff::New(line, Some(one)) }
    }

    /// The expected one, if it has this URI; else one that has it, preferably with the same words.
    fn with_uri(&mut self, line: &SourceLine<'_>) -> Option<(usize, Member<'g>)> {
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
fn says(one: Member<'_>, line: &SourceLine<'_>) -> bool {
    // What was corrected is read again, so that the operator is told again.
    !one.mended
        && one.text(one.body) == attrs::body(&line.attrs)
        && (one.flags, one.priority) == (line.flags, line.priority)
        && one.text(one.written).is_empty()
}
