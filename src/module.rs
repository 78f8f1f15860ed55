//! What the server finds when it loads the module: the table of exports, one row each, and the life cycle.

use crate::api::{self, Module, exists, failover, load, reload, rpc, select};
use crate::conf::{Conf, Raw};
use crate::host::export::{self, Command, Exports, Function, Parameter, Symbol};
use crate::host::param::{Int, Text};
use crate::host::{CFG_DIR, clock, guard, log, mem::Pool, process, timer};
use crate::load::Secret;
use crate::service::upkeep;
use crate::shm::boxed::Boxed;
use crate::state::Root;
use crate::{rpc_command, script_function};
use core::ffi::{c_int, c_uint};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

static FUNCTIONS: [Function; 11] = [
    script_function!(c"ds_select_dst", 2, IntInt, REQUEST_FAILURE, select::select_dst),
    script_function!(c"ds_select_dst", 3, Ints, REQUEST_FAILURE, select::select_dst),
    script_function!(c"ds_next_dst", 0, None, REQUEST_FAILURE, failover::next_dst),
    script_function!(c"ds_mark_dst", 0, None, REQUEST_FAILURE_REPLY, failover::mark_dst),
    script_function!(c"ds_mark_dst", 1, Text, REQUEST_FAILURE_REPLY, failover::mark_dst),
    script_function!(c"ds_load_update", 0, None, ANY, load::load_update),
    script_function!(c"ds_load_unset", 0, None, ANY, load::load_unset),
    script_function!(c"ds_reload", 0, None, ANY, reload::ds_reload),
    script_function!(c"ds_list_exists", 1, Int, ANY, exists::list_exists),
    script_function!(c"ds_list_exist", 1, Int, ANY, exists::list_exists),
    Function::END,
];

/// What the configuration file writes into.
mod raw {
    use super::{Int, Text};

    pub static LIST_FILE: Text = Text::new("");
    pub static FLAGS: Int = Int::new(0);
    pub static USE_DEFAULT: Int = Int::new(0);
    pub static FORCE_DST: Int = Int::new(1);
    pub static XAVP_DST: Text = Text::new("_dsdst_");
    pub static XAVP_DST_MODE: Int = Int::new(0);
    pub static XAVP_CTX: Text = Text::new("_dsctx_");
    pub static XAVP_CTX_MODE: Int = Int::new(0);
    /// Accepted for configurations that tune the stock module; the call table grows by itself.
    pub static DS_HASH_SIZE: Int = Int::new(0);
    pub static DS_HASH_EXPIRE: Int = Int::new(7200);
    pub static DS_HASH_INITEXPIRE: Int = Int::new(7200);
    pub static DS_HASH_CHECK_INTERVAL: Int = Int::new(30);
    pub static RELOAD_DELTA: Int = Int::new(0);
    pub static DS_PROBING_THRESHOLD: Int = Int::new(1);
    pub static DS_INACTIVE_THRESHOLD: Int = Int::new(1);
}

static PARAMETERS: [Parameter; 16] = [
    Parameter::text(c"list_file", &raw::LIST_FILE),
    Parameter::int(c"flags", &raw::FLAGS),
    Parameter::int(c"use_default", &raw::USE_DEFAULT),
    Parameter::int(c"force_dst", &raw::FORCE_DST),
    Parameter::text(c"xavp_dst", &raw::XAVP_DST),
    Parameter::int(c"xavp_dst_mode", &raw::XAVP_DST_MODE),
    Parameter::text(c"xavp_ctx", &raw::XAVP_CTX),
    Parameter::int(c"xavp_ctx_mode", &raw::XAVP_CTX_MODE),
    Parameter::int(c"ds_hash_size", &raw::DS_HASH_SIZE),
    Parameter::int(c"ds_hash_expire", &raw::DS_HASH_EXPIRE),
    Parameter::int(c"ds_hash_initexpire", &raw::DS_HASH_INITEXPIRE),
    Parameter::int(c"ds_hash_check_interval", &raw::DS_HASH_CHECK_INTERVAL),
    Parameter::int(c"reload_delta", &raw::RELOAD_DELTA),
    Parameter::int(c"ds_probing_threshold", &raw::DS_PROBING_THRESHOLD),
    Parameter::int(c"ds_inactive_threshold", &raw::DS_INACTIVE_THRESHOLD),
    Parameter::END,
];

static COMMANDS: [Command; 5] = [
    rpc_command!(c"dispatcher.list", c"Return the content of dispatcher sets", rpc::list),
    rpc_command!(c"dispatcher.reload", c"Reload dispatcher destination sets", rpc::reload),
    rpc_command!(c"dispatcher.set_state", c"Set the state of a destination by address", rpc::set_state),
    rpc_command!(
        c"dispatcher.load_audit",
        c"Recount the calls; show recorded and counted load of each destination",
        rpc::load_audit
    ),
    Command::END,
];

/// The table that the loader looks up.
#[unsafe(no_mangle)]
pub static exports: Exports =
    Exports::new(c"dispatcher", &FUNCTIONS, &PARAMETERS, &COMMANDS, mod_init, child_init);

/// Compared by the loader with its own.
#[unsafe(no_mangle)]
pub static module_version: Symbol = Symbol::new(export::VERSION);
/// Compared by the loader with its own.
#[unsafe(no_mangle)]
pub static module_flags: Symbol = Symbol::new(export::FLAGS);
/// The form of the table.
#[unsafe(no_mangle)]
pub static module_interface_ver: c_uint = export::INTERFACE;

/// Once, in the first process, after the configuration is read.
unsafe extern "C" fn mod_init() -> c_int {
    guard::report_panics();
    guard::guard(-1, || match start() {
        Ok(()) => 0,
        Err(error) => {
            log::error(format_args!("{error}"));
            -1
        }
    })
}

fn start() -> Result<(), String> {
    let conf = Conf::check(read()).map_err(|error| error.to_string())?;
    let secret = process::random().map(Secret::new).map_err(|error| format!("no random bytes: {error}"))?;
    let root = Root::try_new_in(secret, Pool).map_err(|error| error.to_string())?;
    let root = Boxed::try_new_in(root, Pool).map_err(|error| error.to_string())?;
    // SAFETY: owned, and never given back: it lives as long as the server.
    let root: &'static Root<Pool> = unsafe { root.into_raw().as_ref() };
    upkeep::make_room(root).map_err(|error| error.to_string())?;

    let module = Module { conf, root };
    reload::first(&module)?;
    api::set_up(module)?;
    timer::every(1, each_second)?;
    Ok(())
}

fn read() -> Raw {
    let list_file = raw::LIST_FILE.get();
    Raw {
        list_file: if list_file.is_empty() {
            format!("{CFG_DIR}dispatcher.list").into_bytes()
        } else {
            list_file
        },
        flags: raw::FLAGS.get(),
        use_default: raw::USE_DEFAULT.get(),
        force_dst: raw::FORCE_DST.get(),
        xavp_dst: raw::XAVP_DST.get(),
        xavp_dst_mode: raw::XAVP_DST_MODE.get(),
        xavp_ctx: raw::XAVP_CTX.get(),
        xavp_ctx_mode: raw::XAVP_CTX_MODE.get(),
        ds_hash_expire: raw::DS_HASH_EXPIRE.get(),
        ds_hash_initexpire: raw::DS_HASH_INITEXPIRE.get(),
        ds_hash_check_interval: raw::DS_HASH_CHECK_INTERVAL.get(),
        reload_delta: raw::RELOAD_DELTA.get(),
        ds_probing_threshold: raw::DS_PROBING_THRESHOLD.get(),
        ds_inactive_threshold: raw::DS_INACTIVE_THRESHOLD.get(),
    }
}

/// In each process; once before any fork, when the number of processes is known.
unsafe extern "C" fn child_init(rank: c_int) -> c_int {
    if rank != export::BEFORE_FORK {
        return 0;
    }
    guard::guard(-1, || {
        let Some(module) = api::module() else { return -1 };
        match module.root.sets.open(process::count()) {
            Ok(()) => 0,
            Err(error) => {
                log::error(format_args!("{error}"));
                -1
            }
        }
    })
}

/// In the timer process.
fn each_second() {
    static LAST_CHECK: AtomicU32 = AtomicU32::new(0);
    static SHORT_OF_ROOM: AtomicBool = AtomicBool::new(false);
    let Some(module) = api::module() else { return };
    let room = upkeep::make_room(module.root);
    // Told when it begins, not each second.
    if let (Err(error), false) = (&room, SHORT_OF_ROOM.swap(room.is_err(), Ordering::Relaxed)) {
        log::error(format_args!("the call table cannot grow ahead of need: {error}"));
    }
    let now = clock::seconds();
    if now.wrapping_sub(LAST_CHECK.load(Ordering::Relaxed)) >= module.conf.check_interval {
        LAST_CHECK.store(now, Ordering::Relaxed);
        let dropped = upkeep::expire(module.root, module.conf.expiry, now);
        if dropped > 0 {
            log::info(format_args!("{dropped} calls dropped that nobody ended in time"));
        }
    }
    upkeep::tidy(module.root);
}
