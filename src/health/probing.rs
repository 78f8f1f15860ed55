//! Which destinations are probed, and the state after an answer to a probe: `ds_probing_mode`.

use super::mark::{Thresholds, mark};
use crate::dest::Flags;

/// `ds_probing_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbingMode {
    /// 0: those with the probing flag, once; the first answer takes the flag away.
    Once,
    /// 1: all.
    All,
    /// 2: inactive ones with the probing flag, until they are active.
    Inactive,
    /// 3: those with the probing flag, on and on.
    Flagged,
}

impl ProbingMode {
    /// The mode of this number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Once, Self::All, Self::Inactive, Self::Flagged].get(usize::try_from(number).ok()?).copied()
    }

    /// Whether a destination with these flags is probed now. One that an operator disabled, or that has the flag for no
    /// probes, never is.
    pub fn probes(self, flags: Flags) -> bool {
        if flags.has(Flags::DISABLED) || flags.has(Flags::NO_PING) {
            return false;
        }
        match self {
            Self::All => true,
            Self::Once | Self::Flagged => flags.has(Flags::PROBING),
            Self::Inactive => flags.has(Flags::PROBING.with(Flags::INACTIVE)),
        }
    }

    /// What a script that says no state reports.
    pub fn mark(self) -> Flags {
        if self == Self::All { Flags::INACTIVE.with(Flags::PROBING) } else { Flags::INACTIVE }
    }
}

/// The state and the streak after a probe succeeded or failed. `None` if the destination is no longer probed: the answer is
/// ignored, so what an operator disabled stays disabled.
pub fn answered(
    mode: ProbingMode,
    flags: Flags,
    streak: u32,
    good: bool,
    thresholds: Thresholds,
) -> Option<(Flags, u32)> {
    if !mode.probes(flags) {
        return None;
    }
    let goes_on = if good {
        matches!(mode, ProbingMode::All | ProbingMode::Flagged)
    } else {
        mode != ProbingMode::Once
    };
    let report = if good { Flags::default() } else { Flags::TRYING };
    let report = if goes_on { report.with(Flags::PROBING) } else { report };
    Some(mark(flags, streak, report, thresholds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ProbingMode; 4] =
        [ProbingMode::Once, ProbingMode::All, ProbingMode::Inactive, ProbingMode::Flagged];
    const AT_ONCE: Thresholds = Thresholds { failures: 1, replies: 1 };

    #[test]
    fn a_mode_says_who_is_probed() {
        let probed = |flags: u32| ALL.map(|mode| mode.probes(Flags(flags)));
        assert_eq!(probed(0), [false, true, false, false]);
        assert_eq!(probed(1), [false, true, false, false]);
        assert_eq!(probed(8), [true, true, false, true]);
        assert_eq!(probed(1 | 8), [true; 4]);
        assert_eq!(probed(4 | 8), [false; 4]);
        assert_eq!(probed(1 | 8 | 32), [false; 4]);
    }

    #[test]
    fn an_answer_after_the_end_of_probing_means_nothing() {
        for mode in ALL {
            for good in [true, false] {
                assert_eq!(answered(mode, Flags(1 | 4 | 8), 0, good, AT_ONCE), None);
            }
        }
        assert_eq!(answered(ProbingMode::Flagged, Flags::INACTIVE, 0, true, AT_ONCE), None);
    }

    #[test]
    fn the_first_mode_probes_once() {
        assert_eq!(answered(ProbingMode::Once, Flags(8), 0, true, AT_ONCE), Some((Flags(0), 0)));
        assert_eq!(answered(ProbingMode::Once, Flags(8), 0, false, AT_ONCE), Some((Flags(1), 0)));
    }

    #[test]
    fn options_stay() {
        assert_eq!(answered(ProbingMode::All, Flags(16), 0, false, AT_ONCE), Some((Flags(16 | 8 | 1), 0)));
    }
}
