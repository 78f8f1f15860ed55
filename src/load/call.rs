//! One call and what happens to it.
//!
//! | event       | from                                     | Early           | Confirmed   | Released         |
//! |-------------|------------------------------------------|-----------------|-------------|------------------|
//! | `Answered`  | 2xx to an INVITE                         | Confirmed       | seen        | Confirmed, counted again |
//! | `Cancelled` | CANCEL                                   | Released        | –           | –                |
//! | `Ended`     | BYE                                      | Released        | forgotten   | –                |
//! | `Refused`   | 3xx–7xx to an INVITE                     | forgotten       | –           | forgotten        |
//! | `Lost`      | 408 or 481 to an INVITE                  | forgotten       | forgotten   | forgotten        |
//! | `Unset`     | `ds_load_unset()` outside such a reply   | Released        | forgotten   | –                |
//! | `Seen`      | another request or reply of the call     | –               | seen        | –                |
//!
//! "–" changes nothing. A refused re-INVITE leaves its dialog up (RFC 3261 section 14.1), but 408 and 481 end it
//! (section 12.2.1.2). A CANCEL has no effect once the INVITE was answered (section 9.1). A call released by CANCEL, or
//! by a BYE in the early dialog, is remembered for a while, because the 2xx may be on its way.

/// Where a call is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Sent to its destination, no 2xx yet. Counts.
    Early,
    /// Answered with 2xx. Counts.
    Confirmed,
    /// Does not count, but may still be answered.
    Released,
}

/// What a message says about its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the table above
pub enum Event {
    Answered,
    Cancelled,
    Ended,
    Refused,
    Lost,
    Unset,
    Seen,
}

/// What an event does to the count of the call's destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// The call counts again.
    Take,
    /// The call stops counting.
    Give,
}

/// The outcome of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The call afterwards; `None` forgets it.
    pub next: Option<Call>,
    /// What happens to the count.
    pub change: Change,
    /// Whether the event meant anything at this point; late and repeated ones do not.
    pub fits: bool,
}

/// A call in eight bytes: the number of its destination's record with the phase in the top bits, and a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Call {
    place: u32,
    seen: u32,
}

const PHASE_SHIFT: u32 = 30;
/// Largest number of a record that a call can name.
pub const MAX_RECORD: u32 = (1 << PHASE_SHIFT) - 1;

impl Call {
    /// A call just sent to the destination of `record`, at `now`.
    pub const fn new(record: u32, now: u32) -> Self {
        Self { place: record & MAX_RECORD, seen: now }
    }

    /// A call that was up before a restart.
    pub const fn restored(record: u32, phase: Phase, seen: u32) -> Self {
        Self::new(record, seen).with(phase, seen)
    }

    /// The record of its destination.
    pub const fn record(self) -> u32 {
        self.place & MAX_RECORD
    }

    /// Its phase.
    pub const fn phase(self) -> Phase {
        match self.place >> PHASE_SHIFT {
            0 => Phase::Early,
            1 => Phase::Confirmed,
            _ => Phase::Released,
        }
    }

    /// When its time to expire began.
    pub const fn seen(self) -> u32 {
        self.seen
    }

    /// Whether it counts for its destination.
    pub const fn counts(self) -> bool {
        !matches!(self.phase(), Phase::Released)
    }

    const fn with(self, phase: Phase, seen: u32) -> Self {
        let bits = match phase {
            Phase::Early => 0,
            Phase::Confirmed => 1,
            Phase::Released => 2,
        };
        Self { place: self.record() | bits << PHASE_SHIFT, seen }
    }

    /// The call as it goes to another destination, or again to the same: as it was, if it counted; else as a new one.
    pub const fn moved(self, record: u32, now: u32) -> Self {
        match self.phase() {
            Phase::Confirmed => Self::new(record, now).with(Phase::Confirmed, now),
            Phase::Early | Phase::Released => Self::new(record, now),
        }
    }

    /// The same call at another destination.
    pub const fn renamed(self, record: u32) -> Self {
        Self::new(record, self.seen).with(self.phase(), self.seen)
    }

    /// What `event` does to it.
    pub const fn on(self, event: Event, now: u32) -> Step {
        use Change::{Give, Keep, Take};
        use Phase::{Confirmed, Early, Released};
        let (next, change) = match (event, self.phase()) {
            (Event::Answered, Early | Confirmed) | (Event::Seen, Confirmed) => {
                (Some(self.with(Confirmed, now)), Keep)
            }
            (Event::Answered, Released) => (Some(self.with(Confirmed, now)), Take),
            (Event::Cancelled | Event::Ended | Event::Unset, Early) => (Some(self.with(Released, now)), Give),
            (Event::Refused | Event::Lost, Early)
            | (Event::Ended | Event::Lost | Event::Unset, Confirmed) => (None, Give),
            (Event::Refused | Event::Lost, Released) => (None, Keep),
            (Event::Seen, Early) => (Some(self), Keep),
            (Event::Cancelled | Event::Refused, Confirmed)
            | (Event::Cancelled | Event::Ended | Event::Unset | Event::Seen, Released) => {
                return Step { next: Some(self), change: Keep, fits: false };
            }
        };
        Step { next, change, fits: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENTS: [Event; 7] = [
        Event::Answered,
        Event::Cancelled,
        Event::Ended,
        Event::Refused,
        Event::Lost,
        Event::Unset,
        Event::Seen,
    ];

    fn after(events: &[Event]) -> Option<Call> {
        events.iter().try_fold(Call::new(5, 0), |call, &event| call.on(event, 0).next)
    }

    #[test]
    fn an_answer_that_crosses_the_cancel_counts_again_until_its_bye() {
        let step = after(&[Event::Cancelled]).unwrap().on(Event::Answered, 9);
        assert_eq!((step.change, step.next.unwrap().phase()), (Change::Take, Phase::Confirmed));
        let end = step.next.unwrap().on(Event::Ended, 10);
        assert_eq!((end.change, end.next), (Change::Give, None));
    }

    #[test]
    fn a_refused_reinvite_leaves_the_call_up_but_a_lost_one_ends_it() {
        let up = after(&[Event::Answered]).unwrap();
        assert_eq!(up.on(Event::Refused, 1), Step { next: Some(up), change: Change::Keep, fits: false });
        assert_eq!(up.on(Event::Lost, 1).change, Change::Give);
        assert_eq!(up.on(Event::Cancelled, 1).next, Some(up));
    }

    #[test]
    fn the_final_answer_to_a_cancel_clears_the_memory() {
        assert_eq!(after(&[Event::Cancelled, Event::Refused]), None);
        assert!(after(&[Event::Cancelled, Event::Cancelled, Event::Ended]).is_some());
    }

    #[test]
    fn being_seen_refreshes_only_a_confirmed_call() {
        assert_eq!(Call::new(1, 3).on(Event::Seen, 9).next.unwrap().seen(), 3);
        assert_eq!(after(&[Event::Answered]).unwrap().on(Event::Seen, 9).next.unwrap().seen(), 9);
    }

    proptest! {
        /// The count follows the phase whatever is reported, in whatever order.
        #[test]
        fn a_call_counts_zero_or_one(events in prop::collection::vec(prop::sample::select(&EVENTS[..]), 0..40)) {
            let mut call = Some(Call::new(7, 0));
            let mut count = 1;
            for event in events {
                let Some(now) = call else { break };
                let step = now.on(event, 0);
                count += match step.change { Change::Keep => 0, Change::Take => 1, Change::Give => -1 };
                prop_assert_eq!(count, i32::from(step.next.is_some_and(Call::counts)));
                prop_assert!(step.next.is_none_or(|next| next.record() == 7));
                call = step.next;
            }
        }
    }
}
