//! Calls a second: a limit on new calls, kept exactly by one number.
//!
//! Model: the generic cell rate algorithm. Each call takes a token, and a token comes back each `1 / cps` seconds, up to as many as the
//! burst. The number is when all tokens are back (`due`): a call moves it on by the time of one token, and may come while it is
//! not further ahead than the time of all tokens but one.
//!
//! Invariant: in any second, wherever it begins, there are at most `cps` calls and the burst.
//!
//! Not here: the clock. Times are nanoseconds of any clock that only goes forward.

/// A limit on new calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// Calls a second; 0 is no limit.
    pub cps: u32,
    /// Calls that may come at once; at least 1 where there is a limit.
    pub burst: u32,
}

const SECOND: u64 = 1_000_000_000;

impl Rate {
    /// Whether it limits anything.
    pub const fn limits(self) -> bool {
        self.cps != 0
    }

    /// How long one token takes to come back, rounded up: so the limit is never passed.
    const fn token(self) -> u64 {
        SECOND.div_ceil(if self.cps == 0 { 1 } else { self.cps as u64 })
    }

    /// From when on a call may come.
    pub const fn opens(self, due: u64) -> u64 {
        due.saturating_sub((self.burst as u64).saturating_sub(1) * self.token())
    }

    /// A call comes now: when all tokens are back after that. None if it may not.
    pub fn take(self, due: u64, now: u64) -> Option<u64> {
        (self.opens(due) <= now).then(|| due.max(now) + self.token())
    }

    /// When all tokens are back that were taken by another limit: as many of them as this one has.
    pub fn carried(self, due: u64, before: Self, now: u64) -> u64 {
        if self == before || due <= now {
            return due;
        }
        let taken = (due - now).div_ceil(before.token()).min(self.burst.into());
        now + taken * self.token()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Calls that come at these times, in this order: those that may.
    fn taken(rate: Rate, times: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut due = 0;
        let may = |&now: &u64| rate.take(due, now).map(|next| due = next).is_some();
        times.into_iter().filter(may).collect()
    }

    /// The most of these, which need not be in order, in one second.
    fn most_in_a_second(mut times: Vec<u64>) -> usize {
        times.sort_unstable();
        let until = |from: usize| times.partition_point(|time| *time <= times[from] + SECOND) - from;
        (0..times.len()).map(until).max().unwrap_or(0)
    }

    #[test]
    fn a_burst_goes_at_once_and_then_one_each_interval() {
        let rate = Rate { cps: 50, burst: 10 };
        let start = 7 * SECOND;
        assert_eq!(taken(rate, [start; 30]).len(), 10);
        // A thousand a second for two seconds: the burst, and 50 in each.
        let offered = (0..2000).map(|n| start + n * SECOND / 1000);
        assert_eq!(taken(rate, offered).len(), 10 + 2 * 50 - 1);
        // After a rest there are no more tokens than the burst.
        let mut times = vec![start; 10];
        times.extend([start + 60 * SECOND; 30]);
        assert_eq!(taken(rate, times).len(), 20);
        assert_eq!(
            taken(Rate { cps: 1, burst: 1 }, [start, start + 1, start + SECOND - 1, start + SECOND]),
            [start, start + SECOND]
        );
    }

    #[test]
    fn none_is_refused_that_the_limit_allows() {
        // As fast as the limit is, each passes.
        for cps in [1, 3, 7, 50, 999, 123_457] {
            let rate = Rate { cps, burst: 1 };
            let offered: Vec<u64> = (0..500).map(|n| SECOND + n * rate.token()).collect();
            assert_eq!(taken(rate, offered.clone()), offered, "{cps}");
            assert_eq!(rate.opens(rate.take(0, SECOND).unwrap()), SECOND + rate.token());
        }
    }

    #[test]
    fn another_limit_counts_at_once_and_what_was_taken_stays_taken() {
        let (slow, fast) = (Rate { cps: 1, burst: 5 }, Rate { cps: 100, burst: 20 });
        let now = 9 * SECOND;
        let due = (0..5).fold(0, |due, _| slow.take(due, now).unwrap());
        // Five of twenty are taken.
        assert_eq!(fast.carried(due, slow, now), now + 5 * fast.token());
        // All are taken of the smaller one, not more.
        let due = (0..20).fold(0, |due, _| fast.take(due, now).unwrap());
        assert_eq!(slow.carried(due, fast, now), now + 5 * slow.token());
        assert_eq!((fast.carried(due, fast, now), slow.carried(now, fast, now)), (due, now));
        assert_eq!(slow.carried(due, Rate::default(), now), now + slow.token());
    }

    proptest! {
        /// By clocks, too, that differ between those who ask: the times need not be in order.
        #[test]
        fn no_second_has_more_than_the_limit_and_the_burst(
            cps in 1u32..400,
            burst in 1u32..50,
            steps in prop::collection::vec((0u64..40_000_000, -3_000_000i64..3_000_000), 1..2000),
        ) {
            let rate = Rate { cps, burst };
            let mut now = SECOND;
            let times = steps.into_iter().map(|(step, off)| {
                now += step;
                now.saturating_add_signed(off)
            });
            let times: Vec<u64> = times.collect();
            prop_assert!(most_in_a_second(taken(rate, times)) <= (cps + burst) as usize);
        }

        #[test]
        fn a_change_of_the_limit_never_gives_more_than_the_new_burst_at_once(
            rates in prop::collection::vec((1u32..2000, 1u32..100), 2..8),
            now in SECOND..100 * SECOND,
        ) {
            let (mut due, mut before) = (0, Rate::default());
            for (cps, burst) in rates {
                let rate = Rate { cps, burst };
                due = rate.carried(due, before, now);
                let mut got = 0;
                while let Some(next) = rate.take(due, now) {
                    (due, got) = (next, got + 1);
                }
                prop_assert!(got <= burst, "{got} of {burst}");
                before = rate;
            }
        }
    }
}
