//! Reading the destinations again, from wherever they come.

use super::publish::{self, Located, Meaning};
use crate::dest::{self, Entry, Problem, problem::shown};
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Generation, Keep, Root};
use std::collections::HashMap;

/// Where destinations come from, and who knows names and sockets.
pub trait Source {
    /// The whole text.
    fn read(&self) -> std::io::Result<Vec<u8>>;
    /// What the host knows of an entry, but for what its name means.
    fn locate(&self, entry: Entry) -> Result<Located, Problem>;
    /// What the name of a destination means, without an address if it means nothing; `None` for one whose name nobody
    /// wants to know. Only at start: it may take long.
    fn look_up(&self, one: &Located) -> Option<Meaning>;
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
    keep: Keep,
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
    let problems = load(root, source, Occasion::Reload(keep))?;
    (last.number, last.at) = (number, now);
    Ok(problems)
}

/// Reads the source for the first time. One without destinations starts a server without sets.
pub fn first_load<A: Alloc>(root: &Root<A>, source: &dyn Source) -> Result<Vec<Problem>, NotLoaded> {
    load(root, source, Occasion::Start)
}

#[derive(Clone, Copy)]
enum Occasion {
    /// Nothing serves yet, and nobody waits.
    Start,
    /// A worker may wait: nothing is looked up here. A name that serves keeps its addresses, a new one has none until the
    /// process for names has looked it up, at once.
    Reload(Keep),
}

fn load<A: Alloc>(
    root: &Root<A>,
    source: &dyn Source,
    occasion: Occasion,
) -> Result<Vec<Problem>, NotLoaded> {
    let text = source.read().map_err(NotLoaded::Unreadable)?;
    let (mut entries, mut problems) = dest::list::parse(&text);
    problems.extend(dest::shared_identities(&entries));
    dest::arrange(&mut entries);
    let mut located = Vec::with_capacity(entries.len());
    for entry in entries {
        match source.locate(entry) {
            Ok(one) => located.push(one),
            Err(problem) => problems.push(problem),
        }
    }
    match occasion {
        Occasion::Start => problems.extend(look_up(source, &mut located)),
        Occasion::Reload(_) => keep_addresses(root, &mut located),
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    // A file that is being written, or was cut off, is not the wish to have no destinations.
    if matches!(occasion, Occasion::Reload(_)) && located.is_empty() {
        return Err(NotLoaded::Nothing(problems));
    }
    let keep = match occasion {
        Occasion::Start => Keep { state: true, latency: true },
        Occasion::Reload(keep) => keep,
    };
    publish::publish(root, &located, keep).map_err(NotLoaded::OutOfMemory)?;
    Ok(problems)
}

/// How long looking up all names at start may take; the rest is left to the process for names.
const PATIENCE: core::time::Duration = core::time::Duration::from_secs(5);

fn look_up(source: &dyn Source, all: &mut [Located]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let begun = std::time::Instant::now();
    for one in all.iter_mut().filter(|one| one.named).take_while(|_| begun.elapsed() < PATIENCE) {
        let Some(meaning) = source.look_up(one) else { continue };
        if meaning.addresses.is_empty() {
            let name = shown(one.entry.uri.get(one.host.clone()).unwrap_or_default());
            let text = format!("{name} does not resolve: the destination is down until it does");
            problems.push(Problem::warning(one.entry.line, one.entry.column, text));
        }
        meaning.give_to(one);
    }
    problems
}

fn keep_addresses<A: Alloc>(root: &Root<A>, all: &mut [Located]) {
    let retired = root.writer.lock();
    let Some(sets) = root.sets.current(&retired) else { return };
    let serving = ByUri::of(sets);
    for one in all.iter_mut().filter(|one| one.named) {
        if let Some(meaning) = serving.meaning(&one.entry) {
            meaning.give_to(one);
        }
    }
}

/// What the names that serve mean, by set and URI.
struct ByUri(HashMap<(i32, Vec<u8>), Meaning>);

impl ByUri {
    fn of<A: Alloc>(sets: &Generation<A>) -> Self {
        let named = sets.sets().iter().flat_map(|set| {
            let named = set.destinations.iter().filter(|one| one.named);
            named.map(|one| {
                let addresses = set.addresses(one).to_vec();
                let meaning = Meaning { addresses, port_and_proto: Some((one.port, one.proto)) };
                ((set.id, set.text(one.uri).to_ascii_lowercase()), meaning)
            })
        });
        Self(named.collect())
    }

    fn meaning(&self, entry: &Entry) -> Option<Meaning> {
        self.0.get(&(entry.set, entry.uri.to_ascii_lowercase())).cloned()
    }
}
