//! Reading the destinations again, from wherever they come.

use super::located::{Located, Meaning};
use super::publish::{self, Wanted, WantedSet};
use super::standing::Standing;
use super::targets::{self, Line, Target};
use crate::dest::{self, Entry, Place, Problem, Severity, problem::shown};
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Generation, Keep, Root};
use core::cell::LazyCell;
use std::collections::HashMap;

/// Where destinations come from, and who knows names and sockets.
pub trait Source {
    /// All destinations that are right, and what is wrong with the others; or why nothing can be read.
    fn read(&self) -> Result<(Vec<Entry>, Vec<Problem>), String>;
    /// What the host knows of an entry, but for what its name means.
    fn locate(&self, entry: Entry) -> Result<Located, Problem>;
    /// What the name of a destination means. Only at start: it may take long.
    fn look_up(&self, one: &Located) -> Found;
}

/// What a look-up gave.
pub enum Found {
    /// Nobody wants to know.
    Unwanted,
    /// The name means nothing.
    Nothing,
    /// What it means.
    Meaning(Meaning),
    /// The destinations that it stands for.
    Targets(Vec<Target>),
}

/// Why the sets were not replaced.
#[derive(Debug)]
pub enum NotLoaded {
    /// The last reload was less than `reload_delta` ago.
    TooSoon,
    /// The source cannot be read, and why.
    Unreadable(String),
    /// Something in it is wrong: all of it, or anything at all where nothing may be.
    Wrong(Vec<Problem>),
    /// The pool is full.
    OutOfMemory(OutOfMemory),
}

impl From<OutOfMemory> for NotLoaded {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
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
    policy: Policy,
) -> Result<Vec<Problem>, NotLoaded> {
    let begun_before = root.reloads_begun.get();
    let mut last = root.reload.lock();
    if last.number > begun_before {
        return Ok(Vec::new());
    }
    if last.too_soon(now, delta) {
        return Err(NotLoaded::TooSoon);
    }
    root.reloads_begun.bump();
    let number = root.reloads_begun.get();
    let problems = load(root, source, Occasion::Reload, policy)?;
    (last.number, last.at) = (number, Some(now));
    Ok(problems)
}

/// Reads the source for the first time.
pub fn first_load<A: Alloc>(
    root: &Root<A>,
    source: &dyn Source,
    policy: Policy,
) -> Result<Vec<Problem>, NotLoaded> {
    load(root, source, Occasion::Start, policy)
}

/// What is loaded and what is kept.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// `ds_load_mode` 1: one wrong destination keeps all from being loaded.
    pub strict: bool,
    /// `ds_attrs_none`: `none=yes` where there are no attributes.
    pub attrs_none: bool,
    /// What a reload keeps.
    pub keep: Keep,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// Nothing serves yet, and nobody waits.
    Start,
    /// A worker may wait: nothing is looked up here. A name that serves keeps its addresses, a new one has none until the
    /// process for names has looked it up, at once.
    Reload,
}

fn load<A: Alloc>(
    root: &Root<A>,
    source: &dyn Source,
    occasion: Occasion,
    policy: Policy,
) -> Result<Vec<Problem>, NotLoaded> {
    let (entries, mut problems) = source.read().map_err(NotLoaded::Unreadable)?;
    let mut places = Vec::new();
    let shared = publish::mirror(root, policy.keep, |before| {
        let sets = wanted(source, policy, entries, before, &mut problems);
        let wrong = problems.iter().any(|problem| problem.severity == Severity::Error);
        // At start a server without sets is better than none; later what serves is better than nothing.
        let none = sets.iter().all(|set| set.lines.is_empty());
        if wrong && (policy.strict || occasion == Occasion::Reload && none) {
            problems.sort_by_key(|problem| problem.place);
            return Err(NotLoaded::Wrong(core::mem::take(&mut problems)));
        }
        let sets = match occasion {
            Occasion::Start => look_up(source, sets, &mut problems),
            Occasion::Reload => as_serving(before, sets),
        };
        places.extend(sets.iter().flat_map(|set| &set.lines).map(Wanted::place));
        Ok(sets)
    })?;
    if shared {
        problems.extend(shared_identities(root, &places));
    }
    problems.sort_by_key(|problem| problem.place);
    Ok(problems)
}

/// What serves already as it stands, all else as far as the host knows it.
fn wanted<'g, A: Alloc>(
    source: &dyn Source,
    policy: Policy,
    entries: Vec<Entry>,
    before: Option<&'g Generation<A>>,
    problems: &mut Vec<Problem>,
) -> Vec<WantedSet<'g>> {
    let mut sets = Vec::<WantedSet<'_>>::new();
    let mut standing = Standing::of(None);
    for mut entry in dest::arranged(entries) {
        if policy.attrs_none {
            entry.attrs.none_if_empty();
        }
        if sets.last().is_none_or(|set| set.id != entry.set) {
            standing = Standing::of(before.and_then(|generation| generation.set(entry.set)));
            sets.push(WantedSet { id: entry.set, lines: Vec::new() });
        }
        let line = match standing.find(&entry) {
            Some((at, member)) => Ok(Wanted::Stays { at, member, place: entry.place }),
            None => source.locate(entry).map(|one| Wanted::New(Box::new(one))),
        };
        match (line, sets.last_mut()) {
            (Ok(line), Some(set)) => set.lines.push(line),
            (Err(problem), _) => problems.push(problem),
            (Ok(_), None) => {} // not reached: one was just pushed
        }
    }
    sets
}

/// Puts what `mean` makes of each new destination with a name in its place.
fn each_named<'g>(
    mut sets: Vec<WantedSet<'g>>,
    mut mean: impl FnMut(Located) -> Vec<Located>,
) -> Vec<WantedSet<'g>> {
    let is_named = |line: &Wanted<'_>| matches!(line, Wanted::New(one) if one.named);
    for set in sets.iter_mut().filter(|set| set.lines.iter().any(is_named)) {
        for line in core::mem::take(&mut set.lines) {
            match line {
                Wanted::New(one) if one.named => {
                    set.lines.extend(mean(*one).into_iter().map(|one| Wanted::New(Box::new(one))));
                }
                line => set.lines.push(line),
            }
        }
    }
    sets
}

/// How long looking up all names at start may take; the rest is left to the process for names.
const PATIENCE: core::time::Duration = core::time::Duration::from_secs(5);

fn look_up<'g>(
    source: &dyn Source,
    sets: Vec<WantedSet<'g>>,
    problems: &mut Vec<Problem>,
) -> Vec<WantedSet<'g>> {
    let begun = std::time::Instant::now();
    let mut told = |one: &Located| {
        let name = shown(one.entry.uri.get(one.host.clone()).unwrap_or_default());
        let text = format!("{name} does not resolve: the destination goes down until it does");
        problems.push(Problem::warning(one.entry.place, text));
    };
    each_named(sets, |mut one| {
        match (begun.elapsed() < PATIENCE).then(|| source.look_up(&one)) {
            None | Some(Found::Unwanted) => {}
            Some(Found::Nothing) => told(&one),
            Some(Found::Meaning(meaning)) => meaning.give_to(&mut one),
            Some(Found::Targets(found)) => return targets::expand(one, &found),
        }
        vec![one]
    })
}

/// Names mean what they mean in the sets that serve.
fn as_serving<'g, A: Alloc>(
    before: Option<&'g Generation<A>>,
    sets: Vec<WantedSet<'g>>,
) -> Vec<WantedSet<'g>> {
    let Some(before) = before else { return sets };
    // Most lists are of addresses.
    let meanings = LazyCell::new(|| meanings(before));
    let lines = LazyCell::new(|| targets::lines(before));
    each_named(sets, |mut one| {
        if let Some(meaning) = meanings.get(&(one.entry.set, one.entry.uri.to_ascii_lowercase())) {
            meaning.clone().give_to(&mut one);
        }
        let found = if one.written.is_empty() { None } else { lines.get(&Line::of_located(&one)) };
        targets::expand(one, found.map_or(&[], Vec::as_slice))
    })
}

/// What the names that serve mean.
fn meanings<A: Alloc>(sets: &Generation<A>) -> HashMap<(i32, Vec<u8>), Meaning> {
    let named = sets.sets().flat_map(|set| {
        let named = set.iter().filter(|one| one.named);
        named.map(|one| {
            let addresses = one.addresses().to_vec();
            let meaning = Meaning { addresses, port_and_proto: Some((one.port, one.proto)) };
            ((set.id, one.text(one.uri).to_ascii_lowercase()), meaning)
        })
    });
    named.collect()
}

/// A warning for each line that means the same destination as an earlier one of its set: by `duid`, or by URI and socket where
/// it has none. Both lines are chosen, but count and change state as one. `places` are those of the lines that serve.
fn shared_identities<A: Alloc>(root: &Root<A>, places: &[Place]) -> Vec<Problem> {
    let retired = root.writer.lock();
    let Some(sets) = root.sets.current(&retired) else { return Vec::new() };
    let mut lines: Vec<_> = sets.all().map(|(_, _, one)| one).zip(places).collect();
    lines.sort_by_key(|(_, place)| **place);
    let mut first = HashMap::with_capacity(lines.len());
    let mut problems = Vec::new();
    for (one, &place) in lines {
        let other: Place = *first.entry(one.record).or_insert(place);
        if other != place {
            let duid = one.text(one.duid);
            let (kind, name) =
                if duid.is_empty() { ("destination", one.text(one.uri)) } else { ("duid", duid) };
            let (name, other) = (shown(name), other.of_other());
            let text = format!("{kind} {name} is also {other}: both count as one destination");
            problems.push(Problem::warning(place, text));
        }
    }
    problems
}
