//! A table of a database, through the server's own database interface (`libsrdb1`) and one of its modules: `db_mysql`,
//! `db_postgres`, `db_sqlite`, `db_text` or another.
//!
//! A connection lives for one reading: a server that went away and came back is no special case.

use super::{ffi, text};
use core::ffi::CStr;
use core::ptr::{NonNull, null_mut};
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
    /// A number that may have a fraction.
    Real(f64),
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
        let table = text::copied(table);
        let mut names: Vec<_> = columns.iter().map(|name| text::copied(name)).collect();
        let mut keys: Vec<ffi::db_key_t> = names.iter_mut().map(|name| &raw mut name.text).collect();
        let use_table = self.functions.use_table.ok_or(CANNOT_READ)?;
        // SAFETY: an open connection; the text lives for longer than the last query.
        if unsafe { use_table(self.raw, &raw const table.text) } < 0 {
            return Err("the table cannot be used, see the log".into());
        }
        let mut rows = self.query(&mut keys)?;
        if rows.is_bare() {
            // An empty table of some databases. But db_mysql says the same where the server went away while rows were
            // under way: then it knows by now.
            rows = self.query(&mut keys)?;
        }
        // SAFETY: a result that is there until `rows` goes; each row has as many values as it says.
        unsafe {
            let found = rows.found();
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

    /// All rows of the table in use.
    fn query(&self, keys: &mut [ffi::db_key_t]) -> Result<Rows<'_>, String> {
        let (Some(query), Some(free)) = (self.functions.query, self.functions.free_result) else {
            return Err(CANNOT_READ.into());
        };
        let (none, count) = (null_mut(), keys.len() as i32);
        let mut result: *mut ffi::db1_res_t = null_mut();
        // SAFETY: an open connection; the keys and their texts live for longer than the call.
        let done = unsafe {
            let keys = keys.as_mut_ptr();
            query(self.raw, none, null_mut(), null_mut(), keys, 0, count, null_mut(), &raw mut result)
        };
        let failed = || String::from("the table cannot be read, see the log");
        let raw = NonNull::new(result).ok_or_else(failed)?;
        let rows = Rows { connection: self, free, raw };
        if done < 0 { Err(failed()) } else { Ok(rows) }
    }
}

const CANNOT_READ: &str = "the database module cannot read tables";

/// A result, until it is given back.
struct Rows<'a> {
    connection: &'a Connection,
    free: unsafe extern "C" fn(*mut ffi::db1_con_t, *mut ffi::db1_res_t) -> core::ffi::c_int,
    raw: NonNull<ffi::db1_res_t>,
}

impl Rows<'_> {
    fn found(&self) -> &ffi::db1_res_t {
        // SAFETY: a result of the connection until it is given back.
        unsafe { self.raw.as_ref() }
    }

    /// Neither rows nor columns.
    fn is_bare(&self) -> bool {
        self.found().n == 0 && self.found().col.n == 0
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        // SAFETY: a result of this connection, which nobody uses any more.
        unsafe { (self.free)(self.connection.raw, self.raw.as_ptr()) };
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
            ffi::DB1_DOUBLE => Value::Real(value.val.double_val),
            ffi::DB1_DATETIME => Value::Other("date"),
            _ => Value::Other("value of a kind that is not known"),
        }
    }
}
