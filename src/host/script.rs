//! What a script function gets and gives back.

use super::message::Message;
use super::{ffi, guard::guard, text};
use core::ffi::{c_char, c_int};
use core::fmt;
use core::ptr::NonNull;

/// The answer of a script function. None here means to end the script, which the host reads from a 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// True: 1.
    True,
    /// False: this negative code, which a script finds in `$rc`.
    False(i32),
}

impl Verdict {
    /// The plain false.
    pub const FALSE: Self = Self::False(-1);

    fn code(self) -> c_int {
        match self {
            Self::True => 1,
            // Zero or more would end the script or be true.
            Self::False(code) => code.min(-1),
        }
    }
}

/// The arguments of a call, as the host's fix-ups left them.
pub struct Args<'a> {
    raw: &'a [*mut c_char],
    msg: *mut ffi::sip_msg,
}

/// An argument that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct BadArgument {
    name: &'static str,
    due: &'static str,
    found: Vec<u8>,
}

/// Bytes of an argument that a log line shows.
const SHOWN: usize = 60;

impl fmt::Display for BadArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, due, found } = self;
        match found.get(..SHOWN).unwrap_or(found) {
            [] => write!(f, "argument '{name}': {due} is due, found nothing"),
            found => write!(f, "argument '{name}': {due} is due, found '{}'", found.escape_ascii()),
        }
    }
}

impl Args<'_> {
    fn raw(&self, at: usize) -> Option<NonNull<ffi::fparam_t>> {
        self.raw.get(at).and_then(|&raw| NonNull::new(raw.cast()))
    }

    /// Whether the script gave this argument.
    pub fn has(&self, at: usize) -> bool {
        self.raw(at).is_some()
    }

    /// A whole number: written in the script, or what a variable holds.
    pub fn int(&self, at: usize, name: &'static str) -> Result<i32, BadArgument> {
        let bad = |found: &[u8]| BadArgument { name, due: "a whole number", found: found.to_vec() };
        let Some(param) = self.raw(at) else { return Err(bad(&[])) };
        let (mut number, mut string, mut kinds) = (0, ffi::str_ { s: core::ptr::null_mut(), len: 0 }, 0);
        // SAFETY: the fix-up of this function made an `fparam_t` of the argument; the others are ours.
        let got = unsafe {
            ffi::get_is_fparam(&raw mut number, &raw mut string, self.msg, param.as_ptr(), &raw mut kinds)
        };
        if got == 0 && kinds & ffi::PARAM_INT != 0 {
            return Ok(number);
        }
        // SAFETY: empty, or text of the variable that stays as it is while we look.
        let found = unsafe { text::bytes(string) };
        let text = core::str::from_utf8(found).ok().and_then(|text| text.trim().parse().ok());
        text.ok_or_else(|| bad(found))
    }

    /// A text: written in the script, or what its variables give.
    pub fn text(&self, at: usize, name: &'static str) -> Result<&[u8], BadArgument> {
        let bad = BadArgument { name, due: "a text", found: Vec::new() };
        let Some(param) = self.raw(at) else { return Err(bad) };
        let mut string = ffi::str_ { s: core::ptr::null_mut(), len: 0 };
        // SAFETY: as above.
        if unsafe { ffi::get_str_fparam(&raw mut string, self.msg, param.as_ptr()) } != 0 {
            return Err(bad);
        }
        // SAFETY: text of the host that stays as it is until the next look at a variable.
        Ok(unsafe { text::bytes(string) })
    }
}

/// A script function.
pub type Function = fn(&mut Message, &Args<'_>) -> Verdict;

/// Enters `function` from the host.
///
/// # Safety
/// `msg` and `raw` are what the host passed to an exported function.
pub unsafe fn enter(msg: *mut ffi::sip_msg, raw: &[*mut c_char], function: Function) -> c_int {
    guard(Verdict::FALSE.code(), || {
        // SAFETY: from the host, for the time of this call.
        let Some(mut message) = (unsafe { Message::from_host(msg) }) else { return Verdict::FALSE.code() };
        let args = Args { raw, msg: message.as_ptr() };
        function(&mut message, &args).code()
    })
}
