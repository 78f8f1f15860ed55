//! The list of destinations that a selection leaves for failover: records of the xavp named by `xavp_dst`.
//!
//! Scripts read these fields: `uri`, `grp`, `attrs`, `sock`, `socket`, `sockname`, `dstid`.

use crate::conf::Conf;
use crate::host::mem::Pool;
use crate::host::xavp::{Fields, NoMemory, Record};
use crate::state::{Member, Set};

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
    let Some(destination) = set.get(listed.at) else { return Ok(fields) };
    let mode = conf.xavp_dst_mode;
    fields.text(b"uri", destination.text(destination.uri))?;
    fields.int(b"grp", set.id)?;
    let attrs = destination.text(destination.attrs);
    if mode.attrs && !attrs.is_empty() {
        fields.text(b"attrs", attrs)?;
    }
    if let Some(socket) = destination.send_from {
        fields.socket(b"sock", socket)?;
        for (wanted, name, text) in [
            (mode.socket, &b"socket"[..], destination.text(destination.socket)),
            (mode.sockname, b"sockname", destination.text(destination.sockname)),
        ] {
            if wanted && !text.is_empty() {
                fields.text(name, text)?;
            }
        }
    }
    if listed.counted {
        let duid = destination.text(destination.duid);
        fields.text(b"dstid", if duid.is_empty() { destination.text(destination.uri) } else { duid })?;
    }
    Ok(fields)
}

/// The position in `set` of the destination that a record of the list names. `hint` is where it is most likely: the next
/// record names most often the next position.
///
/// By `duid` where the record has one, else by URI and socket: one URI through two sockets is two destinations. Letters
/// count the same in either case.
pub fn position(set: &Set<Pool>, record: &Record<'_>, hint: usize) -> Option<usize> {
    let uri = record.text(b"uri")?;
    let socket = record.socket(b"sock");
    let dstid = record.text(b"dstid");
    let has_duid =
        |one: Member<'_>| dstid.is_some_and(|dstid| one.text(one.duid).eq_ignore_ascii_case(dstid));
    if set.get(hint).is_some_and(has_duid) {
        return Some(hint);
    }
    // Without a duid the URI is the id.
    let by_duid = || set.places().find(|(_, one)| has_duid(*one));
    let by_duid = dstid.filter(|dstid| !dstid.eq_ignore_ascii_case(uri)).and_then(|_| by_duid());
    let mut with_uri = set.with_uri(uri);
    let by_uri = || {
        let first = with_uri.next()?;
        let fits = |(_, one): &(usize, Member<'_>)| has_duid(*one) || one.send_from == socket;
        if fits(&first) { Some(first) } else { with_uri.find(fits).or(Some(first)) }
    };
    by_duid.or_else(by_uri).map(|(at, _)| at)
}
