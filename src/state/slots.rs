//! Whose each slot of a set is ([`crate::select::consistent`]), all found once in each generation: 1 MiB of shared memory for each set
//! that is asked for it.
//!
//! Slots do not depend on states, so that nothing changes them while a generation serves.

use super::kept::Kept;
use crate::select::Candidates;
use crate::select::consistent::{SLOTS, claims, owners};
use crate::shm::sheet::Sheet;
use crate::shm::{Alloc, Shared};

/// Where the owners begin. Before them: that they are there.
const OWNERS: usize = 1;
/// Owners of a word.
const TO_A_WORD: usize = 2;
const ROOM: usize = OWNERS + SLOTS / TO_A_WORD;
/// The slots belong to nobody: a set without destinations.
const NOBODY: u32 = u32::MAX;

/// The owners of the slots of a set.
pub struct Slots<A: Alloc>(Kept<A>);

// SAFETY: shared words with a lock between processes.
unsafe impl<A: Alloc> Shared for Slots<A> {}

impl<A: Alloc> Slots<A> {
    /// Not known yet.
    pub fn new_in(alloc: A) -> Self {
        Self(Kept::new_in(alloc))
    }

    /// Whether a choice has looked at it.
    pub fn is_in_use(&self) -> bool {
        self.0.is_in_use()
    }

    /// The position to which this slot belongs; nothing if there is no memory for all of them.
    pub fn owner(&self, pool: &impl Candidates, slot: usize) -> Option<Option<usize>> {
        let shift = u32::BITS * (slot % TO_A_WORD) as u32;
        self.0.look(
            ROOM,
            0,
            |sheet| fill(sheet, pool),
            |words| {
                let owner = (words.get(OWNERS + slot / TO_A_WORD)? >> shift) as u32;
                Some((owner != NOBODY).then_some(owner as usize))
            },
        )
    }
}

fn fill<A: Alloc>(sheet: &Sheet<A>, pool: &impl Candidates) -> u64 {
    let claims: Vec<_> = claims(pool).collect();
    let owners = owners(&claims).unwrap_or_else(|| vec![NOBODY; SLOTS]);
    let word =
        |owners: &[u32]| owners.iter().rev().fold(0, |word, owner| word << u32::BITS | u64::from(*owner));
    sheet.write(core::iter::once(1).chain(owners.chunks(TO_A_WORD).map(word)));
    0
}
