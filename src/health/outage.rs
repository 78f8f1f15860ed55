//! A name that does not resolve: how long its destination stays up.

use crate::dest::Flags;

/// An outage of a destination's name, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outage {
    /// Since when, in microseconds of a clock that only goes forward; 0 is none.
    pub since: u64,
    /// It has changed the state once. Later reports count and are not overwritten.
    pub told: bool,
    /// The destination is down because of it, and for no other reason.
    pub down: bool,
}

/// The situation of a destination whose name does not resolve.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The name has resolved before: its last addresses stay in use.
    pub known: bool,
    /// For how many microseconds; `None` is without end.
    pub hold: Option<u64>,
    /// One that is down for it is probed then.
    pub probed_when_down: bool,
}

impl Outage {
    /// The name resolves: the flags after that, if they change. A destination that is probed comes back by its probes.
    pub fn over(&mut self, flags: Flags, probed: bool) -> Option<Flags> {
        let was_down = core::mem::take(self).down;
        (was_down && !probed && flags.has(Flags::INACTIVE)).then(|| flags.without(Flags::INACTIVE))
    }

    /// The name does not resolve at `now`: the flags after that, if they change.
    pub fn goes_on(&mut self, flags: Flags, now: u64, terms: Terms) -> Option<Flags> {
        if self.since == 0 {
            self.since = now;
        }
        let lasted = now.saturating_sub(self.since);
        let too_long = !terms.known || terms.hold.is_some_and(|hold| lasted >= hold);
        if !too_long || core::mem::replace(&mut self.told, true) || !flags.serves() {
            return None;
        }
        self.down = true;
        let down = flags.without(Flags::TRYING).with(Flags::INACTIVE);
        let probing = terms.probed_when_down && !flags.has(Flags::NO_PING);
        Some(if probing { down.with(Flags::PROBING) } else { down })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Terms = Terms { known: true, hold: Some(100), probed_when_down: false };
    const UP: Flags = Flags(0);
    const DOWN: Flags = Flags::INACTIVE;

    #[test]
    fn a_destination_goes_down_when_the_hold_is_over_and_comes_back_with_its_name() {
        let mut outage = Outage::default();
        assert_eq!(outage.goes_on(UP, 1, HOLD), None);
        assert_eq!(outage.goes_on(UP, 100, HOLD), None);
        assert_eq!(outage.goes_on(UP, 101, HOLD), Some(DOWN));
        assert_eq!(outage.over(DOWN, false), Some(UP));
        assert_eq!(outage, Outage::default());
    }

    #[test]
    fn a_name_that_never_meant_anything_has_no_hold_and_one_without_an_end_stays() {
        let never = Terms { known: false, ..HOLD };
        assert_eq!(Outage::default().goes_on(UP, 1, never), Some(DOWN));
        let for_ever = Terms { hold: None, ..HOLD };
        let mut outage = Outage::default();
        outage.goes_on(UP, 1, for_ever);
        assert_eq!(outage.goes_on(UP, u64::MAX, for_ever), None);
    }

    #[test]
    fn what_somebody_says_during_an_outage_counts() {
        let mut outage = Outage { since: 1, told: true, down: false };
        assert_eq!(outage.goes_on(UP, 1000, HOLD), None);
        assert_eq!(outage.over(DOWN, false), None);
    }

    #[test]
    fn one_that_is_probed_comes_back_by_its_probes() {
        let mut outage = Outage::default();
        let probed = Terms { known: false, probed_when_down: true, ..HOLD };
        assert_eq!(outage.goes_on(UP, 1, probed), Some(DOWN.with(Flags::PROBING)));
        assert_eq!(outage.over(DOWN.with(Flags::PROBING), true), None);
        assert_eq!(Outage::default().goes_on(Flags::NO_PING, 1, probed), Some(DOWN.with(Flags::NO_PING)));
    }
}
