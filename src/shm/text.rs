//! A text in shared memory. One that is short, as names are, lies where it is owned and takes no memory of its own.

use super::slice::Slice;
use super::{Alloc, OutOfMemory, Shared};
use core::ops::Deref;

/// Bytes that lie inside. A UUID has 36.
const SHORT: usize = 38;

/// An owned text.
pub enum Text<A: Alloc> {
    /// With its length.
    Short(u8, [u8; SHORT]),
    /// Elsewhere.
    Long(Slice<u8, A>),
}

// SAFETY: bytes and a shared slice.
unsafe impl<A: Alloc> Shared for Text<A> {}

impl<A: Alloc> Text<A> {
    /// A copy of this text.
    pub fn try_copy_in(text: &[u8], alloc: A) -> Result<Self, OutOfMemory> {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..text.len()) {
            Some(inside) => {
                inside.copy_from_slice(text);
                Ok(Self::Short(text.len() as u8, bytes))
            }
            None => Slice::try_copy_in(text, alloc).map(Self::Long),
        }
    }
}

impl<A: Alloc> Deref for Text<A> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(text) => text,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;

    #[test]
    fn texts_of_any_length_are_kept() {
        for len in [0, 1, SHORT - 1, SHORT, SHORT + 1, 4096] {
            let text: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let kept = Text::try_copy_in(&text, Heap).unwrap();
            assert_eq!(&*kept, &text[..]);
            assert_eq!(matches!(kept, Text::Short(..)), len <= SHORT);
        }
    }
}
