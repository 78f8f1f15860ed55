//! The state of a destination after a report about it.

use crate::dest::Flags;

/// How many reports in a row it takes.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// `ds_probing_threshold`: failures until a trying destination is inactive.
    pub failures: u32,
    /// `ds_inactive_threshold`: replies until an inactive destination is active.
    pub replies: u32,
}

/// The state and the streak of reports after `report`.
///
/// | report   | active or trying                            | inactive                                   |
/// |----------|---------------------------------------------|--------------------------------------------|
/// | trying   | trying; at the threshold inactive           | inactive                                   |
/// | inactive | inactive                                    | inactive                                   |
/// | active   | active                                      | inactive; at the threshold active          |
///
/// The report `disabled` disables at once. The destination stays disabled until a report says active.
/// Probing goes with the report, except that an inactive destination which waits for more replies keeps being probed.
pub fn mark(old: Flags, streak: u32, report: Flags, thresholds: Thresholds) -> (Flags, u32) {
    let options = old.without(Flags::STATES);
    if report.has(Flags::DISABLED) {
        return (options.with(Flags::DISABLED), 0);
    }
    let failure = report.has(Flags::TRYING) || report.has(Flags::INACTIVE);
    if failure && old.has(Flags::DISABLED) {
        return (old, streak);
    }
    let probing = Flags(report.0 & Flags::PROBING.0);
    let (was_down, streak_after) = (old.has(Flags::INACTIVE), streak.saturating_add(1));
    let state = |flags: Flags| options.with(flags).with(probing);
    if report.has(Flags::TRYING) {
        if was_down || streak_after >= thresholds.failures {
            return (state(Flags::INACTIVE), 0);
        }
        return (state(Flags::TRYING), streak_after);
    }
    if report.has(Flags::INACTIVE) {
        return (state(Flags::INACTIVE), 0);
    }
    if was_down && streak_after < thresholds.replies {
        let still = Flags(old.0 & Flags::PROBING.0);
        return (state(Flags::INACTIVE).with(still), streak_after);
    }
    (state(Flags::default()), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Flags = Flags(0);
    const DOWN: Flags = Flags::INACTIVE;
    const TRY: Flags = Flags::TRYING;

    fn run(mut state: (Flags, u32), reports: &[Flags], failures: u32, replies: u32) -> Vec<Flags> {
        let step = |report: &Flags| {
            state = mark(state.0, state.1, *report, Thresholds { failures, replies });
            state.0
        };
        reports.iter().map(step).collect()
    }

    #[test]
    fn failures_in_a_row_make_a_trying_destination_inactive() {
        assert_eq!(run((UP, 0), &[TRY, TRY, TRY], 3, 1), [TRY, TRY, DOWN]);
        assert_eq!(run((UP, 0), &[TRY, TRY, UP, TRY, TRY], 3, 1), [TRY, TRY, UP, TRY, TRY]);
    }

    #[test]
    fn replies_in_a_row_bring_an_inactive_destination_back() {
        let probed = DOWN.with(Flags::PROBING);
        assert_eq!(run((probed, 0), &[UP, UP], 1, 2), [probed, UP]);
        assert_eq!(run((DOWN, 0), &[UP, TRY, UP, UP], 1, 2), [DOWN, DOWN, DOWN, UP]);
    }

    #[test]
    fn disabled_is_disabled_at_once_and_options_stay() {
        assert_eq!(
            mark(Flags(16), 2, Flags(4 | 8), Thresholds { failures: 1, replies: 1 }),
            (Flags(16 | 4), 0)
        );
        assert_eq!(run((Flags(16), 0), &[DOWN], 1, 1), [Flags(16 | 1)]);
    }

    #[test]
    fn a_failure_does_not_lift_what_an_operator_disabled() {
        let disabled = Flags::DISABLED;
        assert_eq!(run((disabled, 0), &[TRY, DOWN, UP], 1, 1), [disabled, disabled, UP]);
    }
}
