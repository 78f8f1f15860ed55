//! A dry run of a reload: the source is read, compared and checked as by a reload, and nothing is built or changed.

use crate::dest::compare::{Comparison, Listed, compare, shared};
use crate::dest::{self, Attrs, Problem, Severity, SourceLine, SourcePosition, address, capacity};
use crate::service::sets::diff::diff;
use crate::service::sets::load::{self, NotLoaded, Policy, SourceText};
use crate::service::sets::plan::Wanted;
use crate::service::sets::source::Source;
use crate::shm::Alloc;
use crate::state::{Generation, Member, Root};
use core::ops::Deref;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// What a reload would do.
#[derive(Debug)]
pub struct Checked {
    /// Whether it would replace what serves.
    pub loads: bool,
    /// Lines or rows, those with errors too.
    pub count: usize,
    /// Those that would serve.
    pub loaded: usize,
    /// What is wrong with them, in their order.
    pub problems: Vec<Problem>,
    /// How the sets would differ from those that serve.
    pub comparison: Comparison,
}

/// Reads the source and tells what a reload would do. `serving` gives the sets that serve, once the source is read: a database may take
/// its time. Names are not looked up, as by a reload.
pub fn check<A: Alloc, P: Deref<Target = Generation<A>>>(
    root: &Root<A>,
    source: &dyn Source,
    policy: Policy,
    serving: impl FnOnce() -> Option<P>,
) -> Result<Checked, NotLoaded> {
    let mut text = Vec::new();
    let SourceText { lines, mut problems, count } = load::read(source, &mut text, policy)?;
    let lines = dest::arranged(&lines);
    let pin = serving();
    let serving = pin.as_deref();

    let wanted = load::resolve(source, diff(serving, &lines), policy, &mut problems);
    if policy.strict {
        problems.iter_mut().for_each(Problem::be_strict);
    }
    let places: HashSet<SourcePosition> = wanted.iter().flat_map(Wanted::places).collect();
    let wrong = problems.iter().any(|problem| problem.severity == Severity::Error);
    let loads = !(wrong && (policy.strict || places.is_empty()));
    let serves = served(root, serving);
    if !loads {
        let comparison = Comparison { changes: Vec::new(), unchanged: serves.len() };
        return Ok(Checked {
            loads,
            count,
            loaded: 0,
            problems: dest::problem::arranged(problems),
            comparison,
        });
    }
    let new = lines.iter().filter(|line| places.contains(&line.place));
    let new: Vec<_> = new.map(|line| (line.place, of_line(line))).collect();
    problems.extend(shared(&new));
    let sharing = lines.iter().filter(|line| policy.limits && places.contains(&line.place));
    let sharing = sharing
        .filter_map(|line| capacity::Share::of(line.place, &Attrs::parse(&line.attrs, true).ok()?.limits));
    problems.extend(capacity::problems(sharing));
    let new: Vec<_> = new.into_iter().map(|(_, one)| one).collect();
    let comparison = compare(&serves, &new);
    Ok(Checked { loads, count, loaded: new.len(), problems: dest::problem::arranged(problems), comparison })
}

/// A line as it would serve.
fn of_line<'a>(line: &'a SourceLine<'_>) -> Listed<'a> {
    // It was read without an error before.
    let attrs = Attrs::parse(&line.attrs, false).unwrap_or_default();
    let (duid, maxload) = (attrs.duid.clone(), attrs.maxload);
    let socket = attrs.values.local_socket(|text| text).to_vec().into();
    let uri = address::with_scheme(&line.uri).map_or(Cow::Borrowed(&*line.uri), Cow::Owned);
    let (set, flags, priority) = (line.set, Some(line.flags), line.priority);
    Listed { set, uri, duid, socket, flags, priority, body: attrs.values.body, maxload, calls: 0 }
}

/// The lines that serve. Those that a name stands for (`ds_dns_mode` 16) are the one line that has the name.
fn served<A: Alloc>(root: &Root<A>, serving: Option<&Generation<A>>) -> Vec<Listed<'static>> {
    let mut all: Vec<Listed<'static>> = Vec::new();
    let mut names: HashMap<(i32, Vec<u8>), usize> = HashMap::new();
    for (_, set, one) in serving.into_iter().flat_map(Generation::all) {
        let listed = of_member(root, set.id, one);
        if one.is_target() {
            let key = (set.id, listed.uri.to_vec());
            if let Some(same) = names.get(&key).and_then(|&at| all.get_mut(at)) {
                same.calls = same.calls.saturating_add(listed.calls);
                continue;
            }
            names.insert(key, all.len());
        }
        all.push(listed);
    }
    all
}

fn of_member<A: Alloc>(root: &Root<A>, set: i32, one: Member<'_>) -> Listed<'static> {
    let own = |text: &[u8]| Cow::Owned(text.to_vec());
    Listed {
        set,
        uri: own(one.text(if one.is_target() { one.written } else { one.uri })),
        duid: own(one.text(one.duid)),
        socket: own(one.local_socket()),
        flags: Some(one.flags),
        priority: one.priority,
        body: own(one.text(one.body)),
        maxload: one.maxload,
        calls: root.registry.record(one.record).map_or(0, |record| record.load.get()),
    }
}
