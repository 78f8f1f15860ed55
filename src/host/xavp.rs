//! Extended AVPs: lists of named records that live as long as a transaction.

mod write;

use super::{ffi, text};
use crate::shm::Foreign;
use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};

pub use write::{Field, Name, Value, Writer, add_int};

/// The host has no memory for another value.
#[derive(Debug)]
pub struct NoMemory;

fn value(kind: ffi::sr_xtype_t) -> ffi::sr_xval_t {
    // SAFETY: a tagged union of numbers and pointers, for which zero is valid.
    let mut value: ffi::sr_xval_t = unsafe { core::mem::zeroed() };
    value.type_ = kind;
    value
}

fn text_value(text: &[u8]) -> ffi::sr_xval_t {
    let mut held = value(ffi::SR_XTYPE_STR);
    held.v.s = text::lent(text);
    held
}

/// The tag of a number, and the number. Older servers keep an `int`, newer ones a `long`.
#[cfg(xavp_int)]
mod number {
    use super::ffi;

    pub const TAG: ffi::sr_xtype_t = ffi::SR_XTYPE_INT;

    pub fn put(number: i32, into: &mut ffi::sr_xval_t) {
        into.v.i = number;
    }

    /// # Safety
    /// The tag of the value is [`TAG`].
    pub unsafe fn get(value: &ffi::sr_xval_t) -> i64 {
        // SAFETY: as above.
        unsafe { value.v.i }.into()
    }
}

/// As above.
#[cfg(not(xavp_int))]
mod number {
    use super::ffi;

    pub const TAG: ffi::sr_xtype_t = ffi::SR_XTYPE_LONG;

    pub fn put(number: i32, into: &mut ffi::sr_xval_t) {
        into.v.l = number.into();
    }

    /// # Safety
    /// The tag of the value is [`TAG`].
    pub unsafe fn get(value: &ffi::sr_xval_t) -> i64 {
        // SAFETY: as above.
        unsafe { value.v.l }
    }
}

fn int_value(given: i32) -> ffi::sr_xval_t {
    let mut held = value(number::TAG);
    number::put(given, &mut held);
    held
}

/// Adds a plain text under `name`, before all others of the name.
pub fn add_text(name: &[u8], text: &[u8]) -> Result<(), NoMemory> {
    let (mut name, mut text) = (text::lent(name), text_value(text));
    // SAFETY: the host copies both; the null list is the transaction's own.
    let added = unsafe { ffi::xavp_add_value(&raw mut name, &raw mut text, null_mut()) };
    if added.is_null() { Err(NoMemory) } else { Ok(()) }
}

/// What `find` finds first among the plain texts under `name`, in their order.
pub fn find_text<T>(name: &[u8], mut find: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
    let mut name = text::lent(name);
    // SAFETY: the host only compares the name.
    let mut at = unsafe { ffi::xavp_get(&raw mut name, null_mut()) };
    // SAFETY: null or a value of the transaction's list, which does not change meanwhile.
    while let Some(value) = unsafe { at.as_ref() } {
        if value.val.type_ == ffi::SR_XTYPE_STR {
            // SAFETY: the tag says that it is a text.
            if let Some(found) = find(unsafe { text::bytes(value.val.v.s) }) {
                return Some(found);
            }
        }
        // SAFETY: in the list, as above.
        at = unsafe { ffi::xavp_get_next(at) };
    }
    None
}

/// The records of one name in the transaction's list.
///
/// A [`Record`] borrows it, so none is left in anybody's hand when one is taken out.
pub struct List<'a> {
    name: &'a [u8],
}

impl<'a> List<'a> {
    /// The records of this name. One list a name and call from the script.
    pub fn of(name: &'a [u8]) -> Self {
        Self { name }
    }

    /// All records, in their order. A plain value that a script put under the name ends them.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut name = text::lent(self.name);
        // SAFETY: the host only compares the name.
        let first = Record::of(unsafe { ffi::xavp_get(&raw mut name, null_mut()) });
        core::iter::successors(first, |record| {
            // SAFETY: `record` is in the list, which does not change while it is borrowed.
            Record::of(unsafe { ffi::xavp_get_next(record.value.as_ptr()) })
        })
    }

    /// The first record.
    pub fn front(&self) -> Option<Record<'_>> {
        self.records().next()
    }

    /// Takes the first record out. False if there is none.
    pub fn remove_front(&mut self) -> bool {
        let Some(value) = self.front().map(|record| record.value) else { return false };
        // SAFETY: in the transaction's list, which null names; nobody holds a record.
        unsafe { ffi::xavp_rm(value.as_ptr(), null_mut()) };
        true
    }

    /// Exchanges the fields of the first record and the one at this place.
    pub fn bring_to_front(&mut self, at: usize) {
        let values =
            (self.front().map(|record| record.value), self.records().nth(at).map(|record| record.value));
        if let ((Some(first), Some(other)), true) = (values, at > 0) {
            // SAFETY: two different records of the list; a value is a tag and a pointer and may be moved.
            unsafe { core::ptr::swap(&raw mut (*first.as_ptr()).val, &raw mut (*other.as_ptr()).val) };
        }
    }
}

/// One record.
pub struct Record<'a> {
    value: NonNull<ffi::sr_xavp_t>,
    list: core::marker::PhantomData<&'a ()>,
}

impl<'a> Record<'a> {
    fn of(found: *mut ffi::sr_xavp_t) -> Option<Self> {
        // SAFETY: null or a value of the host's list.
        let value =
            NonNull::new(found).filter(|at| unsafe { at.as_ref() }.val.type_ == ffi::SR_XTYPE_XAVP)?;
        Some(Self { value, list: core::marker::PhantomData })
    }

    fn field(&self, name: &[u8], kind: ffi::sr_xtype_t) -> Option<&'a ffi::sr_xval_t> {
        let mut name = text::lent(name);
        // SAFETY: checked in `of` to hold a list.
        let fields = unsafe { self.value.as_ref().val.v.xavp };
        if fields.is_null() {
            return None; // null would name the transaction's list
        }
        // SAFETY: the list of our record; the host only compares the name.
        let found = unsafe { ffi::xavp_get(&raw mut name, fields).as_ref() }?;
        (found.val.type_ == kind).then_some(&found.val)
    }

    /// A text of the record.
    pub fn text(&self, name: &[u8]) -> Option<&'a [u8]> {
        // SAFETY: the tag says that it is a text.
        self.field(name, ffi::SR_XTYPE_STR).map(|value| unsafe { text::bytes(value.v.s) })
    }

    /// A number of the record.
    pub fn int(&self, name: &[u8]) -> Option<i32> {
        // SAFETY: the tag says that it is a number.
        let number = self.field(name, number::TAG).map(|value| unsafe { number::get(value) })?;
        i32::try_from(number).ok()
    }

    /// A socket of the record.
    pub fn socket(&self, name: &[u8]) -> Option<Foreign> {
        // SAFETY: the tag says that it is a pointer, and under this name only sockets are put.
        let socket: *mut c_void = unsafe { self.field(name, ffi::SR_XTYPE_VPTR)?.v.vptr };
        NonNull::new(socket).map(Foreign)
    }
}
