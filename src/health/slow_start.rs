//! Slow start: a destination that comes back, or is added, gets little of what it may have, then more and more.
//!
//! Model: a ramp rises from [`FLOOR`] to [`FULL`] percent of a fair share in its time. Where calls are counted, a second phase follows in which it gets
//! [`CATCHING_UP`] percent at most, until its load is level with the others'. A share is counted in choices, not in time: with ten destinations
//! and 50 percent every twentieth choice may be its own, however often calls come.

/// Percent of its fair share at the begin.
pub const FLOOR: u32 = 10;
/// All of it.
pub const FULL: u32 = 100;
/// What it gets at most after the ramp, until it is level: so much less than twice its share that it has no more than that in any few seconds, though
/// calls are whole.
pub const CATCHING_UP: u32 = 190;

/// Turns are counted in so small parts of a choice, as a power of two: a fair share need not be a whole number of choices.
pub const PARTS: u32 = 8;

/// Percent of its fair share after so many nanoseconds of a ramp of so many seconds; nothing once that is over.
pub fn percent(elapsed: u64, seconds: u32) -> Option<u32> {
    let whole = u128::from(seconds) * 1_000_000_000;
    let risen = (u128::from(FULL - FLOOR) * u128::from(elapsed)).checked_div(whole)?;
    u32::try_from(risen).ok().map(|risen| FLOOR + risen).filter(|percent| *percent < FULL)
}

/// Seconds that are left of a ramp of so many, rounded up, after so many nanoseconds.
pub fn left(elapsed: u64, seconds: u32) -> u32 {
    let gone = elapsed / 1_000_000_000;
    seconds.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX))
}

/// From one of its choices to the next one that it may have, in parts of a choice: where the one of a fair share would be `fair` parts later, and
/// it may have so many percent of that.
pub fn gap(fair: u64, percent: u32) -> u64 {
    let gap = (u128::from(fair) * u128::from(FULL)).div_ceil(u128::from(percent.max(1)));
    u64::try_from(gap).unwrap_or(u64::MAX >> PARTS)
}

/// From where the gap counts once it has had a choice, after so many of all, where it was due after `due` (in parts). What it waited
/// longer than it had to because choices are whole is not lost, and no more than that is saved.
pub fn counted_from(due: u64, choices: u64) -> u64 {
    due.clamp(choices.saturating_sub(1) << PARTS, choices << PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_ramp_rises_from_a_tenth_to_all_in_its_time() {
        let at = |second: u64| percent(second * SECOND, 60);
        assert_eq!([0, 30, 59].map(at), [Some(10), Some(55), Some(98)]);
        assert_eq!([percent(60 * SECOND, 60), percent(u64::MAX, 60), percent(0, 0)], [None; 3]);
        let lefts =
            [0, SECOND - 1, SECOND, 59 * SECOND, 60 * SECOND, u64::MAX].map(|elapsed| left(elapsed, 60));
        assert_eq!(lefts, [60, 60, 59, 1, 0, 0]);
    }

    proptest! {
        #[test]
        fn time_that_goes_on_never_takes_anything_away(seconds: u32, one: u64, more: u64) {
            let value = |elapsed| percent(elapsed, seconds).unwrap_or(FULL);
            prop_assert!(value(one) <= value(one.saturating_add(more)));
            prop_assert!((FLOOR..=FULL).contains(&value(one)));
        }

        /// With a choice whenever one is due, no run of choices has more than the share and one, and none is lost by rounding.
        #[test]
        fn a_share_is_kept_in_every_run_of_choices(among in 1u64..40, percent in FLOOR..=CATCHING_UP, runs in 1u64..3_000) {
            let gap = gap(among << PARTS, percent);
            let (mut due, mut had) = (gap, 0u64);
            for choice in 1..=runs {
                if due <= choice << PARTS {
                    had += 1;
                    due = counted_from(due, choice) + gap;
                }
            }
            let share = runs as f64 * f64::from(percent) / 100.0 / among as f64;
            prop_assert!(had as f64 <= share + 1.0, "{had}, {share}");
            prop_assert!(had as f64 >= share.min(runs as f64) * 0.97 - 2.0, "{had}, {share}");
        }
    }
}
