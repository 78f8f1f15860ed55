//! Two lists beside one another: what is added, removed and changed from one to the other, and how many calls that affects.
//!
//! A destination is the same one in both lists if set and `duid` are, or set, URI and socket where it has no `duid`: that is how
//! a reload finds the count and the state that stay with it.

use super::parts::Parts;
use super::problem::{shared_identity, shown};
use super::{Flags, Problem, SourcePosition};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// A destination as a list has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed<'t> {
    /// The set.
    pub set: i32,
    /// As written.
    pub uri: Cow<'t, [u8]>,
    /// Empty where it has none.
    pub duid: Cow<'t, [u8]>,
    /// The local socket that it names, by name or address.
    pub socket: Cow<'t, [u8]>,
    /// Flags as written; `None` where only the state of the moment is known.
    pub flags: Option<Flags>,
    /// Priority.
    pub priority: i32,
    /// All attributes as written.
    pub body: Cow<'t, [u8]>,
    /// The limit in effect; 0 is none.
    pub maxload: u32,
    /// Calls that it has, where that is known.
    pub calls: u32,
}

/// What becomes of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum ChangeKind {
    Removed,
    Added,
    Changed,
}

impl ChangeKind {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Added => "added",
            Self::Changed => "changed",
        }
    }
}

/// A destination that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListChange {
    /// What becomes of it.
    pub kind: ChangeKind,
    /// Its set.
    pub set: i32,
    /// Its URI; where that changes, the new one.
    pub uri: Vec<u8>,
    /// Calls that it has.
    pub calls: u32,
    /// What changes, or what else there is to know.
    pub what: Vec<String>,
}

/// All that differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// In the order of sets: first what is removed, then what is added, then what changes.
    pub changes: Vec<ListChange>,
    /// How many destinations are as they were.
    pub unchanged: usize,
}

impl Comparison {
    /// How many of a kind there are.
    pub fn count(&self, kind: ChangeKind) -> usize {
        self.changes.iter().filter(|change| change.kind == kind).count()
    }

    /// Calls at the destinations of a kind.
    pub fn calls(&self, kind: ChangeKind) -> u64 {
        self.changes.iter().filter(|change| change.kind == kind).map(|change| u64::from(change.calls)).sum()
    }
}

/// What makes it the same destination in another list.
type Identity<'a> = (i32, &'a [u8], &'a [u8]);

fn identity<'a>(one: &'a Listed<'_>) -> Identity<'a> {
    if one.duid.is_empty() { (one.set, &one.uri, &one.socket) } else { (one.set, &one.duid, b"duid") }
}

/// From `old` to `new`.
pub fn compare(old: &[Listed<'_>], new: &[Listed<'_>]) -> Comparison {
    let mut left: HashMap<Identity<'_>, VecDeque<&Listed<'_>>> = HashMap::with_capacity(old.len());
    old.iter().for_each(|one| left.entry(identity(one)).or_default().push_back(one));
    let mut all = Comparison::default();
    let mut change = |kind, one: &Listed<'_>, calls, what| {
        all.changes.push(ListChange { kind, set: one.set, uri: one.uri.to_vec(), calls, what });
    };
    for one in new {
        let Some(before) = left.get_mut(&identity(one)).and_then(VecDeque::pop_front) else {
            change(ChangeKind::Added, one, 0, Vec::new());
            continue;
        };
        match differences(before, one) {
            what if what.is_empty() => all.unchanged += 1,
            what => change(ChangeKind::Changed, one, before.calls, what),
        }
    }
    for one in left.into_values().flatten() {
        let what = match one.calls {
            0 => Vec::new(),
            calls => vec![calls_go_on(calls)],
        };
        change(ChangeKind::Removed, one, one.calls, what);
    }
    let key = |one: &ListChange| (one.set, one.kind, one.uri.clone());
    all.changes.sort_by_cached_key(key);
    all
}

/// A warning for each line that means the same destination as an earlier one: both are chosen, but count and change state as one.
pub fn shared(lines: &[(SourcePosition, Listed<'_>)]) -> Vec<Problem> {
    let mut all: Vec<_> = lines.iter().collect();
    all.sort_by_key(|(place, _)| *place);
    let mut first = HashMap::with_capacity(all.len());
    let mut problems = Vec::new();
    for (place, one) in all {
        let other: SourcePosition = *first.entry(identity(one)).or_insert(*place);
        if other != *place {
            problems.push(shared_identity(*place, &one.duid, &one.uri, other));
        }
    }
    problems
}

fn calls_go_on(calls: u32) -> String {
    if calls == 1 {
        "its call goes on until it ends".into()
    } else {
        format!("its {calls} calls go on until they end")
    }
}

/// What differs between two lines that mean one destination, in words.
fn differences(old: &Listed<'_>, new: &Listed<'_>) -> Vec<String> {
    let mut what = Vec::new();
    if old.uri != new.uri {
        what.push(format!("URI {} -> {}", shown(&old.uri), shown(&new.uri)));
    }
    if let Some((old, new)) = old.flags.zip(new.flags).filter(|(old, new)| old != new) {
        what.push(format!("flags {} -> {}", old.0, new.0));
    }
    if old.priority != new.priority {
        what.push(format!("priority {} -> {}", old.priority, new.priority));
    }
    if old.body != new.body {
        let [before, after] = [&old.body, &new.body].map(|body| values(body));
        let names: BTreeMap<_, ()> =
            before.keys().chain(after.keys()).map(|name| (name.clone(), ())).collect();
        let seen = what.len();
        for (name, ()) in names {
            let of = |values: &BTreeMap<Vec<u8>, &[u8]>| {
                values.get(&name).map_or_else(|| "none".to_owned(), |value| shown(value))
            };
            if before.get(&name) != after.get(&name) {
                what.push(format!("{} {} -> {}", name.escape_ascii(), of(&before), of(&after)));
            }
        }
        if what.len() == seen {
            what.push("attributes are written otherwise".into());
        }
    }
    if !what.is_empty() && new.maxload != 0 && old.calls > new.maxload {
        let (calls, maxload) = (old.calls, new.maxload);
        what.push(format!(
            "it has {calls} calls, above its maxload of {maxload}: it gets none until enough end"
        ));
    }
    what
}

/// The first value of each attribute, by its name in small letters.
fn values(body: &[u8]) -> BTreeMap<Vec<u8>, &[u8]> {
    let mut all = BTreeMap::new();
    for part in Parts::of(body) {
        all.entry(part.name.to_ascii_lowercase()).or_insert(part.value.unwrap_or_default());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(set: i32, uri: &'static str, body: &'static str, calls: u32) -> Listed<'static> {
        let attrs = crate::dest::Attrs::parse(body.as_bytes(), false).unwrap();
        Listed {
            set,
            uri: uri.as_bytes().into(),
            duid: attrs.duid.clone(),
            socket: attrs.values.local_socket(|text| text).to_vec().into(),
            flags: Some(Flags::default()),
            body: body.as_bytes().into(),
            maxload: attrs.maxload,
            calls,
            ..Listed::default()
        }
    }

    fn told(comparison: &Comparison) -> Vec<String> {
        let line = |one: &ListChange| {
            let uri = String::from_utf8_lossy(&one.uri);
            format!("{} {} {uri} {} {}", one.kind.name(), one.set, one.calls, one.what.join(", "))
        };
        comparison.changes.iter().map(line).collect()
    }

    #[test]
    fn destination_is_known_by_its_duid_and_else_by_uri_and_socket() {
        let old = [
            listed(1, "sip:a", "duid=a;maxload=9", 7),
            listed(1, "sip:b", "", 2),
            listed(1, "sip:c", "socket=udp:h:1", 1),
            listed(1, "sip:d", "weight=1", 0),
            listed(2, "sip:b", "", 0),
        ];
        let new = [
            listed(1, "sip:A", "duid=a;maxload=5;weight=3", 0),
            listed(1, "sip:b", "", 0),
            listed(1, "sip:c", "socket=udp:h:2", 0),
            listed(1, "sip:d", "Weight=1", 0),
            listed(3, "sip:b", "", 0),
        ];
        let found = compare(&old, &new);
        assert_eq!(
            told(&found),
            [
                "removed 1 sip:c 1 its call goes on until it ends",
                "added 1 sip:c 0 ",
                "changed 1 sip:A 7 URI 'sip:a' -> 'sip:A', maxload '9' -> '5', weight none -> '3', \
                 it has 7 calls, above its maxload of 5: it gets none until enough end",
                "changed 1 sip:d 0 attributes are written otherwise",
                "removed 2 sip:b 0 ",
                "added 3 sip:b 0 "
            ]
        );
        assert_eq!(
            (found.unchanged, found.count(ChangeKind::Added), found.calls(ChangeKind::Changed)),
            (1, 2, 7)
        );
    }

    #[test]
    fn two_lines_of_one_destination_are_two() {
        let one = || listed(1, "sip:a", "", 0);
        assert_eq!(compare(&[one(), one()], &[one(), one()]).unchanged, 2);
        let found = compare(&[one()], &[one(), one()]);
        assert_eq!((found.unchanged, found.count(ChangeKind::Added)), (1, 1));
        let state_only = Listed { flags: None, ..one() };
        assert_eq!(compare(&[state_only], &[Listed { flags: Some(Flags(4)), ..one() }]).unchanged, 1);
    }
}
