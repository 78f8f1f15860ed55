//! Everything that the processes share, and how it is made before the fork.
//!
//! Model: three kinds of things with three lives.
//! - A [`Generation`] is the configured sets. It is never changed after it is published, only replaced as a whole. Generations
//!   share the [`Block`]s that stay the same, so a change of one row among thousands builds one block.
//! - A [`Record`] is what happens to a destination while calls run (load, state). It is found by identity and outlives
//!   generations: it stays while the destination is configured or has calls, through reloads, removal and return.
//! - A call is an entry of [`Calls`], and names its record by number.
//!
//! Beside them is what choices look up, so that they need not walk over a set. The [`Ranks`] of a set say which line has the fewest
//! calls: they change with each call, and all generations of the set share them. The sums of [`Weights`], the [`Usable`] positions
//! and the [`LatencyOrder`] belong to the set of one generation: the first choice after a state or latency has changed brings them up
//! to date.
//!
//! Timeline: made in `mod_init`, slots opened in `child_init(PROC_INIT)`, both before the fork. Nothing is freed at
//! shutdown: the pool goes with the server.
//!
//! Locks, in this order where more than one is held: `reload`, `writer`, `registry`, a shard of `calls`, the lock of a set's
//! usable positions, of its weights or of its order by latency, the capacities, its ranks, a record's health or what is known of its
//! calls. Readers of a generation take none.
//! Stopping and saving the state must not need capacities, ranks, weights, usable positions or that order: a worker that was killed may have left
//! them locked.
//!
//! Not here: behaviour (`service`), anything that belongs to one process.

pub mod block;
pub mod calls;
pub mod capacities;
pub mod counters;
pub(crate) mod ejection;
pub mod generation;
pub mod health;
mod kept;
pub mod latency_order;
pub mod overload;
mod penalty;
pub mod ranks;
pub mod record;
pub mod registry;
pub mod set;
mod shift;
pub mod slots;
pub mod slow_start;
mod tokens;
pub mod usable;
pub mod weights;

pub use block::{Block, Destination, Member, NameTag};
pub use calls::Calls;
pub use capacities::Capacities;
pub use counters::{Counters, LastAudit};
pub use generation::{Generation, Position};
pub use health::Health;
pub use latency_order::LatencyOrder;
pub use ranks::Ranks;
pub use record::{Configured, Keep, Record, StateChange, Totals};
pub use registry::Registry;
pub use set::Set;
pub use shift::Shift;
pub use slots::Slots;
pub use usable::Usable;
pub use weights::Weights;

use crate::load::Secret;
use crate::shm::counter::{Counter, Switch};
use crate::shm::lock::Mutex;
use crate::shm::snapshot::{Retired, Snapshot};
use crate::shm::{Alloc, OutOfMemory, Shared};

/// The root of all shared state.
pub struct Root<A: Alloc> {
    /// The sets that serve.
    pub sets: Snapshot<Generation<A>, A>,
    /// Held while the sets are replaced.
    pub writer: Mutex<Retired<Generation<A>>>,
    /// Reloads so far, each counted when it begins.
    pub reloads_begun: Counter,
    /// Held from reading a source until its sets serve, so that the sets that were read last are published last.
    pub reload: Mutex<LastReload>,
    /// The records of all destinations.
    pub registry: Registry<A>,
    /// The calls that count.
    pub calls: Calls<A>,
    /// Whether memory ran out for a call not long ago.
    pub short: Short,
    /// Events that no destination owns.
    pub counters: Counters,
    /// Turned off by the first load that was released more often than taken. It is logged once.
    pub balanced: Switch,
    /// Whether destinations are probed: `dispatcher.ping_active`.
    pub ping_active: Switch,
    /// On while a destination may be drained: who looks for drains that are over turns it off first.
    pub drains: Switch,
    /// Seconds of the slow start of destinations that say nothing of it (`ds_slowstart`).
    pub slow_start: u32,
    /// Milliseconds after which half of what a failed call weighs in ranks is gone; 0: it weighs nothing.
    pub failure_decay: Switch,
    /// On while failed calls may weigh in ranks: who lets them decay turns it off first.
    pub penalties: Switch,
    /// The same while a destination may be ejected or on trial, or something of that is to be told.
    pub ejections: Switch,
    /// Percent by which a destination may have more than its share of calls before keys go on to others (`hash_balance`); 0 is no bound.
    pub hash_balance: u32,
    /// How often an operator or a script has disabled, enabled or drained a destination so far.
    pub admin_changes: Counter,
    /// Nanoseconds of a clock that only goes forward, the same in every process.
    pub clock: fn() -> u64,
    /// Makes the keys of calls and destinations.
    pub secret: Secret,
    /// The memory of all this.
    pub alloc: A,
}

// SAFETY: shared parts; the secret is bytes, the clock a function that each process has at one address, as all are forked.
unsafe impl<A: Alloc> Shared for Root<A> {}
// SAFETY: an allocator is a handle to memory that all processes share.
unsafe impl<A: Alloc> Sync for Root<A> {}

/// When memory ran short last: the second plus one, so that 0 is never.
#[derive(Default)]
pub struct Short(Switch);

impl Short {
    /// Seconds for which memory counts as short from then on. Meanwhile ended calls are not remembered.
    const LASTS: u32 = 60;

    /// Memory ran short now.
    pub fn tell(&self, now: u32) {
        self.0.turn(now.saturating_add(1));
    }

    /// Whether memory still counts as short.
    pub fn is_on(&self, now: u32) -> bool {
        let since = self.0.get();
        since != 0 && now.wrapping_sub(since.wrapping_sub(1)) < Self::LASTS
    }
}

// SAFETY: a number that is changed in one step.
unsafe impl Shared for Short {}

/// The last change of the sets that succeeded.
#[derive(Default)]
pub struct LastReload {
    /// The number of the last reload; 0 is none.
    pub number: u64,
    /// When anything changed the sets, in seconds as the call table counts them; none is never.
    pub at: Option<u32>,
}

impl LastReload {
    /// Whether a change now comes sooner than `delta` seconds after the last one.
    pub fn too_soon(&self, now: u32, delta: u32) -> bool {
        self.at.is_some_and(|at| now.wrapping_sub(at) < delta)
    }
}

// SAFETY: numbers.
unsafe impl Shared for LastReload {}

impl<A: Alloc> Root<A> {
    /// An empty state, whose clock stands still.
    pub fn try_new_in(secret: Secret, alloc: A) -> Result<Self, OutOfMemory> {
        Ok(Self {
            sets: Snapshot::new_in(alloc),
            writer: Mutex::new(Retired::default()),
            reloads_begun: Counter::default(),
            reload: Mutex::new(LastReload::default()),
            registry: Registry::new_in(alloc),
            calls: Calls::try_new_in(alloc)?,
            short: Short::default(),
            counters: Counters::default(),
            balanced: Switch::on(),
            ping_active: Switch::on(),
            drains: Switch::default(),
            slow_start: 0,
            failure_decay: Switch::default(),
            penalties: Switch::default(),
            ejections: Switch::default(),
            hash_balance: 0,
            admin_changes: Counter::default(),
            clock: || 0,
            secret,
            alloc,
        })
    }
}
