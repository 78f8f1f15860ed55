//! Where destinations come from: the list file or the database, with the host to ask about names and sockets.

use super::lookup;
use crate::conf::{Conf, Database};
use crate::dest::address::{self, uri_of};
use crate::dest::location::Reader;
use crate::dest::problem::{Problem, shown};
use crate::dest::row::{Columns, Value};
use crate::dest::{Entry, Flags, SourceLine, list};
use crate::host::{db, uri};
use crate::service::health::dns::kept;
use crate::service::sets::resolve::Resolved;
use crate::service::sets::source::{Found, Source};
use crate::shm::Foreign;
use core::cell::{Cell, OnceCell};
use core::net::IpAddr;
use std::borrow::Cow;
use std::io;
use std::path::Path;

/// The list file, or the database.
pub struct Destinations<'a> {
    /// The parameters.
    pub conf: &'a Conf,
    /// The socket to send from where a destination names none.
    pub default_socket: Option<Foreign>,
    /// Whether the server sends to IPv4 addresses; found out when first needed. It may be configured to ask the DNS for IPv6 only.
    pub ipv4: OnceCell<bool>,
    /// Bits of the attributes that were seen and act with `ds_limits` only ([`attrs::unused`](crate::dest::limits::unused)).
    pub unused: Cell<u32>,
}

/// Whether the host of a URI is an address, or can be a name.
fn is_host(host: &[u8]) -> bool {
    // What the core's `uri_host_extra_chars` lets through is known to the server's parser, which looks at a host closely only
    // behind a user.
    let has_extra = || host.iter().any(|byte| !byte.is_ascii_alphanumeric() && !b".-_[]".contains(byte));
    let by_the_server = || has_extra() && uri::parse(&[b"sip:x@", host].concat()).is_some();
    uri::literal(host).is_some() || address::is_host_name(host) || by_the_server()
}

/// The server reads URIs.
const READER: Reader<'static, uri::Uri> =
    Reader { parse: &uri::parse, host: |parsed| parsed.host.clone(), is_host: &is_host };

/// Whether the server can send to this URI, which may stand behind a name and in `<` and `>`, or name it as the sender.
pub fn sends_to(text: &[u8]) -> bool {
    let uri = uri_of(text);
    let host = uri::parse(uri).and_then(|parsed| uri.get(parsed.host));
    host.is_some_and(is_host)
}

impl Destinations<'_> {
    /// Where the destinations come from.
    pub fn source_name(conf: &Conf) -> String {
        match &conf.database {
            Some(database) => format!("table {}", String::from_utf8_lossy(&database.table)),
            None => conf.list_file.display().to_string(),
        }
    }

    /// What stands before the place of a finding.
    pub fn name(conf: &Conf) -> String {
        let mark = if conf.database.is_some() { ", " } else { ":" };
        Self::source_name(conf) + mark
    }

    fn lines<'t>(&self, text: &'t mut Vec<u8>) -> Result<(Vec<SourceLine<'t>>, Vec<Problem>), String> {
        match &self.conf.database {
            Some(database) => {
                let table = String::from_utf8_lossy(&database.table);
                read_table(database).map_err(|error| format!("table {table}: {error}"))
            }
            None => {
                let file = &self.conf.list_file;
                *text = std::fs::read(file).map_err(|error| unreadable(file, &error))?;
                Ok(list::parse(text))
            }
        }
    }

    /// Where nothing is probed some stock modules drop the flag that asks for it.
    fn in_effect(&self, flags: Flags) -> Flags {
        let dropped = cfg!(stock_drops_probing) && self.conf.probing.is_none();
        if dropped { flags.without(Flags::PROBING) } else { flags }
    }
}

impl Source for Destinations<'_> {
    fn read<'t>(&self, text: &'t mut Vec<u8>) -> Result<(Vec<SourceLine<'t>>, Vec<Problem>), String> {
        let (mut lines, problems) = self.lines(text)?;
        for line in &mut lines {
            line.flags = self.in_effect(line.flags);
        }
        Ok((lines, problems))
    }

    fn locate<'t>(&self, mut entry: Entry<'t>) -> Result<Resolved<'t>, Problem> {
        entry.flags = self.in_effect(entry.flags);
        self.unused.set(self.unused.get() | entry.attrs.unused);
        let place = entry.place;
        let wrong = |text: String| Problem::error(place, text);
        let as_written = entry.uri.clone();
        let parsed = READER.locate(&mut entry)?;
        let host = entry.uri.get(parsed.host.clone()).unwrap_or_default();
        let socket = |attribute: &str, address: &[u8]| {
            let expected = "not a socket that the server listens on (proto:address:port)";
            let found = uri::socket_by_address(address);
            found.ok_or_else(|| wrong(format!("{attribute}={}: {expected}", shown(address))))
        };
        let attrs = &entry.attrs;
        let send_from = if !attrs.sockname.is_empty() {
            let name = &*attrs.sockname;
            let found = uri::socket_by_name(name);
            Some(found.ok_or_else(|| wrong(format!("sockname={}: no listen has that name", shown(name))))?)
        } else if !attrs.socket.is_empty() {
            Some(socket("socket", &attrs.socket)?)
        } else {
            self.default_socket
        };
        let ping_from_socket = match attrs.ping_socket {
            [] => None,
            address => Some(socket("ping_socket", address)?),
        };
        let literal = uri::literal(host);
        let named = literal.is_none();
        let no_address = named || entry.flags.has(Flags::NO_DNS);
        let any = |address: &[u8]| !uri::resolve(address).is_empty();
        let addresses = match literal {
            _ if no_address => Vec::new(),
            Some(IpAddr::V4(_)) if !self.ipv4.get_or_init(|| any(b"127.0.0.1")) => Vec::new(),
            Some(address @ IpAddr::V4(_)) => vec![address],
            _ => uri::resolve(host),
        };
        if !no_address && addresses.is_empty() {
            return Err(wrong(format!(
                "{}: the server sends to no address of this family",
                shown(&as_written)
            )));
        }
        let spreads = named && self.conf.dns.each && !entry.flags.has(Flags::NO_DNS);
        READER.check_senders(&mut entry, self.conf.strict)?;
        Ok(Resolved {
            written: if spreads { entry.uri.clone() } else { Cow::default() },
            host: parsed.host,
            port: parsed.port,
            proto: parsed.proto,
            named,
            looked_up: named && self.conf.dns.on && !entry.flags.has(Flags::NO_DNS),
            addresses,
            srv_weight: 0,
            send_from,
            ping_from_socket,
            entry,
        })
    }

    fn look_up(&self, one: &Resolved<'_>) -> Found {
        if !self.conf.dns.on || one.entry.flags.has(Flags::NO_DNS) {
            return Found::Unwanted;
        }
        if !one.written.is_empty() {
            let targets = lookup::targets(&one.written, &self.conf.dns);
            return if targets.is_empty() { Found::Nothing } else { Found::Targets(targets) };
        }
        let host = one.entry.uri.get(one.host.clone()).unwrap_or_default();
        let Some(mut found) = lookup::meaning(host, (one.port, one.proto), &self.conf.dns) else {
            return Found::Nothing;
        };
        kept(&mut found.addresses, &[], self.conf.dns.match_all);
        Found::Meaning(found)
    }
}

/// Why the list file cannot be read; and what to write into it, where there is none.
fn unreadable(file: &Path, error: &io::Error) -> String {
    let name = file.display();
    let what_to_do = match error.kind() {
        io::ErrorKind::NotFound => {
            "; write one destination a line into it (set, URI, flags, priority, attributes), such as \
             '100 sip:192.0.2.15:5060 0 0 duid=gw1', or name another file: \
             modparam(\"dispatcher\", \"list_file\", \"/path/to/dispatcher.list\")"
        }
        _ => "",
    };
    format!("list_file {name}: {error}{what_to_do}")
}

/// Versions of the table that there were, with their number of columns.
const VERSIONS: [(u32, usize); 4] = [(1, 2), (2, 3), (3, 4), (4, 5)];

fn read_table(database: &Database) -> Result<(Vec<SourceLine<'static>>, Vec<Problem>), String> {
    let connection = db::Connection::open(&database.url)?;
    let version = connection.version_of(&database.table)?;
    let known = VERSIONS.iter().find(|(known, _)| *known == version);
    let (_, count) = known.ok_or_else(|| format!("its version is {version}, expected one from 1 to 4"))?;
    let Columns { names, extra } = &database.columns;
    let columns = Columns {
        names: names.iter().take(*count).cloned().collect(),
        // Those go into the attributes, which older tables do not have.
        extra: if *count == names.len() { extra.clone() } else { Vec::new() },
    };
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    connection.read(&database.table, &columns.all(), |number, values| {
        let values: Vec<_> = values.iter().map(value).collect();
        match columns.read(number, &values, &mut problems) {
            Ok(row) => rows.push(row),
            Err(problem) => problems.push(problem),
        }
    })?;
    Ok((rows, problems))
}

fn value<'a>(value: &db::Value<'a>) -> Value<'a> {
    match value {
        db::Value::Null => Value::Null,
        db::Value::Int(number) => Value::Int(*number),
        db::Value::Real(number) => Value::Real(*number),
        db::Value::Text(text) => Value::Text(text),
        db::Value::Other(kind) => Value::Other(kind),
    }
}
