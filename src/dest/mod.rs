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
