//! The rings on which weighted algorithms choose, kept until a state or a congestion of the set changes.
//!
//! A choice reads them without a lock. Who finds none, or an old one, makes it anew under the lock of its row.

use super::set::ROWS;
use crate::select::weight::{Ring, Round, Slots};
use crate::shm::lock::Mutex;
use crate::shm::sheet::{Sheet, Words};
use crate::shm::{Alloc, Shared};

/// One ring for each row of tickets of a set, in one generation.
pub struct Rings<A: Alloc>([Row<A>; ROWS]);

// SAFETY: shared rings with locks between processes.
unsafe impl<A: Alloc> Shared for Rings<A> {}

struct Row<A: Alloc> {
    /// The words of a [`Kept`], and of each of its slots.
    sheet: Sheet<A>,
    /// Held by whoever writes.
    writer: Mutex<()>,
}

/// What is known of a ring that is kept.
struct Kept {
    /// Changes of states so far when it was made, and one; 0 is that there is none.
    made_after: u64,
    /// How many positions were in play.
    field: usize,
    round: Round,
    /// How many slots it has.
    len: usize,
}

impl Kept {
    const WORDS: usize = 5;

    fn words(&self) -> [u64; Self::WORDS] {
        let [sum, step] = self.round.words();
        [self.made_after, self.field as u64, sum, step, self.len as u64]
    }

    fn read(words: &Words<'_>) -> Option<Self> {
        let [made_after, field, sum, step, len] = [0, 1, 2, 3, 4].map(|at| words.get(at));
        let round = Round::of_words([sum?, step?]);
        Some(Self { made_after: made_after?, field: field? as usize, round, len: len? as usize })
    }

    fn slot(words: &Words<'_>, at: usize) -> Option<Slots> {
        let first = Self::WORDS + at * Slots::WORDS;
        Some(Slots::of_words([words.get(first)?, words.get(first + 1)?]))
    }
}

impl<A: Alloc> Rings<A> {
    /// None yet.
    pub fn new_in(alloc: A) -> Self {
        Self(core::array::from_fn(|_| Row { sheet: Sheet::new_in(alloc), writer: Mutex::new(()) }))
    }

    /// The position at which the `n`th selection ends up on this row's ring. `changes` counts those of states; it is asked
    /// before `make` looks at them.
    pub fn at(
        &self,
        row: usize,
        field: usize,
        n: u64,
        changes: impl Fn() -> u64,
        make: &dyn Fn() -> Ring,
    ) -> Option<usize> {
        let row = self.0.get(row)?;
        if let Some(found) = row.at(changes().wrapping_add(1), field, n) {
            return found;
        }
        let _writer = row.writer.lock();
        let made_after = changes().wrapping_add(1);
        // Another may have made it while we waited.
        if let Some(found) = row.at(made_after, field, n) {
            return found;
        }
        let ring = make();
        row.keep(made_after, field, &ring);
        ring.at(n)
    }
}

impl<A: Alloc> Row<A> {
    /// Where this selection ends up, if the ring that is kept is of this state.
    fn at(&self, made_after: u64, field: usize, n: u64) -> Option<Option<usize>> {
        let look = |words: &Words<'_>| {
            let kept =
                Kept::read(words).filter(|kept| (kept.made_after, kept.field) == (made_after, field))?;
            Some(kept.round.find(kept.len, |at| Kept::slot(words, at), n))
        };
        self.sheet.read(look)?
    }

    /// Keeps a ring, if there is memory for it. There is room for all positions of the set, with which no ring has more slots: of
    /// those in play it may have fewer now, and they are one fewer where the last one is spared.
    fn keep(&self, made_after: u64, field: usize, ring: &Ring) {
        let kept = Kept { made_after, field, round: ring.round, len: ring.slots.len() };
        let wanted = |slots: usize| Kept::WORDS + slots * Slots::WORDS;
        let room = self.sheet.make_room(wanted(field + 1)).unwrap_or(0);
        if wanted(kept.len) <= room {
            self.sheet
                .write(kept.words().into_iter().chain(ring.slots.iter().flat_map(|slots| slots.words())));
        }
    }
}
