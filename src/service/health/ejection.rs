//! What calls say of destinations, and what follows: who fails too often is ejected, and comes back by a trial.
//!
//! Outcomes come in any process, from within a transaction. So nothing is told there: who looks four times a second does that.

use super::probe::Now;
use super::set_state::Told;
use crate::health::ejection::{Follows, Outcome, Phase, Rules, Why, stands_out};
use crate::health::event::DestinationEvent;
use crate::shm::Alloc;
use crate::state::health::Report;
use crate::state::{Generation, Member, Record, Root, Set};
use std::collections::HashSet;

pub use crate::health::ejection::{People, Told as Said};

/// Where a call went: a record, which destination that was, and the epoch in which the call was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// The number of the record.
    pub record: u32,
    /// Its serial number.
    pub serial: u32,
    /// The epoch.
    pub epoch: u32,
}

/// A call goes to the destination of this record now.
pub fn sent<A: Alloc>(root: &Root<A>, number: u32) -> Option<Sent> {
    let record = root.registry.record(number)?;
    Some(Sent { record: number, serial: record.serial(), epoch: record.epoch() })
}

/// Takes in what a call says of where it went.
pub fn told<A: Alloc>(
    root: &Root<A>,
    sets: &Generation<A>,
    rules: &Rules,
    sent: Sent,
    (outcome, rang, people, code): (Outcome, bool, People, u16),
    now: Now,
) {
    let number = sent.record;
    let Some(record) = root.registry.record_of(number, sent.serial) else { return };
    let said = Said { outcome, rang, epoch: sent.epoch, people, code };
    let follows = root.registry.first_ejection(number, |known| known.told(said, now.micros, rules));
    let (one, time) = ((number, sent.epoch), (now.micros, now.wall));
    match follows.unwrap_or(Follows::Nothing) {
        Follows::Nothing => return,
        Follows::Out(why) => {
            let stands_out = match why {
                Why::Share(calls, failed) => {
                    let set = sets.of_record(number, record).map(|(set, _)| set);
                    set.is_some_and(|set| {
                        stands_out((calls, failed), others(root, set, number, rules, now.micros))
                    })
                }
                Why::Row(_) | Why::RetryAfter(_) | Why::Trial => true,
            };
            if !stands_out || root.registry.eject(one, why, time, rules).is_none() {
                return;
            }
        }
        Follows::Again => _ = root.registry.eject(one, Why::Trial, time, rules),
        Follows::Back => root.registry.put_back(one, time),
        Follows::OneMore => root.registry.try_once_more(number),
    }
    root.ejections.turn(1);
}

/// Calls of the other destinations of a set in the window, and how many failed.
fn others<A: Alloc>(root: &Root<A>, set: &Set<A>, number: u32, rules: &Rules, micros: u64) -> (u64, u64) {
    let mut seen = HashSet::from([number]);
    let others = set.iter().filter(|one| seen.insert(one.record));
    let windows =
        others.filter_map(|one| root.registry.ejection(one.record, |known| known.window(micros, rules)));
    windows.fold((0, 0), |(calls, failed), one| (calls + u64::from(one.0), failed + u64::from(one.1)))
}

/// Where no destination of this set takes calls, those serve that are ejected. Whether there are some.
#[cold]
pub fn serve_anyway<A: Alloc>(root: &Root<A>, set: &Set<A>) -> bool {
    let any = set.ranks.has_ejected() && root.registry.serve_anyway(&set.ranks, (root.clock)() / 1000);
    if any {
        root.ejections.turn(1);
    }
    any
}

/// Lets calls come again where the time is over, and gives what is to be told. Costs next to nothing while none is ejected.
pub fn look<A: Alloc>(root: &Root<A>, sets: &Generation<A>, rules: &Rules, now: Now) -> Vec<Told> {
    let mut turns = Vec::new();
    // Off before the look: what begins meanwhile turns it on again.
    if root.ejections.get() == 0 || root.ejections.turn(0) == 0 {
        return turns;
    }
    let mut left = false;
    for set in sets.sets() {
        serve_anyway(root, set);
        let mut seen = HashSet::new();
        for one in set.iter().filter(|one| seen.insert(one.record)) {
            let Some(record) = root.registry.record(one.record) else { continue };
            turns.extend(turn(root, set, one, record));
            if record.flags().in_ejection() {
                left = true;
                root.registry.try_out(one.record, now.micros, rules);
            }
        }
    }
    if left {
        root.ejections.turn(1);
    }
    turns
}

/// What is to be told of a destination.
fn turn<A: Alloc>(root: &Root<A>, set: &Set<A>, one: Member<'_>, record: &Record) -> Option<Told> {
    let (report, out) = root.registry.ejection(one.record, |known| {
        let out = known.phase() != Phase::In;
        let turns = core::mem::replace(&mut known.is_told, out) != out;
        turns.then(|| {
            let (why, code) = known.why()?;
            Some((if out { of_failures(why, code) } else { over() }, out))
        })?
    })??;
    // One that went down for another reason meanwhile is not up with this.
    if !out && !record.flags().usable() {
        return None;
    }
    let event = if out { DestinationEvent::Down } else { DestinationEvent::Up };
    Some(Told { event, set: set.id, uri: one.text(one.uri).to_vec(), report })
}

fn of_failures(why: Why, code: u16) -> Report {
    Report { code, reason: why.to_string().as_bytes().into(), received: false }
}

fn over() -> Report {
    Report { code: 200, reason: b"its ejection is over"[..].into(), received: false }
}

/// What is shown of an ejection.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// A trial has begun.
    pub on_trial: bool,
    /// Whole seconds until then.
    pub left: u32,
    /// How often it went out, less what good behaviour has made good.
    pub times: u32,
    /// Why.
    pub why: Report,
}

impl Shown {
    /// In a word.
    pub const fn state(&self) -> &'static str {
        if self.on_trial { "trial" } else { "ejected" }
    }
}

/// The ejection of the destination of this record, if it is ejected or on trial.
pub fn shown<A: Alloc>(root: &Root<A>, number: u32, micros: u64) -> Option<Shown> {
    let record = root.registry.record(number).filter(|record| record.flags().in_ejection())?;
    root.registry.ejection(number, |known| {
        let (why, code) = known.why()?;
        let why = of_failures(why, code);
        let on_trial = record.is_on_trial();
        Some(Shown { on_trial, left: known.left(micros).unwrap_or(0), times: known.times(), why })
    })?
}
