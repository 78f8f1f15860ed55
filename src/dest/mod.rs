//! Destination sets as an operator writes them: lines of a list file, or rows of a table, turned into checked [`Entry`]s.
//!
//! Model: text or values go in; [`SourceLine`]s come out, and [`Problem`]s, each with its [`SourcePosition`]. A line becomes an [`Entry`] when
//! its attributes are read. A bad line does not keep others from being loaded. What the stock module reads as something else is
//! read so here, with a warning.
//!
//! Two lists are compared by the identity of their destinations ([`compare`]).
//!
//! Not here: whether a host name resolves or a socket is ours (the service asks the host), and anything that changes
//! while calls run.
#![forbid(unsafe_code)]

pub mod address;
pub mod attrs;
pub mod capacity;
pub mod compare;
pub mod flags;
pub mod limits;
pub mod list;
pub mod location;
pub mod number;
pub mod parts;
pub mod problem;
pub mod reply_codes;
pub mod row;
pub mod shared_rate;
pub mod source_line;

use std::borrow::Cow;

pub use attrs::Attrs;
pub use flags::Flags;
pub use problem::{Problem, Severity, SourcePosition};
pub use reply_codes::ReplyCodes;
pub use source_line::{SourceLine, arranged};

/// One destination as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'t> {
    /// Where it stands in its source; a finding about the destination as a whole points there.
    pub place: SourcePosition,
    /// Set (group) id.
    pub set: i32,
    /// SIP URI.
    pub uri: Cow<'t, [u8]>,
    /// State and options at start.
    pub flags: Flags,
    /// Higher comes first.
    pub priority: i32,
    /// Attributes.
    pub attrs: Attrs<'t>,
    /// What of it was corrected.
    pub findings: Vec<Problem>,
}
