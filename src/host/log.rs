//! Lines in the host's log, each under the module's name.

use super::ffi;
use core::ffi::c_int;
use core::fmt::Arguments;

fn line(level: c_int, text: Arguments<'_>) {
    let text = text.to_string();
    let len = c_int::try_from(text.len()).unwrap_or(c_int::MAX);
    // SAFETY: the text and its length belong together; the shim prints exactly that many bytes.
    unsafe { ffi::shim_log(level, text.as_ptr().cast(), len) };
}

/// A fault of this module.
pub fn critical(text: Arguments<'_>) {
    line(ffi::L_CRIT as c_int, text);
}

/// Something that an operator must mend.
pub fn error(text: Arguments<'_>) {
    line(ffi::L_ERR as c_int, text);
}

/// Something that an operator should look at.
pub fn warning(text: Arguments<'_>) {
    line(ffi::L_WARN as c_int, text);
}

/// Something worth knowing.
pub fn info(text: Arguments<'_>) {
    line(ffi::L_INFO as c_int, text);
}
