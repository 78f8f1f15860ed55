//! The list file as a source of destinations, with the host to ask about names and sockets.

use super::names;
use crate::conf::Dns;
use crate::dest::problem::{Problem, shown};
use crate::dest::{Entry, Flags};
use crate::host::uri;
use crate::service::names::kept;
use crate::service::publish::Located;
use crate::service::reload::{Found, Source};
use crate::shm::Foreign;
use std::path::Path;

/// The list file.
pub struct ListFile<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// The socket to send from where a destination names none.
    pub default_socket: Option<Foreign>,
    /// What names are looked up for.
    pub dns: Dns,
}

/// Host names longer than this the host cannot look up.
const MAX_HOST: usize = 254;

impl Source for ListFile<'_> {
    fn read(&self) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.path)
    }

    fn locate(&self, mut entry: Entry) -> Result<Located, Problem> {
        let (line, column) = (entry.line, entry.column);
        let wrong = |text: String| Problem::error(line, column, text);
        let mut parsed = uri::parse(&entry.uri);
        if parsed.is_none() && !entry.uri.starts_with(b"sip:") {
            let with_scheme = [b"sip:", entry.uri.as_slice()].concat();
            parsed = uri::parse(&with_scheme);
            entry.uri = if parsed.is_some() { with_scheme } else { entry.uri };
        }
        let found = shown(&entry.uri);
        let parsed = parsed.filter(|parsed| !parsed.host.is_empty());
        let parsed = parsed.ok_or_else(|| wrong(format!("{found} is no SIP URI with a host")))?;
        let host = entry.uri.get(parsed.host.clone()).unwrap_or_default().to_vec();
        if host.len() > MAX_HOST {
            return Err(wrong(format!("{found}: a host name has at most {MAX_HOST} characters")));
        }
        let socket = |attribute: &str, address: &[u8]| {
            let due = "not a socket that the server listens on (proto:address:port)";
            let found = uri::socket_by_address(address);
            found.ok_or_else(|| wrong(format!("{attribute}={}: {due}", shown(address))))
        };
        let attrs = &entry.attrs;
        let send_from = if !attrs.sockname.is_empty() {
            let name = &attrs.sockname;
            let found = uri::socket_by_name(name);
            Some(found.ok_or_else(|| wrong(format!("sockname={}: no listen has that name", shown(name))))?)
        } else if !attrs.socket.is_empty() {
            Some(socket("socket", &attrs.socket)?)
        } else {
            self.default_socket
        };
        let ping_from_socket = match attrs.ping_socket.as_slice() {
            [] => None,
            address => Some(socket("ping_socket", address)?),
        };
        if !attrs.obproxy.is_empty() && uri::parse(&attrs.obproxy).is_none() {
            return Err(wrong(format!("obproxy={}: a SIP URI is due", shown(&attrs.obproxy))));
        }
        let named = uri::literal(&host).is_none();
        let no_address = named || entry.flags.has(Flags::NO_DNS);
        let addresses = if no_address { Vec::new() } else { uri::resolve(&host) };
        if !no_address && addresses.is_empty() {
            return Err(wrong(format!("{found}: the server listens on no address of this family")));
        }
        let spreads = named && self.dns.each && !entry.flags.has(Flags::NO_DNS);
        Ok(Located {
            written: if spreads { entry.uri.clone() } else { Vec::new() },
            host: parsed.host,
            port: parsed.port,
            proto: parsed.proto,
            named,
            addresses,
            send_from,
            ping_from_socket,
            entry,
        })
    }

    fn look_up(&self, one: &Located) -> Found {
        if !self.dns.on || one.entry.flags.has(Flags::NO_DNS) {
            return Found::Unwanted;
        }
        if !one.written.is_empty() {
            let targets = names::targets(&one.written, &self.dns);
            return if targets.is_empty() { Found::Nothing } else { Found::Targets(targets) };
        }
        let host = one.entry.uri.get(one.host.clone()).unwrap_or_default();
        let Some(mut found) = names::meaning(host, (one.port, one.proto), &self.dns) else {
            return Found::Nothing;
        };
        kept(&mut found.addresses, &[], self.dns.match_all);
        Found::Meaning(found)
    }
}
