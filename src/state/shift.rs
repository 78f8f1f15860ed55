//! What calls do to a record: its load and the legs that name it.

use super::record::Record;
use crate::shm::counter::Audited;

/// By how much what calls do to a record changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shift {
    /// The load, by one at most.
    pub load: i32,
    /// Legs that name it.
    pub legs: i32,
}

impl Shift {
    /// A leg comes, and with it the call counts.
    pub const TAKE: Self = Self { load: 1, legs: 1 };
    /// It goes again.
    pub const GIVE: Self = Self { load: -1, legs: -1 };

    /// What is left of it where so much was done.
    pub fn less(self, done: Self) -> Self {
        Self { load: self.load - done.load, legs: self.legs - done.legs }
    }

    /// Whether nothing changes.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl Record {
    /// What a call does. With the board of its set locked.
    pub(super) fn shift(&self, shift: Shift, audited: Audited) {
        // Whoever sees no leg that names it sees its load as it is then.
        match shift.load.signum() {
            1 => self.load.take(audited),
            -1 => self.load.give(audited),
            _ => (),
        }
        (0..shift.legs).for_each(|_| self.entries.take());
        (shift.legs..0).for_each(|_| self.entries.give());
    }

    /// A call more, with a leg that names it, if the load is what was `seen`. With the board of its set locked.
    pub(super) fn take_if(&self, seen: u32, audited: Audited) -> bool {
        let taken = self.load.take_if(seen, audited);
        if taken {
            self.entries.take();
        }
        taken
    }
}
