//! What is known of the calls at each record, and what that does to its state: with the board of its set locked, so that no number of
//! processes together takes more out of a set than may be out.

use super::Registry;
use crate::health::ejection::{Ejection, Phase, Rules, Why};
use crate::shm::Alloc;
use crate::shm::boxed::Boxed;
use crate::state::ejection::Calls;
use crate::state::{Ranks, Record};

/// What time it is: microseconds of the clock that only goes forward, and milliseconds of the wall clock.
pub type Time = (u64, u64);

impl<A: Alloc> Registry<A> {
    /// What `act` makes of what is known of the calls at this record; nothing if nothing is, or there is no memory for it.
    pub fn ejection<T>(&self, number: u32, act: impl FnOnce(&mut Ejection) -> T) -> Option<T> {
        let entry = self.entries.get(number)?;
        let mut known = entry.calls.lock();
        let Calls(known) = &mut **known.as_mut()?;
        known.follow(entry.record.epoch(), entry.record.flags().in_ejection());
        Some(act(known))
    }

    /// The same, of a record of whose calls nothing may be known yet.
    pub fn first_ejection<T>(&self, number: u32, act: impl FnOnce(&mut Ejection) -> T) -> Option<T> {
        {
            let mut known = self.entries.get(number)?.calls.lock();
            if known.is_none() {
                // Without memory for it, the next call tries again.
                *known = Boxed::try_new_in(Calls::default(), self.alloc).ok();
            }
        }
        self.ejection(number, act)
    }

    /// Puts it out for some seconds, if it is as it was in this epoch, and its set can do without it.
    pub fn eject(
        &self,
        (number, epoch): (u32, u32),
        why: Why,
        (micros, wall): Time,
        rules: &Rules,
    ) -> Option<u32> {
        let (record, ranks) = self.ranked(number)?;
        let again = why == Why::Trial;
        let out = |record: &Record| {
            self.ejection(number, |known| {
                let fits = match known.phase() {
                    Phase::In => !again && record.flags().usable(),
                    Phase::Trial { .. } => again,
                    Phase::Out(_) => false,
                };
                let fits = fits && record.epoch() == epoch;
                fits.then(|| known.put_out(why, record.put_out(), micros, rules))
            })?
        };
        let seconds = ranks.step_ejection(self, record, (!again).then_some(rules.most), out)?;
        record.lock().changed = wall;
        Some(seconds)
    }

    /// Its time is over: a few calls may go there.
    pub fn try_out(&self, number: u32, micros: u64, rules: &Rules) {
        self.turn(number, |record, known| {
            if known.is_over(micros) {
                known.try_out(record.try_out(rules.trial), micros);
            } else if known.is_late(micros, rules) {
                record.let_come(known.renew(micros, rules));
            }
        });
    }

    /// A call of its trial says nothing: another may go there.
    pub fn try_once_more(&self, number: u32) {
        self.turn(number, |record, known| {
            if matches!(known.phase(), Phase::Trial { .. }) {
                record.let_one_come();
            }
        });
    }

    /// Its trial is passed, if it is as it was in this epoch.
    pub fn put_back(&self, (number, epoch): (u32, u32), (micros, wall): Time) {
        self.turn(number, |record, known| {
            if matches!(known.phase(), Phase::Trial { .. }) && record.epoch() == epoch {
                known.put_back(record.put_back(), micros);
            }
        });
        self.record(number).into_iter().for_each(|record| record.lock().changed = wall);
    }

    fn turn(&self, number: u32, change: impl FnOnce(&Record, &mut Ejection)) {
        let Some((record, ranks)) = self.ranked(number) else { return };
        let change = |record: &Record| self.ejection(number, |known| change(record, known));
        ranks.step_ejection(self, record, None, change);
    }

    /// Where no line takes calls, those serve again that are ejected. Whether there are some.
    pub fn serve_anyway(&self, ranks: &Ranks<A>, micros: u64) -> bool {
        ranks.put_all_back(self, |number, record| {
            let back = |known: &mut Ejection| known.put_back(record.put_back(), micros);
            if self.ejection(number, back).is_none() {
                record.put_back();
            }
        })
    }
}
