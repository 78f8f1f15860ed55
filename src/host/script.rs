//! Arguments and answers of script functions, for any script language.

use super::message::Message;
use super::{ffi, guard::guard, log, text};
use core::ffi::{c_char, c_int};
use core::ptr::NonNull;

/// The answer of a script function. None here means to end the script, which the host reads from a 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// True: 1.
    True,
    /// True, though not all was done: 2.
    InPart,
    /// False: this negative code, which a script finds in `$rc`.
    False(i32),
}

impl Verdict {
    /// The plain false.
    pub const FALSE: Self = Self::False(-1);

    /// As the host wants it.
    pub fn code(self) -> c_int {
        match self {
            Self::True => 1,
            Self::InPart => 2,
            // Zero or more would end the script or be true.
            Self::False(code) => code.min(-1),
        }
    }
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, or a variable that holds one.
    Int,
    /// A text, in which there may be variables.
    Text,
}

/// An argument as a function declares it.
#[derive(Debug, Clone, Copy)]
pub struct Argument {
    /// For messages.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// An argument as a call gives it.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// For [`Kind::Int`].
    Int(i32),
    /// For [`Kind::Text`].
    Text(&'a [u8]),
}

/// The arguments of a call: as many, and of such kinds, as the function declares.
pub struct Values<'a>(pub &'a [Value<'a>]);

impl<'a> Values<'a> {
    /// The number at this place; 0 if the call gives none.
    pub fn int(&self, at: usize) -> i32 {
        match self.0.get(at) {
            Some(Value::Int(number)) => *number,
            _ => 0,
        }
    }

    /// The text at this place; empty if the call gives none.
    pub fn text(&self, at: usize) -> &'a [u8] {
        match self.0.get(at) {
            Some(Value::Text(text)) => text,
            _ => &[],
        }
    }

    /// How many the call gives.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it gives none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A script function.
pub type Function = fn(&mut Message, &Values<'_>) -> Verdict;

/// Enters `function` from the native script. An argument that cannot be used is told and answered with `bad`.
///
/// # Safety
/// `msg` and `raw` are what the host passed to an exported function whose arguments the fix-up of
/// [`super::export`] prepared.
#[inline] // into the entry of each function: it knows the function, and the number and the kinds of the arguments
pub unsafe fn enter<const N: usize>(
    msg: *mut ffi::sip_msg,
    raw: [*mut c_char; N],
    arguments: &[Argument],
    name: &'static str,
    bad: c_int,
    function: impl Fn(&mut Message, &Values<'_>) -> Verdict,
) -> c_int {
    let call = |message: &mut Message| {
        // The way to a selection has no room for an allocation.
        let mut values = [Value::Int(0); N];
        for ((argument, raw), place) in arguments.iter().zip(raw).zip(&mut values) {
            // SAFETY: from the host, prepared.
            if let Err(found) = unsafe { read(msg, raw, *argument, place) } {
                tell(name, *argument, found);
                return bad;
            }
        }
        function(message, &Values(values.get(..arguments.len()).unwrap_or_default())).code()
    };
    // SAFETY: from the host.
    unsafe { with_message(msg, call) }
}

/// Tells of an argument that cannot be used.
#[cold]
fn tell(name: &str, argument: Argument, found: &[u8]) {
    let expected = match argument.kind {
        Kind::Int => "a whole number",
        Kind::Text => "a text",
    };
    let shown = found.get(..SHOWN).unwrap_or(found).escape_ascii();
    let argument = argument.name;
    log::error(format_args!("{name}: argument '{argument}': expected {expected}, found '{shown}'"));
}

/// Bytes of an argument that a log line shows.
const SHOWN: usize = 60;

/// Enters `function` with arguments that are read already.
///
/// # Safety
/// `msg` is what the host passed to an exported function.
pub unsafe fn enter_with(msg: *mut ffi::sip_msg, values: &[Value<'_>], function: Function) -> c_int {
    // SAFETY: from the host.
    unsafe { with_message(msg, |message| function(message, &Values(values)).code()) }
}

/// # Safety
/// `msg` is what the host passed to an exported function.
#[inline(always)] // it is the way into each function
unsafe fn with_message(msg: *mut ffi::sip_msg, call: impl FnOnce(&mut Message) -> c_int) -> c_int {
    guard(Verdict::FALSE.code(), || {
        // SAFETY: from the host, for the time of this call.
        match unsafe { Message::from_host(msg) } {
            Some(mut message) => call(&mut message),
            None => Verdict::FALSE.code(),
        }
    })
}

/// Puts the value of an argument into its place; if it has none of its kind, gives back what was found instead.
///
/// # Safety
/// `raw` is null or an argument that the fix-up for its kind prepared; texts stay as they are for the time of the call.
#[inline]
unsafe fn read<'a>(
    msg: *mut ffi::sip_msg,
    raw: *mut c_char,
    argument: Argument,
    place: &mut Value<'a>,
) -> Result<(), &'a [u8]> {
    let Some(param) = NonNull::new(raw.cast::<ffi::fparam_t>()) else { return Err(&[]) };
    // SAFETY: the caller's promise.
    let given = unsafe { param.as_ref() };
    *place = match argument.kind {
        // As good as always a number is written out.
        Kind::Int if u32::try_from(given.type_) == Ok(ffi::FPARAM_INT) => {
            // SAFETY: the tag says that it is a number.
            Value::Int(unsafe { given.v.i })
        }
        // SAFETY: the caller's promise.
        Kind::Int => Value::Int(unsafe { number(msg, param) }?),
        // SAFETY: the caller's promise.
        Kind::Text => Value::Text(unsafe { text(msg, param) }?),
    };
    Ok(())
}

/// # Safety
/// As for [`read`].
unsafe fn text<'a>(msg: *mut ffi::sip_msg, param: NonNull<ffi::fparam_t>) -> Result<&'a [u8], &'a [u8]> {
    let mut string = ffi::str_ { s: core::ptr::null_mut(), len: 0 };
    // SAFETY: the caller's promise; the text is ours to fill.
    let got = unsafe { ffi::get_str_fparam(&raw mut string, msg, param.as_ptr()) };
    // SAFETY: filled by the host.
    if got == 0 { Ok(unsafe { text::bytes(string) }) } else { Err(&[]) }
}

/// # Safety
/// As for [`read`].
unsafe fn number<'a>(msg: *mut ffi::sip_msg, param: NonNull<ffi::fparam_t>) -> Result<i32, &'a [u8]> {
    let (mut number, mut kinds) = (0, 0);
    let mut string = ffi::str_ { s: core::ptr::null_mut(), len: 0 };
    // SAFETY: the caller's promise; number and text are ours to fill.
    let got =
        unsafe { ffi::get_is_fparam(&raw mut number, &raw mut string, msg, param.as_ptr(), &raw mut kinds) };
    if got == 0 && kinds & ffi::PARAM_INT != 0 {
        return Ok(number);
    }
    // SAFETY: empty, or filled by the host.
    let found = unsafe { text::bytes(string) };
    let number = core::str::from_utf8(found).ok().and_then(|text| text.trim().parse().ok());
    number.ok_or(found)
}
