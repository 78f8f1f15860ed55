//! The record of a destination: its load, state, latency and counters, which change while calls run.

use super::ejection::Trial;
use super::health::{Health, Report};
use super::overload::{Overload, Wish};
use super::slow_start::Ramp;
use super::tokens::Tokens;
use crate::dest::Flags;
use crate::health::drain::Drain;
use crate::health::latency::Latency;
use crate::select::penalty::Penalty;
use crate::shm::Shared;
use crate::shm::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::shm::counter::{Counter, Gauge, Load};
use crate::shm::lock::{Guard, Mutex};

/// The runtime record of a destination. All fields change while calls run, from any process.
///
/// What a selection reads is atomic. Everything about health is behind a lock, and the atomic copies of its results change under
/// that lock, so that reports at the same time change the state one after another.
///
/// The order of the fields matters: what a choice and a count read comes first and close together, apart from what reports write.
#[derive(Default)]
#[repr(C)]
pub struct Record {
    /// Calls that count for it. Changed with the board of its set locked.
    pub load: Load,
    /// When call load last chose it, in choices of its set.
    last_chosen: AtomicU64,
    /// In slow start: for which choice of its set it waits. Changed with the board of its set locked.
    pub(super) due: AtomicU64,
    /// State and options now, and beside them [`Flags::OVER_ANY_RATE`], which change with the board of its set locked.
    pub(super) flags: AtomicU32,
    /// The first of its lines on the board of its set (`ranks`), counted from 1; 0 is none. Used with that board locked.
    line: AtomicU32,
    /// Where its destination was last seen in the set that serves.
    place: AtomicU32,
    /// Legs in the call table that name it, counting or not. Changed with the board of its set locked.
    pub entries: Gauge,
    /// The number of the capacity that its destination shares; 0 is none. Changed with the capacities and the board of its set locked.
    capacity: AtomicU32,
    /// What failed calls weigh, in whole calls. Changed with the board of its set locked.
    pub(super) penalty: AtomicU32,
    /// How long its replies take and how much longer than usual, in milliseconds; 0 where it is not known.
    latency: AtomicU32,
    congestion: AtomicU32,
    /// Which destination it is the record of: no other that had this record before has the same number.
    serial: AtomicU32,
    /// What happened to it so far.
    pub totals: Totals,
    /// Its limit on new calls. Changed with the board of its set locked.
    pub(super) tokens: Tokens,
    /// Its slow start. As the one above.
    pub(super) ramp: Ramp,
    /// Its ejection. Changed with the board of its set locked.
    pub(super) trial: Trial,
    /// The set of its destination, as bits.
    set: AtomicU32,
    /// State and options as last configured. A reload with the same ones does not change the state.
    configured: AtomicU32,
    /// Selections that found its set full while it was usable, up to the last time it became unusable.
    refused: Counter,
    /// The set's count of such selections when it became usable, plus one; 0 while it is not usable. Used with the board of its set
    /// locked.
    refused_from: AtomicU64,
    /// The same to the part ([`Penalty`]), and when it was brought up to date, in nanoseconds.
    pub(super) penalty_word: AtomicU32,
    pub(super) penalty_of: AtomicU64,
    /// Overload control: what it asked for.
    pub overload: Overload,
    /// The drain that is under way, as a word: for who must not take the lock.
    drain: AtomicU64,
    health: Mutex<Health>,
}

// SAFETY: atomics, and numbers behind a lock between processes.
unsafe impl Shared for Record {}

/// Counted since the destination was seen for the first time.
#[derive(Default)]
pub struct Totals {
    /// Selections that sent a request there.
    pub selected: Counter,
    /// Requests that a script sent on to another destination.
    pub failed_over: Counter,
    /// Probes that failed.
    pub failed_probes: Counter,
    /// How often it has come to its limit on new calls.
    pub over_rate: Counter,
    /// How often it was ejected.
    pub ejections: Counter,
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateChange {
    /// The flags before.
    pub from: Flags,
    /// The flags now.
    pub to: Flags,
    /// Nothing was known of the state before.
    pub first: bool,
}

/// What a reload keeps, by the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// State and failure counts of what stays.
    pub state: bool,
    /// Latencies of what stays.
    pub latency: bool,
}

/// The part of a destination's configuration that its record needs.
#[derive(Debug, Clone, Copy)]
pub struct Configured {
    /// State and options.
    pub flags: Flags,
    /// Milliseconds that its replies take, until something is measured; 0 is not known.
    pub latency: u32,
    /// What is probed, as a hash.
    pub asked: u64,
    /// Its name is looked up, and its addresses are not known yet.
    pub unresolved: bool,
    /// Its position in the set.
    pub place: u32,
}

impl Record {
    /// State and options now.
    pub fn flags(&self) -> Flags {
        self.all_flags().without(Flags::OVER_ANY_RATE)
    }

    pub(super) fn all_flags(&self) -> Flags {
        Flags(self.flags.load(Ordering::Relaxed))
    }

    /// Whether new calls may go to it: usable, and within its rate and that of the capacity that it shares.
    pub fn takes_new_calls(&self) -> bool {
        self.all_flags().usable()
    }

    /// Stores a state, which is not that of its rate: that stays. With the board of its set locked.
    fn put_flags(&self, flags: Flags) {
        let over = Flags(self.all_flags().0 & Flags::OVER_ANY_RATE.0);
        self.flags.store(flags.without(Flags::OVER_ANY_RATE).with(over).0, Ordering::Relaxed);
    }

    /// State and options as last configured.
    pub fn configured(&self) -> Flags {
        Flags(self.configured.load(Ordering::Relaxed))
    }

    /// What is known of its health now.
    pub fn health(&self) -> Health {
        *self.health.lock()
    }

    /// State and options, and what is known of the health, of one moment.
    pub fn state(&self) -> (Flags, Health) {
        let health = self.health.lock();
        (self.flags(), *health)
    }

    /// Takes a wish to get less, if it is newer than the last.
    pub fn wish(&self, wish: Wish, sequence: i32) -> bool {
        let _alone = self.health.lock();
        self.overload.wish(wish, sequence)
    }

    /// The last wish to get less, with its number.
    pub fn wished(&self) -> (Wish, i32) {
        let _alone = self.health.lock();
        (self.overload.last(), self.overload.sequence())
    }

    /// The health, to change what has nothing to do with the state.
    pub fn lock(&self) -> Guard<'_, Health> {
        self.health.lock()
    }

    /// Changes the state as `change` says from what it is and what is known; `None` leaves it. `now` in milliseconds of the
    /// wall clock.
    pub(super) fn change(
        &self,
        now: u64,
        change: impl FnOnce(Flags, &mut Health) -> Option<(Flags, u32)>,
    ) -> Option<StateChange> {
        let mut health = self.health.lock();
        let from = self.flags();
        let (to, streak) = change(from, &mut health)?;
        health.streak = streak;
        // How it was disabled is over with that.
        let to = if to.has(Flags::DISABLED) { to } else { to.without(Flags::DRAINED) };
        self.put((from, to), now, &mut health);
        self.drain.store(health.drain.word(), Ordering::Relaxed);
        let first = !core::mem::replace(&mut health.judged, true);
        Some(StateChange { from, to, first })
    }

    /// Begins or ends a drain, as `change` says; `None` leaves all as it is. Nothing is found out about its health by that.
    pub(super) fn drain(
        &self,
        now: u64,
        change: impl FnOnce(Flags, &mut Health) -> Option<Flags>,
    ) -> Option<StateChange> {
        let mut health = self.health.lock();
        let from = self.flags();
        let to = change(from, &mut health)?;
        self.drain.store(health.drain.word(), Ordering::Relaxed);
        self.put((from, to), now, &mut health);
        Some(StateChange { from, to, first: false })
    }

    /// The drain that is under way, if there is one, without its begin. Takes no lock.
    pub fn drained(&self) -> Option<Drain> {
        let drain = Drain::of_word(self.drain.load(Ordering::Relaxed), 0);
        self.flags().has(Flags::DRAINING).then_some(drain)
    }

    fn put(&self, (from, to): (Flags, Flags), now: u64, health: &mut Health) {
        if to != from {
            self.put_flags(to);
            health.changed = now;
        }
    }

    /// One more measured latency.
    pub fn sample(&self, health: &mut Health, milliseconds: f64, alpha: f64) {
        health.latency.sample(milliseconds, alpha);
        self.show(&health.latency);
    }

    fn show(&self, latency: &Latency) {
        self.latency.store(latency.estimate as u32, Ordering::Relaxed);
        self.congestion.store(latency.congestion(), Ordering::Relaxed);
    }

    /// Takes over what a source configures. What the source says of the state counts if the destination comes `back`, if
    /// the source says something else than before, or if nothing is to be kept. No source says anything of a drain or an ejection, which go
    /// on unless the destination comes back or nothing is to be kept.
    pub(super) fn configure(&self, configured: Configured, back: bool, keep: Keep) {
        let Configured { flags, latency, asked, unresolved, place } = configured;
        let mut health = self.health.lock();
        let mut state = self.flags().without(Flags::UNRESOLVED);
        self.place.store(place, Ordering::Relaxed);
        let said = self.configured.swap(flags.0, Ordering::Relaxed);
        if back || !keep.state || said != flags.0 {
            let goes_on = Flags::DRAINING.with(Flags::EJECTION);
            let kept = if back || !keep.state { Flags::default() } else { Flags(state.0 & goes_on.0) };
            state = flags.without(Flags::OWN).with(kept);
            if !kept.has(Flags::DRAINING) {
                health.drain = Drain::default();
                self.drain.store(health.drain.word(), Ordering::Relaxed);
            }
            (health.streak, health.failures, health.successes, health.judged) = (0, 0, 0, false);
            health.last = Report::by_source(flags);
            health.name.outage.down = false;
        }
        if back {
            // Its name was not looked up for this destination, and its set may count choices anew.
            health.name = Default::default();
            self.last_chosen.store(0, Ordering::Relaxed);
            self.set_penalty(Penalty::default(), 0);
        }
        if back || !keep.latency || health.latency == Latency::default() {
            health.latency = Latency::known(latency);
            self.show(&health.latency);
        }
        if health.asked != asked {
            if health.name.outage.down {
                // That name is not its own any more.
                state = state.without(Flags::INACTIVE);
            }
            health.asked = asked;
            health.waiting.give_up();
            health.name = Default::default();
        }
        // What was found since may not serve yet.
        let waits = unresolved && !health.name.is_found();
        let state = if waits { state.with(Flags::UNRESOLVED) } else { state };
        // One store: a selection sees the state before or the state after.
        self.put_flags(state);
    }

    /// Somebody knows what its name means. For who holds the lock.
    pub fn resolved(&self) {
        self.flags.fetch_and(!Flags::UNRESOLVED.0, Ordering::Relaxed);
    }

    /// Which destination it is the record of: its number may be another's by the time that somebody comes back with it.
    pub fn serial(&self) -> u32 {
        self.serial.load(Ordering::Relaxed)
    }

    /// Makes it the record of a destination seen for the first time. Its configuration follows.
    pub fn begin(&self, set: i32, flags: Flags, serial: u32) {
        self.serial.store(serial, Ordering::Relaxed);
        self.set.store(set as u32, Ordering::Relaxed);
        self.load.reset();
        self.entries.reset();
        self.overload.reset();
        let Totals { selected, failed_over, failed_probes, over_rate, ejections } = &self.totals;
        [selected, failed_over, failed_probes, over_rate, ejections, &self.refused]
            .into_iter()
            .for_each(Counter::reset);
        self.refused_from.store(0, Ordering::Relaxed);
        self.last_chosen.store(0, Ordering::Relaxed);
        self.line.store(0, Ordering::Relaxed);
        self.capacity.store(0, Ordering::Relaxed);
        self.set_penalty(Penalty::default(), 0);
        self.tokens.reset();
        self.reset_slow_start();
        self.configured.store(flags.without(Flags::UNRESOLVED).0, Ordering::Relaxed);
        let others = Flags::OWN.without(Flags::UNRESOLVED);
        self.flags.store(flags.without(others).0, Ordering::Relaxed);
        let mut health = self.health.lock();
        // Keep the count of probes: a reply to a probe of the previous owner of this record must not match one of the new owner.
        let mut waiting = health.waiting;
        waiting.give_up();
        *health = Health { waiting, last: Report::by_source(flags), ..Health::default() };
        self.show(&health.latency);
    }

    /// How long its replies take, in milliseconds; 0 where it is not known.
    pub fn latency(&self) -> u32 {
        self.latency.load(Ordering::Relaxed)
    }

    /// How much longer than usual they take, in milliseconds.
    pub fn congestion(&self) -> u32 {
        self.congestion.load(Ordering::Relaxed)
    }

    /// What a weighted choice looks at.
    pub(super) fn worth(&self) -> (Flags, u32, u32) {
        (self.all_flags(), self.congestion(), self.pace())
    }

    /// The set of its destination.
    pub fn set(&self) -> i32 {
        self.set.load(Ordering::Relaxed) as i32
    }

    /// Where its destination is in the set, most likely.
    pub fn place(&self) -> usize {
        self.place.load(Ordering::Relaxed) as usize
    }

    /// Notes where its destination was found.
    pub fn found_at(&self, place: usize) {
        self.place.store(place as u32, Ordering::Relaxed);
    }

    /// The first of its lines on the board of its set; `u32::MAX` where it has none.
    pub(super) fn first_line(&self) -> u32 {
        self.line.load(Ordering::Relaxed).wrapping_sub(1)
    }

    pub(super) fn set_first_line(&self, line: u32) {
        self.line.store(line.wrapping_add(1), Ordering::Relaxed);
    }

    /// Says whether it takes calls of its set, which has refused so many so far.
    pub(super) fn takes_calls(&self, usable: bool, refused: u64) {
        let from = self.refused_from.load(Ordering::Relaxed);
        if usable != (from > 0) {
            self.refused.add(self.refused_since(from, refused));
            self.refused_from.store(if usable { refused + 1 } else { 0 }, Ordering::Relaxed);
        }
    }

    fn refused_since(&self, from: u64, refused: u64) -> u64 {
        if from > 0 { (refused + 1).saturating_sub(from) } else { 0 }
    }

    /// Selections that found no room in its set, which has refused so many so far, while it was usable.
    pub(super) fn refused(&self, refused: u64) -> u64 {
        self.refused.get() + self.refused_since(self.refused_from.load(Ordering::Relaxed), refused)
    }

    /// The number of the capacity that its destination shares; 0 is none. For who holds the lock of the board, or looks again with it.
    pub fn capacity(&self) -> u32 {
        self.capacity.load(Ordering::Relaxed)
    }

    pub(super) fn share(&self, capacity: u32) {
        self.capacity.store(capacity, Ordering::Relaxed);
    }

    /// When call load last chose it.
    pub fn last_chosen(&self) -> u64 {
        self.last_chosen.load(Ordering::Relaxed)
    }

    /// Notes that call load chose it now.
    pub fn chosen(&self, when: u64) {
        self.last_chosen.store(when, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const KEEP: Keep = Keep { state: true, latency: true };

    fn configured(flags: Flags) -> Configured {
        Configured { flags, latency: 0, asked: 1, unresolved: false, place: 0 }
    }

    fn begun() -> Record {
        let record = Record::default();
        record.begin(1, Flags::default(), 1);
        record.configure(configured(Flags::default()), false, KEEP);
        record
    }

    fn down(record: &Record) {
        record.change(7, |_, _| Some((Flags::INACTIVE, 3)));
    }

    #[test]
    fn a_reload_keeps_the_state_unless_the_source_changed_it() {
        let record = begun();
        down(&record);
        record.configure(configured(Flags::default()), false, KEEP);
        assert_eq!((record.flags(), record.health().streak), (Flags::INACTIVE, 3));
        record.configure(configured(Flags::PROBING), false, KEEP);
        assert_eq!((record.flags(), record.health().streak), (Flags::PROBING, 0));
        down(&record);
        record.configure(configured(Flags::PROBING), true, KEEP);
        assert_eq!(record.flags(), Flags::PROBING);
    }

    #[test]
    fn a_drain_goes_on_whatever_the_source_says_until_nothing_is_kept_or_it_comes_back() {
        let record = begun();
        let begin = || {
            record.drain(5, |flags, health| {
                health.drain.ends = Some(77);
                Some(flags.with(Flags::DRAINING))
            })
        };
        let (probing, none) = (configured(Flags::PROBING), Keep { state: false, latency: true });
        assert!(begin().is_some_and(|change| !change.first && !record.health().judged));
        record.change(7, |flags, _| Some((flags.with(Flags::INACTIVE), 0)));
        record.configure(configured(Flags::default()), false, KEEP);
        assert_eq!(record.flags(), Flags::INACTIVE.with(Flags::DRAINING));
        record.configure(probing, false, KEEP);
        assert_eq!(record.flags(), Flags::PROBING.with(Flags::DRAINING));
        assert_eq!(record.health().drain.ends, Some(77));
        record.configure(probing, false, none);
        assert_eq!((record.flags(), record.health().drain), (Flags::PROBING, Drain::default()));
        begin();
        record.configure(probing, true, KEEP);
        assert_eq!((record.flags(), record.health().drain), (Flags::PROBING, Drain::default()));
    }

    #[test]
    fn no_source_and_no_change_to_another_state_can_say_that_a_drain_is_over() {
        let record = begun();
        record.configure(configured(Flags(1 << 29 | 1 << 30 | 8)), false, KEEP);
        assert_eq!(record.flags(), Flags::PROBING);
        let over = Flags::DISABLED.with(Flags::DRAINED);
        record.drain(1, |_, _| Some(over));
        let to = |state: Flags| {
            record.change(1, |flags, _| Some((flags.without(Flags::STATES).with(state), 0)));
            record.flags()
        };
        assert_eq!([to(Flags::DISABLED), to(Flags::default())], [over, Flags::default()]);
    }

    #[test]
    fn a_reload_keeps_nothing_where_nothing_is_to_be_kept() {
        let record = begun();
        down(&record);
        record.sample(&mut record.lock(), 40.0, 0.1);
        record.configure(configured(Flags::default()), false, Keep { state: false, latency: true });
        assert_eq!((record.flags(), record.latency()), (Flags::default(), 40));
        down(&record);
        record.configure(configured(Flags::default()), false, Keep { state: true, latency: false });
        assert_eq!((record.flags(), record.latency()), (Flags::INACTIVE, 0));
    }

    #[test]
    fn one_that_is_down_for_its_name_is_not_down_for_another() {
        let record = begun();
        record.change(1, |_, health| {
            health.name.outage.down = true;
            Some((Flags::INACTIVE, 0))
        });
        record.configure(Configured { asked: 2, ..configured(Flags::default()) }, false, KEEP);
        assert_eq!((record.flags(), record.health().name.outage.down), (Flags::default(), false));
    }

    #[test]
    fn one_that_nobody_has_resolved_takes_no_calls_whatever_is_said_of_its_state() {
        let record = begun();
        let configure = |unresolved| {
            record.configure(Configured { unresolved, ..configured(Flags::default()) }, false, KEEP);
            record.flags()
        };
        assert_eq!(configure(true), Flags::UNRESOLVED);
        record.change(1, |flags, _| Some((flags.without(Flags::STATES), 0)));
        assert!(!record.flags().usable());
        // Looked up in vain, then found: what serves does not say so yet.
        (record.lock().name.looked, record.lock().name.lost) = (5, 5);
        assert!(!configure(true).usable());
        record.lock().name.lost = 0;
        assert!(configure(true).usable());
        record.lock().name.lost = 9;
        assert!(configure(false).usable(), "its last addresses serve on");
    }

    #[test]
    fn a_change_says_what_it_was_and_whether_it_is_the_first() {
        let record = begun();
        let to = |flags| record.change(9, |_, _| Some((flags, 0)));
        let change = |from, to, first| Some(StateChange { from, to, first });
        assert_eq!(to(Flags::INACTIVE), change(Flags::default(), Flags::INACTIVE, true));
        assert_eq!(to(Flags::INACTIVE), change(Flags::INACTIVE, Flags::INACTIVE, false));
        assert_eq!(record.health().changed, 9);
    }

    #[test]
    fn an_answer_to_what_is_no_longer_asked_is_none() {
        let record = begun();
        let ticket = record.lock().waiting.begin(0, 0);
        record.configure(configured(Flags::default()), false, KEEP);
        assert!(record.lock().waiting.end(ticket));
        let ticket = record.lock().waiting.begin(0, 0);
        record.configure(Configured { asked: 2, ..configured(Flags::default()) }, false, KEEP);
        assert!(!record.lock().waiting.end(ticket));
        let ticket = record.lock().waiting.begin(0, 0);
        record.begin(2, Flags::default(), 2);
        assert!(!record.lock().waiting.end(ticket));
    }
}
