//! The list of destinations that a selection leaves for failover: records of the xavp named by `xavp_dst`.
//!
//! Scripts read these fields: `uri`, `grp`, `attrs`, `sock`, `socket`, `sockname`, `dstid`.

use crate::conf::Conf;
use crate::host::mem::Pool;
use crate::host::xavp::{Fields, NoMemory, Record};
use crate::state::Set;

/// An entry of the list.
pub struct Listed<'a> {
    /// The set.
    pub set: &'a Set<Pool>,
    /// The position in it.
    pub at: usize,
    /// Whether the call is counted (algorithm 10): only then is there a `dstid`.
    pub counted: bool,
}

/// The fields of an entry, in the order in which the stock module adds them.
pub fn fields(conf: &Conf, listed: &Listed<'_>) -> Result<Fields, NoMemory> {
    let mut fields = Fields::default();
    let set = listed.set;
    let Some(destination) = set.destinations.get(listed.at) else { return Ok(fields) };
    let mode = conf.xavp_dst_mode;
    fields.text(b"uri", set.text(destination.uri))?;
    fields.int(b"grp", set.id)?;
    let attrs = set.text(destination.attrs);
    if mode.attrs && !attrs.is_empty() {
        fields.text(b"attrs", attrs)?;
    }
    if let Some(socket) = destination.send_from {
        fields.socket(b"sock", socket)?;
        for (wanted, name, text) in [
            (mode.socket, &b"socket"[..], set.text(destination.socket)),
            (mode.sockname, b"sockname", set.text(destination.sockname)),
        ] {
            if wanted && !text.is_empty() {
                fields.text(name, text)?;
            }
        }
    }
    if listed.counted {
        let duid = set.text(destination.duid);
        fields.text(b"dstid", if duid.is_empty() { set.text(destination.uri) } else { duid })?;
    }
    Ok(fields)
}

/// The position in `set` of the destination that a record of the list names.
///
/// By `duid` where the record has one, else by URI and socket: one URI through two sockets is two destinations. Letters
/// count the same in either case.
pub fn position(set: &Set<Pool>, record: &Record) -> Option<usize> {
    let uri = record.text(b"uri")?;
    let (dstid, socket) = (record.text(b"dstid"), record.socket(b"sock"));
    let same_uri = |at: &usize| {
        set.destinations
            .get(*at)
            .is_some_and(|destination| set.text(destination.uri).eq_ignore_ascii_case(uri))
    };
    let positions = 0..set.destinations.len();
    let by_duid = dstid.and_then(|dstid| {
        set.destinations.iter().position(|destination| set.text(destination.duid).eq_ignore_ascii_case(dstid))
    });
    by_duid
        .or_else(|| {
            let mut same = positions.clone().filter(same_uri);
            same.find(|&at| set.destinations.get(at).is_some_and(|found| found.send_from == socket))
        })
        .or_else(|| positions.clone().find(same_uri))
}
