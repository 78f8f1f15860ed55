//! Module parameters: memory into which the host writes the values while it reads its configuration.

use super::export::Parameter;
use super::{ffi, text};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_int};

/// An integer parameter.
#[repr(transparent)]
pub struct Int(UnsafeCell<c_int>);

/// A text parameter.
#[repr(transparent)]
pub struct Text(UnsafeCell<ffi::str_>);

/// A flag of messages: a number, or a text that is its name.
pub struct Flag {
    number: Int,
    name: Text,
}

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

    /// Its row in the table of exports. `name` ends with a zero.
    pub const fn parameter(&'static self, name: &'static str) -> Parameter {
        Parameter::int(c_name(name), self.0.get().cast())
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

    /// Its row in the table of exports. `name` ends with a zero.
    pub const fn parameter(&'static self, name: &'static str) -> Parameter {
        Parameter::text(c_name(name), self.0.get().cast())
    }
}

impl Flag {
    /// With its default.
    pub const fn new(default: c_int) -> Self {
        Self { number: Int::new(default), name: Text::new(c"") }
    }

    /// What the configuration says: the number, and the name. In `mod_init` or later.
    pub fn get(&self) -> (i32, Vec<u8>) {
        (self.number.get(), self.name.get())
    }

    /// Its row in the table of exports, for the number. `name` ends with a zero.
    pub const fn parameter(&'static self, name: &'static str) -> Parameter {
        self.number.parameter(name)
    }

    /// The same for the name: the host tells rows of one parameter by the type of the value.
    pub const fn name_parameter(&'static self, name: &'static str) -> Parameter {
        self.name.parameter(name)
    }
}

const fn c_name(name: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(name.as_bytes()) {
        Ok(name) => name,
        Err(_) => unreachable!(), // while it is compiled, if at all
    }
}
