//! The list of destinations that a selection leaves for failover: records of the xavp named by `xavp_dst`.
//!
//! Scripts read these fields: `uri`, `grp`, `dstidx`, `attrs`, `sock`, `socket`, `sockname`, `dstid`.

use crate::conf::Conf;
use crate::host::mem::Pool;
use crate::host::xavp::{NoMemory, Record, Value, Writer};
use crate::select::{Measure, RELATIVE_LOAD};
use crate::state::{Member, Set};

/// An entry of the list.
pub struct Listed<'a> {
    /// The set.
    pub set: &'a Set<Pool>,
    /// The position in it.
    pub at: usize,
    /// By what the call is counted (algorithms 10 and 100): only then is there a `dstid`.
    pub counted: Option<Measure>,
}

/// With `ds_lean_failover` 1: what was tried, for the module itself.
pub const TRIED: &[u8] = b"tried";
/// The number of the algorithm, where it is 100: a failover compares as the selection did.
const ALG: &[u8] = b"alg";

/// The names of the fields, in the order in which the stock module adds them.
mod field {
    use crate::host::xavp::Name;
    pub static URI: Name = Name::new(b"uri");
    pub static GRP: Name = Name::new(b"grp");
    pub static DSTIDX: Name = Name::new(b"dstidx");
    pub static ATTRS: Name = Name::new(b"attrs");
    pub static SOCK: Name = Name::new(b"sock");
    pub static SOCKET: Name = Name::new(b"socket");
    pub static SOCKNAME: Name = Name::new(b"sockname");
    pub static DSTID: Name = Name::new(b"dstid");
    pub static TRIED: Name = Name::new(super::TRIED);
    pub static ALG: Name = Name::new(super::ALG);
}

/// Adds an entry.
pub fn add(
    list: &mut Writer<'_>,
    conf: &Conf,
    entry: &Listed<'_>,
    tried: Option<&[u8]>,
) -> Result<(), NoMemory> {
    let set = entry.set;
    let Some(destination) = set.get(entry.at) else { return Ok(()) };
    let text = |wanted: bool, span| {
        let text = destination.text(span);
        (wanted && !text.is_empty()).then(|| Value::text(text))
    };
    let mode = conf.xavp_dst_mode;
    let sock = destination.send_from;
    let dstid = entry.counted.map(|_| Value::text(dstid(destination)));
    let relative = entry.counted == Some(Measure::Relative);
    list.add(&[
        Some((&field::URI, Value::text(destination.text(destination.uri)))),
        Some((&field::GRP, Value::int(set.id))),
        cfg!(stock_dstidx).then(|| (&field::DSTIDX, Value::int(i32::try_from(entry.at).unwrap_or(i32::MAX)))),
        text(mode.attrs, destination.body).map(|attrs| (&field::ATTRS, attrs)),
        sock.map(|sock| (&field::SOCK, Value::socket(sock))),
        text(mode.socket && sock.is_some(), destination.socket).map(|socket| (&field::SOCKET, socket)),
        text(mode.sockname && sock.is_some(), destination.sockname).map(|name| (&field::SOCKNAME, name)),
        dstid.map(|dstid| (&field::DSTID, dstid)),
        tried.map(|tried| (&field::TRIED, Value::text(tried))),
        relative.then(|| (&field::ALG, Value::int(RELATIVE_LOAD))),
    ])
}

/// What a counted call has for the id of its destination: the `duid`, or the URI where there is none.
pub fn dstid(destination: Member<'_>) -> &[u8] {
    let duid = destination.text(destination.duid);
    if duid.is_empty() { destination.text(destination.uri) } else { duid }
}

/// What the selection compared that wrote this record.
pub fn measure(record: &Record<'_>) -> Measure {
    if record.int(ALG) == Some(RELATIVE_LOAD) { Measure::Relative } else { Measure::Calls }
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
