//! `dispatcher.check`: what a reload would do, without doing it.

use super::reload;
use super::rpc::{Part, with_module};
use crate::context::source::Destinations;
use crate::dest::Severity;
use crate::dest::compare::ChangeKind;
use crate::host::rpc::Rpc;

/// Findings and changes in one answer, unless more are asked for: transports have their limits.
const SHOWN: i32 = 100;

/// `dispatcher.check [from [count]]`: reads the source again and tells what is wrong with it and what would change.
pub fn check(rpc: &Rpc) {
    with_module(rpc, |module| {
        let part = Part::of([rpc.optional_int(0), Some(rpc.optional_int(1).unwrap_or(SHOWN))]);
        let found = reload::dry_run(module)?;
        let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let severity = |severity| found.problems.iter().filter(|one| one.severity == severity).count();
        let top = rpc.structure()?;
        top.text(c"SOURCE", Destinations::source_name(&module.conf).as_bytes())?;
        top.int(c"LOADS", found.loads.into())?;
        top.int(c"DESTINATIONS", number(found.count))?;
        top.int(c"LOADED", number(found.loaded))?;
        top.int(c"ERRORS", number(severity(Severity::Error)))?;
        top.int(c"WARNINGS", number(severity(Severity::Warning)))?;
        let diff = &found.comparison;
        top.int(c"ADDED", number(diff.count(ChangeKind::Added)))?;
        top.int(c"REMOVED", number(diff.count(ChangeKind::Removed)))?;
        top.int(c"CHANGED", number(diff.count(ChangeKind::Changed)))?;
        top.int(c"UNCHANGED", number(diff.unchanged))?;
        top.unsigned_long(c"CALLS_REMOVED", diff.calls(ChangeKind::Removed))?;
        top.unsigned_long(c"CALLS_CHANGED", diff.calls(ChangeKind::Changed))?;
        let source = Destinations::name(&module.conf);
        let findings = top.array(c"FINDINGS")?;
        for problem in part.take(&found.problems) {
            let entry = findings.structure(c"FINDING")?;
            entry.text(c"PLACE", format!("{source}{}", problem.place).as_bytes())?;
            entry.text(c"SEVERITY", problem.severity.name().as_bytes())?;
            entry.text(c"TEXT", problem.told().as_bytes())?;
        }
        let changes = top.array(c"CHANGES")?;
        for change in part.take(&diff.changes) {
            let entry = changes.structure(c"CHANGE")?;
            entry.text(c"KIND", change.kind.name().as_bytes())?;
            entry.int(c"SET", change.set)?;
            entry.text(c"URI", &change.uri)?;
            entry.int(c"CALLS", i32::try_from(change.calls).unwrap_or(i32::MAX))?;
            entry.text(c"WHAT", change.what.join(", ").as_bytes())?;
        }
        Ok(())
    });
}
