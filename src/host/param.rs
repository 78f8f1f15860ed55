//! Module parameters: memory that the host writes while it reads its configuration.

use super::{ffi, text};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_int, c_void};

/// An integer parameter.
#[repr(transparent)]
pub struct Int(UnsafeCell<c_int>);

/// A text parameter.
#[repr(transparent)]
pub struct Text(UnsafeCell<ffi::str_>);

// SAFETY: the host writes it while it reads the configuration, in one thread, before anything reads it.
unsafe impl Sync for Int {}
// SAFETY: as above.
unsafe impl Sync for Text {}

impl Int {
    /// With its default.
    pub const fn new(default: c_int) -> Self {
        Self(UnsafeCell::new(default))
    }

    /// What the configuration says. In `mod_init` or later.
    pub fn get(&self) -> i32 {
        // SAFETY: written only before `mod_init`.
        unsafe { *self.0.get() }
    }

    pub(super) const fn slot(&'static self) -> *mut c_void {
        self.0.get().cast()
    }
}

impl Text {
    /// With its default.
    pub const fn new(default: &'static CStr) -> Self {
        Self(UnsafeCell::new(text::literal(default)))
    }

    /// What the configuration says. In `mod_init` or later.
    pub fn get(&self) -> Vec<u8> {
        // SAFETY: written only before `mod_init`; the text is the host's or our default.
        unsafe { text::bytes(*self.0.get()) }.to_vec()
    }

    pub(super) const fn slot(&'static self) -> *mut c_void {
        self.0.get().cast()
    }
}
