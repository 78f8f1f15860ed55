//! Writing records. The host's own functions take the lock of the shared memory for each field; here one hold of it gets the
//! memory of a whole record.
//!
//! Model: a field is a block of shared memory with the host's `sr_xavp_t`, behind it the name, and behind that the value if it
//! is a text, each with a zero at its end. A record is one more such block, whose value is the list of its fields. The host
//! frees block by block, so each is an allocation of its own.
//!
//! Not here: how lists are linked, which is left to the host.

use super::{NoMemory, int_value, text_value, value};
use crate::host::{ffi, mem::Locked, text};
use crate::shm::Foreign;
use core::marker::PhantomData;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicU32, Ordering};
use std::borrow::Cow;

/// A name with its hash, which the host compares first. The hash is made once in each process.
pub struct Name {
    text: Cow<'static, [u8]>,
    /// 0 until it is made.
    hash: AtomicU32,
}

impl Name {
    /// The name of a field.
    pub const fn new(text: &'static [u8]) -> Self {
        Self { text: Cow::Borrowed(text), hash: AtomicU32::new(0) }
    }

    /// A name that an operator may choose. An empty one is none and must not be used.
    pub fn chosen(text: &[u8]) -> Self {
        Self { text: Cow::Owned(text.to_vec()), hash: AtomicU32::new(0) }
    }

    fn hash(&self) -> u32 {
        match self.hash.load(Ordering::Relaxed) {
            0 => {
                let name = text::lent(&self.text);
                // SAFETY: the host reads as many bytes as there are.
                let hash = unsafe { ffi::shim_hash(name.s, name.len) };
                self.hash.store(hash, Ordering::Relaxed);
                hash
            }
            hash => hash,
        }
    }
}

/// The value of a field. The record has a copy of a text.
#[derive(Clone, Copy)]
pub struct Value<'a>(ffi::sr_xval_t, PhantomData<&'a [u8]>);

impl<'a> Value<'a> {
    /// A text.
    pub fn text(text: &'a [u8]) -> Self {
        Self(text_value(text), PhantomData)
    }

    /// A number.
    pub fn int(number: i32) -> Self {
        Self(int_value(number), PhantomData)
    }

    /// A socket.
    pub fn socket(socket: Foreign) -> Self {
        let mut held = value(ffi::SR_XTYPE_VPTR);
        held.v.vptr = socket.0.as_ptr();
        Self(held, PhantomData)
    }

    /// A list of fields.
    fn record(fields: *mut ffi::sr_xavp_t) -> Self {
        let mut held = value(ffi::SR_XTYPE_XAVP);
        held.v.xavp = fields;
        Self(held, PhantomData)
    }

    /// What goes behind the name.
    fn behind(&self) -> Option<&'a [u8]> {
        // SAFETY: the tag says that it is a text, and `text` borrowed it for as long.
        (self.0.type_ == ffi::SR_XTYPE_STR).then(|| unsafe { text::bytes(self.0.v.s) })
    }
}

/// A field of a record.
pub type Field<'a> = (&'a Name, Value<'a>);

/// Adds records of one name, the first at the head of the transaction's list and each next after the one before.
pub struct Writer<'a> {
    name: &'a Name,
    last: *mut ffi::sr_xavp_t,
}

impl<'a> Writer<'a> {
    /// Records of this name.
    pub fn new(name: &'a Name) -> Self {
        Self { name, last: null_mut() }
    }

    /// Adds a record with those of these fields that are there. In it the last one comes first, as in what the host makes.
    pub fn add<const N: usize>(&mut self, fields: &[Option<Field<'_>>; N]) -> Result<(), NoMemory> {
        let record = record(self.name, fields)?;
        // SAFETY: in no list yet. `last` is null, which names the head of the transaction's list, or the record that we added
        // last in this same call from the script.
        unsafe { ffi::xavp_add_after(record, self.last) };
        self.last = record;
        Ok(())
    }
}

/// Adds a record `name` with this one number, before all others of the name.
pub fn add_int(name: &Name, field: &Name, number: i32) -> Result<(), NoMemory> {
    Writer::new(name).add(&[Some((field, Value::int(number)))])
}

/// A record that is in no list yet.
fn record<const N: usize>(
    name: &Name,
    fields: &[Option<Field<'_>>; N],
) -> Result<*mut ffi::sr_xavp_t, NoMemory> {
    let (record, blocks) = blocks(name, fields)?;
    let mut list = null_mut();
    for (field, block) in fields.iter().zip(blocks) {
        let Some((field, value)) = field else { continue };
        // SAFETY: ours, and made for this name and value.
        unsafe { fill(block, field, *value, list) };
        list = block;
    }
    // SAFETY: ours, and made for this name.
    unsafe { fill(record, name, Value::record(list), null_mut()) };
    Ok(record)
}

/// A block for a record of this name, and one for each of the fields that are there: all or none.
fn blocks<const N: usize>(
    name: &Name,
    fields: &[Option<Field<'_>>; N],
) -> Result<(*mut ffi::sr_xavp_t, [*mut ffi::sr_xavp_t; N]), NoMemory> {
    let (mut record, mut blocks) = (null_mut(), [null_mut(); N]);
    let memory = Locked::new();
    let get = |name: &Name, text: Option<&[u8]>, block: &mut *mut ffi::sr_xavp_t| {
        let size = size_of::<ffi::sr_xavp_t>() + with_end(&name.text) + text.map_or(0, with_end);
        *block = memory.alloc(size).cast();
        !block.is_null()
    };
    // In the order in which the host frees them, which then are neighbours upwards: `fm` joins a block with the free one behind
    // it, and would cut it again for the next record.
    let mut wanted = fields.iter().zip(&mut blocks).rev();
    let mut field = |(field, block): (&Option<Field<'_>>, &mut _)| {
        field.as_ref().is_none_or(|(name, value)| get(name, value.behind(), block))
    };
    let all = wanted.all(&mut field) && get(name, None, &mut record);
    drop(memory);
    if all {
        return Ok((record, blocks));
    }
    for block in blocks.into_iter().filter(|block| !block.is_null()) {
        // SAFETY: of the shared memory, and nobody else has it.
        unsafe { ffi::shim_shm_free(block.cast()) };
    }
    Err(NoMemory)
}

/// The bytes of a text with the zero behind it.
fn with_end(text: &[u8]) -> usize {
    text.len() + 1
}

/// # Safety
/// `block` has room for all of this and nobody else has it.
unsafe fn fill(block: *mut ffi::sr_xavp_t, name: &Name, value: Value<'_>, next: *mut ffi::sr_xavp_t) {
    // SAFETY: the texts are in two places behind the fixed part, where there is room for them and their zeros.
    unsafe {
        let put = |text: &[u8], at: *mut u8| {
            at.copy_from_nonoverlapping(text.as_ptr(), text.len());
            at.add(text.len()).write(0);
            ffi::str_ { s: at.cast(), ..text::lent(text) }
        };
        let behind = block.add(1).cast::<u8>();
        let mut val = value.0;
        if let Some(text) = value.behind() {
            val.v.s = put(text, behind.add(with_end(&name.text)));
        }
        block.write(ffi::sr_xavp_t { id: name.hash(), name: put(&name.text, behind), val, next });
    }
}
