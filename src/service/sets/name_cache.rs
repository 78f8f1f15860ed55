//! What names mean while a source is read.

use crate::dest::Problem;
use crate::dest::problem::shown;
use crate::service::sets::resolve::{Meaning, Resolved};
use crate::service::sets::source::{Found, Source};
use crate::service::sets::srv_targets::{self, Line, Target};
use crate::shm::Alloc;
use crate::state::Generation;
use core::cell::LazyCell;
use core::net::IpAddr;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Where that comes from.
pub(super) enum Names<'g> {
    /// From the DNS, since then: nothing serves yet, and nobody waits.
    Asked(Instant),
    /// From the sets that serve: a worker may wait. A new name has no addresses until the process for names has looked it up,
    /// at once. Most lists are of addresses, and need nothing of it.
    Serving(LazyCell<Known, Box<dyn FnOnce() -> Known + 'g>>),
}

/// What names mean in the sets that serve.
#[derive(Default)]
pub(super) struct Known {
    meanings: HashMap<(i32, Vec<u8>), Meaning>,
    /// By host, for the same name in another line or set: addresses alone, until it is looked up for that.
    hosts: HashMap<Vec<u8>, Vec<IpAddr>>,
    lines: HashMap<Line, Vec<Target>>,
}

/// How long looking up all names at start may take; the rest is left to the process for names.
const PATIENCE: Duration = Duration::from_secs(5);

impl<'g> Names<'g> {
    /// From these sets.
    pub fn serving<A: Alloc>(before: Option<&'g Generation<A>>) -> Self {
        let known =
            |sets| Known { meanings: meanings(sets), hosts: hosts(sets), lines: srv_targets::lines(sets) };
        Self::Serving(LazyCell::new(Box::new(move || before.map(known).unwrap_or_default())))
    }

    /// The destinations that one with a name is.
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
                let found =
                    if one.written.is_empty() { None } else { known.lines.get(&Line::of_resolved(&one)) };
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

/// What the names that serve mean.
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
