//! The transaction in which sets change: begin, plan from what serves, build, commit.
//!
//! ```text
//! let transaction = Transaction::begin(root);             // takes the writer's lock
//! let plan = Plan::…(transaction.serving(), …);           // a value that says what is to serve
//! transaction.build(plan)?;                               // built in shared memory, nobody sees it yet
//! transaction.commit();                                   // published with one store
//! ```
//!
//! A transaction that is dropped before its commit changes nothing: the records that were held for it are let go, and its
//! blocks are freed.

use crate::service::sets::build::{Built, Changes, RecordSet, build};
use crate::service::sets::carry_over;
use crate::service::sets::look_ups;
use crate::service::sets::plan::Plan;
use crate::shm::lock::Guard;
use crate::shm::snapshot::Retired;
use crate::shm::{Alloc, OutOfMemory};
use crate::state::{Block, Configured, Destination, Generation, Root};
use core::cell::Cell;

/// The right to change the sets.
///
/// For who holds `root.reload` as well, if what is planned was read from elsewhere: what another reads at the same time and
/// publishes later would undo it.
pub struct Transaction<'r, A: Alloc> {
    root: &'r Root<A>,
    // Before the lock: it is dropped while nobody else can change the sets.
    built: Cell<Option<Built<'r, A>>>,
    retired: Guard<'r, Retired<Generation<A>>>,
}

impl<'r, A: Alloc> Transaction<'r, A> {
    /// Waits until no other transaction is open.
    pub fn begin(root: &'r Root<A>) -> Self {
        Self { root, built: Cell::new(None), retired: root.writer.lock() }
    }

    /// The sets that serve now.
    pub fn serving(&self) -> Option<&Generation<A>> {
        self.root.sets.current(&self.retired)
    }

    /// Builds the next generation. On an error nothing is changed.
    pub fn build(&self, plan: Plan<'_, A>) -> Result<(), OutOfMemory> {
        self.built.set(Some(build(self.root, self.serving(), plan)?));
        Ok(())
    }

    /// Publishes what was built. It cannot fail. Says whether several lines of a whole plan are one destination by their
    /// identity.
    pub fn commit(&mut self) -> bool {
        let Some(Built { next, changes, held, capacities }) = self.built.take() else { return false };
        let root = self.root;
        let in_use = look_ups::in_use(self.serving(), &changes.sets);
        let changed = (&changes.sets[..], changes.whole);
        carry_over::carry_over(root, self.serving(), next.value(), changed, capacities);
        // At a start all are as new as the others.
        if self.serving().is_some() {
            changes.came().for_each(|record| root.registry.add_slowly(record));
        }
        held.keep();
        root.sets.publish_ready(next, &mut self.retired);
        let shared = self.serving().is_some_and(|serving| configure(root, serving, &changes));
        self.serving().into_iter().for_each(|serving| look_ups::make(root, serving, &in_use));
        tidy(root, &mut self.retired);
        shared
    }
}

/// Makes the lines that now serve count in their records. Where several lines have one identity the first counts. Says whether
/// all lines were looked at and some have one.
fn configure<A: Alloc>(root: &Root<A>, serving: &Generation<A>, changes: &Changes) -> bool {
    let (mut seen, mut shared) = (RecordSet::default(), false);
    let mut configure = |position: usize, one: &Destination| {
        if !seen.insert(one.record) {
            shared = true;
            return;
        }
        let (flags, latency, asked, unresolved) = (one.flags, one.latency, one.asked, one.unresolved);
        let configured = Configured { flags, latency, asked, unresolved, place: position as u32 };
        root.registry.configure(one.record, configured, changes.back.has(one.record), changes.keep);
    };
    if changes.whole {
        for (start, block) in serving.sets().flat_map(|set| set.blocks.runs()) {
            let all = block.destinations().iter().enumerate();
            all.for_each(|(at, one)| configure(start + at, one));
        }
        return shared;
    }
    for &(id, record) in &changes.changed {
        let set = serving.set(id);
        let found = set.and_then(|set| set.first_of(record).and_then(|at| Some((at, set.get(at)?))));
        found.into_iter().for_each(|(at, one)| configure(at, &one));
    }
    false
}

/// Gives back generations that nobody reads any more, and the records that nothing names.
pub fn tidy<A: Alloc>(root: &Root<A>, retired: &mut Retired<Generation<A>>) {
    root.sets.reclaim(retired, |generation| {
        let gone = generation.own_blocks().flat_map(Block::destinations);
        root.registry.let_go(gone.map(|one| one.record));
    });
    root.registry.sweep();
}

/// Waits until the commit of the generation that serves is complete: until then its records may be as they were.
pub fn settled<A: Alloc>(root: &Root<A>) {
    drop(root.writer.lock());
}
