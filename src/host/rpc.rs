//! A remote procedure call: its parameters and its answer.

use super::{ffi, guard::guard, text};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::{NonNull, null_mut};
use std::ffi::CString;

/// A call, whatever the transport.
pub struct Rpc {
    raw: NonNull<ffi::rpc_t>,
    ctx: *mut c_void,
}

/// The transport took no more of the answer.
#[derive(Debug)]
pub struct Broken;

/// An RPC function.
pub type Function = fn(&Rpc);

/// Enters `function` from the host.
///
/// # Safety
/// `rpc` and `ctx` are what the host passed to an exported function.
pub unsafe fn enter(rpc: *mut ffi::rpc_t, ctx: *mut c_void, function: Function) {
    let Some(raw) = NonNull::new(rpc) else { return };
    let call = Rpc { raw, ctx };
    if guard(true, || {
        function(&call);
        false
    }) {
        call.fault(500, "internal error, see the log");
    }
}

/// A number, a text, two more numbers and a last text.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // in that order
pub struct Mixed<'a> {
    pub number: i32,
    pub text: &'a [u8],
    pub numbers: [i32; 2],
    pub last: &'a [u8],
}

const TEXT: &CStr = c"%s";

impl Rpc {
    fn table(&self) -> &ffi::rpc_t {
        // SAFETY: valid for the time of the call.
        unsafe { self.raw.as_ref() }
    }

    /// Answers with an error.
    pub fn fault(&self, code: c_int, text: &str) {
        let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
        if let Some(fault) = self.table().fault {
            // SAFETY: the format takes one text with an end.
            unsafe { fault(self.ctx, code, TEXT.as_ptr().cast_mut(), text.as_ptr()) };
        }
    }

    /// Answers with a line of text.
    pub fn say(&self, text: &str) {
        let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
        if let Some(print) = self.table().rpl_printf {
            // SAFETY: as above.
            unsafe { print(self.ctx, TEXT.as_ptr().cast_mut(), text.as_ptr()) };
        }
    }

    /// The first parameter as a text, where there is one.
    pub fn optional_text(&self) -> Option<&[u8]> {
        let mut first = text::lent(&[]);
        let scan = self.table().scan?;
        // SAFETY: the format takes one text, which stays as it is for the time of the call.
        let got = unsafe { scan(self.ctx, c"*S".as_ptr().cast_mut(), &raw mut first) };
        // SAFETY: as above.
        (got == 1).then(|| unsafe { text::bytes(first) })
    }

    /// A text and three numbers, as far as they are there.
    pub fn optional_text_ints(&self) -> Option<(&[u8], [Option<i32>; 3])> {
        let mut first = text::lent(&[]);
        let mut numbers: [c_int; 3] = [0; 3];
        let [second, third, fourth] = &mut numbers;
        let scan = self.table().scan?;
        let format = c"*Sddd".as_ptr().cast_mut();
        // SAFETY: the format takes a text, which stays as it is for the time of the call, and three numbers.
        let got = unsafe {
            scan(self.ctx, format, &raw mut first, &raw mut *second, &raw mut *third, &raw mut *fourth)
        };
        let got = usize::try_from(got).ok()?;
        let numbers = core::array::from_fn(|at| numbers.get(at).copied().filter(|_| got > at + 1));
        let first = if got == 0 { text::lent(&[]) } else { first };
        // SAFETY: as above.
        Some((unsafe { text::bytes(first) }, numbers))
    }

    /// Up to three numbers, as far as they are there.
    pub fn optional_ints(&self) -> [Option<i32>; 3] {
        let mut numbers: [c_int; 3] = [0; 3];
        let [first, second, third] = &mut numbers;
        let Some(scan) = self.table().scan else { return [None; 3] };
        let format = c"*ddd".as_ptr().cast_mut();
        // SAFETY: the format takes three numbers.
        let got = unsafe { scan(self.ctx, format, &raw mut *first, &raw mut *second, &raw mut *third) };
        let got = usize::try_from(got).unwrap_or(0);
        core::array::from_fn(|at| numbers.get(at).copied().filter(|_| got > at))
    }

    /// A number.
    pub fn int(&self) -> Option<i32> {
        let mut first: c_int = 0;
        let scan = self.table().scan?;
        // SAFETY: the format takes one number.
        let got = unsafe { scan(self.ctx, c"d".as_ptr().cast_mut(), &raw mut first) };
        (got == 1).then_some(first)
    }

    /// Two numbers, and a text where there is one.
    pub fn ints_and_text(&self) -> Option<(i32, i32, Option<&[u8]>)> {
        let (mut first, mut second, mut third) = (0 as c_int, 0 as c_int, text::lent(&[]));
        let scan = self.table().scan?;
        let format = c"dd*S".as_ptr().cast_mut();
        // SAFETY: the format takes two numbers and a text, which stays as it is for the time of the call.
        let got = unsafe { scan(self.ctx, format, &raw mut first, &raw mut second, &raw mut third) };
        // SAFETY: as above.
        let third = (got > 2).then(|| unsafe { text::bytes(third) });
        (got >= 2).then_some((first, second, third))
    }

    /// A number, a text, and another text that is empty where there is none.
    pub fn int_text_and_text(&self) -> Option<(i32, &[u8], &[u8])> {
        let (mut first, mut second, mut third) = (0 as c_int, text::lent(&[]), text::lent(&[]));
        let scan = self.table().scan?;
        let format = c"dS*S".as_ptr().cast_mut();
        // SAFETY: the format takes a number and two texts, which stay as they are for the time of the call.
        let got = unsafe { scan(self.ctx, format, &raw mut first, &raw mut second, &raw mut third) };
        let third = if got < 3 { text::lent(&[]) } else { third };
        // SAFETY: as above.
        (got >= 2).then(|| unsafe { (first, text::bytes(second), text::bytes(third)) })
    }

    /// A number, a text, and where they are there two numbers and a text; `missing` and empty where they are not.
    pub fn int_text_and_ints_text(&self, missing: i32) -> Option<Mixed<'_>> {
        let (mut first, mut second) = (0 as c_int, text::lent(&[]));
        let (mut third, mut fourth, mut fifth) = (missing, missing, text::lent(&[]));
        let scan = self.table().scan?;
        let format = c"dS*ddS".as_ptr().cast_mut();
        // SAFETY: the format takes these; the texts stay as they are for the time of the call.
        let got = unsafe {
            scan(
                self.ctx,
                format,
                &raw mut first,
                &raw mut second,
                &raw mut third,
                &raw mut fourth,
                &raw mut fifth,
            )
        };
        let fifth = if got < 5 { text::lent(&[]) } else { fifth };
        // SAFETY: as above.
        let (text, last) = unsafe { (text::bytes(second), text::bytes(fifth)) };
        (got >= 2).then_some(Mixed { number: first, text, numbers: [third, fourth], last })
    }

    /// Three parameters: a text (a number is taken as one), a number, a text.
    pub fn text_int_text(&self) -> Option<(&[u8], i32, &[u8])> {
        let (mut first, mut second, mut third) = (text::lent(&[]), 0 as c_int, text::lent(&[]));
        let scan = self.table().scan?;
        let format = c".SdS".as_ptr().cast_mut();
        // SAFETY: the format takes a text, a number and a text; the texts stay as they are for the time of the call.
        let got = unsafe { scan(self.ctx, format, &raw mut first, &raw mut second, &raw mut third) };
        // SAFETY: as above.
        (got == 3).then(|| unsafe { (text::bytes(first), second, text::bytes(third)) })
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
        self.add(c"u", name, number)
    }

    /// Adds a long number without sign.
    pub fn unsigned_long(&self, name: &CStr, number: u64) -> Result<(), Broken> {
        self.add(c"j", name, number)
    }

    /// Adds a number with a fraction.
    pub fn double(&self, name: &CStr, number: f64) -> Result<(), Broken> {
        self.add(c"f", name, number)
    }

    /// Adds a text.
    pub fn text(&self, name: &CStr, text: &[u8]) -> Result<(), Broken> {
        let mut text = text::lent(text);
        self.add(c"S", name, &raw mut text)
    }

    /// Adds a text, or nothing for an empty one: `null` where the transport has that.
    pub fn text_or_null(&self, name: &CStr, text: &[u8]) -> Result<(), Broken> {
        let mut text = text::lent(text);
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
