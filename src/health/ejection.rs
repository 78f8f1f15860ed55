//! When a destination is taken out because calls there fail, and how it comes back: what is known of it, as a state machine.
//!
//! Model: outcomes of calls come in. While the destination is in service, failures in a row or their share in a sliding window say that it
//! should go out; whether it may is for the caller to decide, who knows the set. Out, it is left alone until its time is over. Then a few calls
//! go there, the trial: all good brings it back, one failure puts it out again, for longer.
//!
//! Invariants: an outcome counts only in the epoch in which its call was sent, so what was under way before it went out says nothing of the
//! trial, and nothing from before an operator's word counts after it. A clock that goes back changes nothing.
//!
//! Not here: the ceiling of a set, and which of a call's attempts count ([`verdict`](super::verdict)).

use core::fmt;

/// The parameters. Times in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `ds_eject_row`: failures in a row; 0 is none.
    pub row: u32,
    /// `ds_eject_window`.
    pub window: u32,
    /// `ds_eject_min_calls`: calls in the window for a share to count.
    pub min_calls: u32,
    /// `ds_eject_share`, percent; 0 is none.
    pub share: u32,
    /// `ds_eject_time`.
    pub time: u32,
    /// `ds_eject_max_time`.
    pub max_time: u32,
    /// `ds_eject_trial`: calls.
    pub trial: u32,
    /// `ds_retry_after_max`; 0 ignores the header.
    pub retry_after_max: u32,
    /// `ds_max_ejected`: percent of a set.
    pub most: u32,
}

/// Callers, and callees, without whom nobody is ejected.
const ENOUGH: u32 = 3;
/// Parts of a window, which slides by one.
const PARTS: u64 = 5;
const SECOND: u64 = 1_000_000;

/// Who called whom, as bits of a keyed hash: how many there were at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct People {
    callers: u64,
    callees: u64,
}

impl People {
    /// Those of one call, by hashes.
    pub const fn of(caller: u64, callee: u64) -> Self {
        Self { callers: 1 << (caller % 64), callees: 1 << (callee % 64) }
    }

    const fn with(self, other: Self) -> Self {
        Self { callers: self.callers | other.callers, callees: self.callees | other.callees }
    }

    const fn are_enough(self) -> bool {
        self.callers.count_ones() >= ENOUGH && self.callees.count_ones() >= ENOUGH
    }
}

/// What a call says of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It takes calls.
    Good,
    /// It rings. Whether it takes the call is not known yet.
    Rang,
    /// It does not.
    Failed {
        /// Seconds for which it asked to be left alone, where another destination took the call.
        wait: Option<u32>,
    },
    /// Nothing.
    Unknown,
}

/// An outcome.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// What it is.
    pub outcome: Outcome,
    /// The same call has rung there before, and that was told.
    pub rang: bool,
    /// The epoch in which it was sent.
    pub epoch: u32,
    /// Whose call it was.
    pub people: People,
    /// The status code of a failure.
    pub code: u16,
}

/// Why a destination is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// So many failures in a row.
    Row(u32),
    /// Of so many calls in the window so many failed.
    Share(u32, u32),
    /// It asked for it: seconds.
    RetryAfter(u32),
    /// A call of its trial failed.
    Trial,
}

impl fmt::Display for Why {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(row) => write!(to, "ejected: {row} calls in a row failed"),
            Self::Share(calls, failed) => write!(to, "ejected: {failed} of {calls} calls failed"),
            Self::RetryAfter(seconds) => write!(to, "ejected: Retry-After of {seconds} s"),
            Self::Trial => write!(to, "ejected: a call of its trial failed"),
        }
    }
}

/// What follows from an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Nothing.
    Nothing,
    /// It should go out, if its set lets it: then [`Ejection::put_out`].
    Out(Why),
    /// Its trial has failed: [`Ejection::put_out`].
    Again,
    /// Its trial is passed: [`Ejection::put_back`].
    Back,
    /// Another call may take the place of this one in the trial.
    OneMore,
}

/// Calls of a part of the window.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    calls: u32,
    failed: u32,
    people: People,
}

/// Where a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// In service.
    #[default]
    In,
    /// Out, until then: microseconds.
    Out(u64),
    /// A few calls go there.
    Trial {
        /// Since when: or since its calls were allowed anew.
        since: u64,
        /// Calls that were good.
        good: u32,
    },
}

/// What is known of one destination.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ejection {
    /// The epoch of what follows.
    epoch: u32,
    row: u32,
    behind_row: People,
    parts: [Part; PARTS as usize],
    /// The number of the newest part.
    newest: u64,
    phase: Phase,
    /// How often it went out, less what good behaviour has made good.
    times: u32,
    /// When it came back last; 0 is never.
    back: u64,
    /// Why it went out last.
    why: Option<Why>,
    /// The status code of the failure that did it.
    code: u16,
    /// Whether those who listen know that it is out.
    pub is_told: bool,
}

impl Ejection {
    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it went out last, and the code of the last failure.
    pub fn why(&self) -> Option<(Why, u16)> {
        self.why.map(|why| (why, self.code))
    }

    /// How often it went out, less what good behaviour has made good.
    pub fn times(&self) -> u32 {
        self.times
    }

    /// Whole seconds until its time is over.
    pub fn left(&self, now: u64) -> Option<u32> {
        let Phase::Out(until) = self.phase else { return None };
        Some(u32::try_from(until.saturating_sub(now).div_ceil(SECOND)).unwrap_or(u32::MAX))
    }

    /// Comes to this epoch, which somebody else may have begun: then nothing from before counts. `out`: it is out of service by this rule
    /// still; where it is not, somebody has said so.
    pub fn follow(&mut self, epoch: u32, out: bool) {
        if self.epoch != epoch || !out && self.phase != Phase::In {
            self.begin(epoch);
            // Who said so knows.
            (self.times, self.back) = (0, 0);
        }
        if !out && self.phase != Phase::In {
            (self.phase, self.is_told) = (Phase::In, false);
        }
    }

    fn begin(&mut self, epoch: u32) {
        (self.epoch, self.row, self.behind_row) = (epoch, 0, People::default());
        self.parts = Default::default();
    }

    /// Takes in an outcome.
    pub fn told(&mut self, told: Told, now: u64, rules: &Rules) -> Follows {
        if told.epoch != self.epoch {
            return Follows::Nothing;
        }
        match (&mut self.phase, told.outcome) {
            (Phase::Out(_), _) => Follows::Nothing,
            (Phase::Trial { .. }, Outcome::Failed { .. }) => {
                self.code = told.code;
                Follows::Again
            }
            (Phase::Trial { .. }, Outcome::Unknown) if !told.rang => Follows::OneMore,
            (Phase::Trial { good, .. }, Outcome::Good | Outcome::Rang) if !told.rang => {
                *good += 1;
                if *good >= rules.trial { Follows::Back } else { Follows::Nothing }
            }
            (Phase::In, Outcome::Good) => {
                (self.row, self.behind_row) = (0, People::default());
                self.note(now, rules, Part { calls: 1, ..Part::default() });
                Follows::Nothing
            }
            (Phase::In, Outcome::Failed { wait }) => self.failed(told, wait, now, rules),
            (Phase::In | Phase::Trial { .. }, _) => Follows::Nothing,
        }
    }

    fn failed(&mut self, told: Told, wait: Option<u32>, now: u64, rules: &Rules) -> Follows {
        self.code = told.code;
        self.row = self.row.saturating_add(1);
        self.behind_row = self.behind_row.with(told.people);
        self.note(now, rules, Part { calls: 1, failed: 1, people: told.people });
        if let Some(wait) = wait.map(|wait| wait.min(rules.retry_after_max)).filter(|wait| *wait > 0) {
            return Follows::Out(Why::RetryAfter(wait));
        }
        if rules.row > 0 && self.row >= rules.row && self.behind_row.are_enough() {
            return Follows::Out(Why::Row(self.row));
        }
        let (calls, failed) = self.window(now, rules);
        let people = self.parts.iter().fold(People::default(), |all, part| all.with(part.people));
        let too_many = u64::from(failed) * 100 >= u64::from(rules.share) * u64::from(calls);
        if rules.share > 0 && calls >= rules.min_calls && too_many && people.are_enough() {
            return Follows::Out(Why::Share(calls, failed));
        }
        Follows::Nothing
    }

    /// Calls in the window, and how many of them failed.
    pub fn window(&mut self, now: u64, rules: &Rules) -> (u32, u32) {
        self.note(now, rules, Part::default());
        self.parts.iter().fold((0, 0), |sum, part| (sum.0 + part.calls, sum.1 + part.failed))
    }

    /// Adds to the part of the window that is now; what is older than the window is forgotten.
    fn note(&mut self, now: u64, rules: &Rules, more: Part) {
        let number = now / (u64::from(rules.window) * SECOND / PARTS).max(1);
        // A clock of another process may be behind.
        let newest = self.newest.max(number);
        let gone = (newest - self.newest).min(PARTS);
        for number in newest + 1 - gone..=newest {
            let part = self.parts.get_mut((number % PARTS) as usize);
            part.into_iter().for_each(|part| *part = Part::default());
        }
        self.newest = newest;
        if let Some(part) = self.parts.get_mut((newest % PARTS) as usize) {
            (part.calls, part.failed) = (part.calls + more.calls, part.failed + more.failed);
            part.people = part.people.with(more.people);
        }
    }

    /// It goes out now, in this new epoch; says for how many seconds. The number of times grows, unless it asked for it.
    pub fn put_out(&mut self, why: Why, epoch: u32, now: u64, rules: &Rules) -> u32 {
        self.begin(epoch);
        let seconds = match why {
            Why::RetryAfter(seconds) => seconds,
            _ => {
                self.times = self.times_by(now, rules).saturating_add(1);
                rules.time.saturating_mul(self.times).min(rules.max_time.max(rules.time))
            }
        };
        self.why = Some(why);
        self.phase = Phase::Out(now.saturating_add(u64::from(seconds) * SECOND));
        self.back = now;
        seconds
    }

    /// The number of times, of which each `ds_eject_max_time` in service takes one off.
    fn times_by(&self, now: u64, rules: &Rules) -> u32 {
        let served = if self.phase == Phase::In { now.saturating_sub(self.back) } else { 0 };
        let off = served / (u64::from(rules.max_time).max(1) * SECOND);
        self.times.saturating_sub(u32::try_from(off).unwrap_or(u32::MAX))
    }

    /// Whether its time is over: then [`Ejection::try_out`].
    pub fn is_over(&self, now: u64) -> bool {
        matches!(self.phase, Phase::Out(until) if now >= until)
    }

    /// Its trial begins, in this new epoch.
    pub fn try_out(&mut self, epoch: u32, now: u64) {
        self.begin(epoch);
        self.phase = Phase::Trial { since: now, good: 0 };
    }

    /// Whether the calls of its trial have had time to come to something. What is not known of them by then will not be known: as many
    /// as are missing may come again.
    pub fn is_late(&self, now: u64, rules: &Rules) -> bool {
        matches!(self.phase, Phase::Trial { since, .. } if now >= since.saturating_add(2 * u64::from(rules.time) * SECOND))
    }

    /// How many calls are missing in its trial, which go there from now on.
    pub fn renew(&mut self, now: u64, rules: &Rules) -> u32 {
        let Phase::Trial { since, good } = &mut self.phase else { return 0 };
        *since = now;
        rules.trial.saturating_sub(*good)
    }

    /// It is in service again, in this new epoch.
    pub fn put_back(&mut self, epoch: u32, now: u64) {
        self.begin(epoch);
        (self.phase, self.back) = (Phase::In, now);
    }
}

/// Whether so many failures of so many calls are at least twice the share that the others of the set have: calls and failures.
pub fn stands_out((calls, failed): (u32, u32), (other_calls, other_failed): (u64, u64)) -> bool {
    u128::from(failed) * u128::from(other_calls) >= 2 * u128::from(other_failed) * u128::from(calls)
}

/// How many of so many lines may be out: so many percent, rounded down, but at least one of two.
pub fn ceiling(lines: usize, percent: u32) -> usize {
    let most = (lines as u64 * u64::from(percent.min(100)) / 100) as usize;
    if lines >= 2 { most.max(1) } else { most }
}

#[cfg(test)]
mod tests;
