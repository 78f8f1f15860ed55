//! Reloads: whatever served before, the sets are afterwards the same as if the list had been loaded first; unchanged lines allocate
//! nothing.

use std::collections::HashSet;
use std::fmt::Write;

use dispatcher::dest::{Entry, Flags, Problem, SourceLine, SourcePosition};
use dispatcher::service::housekeeping;
use dispatcher::service::sets::edit;
use dispatcher::service::sets::load::{NotLoaded, Policy, first_load, reload};
use dispatcher::service::sets::resolve::Resolved;
use dispatcher::service::sets::source::{Found, Source};
use dispatcher::state::{Keep, Root};
use proptest::prelude::*;

use super::edits::{self, records};
use super::mapping::Mapping;
use super::{Listed, POLICY, publish, root, unlocated};

/// A line; `duid` and `socket` 0 are none.
#[derive(Debug, Clone, Copy)]
struct Line {
    set: i32,
    name: u32,
    flags: u32,
    priority: i32,
    maxload: u32,
    duid: u32,
    socket: u32,
}

impl Line {
    /// Who the destination is.
    fn identity(&self) -> (i32, u32, u32, u32) {
        (self.set, self.name, self.duid, if self.duid == 0 { self.socket } else { 0 })
    }
}

fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { set, name, flags, priority, maxload, duid, socket } in lines {
        write!(text, "{set} sip:gw{name} {flags} {priority} maxload={maxload}").unwrap();
        if *duid > 0 {
            write!(text, ";duid=d{duid}-{name}").unwrap();
        }
        if *socket > 0 {
            write!(text, ";socket=udp:h:{socket}").unwrap();
        }
        text.push('\n');
    }
    text
}

/// What serves, as an operator sees it, with the record's configured flags; each record is that of the identity.
fn serving(root: &Root<Mapping>) -> Vec<(i32, String, u32, i32, String, u32, Flags)> {
    let sets = root.sets.pin(0).unwrap();
    let show = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let one = |(_, set, one): (_, &dispatcher::state::Set<_>, dispatcher::state::Member<'_>)| {
        let [duid, uri, socket] = [one.duid, one.uri, one.socket].map(|text| one.text(text));
        let key = root.secret.destination(set.id, duid, uri, socket);
        assert_eq!(root.registry.find(&key), Some(one.record));
        let configured = root.registry.record(one.record).unwrap().configured();
        (set.id, show(uri), one.flags.0, one.priority, show(one.text(one.body)), one.maxload, configured)
    };
    sets.all().map(one).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Insert(usize, Line),
    Change(usize, Line),
    Remove(usize, usize),
    /// From, how many, to.
    Move(usize, usize, usize),
    Repeat(usize, usize),
}

fn line() -> impl Strategy<Value = Line> {
    let set = prop_oneof![8 => Just(1), 1 => 2..40i32];
    let flags = prop_oneof![4 => Just(0u32), 1 => Just(8), 1 => Just(1)];
    let line = (set, 0..300u32, flags, 0..2i32, 0..3u32, 0..3u32, 0..3u32);
    line.prop_map(|(set, name, flags, priority, maxload, duid, socket)| Line {
        set,
        name,
        flags,
        priority,
        maxload,
        duid,
        socket,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..400usize;
    prop_oneof![
        (at(), line()).prop_map(|(at, line)| Step::Insert(at, line)),
        (at(), line()).prop_map(|(at, line)| Step::Change(at, line)),
        (at(), 1..100usize).prop_map(|(at, count)| Step::Remove(at, count)),
        (at(), 1..200usize, at()).prop_map(|(from, count, to)| Step::Move(from, count, to)),
        (at(), 1..90usize).prop_map(|(from, count)| Step::Repeat(from, count)),
    ]
}

fn apply(lines: &mut Vec<Line>, step: &Step) {
    let len = lines.len();
    let part = |at: usize, count: usize| at.min(len)..(at.min(len) + count).min(len);
    match *step {
        Step::Insert(at, line) => lines.insert(at.min(len), line),
        Step::Change(at, line) if at < len => lines[at] = Line { name: lines[at].name, ..line },
        Step::Change(..) => {}
        Step::Remove(at, count) => drop(lines.drain(part(at, count))),
        Step::Move(from, count, to) => {
            let part: Vec<_> = lines.drain(part(from, count)).collect();
            let to = to.min(lines.len());
            lines.splice(to..to, part);
        }
        Step::Repeat(at, count) => lines.extend_from_within(part(at, count)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_reload_makes_what_the_list_alone_makes_or_fails_as_a_whole(
        first in prop::collection::vec(line(), 0..300),
        turns in prop::collection::vec(
            (
                prop::collection::vec(step(), 0..5),
                prop_oneof![0..25usize, Just(usize::MAX)],
                prop::collection::vec((0..3u8, 0..300u32, 0..9u32), 0..4),
            ),
            1..8,
        ),
    ) {
        let mapping = Mapping::new(8 << 20);
        let root = root(mapping);
        let mut lines = first;
        publish(root, &text(&lines)).ok();
        for (steps, blocks, edits) in &turns {
            // What was changed by hand meanwhile is undone.
            for &(kind, name, maxload) in edits {
                let uri = format!("sip:gw{name}").into_bytes();
                match kind {
                    0 => drop(edits::add(root, 1, name, 1, maxload)),
                    1 => drop(edits::limit(root, 1, &uri, maxload)),
                    _ => drop(edit::remove(root, 1, &uri, edits::PACE)),
                }
            }
            let before = serving(root);
            steps.iter().for_each(|step| apply(&mut lines, step));
            mapping.fail_after(*blocks);
            let done = publish(root, &text(&lines));
            mapping.fail_after(usize::MAX);
            if done.is_err() {
                prop_assert_eq!(serving(root), before, "after {} blocks", blocks);
                publish(root, &text(&lines)).unwrap();
            }
            let alone = super::root(Mapping::new(8 << 20));
            let warnings = publish(alone, &text(&lines)).unwrap();
            prop_assert_eq!(serving(root), serving(alone));
            prop_assert_eq!(publish(root, &text(&lines)).unwrap(), warnings);
        }
        housekeeping::tidy(root);
        let identities: HashSet<_> = lines.iter().map(Line::identity).collect();
        prop_assert_eq!(records(root), (identities.len(), identities.len()));
        publish(root, "").unwrap();
        housekeeping::tidy(root);
        prop_assert_eq!(records(root), (0, 0));
    }
}

/// A list of which no name may be looked up.
struct Unasked<'a>(&'a str);

impl Source for Unasked<'_> {
    fn read<'t>(&self, text: &'t mut Vec<u8>) -> Result<(Vec<SourceLine<'t>>, Vec<Problem>), String> {
        Listed(self.0).read(text)
    }
    fn locate<'t>(&self, entry: Entry<'t>) -> Result<Resolved<'t>, Problem> {
        Ok(unlocated(entry))
    }
    fn look_up(&self, _: &Resolved<'_>) -> Found {
        panic!("looked up");
    }
}

#[test]
fn where_nothing_may_be_wrong_a_wrong_list_leaves_no_trace() {
    let mapping = Mapping::new(1 << 20);
    let root = root(mapping);
    let strict = Policy { strict: true, ..POLICY };
    let lines: String = (0..500).map(|n| format!("{} sip:gw{n}\n", n / 10)).collect();
    let refused = |done| match done {
        Err(NotLoaded::Wrong(problems, _)) => problems,
        done => panic!("{done:?}"),
    };
    for wrong in
        ["99 sip:x 0 0 maxload=no; weight=3\n", "x sip:y\n", "99 sip:x 0 0 obproxy=sip:p>; weight=3\n"]
    {
        let used = mapping.used();
        let list = lines.clone() + wrong;
        // One finding: that the weight behind the blank is ignored is nothing to a line that is not loaded.
        assert_eq!(refused(first_load(root, &Unasked(&list), strict)).len(), 1);
        assert_eq!(refused(reload(root, &Unasked(&list), 0, 0, strict)).len(), 1);
        assert_eq!((records(root), mapping.used()), ((0, 0), used));
    }
}

#[test]
fn a_reload_of_the_same_lines_keeps_or_forgets_states_and_latencies_as_it_is_told() {
    let root = root(Mapping::new(1 << 20));
    let list = "1 sip:a 8 0 latency=7\n1 sip:b 8\n";
    publish(root, list).unwrap();
    let number = root.sets.pin(0).unwrap().set(1).unwrap().iter().last().unwrap().record;
    let record = root.registry.record(number).unwrap();
    for (state, latency) in [(true, true), (false, true), (true, false), (false, false)] {
        root.registry.change(number, 1, |_, _| Some((Flags::INACTIVE, 3)));
        record.sample(&mut record.lock(), 90.0, 1.0);
        let policy = Policy { keep: Keep { state, latency }, ..POLICY };
        reload(root, &Listed(list), 0, 0, policy).unwrap();
        assert_eq!(record.flags() == Flags::INACTIVE, state);
        assert_eq!(record.health().streak == 3, state);
        assert_eq!(record.latency() == 90, latency, "{}", record.latency());
    }
}

#[test]
fn lines_that_mean_one_destination_are_told() {
    let root = root(Mapping::new(1 << 20));
    let lines = "1 sip:a 0 0 duid=X\n1 sip:b 0 0 duid=x\n2 sip:b 0 0 duid=x\n\
                 1 sip:c\n1 SIP:C\n1 sip:c 0 0 socket=udp:h:1";
    for _ in 0..2 {
        let problems = publish(root, lines).unwrap();
        let places: Vec<_> = problems.iter().map(|problem| problem.place).collect();
        assert_eq!(places, [SourcePosition::Line(2, 3), SourcePosition::Line(5, 3)]);
        assert!(problems[0].text.contains("duid 'x' is also on line 1"), "{}", problems[0].text);
    }
}

/// Blocks of memory that a reload takes after `change` to such a list.
fn allocations(size: usize, in_set: usize, change: impl Fn(&mut Vec<String>)) -> usize {
    let mapping = Mapping::new(256 << 20);
    let root = root(mapping);
    let line = |n| format!("{} sip:gw{n} 0 {} x=y\n", n / in_set + 1, n % 3);
    let mut lines: Vec<String> = (0..size).map(line).collect();
    publish(root, &lines.concat()).unwrap();
    // The first change makes free room.
    let mut taken = 0;
    for _ in 0..3 {
        change(&mut lines);
        let before = mapping.allocations();
        publish(root, &lines.concat()).unwrap();
        taken = mapping.allocations() - before;
    }
    taken
}

#[test]
fn what_stays_takes_no_memory() {
    let unchanged = |size, in_set| allocations(size, in_set, |_| ());
    let few = unchanged(100, 100);
    assert!(few <= 3, "{few} blocks");
    assert_eq!([unchanged(30_000, 30_000), unchanged(30_000, 10)], [few, few + 1]);

    let one = |size, in_set| {
        allocations(size, in_set, |lines| {
            lines[50] = lines[50].replace("x=y", "x=yy").replace("x=yyy", "x=y")
        })
    };
    let few = one(100, 100);
    assert!(few <= 14, "{few} blocks");
    assert_eq!(one(30_000, 30_000), few);

    // Each set's first line goes, and one comes at its end: of 47 runs of 64 two are others.
    let moved = allocations(3_000, 3_000, |lines| {
        let first = lines.remove(0);
        lines.push(first.replace("gw", "gw9"));
    });
    assert!(moved <= 40, "{moved} blocks");
}
