//! What failed calls weigh, in the record of their destination: see [`crate::select::penalty`].

use super::record::Record;
use crate::select::penalty::Penalty;
use crate::shm::atomic::Ordering;

impl Record {
    /// Calls that it is ranked by beyond its load, because it has failed some.
    #[inline]
    pub fn penalty(&self) -> u32 {
        self.penalty.load(Ordering::Relaxed)
    }

    /// Whether it has any.
    pub(super) fn has_penalty(&self) -> bool {
        self.penalty_word.load(Ordering::Relaxed) != 0
    }

    /// What is left of it now, where `half` is gone after so many nanoseconds.
    pub(super) fn penalty_at(&self, now: u64, half: u64) -> Penalty {
        let passed = now.saturating_sub(self.penalty_of.load(Ordering::Relaxed));
        Penalty::of_word(self.penalty_word.load(Ordering::Relaxed)).after(passed, half)
    }

    /// With the board of its set locked, or while it has no line there.
    pub(super) fn set_penalty(&self, penalty: Penalty, now: u64) {
        self.penalty.store(penalty.calls(), Ordering::Relaxed);
        self.penalty_word.store(penalty.word(), Ordering::Relaxed);
        self.penalty_of.store(now, Ordering::Relaxed);
    }
}
