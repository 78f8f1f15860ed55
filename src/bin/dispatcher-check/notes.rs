//! What is no mistake to the module, and probably one of whoever wrote it.

use crate::sets::By;
use crate::source::{Checked, Destination};
use dispatcher::dest::attrs::NAMES;
use dispatcher::dest::parts::Parts;
use dispatcher::dest::problem::shown;
use dispatcher::dest::{Flags, SourcePosition};
use std::collections::BTreeMap;
use strsim::osa_distance;

/// A remark and the place that it is about.
pub struct Note {
    pub place: SourcePosition,
    pub text: String,
}

/// All remarks, in the order of the file.
pub fn notes(list: &Checked) -> Vec<Note> {
    let mut all: Vec<Note> = list.destinations.iter().flat_map(misspelt).collect();
    all.extend(unused(&list.destinations));
    for (id, set) in list.sets() {
        all.extend(all_down(id, set));
        all.extend(without_share(set, By::Weight, "weight", "algorithms 9 and 15"));
        all.extend(without_share(set, By::RelativeWeight, "rweight", "algorithm 11"));
    }
    all.sort_by_key(|note| note.place);
    all
}

/// Attributes whose names are nearly those of ours. Others are the script's.
fn misspelt(one: &Destination) -> Vec<Note> {
    let note = |part: dispatcher::dest::parts::Part<'_>| {
        let name = core::str::from_utf8(part.name).ok()?.to_ascii_lowercase();
        if NAMES.contains(&name.as_str()) {
            return None;
        }
        let plain: String = name.chars().filter(|it| it.is_ascii_alphanumeric()).collect();
        let near = NAMES.iter().find(|known| {
            let most = if known.len() < 6 { 1 } else { 2 };
            let begins_alike = known.bytes().next() == name.bytes().next();
            known.len() > 3
                && begins_alike
                && (osa_distance(known, &name) <= most || known.replace('_', "") == plain)
        })?;
        let place = match one.place {
            SourcePosition::Line(line, _) => SourcePosition::Line(line, one.attrs_column + part.at),
            row => row,
        };
        let text = format!(
            "{}: no attribute of this module, it is kept for the script; '{near}' is one",
            shown(part.name)
        );
        Some(Note { place, text })
    };
    Parts::of(&one.attrs.body).filter_map(note).collect()
}

/// Attributes that limit only where the parameter `ds_limits` says so: at the first line that has each.
fn unused(all: &[Destination]) -> Vec<Note> {
    let mut first = BTreeMap::new();
    for one in all {
        for name in &one.unused {
            let place = first.entry(*name).or_insert(one.place);
            *place = one.place.min(*place);
        }
    }
    let text =
        |name| format!("{name}: it acts only with ds_limits 1 (here: --limits), else it is the script's");
    first.into_iter().map(|(name, place)| Note { place, text: text(name) }).collect()
}

/// A set in which the file itself has none up.
fn all_down(id: i32, set: &[Destination]) -> Option<Note> {
    let down = |one: &Destination| one.flags.has(Flags::INACTIVE) || one.flags.has(Flags::DISABLED);
    let place = set.iter().map(|one| one.place).min().filter(|_| set.iter().all(down))?;
    Some(Note { place, text: format!("set {id}: none is up, by the flags of all its destinations") })
}

/// Destinations without a share beside others that have one.
fn without_share(set: &[Destination], by: By, name: &str, algorithms: &str) -> Vec<Note> {
    if set.iter().all(|one| by.of(one) == 0) {
        return Vec::new();
    }
    let none = set.iter().filter(|one| by.of(one) == 0);
    let text = format!("no {name} beside others that have one: with {algorithms} it gets nothing");
    none.map(|one| Note { place: one.place, text: text.clone() }).collect()
}
