//! Recounting the call table against the load that the records show.

use crate::load::Phase;
use crate::shm::Alloc;
use crate::state::{Root, calls::Shard};
use std::collections::HashMap;

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
}

impl Account {
    /// Recorded less counted; anything but 0 is a fault of this module.
    pub fn drift(&self) -> i64 {
        i64::from(self.recorded) - i64::from(self.counted)
    }
}

/// The whole account.
#[derive(Debug, Default)]
#[allow(missing_docs)] // counts of calls by phase
pub struct Audit {
    pub accounts: Vec<Account>,
    pub early: usize,
    pub confirmed: usize,
    pub released: usize,
}

/// Recounts all calls at one moment.
///
/// All shards are locked meanwhile, some milliseconds for a hundred thousand calls: only so are both numbers of one
/// moment, and a drift is a fault and not a call on its way.
pub fn audit<A: Alloc>(root: &Root<A>) -> Audit {
    let mut audit = Audit::default();
    let _no_sweep = root.writer.lock();
    let mut numbers = Vec::new();
    root.registry.for_each(|named| {
        numbers.push(named.number);
        audit.accounts.push(Account {
            set: named.set,
            name: named.name.to_vec(),
            configured: named.configured,
            recorded: 0,
            counted: 0,
        });
    });
    let place: HashMap<u32, usize> = numbers.iter().enumerate().map(|(at, &number)| (number, at)).collect();

    let shards: Vec<_> = root.calls.shards().iter().map(|shard| shard.lock()).collect();
    for shard in &shards {
        Shard::for_each(shard, |_, call| {
            match call.phase() {
                Phase::Early => audit.early += 1,
                Phase::Confirmed => audit.confirmed += 1,
                Phase::Released => audit.released += 1,
            }
            let account = place.get(&call.record()).and_then(|&at| audit.accounts.get_mut(at));
            if let Some(account) = account.filter(|_| call.counts()) {
                account.counted += 1;
            }
        });
    }
    for (account, &number) in audit.accounts.iter_mut().zip(&numbers) {
        account.recorded = root.registry.record(number).map_or(0, |record| record.load.get());
    }
    audit
}
