//! Script functions for the languages that Kamailio embeds (`KSR.dispatcher.…` in Lua, Python and others).
//!
//! The host checks the number and types of arguments against the row before it calls.

use super::{ffi, text};
use core::ffi::{CStr, c_int, c_void};

pub use ffi::str_ as RawText;

/// A row of the table.
#[repr(transparent)]
pub struct KemiFunction(ffi::sr_kemi_t);

// SAFETY: constants and addresses of statics; the host only reads them.
unsafe impl Sync for KemiFunction {}

/// The host's mark of an integer.
pub const INT: c_int = ffi::SR_KEMIP_INT as c_int;
/// The host's mark of a text.
pub const TEXT: c_int = ffi::SR_KEMIP_STR as c_int;

impl KemiFunction {
    /// A function that answers with an integer.
    pub const fn new(name: &'static CStr, kinds: [c_int; 6], entry: *const c_void) -> Self {
        Self(ffi::sr_kemi_t {
            mname: text::literal(c"dispatcher"),
            fname: text::literal(name),
            rtype: INT,
            func: entry.cast_mut(),
            ptypes: kinds,
        })
    }

    /// The end of the table.
    pub const END: Self = Self(ffi::sr_kemi_t {
        mname: ffi::str_ { s: core::ptr::null_mut(), len: 0 },
        fname: ffi::str_ { s: core::ptr::null_mut(), len: 0 },
        rtype: 0,
        func: core::ptr::null_mut(),
        ptypes: [0; 6],
    });
}

/// Up to six kinds, the rest empty.
pub const fn kinds(given: &[c_int]) -> [c_int; 6] {
    let (mut kinds, mut at) = ([0; 6], 0);
    while at < given.len() {
        #[allow(clippy::indexing_slicing)] // a const function has no iterators; more than six do not compile
        {
            kinds[at] = given[at];
        }
        at += 1;
    }
    kinds
}

/// The bytes of a text argument; none for null.
///
/// # Safety
/// `given` is null or a text of the host that stays as it is for the time of the call.
pub unsafe fn bytes<'a>(given: *const RawText) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { given.as_ref().map_or(&[], |given| text::bytes(*given)) }
}

/// Hands the table to the host. Once, when the module is registered.
pub fn register(table: &'static [KemiFunction]) {
    // SAFETY: a static table with an end, which the host only reads.
    unsafe { ffi::sr_kemi_modules_add(table.as_ptr().cast_mut().cast()) };
}

/// A row: name, arguments, the function of [`crate::api`].
#[macro_export]
#[doc(hidden)]
macro_rules! kemi_function {
    (@type int) => { ::core::ffi::c_int };
    (@type text) => { *const $crate::host::kemi::RawText };
    (@kind int) => { $crate::host::kemi::INT };
    (@kind text) => { $crate::host::kemi::TEXT };
    (@value int $argument:ident) => { $crate::host::script::Value::Int($argument) };
    (@value text $argument:ident) => { $crate::host::script::Value::Text($crate::host::kemi::bytes($argument)) };
    ($name:literal, ($($kind:ident $argument:ident),*), $function:path) => {{
        unsafe extern "C" fn entry(
            msg: *mut $crate::host::export::RawMessage,
            $($argument: $crate::kemi_function!(@type $kind)),*
        ) -> ::core::ffi::c_int {
            // SAFETY: called by the host with what the row declares.
            unsafe {
                $crate::host::script::enter_with(
                    msg,
                    &[$($crate::kemi_function!(@value $kind $argument)),*],
                    $function,
                )
            }
        }
        const KINDS: [::core::ffi::c_int; 6] =
            $crate::host::kemi::kinds(&[$($crate::kemi_function!(@kind $kind)),*]);
        $crate::host::kemi::KemiFunction::new($name, KINDS, entry as *const ::core::ffi::c_void)
    }};
}
