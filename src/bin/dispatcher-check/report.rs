//! All that is told of a list, before anybody asks how it is shown.

use crate::Failed;
use crate::arguments::Options;
use crate::capacities::capacities;
use crate::explain::{self, Explained};
use crate::notes::{self, Note};
use crate::saved::{self, Saved};
use crate::script::Script;
use crate::source::{self, Checked, Destination, How};
use crate::stock::{self, Stock};
use dispatcher::dest::compare::{Comparison, Listed, compare};
use dispatcher::dest::{Flags, Severity};
use std::collections::HashMap;

/// What is told.
pub struct Report {
    pub list: Checked,
    pub notes: Vec<Note>,
    /// What changes, and from what.
    pub diff: Option<(String, Comparison)>,
    pub explained: Option<Explained>,
    pub stock: Option<Stock>,
}

impl Report {
    /// Reads what is asked for and makes the report.
    pub fn make(options: &Options) -> Result<Self, Failed> {
        let Options { csv, strict, limits, .. } = *options;
        let how = How { csv, extra_attrs: &options.extra_attrs, strict, limits };
        let list = source::check(&options.file, source::bytes(&options.file)?, how)?;
        let saved = options.diff.as_deref().map(|old| saved::read(old, how)).transpose()?;
        let explained = match &options.explain {
            None => None,
            Some((id, algorithm, key)) => {
                let set: Vec<_> = list.destinations.iter().filter(|one| one.set == *id).cloned().collect();
                if set.is_empty() {
                    return Err(Failed::Usage(format!("--explain: there is no set {id} in it")));
                }
                let served = saved.as_ref().map(|saved| served(&set, saved)).unwrap_or_default();
                let asked = (*id, *algorithm, key.as_deref());
                let all =
                    saved.as_ref().map(|saved| self::served(&list.destinations, saved)).unwrap_or_default();
                let shared = capacities(&list.destinations, &all);
                let how = (options.use_default, options.priority);
                let found = explain::explain(&set, &served, &shared, asked, how);
                Some(found.map_err(Failed::Usage)?)
            }
        };
        let script = match &options.cfg {
            None => None,
            Some(file) => {
                let text = source::bytes(file)?;
                Some(Script::read(file.display().to_string(), &String::from_utf8_lossy(&text)))
            }
        };
        let diff = saved.map(|saved| {
            let new: Vec<Listed<'_>> = list.destinations.iter().map(Destination::listed).collect();
            let old = options.diff.as_deref().map_or_else(String::new, |old| old.display().to_string());
            (old, compare(&saved.destinations, &new))
        });
        let stock = options.stock.then(|| stock::report(&list, script.as_ref()));
        Ok(Self { notes: notes::notes(&list), diff, explained, stock, list })
    }

    /// For scripts.
    pub fn exit_code(&self) -> u8 {
        match (self.list.found(Severity::Error), self.list.found(Severity::Warning)) {
            (0, 0) => 0,
            (0, _) => 1,
            _ => 2,
        }
    }
}

/// Calls and states that the destinations of a set keep when the list is loaded, by a saved answer. New ones are as the list says.
fn served(set: &[Destination], saved: &Saved) -> Vec<(u32, Flags)> {
    let Some(states) = &saved.states else { return Vec::new() };
    let identity = |one: &Listed<'_>| {
        let by_uri = (one.uri.to_vec(), one.socket.to_vec());
        (one.set, if one.duid.is_empty() { by_uri } else { (one.duid.to_vec(), b"duid".to_vec()) })
    };
    let old: HashMap<_, _> = saved
        .destinations
        .iter()
        .zip(states)
        .map(|(one, state)| (identity(one), (one.calls, *state)))
        .collect();
    set.iter().map(|one| old.get(&identity(&one.listed())).copied().unwrap_or((0, one.flags))).collect()
}

/// The counts of one kind of thing in words: `1 line`, `3 lines`.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}
