//! Destination sets as an operator writes them: lines of a list file, or rows of a table, turned into checked [`Entry`]s.
//!
//! Model: text or values go in; entries and [`Problem`]s come out, each problem with its [`Place`]. One bad line costs that
//! line and nothing else.
//!
//! Not here: whether a host name resolves or a socket is ours (the service asks the host), and anything that changes
//! while calls run.
#![forbid(unsafe_code)]

pub mod attrs;
pub mod flags;
pub mod list;
pub mod problem;
pub mod reply_codes;
pub mod row;

use core::cmp::Reverse;
use std::collections::HashMap;
use xxhash_rust::xxh3::xxh3_128;

pub use attrs::Attrs;
pub use flags::Flags;
pub use problem::{Place, Problem, Severity};
pub use reply_codes::ReplyCodes;

/// One destination as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands in its source; a finding about the destination as a whole points there.
    pub place: Place,
    /// Set (group) id, 0 to 2147483647.
    pub set: i32,
    /// SIP URI.
    pub uri: Vec<u8>,
    /// State and options at start.
    pub flags: Flags,
    /// Higher comes first.
    pub priority: i32,
    /// Attributes.
    pub attrs: Attrs,
}

/// Entries in the order in which the sets hold them: by set, then by priority, highest first.
///
/// Among equal priorities the *last* line of the file comes first. That is how the stock module orders them, and hashes
/// pick by position.
pub fn arranged(entries: Vec<Entry>) -> impl Iterator<Item = Entry> {
    let key = |(at, entry): (usize, &Entry)| (entry.set, Reverse(entry.priority), Reverse(at));
    let mut order: Vec<_> = entries.iter().enumerate().map(key).collect();
    order.sort_unstable();
    // Entries are large: each is moved once.
    let mut entries: Vec<_> = entries.into_iter().map(Some).collect();
    order.into_iter().filter_map(move |(_, _, Reverse(at))| entries.get_mut(at)?.take())
}

/// A warning for each destination that is the same as an earlier one of its set: by `duid`, or by URI and socket where it
/// has none. Both lines are chosen, but count and change state as one.
pub fn shared_identities<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Problem> {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by_key(|entry| entry.place);
    let mut first = HashMap::with_capacity(entries.len());
    let (mut problems, mut identity) = (Vec::new(), Vec::new());
    for entry in entries {
        let Attrs { duid, socket, sockname, .. } = &entry.attrs;
        let (kind, name) = if duid.is_empty() { ("destination", &entry.uri) } else { ("duid", duid) };
        identity.clear();
        identity.extend_from_slice(&entry.set.to_ne_bytes());
        identity.extend(name.to_ascii_lowercase());
        if duid.is_empty() {
            // A space is in no field, so that no two identities make one text.
            [b" ", socket.as_slice(), sockname].iter().for_each(|text| identity.extend_from_slice(text));
        }
        let place = *first.entry(xxh3_128(&identity)).or_insert(entry.place);
        if place != entry.place {
            let (name, other) = (problem::shown(name), place.of_other());
            let text = format!("{kind} {name} is also {other}: both count as one destination");
            problems.push(Problem::warning(entry.place, text));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_mean_one_destination_are_told() {
        let text = "1 sip:a 0 0 duid=X\n1 sip:b 0 0 duid=x\n2 sip:b 0 0 duid=x\n\
                    1 sip:c\n1 SIP:C\n1 sip:c 0 0 socket=udp:h:1";
        let (entries, _) = list::parse(text.as_bytes());
        let problems = shared_identities(entries.iter());
        let places = [Place::Line(2, 3), Place::Line(5, 3)];
        assert_eq!(problems.iter().map(|problem| problem.place).collect::<Vec<_>>(), places);
        assert!(problems[0].text.contains("duid 'x' is also on line 1"), "{}", problems[0].text);
    }
}
