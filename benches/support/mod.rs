//! The module's own code without a server: sets and calls in the memory of this process.
#![allow(dead_code)] // each benchmark has use for a part of it

use dispatcher::dest::{Entry, Problem, Written, list};
use dispatcher::load::Secret;
use dispatcher::load::key::Key;
use dispatcher::service::located::Located;
use dispatcher::service::reload::{Found, Policy, Source, reload};
use dispatcher::shm::Heap;
use dispatcher::state::{Keep, Root};
use std::borrow::Cow;

const POLICY: Policy = Policy { strict: false, attrs_none: false, keep: Keep { state: true, latency: true } };

/// Gateways of which the host knows nothing.
struct Listed(String);

impl Source for Listed {
    fn read<'t>(&self, text: &'t mut Vec<u8>) -> Result<(Vec<Written<'t>>, Vec<Problem>), String> {
        *text = self.0.clone().into();
        Ok(list::parse(text))
    }

    fn locate<'t>(&self, entry: Entry<'t>) -> Result<Located<'t>, Problem> {
        Ok(Located {
            host: 4..entry.uri.len(),
            written: Cow::default(),
            port: 0,
            proto: 0,
            named: false,
            looked_up: false,
            addresses: Vec::new(),
            srv_weight: 0,
            send_from: None,
            ping_from_socket: None,
            entry,
        })
    }

    fn look_up(&self, _: &Located<'_>) -> Found {
        Found::Unwanted
    }
}

/// A root where the gateways of this list file serve, for so many processes.
pub fn serving(list: String, processes: usize) -> Root<Heap> {
    let root = Root::try_new_in(Secret::new([7; _]), Heap).unwrap();
    root.sets.open(processes).unwrap();
    reload(&root, &Listed(list), 0, 0, POLICY).unwrap();
    root
}

/// The key of a call.
pub fn key(root: &Root<Heap>, name: u32) -> Key {
    root.secret.call(&name.to_ne_bytes())
}
