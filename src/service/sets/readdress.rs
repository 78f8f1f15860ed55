//! Applies a new answer of the DNS: destinations get other addresses, or a name stands for other destinations. Nothing else changes, in
//! particular no state.

use crate::service::housekeeping;
use crate::service::sets::commit::Transaction;
use crate::service::sets::plan::{Edit, Exchange, Plan};
use crate::service::sets::resolve::{Meaning, Resolved};
use crate::service::sets::srv_targets::{NamedLine, Target, expand, of_line};
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Generation, Member, Root};
use std::collections::{BTreeMap, HashMap};

/// A destination by its record, and by what was asked of it: the record may be another's by now.
pub type Asked = (u32, u64);

/// Makes the same destinations serve with other addresses.
pub fn readdress<A: Alloc>(root: &Root<A>, found: &HashMap<Asked, Meaning>) -> Result<(), OutOfMemory> {
    change(root, |serving| with_addresses(serving, found))
}

/// Makes these lines stand for other targets.
pub fn retarget<A: Alloc>(
    root: &Root<A>,
    found: &HashMap<NamedLine, Vec<Target>>,
) -> Result<(), OutOfMemory> {
    change(root, |serving| with_targets(serving, found))
}

/// Makes the edits that follow from what serves.
fn change<A: Alloc>(
    root: &Root<A>,
    edits: impl Fn(Option<&Generation<A>>) -> Vec<Edit<'_, A>>,
) -> Result<(), OutOfMemory> {
    // A reload that took over the old addresses would undo this.
    let _no_reload = root.reload.lock();
    let attempt = || {
        let mut transaction = Transaction::begin(root);
        transaction.build(Plan::Edits(edits(transaction.serving())))?;
        transaction.commit();
        Ok(())
    };
    housekeeping::with_relief(root, |_: &OutOfMemory| true, attempt)
}

/// An edit of each set with a destination whose addresses were found.
fn with_addresses<'g, A: Alloc>(
    serving: Option<&'g Generation<A>>,
    found: &HashMap<Asked, Meaning>,
) -> Vec<Edit<'g, A>> {
    let mut edits = Vec::new();
    for set in serving.into_iter().flat_map(Generation::sets) {
        let meaning = |(at, one): (usize, Member<'g>)| Some((at, one, found.get(&(one.record, one.asked))?));
        let mut changes = set.places().filter_map(meaning).peekable();
        if changes.peek().is_none() {
            continue;
        }
        let mut edit = Edit::of(serving, set.id);
        changes.for_each(|(at, one, meaning)| edit.readdress(at, one, meaning.clone()));
        edits.push(edit);
    }
    edits
}

/// An edit of each set with a line whose targets were found.
fn with_targets<'g, A: Alloc>(
    serving: Option<&'g Generation<A>>,
    found: &HashMap<NamedLine, Vec<Target>>,
) -> Vec<Edit<'g, A>> {
    let mut by_set = BTreeMap::<i32, Vec<Exchange<'g>>>::new();
    for (line, targets) in found.iter().filter(|(_, targets)| !targets.is_empty()) {
        let Some(set) = serving.and_then(|sets| sets.set(line.set)) else { continue };
        let out: Vec<_> = of_line(set, line).map(|(at, _)| at).collect();
        let Some((at, first)) = out.first().and_then(|&at| Some((at, set.get(at)?))) else { continue };
        let new = expand(Resolved::line_of(line.set, first), targets);
        by_set.entry(line.set).or_default().push(Exchange { out, at, new });
    }
    let edit = |(id, changes)| {
        let mut edit = Edit::of(serving, id);
        edit.exchange(changes);
        edit
    };
    by_set.into_iter().map(edit).collect()
}
