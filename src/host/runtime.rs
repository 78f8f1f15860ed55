//! Settings that an operator may change while the server runs (`cfg.set…`, module `cfg_rpc`): a few numbers and one text.
//!
//! The host keeps the values and tells each process of a change between two messages or ticks, so what is read here holds
//! for one piece of work.

use super::{ffi, guard::guard, text};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::sync::OnceLock;

/// Numbers of a group.
const INTS: usize = 2;

/// A number.
#[derive(Debug, Clone, Copy)]
pub struct Int {
    /// As operators call it.
    pub name: &'static CStr,
    /// What it is, in a line.
    pub about: &'static CStr,
    /// The value at start; the least is 1.
    pub value: i32,
}

/// A text.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// As operators call it.
    pub name: &'static CStr,
    /// What it is, in a line.
    pub about: &'static CStr,
    /// Whether a new one makes sense; logs it if not.
    pub accepts: fn(&[u8]) -> bool,
}

/// As the host lays a group out: its variables one after the other.
#[repr(C)]
struct Values {
    ints: [c_int; INTS],
    text: ffi::str_,
}

#[repr(transparent)]
struct Kept<T>(UnsafeCell<T>);

// SAFETY: written before the fork, in one thread, by us and by the host; read by the host after that.
unsafe impl<T> Sync for Kept<T> {}

static VALUES: Kept<Values> =
    Kept(UnsafeCell::new(Values { ints: [0; INTS], text: ffi::str_ { s: null_mut(), len: 0 } }));
/// Where this process finds the values now; the host changes it.
static NOW: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static ACCEPTS: OnceLock<fn(&[u8]) -> bool> = OnceLock::new();

/// Declares the group with its values at start. Once, in `mod_init`.
pub fn declare(group: &'static CStr, ints: [Int; INTS], one: Text, value: &[u8]) -> Result<(), &'static str> {
    const NONE: ffi::cfg_def_t = ffi::cfg_def_t {
        name: null_mut(),
        type_: 0,
        min: 0,
        max: 0,
        on_change_cb: None,
        on_set_child_cb: None,
        descr: null_mut(),
    };
    let of_int = |int: &Int| ffi::cfg_def_t {
        name: int.name.as_ptr().cast_mut(),
        type_: ffi::CFG_VAR_INT | ffi::CFG_ATOMIC,
        min: 1,
        max: c_int::MAX,
        descr: int.about.as_ptr().cast_mut(),
        ..NONE
    };
    let of_text = ffi::cfg_def_t {
        name: one.name.as_ptr().cast_mut(),
        type_: ffi::CFG_VAR_STR as c_uint,
        on_change_cb: Some(changes),
        descr: one.about.as_ptr().cast_mut(),
        ..NONE
    };
    let definitions = ints.iter().map(of_int).chain([of_text, NONE]).collect::<Vec<_>>();
    // A second call would find the first one's.
    let _ = ACCEPTS.set(one.accepts);
    // SAFETY: nobody reads the values yet; the definitions, which the host keeps, live as long as the process.
    let done = unsafe {
        *VALUES.0.get() = Values { ints: ints.map(|int| int.value), text: text::kept(value) };
        let size = size_of::<Values>() as c_int;
        NOW.store(VALUES.0.get().cast(), Ordering::Relaxed);
        ffi::cfg_declare(
            group.as_ptr().cast_mut(),
            Box::leak(definitions.into_boxed_slice()).as_mut_ptr(),
            VALUES.0.get().cast(),
            size,
            NOW.as_ptr(),
        )
    };
    if done < 0 { Err("the host takes no settings for run time") } else { Ok(()) }
}

fn now<'a>() -> Option<&'a Values> {
    // SAFETY: null before `declare`; after that the host's values for this process, which it replaces only between two
    // pieces of work.
    unsafe { NOW.load(Ordering::Relaxed).cast::<Values>().as_ref() }
}

/// The numbers.
pub fn ints() -> [i32; INTS] {
    now().map_or([1; INTS], |values| values.ints)
}

/// What `read` makes of the text.
pub fn with_text<T>(read: impl FnOnce(&[u8]) -> T) -> T {
    // SAFETY: the host's text, for as long as its values.
    read(now().map_or(&[], |values| unsafe { text::bytes(values.text) }))
}

unsafe extern "C" fn changes(
    _: *mut c_void,
    _: *mut ffi::str_,
    _: *mut ffi::str_,
    value: *mut *mut c_void,
) -> c_int {
    guard(-1, || {
        // SAFETY: the place of a pointer to the new text.
        let new = unsafe { value.as_ref().and_then(|value| value.cast::<ffi::str_>().as_ref()) };
        // SAFETY: the host's text for the time of the call.
        let new = new.map_or(&[][..], |new| unsafe { text::bytes(*new) });
        if ACCEPTS.get().is_some_and(|accepts| accepts(new)) { 0 } else { -1 }
    })
}

// The host counts on these.
const _: () = assert!(align_of::<Values>() == align_of::<*mut c_char>());
