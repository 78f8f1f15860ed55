//! Whether a gateway has failed a call, and on which of its branches.

use super::leg::{Leg, Way};

/// Whether an INVITE that ended with this status was failed by the gateway. 408 is no answer, the host's own word or a gateway's; after
/// a `provisional` answer somebody did not pick up, which is nobody's fault.
pub const fn is_failure(status: u16, provisional: bool) -> bool {
    matches!(status, 500..=599) || status == 408 && !provisional
}

/// The branches on which gateways have failed, a bit each. The last bit stands for requests that went out without a transaction that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures(u32);

impl Failures {
    /// None has.
    pub const NONE: Self = Self(0);
    /// The gateway has to which the request went without a transaction that is watched.
    pub const UNWATCHED: Self = Self(1 << 31);

    /// The one of the branch of this number.
    pub const fn on(branch: u16) -> Self {
        Self(1 << if branch < 30 { branch } else { 30 })
    }

    /// Those on the branches of these numbers, each with its status and whether a provisional answer came.
    pub fn of(branches: impl Iterator<Item = (u16, u16, bool)>) -> Self {
        let failed = branches.filter(|(_, status, provisional)| is_failure(*status, *provisional));
        Self(failed.fold(0, |all, (branch, ..)| all | Self::on(branch).0))
    }

    /// Whether none has.
    pub const fn are_none(self) -> bool {
        self.0 == 0
    }

    /// Whether this leg's gateway is one of them.
    pub const fn has(self, leg: Leg) -> bool {
        let bit = match leg.way() {
            Way::On(branch) => Self::on(branch.number()),
            Way::Ahead | Way::Unwatched => Self::UNWATCHED,
        };
        self.0 & bit.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::leg::{Branch, Transaction};
    use super::*;

    #[test]
    fn five_hundreds_and_no_answer_are_failures_and_what_callees_say_is_none() {
        let failures: Vec<u16> = (300..700).filter(|status| is_failure(*status, false)).collect();
        let expected: Vec<u16> = core::iter::once(408).chain(500..600).collect();
        assert_eq!(failures, expected);
        assert!(!is_failure(408, true) && is_failure(503, true) && !is_failure(0, false));
    }

    #[test]
    fn a_failure_is_of_its_branch() {
        let leg = |way| Leg::new(1, way, 1, 0);
        let on = |number| leg(Way::On(Branch::of(Transaction::of(1, 2), number)));
        let failures =
            Failures::of([(0, 503, false), (1, 486, true), (2, 408, true), (40, 408, false)].into_iter());
        assert_eq!(
            [0, 1, 2, 30, 29].map(|number| failures.has(on(number))),
            [true, false, false, true, false]
        );
        assert!(!failures.has(leg(Way::Unwatched)) && !failures.are_none() && Failures::NONE.are_none());
        assert!(Failures::UNWATCHED.has(leg(Way::Ahead)) && !(0..31).any(|n| Failures::UNWATCHED.has(on(n))));
    }
}
