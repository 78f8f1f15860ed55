//! One destination as it stands in its source, attributes not yet read: most lines of a reload serve already, and their text
//! is enough to see that.

use super::attrs::Finding;
use super::problem::shown;
use super::{Attrs, Entry, Flags, Problem, SourcePosition, attrs};
use core::cmp::Reverse;
use std::borrow::Cow;

/// A line of a list file or a row of a table.
#[derive(Debug, Clone)]
pub struct SourceLine<'t> {
    /// Where it stands; a finding about the destination as a whole points there.
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
    pub attrs: Cow<'t, [u8]>,
    /// The column of the attributes, where it stands in a line.
    pub attrs_column: usize,
}

impl SourceLine<'_> {
    /// Where there are no attributes, `none=yes` is in effect (`ds_attrs_none`).
    pub fn or_none(&mut self) {
        if attrs::or_none(&self.attrs, true) != &*self.attrs {
            self.attrs = Cow::Borrowed(attrs::or_none(&[], true));
        }
    }

    /// The destination, with its attributes read; with `limits`, those too that limit more than `maxload` does.
    pub fn entry(&self, limits: bool) -> Result<Entry<'_>, Problem> {
        let Self { place, set, flags, priority, .. } = *self;
        let told = |offset: usize, text: String| match place {
            SourcePosition::Line(line, _) => (SourcePosition::Line(line, self.attrs_column + offset), text),
            // A row has no line to be found by: the set and the destination tell which it is.
            SourcePosition::Row(_) => {
                (place, format!("(set {set}, {}) attributes: {text}", shown(&self.uri)))
            }
        };
        let attrs = Attrs::parse(&self.attrs, limits).map_err(|(offset, text)| {
            let (place, text) = told(offset, text);
            Problem::error(place, text)
        })?;
        let mended = |finding: &Finding| {
            let (place, text) = told(finding.at, finding.text.clone());
            Problem::mended(place, text, finding.instead.clone())
        };
        let findings = attrs.findings.iter().map(mended).collect();
        Ok(Entry { place, set, uri: Cow::Borrowed(&self.uri), flags, priority, attrs, findings })
    }
}

/// The order in which the sets hold destinations: by set, then by priority, highest first.
///
/// Among equal priorities the *last* line of the file comes first. That is how the stock module orders them, and hashes
/// pick by position.
pub fn arranged<'a, 't>(lines: &'a [SourceLine<'t>]) -> Vec<&'a SourceLine<'t>> {
    let key = |(at, line): (usize, &SourceLine<'_>)| (line.set, Reverse(line.priority), Reverse(at));
    let mut order: Vec<_> = lines.iter().enumerate().map(key).collect();
    order.sort_unstable();
    order.into_iter().filter_map(|(_, _, Reverse(at))| lines.get(at)).collect()
}
