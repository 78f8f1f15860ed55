//! The module's parameters, checked: one struct that holds only values that make sense.

mod parameters;

pub use parameters::Raw;
pub(crate) use parameters::parameters;

use crate::dest::ReplyCodes;
use crate::dest::row::Columns;
use crate::health::event::Events;
use crate::health::probing::Mode;
use crate::load::Expiry;
use core::fmt;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The checked parameters.
#[derive(Debug, Clone)]
pub struct Conf {
    /// `list_file`.
    pub list_file: PathBuf,
    /// `flags` bit 1: hashes of URIs take the user only.
    pub user_only: bool,
    /// `flags` bit 2: the rest of the set is kept for failover.
    pub failover: bool,
    /// `use_default`: the last destination of a set is kept for when no other is left.
    pub use_default: bool,
    /// `force_dst`: a destination that is set already may be replaced.
    pub force_dst: bool,
    /// Name of the list of destinations; empty switches it off.
    pub xavp_dst: Vec<u8>,
    /// Which fields its records have.
    pub xavp_dst_mode: DstMode,
    /// Name of the record with `cnt`.
    pub xavp_ctx: Vec<u8>,
    /// `xavp_ctx_mode` without bit 1: `cnt` is set.
    pub with_count: bool,
    /// `ds_hash_expire` and `ds_hash_initexpire`.
    pub expiry: Expiry,
    /// `ds_hash_check_interval`, seconds.
    pub check_interval: u32,
    /// `reload_delta`, seconds; 0 is no limit.
    pub reload_delta: u32,
    /// `ds_probing_threshold`.
    pub probing_threshold: u32,
    /// `ds_inactive_threshold`.
    pub inactive_threshold: u32,
    /// `hash_pvar`, the text that algorithm 7 hashes; empty is none.
    pub hash_pvar: Vec<u8>,
    /// `setid_pvname`, the variable that `ds_is_from_list` sets to the id of the set; empty is none.
    pub setid_pvname: Vec<u8>,
    /// `attrs_pvname`, the variable that it sets to the attributes; empty is none.
    pub attrs_pvname: Vec<u8>,
    /// `ds_default_socket`, where a destination names none; empty is none.
    pub default_socket: Vec<u8>,
    /// `ds_default_sockname`, which wins over it; empty is none.
    pub default_sockname: Vec<u8>,
    /// Which destinations are probed.
    pub probing_mode: Mode,
    /// How they are probed; `None` is not at all (`ds_ping_interval` 0).
    pub probing: Option<Probing>,
    /// `ds_ping_reply_codes`, which makes sense.
    pub reply_codes: Vec<u8>,
    /// `ds_timer_mode`: housekeeping is done in the secondary timer process.
    pub secondary_timer: bool,
    /// `event_callback`, the function that stands for event routes; empty is none.
    pub event_callback: Vec<u8>,
    /// `event_callback_mode`.
    pub events: Events,
    /// `ds_ping_latency_stats` with `ds_latency_estimator_alpha`: the weight of the newest sample, from 0 to 1.
    pub latency_alpha: Option<f64>,
    /// Whether even a short list shows the load: with `ds_hash_size`, as in the stock module.
    pub load_in_short_list: bool,
    /// `ds_retain_state`: a reload keeps states and failure counts of what stays.
    pub retain_state: bool,
    /// `ds_retain_latency_stats`: a reload keeps their latencies.
    pub retain_latency: bool,
    /// What names are looked up for.
    pub dns: Dns,
    /// The database that is read in the place of the list file.
    pub database: Option<Database>,
    /// `ds_attrs_none`: `none=yes` where a destination has no attributes.
    pub attrs_none: bool,
    /// `ds_load_mode` 1: one wrong destination keeps all from being loaded.
    pub strict: bool,
    /// `ds_state_file`, what outlives a restart.
    pub state_file: Option<PathBuf>,
}

/// Where destinations are in a database.
#[derive(Debug, Clone)]
pub struct Database {
    /// `db_url`.
    pub url: Vec<u8>,
    /// `table_name`.
    pub table: Vec<u8>,
    /// Set id, destination, flags, priority, attributes: as many as the newest table has.
    pub columns: Columns,
}

/// How destinations are probed.
#[derive(Debug, Clone)]
pub struct Probing {
    /// `ds_ping_method`.
    pub method: Vec<u8>,
    /// `ds_ping_from`.
    pub from: Vec<u8>,
    /// `ds_ping_interval`, seconds.
    pub interval: u32,
    /// `ds_ping_fr_timer`, milliseconds; 0 leaves it to tm.
    pub timeout: u32,
    /// `ds_ping_socket`; empty is none.
    pub socket: Vec<u8>,
    /// `outbound_proxy`; empty is none.
    pub outbound_proxy: Vec<u8>,
}

/// `ds_dns_mode`, and what belongs to it.
#[derive(Debug, Clone, Copy)]
pub struct Dns {
    /// Any bit: names are looked up.
    pub on: bool,
    /// Seconds between looks: 1 for bit 2 (value 2), `ds_dns_interval` for bit 3 (value 4), else once.
    pub refresh: Option<u32>,
    /// Bit 4 (value 8): SRV and NAPTR records too.
    pub srv: bool,
    /// Bit 5 (value 16): each target of a name is a destination of its own.
    pub each: bool,
    /// `ds_dns_ttl`, seconds; 0 as the DNS says.
    pub ttl: u32,
    /// `ds_dns_match_all`.
    pub match_all: bool,
    /// `ds_dns_hold`, seconds that a destination whose name stopped resolving stays up; `None` is for ever.
    pub hold: Option<u32>,
}

/// `xavp_dst_mode`.
#[derive(Debug, Clone, Copy)]
pub struct DstMode {
    /// Bit 1 not set: `attrs`.
    pub attrs: bool,
    /// Bit 2: `socket`.
    pub socket: bool,
    /// Bit 3 (value 4): `sockname`.
    pub sockname: bool,
}

/// A parameter with a value that makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub struct BadParameter {
    name: &'static str,
    found: String,
    due: String,
}

impl BadParameter {
    fn number(name: &'static str, found: i32, due: &str) -> Self {
        Self { name, found: found.to_string(), due: format!("{due} is due") }
    }

    fn text(name: &'static str, found: &[u8], due: String) -> Self {
        Self { name, found: format!("\"{}\"", found.escape_ascii()), due }
    }
}

impl fmt::Display for BadParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, found, due } = self;
        write!(f, "modparam(\"dispatcher\", \"{name}\", {found}): {due}")
    }
}

const WHOLE: &str = "a number from 0 to 2147483647";
const POSITIVE: &str = "a number from 1 to 2147483647";

impl Conf {
    /// Checks all values; the first that makes no sense is told.
    pub fn check(raw: Raw) -> Result<Self, BadParameter> {
        let whole =
            |name, found: i32| u32::try_from(found).map_err(|_| BadParameter::number(name, found, WHOLE));
        let positive = |name, found: i32| match u32::try_from(found) {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(BadParameter::number(name, found, POSITIVE)),
        };
        let mode = whole("xavp_dst_mode", raw.xavp_dst_mode)?;
        let choice =
            |name, found, most| BadParameter::number(name, found, &format!("a number from 0 to {most}"));
        ReplyCodes::parse(&raw.ds_ping_reply_codes)
            .map_err(|error| BadParameter::text("ds_ping_reply_codes", &raw.ds_ping_reply_codes, error))?;
        let alpha = match raw.ds_latency_estimator_alpha {
            // As the stock module reads it.
            found @ 1..1000 => f64::from(found) / 1000.0,
            found => {
                let due = "a number from 1 to 999 (thousandths)";
                return Err(BadParameter::number("ds_latency_estimator_alpha", found, due));
            }
        };
        let extra = Columns::parse_extra(&raw.ds_db_extra_attrs)
            .map_err(|error| BadParameter::text("ds_db_extra_attrs", &raw.ds_db_extra_attrs, error))?;
        let dns_mode = whole("ds_dns_mode", raw.ds_dns_mode)?;
        Ok(Self {
            list_file: PathBuf::from(OsString::from_vec(raw.list_file)),
            user_only: whole("flags", raw.flags)? & 1 != 0,
            failover: raw.flags & 2 != 0,
            use_default: raw.use_default != 0,
            force_dst: raw.force_dst != 0,
            xavp_dst: raw.xavp_dst,
            xavp_dst_mode: DstMode { attrs: mode & 1 == 0, socket: mode & 2 != 0, sockname: mode & 4 != 0 },
            xavp_ctx: raw.xavp_ctx,
            with_count: whole("xavp_ctx_mode", raw.xavp_ctx_mode)? & 1 == 0,
            expiry: Expiry {
                early: whole("ds_hash_initexpire", raw.ds_hash_initexpire)?,
                confirmed: whole("ds_hash_expire", raw.ds_hash_expire)?,
            },
            check_interval: positive("ds_hash_check_interval", raw.ds_hash_check_interval)?,
            reload_delta: whole("reload_delta", raw.reload_delta)?,
            probing_threshold: positive("ds_probing_threshold", raw.ds_probing_threshold)?,
            inactive_threshold: positive("ds_inactive_threshold", raw.ds_inactive_threshold)?,
            hash_pvar: raw.hash_pvar,
            setid_pvname: raw.setid_pvname,
            attrs_pvname: raw.attrs_pvname,
            default_socket: raw.ds_default_socket,
            default_sockname: raw.ds_default_sockname,
            probing_mode: Mode::from_number(raw.ds_probing_mode)
                .ok_or_else(|| choice("ds_probing_mode", raw.ds_probing_mode, 3))?,
            probing: match whole("ds_ping_interval", raw.ds_ping_interval)? {
                0 => None,
                interval => Some(Probing {
                    method: raw.ds_ping_method,
                    from: raw.ds_ping_from,
                    interval,
                    timeout: whole("ds_ping_fr_timer", raw.ds_ping_fr_timer)?,
                    socket: raw.ds_ping_socket,
                    outbound_proxy: raw.outbound_proxy,
                }),
            },
            reply_codes: raw.ds_ping_reply_codes,
            secondary_timer: raw.ds_timer_mode == 1,
            event_callback: raw.event_callback,
            events: Events::from_number(raw.event_callback_mode)
                .ok_or_else(|| choice("event_callback_mode", raw.event_callback_mode, 2))?,
            load_in_short_list: raw.ds_hash_size > 0,
            latency_alpha: (raw.ds_ping_latency_stats != 0).then_some(alpha),
            retain_state: raw.ds_retain_state != 0,
            retain_latency: raw.ds_retain_latency_stats != 0,
            dns: Dns {
                on: dns_mode != 0,
                refresh: match dns_mode {
                    mode if mode & 2 != 0 => Some(1),
                    mode if mode & 4 != 0 => Some(positive("ds_dns_interval", raw.ds_dns_interval)?),
                    _ => None,
                },
                srv: dns_mode & 8 != 0,
                each: dns_mode & 16 != 0,
                // As in the stock module, below zero is as the DNS says.
                ttl: u32::try_from(raw.ds_dns_ttl).unwrap_or(0),
                match_all: raw.ds_dns_match_all != 0,
                // Below zero is for ever.
                hold: u32::try_from(raw.ds_dns_hold).ok(),
            },
            database: (!raw.db_url.is_empty()).then_some(Database {
                url: raw.db_url,
                table: raw.table_name,
                columns: Columns {
                    names: vec![
                        raw.setid_col,
                        raw.destination_col,
                        raw.flags_col,
                        raw.priority_col,
                        raw.attrs_col,
                    ],
                    extra,
                },
            }),
            attrs_none: raw.ds_attrs_none != 0,
            strict: raw.ds_load_mode == 1,
            state_file: (!raw.ds_state_file.is_empty())
                .then(|| PathBuf::from(OsString::from_vec(raw.ds_state_file))),
        })
    }

    /// Whether `ds_latency_estimator_alpha` looks as if it was written for releases before 6.1, in which it was the weight
    /// of the old estimate and 900 by default.
    pub fn alpha_looks_old(&self) -> bool {
        self.latency_alpha.is_some_and(|alpha| alpha > 0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> Raw {
        Raw {
            flags: 3,
            xavp_dst_mode: 5,
            ds_hash_initexpire: 0,
            ds_ping_interval: 10,
            ds_ping_latency_stats: 1,
            ds_latency_estimator_alpha: 900,
            ds_dns_ttl: -1,
            ..Raw::default()
        }
    }

    #[test]
    fn bits_mean_what_the_manual_says() {
        let conf = Conf::check(raw()).unwrap();
        assert!(conf.failover && conf.with_count && conf.force_dst && !conf.use_default);
        let DstMode { attrs, socket, sockname } = conf.xavp_dst_mode;
        assert_eq!((attrs, socket, sockname), (false, false, true));
        assert_eq!(conf.expiry, Expiry { early: 0, confirmed: 7200 });
    }

    #[test]
    fn a_value_without_sense_is_told_with_its_name() {
        let error = Conf::check(Raw { ds_hash_check_interval: 0, ..raw() }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "modparam(\"dispatcher\", \"ds_hash_check_interval\", 0): a number from 1 to 2147483647 is due"
        );
        assert!(Conf::check(Raw { ds_hash_expire: -1, ..raw() }).is_err());
        assert!(Conf::check(Raw { ds_probing_mode: 4, ..raw() }).is_err());
        assert!(Conf::check(Raw { ds_latency_estimator_alpha: 1000, ..raw() }).is_err());
        let error = Conf::check(Raw { ds_ping_reply_codes: b"code=2".to_vec(), ..raw() }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "modparam(\"dispatcher\", \"ds_ping_reply_codes\", \"code=2\"): \
             'code=2': code=100 to code=699 or class=1 to class=6 is due"
        );
    }

    #[test]
    fn probing_and_names_are_what_the_manual_says() {
        let conf = Conf::check(raw()).unwrap();
        assert_eq!((conf.probing.as_ref().unwrap().interval, conf.latency_alpha), (10, Some(0.9)));
        assert!(conf.alpha_looks_old());
        assert_eq!((conf.dns.on, conf.dns.refresh, conf.dns.srv), (true, None, false));
        assert!(Conf::check(Raw { ds_ping_interval: 0, ..raw() }).unwrap().probing.is_none());
        let dns = |ds_dns_mode| Conf::check(Raw { ds_dns_mode, ..raw() }).unwrap().dns;
        assert_eq!(
            (dns(2).refresh, dns(5).refresh, dns(9).srv, dns(0).on),
            (Some(1), Some(600), true, false)
        );
    }
}
