//! Reading the destinations again, from wherever they come.

use super::publish::{self, Located};
use crate::dest::{self, Entry, Problem, problem::shown};
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Generation, Root};
use core::net::IpAddr;

/// Where destinations come from, and who knows names and sockets.
pub trait Source {
    /// The whole text.
    fn read(&self) -> std::io::Result<Vec<u8>>;
    /// What the host knows of an entry.
    fn locate(&self, entry: Entry) -> Result<Located, NotLocated>;
}

/// Why an entry cannot serve.
#[derive(Debug)]
pub enum NotLocated {
    /// It is wrong.
    Wrong(Problem),
    /// Its name does not resolve; everything else is known.
    Unresolved(Box<Located>),
}

/// Why the sets were not replaced.
#[derive(Debug)]
pub enum NotLoaded {
    /// The last reload was less than `reload_delta` ago.
    TooSoon,
    /// The source cannot be read.
    Unreadable(std::io::Error),
    /// There is no destination in it that could serve.
    Nothing(Vec<Problem>),
    /// The pool is full.
    OutOfMemory(OutOfMemory),
}

/// Reads the source again. On an error the serving sets stay as they are.
///
/// Who waited here while another reload began and succeeded takes that one for its own: it read the source after it was
/// asked for. So a crowd of reloads costs two.
pub fn reload<A: Alloc>(
    root: &Root<A>,
    source: &dyn Source,
    delta: u32,
    now: u32,
) -> Result<Vec<Problem>, NotLoaded> {
    let begun_before = root.reloads_begun.get();
    let mut last = root.reload.lock();
    if last.number > begun_before {
        return Ok(Vec::new());
    }
    if last.number > 0 && now.wrapping_sub(last.at) < delta {
        return Err(NotLoaded::TooSoon);
    }
    root.reloads_begun.bump();
    let number = root.reloads_begun.get();
    let problems = load(root, source, true)?;
    (last.number, last.at) = (number, now);
    Ok(problems)
}

/// Reads the source for the first time. One without destinations starts a server without sets.
pub fn first_load<A: Alloc>(root: &Root<A>, source: &dyn Source) -> Result<Vec<Problem>, NotLoaded> {
    load(root, source, false)
}

fn load<A: Alloc>(root: &Root<A>, source: &dyn Source, needs_some: bool) -> Result<Vec<Problem>, NotLoaded> {
    let text = source.read().map_err(NotLoaded::Unreadable)?;
    let (mut entries, mut problems) = dest::list::parse(&text);
    problems.extend(dest::shared_identities(&entries));
    dest::arrange(&mut entries);
    let mut located = Vec::with_capacity(entries.len());
    for entry in entries {
        match source.locate(entry) {
            Ok(one) => located.push(one),
            Err(NotLocated::Wrong(problem)) => problems.push(problem),
            Err(NotLocated::Unresolved(one)) => located.extend(unresolved(root, *one, &mut problems)),
        }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    // A file that is being written, or was cut off, is not the wish to have no destinations.
    if needs_some && located.is_empty() {
        return Err(NotLoaded::Nothing(problems));
    }
    publish::publish(root, &located).map_err(NotLoaded::OutOfMemory)?;
    Ok(problems)
}

/// A destination that serves already keeps its address while the DNS is away; a new one cannot begin.
fn unresolved<A: Alloc>(root: &Root<A>, mut one: Located, problems: &mut Vec<Problem>) -> Option<Located> {
    let Entry { line, column, .. } = one.entry;
    let name = shown(one.entry.uri.get(one.host.clone()).unwrap_or_default());
    let retired = root.writer.lock();
    one.address = root.sets.current(&retired).and_then(|sets| serving_address(sets, &one.entry));
    if one.address.is_none() {
        let text =
            format!("{name} does not resolve (flag 16 keeps a destination whose name is not looked up)");
        problems.push(Problem::error(line, column, text));
        return None;
    }
    problems.push(Problem::warning(
        line,
        column,
        format!("{name} does not resolve, its last address serves on"),
    ));
    Some(one)
}

fn serving_address<A: Alloc>(sets: &Generation<A>, entry: &Entry) -> Option<IpAddr> {
    let set = sets.set(entry.set)?;
    let same = set.destinations.iter().find(|one| set.text(one.uri).eq_ignore_ascii_case(&entry.uri))?;
    same.address
}
