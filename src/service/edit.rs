//! Adding and removing one destination while the server runs, without the source. The next reload mirrors the source again.

use super::publish::{self, Located};
use super::reload::Source;
use super::targets;
use crate::dest::{Entry, Problem};
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Generation, Keep, Root, Set};
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
        Some(all)
    })
}

/// Removes all destinations of a set whose URI, as it is or as it was written, is this.
pub fn remove<A: Alloc>(root: &Root<A>, set: i32, uri: &[u8], pace: Pace) -> Result<(), NotEdited> {
    edit(root, pace, |mut all| {
        let before = all.len();
        all.retain(|one| one.entry.set != set || one.entry.uri != uri && one.written != uri);
        (all.len() < before).then_some(all)
    })
}

/// Makes the sets serve as `change` leaves them; states, counts and addresses of what stays do not change.
fn edit<A: Alloc>(
    root: &Root<A>,
    pace: Pace,
    change: impl FnOnce(Vec<Located>) -> Option<Vec<Located>>,
) -> Result<(), NotEdited> {
    let mut last = root.reload.lock();
    if last.too_soon(pace.now, pace.delta) {
        return Err(NotEdited::TooSoon);
    }
    let all = {
        let retired = root.writer.lock();
        root.sets.current(&retired).map(all).unwrap_or_default()
    };
    let all = change(all).ok_or(NotEdited::NotThere)?;
    publish::publish(root, &all, Keep { state: true, latency: true }).map_err(NotEdited::OutOfMemory)?;
    last.at = Some(pace.now);
    Ok(())
}

fn all<A: Alloc>(sets: &Generation<A>) -> Vec<Located> {
    let of_set =
        |set: &Set<A>| set.destinations.iter().map(|one| targets::located(set, one)).collect::<Vec<_>>();
    sets.sets().iter().flat_map(of_set).collect()
}
