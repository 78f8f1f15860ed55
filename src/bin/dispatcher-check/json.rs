//! The report for programs. Names stay; new ones may come.

use crate::capacities::{Shared, capacities};
use crate::explain::Explained;
use crate::report::Report;
use crate::sets::{By, shares};
use crate::source::{Checked, Destination};
use dispatcher::dest::compare::{ChangeKind, Comparison, ListChange};
use dispatcher::dest::{Severity, SourcePosition};
use serde_json::{Value, json};

fn text(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into()
}

fn place(list: &Checked, place: SourcePosition) -> Value {
    let (line, column) = list.place(place);
    match place {
        SourcePosition::Line(..) => json!({ "line": line, "column": column }),
        SourcePosition::Row(row) => json!({ "line": line, "row": row }),
    }
}

/// The whole report.
pub fn show(report: &Report) -> String {
    let list = &report.list;
    let finding = |at: SourcePosition, severity: &str, told: &str, in_effect: Option<&str>| json!({ "at": place(list, at), "severity": severity, "text": told, "in_effect": in_effect });
    let problems = list.problems.iter().map(|problem| {
        finding(problem.place, problem.severity.name(), &problem.text, problem.instead.as_deref())
    });
    let notes = report.notes.iter().map(|note| finding(note.place, "note", &note.text, None));
    let mut all = json!({
        "file": list.file,
        "destinations": list.count,
        "loaded": list.destinations.len(),
        "errors": list.found(Severity::Error),
        "warnings": list.found(Severity::Warning),
        "findings": problems.chain(notes).collect::<Vec<_>>(),
        "capacities": capacities(&list.destinations, &[]).iter().map(shared).collect::<Vec<_>>(),
        "sets": list.sets().map(|(id, set)| one_set(list, id, set)).collect::<Vec<_>>(),
    });
    if let Some(all) = all.as_object_mut() {
        if let Some((old, diff)) = &report.diff {
            all.insert("diff".into(), changes(old, diff));
        }
        if let Some(explained) = &report.explained {
            all.insert("explain".into(), explain(list, explained));
        }
        if let Some(stock) = &report.stock {
            let lines = stock.lines.iter().map(|(at, text)| json!({ "at": place(list, *at), "text": text }));
            let sets = stock.sets.iter().map(|(id, text)| json!({ "set": id, "text": text }));
            let told = json!({
                "of": env!("KAMAILIO_RELEASE"),
                "lines": lines.collect::<Vec<_>>(),
                "sets": sets.collect::<Vec<_>>(),
                "rollback": stock.rollback,
            });
            all.insert("stock".into(), told);
        }
    }
    format!("{all:#}\n")
}

fn shared(one: &Shared<'_>) -> Value {
    json!({
        "name": text(one.name),
        "destinations": one.members,
        "limit": one.limit,
        "reserve": one.reserve,
        "cps": one.rate.0,
        "cps_burst": one.rate.1,
    })
}

fn one_set(list: &Checked, id: i32, set: &[Destination]) -> Value {
    let [weights, rweights] = [By::Weight, By::RelativeWeight].map(|by| shares(set, by));
    let share = |shares: &Option<Vec<f64>>, at: usize| shares.as_ref().and_then(|all| all.get(at)).copied();
    let one = |(at, one): (usize, &Destination)| {
        json!({
            "at": place(list, one.place),
            "uri": text(&one.uri),
            "flags": one.flags.0,
            "state": one.flags.letters(),
            "priority": one.priority,
            "maxload": one.attrs.maxload,
            "maxload_reserve": one.reserve,
            "cps": one.rate.0,
            "cps_burst": one.rate.1,
            "capacity": if one.capacity.name.is_empty() { Value::Null } else { text(&one.capacity.name) },
            "weight": one.attrs.weight,
            "weight_percent": share(&weights, at),
            "rweight": one.attrs.rweight,
            "rweight_percent": share(&rweights, at),
            "duid": text(&one.attrs.duid),
            "socket": text(one.attrs.local_socket(Vec::as_slice)),
            "attributes": text(&one.attrs.body),
        })
    };
    json!({ "id": id, "destinations": set.iter().enumerate().map(one).collect::<Vec<_>>() })
}

fn changes(old: &str, diff: &Comparison) -> Value {
    let change = |one: &ListChange| {
        json!({
            "kind": one.kind.name(),
            "set": one.set,
            "uri": text(&one.uri),
            "calls": one.calls,
            "what": one.what,
        })
    };
    json!({
        "from": old,
        "added": diff.count(ChangeKind::Added),
        "removed": diff.count(ChangeKind::Removed),
        "changed": diff.count(ChangeKind::Changed),
        "unchanged": diff.unchanged,
        "calls_at_removed": diff.calls(ChangeKind::Removed),
        "calls_at_changed": diff.calls(ChangeKind::Changed),
        "changes": diff.changes.iter().map(change).collect::<Vec<_>>(),
    })
}

fn explain(list: &Checked, explained: &Explained) -> Value {
    let set: Vec<_> = list.destinations.iter().filter(|one| one.set == explained.set).collect();
    let uri = |at: usize| set.get(at).map(|one| text(&one.uri));
    let targets = set.iter().zip(&explained.whys).zip(&explained.loads);
    json!({
        "set": explained.set,
        "algorithm": explained.algorithm,
        "key": explained.key,
        "chosen": explained.chosen.ok().and_then(uri),
        "refused": explained.chosen.err().map(|refusal| refusal.words()),
        "targets": targets.map(|((one, why), load)| json!({ "uri": text(&one.uri), "calls": load, "why": why })).collect::<Vec<_>>(),
    })
}
