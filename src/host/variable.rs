//! Variables of the script: those that the module offers, and those of other modules that it reads or sets.

use super::message::Message;
use super::{ffi, guard::guard, log, text};
use core::ffi::{CStr, c_int};
use core::ptr::null_mut;
use parking_lot::Mutex;
use std::borrow::Cow;

pub use ffi::{pv_param_t as RawParam, pv_spec_t as RawSpec, pv_value_t as RawValue, str_ as RawText};

/// A row of the table of variables.
#[repr(transparent)]
pub struct Variable(ffi::pv_export_t);

// SAFETY: constants and addresses of functions; the host only reads them.
unsafe impl Sync for Variable {}

/// Gets the value.
pub type Get = unsafe extern "C" fn(*mut super::export::RawMessage, *mut RawParam, *mut RawValue) -> c_int;
/// Reads the name in parentheses.
pub type Parse = unsafe extern "C" fn(*mut RawSpec, *mut RawText) -> c_int;

impl Variable {
    /// A variable that only gives.
    pub const fn new(name: &'static CStr, get: Get, parse: Parse) -> Self {
        Self(ffi::pv_export_t {
            name: text::literal(name),
            type_: ffi::PVT_OTHER,
            getf: Some(get),
            setf: None,
            parse_name: Some(parse),
            parse_index: None,
            init_param: None,
            iparam: 0,
        })
    }

    /// The end of the table.
    pub const END: Self = Self(ffi::pv_export_t {
        name: ffi::str_ { s: null_mut(), len: 0 },
        type_: 0,
        getf: None,
        setf: None,
        parse_name: None,
        parse_index: None,
        init_param: None,
        iparam: 0,
    });
}

/// What a variable holds.
pub enum Content {
    /// A number.
    Int(i64),
    /// A text.
    Text(Cow<'static, [u8]>),
    /// Nothing: `$null`.
    Null,
}

/// The last text that was given.
static LAST: Mutex<Option<Cow<'static, [u8]>>> = Mutex::new(None);

/// Reads the name in parentheses: its place among `names` is kept for [`get`].
///
/// # Safety
/// Called by the host while it reads the script.
pub unsafe fn parse(spec: *mut RawSpec, name: *mut RawText, names: &[&str]) -> c_int {
    // SAFETY: null or the host's.
    let (Some(spec), Some(name)) = (unsafe { spec.as_mut() }, unsafe { name.as_ref() }) else { return -1 };
    // SAFETY: as above.
    let name = unsafe { text::bytes(*name) };
    let Some(place) = names.iter().position(|known| known.as_bytes() == name) else {
        let (name, known) = (name.escape_ascii(), names.join(", "));
        log::error(format_args!("the variable has no '{name}'; expected one of {known}"));
        return -1;
    };
    spec.pvp.pvn.type_ = ffi::PV_NAME_INTSTR as c_int;
    spec.pvp.pvn.u.isname.type_ = 0;
    spec.pvp.pvn.u.isname.name.n = place as _; // an `int` or a `long`
    0
}

/// Gives the content of the name that [`parse`] kept.
///
/// # Safety
/// Called by the host with what [`parse`] prepared.
pub unsafe fn get(
    msg: *mut super::export::RawMessage,
    param: *mut RawParam,
    value: *mut RawValue,
    content: fn(Option<&Message>, usize) -> Content,
) -> c_int {
    // SAFETY: null or prepared by `parse`.
    let Some(place) = (unsafe { param.as_ref().map(|param| param.pvn.u.isname.name.n) }) else { return -1 };
    // SAFETY: null or the message at hand.
    let message = unsafe { Message::from_host(msg) };
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    let found = guard(Content::Null, || content(message.as_ref(), place));
    // SAFETY: the host's own functions for its own structs.
    unsafe {
        match found {
            Content::Int(number) => ffi::pv_get_sintval(msg, param, value, number as _),
            Content::Text(text) => {
                // The host only lends the text: it stays until this process reads a variable of ours again.
                let mut last = LAST.lock();
                let text = last.insert(text);
                let mut text = text::lent(text);
                ffi::pv_get_strval(msg, param, value, &raw mut text)
            }
            Content::Null => ffi::pv_get_null(msg, param, value),
        }
    }
}

/// A row: name, names in parentheses, the function of [`crate::api`].
#[macro_export]
#[doc(hidden)]
macro_rules! script_variable {
    ($name:literal, $names:expr, $function:path) => {{
        unsafe extern "C" fn parse(
            spec: *mut $crate::host::variable::RawSpec,
            name: *mut $crate::host::variable::RawText,
        ) -> ::core::ffi::c_int {
            // SAFETY: called by the host.
            unsafe { $crate::host::variable::parse(spec, name, $names) }
        }
        unsafe extern "C" fn get(
            msg: *mut $crate::host::export::RawMessage,
            param: *mut $crate::host::variable::RawParam,
            value: *mut $crate::host::variable::RawValue,
        ) -> ::core::ffi::c_int {
            // SAFETY: called by the host with what `parse` prepared.
            unsafe { $crate::host::variable::get(msg, param, value, $function) }
        }
        $crate::host::variable::Variable::new($name, get, parse)
    }};
}

/// A text with variables in it, read before the fork.
pub struct Format(*mut ffi::pv_elem_t);

// SAFETY: made before the fork and not changed afterwards; each process has its own copy.
unsafe impl Send for Format {}
// SAFETY: as above.
unsafe impl Sync for Format {}

impl Format {
    /// Reads a text; `None` if it is malformed. The text is kept.
    pub fn parse(format: &[u8]) -> Option<Self> {
        let mut kept = text::kept(format);
        let mut elements = null_mut();
        // SAFETY: the text lives as long as the process.
        let done = unsafe { ffi::pv_parse_format(&raw mut kept, &raw mut elements) };
        (done >= 0 && !elements.is_null()).then_some(Self(elements))
    }

    /// The text for this message, until the host prints another.
    pub fn print<'a>(&self, msg: &'a Message) -> Option<&'a [u8]> {
        let mut printed = text::lent(&[]);
        // SAFETY: made by the host; the result lies in the host's buffer.
        let done = unsafe { ffi::pv_printf_s(msg.as_ptr(), self.0, &raw mut printed) };
        // SAFETY: filled by the host.
        (done >= 0).then(|| unsafe { text::bytes(printed) })
    }
}

/// A variable that can be set, read before the fork.
pub struct Settable(Box<ffi::pv_spec_t>);

// SAFETY: made before the fork and not changed afterwards; each process has its own copy.
unsafe impl Send for Settable {}
// SAFETY: as above.
unsafe impl Sync for Settable {}

impl Settable {
    /// Reads the name of a variable, as in `$var(x)`; `None` if there is none that can be set.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let mut kept = text::kept(name);
        // SAFETY: a struct of numbers and pointers, for which zero is the empty value.
        let mut spec: Box<ffi::pv_spec_t> = Box::new(unsafe { core::mem::zeroed() });
        // SAFETY: the text and the struct live as long as the process.
        let found = unsafe { ffi::pv_parse_spec2(&raw mut kept, &raw mut *spec, 0) };
        (!found.is_null() && spec.setf.is_some()).then_some(Self(spec))
    }

    fn set(&self, msg: &Message, mut value: ffi::pv_value_t) -> bool {
        let Some(set) = self.0.setf else { return false };
        let param = (&raw const self.0.pvp).cast_mut();
        // SAFETY: the host's setter with the parameter that it made; it copies the value.
        unsafe { set(msg.as_ptr(), param, ffi::EQ_T as c_int, &raw mut value) >= 0 }
    }

    /// Sets it to a number.
    pub fn set_int(&self, msg: &Message, number: i32) -> bool {
        // SAFETY: numbers and pointers, for which zero is the empty value.
        let mut value: ffi::pv_value_t = unsafe { core::mem::zeroed() };
        value.flags = (ffi::PV_VAL_INT | ffi::PV_TYPE_INT) as c_int;
        value.ri = number as _;
        self.set(msg, value)
    }

    /// Sets it to a text.
    pub fn set_text(&self, msg: &Message, text: &[u8]) -> bool {
        // SAFETY: as above.
        let mut value: ffi::pv_value_t = unsafe { core::mem::zeroed() };
        value.flags = ffi::PV_VAL_STR as c_int;
        value.rs = text::lent(text);
        self.set(msg, value)
    }
}
