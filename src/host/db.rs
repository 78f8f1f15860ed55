//! A table of a database, through the server's own database interface (`libsrdb1`) and one of its modules: `db_mysql`,
//! `db_postgres`, `db_sqlite`, `db_text` or another.
//!
//! A connection lives for one reading: a server that went away and came back is no special case.

use super::{ffi, text};
use core::ffi::CStr;
use core::ptr::null_mut;
use std::sync::OnceLock;

/// The module's functions.
struct Functions(ffi::db_func_t);

// SAFETY: addresses of functions, filled in before the fork.
unsafe impl Send for Functions {}
// SAFETY: as above.
unsafe impl Sync for Functions {}

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();

/// Gets the functions of the database module that the URL (`mysql://…`) names. Once, in `mod_init`.
pub fn load(url: &[u8]) -> Result<(), &'static str> {
    // SAFETY: a struct of addresses, for which zero is none.
    let mut functions: ffi::db_func_t = unsafe { core::mem::zeroed() };
    let url = text::kept(url);
    // SAFETY: the host reads the text; the struct is ours to fill.
    if unsafe { ffi::db_bind_mod(&raw const url, &raw mut functions) } < 0 {
        return Err("the module for this database is not loaded (loadmodule \"db_….so\", before dispatcher)");
    }
    FUNCTIONS.set(Functions(functions)).map_err(|_| "the database is loaded twice")
}

/// A value.
pub enum Value<'a> {
    /// None.
    Null,
    /// A number.
    Int(i64),
    /// A text.
    Text(&'a [u8]),
    /// Something else.
    Other(&'static str),
}

/// An open connection.
pub struct Connection {
    functions: &'static ffi::db_func_t,
    raw: *mut ffi::db1_con_t,
}

impl Connection {
    /// Connects.
    pub fn open(url: &[u8]) -> Result<Self, String> {
        let functions = &FUNCTIONS.get().ok_or("no database module")?.0;
        let init = functions.init.ok_or("the database module cannot connect")?;
        let url = text::copied(url);
        // SAFETY: the host reads the text, which ends with a zero, and keeps a copy.
        let raw = unsafe { init(&raw const url.text) };
        if raw.is_null() {
            return Err("cannot connect, see the log".into());
        }
        Ok(Self { functions, raw })
    }

    /// The version of a table, from the table `version`.
    pub fn version_of(&self, table: &[u8]) -> Result<u32, String> {
        let table = text::copied(table);
        // SAFETY: an open connection and its functions.
        let version = unsafe { ffi::db_table_version(self.functions, self.raw, &raw const table.text) };
        u32::try_from(version)
            .map_err(|_| "its version cannot be read from the table 'version', see the log".into())
    }

    /// Reads these columns of all rows; each row goes to `row` with its number, from 1.
    pub fn read(
        &self,
        table: &[u8],
        columns: &[&[u8]],
        mut row: impl FnMut(usize, &[Value<'_>]),
    ) -> Result<(), String> {
        let functions = self.functions;
        let (Some(use_table), Some(query), Some(free)) =
            (functions.use_table, functions.query, functions.free_result)
        else {
            return Err("the database module cannot read tables".into());
        };
        let table = text::copied(table);
        let mut names: Vec<_> = columns.iter().map(|name| text::copied(name)).collect();
        let mut keys: Vec<ffi::db_key_t> = names.iter_mut().map(|name| &raw mut name.text).collect();
        let mut result: *mut ffi::db1_res_t = null_mut();
        // SAFETY: an open connection; the texts live for longer than the calls; a result is ours until it is given back.
        unsafe {
            if use_table(self.raw, &raw const table.text) < 0 {
                return Err("the table cannot be used, see the log".into());
            }
            let (none, count) = (null_mut(), keys.len() as i32);
            let done = query(
                self.raw,
                none,
                null_mut(),
                null_mut(),
                keys.as_mut_ptr(),
                0,
                count,
                null_mut(),
                &raw mut result,
            );
            let owned = Rows { connection: self, free, raw: result };
            let Some(found) = owned.raw.as_ref().filter(|_| done >= 0) else {
                return Err("the table cannot be read, see the log".into());
            };
            for at in 0..usize::try_from(found.n).unwrap_or(0) {
                let raw = &*found.rows.add(at);
                let len = usize::try_from(raw.n).unwrap_or(0);
                let values =
                    if raw.values.is_null() { &[] } else { core::slice::from_raw_parts(raw.values, len) };
                let values: Vec<_> = values.iter().map(|one| value(one)).collect();
                row(at + 1, &values);
            }
        }
        Ok(())
    }
}

/// A result, until it is given back.
struct Rows<'a> {
    connection: &'a Connection,
    free: unsafe extern "C" fn(*mut ffi::db1_con_t, *mut ffi::db1_res_t) -> core::ffi::c_int,
    raw: *mut ffi::db1_res_t,
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: a result of this connection, which nobody uses any more.
            unsafe { (self.free)(self.connection.raw, self.raw) };
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(close) = self.functions.close {
            // SAFETY: open until now.
            unsafe { close(self.raw) };
        }
    }
}

/// # Safety
/// `value` is of a result that is still there.
unsafe fn value(value: &ffi::db_val_t) -> Value<'_> {
    if value.nul != 0 {
        return Value::Null;
    }
    // SAFETY: the host tags the union with the type; texts are in the result.
    unsafe {
        match value.type_ {
            ffi::DB1_INT => Value::Int(value.val.int_val.into()),
            ffi::DB1_BIGINT => Value::Int(value.val.ll_val),
            ffi::DB1_UINT => Value::Int(value.val.uint_val.into()),
            ffi::DB1_UBIGINT => {
                i64::try_from(value.val.ull_val).map_or(Value::Other("number too large"), Value::Int)
            }
            ffi::DB1_BITMAP => Value::Int(value.val.bitmap_val.into()),
            ffi::DB1_STRING if value.val.string_val.is_null() => Value::Null,
            ffi::DB1_STRING => Value::Text(CStr::from_ptr(value.val.string_val).to_bytes()),
            ffi::DB1_STR => Value::Text(text::bytes(value.val.str_val)),
            ffi::DB1_BLOB => Value::Text(text::bytes(value.val.blob_val)),
            ffi::DB1_DOUBLE => Value::Other("number with a fraction"),
            ffi::DB1_DATETIME => Value::Other("date"),
            _ => Value::Other("value of a kind that is not known"),
        }
    }
}
