//! All parameters, one row each: type, name and default. What the host writes into, what it is told of them and what is
//! checked come from this table.

use core::ffi::CStr;

/// Gives the rows to the macro `$make`.
macro_rules! parameters {
    ($make:ident) => {
        $make! {
            Text list_file = c"";
            Int flags = 0;
            Int use_default = 0;
            Int force_dst = 1;
            Text xavp_dst = c"_dsdst_";
            Int xavp_dst_mode = 0;
            Text xavp_ctx = c"_dsctx_";
            Int xavp_ctx_mode = 0;
            /// Accepted for configurations that tune the stock module; the call table grows by itself. Above 0 even a short
            /// list shows the load.
            Int ds_hash_size = 0;
            Int ds_hash_expire = 7200;
            Int ds_hash_initexpire = 7200;
            Int ds_hash_check_interval = 30;
            Int reload_delta = 0;
            Int ds_probing_threshold = 1;
            Int ds_inactive_threshold = 1;
            Text hash_pvar = c"";
            Text setid_pvname = c"";
            Text attrs_pvname = c"";
            Text ds_default_socket = c"";
            Text ds_default_sockname = c"";
            Text ds_ping_method = c"OPTIONS";
            Text ds_ping_from = c"sip:dispatcher@localhost";
            Int ds_ping_interval = 0;
            Int ds_ping_fr_timer = 0;
            /// Another name for it.
            Int ds_ping_fr_timeout = 0;
            Text ds_ping_reply_codes = c"";
            Text ds_ping_socket = c"";
            Int ds_probing_mode = 0;
            Text outbound_proxy = c"";
            Int ds_timer_mode = 0;
            Text event_callback = c"";
            Int event_callback_mode = 0;
            Int ds_ping_latency_stats = 0;
            Int ds_latency_estimator_alpha = 100;
            /// Where the stock module has it, its default is the old way.
            Int ds_retain_latency_stats = if cfg!(stock_retain_latency) { 0 } else { 1 };
            Int ds_retain_state = 1;
            Int ds_dns_mode = 1;
            Int ds_dns_interval = 600;
            Int ds_dns_ttl = 0;
            Int ds_dns_match_all = 0;
            Int ds_dns_hold = 1800;
            Text db_url = c"";
            Text table_name = c"dispatcher";
            Text setid_col = c"setid";
            Text destination_col = c"destination";
            Text flags_col = c"flags";
            Text priority_col = c"priority";
            Text attrs_col = c"attrs";
            Text ds_db_extra_attrs = c"";
            Int ds_attrs_none = 0;
            Int ds_load_mode = 0;
            Text ds_state_file = c"";
            Int ds_lean_failover = 0;
            Int ds_load_auto = 0;
            Int ds_limits = 0;
            Int ds_failure_decay = 0;
            Int ds_passive_health = 0;
            Int ds_eject_row = 5;
            Int ds_eject_window = 30;
            Int ds_eject_min_calls = 10;
            Int ds_eject_share = 50;
            Int ds_eject_time = 30;
            Int ds_eject_max_time = 300;
            Int ds_eject_trial = 3;
            Int ds_max_ejected = 30;
            Int ds_retry_after_max = 60;
            Int ds_ping_fast_interval = 0;
            Int ds_ping_jitter = 0;
            /// A flag by its number; the host also takes a text for it, its name.
            Flag ds_priority_flag = -1;
            Int ds_slowstart = 0;
            Int hash_balance = 0;
        }
    };
}
pub(crate) use parameters;

type Int = i32;
type Text = Vec<u8>;
/// Its number, and its name; empty where that is not what the configuration says.
type Flag = (i32, Vec<u8>);

/// A default as a value that is checked.
trait Value<D> {
    fn of(default: D) -> Self;
}

impl Value<i32> for Int {
    fn of(default: i32) -> Self {
        default
    }
}

impl Value<i32> for Flag {
    fn of(default: i32) -> Self {
        (default, Vec::new())
    }
}

impl Value<&CStr> for Text {
    fn of(default: &CStr) -> Self {
        default.to_bytes().to_vec()
    }
}

macro_rules! raw {
    ($($(#[$note:meta])* $kind:ident $name:ident = $default:expr;)*) => {
        /// The values in the configuration file, before they are checked. The names are those of the parameters.
        #[derive(Debug, Clone)]
        #[allow(missing_docs)] // the parameters' own names; see docs/reference/parameters.md
        pub struct Raw {
            $($(#[$note])* pub $name: $kind,)*
        }

        /// A configuration that says nothing.
        impl Default for Raw {
            fn default() -> Self {
                Self { $($name: $kind::of($default),)* }
            }
        }
    };
}
parameters!(raw);
