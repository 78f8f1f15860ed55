//! When a change of state is an event: `event_callback_mode`.

use crate::dest::Flags;

/// `event_callback_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Events {
    /// 0: changes found by probes and made by scripts.
    Changes,
    /// 1: changes found by probes.
    OfProbes,
    /// 2: as 0, and the first finding about a destination even if it changes nothing.
    FirstToo,
}

/// Who changed a state. An operator's RPC command makes no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A probe, or what became of its name.
    Probe,
    /// A script function.
    Script,
}

/// A destination goes up or down, or a drain of it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // as the event routes are called
pub enum DestinationEvent {
    Up,
    Down,
    Drained,
}

impl Events {
    /// The mode of this number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Changes, Self::OfProbes, Self::FirstToo].get(usize::try_from(number).ok()?).copied()
    }

    /// The event that a change is, if it is one. `first`: nothing was known of the destination before.
    pub fn event(self, by: By, from: Flags, to: Flags, first: bool) -> Option<DestinationEvent> {
        if self == Self::OfProbes && by == By::Script {
            return None;
        }
        // One that waits for its name to be looked up does not go up with that: nobody was told that it was down. Nor does one go
        // down that is drained: what is told of that is its end.
        // One that is ejected was told to be down, and is until that is over.
        let [from, to] =
            [from, to].map(|flags| flags.without(Flags::OWN.without(Flags::EJECTION)).in_service());
        let changed = from != to || first && self == Self::FirstToo;
        changed.then_some(if to { DestinationEvent::Up } else { DestinationEvent::Down })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Flags = Flags(8);
    const DOWN: Flags = Flags::INACTIVE;

    #[test]
    fn only_a_change_between_usable_and_not_is_an_event() {
        let event = |from, to| Events::Changes.event(By::Probe, from, to, true);
        assert_eq!(event(UP, DOWN), Some(DestinationEvent::Down));
        assert_eq!(event(DOWN, UP), Some(DestinationEvent::Up));
        assert_eq!(event(DOWN, Flags::DISABLED), None);
        assert_eq!(event(UP, Flags::TRYING), None);
        assert_eq!(event(UP.with(Flags::UNRESOLVED), UP), None);
        assert_eq!(event(UP.with(Flags::UNRESOLVED), DOWN), Some(DestinationEvent::Down));
        assert_eq!(event(UP, UP.with(Flags::DRAINING)), None);
        assert_eq!(event(UP.with(Flags::DRAINING), DOWN.with(Flags::DRAINING)), Some(DestinationEvent::Down));
    }

    #[test]
    fn one_that_is_ejected_goes_neither_up_nor_down_by_what_probes_find() {
        let event = |from, to| Events::Changes.event(By::Probe, from, to, true);
        for ejected in [Flags::EJECTED, Flags::ON_TRIAL, Flags::EJECTION] {
            assert_eq!(event(UP.with(ejected), DOWN.with(ejected)), None);
            assert_eq!(event(DOWN.with(ejected), UP.with(ejected)), None);
        }
        assert_eq!(event(DOWN, UP), Some(DestinationEvent::Up), "it is over meanwhile");
    }

    #[test]
    fn the_mode_says_whose_changes_count_and_whether_the_first_finding_does() {
        assert_eq!(Events::OfProbes.event(By::Script, UP, DOWN, false), None);
        assert_eq!(Events::OfProbes.event(By::Probe, UP, DOWN, false), Some(DestinationEvent::Down));
        assert_eq!(Events::FirstToo.event(By::Probe, UP, UP, true), Some(DestinationEvent::Up));
        assert_eq!(Events::FirstToo.event(By::Script, DOWN, DOWN, true), Some(DestinationEvent::Down));
        assert_eq!(Events::FirstToo.event(By::Probe, UP, UP, false), None);
    }
}
