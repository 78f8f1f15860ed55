//! Words that choices look up without a lock, right as of some number of changes. Whoever finds them old brings them up to date under
//! a lock; who comes meanwhile waits for that.

use crate::shm::lock::Mutex;
use crate::shm::sheet::{Sheet, Words};
use crate::shm::{Alloc, Shared};

/// The words, the first of which is the number of changes for which they are right, and one; 0 is that there are none.
pub struct Kept<A: Alloc> {
    sheet: Sheet<A>,
    /// Held by whoever writes.
    writer: Mutex<()>,
}

// SAFETY: shared words with a lock between processes.
unsafe impl<A: Alloc> Shared for Kept<A> {}

impl<A: Alloc> Kept<A> {
    /// None yet.
    pub fn new_in(alloc: A) -> Self {
        Self { sheet: Sheet::new_in(alloc), writer: Mutex::new(()) }
    }

    /// Whether anybody has looked at them.
    pub fn is_in_use(&self) -> bool {
        self.sheet.has_room()
    }

    /// What `look` makes of the words without regard to whether they are right.
    pub fn read<T>(&self, look: impl FnOnce(&Words<'_>) -> T) -> Option<T> {
        self.sheet.read(look)
    }

    /// What `look` makes of the words as of so many changes or more; nothing if there is no memory for so many words. `renew` makes
    /// them right where they are not, or where `look` can make nothing of them, and says for how many changes they are then.
    pub fn look<T>(
        &self,
        room: usize,
        changes: u64,
        renew: impl FnOnce(&Sheet<A>) -> u64,
        look: impl Fn(&Words<'_>) -> Option<T>,
    ) -> Option<T> {
        let seen = |changes: u64| {
            let right = Some(changes.wrapping_add(1));
            self.sheet.read(|words| if words.get(0) == right { look(words) } else { None })?
        };
        if let Some(found) = seen(changes) {
            return Some(found);
        }
        let _writer = self.writer.lock();
        if self.sheet.make_room(room).ok()? < room {
            return None;
        }
        seen(renew(&self.sheet))
    }
}
