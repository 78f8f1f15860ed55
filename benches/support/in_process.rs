//! The module's own code without a server: sets and calls in the memory of this process.

#[path = "../../tests/model/listed.rs"]
mod listed;

use dispatcher::load::Secret;
use dispatcher::load::key::Key;
use dispatcher::service::sets::load::reload;
use dispatcher::shm::Heap;
use dispatcher::state::Root;
use listed::{Listed, POLICY};

/// A root where the gateways of this list file serve, for so many processes.
pub fn serving(list: &str, processes: usize) -> Root<Heap> {
    let root = Root::try_new_in(Secret::new([7; _]), Heap).unwrap();
    root.sets.open(processes).unwrap();
    reload(&root, &Listed(list), 0, 0, POLICY).unwrap();
    root
}

/// The key of a call.
pub fn key(root: &Root<Heap>, name: u32) -> Key {
    root.secret.call(&name.to_ne_bytes())
}
