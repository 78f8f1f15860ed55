//! The audit: counts the call table again and compares it with the load in the records.

use crate::load::leg;
use crate::shm::Alloc;
use crate::shm::counter::Audited;
use crate::state::{Generation, Root};

/// One destination's account.
#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    /// Its set.
    pub set: i32,
    /// `duid`, or the URI where there is none.
    pub name: Vec<u8>,
    /// Whether it is configured now.
    pub configured: bool,
    /// The load that its record shows.
    pub recorded: u32,
    /// Its calls in the table.
    pub counted: u32,
    /// Recorded less counted; anything but 0 is a fault of this module.
    pub drift: i64,
}

/// The whole account.
#[derive(Debug, Default)]
#[allow(missing_docs)] // counts of calls by phase
pub struct Audit {
    pub accounts: Vec<Account>,
    pub early: usize,
    pub confirmed: usize,
    pub released: usize,
    /// Lines of sets with a wrong rank in the index of call load, and capacities with another count than their records; anything but 0 is
    /// a fault of this module.
    pub misplaced: usize,
}

impl Audit {
    /// Calls now, each once for each destination at which it counts.
    pub fn calls(&self) -> u64 {
        self.accounts.iter().map(|account| u64::from(account.counted)).sum()
    }

    /// Destinations with a drift.
    pub fn drifting(&self) -> usize {
        self.accounts.iter().filter(|account| account.drift != 0).count()
    }

    /// Keeps what it found for the metrics, as that of the last audit. `time` is in seconds since 1970.
    pub fn note<A: Alloc>(&self, root: &Root<A>, time: u64) {
        root.counters.last_audit.note(self.drifting() as u64, self.misplaced as u64, time);
    }
}

/// Counts all calls again, one shard after the other, so that only calls of one shard wait.
///
/// In shards that were counted already, each change of a load is added to the load's account in the same step. So both numbers of a
/// destination are of one moment, and a drift is a fault, not a call that came meanwhile. Phases are those at the time when their
/// shard was counted.
pub fn audit<A: Alloc>(root: &Root<A>) -> Audit {
    let mut audit = Audit::default();
    // No other audit meanwhile, and no record becomes another destination's.
    let writer = root.writer.lock();
    // Before an account is opened, which ranks the record's lines again. Nobody exchanges lines while we hold the writer's lock.
    let serving = root.sets.current(&writer);
    let sets = serving.into_iter().flat_map(Generation::sets);
    audit.misplaced = sets.map(|set| root.registry.lock_board(&set.ranks).faults(&root.registry)).sum();
    audit.misplaced += root.registry.capacity_faults();
    for shard in root.calls.shards() {
        shard.lock().audited = Audited::NotYet;
    }
    let mut numbers = Vec::new();
    root.registry.for_each(|named| {
        root.registry.open_account(named.number);
        numbers.push(named.number);
        audit.accounts.push(Account {
            set: named.set,
            name: named.name.to_vec(),
            configured: named.configured,
            recorded: 0,
            counted: 0,
            drift: 0,
        });
    });
    let mut found = vec![0u32; numbers.last().map_or(0, |&last| last as usize + 1)];
    for shard in root.calls.shards() {
        let mut shard = shard.lock();
        shard.for_each(|legs| {
            for record in leg::counted(legs) {
                let up = leg::is_confirmed_at(legs, record);
                let phase = if up { &mut audit.confirmed } else { &mut audit.early };
                *phase += 1;
                if let Some(found) = found.get_mut(record as usize) {
                    *found += 1;
                }
            }
            audit.released += usize::from(leg::is_released(legs));
        });
        shard.audited = Audited::Already;
    }
    for (account, &number) in audit.accounts.iter_mut().zip(&numbers) {
        let (load, since) = root.registry.record(number).map_or((0, 0), |record| record.load.account());
        let found = found.get(number as usize).copied().unwrap_or(0);
        let counted = i64::from(found) + i64::from(since);
        account.recorded = load;
        account.counted = u32::try_from(counted).unwrap_or(0);
        account.drift = i64::from(load) - counted;
    }
    audit
}
