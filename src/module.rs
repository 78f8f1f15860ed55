//! What the server finds when it loads the module: the table of exports, one row each.

use crate::api::{
    capacity, check, drain, edit, explain, failover, group, is_from_list, load, metrics, reload, rpc, select,
    status_page, version,
};
use crate::conf::{Raw, parameters};
use crate::host::export::{self, Command, Exports, Function, Parameter, Symbol};
use crate::host::kemi::KemiFunction;
use crate::host::variable::Variable;
use crate::host::{guard, kemi, log};
use crate::lifecycle;
use crate::{kemi_function, rpc_command, script_function, script_variable};
use core::ffi::{c_char, c_int, c_uint, c_void};

static FUNCTIONS: [Function; 37] = [
    script_function!(c"ds_select", (int set, int alg), ANY, select::select),
    script_function!(c"ds_select", (int set, int alg, int limit), ANY, select::select),
    script_function!(c"ds_select_dst", (int set, int alg), REQUEST_FAILURE, select::select_dst),
    script_function!(c"ds_select_dst", (int set, int alg, int limit), REQUEST_FAILURE, select::select_dst),
    script_function!(c"ds_select_domain", (int set, int alg), REQUEST_FAILURE, select::select_domain),
    script_function!(c"ds_select_domain", (int set, int alg, int limit), REQUEST_FAILURE, select::select_domain),
    script_function!(c"ds_select_routes", (text rules, text mode), ANY, select::select_routes),
    script_function!(c"ds_select_routes", (text rules, text mode, int limit), ANY, select::select_routes),
    script_function!(c"ds_next_dst", (), REQUEST_FAILURE, failover::next_dst),
    script_function!(c"ds_next_domain", (), REQUEST_FAILURE, failover::next_domain),
    script_function!(c"ds_set_dst", (), REQUEST_FAILURE, failover::set_dst),
    script_function!(c"ds_set_domain", (), REQUEST_FAILURE, failover::set_domain),
    script_function!(c"ds_mark_dst", (), REQUEST_FAILURE_REPLY, failover::mark_dst),
    script_function!(c"ds_mark_dst", (text state), REQUEST_FAILURE_REPLY, failover::mark_dst),
    script_function!(c"ds_mark_addr", (text state, int set, text uri), ANY, failover::mark_addr),
    script_function!(c"ds_drain", (int set, text uri), ANY, drain::ds_drain),
    script_function!(c"ds_drain", (int set, text uri, int seconds), ANY, drain::ds_drain),
    script_function!(c"ds_undrain", (int set, text uri), ANY, drain::ds_undrain),
    script_function!(c"ds_is_from_list", (), ANY, is_from_list::is_from_list),
    script_function!(c"ds_is_from_list", (int set), ANY, is_from_list::is_from_list),
    script_function!(c"ds_is_from_list", (int set, int mode), ANY, is_from_list::is_from_list),
    script_function!(c"ds_is_from_list", (int set, int mode, text uri), ANY, is_from_list::is_from_list),
    script_function!(c"ds_is_active", (int set), ANY, is_from_list::is_active),
    script_function!(c"ds_is_active", (int set, text uri), ANY, is_from_list::is_active),
    script_function!(c"ds_list_exists", (int set), ANY, is_from_list::list_exists, -2),
    script_function!(c"ds_list_exist", (int set), ANY, is_from_list::list_exists, -2),
    script_function!(c"ds_load_update", (), ANY, load::load_update),
    script_function!(c"ds_load_unset", (), ANY, load::load_unset),
    script_function!(c"ds_reload", (), ANY, reload::ds_reload),
    script_function!(c"ds_dsg_fetch", (int set), ANY, group::fetch),
    script_function!(c"ds_dsg_fetch_uri", (int set, text uri), ANY, group::fetch_uri),
    script_function!(
        c"ds_oc_set_attrs",
        (int set, text uri, int rate, int interval, int sequence),
        ANY,
        group::oc_set_attrs
    ),
    script_function!(c"ds_prometheus", (), ANY, metrics::prometheus),
    script_function!(c"ds_prometheus", (int set), ANY, metrics::prometheus),
    script_function!(c"ds_status_page", (), ANY, status_page::status_page),
    Function::BIND,
    Function::END,
];

static KEMI: [KemiFunction; 35] = [
    kemi_function!(c"ds_select", (int set, int alg), select::select),
    kemi_function!(c"ds_select_limit", (int set, int alg, int limit), select::select),
    kemi_function!(c"ds_select_dst", (int set, int alg), select::select_dst),
    kemi_function!(c"ds_select_dst_limit", (int set, int alg, int limit), select::select_dst),
    kemi_function!(c"ds_select_domain", (int set, int alg), select::select_domain),
    kemi_function!(c"ds_select_domain_limit", (int set, int alg, int limit), select::select_domain),
    kemi_function!(c"ds_select_routes", (text rules, text mode), select::select_routes),
    kemi_function!(c"ds_select_routes_limit", (text rules, text mode, int limit), select::select_routes),
    kemi_function!(c"ds_next_dst", (), failover::next_dst),
    kemi_function!(c"ds_next_domain", (), failover::next_domain),
    kemi_function!(c"ds_set_dst", (), failover::set_dst),
    kemi_function!(c"ds_set_domain", (), failover::set_domain),
    kemi_function!(c"ds_mark_dst", (), failover::mark_dst),
    kemi_function!(c"ds_mark_dst_state", (text state), failover::mark_dst),
    kemi_function!(c"ds_mark_addr", (text state, int set, text uri), failover::mark_addr),
    kemi_function!(c"ds_drain", (int set, text uri), drain::ds_drain),
    kemi_function!(c"ds_drain_seconds", (int set, text uri, int seconds), drain::ds_drain),
    kemi_function!(c"ds_undrain", (int set, text uri), drain::ds_undrain),
    kemi_function!(c"ds_is_from_lists", (), is_from_list::is_from_list),
    kemi_function!(c"ds_is_from_list", (int set), is_from_list::is_from_list),
    kemi_function!(c"ds_is_from_list_mode", (int set, int mode), is_from_list::is_from_list),
    kemi_function!(c"ds_is_from_list_uri", (int set, int mode, text uri), is_from_list::is_from_list),
    kemi_function!(c"ds_is_active", (int set), is_from_list::is_active),
    kemi_function!(c"ds_is_active_uri", (int set, text uri), is_from_list::is_active),
    kemi_function!(c"ds_list_exists", (int set), is_from_list::list_exists),
    kemi_function!(c"ds_load_update", (), load::load_update),
    kemi_function!(c"ds_load_unset", (), load::load_unset),
    kemi_function!(c"ds_reload", (), reload::ds_reload),
    kemi_function!(c"ds_dsg_fetch", (int set), group::fetch),
    kemi_function!(c"ds_dsg_fetch_uri", (int set, text uri), group::fetch_uri),
    kemi_function!(
        c"ds_oc_set_attrs",
        (int set, text uri, int rate, int interval, int sequence),
        group::oc_set_attrs
    ),
    kemi_function!(c"ds_prometheus", (), metrics::prometheus),
    kemi_function!(c"ds_prometheus_set", (int set), metrics::prometheus),
    kemi_function!(c"ds_status_page", (), status_page::status_page),
    KemiFunction::END,
];

static VARIABLES: [Variable; 3] = [
    script_variable!(c"dsv", group::DSV, group::dsv),
    script_variable!(c"dsg", group::DSG, group::dsg),
    Variable::END,
];

macro_rules! exported {
    ($($(#[$note:meta])* $kind:ident $name:ident = $default:expr;)*) => {
        /// What the configuration file writes into.
        #[allow(non_upper_case_globals)] // the parameters' own names
        mod slots {
            use crate::host::param::{Flag, Int, Text};
            $(pub static $name: $kind = $kind::new($default);)*
        }

        static PARAMETERS: [Parameter; 2 + [$(stringify!($name)),*].len()] = [
            $(slots::$name.parameter(concat!(stringify!($name), "\0")),)*
            slots::ds_priority_flag.name_parameter("ds_priority_flag\0"),
            Parameter::END,
        ];

        /// What the configuration file says.
        fn read() -> Raw {
            Raw { $($name: slots::$name.get(),)* }
        }
    };
}
parameters!(exported);

static COMMANDS: [Command; 19] = [
    rpc_command!(
        c"dispatcher.list",
        (; text "short|full|normal", int "set", int "from", int "count"),
        c"Return the content of dispatcher sets",
        rpc::list
    ),
    rpc_command!(c"dispatcher.reload", (), c"Reload dispatcher destination sets", rpc::reload),
    rpc_command!(
        c"dispatcher.check",
        (; int "from", int "count"),
        c"Tell what a reload would do, without doing it: findings, what is added, removed and changed",
        check::check
    ),
    rpc_command!(
        c"dispatcher.set_state",
        (text "a|i|d|t|ap|ip|tp", int "set", text "uri|all"),
        c"Set the state of a destination by address",
        rpc::set_state
    ),
    rpc_command!(
        c"dispatcher.set_duid_state",
        (text "a|i|d|t|ap|ip|tp", int "set", text "duid|all"),
        c"Set the state of a destination by duid",
        rpc::set_duid_state
    ),
    rpc_command!(
        c"dispatcher.drain",
        (int "set"; text "uri|duid|all", int "seconds"),
        c"Send no new calls to a destination, and disable it when it is empty or the time is over",
        drain::drain
    ),
    rpc_command!(
        c"dispatcher.undrain",
        (int "set"; text "uri|duid|all"),
        c"Send calls to a destination that is drained again",
        drain::undrain
    ),
    rpc_command!(
        c"dispatcher.add",
        (int "set", text "uri"; int "flags", int "priority", text "attributes"),
        c"Add a destination until the next reload",
        edit::add
    ),
    rpc_command!(
        c"dispatcher.update",
        (int "set", text "uri"; int "flags|-1", int "priority|-1", text "attributes"),
        c"Change a destination until the next reload",
        edit::update
    ),
    rpc_command!(
        c"dispatcher.remove",
        (int "set", text "uri"),
        c"Remove a destination until the next reload",
        edit::remove
    ),
    rpc_command!(
        c"dispatcher.explain",
        (int "set", int "algorithm"; text "text", int "priority"),
        c"Tell what would be chosen now, and why not the others",
        explain::explain
    ),
    rpc_command!(
        c"dispatcher.hash",
        (int "slots", text "text"; text "text"),
        c"Compute the hash of a key",
        edit::hash
    ),
    rpc_command!(
        c"dispatcher.stats",
        (; int "set", int "from", int "count"),
        c"Return the figures of each destination",
        metrics::stats
    )
    .answers_many(),
    rpc_command!(c"dispatcher.oclist", (int "set"), c"Return overload control of a set", edit::oclist)
        .answers_many(),
    rpc_command!(
        c"dispatcher.ping_active",
        (; int "0|1"),
        c"Show or set whether destinations are probed",
        rpc::ping_active
    ),
    rpc_command!(
        c"dispatcher.capacity",
        (; text "name"),
        c"Return the capacities that destinations share, with their calls",
        capacity::capacity
    ),
    rpc_command!(
        c"dispatcher.load_audit",
        (; int "from", int "count"),
        c"Recount the calls; show recorded and counted load of each destination",
        rpc::load_audit
    ),
    rpc_command!(
        c"dispatcher.version",
        (),
        c"Tell which module this is, and what it has loaded",
        version::version
    ),
    Command::END,
];

/// The table that the loader looks up.
#[unsafe(no_mangle)]
pub static exports: Exports =
    Exports::new(c"dispatcher", &FUNCTIONS, &PARAMETERS, &COMMANDS, &VARIABLES, mod_init, child_init);

/// Compared by the loader with its own.
#[unsafe(no_mangle)]
pub static module_version: Symbol = Symbol::new(export::VERSION);
/// Compared by the loader with its own.
#[unsafe(no_mangle)]
pub static module_flags: Symbol = Symbol::new(export::FLAGS);
/// The form of the table.
#[unsafe(no_mangle)]
pub static module_interface_ver: c_uint = export::INTERFACE;

/// Called by the loader when it has the library, before it reads the configuration on.
///
/// # Safety
/// None of the arguments is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mod_register(
    _: *mut c_char,
    _: *mut c_int,
    _: *mut c_void,
    _: *mut c_void,
) -> c_int {
    guard::guard(-1, || {
        kemi::register(&KEMI);
        0
    })
}

/// Once, in the first process, after the configuration is read.
unsafe extern "C" fn mod_init() -> c_int {
    guard::report_panics();
    guard::guard(-1, || code(lifecycle::start(read())))
}

/// In each process; once before any fork, when the number of processes is known, and once in the process that forks.
unsafe extern "C" fn child_init(rank: c_int) -> c_int {
    guard::guard(-1, || match rank {
        export::BEFORE_FORK => code(lifecycle::before_fork()),
        export::FORKING => code(lifecycle::fork()),
        _ => 0,
    })
}

/// What the host understands.
fn code(done: Result<(), String>) -> c_int {
    match done {
        Ok(()) => 0,
        Err(error) => {
            log::error(format_args!("{error}"));
            -1
        }
    }
}
