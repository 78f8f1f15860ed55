//! Destination sets as an operator writes them: lines of a list file turned into checked [`Entry`]s.
//!
//! Model: text goes in; entries and [`Problem`]s come out, each problem with line and column. One bad line costs that
//! line and nothing else.
//!
//! Not here: whether a host name resolves or a socket is ours (the service asks the host), and anything that changes
//! while calls run.
#![forbid(unsafe_code)]

pub mod attrs;
pub mod flags;
pub mod list;
pub mod problem;

pub use attrs::Attrs;
pub use flags::Flags;
pub use problem::{Problem, Severity};

/// One destination as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Line in the source, from 1.
    pub line: usize,
    /// Column of the URI, from 1: where a finding about the destination as a whole points.
    pub column: usize,
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

/// Puts entries into the order in which the sets hold them: by set, then by priority, highest first.
///
/// Among equal priorities the *last* line of the file comes first. That is how the stock module orders them, and hashes
/// pick by position.
pub fn arrange(entries: &mut [Entry]) {
    entries.reverse();
    entries.sort_by_key(|entry| (entry.set, core::cmp::Reverse(entry.priority)));
}

/// A warning for each destination that shares its `duid` with an earlier one of its set: both count as one.
pub fn shared_duids(entries: &[Entry]) -> Vec<Problem> {
    let mut first = std::collections::HashMap::new();
    let mut problems = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.attrs.duid.is_empty()) {
        let duid = (entry.set, entry.attrs.duid.to_ascii_lowercase());
        let line = *first.entry(duid).or_insert(entry.line);
        if line != entry.line {
            let duid = problem::shown(&entry.attrs.duid);
            let text = format!("duid {duid} is also on line {line}: both count as one destination");
            problems.push(Problem::warning(entry.line, entry.column, text));
        }
    }
    problems
}
