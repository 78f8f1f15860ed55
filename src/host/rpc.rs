//! A remote procedure call: its arguments and its answer.

use super::arguments::{Given, Signature, Wrong};
use super::script::{Argument, Kind};
use super::{ffi, guard::guard, text};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::{NonNull, null_mut};
use std::borrow::Cow;
use std::ffi::CString;

/// A call, whatever the transport.
pub struct Rpc {
    raw: NonNull<ffi::rpc_t>,
    ctx: *mut c_void,
    arguments: Vec<Given>,
}

/// The transport took no more of the answer.
#[derive(Debug)]
pub struct Broken;

/// An RPC function.
pub type Function = fn(&Rpc);

/// Most arguments that a command has.
pub const MOST: usize = 6;

/// Enters `function` from the host, with the arguments that the command declares. A call that gives others is answered with
/// the usage.
///
/// # Safety
/// `rpc` and `ctx` are what the host passed to an exported function.
pub unsafe fn enter(rpc: *mut ffi::rpc_t, ctx: *mut c_void, command: &Signature, function: Function) {
    let Some(raw) = NonNull::new(rpc) else { return };
    let mut call = Rpc { raw, ctx, arguments: Vec::new() };
    let failed = guard(true, || {
        match call.given(command.arguments).and_then(|given| command.check(given)) {
            Ok(arguments) => {
                call.arguments = arguments;
                function(&call);
            }
            Err(wrong) => call.fault(500, &command.told(&wrong)),
        }
        false
    });
    if failed {
        call.fault(500, "internal error, see the log");
    }
}

const TEXT: &CStr = c"%s";

/// A text that every transport can carry: UTF-8 stays as it is; control characters and bytes that are no UTF-8 are written as
/// `\xff`. The transports put texts into JSON unchecked, except that they escape quotes.
pub fn readable(text: &[u8]) -> Cow<'_, [u8]> {
    if core::str::from_utf8(text).is_ok_and(|text| !text.contains(char::is_control)) {
        return Cow::Borrowed(text);
    }
    let mut readable = Vec::with_capacity(text.len() * 2);
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).as_bytes();
            if letter.is_control() {
                readable.extend(bytes.escape_ascii());
            } else {
                readable.extend_from_slice(bytes);
            }
        }
        readable.extend(chunk.invalid().escape_ascii());
    }
    Cow::Owned(readable)
}

/// A line of an answer, with an end.
fn line(text: &str) -> CString {
    // No zero is left in it.
    CString::new(readable(text.as_bytes())).unwrap_or_default()
}

impl Rpc {
    fn table(&self) -> &ffi::rpc_t {
        // SAFETY: valid for the time of the call.
        unsafe { self.raw.as_ref() }
    }

    /// Answers with an error.
    pub fn fault(&self, code: c_int, text: &str) {
        let text = line(text);
        if let Some(fault) = self.table().fault {
            // SAFETY: the format takes one text with an end.
            unsafe { fault(self.ctx, code, TEXT.as_ptr().cast_mut(), text.as_ptr()) };
        }
    }

    /// Answers with a line of text.
    pub fn say(&self, text: &str) {
        let text = line(text);
        if let Some(print) = self.table().rpl_printf {
            // SAFETY: as above.
            unsafe { print(self.ctx, TEXT.as_ptr().cast_mut(), text.as_ptr()) };
        }
    }

    /// The number at this place; 0 where the call gives none.
    pub fn int(&self, at: usize) -> i32 {
        self.optional_int(at).unwrap_or(0)
    }

    /// The number at this place, where the call gives one.
    pub fn optional_int(&self, at: usize) -> Option<i32> {
        match self.arguments.get(at) {
            Some(Given::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// The text at this place; empty where the call gives none.
    pub fn text(&self, at: usize) -> &[u8] {
        self.optional_text(at).unwrap_or_default()
    }

    /// The text at this place, where the call gives one.
    pub fn optional_text(&self, at: usize) -> Option<&[u8]> {
        match self.arguments.get(at) {
            Some(Given::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// What the call gives, as many as are declared.
    fn given(&self, declared: &[Argument]) -> Result<Vec<Given>, Wrong> {
        if self.table().capabilities.is_none() {
            self.at_once(declared.len())
        } else {
            self.in_turn(declared)
        }
    }

    /// All by one question: the binary transport (kamcmd) says what cannot be a text by a negative answer to a question for
    /// several, and makes of each number a text of its own.
    fn at_once(&self, count: usize) -> Result<Vec<Given>, Wrong> {
        const FORMAT: &[u8; 2 * MOST + 2] = b"*.S.S.S.S.S.S\0";
        let mut texts = [text::lent(&[]); MOST];
        let [a, b, c, d, e, f] = &mut texts;
        let Some(scan) = self.table().scan else { return Ok(Vec::new()) };
        // The last letters of as many, with the zero behind them; the first is the mark of what need not be there.
        let mut format = *FORMAT;
        if let Some(end) = format.get_mut(2 * count + 1) {
            *end = 0;
        }
        let format = format.as_mut_ptr().cast();
        // SAFETY: the format takes at most as many texts as there are; they stay as they are for the time of the call.
        let got = unsafe {
            scan(
                self.ctx,
                format,
                &raw mut *a,
                &raw mut *b,
                &raw mut *c,
                &raw mut *d,
                &raw mut *e,
                &raw mut *f,
            )
        };
        let got = usize::try_from(got).map_err(|_| Wrong::NoValue(got.unsigned_abs() as usize))?;
        // SAFETY: as above.
        Ok(texts.iter().take(got).map(|text| Given::Text(unsafe { text::bytes(*text) }.to_vec())).collect())
    }

    /// One after the other: JSON-RPC makes texts of numbers in one place for all of them, and calls a text in the place of a
    /// number 0.
    fn in_turn(&self, declared: &[Argument]) -> Result<Vec<Given>, Wrong> {
        /// Elsewhere the host makes a 0 of the text of a negative number.
        const NUMBERS_AS_TEXTS: bool = cfg!(target_arch = "x86_64");
        let mut given = Vec::new();
        for argument in declared {
            let next = match argument.kind {
                Kind::Int if !NUMBERS_AS_TEXTS => self.scan_int().map(Given::Int),
                Kind::Int | Kind::Text => self.scan_text().map(Given::Text),
            };
            match next {
                Some(next) => given.push(next),
                // What is neither text nor number is still there, and says 0 if it is asked for a number.
                None if self.scan_int().is_some() => return Err(Wrong::NoValue(given.len())),
                None => break,
            }
        }
        Ok(given)
    }

    fn scan_int(&self) -> Option<i32> {
        let mut number: c_int = 0;
        let scan = self.table().scan?;
        // SAFETY: the format takes one number.
        let got = unsafe { scan(self.ctx, c"*d".as_ptr().cast_mut(), &raw mut number) };
        (got == 1).then_some(number)
    }

    fn scan_text(&self) -> Option<Vec<u8>> {
        let mut one = text::lent(&[]);
        let scan = self.table().scan?;
        // SAFETY: the format takes one text, which stays as it is until the next question.
        let got = unsafe { scan(self.ctx, c"*.S".as_ptr().cast_mut(), &raw mut one) };
        // SAFETY: as above.
        (got == 1).then(|| unsafe { text::bytes(one) }.to_vec())
    }

    /// Answers with a structure.
    pub fn structure(&self) -> Result<Struct<'_>, Broken> {
        let mut handle = null_mut::<c_void>();
        let add = self.table().add.ok_or(Broken)?;
        // SAFETY: the format takes the place of one handle.
        let done = unsafe { add(self.ctx, c"{".as_ptr().cast_mut(), &raw mut handle) };
        if done < 0 { Err(Broken) } else { Ok(Struct { rpc: self, handle }) }
    }
}

/// A structure, or an array of structures, of an answer.
#[derive(Clone, Copy)]
pub struct Struct<'a> {
    rpc: &'a Rpc,
    handle: *mut c_void,
}

impl Struct<'_> {
    fn add<T>(&self, format: &CStr, name: &CStr, value: T) -> Result<(), Broken> {
        let add = self.rpc.table().struct_add.ok_or(Broken)?;
        // SAFETY: each caller below passes the one type that its format takes.
        let done =
            unsafe { add(self.handle, format.as_ptr().cast_mut(), name.as_ptr().cast::<c_char>(), value) };
        if done < 0 { Err(Broken) } else { Ok(()) }
    }

    /// Adds a number.
    pub fn int(&self, name: &CStr, number: c_int) -> Result<(), Broken> {
        self.add(c"d", name, number)
    }

    /// Adds a number without sign.
    pub fn unsigned(&self, name: &CStr, number: u32) -> Result<(), Broken> {
        self.unsigned_long(name, number.into())
    }

    /// Adds a long number without sign. Every transport takes a plain number, and shows it the same; not all of them know the
    /// letter of a long one.
    pub fn unsigned_long(&self, name: &CStr, number: u64) -> Result<(), Broken> {
        if let Ok(plain) = c_int::try_from(number) {
            return self.int(name, plain);
        }
        self.add(c"j", name, number).or_else(|_| self.text(name, number.to_string().as_bytes()))
    }

    /// Adds a number with a fraction.
    pub fn double(&self, name: &CStr, number: f64) -> Result<(), Broken> {
        self.add(c"f", name, number)
    }

    /// Adds a text.
    pub fn text(&self, name: &CStr, text: &[u8]) -> Result<(), Broken> {
        let text = readable(text);
        let mut text = text::lent(&text);
        self.add(c"S", name, &raw mut text)
    }

    /// Adds a text, or nothing for an empty one: `null` where the transport has that.
    pub fn text_or_null(&self, name: &CStr, text: &[u8]) -> Result<(), Broken> {
        let text = readable(text);
        let mut text = text::lent(&text);
        if text.len == 0 {
            text.s = null_mut();
        }
        self.add(c"S", name, &raw mut text)
    }

    fn inner(&self, format: &CStr, name: &CStr) -> Result<Self, Broken> {
        let mut handle = null_mut::<c_void>();
        self.add(format, name, &raw mut handle)?;
        Ok(Self { rpc: self.rpc, handle })
    }

    /// Adds a structure.
    pub fn structure(&self, name: &CStr) -> Result<Self, Broken> {
        self.inner(c"{", name)
    }

    /// Adds an array; its elements are added as structures.
    pub fn array(&self, name: &CStr) -> Result<Self, Broken> {
        self.inner(c"[", name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_utf_8_without_control_characters_and_says_what_was_not() {
        let shown = |text: &[u8]| String::from_utf8(readable(text).into_owned()).unwrap();
        assert_eq!(shown("plain \"é\" \\ 中".as_bytes()), "plain \"é\" \\ 中");
        assert_eq!(shown(b"a\xffb\x01\x00\x7f\t\r\n"), "a\\xffb\\x01\\x00\\x7f\\t\\r\\n");
        // Half a letter, and a control character of two bytes.
        assert_eq!(shown(b"\xc3"), "\\xc3");
        assert_eq!(shown("\u{85}".as_bytes()), "\\xc2\\x85");
        for byte in 0..=u8::MAX {
            assert!(!shown(&[byte]).contains(char::is_control), "{byte}");
        }
    }
}
