//! A source of destinations for tests: a text, without a host.

use dispatcher::dest::{Entry, Problem, SourceLine, list};
use dispatcher::service::sets::load::Policy;
use dispatcher::service::sets::resolve::Resolved;
use dispatcher::service::sets::source::{Found, Source};
use dispatcher::state::Keep;
use std::borrow::Cow;

pub const KEEP: Keep = Keep { state: true, latency: true };
pub const POLICY: Policy = Policy { strict: false, attrs_none: false, limits: true, keep: KEEP };

/// A destination as if the host had been asked and knew nothing about it.
pub fn unlocated(entry: Entry<'_>) -> Resolved<'_> {
    Resolved {
        host: 4..entry.uri.len(),
        written: Cow::default(),
        port: 0,
        proto: 0,
        named: true,
        looked_up: false,
        addresses: Vec::new(),
        srv_weight: 0,
        send_from: None,
        ping_from_socket: None,
        entry,
    }
}

/// A list file of what passes for addresses here: no name is looked up.
pub struct Listed<'a>(pub &'a str);

impl Source for Listed<'_> {
    fn read<'t>(&self, text: &'t mut Vec<u8>) -> Result<(Vec<SourceLine<'t>>, Vec<Problem>), String> {
        *text = self.0.into();
        Ok(list::parse(text))
    }

    fn locate<'t>(&self, entry: Entry<'t>) -> Result<Resolved<'t>, Problem> {
        Ok(Resolved { named: false, ..unlocated(entry) })
    }

    fn look_up(&self, _: &Resolved<'_>) -> Found {
        Found::Unwanted
    }
}
