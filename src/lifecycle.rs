//! The life of the module: start, fork, each second, stop.

use crate::api::{
    attempts, failover, followed, is_from_list, metrics, outcomes, reload, select, tracking, version,
};
use crate::conf::{Conf, Raw};
use crate::context::{self, Module};
use crate::host::hooks::{send_socket, stop};
use crate::host::{CFG_DIR, capi, clock, db, log, mem::Pool, process, timer, tm, xhttp};
use crate::load::Secret;
use crate::service::housekeeping;
use crate::shm::boxed::Boxed;
use crate::shm::counter;
use crate::shm::lock::LastAlive;
use crate::state::Root;
use crate::workers::{drains, ejections, penalties, prober, resolver, state_file};
use core::sync::atomic::{AtomicBool, Ordering};
use parking_lot::Mutex;

/// A load was released more often than taken. That load is wrong from now on; `dispatcher.load_audit` shows it.
fn unbalanced() {
    let first = context::module().is_none_or(|module| module.root.balanced.turn(0) != 0);
    if first {
        log::critical(format_args!(
            "BUG: a count of calls was given back more often than taken; it stays at zero"
        ));
    }
}

/// In the first process, with what the configuration file says: makes all that processes share, and loads the sets.
pub fn start(mut raw: Raw) -> Result<(), String> {
    counter::on_fault(unbalanced);
    if raw.list_file.is_empty() {
        raw.list_file = format!("{CFG_DIR}dispatcher.list").into_bytes();
    }
    let (conf, findings) = Conf::check(raw).map_err(|error| error.to_string())?;
    findings.iter().for_each(|finding| log::warning(format_args!("{finding}")));
    let saved = state_file::read(&conf);
    let secret = match &saved {
        Some(saved) => saved.secret(),
        None => process::random().map(Secret::new).map_err(|error| format!("no random bytes: {error}"))?,
    };
    let mut root = Root::try_new_in(secret, Pool).map_err(|error| error.to_string())?;
    root.clock = clock::nanos;
    (root.slow_start, root.hash_balance) = (conf.slow_start, conf.hash_balance);
    root.failure_decay.turn(conf.failure_decay.saturating_mul(1_000));
    let root = Boxed::try_new_in(root, Pool).map_err(|error| error.to_string())?;
    // SAFETY: owned, and never given back: it lives as long as the server.
    let root: &'static Root<Pool> = unsafe { root.into_raw().as_ref() };
    housekeeping::make_room(root).map_err(|error| error.to_string())?;

    let module = Module::new(conf, root)?;
    capi::offer(capi::Functions {
        select: select::select_for_module,
        next: failover::next_for_module,
        mark: failover::mark_for_module,
        is_from: is_from_list::is_from_list,
    });
    if module.conf.alpha_looks_old() {
        log::warning(format_args!(
            "ds_latency_estimator_alpha: since 6.1 this is the weight of the newest answer, not of the estimate; \
             where 900 was meant before, it is 100 now"
        ));
    }
    context::declare_settings(&module.conf)?;
    metrics::register()?;
    send_socket::watch()?;
    xhttp::load();
    if let Some(database) = &module.conf.database {
        db::load(&database.url).map_err(|error| format!("db_url is set, but {error}"))?;
    }
    let mut processes = 0;
    if module.conf.probing.is_some() {
        if !tm::is_loaded() {
            return Err("ds_ping_interval is set, but the module tm is not loaded".into());
        }
        processes += 1;
    }
    if module.conf.ejection.is_some() && !tm::is_loaded() {
        return Err("ds_passive_health is set, but the module tm is not loaded".into());
    }
    processes += u32::from(looks_names_up(&module));
    if processes > 0 {
        timer::announce(processes)?;
    }
    let process = if module.conf.secondary_timer { timer::Process::Secondary } else { timer::Process::Main };
    timer::every(1, each_second, process)?;
    reload::first(&module)?;
    saved.iter().for_each(|saved| state_file::restore(&module, saved));
    version::tell(&module);
    context::set_up(module)?;
    Ok(())
}

/// Whether there is a process for names. Without it none is looked up: destinations with names are matched by nothing. It
/// writes the state file, too.
fn looks_names_up(module: &Module) -> bool {
    module.conf.dns.on || module.conf.probing.is_some() || module.conf.state_file.is_some()
}

/// Starts the processes that `start` announced.
pub fn fork() -> Result<(), String> {
    let module = context::module().ok_or("the module is not initialised")?;
    if module.conf.probing.is_some() {
        timer::spawn(c"Dispatcher probes", prober::PAUSE, prober::work)?;
    }
    if looks_names_up(module) {
        timer::spawn(c"Dispatcher names", resolver::PAUSE, resolver::work)?;
    }
    Ok(())
}

/// When all modules are initialised, whatever their order.
pub fn before_fork() -> Result<(), String> {
    let module = context::module().ok_or("the module is not initialised")?;
    state_file::begin(module);
    if module.conf.state_file.is_some() {
        stop::tell(begins_to_stop, ended);
    }
    module.root.sets.open(process::count()).map_err(|error| error.to_string())?;
    if tm::is_loaded() {
        tm::load(prober::answered)?;
    }
    let follows = module.conf.load_auto;
    tracking::begin(follows.then_some(followed::request_ended))?;
    if follows {
        followed::begin()?;
    }
    attempts::follow(module)?;
    outcomes::begin(module)?;
    Ok(())
}

/// In the first process, when the others are about to be told to end.
fn begins_to_stop() {
    context::module().into_iter().for_each(state_file::before_the_last);
}

/// In the first process, when all others have ended.
fn ended() {
    // SAFETY: the host has ended all other processes and waited for them.
    let alone = unsafe { LastAlive::new() };
    context::module().into_iter().for_each(|module| state_file::last(module, &alone));
}

/// In the timer process.
fn each_second() {
    static SHORT_OF_ROOM: AtomicBool = AtomicBool::new(false);
    static SWEEP: Mutex<housekeeping::Sweep> = Mutex::new(housekeeping::Sweep::new());
    let Some(module) = context::module() else { return };
    let room = housekeeping::make_room(module.root);
    // Told when it begins, not each second.
    if let (Err(error), false) = (&room, SHORT_OF_ROOM.swap(room.is_err(), Ordering::Relaxed)) {
        log::error(format_args!("the call table cannot grow ahead of need: {error}"));
    }
    drains::end_those_over(module);
    penalties::decay(module);
    ejections::look(module);
    let (now, mut sweep) = (clock::seconds(), SWEEP.lock());
    sweep.begin_each(module.conf.check_interval, module.root, now);
    let dropped = housekeeping::expire_some(module.root, module.conf.expiry, now, &mut sweep);
    if dropped > 0 {
        log::info(format_args!("{dropped} calls dropped that nobody ended in time"));
    }
    housekeeping::give_back(module.root);
    housekeeping::tidy(module.root);
}
