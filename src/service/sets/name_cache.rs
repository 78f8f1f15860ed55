//! The addresses of names while a source is read: at start from the DNS, later from the sets that serve.

use crate::dest::Problem;
use crate::dest::problem::shown;
use crate::service::sets::resolve::{Meaning, Resolved};
use crate::service::sets::source::{Found, Source};
use crate::service::sets::srv_targets::{self, NamedLine, Target};
use crate::shm::Alloc;
use crate::state::Generation;
use core::cell::LazyCell;
use core::net::IpAddr;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Where addresses come from.
pub(super) enum Names<'g> {
    /// From the DNS, since this time: at start no call waits.
    Asked(Instant),
    /// From the sets that serve, since a worker may be waiting. A new name has no addresses until the resolver process has looked it
    /// up, which it does at once. The cache is made at the first name: most lists have only addresses.
    Serving(LazyCell<KnownNames, Box<dyn FnOnce() -> KnownNames + 'g>>),
}

/// The names in the sets that serve.
#[derive(Default)]
pub(super) struct KnownNames {
    meanings: HashMap<(i32, Vec<u8>), Meaning>,
    /// Addresses by host, for the same name in another line or set.
    hosts: HashMap<Vec<u8>, Vec<IpAddr>>,
    lines: HashMap<NamedLine, Vec<Target>>,
}

/// How long looking up all names at start may take; the rest is left to the resolver process.
const PATIENCE: Duration = Duration::from_secs(5);

impl<'g> Names<'g> {
    /// From these sets.
    pub fn serving<A: Alloc>(before: Option<&'g Generation<A>>) -> Self {
        let known = |sets| KnownNames {
            meanings: meanings(sets),
            hosts: hosts(sets),
            lines: srv_targets::lines(sets),
        };
        Self::Serving(LazyCell::new(Box::new(move || before.map(known).unwrap_or_default())))
    }

    /// A destination with its addresses; the many that it stands for, if its name does.
    pub fn mean<'t>(
        &mut self,
        source: &dyn Source,
        mut one: Resolved<'t>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Resolved<'t>> {
        match self {
            Self::Asked(begun) => match (begun.elapsed() < PATIENCE).then(|| source.look_up(&one)) {
                None | Some(Found::Unwanted) => {}
                Some(Found::Nothing) => {
                    let name = shown(one.entry.uri.get(one.host.clone()).unwrap_or_default());
                    let text = format!("{name} does not resolve: the destination goes down until it does");
                    problems.push(Problem::warning(one.entry.place, text));
                }
                Some(Found::Meaning(meaning)) => meaning.give_to(&mut one),
                Some(Found::Targets(found)) => return srv_targets::expand(one, &found),
            },
            Self::Serving(known) => {
                if let Some(meaning) =
                    known.meanings.get(&(one.entry.set, one.entry.uri.to_ascii_lowercase()))
                {
                    meaning.clone().give_to(&mut one);
                } else if one.looked_up && one.written.is_empty() {
                    let host = one.entry.uri.get(one.host.clone()).unwrap_or_default();
                    let addresses = known.hosts.get(&host.to_ascii_lowercase());
                    one.addresses = addresses.cloned().unwrap_or_default();
                }
                let found = if one.written.is_empty() {
                    None
                } else {
                    known.lines.get(&NamedLine::of_resolved(&one))
                };
                return srv_targets::expand(one, found.map_or(&[], Vec::as_slice));
            }
        }
        vec![one]
    }
}

/// The addresses of the names that serve.
fn hosts<A: Alloc>(sets: &Generation<A>) -> HashMap<Vec<u8>, Vec<IpAddr>> {
    let named = sets.all().filter(|(_, _, one)| one.named && !one.addresses().is_empty());
    named.map(|(_, _, one)| (one.text(one.host).to_ascii_lowercase(), one.addresses().to_vec())).collect()
}

/// The answers for the names that serve.
fn meanings<A: Alloc>(sets: &Generation<A>) -> HashMap<(i32, Vec<u8>), Meaning> {
    let named = sets.sets().flat_map(|set| {
        let named = set.iter().filter(|one| one.named);
        named.map(|one| {
            let addresses = one.addresses().to_vec();
            let meaning = Meaning { addresses, port_and_proto: Some((one.port, one.proto)) };
            ((set.id, one.text(one.uri).to_ascii_lowercase()), meaning)
        })
    });
    named.collect()
}
