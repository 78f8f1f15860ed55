//! The rings on which weighted algorithms choose, kept until a state or a congestion of the set changes.

use super::set::ROWS;
use crate::select::weight::{Ring, Round, Slots};
use crate::shm::lock::Mutex;
use crate::shm::slice::Slice;
use crate::shm::{Alloc, Shared};

/// One ring for each row of tickets of a set, in one generation.
pub struct Rings<A: Alloc>([Mutex<Kept<A>>; ROWS]);

// SAFETY: shared rings behind locks between processes.
unsafe impl<A: Alloc> Shared for Rings<A> {}

struct Kept<A: Alloc> {
    /// Changes of states so far when it was made, and one; 0 is that there is none.
    made_after: u64,
    /// How many positions were in play.
    field: usize,
    round: Round,
    slots: Slice<Slots, A>,
    len: usize,
    alloc: A,
}

// SAFETY: numbers.
unsafe impl Shared for Slots {}
// SAFETY: numbers and a shared slice.
unsafe impl<A: Alloc> Shared for Kept<A> {}

impl<A: Alloc> Rings<A> {
    /// None yet.
    pub fn new_in(alloc: A) -> Self {
        let none = |_| {
            let (slots, round) = (Slice::empty_in(alloc), Round::default());
            Mutex::new(Kept { made_after: 0, field: 0, round, slots, len: 0, alloc })
        };
        Self(core::array::from_fn(none))
    }

    /// The position at which the `n`th selection ends up on this row's ring. `changes` counts those of states; it is asked
    /// before `make` looks at them.
    pub fn at(
        &self,
        row: usize,
        field: usize,
        n: u64,
        changes: impl FnOnce() -> u64,
        make: &dyn Fn() -> Ring,
    ) -> Option<usize> {
        let mut kept = self.0.get(row)?.lock();
        let now = changes().wrapping_add(1);
        if kept.made_after != now || kept.field != field {
            let ring = make();
            if !kept.keep(&ring) {
                return ring.at(n);
            }
            (kept.made_after, kept.field) = (now, field);
        }
        kept.round.at(kept.slots.get(..kept.len)?, n)
    }
}

impl<A: Alloc> Kept<A> {
    /// Takes a ring over, if there is memory for it.
    fn keep(&mut self, ring: &Ring) -> bool {
        let len = ring.slots.len();
        if len > self.slots.len() {
            self.made_after = 0;
            match Slice::try_copy_in(&ring.slots, self.alloc) {
                Ok(slots) => self.slots = slots,
                Err(_) => return false,
            }
        } else if let Some(slots) = self.slots.get_mut(..len) {
            slots.copy_from_slice(&ring.slots);
        }
        (self.round, self.len) = (ring.round, len);
        true
    }
}
