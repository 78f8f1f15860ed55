//! Reading the destinations again, from wherever they come.

use crate::dest::{self, Entry, Place, Problem, Severity, Written, problem::shown};
use crate::service::housekeeping;
use crate::service::sets::diff::{Diff, Stood};
use crate::service::sets::name_cache::Names;
use crate::service::sets::plan::{self, Wanted};
use crate::service::sets::resolve::{Meaning, Resolved};
use crate::service::sets::srv_targets::Target;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Generation, Keep, Root};
use std::collections::HashMap;
use std::time::Instant;

/// Where destinations come from, and who knows names and sockets.
pub trait Source {
    /// All destinations that can be read, and what is wrong with them and the others; or why nothing can be read. `text` is
    /// where their words may be kept.
    fn read<'t>(&self, text: &'t mut Vec<u8>) -> Result<(Vec<Written<'t>>, Vec<Problem>), String>;
    /// What the host knows of an entry, but for what its name means; what it mends is added to the entry's findings. The
    /// writer's lock is held meanwhile.
    fn locate<'t>(&self, entry: Entry<'t>) -> Result<Resolved<'t>, Problem>;
    /// What the name of a destination means. Only at start: it may take long.
    fn look_up(&self, one: &Resolved<'_>) -> Found;
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
    let (mut lines, mut problems) = source.read(&mut text).map_err(NotLoaded::Unreadable)?;
    let count = lines.len() + dest::problem::lost(&problems);
    if policy.attrs_none {
        lines.iter_mut().for_each(Written::none_if_empty);
    }
    let arranged = dest::arranged(&lines);
    let sets = || arranged.chunk_by(|one, next| one.set == next.set);
    let mut places = Vec::with_capacity(lines.len());
    let shared = plan::mirror(root, policy.keep, |mirror| {
        if policy.strict {
            let mut found = Vec::new();
            for lines in sets() {
                wanted(source, mirror.before, lines, &mut Names::Unasked, &mut found);
            }
            problems.iter_mut().chain(&mut found).for_each(Problem::be_strict);
            // Where nothing is wrong, what is left to tell is found again below.
            problems.extend(found.into_iter().filter(|problem| problem.severity == Severity::Error));
            refuse(&mut problems, count, true)?;
        }
        let mut names = match occasion {
            Occasion::Start => Names::Asked(Instant::now()),
            Occasion::Reload => Names::serving(mirror.before),
        };
        for lines in sets() {
            let Some(id) = lines.first().map(|line| line.set) else { continue };
            let wanted = wanted(source, mirror.before, lines, &mut names, &mut problems);
            places.extend(wanted.iter().map(|one| one.place));
            mirror.set(id, wanted)?;
        }
        // At start a server without sets is better than none; later what serves is better than nothing.
        refuse(&mut problems, count, occasion == Occasion::Reload && places.is_empty())
    })?;
    if shared {
        problems.extend(shared_identities(root, &places));
    }
    Ok(dest::problem::arranged(problems))
}

/// Refuses all of a source, if any of it is wrong and that counts.
fn refuse(problems: &mut Vec<Problem>, count: usize, counts: bool) -> Result<(), NotLoaded> {
    let wrong = problems.iter().any(|problem| problem.severity == Severity::Error);
    if counts && wrong {
        return Err(NotLoaded::Wrong(dest::problem::arranged(core::mem::take(problems)), count));
    }
    Ok(())
}

/// The destinations of a set: what serves already as it stands, all else as the host knows it.
fn wanted<'x, A: Alloc>(
    source: &dyn Source,
    before: Option<&'x Generation<A>>,
    lines: &[&'x Written<'x>],
    names: &mut Names<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Wanted<'x>> {
    let set = lines.first().and_then(|line| before?.set(line.set));
    let mut standing = set.map(Diff::of);
    let mut wanted = Vec::with_capacity(lines.len());
    for line in lines {
        let stood = match standing.as_mut().and_then(|standing| standing.find(line)) {
            Some(Stood::Same(at, member)) => {
                wanted.push(Wanted::stays(line.place, at, member));
                continue;
            }
            Some(Stood::Other(member)) => Some(member),
            None => None,
        };
        let resolved = line.entry().and_then(|entry| source.locate(entry));
        if let Ok(one) = &resolved {
            problems.extend(one.entry.findings.iter().cloned());
        }
        match resolved {
            Ok(one) if one.named => {
                let all = names.mean(source, one, problems).into_iter();
                wanted.extend(all.map(|one| Wanted::new(one, None)));
            }
            Ok(one) => wanted.push(Wanted::new(one, stood)),
            Err(problem) => problems.push(problem),
        }
    }
    wanted
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
