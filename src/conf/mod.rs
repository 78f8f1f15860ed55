//! The module's parameters, checked: one struct that holds only values that make sense. What makes none does not keep the
//! server from starting where it starts with the stock module: it is told, with what is in effect instead.

mod ejection;
mod finding;
mod parameters;
mod read;

pub use finding::Finding;
pub use parameters::Raw;
pub(crate) use parameters::parameters;

use crate::dest::address::Use;
use crate::dest::row::Columns;
use crate::health::ejection::Rules;
use crate::health::event::Events;
use crate::health::probing::ProbingMode;
use crate::load::Expiry;
use read::{DEFAULT_FROM, NO_PRIORITY, NO_PROXY, Reader};
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
    /// What a selection leaves for failover.
    pub failover: Failover,
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
    /// `ds_load_auto`: calls are followed without a word in the script.
    pub load_auto: bool,
    /// `ds_limits`: attributes that limit more than `maxload` does act. Scripts may use such words for themselves.
    pub limits: bool,
    /// `ds_failure_decay`, seconds after which half of what a failed call weighs is gone; 0: it weighs nothing.
    pub failure_decay: u32,
    /// `ds_priority_flag`: the flag of requests whose calls may use reserves; a name is looked up by [`Conf::check_flag`].
    pub priority_flag: Option<Flag>,
    /// `ds_slowstart`, seconds; 0 is none, and so is any without `ds_limits`.
    pub slow_start: u32,
    /// `ds_passive_health`: calls that fail say something of destinations, by these rules.
    pub ejection: Option<Rules>,
    /// `hash_balance`, percent; 0 is no bound.
    pub hash_balance: u32,
    /// `ds_default_socket`, where a destination names none; empty is none.
    pub default_socket: Vec<u8>,
    /// `ds_default_sockname`, which wins over it; empty is none.
    pub default_sockname: Vec<u8>,
    /// Which destinations are probed.
    pub probing_mode: ProbingMode,
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
    /// `ds_ping_fast_interval`, seconds, after a first failure until the state is settled; 0 is no other interval.
    pub fast: u32,
    /// `ds_ping_jitter`, percent of the interval.
    pub jitter: u32,
    /// `ds_ping_fr_timer` or `ds_ping_fr_timeout`, milliseconds; 0 leaves it to tm.
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

/// A flag of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flag {
    /// By its number.
    Number(u32),
    /// By its name in the core's `flags`.
    Name(Vec<u8>),
}

/// Flags that a message has.
const FLAGS: u32 = 32;

/// What a selection leaves for failover: `flags` bit 2, and `ds_lean_failover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failover {
    /// Nothing: `flags` without 2, or no name in `xavp_dst` where one is needed.
    Off,
    /// A record for each destination that may be tried, as in the stock module (0).
    List,
    /// One record, for the destination in use (1).
    Record,
    /// Nothing that a script can change: it is kept with the transaction (2).
    Transaction,
}

impl Failover {
    fn of(flags: i32, xavp_dst: &[u8], lean: Self) -> Self {
        let has_place = lean == Self::Transaction || !xavp_dst.is_empty();
        if flags & 2 != 0 && has_place { lean } else { Self::Off }
    }
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

impl Conf {
    /// Checks all values. What makes no sense, and what is in effect instead, is told; an error is what the stock module does
    /// not start with either.
    pub fn check(raw: Raw) -> Result<(Self, Vec<Finding>), Finding> {
        let mut read = Reader::default();
        let flags = read.bits("flags", raw.flags, 3);
        let mode = read.bits("xavp_dst_mode", raw.xavp_dst_mode, 7);
        if raw.ds_hash_size < 0 {
            let instead = "it has no effect: the call table grows by itself";
            read.number("ds_hash_size", raw.ds_hash_size, "a whole number from 0 on", instead);
        }
        if raw.ds_dns_ttl < 0 {
            let instead = "0 is in effect: as the DNS says";
            read.number("ds_dns_ttl", raw.ds_dns_ttl, "a whole number from 0 on", instead);
        }
        if raw.ds_dns_hold < -1 {
            let instead = "-1 is in effect: for ever";
            read.number("ds_dns_hold", raw.ds_dns_hold, "a whole number from -1 on", instead);
        }
        read.reply_codes(&raw.ds_ping_reply_codes);
        let alpha = read.alpha(raw.ds_latency_estimator_alpha);
        let dns_mode = read.dns_mode(raw.ds_dns_mode);
        let modes = |mode| match mode {
            0 => Some(Failover::List),
            1 => Some(Failover::Record),
            2 => Some(Failover::Transaction),
            _ => None,
        };
        let found = raw.ds_lean_failover;
        let lean = read.choice("ds_lean_failover", found, 2, modes, (0, Failover::List));
        if lean != Failover::List && flags & 2 == 0 {
            let instead = "it has no effect: failover is off";
            read.number("ds_lean_failover", found, "0, or 2 in the parameter flags as well", instead);
        }
        let ejection = read.ejection(&raw);
        let probing = Probing {
            method: read.method("ds_ping_method", raw.ds_ping_method),
            from: {
                let instead = format!("\"{DEFAULT_FROM}\" is in effect");
                read.address("ds_ping_from", &raw.ds_ping_from, Use::From, (DEFAULT_FROM, &instead))
            },
            interval: read.whole("ds_ping_interval", raw.ds_ping_interval, 0),
            fast: read.whole("ds_ping_fast_interval", raw.ds_ping_fast_interval, 0),
            jitter: read.most(50, "ds_ping_jitter", raw.ds_ping_jitter),
            timeout: match read.whole("ds_ping_fr_timeout", raw.ds_ping_fr_timeout, 0) {
                0 => read.whole("ds_ping_fr_timer", raw.ds_ping_fr_timer, 0),
                timeout => timeout,
            },
            socket: raw.ds_ping_socket,
            outbound_proxy: match raw.outbound_proxy.as_slice() {
                [] => Vec::new(),
                found => read.address("outbound_proxy", found, Use::NextHop, ("", NO_PROXY)),
            },
        };
        let database = if raw.db_url.is_empty() {
            None
        } else {
            let extra = &raw.ds_db_extra_attrs;
            let (extra, instead) = Columns::parse_extra(extra).map_err(|error| {
                Finding::text(
                    "ds_db_extra_attrs",
                    extra,
                    format!("attribute=column;attribute=column: {error}"),
                )
            })?;
            if let Some(instead) = instead {
                let expected = "attribute=column;attribute=column";
                read.text("ds_db_extra_attrs", &raw.ds_db_extra_attrs, expected, instead);
            }
            let names =
                vec![raw.setid_col, raw.destination_col, raw.flags_col, raw.priority_col, raw.attrs_col];
            Some(Database { url: raw.db_url, table: raw.table_name, columns: Columns { names, extra } })
        };
        let conf = Self {
            list_file: PathBuf::from(OsString::from_vec(raw.list_file)),
            user_only: flags & 1 != 0,
            failover: Failover::of(flags, &raw.xavp_dst, lean),
            use_default: read.switch("use_default", raw.use_default),
            force_dst: read.switch("force_dst", raw.force_dst),
            xavp_dst: raw.xavp_dst,
            xavp_dst_mode: DstMode { attrs: mode & 1 == 0, socket: mode & 2 != 0, sockname: mode & 4 != 0 },
            xavp_ctx: raw.xavp_ctx,
            with_count: read.bits("xavp_ctx_mode", raw.xavp_ctx_mode, 1) == 0,
            expiry: Expiry {
                early: read.whole("ds_hash_initexpire", raw.ds_hash_initexpire, 7200),
                confirmed: read.whole("ds_hash_expire", raw.ds_hash_expire, 7200),
            },
            load_auto: read.switch("ds_load_auto", raw.ds_load_auto),
            limits: read.only_1("ds_limits", raw.ds_limits),
            failure_decay: read.whole("ds_failure_decay", raw.ds_failure_decay, 0),
            priority_flag: read.flag("ds_priority_flag", raw.ds_priority_flag, raw.ds_limits == 1),
            slow_start: read.with_limits("ds_slowstart", raw.ds_slowstart, raw.ds_limits == 1),
            ejection,
            hash_balance: read.whole("hash_balance", raw.hash_balance, 0),
            check_interval: read.from(1, "ds_hash_check_interval", raw.ds_hash_check_interval, 30),
            reload_delta: read.whole("reload_delta", raw.reload_delta, 0),
            probing_threshold: read.from(1, "ds_probing_threshold", raw.ds_probing_threshold, 1),
            inactive_threshold: read.from(1, "ds_inactive_threshold", raw.ds_inactive_threshold, 1),
            hash_pvar: raw.hash_pvar,
            setid_pvname: raw.setid_pvname,
            attrs_pvname: raw.attrs_pvname,
            default_socket: raw.ds_default_socket,
            default_sockname: raw.ds_default_sockname,
            // Another number comes nearest to this one in the stock module: those with the flag, until they answer well.
            probing_mode: read.choice(
                "ds_probing_mode",
                raw.ds_probing_mode,
                3,
                ProbingMode::from_number,
                (3, ProbingMode::Flagged),
            ),
            probing: (probing.interval > 0).then_some(probing),
            reply_codes: raw.ds_ping_reply_codes,
            secondary_timer: read.only_1("ds_timer_mode", raw.ds_timer_mode),
            event_callback: raw.event_callback,
            events: read.choice(
                "event_callback_mode",
                raw.event_callback_mode,
                2,
                Events::from_number,
                (0, Events::Changes),
            ),
            load_in_short_list: raw.ds_hash_size > 0,
            latency_alpha: read.switch("ds_ping_latency_stats", raw.ds_ping_latency_stats).then_some(alpha),
            retain_state: read.switch("ds_retain_state", raw.ds_retain_state),
            retain_latency: read.switch("ds_retain_latency_stats", raw.ds_retain_latency_stats),
            dns: Dns {
                on: dns_mode != 0,
                refresh: match dns_mode {
                    mode if mode & 2 != 0 => Some(1),
                    mode if mode & 4 != 0 => Some(read.from(1, "ds_dns_interval", raw.ds_dns_interval, 600)),
                    _ => None,
                },
                srv: dns_mode & 8 != 0,
                each: dns_mode & 16 != 0,
                ttl: u32::try_from(raw.ds_dns_ttl).unwrap_or(0),
                match_all: read.switch("ds_dns_match_all", raw.ds_dns_match_all),
                // Below zero is for ever.
                hold: u32::try_from(raw.ds_dns_hold).ok(),
            },
            database,
            attrs_none: read.switch("ds_attrs_none", raw.ds_attrs_none),
            strict: read.only_1("ds_load_mode", raw.ds_load_mode),
            state_file: (!raw.ds_state_file.is_empty())
                .then(|| PathBuf::from(OsString::from_vec(raw.ds_state_file))),
        };
        Ok((conf, read.findings))
    }

    /// Drops addresses of probes that the server cannot send to, or name as the sender.
    pub fn check_addresses(&mut self, good: fn(&[u8]) -> bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        let Some(probing) = &mut self.probing else { return findings };
        if !good(&probing.from) {
            let instead = format!("\"{DEFAULT_FROM}\" is in effect");
            findings.push(Finding::text("ds_ping_from", &probing.from, "a SIP URI").instead(instead));
            probing.from = DEFAULT_FROM.into();
        }
        if !probing.outbound_proxy.is_empty() && !good(&probing.outbound_proxy) {
            let found = core::mem::take(&mut probing.outbound_proxy);
            findings.push(Finding::text("outbound_proxy", &found, "a SIP URI").instead(NO_PROXY));
        }
        findings
    }

    /// Looks up a flag that is given by name. What is no flag has no effect.
    pub fn check_flag(&mut self, number: fn(&[u8]) -> Option<u32>) -> Option<Finding> {
        let Some(Flag::Name(name)) = &self.priority_flag else { return None };
        let found = number(name).filter(|number| *number < FLAGS);
        let finding =
            Finding::text("ds_priority_flag", name, "a number from 0 to 31, or a name of the core's flags");
        self.priority_flag = found.map(Flag::Number);
        found.is_none().then(|| finding.instead(NO_PRIORITY))
    }

    /// Whether `ds_latency_estimator_alpha` looks as if it was written for releases before 6.1, in which it was the weight
    /// of the old estimate and 900 by default.
    pub fn alpha_looks_old(&self) -> bool {
        self.latency_alpha.is_some_and(|alpha| alpha > 0.5)
    }
}

#[cfg(test)]
mod tests;
