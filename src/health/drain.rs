//! When a drain is over: the destination is empty, or its time has come.

/// Microseconds after its begin in which an empty destination does not count as empty: a call may have been chosen for it just before, and
/// not be counted yet.
const SETTLES: u64 = 200_000;

/// In a word: it has no end but that of the last call.
const NO_END: u64 = UNCOUNTED - 1;
/// In a word: calls are not counted there.
const UNCOUNTED: u64 = 1 << 63;

/// A drain that is under way. Times are microseconds of a clock that only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drain {
    /// When it began.
    pub began: u64,
    /// When it is over, whatever calls there are; `None` is when the last one ends.
    pub ends: Option<u64>,
    /// Calls are not counted there: nobody can tell when it is empty.
    pub uncounted: bool,
}

impl Drain {
    /// Begins now, and lasts so many seconds at most.
    pub fn begin(now: u64, seconds: Option<u32>, uncounted: bool) -> Self {
        let ends = seconds.map(|seconds| now.saturating_add(u64::from(seconds) * 1_000_000));
        Self { began: now, ends, uncounted }
    }

    /// As one word, but for its begin.
    pub fn word(&self) -> u64 {
        self.ends.map_or(NO_END, |ends| ends.min(NO_END - 1)) | if self.uncounted { UNCOUNTED } else { 0 }
    }

    /// What [`Drain::word`] made, as if it had begun at `began`.
    pub fn of_word(word: u64, began: u64) -> Self {
        let ends = Some(word & !UNCOUNTED).filter(|ends| *ends != NO_END);
        Self { began, ends, uncounted: word & UNCOUNTED != 0 }
    }

    /// Whether it is over while the destination has so many calls; `Some(true)` because none is left.
    pub fn over(&self, calls: u32, now: u64) -> Option<bool> {
        let empty = calls == 0 && !self.uncounted && now.saturating_sub(self.began) >= SETTLES;
        let late = self.ends.is_some_and(|ends| now >= ends);
        (empty || late).then_some(empty)
    }

    /// Seconds that are left, a part of one as a whole one.
    pub fn left(&self, now: u64) -> Option<u32> {
        let left = self.ends?.saturating_sub(now).div_ceil(1_000_000);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn it_is_over_when_no_call_is_left_or_its_time_has_come() {
        let drain = Drain::begin(SECOND, Some(10), false);
        assert_eq!(drain.over(1, 2 * SECOND), None);
        assert_eq!(drain.over(0, 2 * SECOND), Some(true));
        assert_eq!(drain.over(1, 11 * SECOND - 1), None);
        assert_eq!(drain.over(1, 11 * SECOND), Some(false));
        assert_eq!(drain.over(0, 11 * SECOND), Some(true));
        let endless = Drain::begin(SECOND, None, false);
        assert_eq!((endless.over(1, u64::MAX), endless.left(SECOND)), (None, None));
    }

    #[test]
    fn a_call_that_was_chosen_just_before_has_time_to_be_counted() {
        let drain = Drain::begin(SECOND, None, false);
        assert_eq!(drain.over(0, SECOND + SETTLES - 1), None);
        assert_eq!(drain.over(0, SECOND + SETTLES), Some(true));
    }

    #[test]
    fn where_calls_do_not_count_only_its_time_ends_it() {
        let drain = Drain::begin(0, Some(60), true);
        assert_eq!((drain.over(0, 59 * SECOND), drain.over(0, 60 * SECOND)), (None, Some(false)));
    }

    #[test]
    fn a_word_has_all_but_the_begin() {
        for (seconds, uncounted) in [(None, false), (None, true), (Some(0), false), (Some(u32::MAX), true)] {
            let drain = Drain::begin(77, seconds, uncounted);
            assert_eq!(Drain::of_word(drain.word(), 77), drain);
        }
    }

    #[test]
    fn what_is_left_is_in_whole_seconds() {
        let drain = Drain::begin(0, Some(60), true);
        let left = [0, 1, SECOND, 59 * SECOND + 1, 60 * SECOND, 99 * SECOND].map(|now| drain.left(now));
        assert_eq!(left, [60, 60, 59, 1, 0, 0].map(Some));
    }
}
