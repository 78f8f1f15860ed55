//! Adding, changing and removing one destination by RPC, without the source. The next reload undoes it, since it makes the sets
//! equal to the source again.

use crate::dest::problem::shown;
use crate::dest::{Attrs, Entry, Flags, Problem, SourcePosition};
use crate::service::housekeeping;
use crate::service::sets::commit::Transaction;
use crate::service::sets::disagreement;
use crate::service::sets::plan::{Edit, Exchange, Plan};
use crate::service::sets::resolve::Resolved;
use crate::service::sets::source::Source;
use crate::service::sets::srv_targets::{self, NamedLine};
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Generation, Root};

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

impl From<OutOfMemory> for NotEdited {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

/// How soon a change may follow the last one: `reload_delta` and the time, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Seconds; 0 is no limit.
    pub delta: u32,
    /// As the call table counts them.
    pub now: u32,
}

/// Adds a destination as if it were the last line of the source; returns what was corrected. A name is looked up by the resolver
/// process.
pub fn add<A: Alloc>(
    root: &Root<A>,
    source: &dyn Source,
    entry: Entry<'_>,
    pace: Pace,
) -> Result<Vec<Problem>, NotEdited> {
    let new = source.locate(entry).map_err(NotEdited::Wrong)?;
    let mut findings = new.entry.findings.clone();
    let told = in_turn(root, pace, || {
        let mut transaction = Transaction::begin(root);
        let addition = addition(transaction.serving(), new.clone());
        transaction.build(Plan::Edits(vec![addition]))?;
        transaction.commit();
        Ok(disagreement::findings(root, transaction.serving(), new.entry.place, &new.entry.attrs.limits))
    })?;
    findings.extend(told);
    Ok(findings)
}

fn addition<'g, A: Alloc>(serving: Option<&'g Generation<A>>, new: Resolved<'g>) -> Edit<'g, A> {
    let (id, priority) = (new.entry.set, new.entry.priority);
    let at = serving.and_then(|sets| sets.set(id)).map_or(0, |set| set.rank(priority));
    let mut edit = Edit::of(serving, id);
    edit.insert(at, new);
    edit
}

/// Removes all destinations of a set with this URI, in the set or in the source.
pub fn remove<A: Alloc>(root: &Root<A>, id: i32, uri: &[u8], pace: Pace) -> Result<(), NotEdited> {
    in_turn(root, pace, || {
        let mut transaction = Transaction::begin(root);
        let removal = removal(transaction.serving(), id, uri)?;
        transaction.build(Plan::Edits(vec![removal]))?;
        transaction.commit();
        Ok(())
    })
}

fn removal<'g, A: Alloc>(
    serving: Option<&'g Generation<A>>,
    id: i32,
    uri: &[u8],
) -> Result<Edit<'g, A>, NotEdited> {
    let set = serving.and_then(|sets| sets.set(id)).ok_or(NotEdited::NotThere)?;
    let positions: Vec<_> = set.named(uri).map(|(at, _)| at).collect();
    let mut edit = Edit::of(serving, id);
    positions.iter().rev().for_each(|&at| edit.remove(at));
    if positions.is_empty() { Err(NotEdited::NotThere) } else { Ok(edit) }
}

/// New values for a destination; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Update<'t> {
    /// State and options. If they equal those configured before, the state stays.
    pub flags: Option<Flags>,
    /// Priority.
    pub priority: Option<i32>,
    /// Attributes, all of them. The `duid` must be the same: it is the destination's identity.
    pub attrs: Option<Attrs<'t>>,
}

/// Changes the lines of a set with this URI: one destination each, or all that a name stands for. Loads stay, and states too unless
/// the flags change. Returns what others say otherwise of a capacity that the attributes name.
pub fn update<A: Alloc>(
    root: &Root<A>,
    source: &dyn Source,
    (id, uri): (i32, &[u8]),
    update: &Update<'_>,
    pace: Pace,
) -> Result<Vec<Problem>, NotEdited> {
    in_turn(root, pace, || {
        let mut transaction = Transaction::begin(root);
        let updated = updated(transaction.serving(), source, (id, uri), update)?;
        transaction.build(Plan::Edits(vec![updated]))?;
        transaction.commit();
        let limits = update.attrs.as_ref().map(|attrs| attrs.limits).unwrap_or_default();
        Ok(disagreement::findings(root, transaction.serving(), SourcePosition::Row(1), &limits))
    })
}

fn updated<'g, A: Alloc>(
    serving: Option<&'g Generation<A>>,
    source: &dyn Source,
    (id, uri): (i32, &'g [u8]),
    update: &'g Update<'_>,
) -> Result<Edit<'g, A>, NotEdited> {
    let set = serving.and_then(|sets| sets.set(id)).ok_or(NotEdited::NotThere)?;
    let mut done: Vec<Option<NamedLine>> = Vec::new();
    let mut changes: Vec<Exchange<'g>> = Vec::new();
    let mut in_rank = true;
    for (at, one) in set.named(uri) {
        let resolved = Resolved::line_of(id, one);
        if one.is_target() && !resolved.written.eq_ignore_ascii_case(uri) {
            let (uri, name) = (shown(one.text(one.uri)), shown(&resolved.written));
            let text = format!("{uri} is one of those that {name} stands for: update that");
            return Err(NotEdited::Wrong(Problem::error(resolved.entry.place, text)));
        }
        in_rank &= update.priority.is_none_or(|priority| priority == one.priority);
        let line = (!resolved.written.is_empty()).then(|| NamedLine::of(id, one));
        // All that a line stands for are changed with the first of them.
        let there = done.iter().position(|there| line.is_some() && *there == line);
        if let Some(change) = there.and_then(|there| changes.get_mut(there)) {
            change.out.push(at);
            continue;
        }
        let new = changed(source, resolved, update)?;
        let spread = line.as_ref().filter(|_| !new.written.is_empty());
        let targets = spread.map_or_else(Vec::new, |line| srv_targets::serving(set, line));
        changes.push(Exchange { out: vec![at], at, new: srv_targets::expand(new, &targets) });
        done.push(line);
    }
    if changes.is_empty() {
        return Err(NotEdited::NotThere);
    }
    if let Some(priority) = update.priority.filter(|_| !in_rank) {
        changes.iter_mut().for_each(|change| change.at = set.rank(priority));
    }
    let mut edit = Edit::of(serving, id);
    edit.exchange(changes);
    Ok(edit)
}

/// A line with its new values. The addresses of its name are taken over.
fn changed<'t>(
    source: &dyn Source,
    line: Resolved<'t>,
    update: &'t Update<'_>,
) -> Result<Resolved<'t>, NotEdited> {
    let (named, port, proto, socket) = (line.named, line.port, line.proto, line.socket().to_vec());
    let (addresses, mut entry) = (line.addresses, line.entry);
    if let Some(attrs) = &update.attrs {
        if !attrs.duid.eq_ignore_ascii_case(&entry.attrs.duid) {
            let text = "the duid must stay the same: remove the destination and add another";
            return Err(NotEdited::Wrong(Problem::error(entry.place, text)));
        }
        entry.attrs = attrs.clone();
    }
    entry.flags = update.flags.unwrap_or(entry.flags);
    entry.priority = update.priority.unwrap_or(entry.priority);
    let resolved = source.locate(entry).map_err(NotEdited::Wrong)?;
    if resolved.entry.attrs.duid.is_empty() && resolved.socket() != socket {
        let text = "without a duid the socket must stay the same: remove the destination and add another";
        return Err(NotEdited::Wrong(Problem::error(resolved.entry.place, text)));
    }
    Ok(if named { Resolved { addresses, port, proto, ..resolved } } else { resolved })
}

/// Makes a change while no reload is under way, if the last one is long enough ago.
fn in_turn<A: Alloc, T>(
    root: &Root<A>,
    pace: Pace,
    change: impl FnMut() -> Result<T, NotEdited>,
) -> Result<T, NotEdited> {
    let mut last = root.reload.lock();
    if last.too_soon(pace.now, pace.delta) {
        return Err(NotEdited::TooSoon);
    }
    let is_full = |error: &NotEdited| matches!(error, NotEdited::OutOfMemory(_));
    let done = housekeeping::with_relief(root, is_full, change)?;
    last.at = Some(pace.now);
    Ok(done)
}
