//! Whether a line takes calls, and if not, whether one thing alone keeps it from that.

use super::board::Board;
use super::{Line, Record};
use crate::select::is_full;
use crate::shm::Alloc;

/// Whether a line takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// It does.
    Calls,
    /// It would, if it were not drained.
    NoneWhileDrained,
    /// It would, and has room, if it were within its rate.
    NoneOverRate,
    /// It does not.
    None,
}

impl Takes {
    pub(super) fn of(line: &Line, record: &Record) -> Self {
        let flags = record.flags();
        if flags.usable() {
            let over = !record.takes_new_calls() && !is_full(record.load.get(), line.maxload);
            if over { Self::NoneOverRate } else { Self::Calls }
        } else if flags.kept_out_by_drain() {
            Self::NoneWhileDrained
        } else {
            Self::None
        }
    }
}

impl<A: Alloc> Board<A> {
    /// A line that took calls like this takes them like that now.
    pub(super) fn count_takes(&mut self, line: &Line, before: Takes, now: Takes) {
        match (before == Takes::Calls, now == Takes::Calls) {
            (false, true) => self.slow.sizes.add(line),
            (true, false) => self.slow.sizes.subtract(line),
            _ => {}
        }
        if (before == Takes::Calls) != (now == Takes::Calls) {
            self.share(line, now == Takes::Calls);
        }
        let shift = |count: usize, takes: Takes| {
            (count + usize::from(now == takes)).saturating_sub(usize::from(before == takes))
        };
        self.usable = shift(self.usable, Takes::Calls);
        self.drained = shift(self.drained, Takes::NoneWhileDrained);
        self.over_rate = shift(self.over_rate, Takes::NoneOverRate);
    }

    /// Whether the line at this place takes calls.
    pub(super) fn is_usable(&self, at: u32) -> bool {
        self.places.get(at as usize).is_some_and(|place| place.takes == Takes::Calls)
    }

    /// Whether it would take calls and has room, if it were within its rate.
    pub(super) fn is_over_rate(&self, at: u32) -> bool {
        self.places.get(at as usize).is_some_and(|place| place.takes == Takes::NoneOverRate)
    }
}
