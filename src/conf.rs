//! The module's parameters, checked: one struct that holds only values that make sense.

use crate::load::Expiry;
use core::fmt;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// What the configuration file says, before it is checked. Names are those of the parameters.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // the parameters' own names; see README
pub struct Raw {
    pub list_file: Vec<u8>,
    pub flags: i32,
    pub use_default: i32,
    pub force_dst: i32,
    pub xavp_dst: Vec<u8>,
    pub xavp_dst_mode: i32,
    pub xavp_ctx: Vec<u8>,
    pub xavp_ctx_mode: i32,
    pub ds_hash_expire: i32,
    pub ds_hash_initexpire: i32,
    pub ds_hash_check_interval: i32,
    pub reload_delta: i32,
    pub ds_probing_threshold: i32,
    pub ds_inactive_threshold: i32,
    pub hash_pvar: Vec<u8>,
    pub setid_pvname: Vec<u8>,
    pub attrs_pvname: Vec<u8>,
    pub ds_default_socket: Vec<u8>,
    pub ds_default_sockname: Vec<u8>,
}

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
    found: i32,
    due: &'static str,
}

impl fmt::Display for BadParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, found, due } = self;
        write!(f, "modparam(\"dispatcher\", \"{name}\", {found}): {due} is due")
    }
}

const WHOLE: &str = "a number from 0 to 2147483647";
const POSITIVE: &str = "a number from 1 to 2147483647";

impl Conf {
    /// Checks all values; the first that makes no sense is told.
    pub fn check(raw: Raw) -> Result<Self, BadParameter> {
        let whole =
            |name, found: i32| u32::try_from(found).map_err(|_| BadParameter { name, found, due: WHOLE });
        let positive = |name, found: i32| match u32::try_from(found) {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(BadParameter { name, found, due: POSITIVE }),
        };
        let mode = whole("xavp_dst_mode", raw.xavp_dst_mode)?;
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> Raw {
        Raw {
            list_file: b"/etc/kamailio/dispatcher.list".to_vec(),
            flags: 3,
            use_default: 0,
            force_dst: 1,
            xavp_dst: b"_dsdst_".to_vec(),
            xavp_dst_mode: 5,
            xavp_ctx: b"_dsctx_".to_vec(),
            xavp_ctx_mode: 0,
            ds_hash_expire: 7200,
            ds_hash_initexpire: 0,
            ds_hash_check_interval: 30,
            reload_delta: 0,
            ds_probing_threshold: 1,
            ds_inactive_threshold: 1,
            hash_pvar: Vec::new(),
            setid_pvname: Vec::new(),
            attrs_pvname: Vec::new(),
            ds_default_socket: Vec::new(),
            ds_default_sockname: Vec::new(),
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
    }
}
