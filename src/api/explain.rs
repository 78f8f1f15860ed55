//! `dispatcher.explain`: what a selection would choose now, and why not the others.

use super::rpc::with_module;
use crate::host::rpc::Rpc;
use crate::host::{clock, process};
use crate::select::{Refusal, hash};
use crate::service::explain::{self, NoAnswer, Question};

/// `dispatcher.explain set algorithm [text]`: the text is the one that the algorithm hashes (for a URI, as
/// `dispatcher.hash` takes its user; a host is not added).
pub fn explain(rpc: &Rpc) {
    with_module(rpc, |module| {
        let Some((id, algorithm, text)) = rpc.ints_and_text() else {
            rpc.fault(500, "Invalid Parameters");
            return Ok(());
        };
        let sets = module.sets();
        let Some(set) = sets.as_ref().and_then(|sets| sets.set(id)) else {
            rpc.fault(404, "Destination Group Not Found");
            return Ok(());
        };
        let question = Question {
            algorithm,
            hash: text.map(|text| hash::stock(text, &[])),
            spare_last: module.conf.use_default,
            random: &process::random_number,
            now_ms: clock::wall_millis(),
        };
        let (chosen, why) = match explain::explain(module.root, set, &question) {
            Ok(answer) => answer,
            Err(NoAnswer::NoAlgorithm) => {
                rpc.fault(500, &format!("There is no algorithm {algorithm}"));
                return Ok(());
            }
            Err(NoAnswer::NoText(text)) => {
                rpc.fault(500, &format!("Algorithm {algorithm} needs a text: {text:?}"));
                return Ok(());
            }
        };
        let top = rpc.structure()?;
        let refused = match chosen {
            Ok(at) => {
                let uri = set.get(at).map_or(&[][..], |one| one.text(one.uri));
                top.text(c"CHOSEN", uri)?;
                ""
            }
            Err(Refusal::NoSet) => "the set is empty",
            Err(Refusal::NoneActive) => "none active",
            Err(Refusal::NoRoom) => "no room",
        };
        if !refused.is_empty() {
            top.text(c"REFUSED", refused.as_bytes())?;
        }
        let targets = top.array(c"TARGETS")?;
        for (one, why) in set.iter().zip(why) {
            let entry = targets.structure(c"DEST")?;
            let record = module.root.registry.record(one.record);
            entry.text(c"URI", one.text(one.uri))?;
            entry.text(c"FLAGS", record.map_or(one.flags, |record| record.flags()).letters().as_bytes())?;
            entry.int(c"LOAD", record.map_or(0, |record| record.load.get()) as i32)?;
            entry.int(c"MAXLOAD", one.maxload as i32)?;
            entry.text(c"WHY", why.words().as_bytes())?;
        }
        Ok(())
    });
}
