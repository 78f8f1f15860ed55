//! The host's `str`: a pointer and a length.

use super::ffi::str_;
use core::ffi::c_int;

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
