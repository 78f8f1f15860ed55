//! `dispatcher.explain`: what a selection would choose now, and why not the others.

use super::rpc::{self, NO_GROUP, with_module};
use crate::host::rpc::Rpc;
use crate::host::{clock, process};
use crate::service::routing::explain::{self, NoAnswer, Question};

/// `dispatcher.explain set algorithm [text [priority]]`: the text is the one that the algorithm hashes (for a URI, as
/// `dispatcher.hash` takes its user; a host is not added). With priority other than 0 the call may use reserves.
pub fn explain(rpc: &Rpc) {
    with_module(rpc, |module| {
        let (id, algorithm, text) = (rpc.int(0), rpc.int(1), rpc.optional_text(2));
        let sets = module.sets();
        let set = sets.as_ref().and_then(|sets| sets.set(id)).ok_or(NO_GROUP)?;
        let question = Question {
            algorithm,
            text,
            spare_last: module.conf.use_default,
            random: &process::random_number,
            now_ms: clock::wall_millis(),
            priority: rpc.optional_int(3).is_some_and(|priority| priority != 0),
        };
        let answer = explain::explain(module.root, set, &question);
        let (chosen, said) = answer.map_err(|error| match error {
            NoAnswer::NoAlgorithm => format!("There is no algorithm {algorithm}"),
            NoAnswer::NoText(text) => {
                let text = text.name();
                format!("Algorithm {algorithm} hashes the {text}: give it as the third argument")
            }
        })?;
        let top = rpc.structure()?;
        match chosen {
            Ok(at) => {
                let uri = set.get(at).map_or(&[][..], |one| one.text(one.uri));
                top.text(c"CHOSEN", uri)?;
            }
            Err(refusal) => top.text(c"REFUSED", refusal.words().as_bytes())?,
        }
        let targets = top.array(c"TARGETS")?;
        for (one, said) in set.iter().zip(said) {
            let entry = targets.structure(c"DEST")?;
            entry.text(c"URI", one.text(one.uri))?;
            entry.text(c"FLAGS", said.flags.letters().as_bytes())?;
            entry.int(c"LOAD", said.load as i32)?;
            entry.int(c"MAXLOAD", one.maxload as i32)?;
            rpc::reserve(one, &entry)?;
            rpc::penalty(module, said.penalty, &entry)?;
            let record = module.root.registry.record(one.record);
            let shared = record.and_then(|record| module.root.registry.capacity_of(record));
            let why = said.why.told(shared.as_ref().map(|shared| &*shared.name));
            entry.text(c"WHY", format!("{why}{}", said.reserve).as_bytes())?;
            if let Some(shared) = shared {
                rpc::capacity(&shared, &entry)?;
            }
            if let Some(record) = record.filter(|_| one.limits.rate.limits()) {
                rpc::rate(one.limits.rate, record, &entry)?;
            }
            if let Some(slow) = record.and_then(|record| record.slow_start(clock::nanos())) {
                rpc::slow_start(slow, &entry)?;
            }
        }
        Ok(())
    });
}
