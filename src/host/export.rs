//! The C structures in which a module exports functions and parameters. The table itself is in [`crate::module`].

use super::arguments::Signature;
use super::ffi;
use super::script::{Argument, Kind};
use super::variable::Variable;
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
    /// These and `branch_route`.
    pub const REQUEST_FAILURE_REPLY_BRANCH: u32 = REQUEST_FAILURE_REPLY | ffi::BRANCH_ROUTE;
}

/// A script function as it is called with up to two arguments.
pub type Entry2 = unsafe extern "C" fn(*mut RawMessage, *mut c_char, *mut c_char) -> c_int;
/// A script function as it is called with three.
pub type Entry3 = unsafe extern "C" fn(*mut RawMessage, *mut c_char, *mut c_char, *mut c_char) -> c_int;
/// A script function as it is called with five.
pub type Entry5 = unsafe extern "C" fn(
    *mut RawMessage,
    *mut c_char,
    *mut c_char,
    *mut c_char,
    *mut c_char,
    *mut c_char,
) -> c_int;
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

/// The bits of the arguments that are texts.
pub const fn texts(arguments: &[Argument]) -> u32 {
    let (mut bits, mut at) = (0, 0);
    while at < arguments.len() {
        #[allow(clippy::indexing_slicing)] // a const function has no iterators; `at` is below the length
        if let Kind::Text = arguments[at].kind {
            bits |= 1 << at;
        }
        at += 1;
    }
    bits
}

/// Prepares an argument when the host reads the script: texts by the bits, whole numbers otherwise.
///
/// # Safety
/// Called by the host with the place of an argument and its number, from 1.
unsafe extern "C" fn fixup<const TEXTS: u32>(param: *mut *mut c_void, number: c_int) -> c_int {
    // SAFETY: handed through; the host's own fix-ups each prepare their first argument.
    unsafe {
        if TEXTS >> (number - 1) & 1 == 1 {
            ffi::fixup_spve_null(param, 1)
        } else {
            ffi::fixup_igp_null(param, 1)
        }
    }
}

/// Undoes [`fixup`]: without it the host takes constants only.
///
/// # Safety
/// Called by the host with what [`fixup`] prepared.
unsafe extern "C" fn free<const TEXTS: u32>(param: *mut *mut c_void, number: c_int) -> c_int {
    // SAFETY: handed through.
    unsafe {
        if TEXTS >> (number - 1) & 1 == 1 {
            ffi::fixup_free_spve_null(param, 1)
        } else {
            ffi::fixup_free_igp_null(param, 1)
        }
    }
}

impl Function {
    /// With up to two arguments.
    pub const fn two<const TEXTS: u32>(
        name: &'static CStr,
        arguments: usize,
        routes: u32,
        entry: Entry2,
    ) -> Self {
        Self(ffi::cmd_export_t {
            name: name.as_ptr().cast_mut(),
            function: Some(entry),
            param_no: arguments as c_int,
            fixup: if arguments == 0 { None } else { Some(fixup::<TEXTS>) },
            free_fixup: if arguments == 0 { None } else { Some(free::<TEXTS>) },
            flags: routes,
        })
    }

    /// With three arguments.
    pub const fn three<const TEXTS: u32>(name: &'static CStr, routes: u32, entry: Entry3) -> Self {
        // SAFETY: the host stores every function under the type with two and calls it with as many as it declares.
        let entry = unsafe { core::mem::transmute::<Entry3, Entry2>(entry) };
        Self::two::<TEXTS>(name, 3, routes, entry)
    }

    /// With five arguments.
    pub const fn five<const TEXTS: u32>(name: &'static CStr, routes: u32, entry: Entry5) -> Self {
        // SAFETY: as above.
        let entry = unsafe { core::mem::transmute::<Entry5, Entry2>(entry) };
        Self::two::<TEXTS>(name, 5, routes, entry)
    }

    /// The binding of the C interface, which other modules look up.
    pub const BIND: Self = Self(ffi::cmd_export_t {
        name: c"bind_dispatcher".as_ptr().cast_mut(),
        function: {
            // SAFETY: as above; who looks it up casts it back.
            Some(unsafe { core::mem::transmute::<super::capi::Bind, Entry2>(super::capi::bind) })
        },
        param_no: 0,
        fixup: None,
        free_fixup: None,
        flags: 0,
    });

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
    pub(super) const fn int(name: &'static CStr, slot: *mut c_void) -> Self {
        Self::new(name, ffi::PARAM_INT, slot)
    }

    /// A text.
    pub(super) const fn text(name: &'static CStr, slot: *mut c_void) -> Self {
        Self::new(name, ffi::PARAM_STR, slot)
    }

    const fn new(name: &'static CStr, kind: u32, slot: *mut c_void) -> Self {
        Self(ffi::param_export_t { name: name.as_ptr().cast_mut(), type_: kind, param_pointer: slot })
    }

    /// The end of the table.
    pub const END: Self = Self(ffi::param_export_t { name: null_mut(), type_: 0, param_pointer: null_mut() });
}

/// The name of an export as messages show it.
pub const fn name(name: &'static CStr) -> &'static str {
    match name.to_str() {
        Ok(name) => name,
        Err(_) => unreachable!(), // while it is compiled, if at all
    }
}

/// What `kamcmd help` (`system.methodHelp`) says: a line, and the end.
#[repr(transparent)]
pub struct Help([*const c_char; 2]);

// SAFETY: addresses of constants.
unsafe impl Sync for Help {}

impl Help {
    /// One line, with the zero byte of C at its end.
    pub const fn new(line: &'static [u8]) -> Self {
        assert!(matches!(line, [.., 0]));
        Self([line.as_ptr().cast(), null()])
    }
}

/// A line of help: what a command does, then its usage. With `N` 0 only its length is counted.
#[allow(clippy::indexing_slicing)] // while it compiles
pub const fn help<const N: usize>(about: &CStr, signature: &Signature) -> (usize, [u8; N]) {
    const fn put<const N: usize>(to: &mut (usize, [u8; N]), mut text: &[u8]) {
        while let Some((first, rest)) = text.split_first() {
            if to.0 < N {
                to.1[to.0] = *first;
            }
            to.0 += 1;
            text = rest;
        }
    }
    let mut line = (0, [0; N]);
    put(&mut line, about.to_bytes());
    put(&mut line, b". Usage: ");
    put(&mut line, signature.name.as_bytes());
    let mut at = 0;
    while at < signature.arguments.len() {
        put(&mut line, if at < signature.required { b" " } else { b" [" });
        put(&mut line, signature.arguments[at].name.as_bytes());
        at += 1;
    }
    while at > signature.required {
        put(&mut line, b"]");
        at -= 1;
    }
    put(&mut line, &[0]);
    line
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

    /// The same with an answer of several structures.
    pub const fn answers_many(self) -> Self {
        // Bit 0: without it JSON-RPC keeps the last one only.
        Self(ffi::rpc_export_t { flags: 1, ..self.0 })
    }

    /// The end of the table.
    pub const END: Self =
        Self(ffi::rpc_export_t { name: null(), function: None, doc_str: null_mut(), flags: 0 });
}

impl Exports {
    /// Everything.
    pub const fn new<const F: usize, const P: usize, const C: usize, const V: usize>(
        name: &'static CStr,
        functions: &'static [Function; F],
        parameters: &'static [Parameter; P],
        commands: &'static [Command; C],
        variables: &'static [Variable; V],
        start: unsafe extern "C" fn() -> c_int,
        start_child: unsafe extern "C" fn(c_int) -> c_int,
    ) -> Self {
        Self(ffi::module_exports_t {
            name: name.as_ptr().cast_mut(),
            dlflags: 0,
            cmds: functions.as_ptr().cast_mut().cast(),
            params: parameters.as_ptr().cast_mut().cast(),
            rpc_methods: commands.as_ptr().cast_mut().cast(),
            pv_items: variables.as_ptr().cast_mut().cast(),
            response_f: None,
            init_mod_f: Some(start),
            init_child_f: Some(start_child),
            destroy_mod_f: None,
        })
    }
}

/// The `rank` of `child_init` that runs before any fork, when the number of processes is known.
pub const BEFORE_FORK: c_int = ffi::PROC_INIT;
/// The rank of the process that starts all others, when it may start some of ours.
pub const FORKING: c_int = ffi::PROC_MAIN as c_int;

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

/// The kind of an argument, for [`script_function`](crate::script_function) and
/// [`kemi_function`](crate::kemi_function).
#[macro_export]
#[doc(hidden)]
macro_rules! argument {
    (int $name:ident) => {
        $crate::host::script::Argument { name: stringify!($name), kind: $crate::host::script::Kind::Int }
    };
    (text $name:ident) => {
        $crate::host::script::Argument { name: stringify!($name), kind: $crate::host::script::Kind::Text }
    };
    (int = $name:literal) => {
        $crate::host::script::Argument { name: $name, kind: $crate::host::script::Kind::Int }
    };
    (text = $name:literal) => {
        $crate::host::script::Argument { name: $name, kind: $crate::host::script::Kind::Text }
    };
}

/// A row of the function table: name, arguments, routes, the function of [`crate::api`]. A bad argument is answered with
/// -1, or the number at the end.
#[macro_export]
#[doc(hidden)]
macro_rules! script_function {
    ($name:literal, ($($kind:ident $argument:ident),*), $routes:ident, $function:path) => {
        $crate::script_function!($name, ($($kind $argument),*), $routes, $function, -1)
    };
    ($name:literal, ($ka:ident $a:ident, $kb:ident $b:ident, $kc:ident $c:ident), $routes:ident, $function:path, $bad:expr) => {{
        const ARGUMENTS: &[$crate::host::script::Argument] =
            &[$crate::argument!($ka $a), $crate::argument!($kb $b), $crate::argument!($kc $c)];
        unsafe extern "C" fn entry(
            msg: *mut $crate::host::export::RawMessage,
            $a: *mut ::core::ffi::c_char,
            $b: *mut ::core::ffi::c_char,
            $c: *mut ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            const NAME: &str = $crate::host::export::name($name);
            // SAFETY: called by the host with what it declares.
            unsafe { $crate::host::script::enter(msg, [$a, $b, $c], ARGUMENTS, NAME, $bad, $function) }
        }
        const TEXTS: u32 = $crate::host::export::texts(ARGUMENTS);
        $crate::host::export::Function::three::<TEXTS>($name, $crate::host::export::routes::$routes, entry)
    }};
    (
        $name:literal,
        ($ka:ident $a:ident, $kb:ident $b:ident, $kc:ident $c:ident, $kd:ident $d:ident, $ke:ident $e:ident),
        $routes:ident, $function:path, $bad:expr
    ) => {{
        const ARGUMENTS: &[$crate::host::script::Argument] = &[
            $crate::argument!($ka $a),
            $crate::argument!($kb $b),
            $crate::argument!($kc $c),
            $crate::argument!($kd $d),
            $crate::argument!($ke $e),
        ];
        unsafe extern "C" fn entry(
            msg: *mut $crate::host::export::RawMessage,
            $a: *mut ::core::ffi::c_char,
            $b: *mut ::core::ffi::c_char,
            $c: *mut ::core::ffi::c_char,
            $d: *mut ::core::ffi::c_char,
            $e: *mut ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            const NAME: &str = $crate::host::export::name($name);
            // SAFETY: called by the host with what it declares.
            unsafe { $crate::host::script::enter(msg, [$a, $b, $c, $d, $e], ARGUMENTS, NAME, $bad, $function) }
        }
        const TEXTS: u32 = $crate::host::export::texts(ARGUMENTS);
        $crate::host::export::Function::five::<TEXTS>($name, $crate::host::export::routes::$routes, entry)
    }};
    ($name:literal, ($($kind:ident $argument:ident),*), $routes:ident, $function:path, $bad:expr) => {{
        const ARGUMENTS: &[$crate::host::script::Argument] = &[$($crate::argument!($kind $argument)),*];
        const { assert!(ARGUMENTS.len() <= 2, "a function with four arguments needs an entry of its own") };
        unsafe extern "C" fn entry(
            msg: *mut $crate::host::export::RawMessage,
            first: *mut ::core::ffi::c_char,
            second: *mut ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            const NAME: &str = $crate::host::export::name($name);
            // SAFETY: called by the host with what it declares; arguments that the script does not give are null, and
            // only as many are read as the row declares.
            unsafe { $crate::host::script::enter(msg, [first, second], ARGUMENTS, NAME, $bad, $function) }
        }
        const TEXTS: u32 = $crate::host::export::texts(ARGUMENTS);
        const ROUTES: u32 = $crate::host::export::routes::$routes;
        $crate::host::export::Function::two::<TEXTS>($name, ARGUMENTS.len(), ROUTES, entry)
    }};
}

/// A row of the RPC table: name, arguments (behind a `;` those that a call need not give), help, the function of
/// [`crate::api`].
#[macro_export]
#[doc(hidden)]
macro_rules! rpc_command {
    (
        $name:literal, ($($kind:ident $argument:literal),* $(; $($okind:ident $optional:literal),*)?),
        $help:literal, $function:path
    ) => {{
        const SIGNATURE: $crate::host::arguments::Signature = $crate::host::arguments::Signature {
            name: $crate::host::export::name($name),
            arguments: &[$($crate::argument!($kind = $argument),)* $($($crate::argument!($okind = $optional)),*)?],
            required: <[&str]>::len(&[$($argument),*]),
        };
        const { assert!(SIGNATURE.arguments.len() <= $crate::host::rpc::MOST, "too many arguments") };
        const LEN: usize = $crate::host::export::help::<0>($help, &SIGNATURE).0;
        static LINE: [u8; LEN] = $crate::host::export::help::<LEN>($help, &SIGNATURE).1;
        static HELP: $crate::host::export::Help = $crate::host::export::Help::new(&LINE);
        unsafe extern "C" fn entry(rpc: *mut $crate::host::export::RawRpc, ctx: *mut ::core::ffi::c_void) {
            // SAFETY: called by the host with what it declares.
            unsafe { $crate::host::rpc::enter(rpc, ctx, &SIGNATURE, $function) }
        }
        $crate::host::export::Command::new($name, &HELP, entry)
    }};
}
