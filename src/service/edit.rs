//! Adding, changing and removing one destination while the server runs, without the source. The next reload mirrors the
//! source again.

use super::publish::{self, Located};
use super::reload::Source;
use crate::dest::{Attrs, Entry, Flags, Problem};
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Generation, Keep, Root};
use core::cmp::Reverse;

/// Why the sets were not changed.
#[derive(Debug)]
pub enum NotEdited {
    /// The last change was less than `reload_delta` ago.
    TooSoon,
    /// The destination is wrong.
    Wrong(Problem),
    /// There is no such destination.
    NotThere,
    /// The pool is full.
    OutOfMemory(OutOfMemory),
}

/// How soon after the last one a change may come: `reload_delta` and the time, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Seconds; 0 is no limit.
    pub delta: u32,
    /// As the call table counts them.
    pub now: u32,
}

/// Adds a destination, as if it were the last line of its source. A name is looked up by the process for names.
pub fn add<A: Alloc>(root: &Root<A>, source: &dyn Source, entry: Entry, pace: Pace) -> Result<(), NotEdited> {
    let new = source.locate(entry).map_err(NotEdited::Wrong)?;
    edit(root, pace, |mut all| {
        let place = |one: &Located| (one.entry.set, Reverse(one.entry.priority));
        let at = all.partition_point(|one| place(one) < place(&new));
        all.insert(at, new);
        Ok(all)
    })
}

/// Removes all destinations of a set whose URI, as it is or as it was written, is this.
pub fn remove<A: Alloc>(root: &Root<A>, set: i32, uri: &[u8], pace: Pace) -> Result<(), NotEdited> {
    edit(root, pace, |mut all| {
        let before = all.len();
        let is_it = |text: &[u8]| text.eq_ignore_ascii_case(uri);
        all.retain(|one| one.entry.set != set || !is_it(&one.entry.uri) && !is_it(&one.written));
        if all.len() < before { Ok(all) } else { Err(NotEdited::NotThere) }
    })
}

/// What is to be another for a destination; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// State and options. If they are others than before, they count; if not, the state stays.
    pub flags: Option<Flags>,
    /// Priority.
    pub priority: Option<i32>,
    /// Attributes, all of them. The `duid` must be the same: it is who the destination is.
    pub attrs: Option<Attrs>,
}

/// Changes all destinations of a set with this URI. Counts, and states unless the flags are others, do not change.
pub fn update<A: Alloc>(
    root: &Root<A>,
    source: &dyn Source,
    (set, uri): (i32, &[u8]),
    update: &Update,
    pace: Pace,
) -> Result<(), NotEdited> {
    let changed = |one: &Located| {
        let mut entry = one.entry.clone();
        if let Some(attrs) = &update.attrs {
            if !attrs.duid.eq_ignore_ascii_case(&entry.attrs.duid) {
                let text = "the duid must stay the same: remove the destination and add another";
                return Err(NotEdited::Wrong(Problem::error(entry.place, text)));
            }
            entry.attrs = attrs.clone();
        }
        entry.flags = update.flags.unwrap_or(entry.flags);
        entry.priority = update.priority.unwrap_or(entry.priority);
        let located = source.locate(entry).map_err(NotEdited::Wrong)?;
        // What its name means is known already.
        Ok(Located {
            written: one.written.clone(),
            addresses: one.addresses.clone(),
            port: one.port,
            proto: one.proto,
            ..located
        })
    };
    edit(root, pace, |mut all| {
        let mut found = false;
        for one in
            all.iter_mut().filter(|one| one.entry.set == set && one.entry.uri.eq_ignore_ascii_case(uri))
        {
            *one = changed(one)?;
            found = true;
        }
        all.sort_by_key(|one| (one.entry.set, Reverse(one.entry.priority)));
        if found { Ok(all) } else { Err(NotEdited::NotThere) }
    })
}

/// Makes the sets serve as `change` leaves them; states, counts and addresses of what stays do not change.
fn edit<A: Alloc>(
    root: &Root<A>,
    pace: Pace,
    change: impl FnOnce(Vec<Located>) -> Result<Vec<Located>, NotEdited>,
) -> Result<(), NotEdited> {
    let mut last = root.reload.lock();
    if last.too_soon(pace.now, pace.delta) {
        return Err(NotEdited::TooSoon);
    }
    let all = {
        let retired = root.writer.lock();
        root.sets.current(&retired).map(all).unwrap_or_default()
    };
    let all = change(all)?;
    publish::publish(root, &all, Keep { state: true, latency: true }).map_err(NotEdited::OutOfMemory)?;
    last.at = Some(pace.now);
    Ok(())
}

fn all<A: Alloc>(sets: &Generation<A>) -> Vec<Located> {
    sets.all().map(|(_, set, one)| Located::of(set, one)).collect()
}
