//! What failed calls weigh in the ranks of algorithms 10 and 100, so that a gateway which fails calls at once does not look idle.
//!
//! Model: a failed call is as a number of calls that are not there. The first adds a quarter of what the others have in the mean, at least one call,
//! and each one more doubles what is left from before, so that a gateway which takes nothing is as loaded as the others after three of
//! them. Half of it is gone after a time that the operator gives: in the long run such a gateway gets one call in about that time, whatever the traffic.

/// What failed calls weigh now, in parts of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Penalty(u32);

/// Parts of a call.
const CALL: u64 = 1 << 10;
/// The part of the level that a failure adds.
const SHARE: u64 = 4;
/// The most, in levels: after many failures at one time a gateway is back within two halvings all the same. With more, one that is silent gets
/// fewer calls (`make simulate`: 4.2 % in the place of 5.6 % with 8, where half is gone after ten seconds), and waits longer.
const MOST: u64 = 4;

impl Penalty {
    /// From the word of [`Penalty::word`].
    pub const fn of_word(word: u32) -> Self {
        Self(word)
    }

    /// As a word; 0 is none.
    pub const fn word(self) -> u32 {
        self.0
    }

    /// In whole calls.
    pub const fn calls(self) -> u32 {
        ((self.0 as u64 + CALL / 2) / CALL) as u32
    }

    /// What is left of it after so long, where `half` is gone after that time. What rounds to no call is none.
    pub fn after(self, passed: u64, half: u64) -> Self {
        if self.0 == 0 || half == 0 {
            return Self(0);
        }
        let left = f64::from(self.0) * (-(passed as f64) / half as f64).exp2();
        let left = Self(left as u32);
        if left.calls() == 0 { Self(0) } else { left }
    }

    /// After one failure more, where others have this `level` of calls.
    pub fn failed(self, level: u32) -> Self {
        let next = 2 * u64::from(self.0) + (u64::from(level) * CALL / SHARE).max(CALL);
        Self(next.min(u32::MAX.into()) as u32).within(level)
    }

    /// As much of it as may be at this `level`: so where all fail, none keeps more than the others from a time with more calls.
    pub fn within(self, level: u32) -> Self {
        let most = MOST * CALL * u64::from(level.max(1));
        Self(u64::from(self.0).min(most) as u32)
    }
}

/// The level of a set: what those have in the mean that have room and have not failed more calls than they have; of all that have room, where
/// there are none such.
#[derive(Debug, Clone, Copy, Default)]
pub struct Level {
    /// Calls, calls relative to what each may have, and how many they are.
    sound: (f64, f64, f64),
    all: (f64, f64, f64),
}

impl Level {
    /// Looks at one more that has room, with its load, its penalty in calls, and what it may have beside others.
    pub fn add(&mut self, load: u32, penalty: u32, capacity: u32) {
        let add = |sum: &mut (f64, f64, f64)| {
            sum.0 += f64::from(load);
            sum.1 += f64::from(load) / f64::from(capacity.max(1));
            sum.2 += 1.0;
        };
        add(&mut self.all);
        if penalty <= load {
            add(&mut self.sound);
        }
    }

    /// The calls that one would have which may have so many beside the others. By calls, and where loads are `relative` by those, if
    /// that is more.
    pub fn of(&self, capacity: u32, relative: bool) -> u32 {
        let (calls, ratios, count) = if self.sound.2 > 0.0 { self.sound } else { self.all };
        if count == 0.0 {
            return 0;
        }
        let sized = if relative { ratios / count * f64::from(capacity) } else { 0.0 };
        (calls / count).max(sized).ceil() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    /// So many failures at one time.
    fn row(failures: usize, level: u32) -> u32 {
        (0..failures).fold(Penalty::default(), |penalty, _| penalty.failed(level)).calls()
    }

    #[test]
    fn one_failure_weighs_a_quarter_and_three_more_than_all() {
        assert_eq!([1, 2, 3, 4, 9].map(|failures| row(failures, 100)), [25, 75, 175, 375, 400]);
        assert_eq!([1, 2, 3, 9].map(|failures| row(failures, 0)), [1, 3, 4, 4]);
        assert_eq!([1, 2, 3].map(|failures| row(failures, 2)), [1, 3, 7]);
    }

    #[test]
    fn the_level_is_of_those_that_do_not_fail() {
        let mut level = Level::default();
        assert_eq!(level.of(1, true), 0);
        level.add(3, 4, 10);
        assert_eq!(level.of(1, false), 3, "there is no other");
        level.add(60, 20, 100);
        level.add(30, 0, 50);
        assert_eq!([level.of(1, false), level.of(1_000, true), level.of(1, true)], [45, 600, 45]);
    }

    proptest! {
        #[test]
        fn it_falls_between_failures_rises_by_them_and_has_a_bound(
            steps in proptest::collection::vec((0u64..20 * SECOND, 0u32..5_000_000), 1..60), half in 1u64..100 * SECOND
        ) {
            let mut penalty = Penalty::default();
            for (passed, level) in steps {
                let after = penalty.after(passed, half);
                prop_assert!(after <= penalty);
                penalty = after.failed(level);
                prop_assert!(penalty >= after.within(level) && penalty.calls() >= 1);
                prop_assert!(penalty.calls() <= 4 * level.max(1) && penalty.within(level) == penalty);
                prop_assert!(penalty.after(half, half).calls() <= penalty.calls() / 2 + 1);
            }
            prop_assert_eq!(penalty.after(24 * half, half), Penalty::default());
        }

        #[test]
        fn often_in_small_steps_is_as_once(word in 1u32..100_000_000, steps in 1u64..200) {
            let (start, half) = (Penalty::of_word(word), 5 * SECOND);
            let once = start.after(steps * SECOND / 4, half).calls();
            let often = (0..steps).fold(start, |penalty, _| penalty.after(SECOND / 4, half)).calls();
            prop_assert!(once.abs_diff(often) <= 1, "{} {}", once, often);
        }
    }
}
