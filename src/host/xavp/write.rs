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

/// The name of a field. Its hash, which the host compares first, is made once in each process.
pub struct Name {
    text: &'static [u8],
    /// 0 until it is made.
    hash: AtomicU32,
}

impl Name {
    /// Of a text, which is not empty.
    pub const fn new(text: &'static [u8]) -> Self {
        Self { text, hash: AtomicU32::new(0) }
    }

    fn key(&self) -> Key<'_> {
        match self.hash.load(Ordering::Relaxed) {
            0 => {
                let key = Key::of(self.text);
                self.hash.store(key.hash, Ordering::Relaxed);
                key
            }
            hash => Key { text: self.text, hash },
        }
    }
}

/// A name with its hash.
#[derive(Clone, Copy)]
struct Key<'a> {
    text: &'a [u8],
    hash: u32,
}

impl<'a> Key<'a> {
    fn of(text: &'a [u8]) -> Self {
        let name = text::lent(text);
        // SAFETY: the host reads as many bytes as there are.
        Self { text, hash: unsafe { ffi::shim_hash(name.s, name.len) } }
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
    name: &'a [u8],
    key: Option<Key<'a>>,
    last: *mut ffi::sr_xavp_t,
}

impl<'a> Writer<'a> {
    /// Records of this name, which is not empty.
    pub fn new(name: &'a [u8]) -> Self {
        Self { name, key: None, last: null_mut() }
    }

    /// Adds a record with those of these fields that are there. In it the last one comes first, as in what the host makes.
    pub fn add<const N: usize>(&mut self, fields: &[Option<Field<'_>>; N]) -> Result<(), NoMemory> {
        let key = *self.key.get_or_insert_with(|| Key::of(self.name));
        let record = record(key, fields)?;
        // SAFETY: in no list yet. `last` is null, which names the head of the transaction's list, or the record that we added
        // last in this same call from the script.
        unsafe { ffi::xavp_add_after(record, self.last) };
        self.last = record;
        Ok(())
    }
}

/// Adds a record `name` with this one number, before all others of the name.
pub fn add_int(name: &[u8], field: &Name, number: i32) -> Result<(), NoMemory> {
    Writer::new(name).add(&[Some((field, Value::int(number)))])
}

/// A record that is in no list yet.
fn record<const N: usize>(
    key: Key<'_>,
    fields: &[Option<Field<'_>>; N],
) -> Result<*mut ffi::sr_xavp_t, NoMemory> {
    let (record, blocks) = blocks(key.text, fields)?;
    let mut list = null_mut();
    for ((name, value), block) in fields.iter().flatten().zip(blocks) {
        // SAFETY: ours, and made for this name and value.
        unsafe { fill(block, name.key(), *value, list) };
        list = block;
    }
    // SAFETY: ours, and made for this name.
    unsafe { fill(record, key, Value::record(list), null_mut()) };
    Ok(record)
}

/// A block for a record of this name, and one for each of the fields that are there: all or none.
fn blocks<const N: usize>(
    name: &[u8],
    fields: &[Option<Field<'_>>; N],
) -> Result<(*mut ffi::sr_xavp_t, [*mut ffi::sr_xavp_t; N]), NoMemory> {
    let (mut record, mut blocks) = (null_mut(), [null_mut(); N]);
    let memory = Locked::new();
    let get = |name: &[u8], text: Option<&[u8]>, block: &mut *mut ffi::sr_xavp_t| {
        let size = size_of::<ffi::sr_xavp_t>() + with_end(name) + text.map_or(0, with_end);
        *block = memory.alloc(size).cast();
        !block.is_null()
    };
    let mut wanted = fields.iter().flatten().zip(&mut blocks);
    let all = wanted.all(|((name, value), block)| get(name.text, value.behind(), block))
        && get(name, None, &mut record);
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
unsafe fn fill(block: *mut ffi::sr_xavp_t, key: Key<'_>, value: Value<'_>, next: *mut ffi::sr_xavp_t) {
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
            val.v.s = put(text, behind.add(with_end(key.text)));
        }
        block.write(ffi::sr_xavp_t { id: key.hash, name: put(key.text, behind), val, next });
    }
}
