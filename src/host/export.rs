//! The shapes of what a module exports. The table itself is in [`crate::module`].

use super::{ffi, param};
use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::ptr::{null, null_mut};

pub use ffi::rpc_t as RawRpc;
pub use ffi::sip_msg as RawMessage;

/// The version that the loader compares, in the server's own words.
pub const VERSION: &CStr = ffi::VERSION;
/// The compile flags that the loader compares.
pub const FLAGS: &CStr = ffi::FLAGS;
/// The form of this table.
pub const INTERFACE: c_uint = ffi::MODULE_INTERFACE_VER as c_uint;

/// Routes from which a function may be called.
pub mod routes {
    use super::ffi;

    /// Any.
    pub const ANY: u32 = ffi::ANY_ROUTE;
    /// `request_route` and `failure_route`.
    pub const REQUEST_FAILURE: u32 = ffi::REQUEST_ROUTE | ffi::FAILURE_ROUTE;
    /// These and `onreply_route`.
    pub const REQUEST_FAILURE_REPLY: u32 = REQUEST_FAILURE | ffi::ONREPLY_ROUTE;
}

/// How the host prepares the arguments of a function when it reads the script.
#[derive(Clone, Copy)]
pub enum Fixup {
    /// There are none.
    None,
    /// Whole numbers or variables.
    Int,
    /// As above, two of them.
    IntInt,
    /// As above, any number.
    Ints,
    /// A text that may hold variables.
    Text,
}

/// A script function as it is called with up to two arguments.
pub type Entry2 = unsafe extern "C" fn(*mut RawMessage, *mut c_char, *mut c_char) -> c_int;
/// A script function as it is called with three.
pub type Entry3 = unsafe extern "C" fn(*mut RawMessage, *mut c_char, *mut c_char, *mut c_char) -> c_int;
/// An RPC function as it is called.
pub type EntryRpc = unsafe extern "C" fn(*mut RawRpc, *mut c_void);

macro_rules! row {
    ($(#[$doc:meta])* $name:ident, $raw:ty) => {
        $(#[$doc])*
        #[repr(transparent)]
        pub struct $name($raw);
        // SAFETY: constants and addresses of statics; the host only reads them.
        unsafe impl Sync for $name {}
    };
}
row!(
    /// A script function.
    Function, ffi::cmd_export_t
);
row!(
    /// A parameter.
    Parameter, ffi::param_export_t
);
row!(
    /// An RPC command.
    Command, ffi::rpc_export_t
);
row!(
    /// The table of all exports.
    Exports, ffi::module_exports_t
);

impl Function {
    /// With up to two arguments.
    pub const fn two(
        name: &'static CStr,
        arguments: c_int,
        fixup: Fixup,
        routes: u32,
        entry: Entry2,
    ) -> Self {
        let fixup: ffi::fixup_function = match fixup {
            Fixup::None => None,
            Fixup::Int => Some(ffi::fixup_igp_null),
            Fixup::IntInt => Some(ffi::fixup_igp_igp),
            Fixup::Ints => Some(ffi::fixup_igp_all),
            Fixup::Text => Some(ffi::fixup_spve_null),
        };
        Self(ffi::cmd_export_t {
            name: name.as_ptr().cast_mut(),
            function: Some(entry),
            param_no: arguments,
            fixup,
            free_fixup: None,
            flags: routes,
        })
    }

    /// With three arguments.
    pub const fn three(name: &'static CStr, fixup: Fixup, routes: u32, entry: Entry3) -> Self {
        // SAFETY: the host stores every function under the type with two and calls it with as many as it declares.
        let entry = unsafe { core::mem::transmute::<Entry3, Entry2>(entry) };
        Self::two(name, 3, fixup, routes, entry)
    }

    /// The end of the table.
    pub const END: Self = Self(ffi::cmd_export_t {
        name: null_mut(),
        function: None,
        param_no: 0,
        fixup: None,
        free_fixup: None,
        flags: 0,
    });
}

impl Parameter {
    /// An integer.
    pub const fn int(name: &'static CStr, slot: &'static param::Int) -> Self {
        Self::new(name, ffi::PARAM_INT, slot.slot())
    }

    /// A text.
    pub const fn text(name: &'static CStr, slot: &'static param::Text) -> Self {
        Self::new(name, ffi::PARAM_STR, slot.slot())
    }

    const fn new(name: &'static CStr, kind: u32, slot: *mut c_void) -> Self {
        Self(ffi::param_export_t { name: name.as_ptr().cast_mut(), type_: kind, param_pointer: slot })
    }

    /// The end of the table.
    pub const END: Self = Self(ffi::param_export_t { name: null_mut(), type_: 0, param_pointer: null_mut() });
}

/// What `system.methodHelp` says: a line, and the end.
#[repr(transparent)]
pub struct Help([*const c_char; 2]);

// SAFETY: addresses of constants.
unsafe impl Sync for Help {}

impl Help {
    /// One line.
    pub const fn new(line: &'static CStr) -> Self {
        Self([line.as_ptr(), null()])
    }
}

impl Command {
    /// A command.
    pub const fn new(name: &'static CStr, help: &'static Help, entry: EntryRpc) -> Self {
        Self(ffi::rpc_export_t {
            name: name.as_ptr(),
            function: Some(entry),
            doc_str: help.0.as_ptr().cast_mut().cast(),
            flags: 0,
        })
    }

    /// The end of the table.
    pub const END: Self =
        Self(ffi::rpc_export_t { name: null(), function: None, doc_str: null_mut(), flags: 0 });
}

impl Exports {
    /// Everything.
    pub const fn new<const F: usize, const P: usize, const C: usize>(
        name: &'static CStr,
        functions: &'static [Function; F],
        parameters: &'static [Parameter; P],
        commands: &'static [Command; C],
        start: unsafe extern "C" fn() -> c_int,
        start_child: unsafe extern "C" fn(c_int) -> c_int,
    ) -> Self {
        Self(ffi::module_exports_t {
            name: name.as_ptr().cast_mut(),
            dlflags: 0,
            cmds: functions.as_ptr().cast_mut().cast(),
            params: parameters.as_ptr().cast_mut().cast(),
            rpc_methods: commands.as_ptr().cast_mut().cast(),
            pv_items: null_mut(),
            response_f: None,
            init_mod_f: Some(start),
            init_child_f: Some(start_child),
            destroy_mod_f: None,
        })
    }
}

/// The `rank` of `child_init` that runs before any fork, when the number of processes is known.
pub const BEFORE_FORK: c_int = ffi::PROC_INIT;

/// A text that the loader finds under a symbol.
#[repr(transparent)]
pub struct Symbol(*const c_char);

// SAFETY: the address of a constant.
unsafe impl Sync for Symbol {}

impl Symbol {
    /// This text.
    pub const fn new(text: &'static CStr) -> Self {
        Self(text.as_ptr())
    }
}

/// A row of the function table: name, number of arguments, fix-up, routes, the function of [`crate::api`].
#[macro_export]
#[doc(hidden)]
macro_rules! script_function {
    ($name:literal, 3, $fixup:ident, $routes:ident, $function:path) => {{
        unsafe extern "C" fn entry(
            msg: *mut $crate::host::export::RawMessage,
            first: *mut ::core::ffi::c_char,
            second: *mut ::core::ffi::c_char,
            third: *mut ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            // SAFETY: called by the host with what it declares.
            unsafe { $crate::host::script::enter(msg, &[first, second, third], $function) }
        }
        let fixup = $crate::host::export::Fixup::$fixup;
        $crate::host::export::Function::three($name, fixup, $crate::host::export::routes::$routes, entry)
    }};
    ($name:literal, $arguments:literal, $fixup:ident, $routes:ident, $function:path) => {{
        unsafe extern "C" fn entry(
            msg: *mut $crate::host::export::RawMessage,
            first: *mut ::core::ffi::c_char,
            second: *mut ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            // SAFETY: called by the host with what it declares; arguments that the script does not give are null.
            unsafe { $crate::host::script::enter(msg, &[first, second], $function) }
        }
        let fixup = $crate::host::export::Fixup::$fixup;
        $crate::host::export::Function::two($name, $arguments, fixup, $crate::host::export::routes::$routes, entry)
    }};
}

/// A row of the RPC table: name, help, the function of [`crate::api`].
#[macro_export]
#[doc(hidden)]
macro_rules! rpc_command {
    ($name:literal, $help:literal, $function:path) => {{
        static HELP: $crate::host::export::Help = $crate::host::export::Help::new($help);
        unsafe extern "C" fn entry(rpc: *mut $crate::host::export::RawRpc, ctx: *mut ::core::ffi::c_void) {
            // SAFETY: called by the host with what it declares.
            unsafe { $crate::host::rpc::enter(rpc, ctx, $function) }
        }
        $crate::host::export::Command::new($name, &HELP, entry)
    }};
}
