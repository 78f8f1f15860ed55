//! Reading the destinations again, from wherever they come.

use super::located::{Located, Meaning};
use super::publish;
use super::targets::{self, Line, Target};
use crate::dest::{self, Entry, Problem, Severity, problem::shown};
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Generation, Keep, Root};
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
    let mut located = Vec::with_capacity(entries.len());
    for mut entry in dest::arranged(entries) {
        if policy.attrs_none {
            entry.attrs.none_if_empty();
        }
        match source.locate(entry) {
            Ok(one) => located.push(one),
            Err(problem) => problems.push(problem),
        }
    }
    let wrong = problems.iter().any(|problem| problem.severity == Severity::Error);
    // At start a server without sets is better than none; later what serves is better than nothing.
    if wrong && (policy.strict || occasion == Occasion::Reload && located.is_empty()) {
        problems.sort_by_key(|problem| problem.place);
        return Err(NotLoaded::Wrong(problems));
    }
    let located = match occasion {
        Occasion::Start => look_up(source, located, &mut problems),
        Occasion::Reload => as_serving(root, located),
    };
    if publish::publish(root, &located, policy.keep).map_err(NotLoaded::OutOfMemory)? {
        problems.extend(dest::shared_identities(located.iter().map(|one| &one.entry)));
    }
    problems.sort_by_key(|problem| problem.place);
    Ok(problems)
}

/// How long looking up all names at start may take; the rest is left to the process for names.
const PATIENCE: core::time::Duration = core::time::Duration::from_secs(5);

fn look_up(source: &dyn Source, all: Vec<Located>, problems: &mut Vec<Problem>) -> Vec<Located> {
    let begun = std::time::Instant::now();
    let mut told = |one: &Located| {
        let name = shown(one.entry.uri.get(one.host.clone()).unwrap_or_default());
        let text = format!("{name} does not resolve: the destination goes down until it does");
        problems.push(Problem::warning(one.entry.place, text));
    };
    let look_up = |mut one: Located| {
        let wanted = one.named && begun.elapsed() < PATIENCE;
        match wanted.then(|| source.look_up(&one)) {
            None | Some(Found::Unwanted) => {}
            Some(Found::Nothing) => told(&one),
            Some(Found::Meaning(meaning)) => meaning.give_to(&mut one),
            Some(Found::Targets(found)) => return targets::expand(one, &found),
        }
        vec![one]
    };
    all.into_iter().flat_map(look_up).collect()
}

/// Names mean what they mean in the sets that serve.
fn as_serving<A: Alloc>(root: &Root<A>, all: Vec<Located>) -> Vec<Located> {
    // Most lists are of addresses, and long lists are better not moved.
    if all.iter().all(|one| !one.named) {
        return all;
    }
    let retired = root.writer.lock();
    let Some(sets) = root.sets.current(&retired) else { return all };
    let (meanings, lines) = (meanings(sets), targets::lines(sets));
    let take_over = |mut one: Located| {
        if !one.named {
            return vec![one];
        }
        if let Some(meaning) = meanings.get(&(one.entry.set, one.entry.uri.to_ascii_lowercase())) {
            meaning.clone().give_to(&mut one);
        }
        let found = if one.written.is_empty() { None } else { lines.get(&Line::of_located(&one)) };
        targets::expand(one, found.map_or(&[], Vec::as_slice))
    };
    all.into_iter().flat_map(take_over).collect()
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
