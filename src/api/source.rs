//! The list file as a source of destinations, with the host to ask about names and sockets.

use crate::dest::problem::{Problem, shown};
use crate::dest::{Entry, Flags};
use crate::host::uri;
use crate::service::publish::Located;
use crate::service::reload::{NotLocated, Source};
use crate::shm::Foreign;
use std::path::Path;

/// The list file.
pub struct ListFile<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// The socket to send from where a destination names none.
    pub default_socket: Option<Foreign>,
}

/// Host names longer than this the host cannot look up.
const MAX_HOST: usize = 254;

impl Source for ListFile<'_> {
    fn read(&self) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.path)
    }

    fn locate(&self, mut entry: Entry) -> Result<Located, NotLocated> {
        let (line, column) = (entry.line, entry.column);
        let wrong = |text: String| NotLocated::Wrong(Problem::error(line, column, text));
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
        let (name, address) = (&entry.attrs.sockname, &entry.attrs.socket);
        let send_from = if !name.is_empty() {
            let found = uri::socket_by_name(name);
            Some(found.ok_or_else(|| wrong(format!("sockname={}: no listen has that name", shown(name))))?)
        } else if !address.is_empty() {
            let due = "not a socket that the server listens on (proto:address:port)";
            let found = uri::socket_by_address(address);
            Some(found.ok_or_else(|| wrong(format!("socket={}: {due}", shown(address))))?)
        } else {
            self.default_socket
        };
        let looked_up = !entry.flags.has(Flags::NO_DNS);
        let address = if looked_up { uri::resolve(&host) } else { None };
        let located =
            Located { host: parsed.host, port: parsed.port, proto: parsed.proto, address, send_from, entry };
        if looked_up && address.is_none() {
            return Err(NotLocated::Unresolved(Box::new(located)));
        }
        Ok(located)
    }
}
