//! A reload: reads all destinations from the list file or the database again, and replaces those that serve.

use crate::dest::{self, Problem, Severity, SourceLine, SourcePosition, capacity};
use crate::service::housekeeping;
use crate::service::sets::commit::Transaction;
use crate::service::sets::diff::{LineDiff, SetDiff, diff};
use crate::service::sets::name_cache::Names;
use crate::service::sets::plan::{Plan, Planned, PlannedLine, Wanted};
use crate::service::sets::source::Source;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Generation, Keep, Root};
use std::collections::HashMap;
use std::time::Instant;

/// Why the sets were not replaced.
#[derive(Debug)]
pub enum NotLoaded {
    /// The last reload was less than `reload_delta` ago.
    TooSoon,
    /// The source cannot be read, and why.
    Unreadable(String),
    /// Something in it is wrong: all of it, or anything at all where nothing may be. With the number of its lines or rows.
    Wrong(Vec<Problem>, usize),
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
    let is_full = |error: &NotLoaded| matches!(error, NotLoaded::OutOfMemory(_));
    let problems = housekeeping::with_relief(root, is_full, || load(root, source, Occasion::Reload, policy))?;
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
    /// `ds_limits`: attributes that limit more than `maxload` does act.
    pub limits: bool,
    /// What a reload keeps.
    pub keep: Keep,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Start,
    Reload,
}

fn load<A: Alloc>(
    root: &Root<A>,
    source: &dyn Source,
    occasion: Occasion,
    policy: Policy,
) -> Result<Vec<Problem>, NotLoaded> {
    let mut text = Vec::new();
    let SourceText { lines, mut problems, count } = read(source, &mut text, policy)?;
    let lines = dest::arranged(&lines);

    let mut transaction = Transaction::begin(root);
    let serving = transaction.serving();
    let diff = diff(serving, &lines);
    let wanted = resolve(source, diff, policy, &mut problems);
    if policy.strict {
        problems.iter_mut().for_each(Problem::be_strict);
        refuse_if_wrong(&mut problems, count)?;
    }
    let names = match occasion {
        Occasion::Start => Names::Asked(Instant::now()),
        Occasion::Reload => Names::serving(serving),
    };
    let wanted = with_names(source, wanted, names, &mut problems);
    let places: Vec<_> = wanted.iter().flat_map(Wanted::places).collect();
    // At start a server without sets is better than none; later what serves is better than nothing.
    if occasion == Occasion::Reload && places.is_empty() {
        refuse_if_wrong(&mut problems, count)?;
    }

    transaction.build(Plan::mirror(serving, wanted, policy.keep))?;
    let shared = transaction.commit();
    if let Some(sets) = transaction.serving().filter(|_| shared) {
        problems.extend(shared_identities(sets, &places));
    }
    problems.extend(transaction.serving().into_iter().flat_map(|sets| capacities(root, sets, &places)));
    Ok(dest::problem::arranged(problems))
}

/// What a source says, before anybody looks at attributes or asks the host.
pub(super) struct SourceText<'t> {
    pub(super) lines: Vec<SourceLine<'t>>,
    pub(super) problems: Vec<Problem>,
    /// How many lines or rows there are, those with errors too.
    pub(super) count: usize,
}

pub(super) fn read<'t>(
    source: &dyn Source,
    text: &'t mut Vec<u8>,
    policy: Policy,
) -> Result<SourceText<'t>, NotLoaded> {
    let (mut lines, problems) = source.read(text).map_err(NotLoaded::Unreadable)?;
    let count = lines.len() + dest::problem::lost(&problems);
    if policy.attrs_none {
        lines.iter_mut().for_each(SourceLine::or_none);
    }
    Ok(SourceText { lines, problems, count })
}

/// Checks what does not serve as it stands and asks the host about it. What cannot be loaded is left out.
pub(super) fn resolve<'g>(
    source: &dyn Source,
    sets: Vec<SetDiff<'g>>,
    policy: Policy,
    problems: &mut Vec<Problem>,
) -> Vec<Wanted<'g>> {
    let set = |set: SetDiff<'g>| match set {
        SetDiff::Unchanged(at, lines) => Wanted::Unchanged(at, lines),
        SetDiff::Changed(id, lines) => Wanted::Lines(id, resolve_lines(source, lines, policy, problems)),
    };
    sets.into_iter().map(set).collect()
}

fn resolve_lines<'g>(
    source: &dyn Source,
    lines: Vec<LineDiff<'g>>,
    policy: Policy,
    problems: &mut Vec<Problem>,
) -> Vec<PlannedLine<'g>> {
    let mut resolved = Vec::with_capacity(lines.len());
    for line in lines {
        let (line, old) = match line {
            LineDiff::New(line, old) => (line, old),
            LineDiff::Same(line, at, member) => {
                resolved.push(PlannedLine::stays(line.place, at, member));
                continue;
            }
        };
        match line.entry(policy.limits).and_then(|entry| source.locate(entry)) {
            Ok(one) => {
                problems.extend(one.entry.findings.iter().cloned());
                resolved.push(PlannedLine::new(one, old));
            }
            Err(problem) => problems.push(problem),
        }
    }
    resolved
}

/// Gives the new destinations that have names what the names mean. One that stands for many becomes many.
fn with_names<'g>(
    source: &dyn Source,
    sets: Vec<Wanted<'g>>,
    mut names: Names<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Wanted<'g>> {
    let is_named = |line: &PlannedLine<'_>| matches!(&line.item, Planned::New(one, _) if one.named);
    let mut line = |line: PlannedLine<'g>| match line.item {
        Planned::New(one, _) if one.named => {
            let all = names.mean(source, *one, problems);
            all.into_iter().map(|one| PlannedLine::new(one, None)).collect()
        }
        _ => vec![line],
    };
    let set = |set: Wanted<'g>| match set {
        Wanted::Lines(id, lines) if lines.iter().any(is_named) => {
            Wanted::Lines(id, lines.into_iter().flat_map(&mut line).collect())
        }
        other => other,
    };
    sets.into_iter().map(set).collect()
}

/// Refuses all of a source if any of it is wrong.
fn refuse_if_wrong(problems: &mut Vec<Problem>, count: usize) -> Result<(), NotLoaded> {
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(NotLoaded::Wrong(dest::problem::arranged(core::mem::take(problems)), count));
    }
    Ok(())
}

/// What is wrong with the capacities that lines share. `places` are those of the lines that serve.
fn capacities<A: Alloc>(root: &Root<A>, sets: &Generation<A>, places: &[SourcePosition]) -> Vec<Problem> {
    let names: HashMap<u32, Vec<u8>> =
        root.registry.capacities.lock().each().map(|one| (one.number, one.name)).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let lines = sets.all().map(|(_, _, one)| one.limits).zip(places);
    capacity::problems(lines.filter_map(|(limits, &place)| {
        let name = names.get(&limits.capacity)?;
        let (most, reserve, (cps, burst)) =
            (limits.capacity_max, limits.capacity_reserve, limits.capacity_rate);
        Some(capacity::Share { place, name, most, reserve, cps, burst })
    }))
}

/// A warning for each line that means the same destination as an earlier one of its set: by `duid`, or by URI and socket where
/// it has none. Both lines are chosen, but count and change state as one. `places` are those of the lines that serve.
fn shared_identities<A: Alloc>(sets: &Generation<A>, places: &[SourcePosition]) -> Vec<Problem> {
    let mut lines: Vec<_> = sets.all().map(|(_, _, one)| one).zip(places).collect();
    lines.sort_by_key(|(_, place)| **place);
    let mut first = HashMap::with_capacity(lines.len());
    let mut problems = Vec::new();
    for (one, &place) in lines {
        let other: SourcePosition = *first.entry(one.record).or_insert(place);
        if other != place {
            let [duid, uri] = [one.duid, one.uri].map(|text| one.text(text));
            problems.push(dest::problem::shared_identity(place, duid, uri, other));
        }
    }
    problems
}
