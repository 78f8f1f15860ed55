//! The traits by which a reload and an edit ask the host: for the text or the rows of the source, sockets, and addresses of names.

use crate::dest::{Entry, Problem, SourceLine};
use crate::service::sets::resolve::{Meaning, Resolved};
use crate::service::sets::srv_targets::Target;

/// The list file or the table, with a host that knows names and sockets.
pub trait Source {
    /// All destinations that can be read, and what is wrong with them and the others; or why nothing can be read. `text` is
    /// where their words may be kept.
    fn read<'t>(&self, text: &'t mut Vec<u8>) -> Result<(Vec<SourceLine<'t>>, Vec<Problem>), String>;
    /// What the host knows of an entry, except what its name means. What it corrects is added to the entry's findings.
    fn locate<'t>(&self, entry: Entry<'t>) -> Result<Resolved<'t>, Problem>;
    /// What the name of a destination means. Only at start, since it may take long.
    fn look_up(&self, one: &Resolved<'_>) -> Found;
}

/// The answer to [`Source::look_up`].
pub enum Found {
    /// The configuration wants no look-up of this name.
    Unwanted,
    /// The name does not resolve.
    Nothing,
    /// Its addresses.
    Meaning(Meaning),
    /// The destinations that it stands for.
    Targets(Vec<Target>),
}
