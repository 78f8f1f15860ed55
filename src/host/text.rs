//! The host's `str`: a pointer and a length.

use super::ffi::str_;
use core::ffi::{CStr, c_int};

/// The bytes of a `str` of the host.
///
/// # Safety
/// `text` is empty or points to `len` bytes that stay as they are for `'a`.
pub unsafe fn bytes<'a>(text: str_) -> &'a [u8] {
    match usize::try_from(text.len) {
        // SAFETY: the caller's promise.
        Ok(len) if !text.s.is_null() => unsafe { core::slice::from_raw_parts(text.s.cast(), len) },
        _ => &[],
    }
}

/// A `str` that lends these bytes to the host. The host must not write to them; those functions that take a `str *` and
/// only read it are the ones that this is for.
pub fn lent(bytes: &[u8]) -> str_ {
    str_ { s: bytes.as_ptr().cast_mut().cast(), len: c_int::try_from(bytes.len()).unwrap_or(c_int::MAX) }
}

/// A name in a table. The host has it with a length, but parts of it go on to a zero at the end.
pub const fn literal(name: &'static CStr) -> str_ {
    str_ { s: name.as_ptr().cast_mut(), len: name.count_bytes() as c_int }
}

/// A copy that lives as long as the process, with a zero behind its end for the same reason.
pub fn kept(bytes: &[u8]) -> str_ {
    let copy = [bytes, &[0]].concat();
    let len = c_int::try_from(bytes.len()).unwrap_or(c_int::MAX);
    str_ { s: Box::leak(copy.into_boxed_slice()).as_mut_ptr().cast(), len }
}

/// A copy with a zero behind its end, for as long as it is kept.
pub struct Copied {
    /// The host's form of it.
    pub text: str_,
    _bytes: Box<[u8]>,
}

/// The text with a zero behind its end.
pub fn copied(bytes: &[u8]) -> Copied {
    let mut copy = [bytes, &[0]].concat().into_boxed_slice();
    let text = str_ { s: copy.as_mut_ptr().cast(), len: c_int::try_from(bytes.len()).unwrap_or(c_int::MAX) };
    Copied { text, _bytes: copy }
}
