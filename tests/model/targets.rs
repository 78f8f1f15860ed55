//! A name that stands for many destinations.

use core::net::IpAddr;
use dispatcher::dest::{Attrs, Entry, Flags, Problem, SourceLine, list};
use dispatcher::service::sets::commit::Transaction;
use dispatcher::service::sets::edit::{self, Update};
use dispatcher::service::sets::plan::{Plan, PlannedLine, Wanted};
use dispatcher::service::sets::readdress::retarget;
use dispatcher::service::sets::resolve::Resolved;
use dispatcher::service::sets::source::{Found, Source};
use dispatcher::service::sets::srv_targets::{NamedLine, Target, expand, lines};
use dispatcher::state::{Member, Root};
use std::borrow::Cow;
use std::collections::HashMap;

use super::edits::PACE;
use super::mapping::Mapping;
use super::{KEEP, root, unlocated};

fn line_of(text: &'static str) -> Resolved<'static> {
    let SourceLine { place, set, uri, flags, priority, attrs, .. } = list::parse(text.as_bytes()).0.remove(0);
    let Cow::Borrowed(attrs) = attrs else { panic!("{attrs:?} is not of the text") };
    let entry = Entry {
        place,
        set,
        uri,
        flags,
        priority,
        attrs: Attrs::parse(attrs, true).unwrap(),
        findings: Vec::new(),
    };
    Resolved { written: entry.uri.clone(), ..unlocated(entry) }
}

/// Makes these destinations of set 1 serve.
fn publish(root: &Root<Mapping>, all: Vec<Resolved<'_>>) {
    let lines = all.into_iter().map(|one| PlannedLine::new(one, None)).collect();
    let mut transaction = Transaction::begin(root);
    let plan = Plan::mirror(transaction.serving(), vec![Wanted::Lines(1, lines)], KEEP);
    transaction.build(plan).unwrap();
    assert!(!transaction.commit());
}

/// Each line has a name that spreads.
struct Spreading;

impl Source for Spreading {
    fn read<'t>(&self, _: &'t mut Vec<u8>) -> Result<(Vec<SourceLine<'t>>, Vec<Problem>), String> {
        Err("nothing is read here".into())
    }
    fn locate<'t>(&self, entry: Entry<'t>) -> Result<Resolved<'t>, Problem> {
        let one = unlocated(entry);
        Ok(Resolved { written: one.entry.uri.clone(), ..one })
    }
    fn look_up(&self, _: &Resolved<'_>) -> Found {
        Found::Unwanted
    }
}

fn target(last: u8, weight: u32) -> Target {
    let address = IpAddr::from([10, 0, 0, last]);
    let uri = format!("sip:{address}:5070").into_bytes();
    Target { host: 4..uri.len() - 5, uri, address, port: 5070, proto: 0, weight }
}

fn serving_uris(root: &Root<Mapping>) -> Vec<String> {
    let sets = root.sets.pin(0).unwrap();
    let set = sets.set(1).unwrap();
    let text = |one: Member<'_>| {
        let duid = String::from_utf8_lossy(one.text(one.duid)).into_owned();
        format!("{} {duid} {}", String::from_utf8_lossy(one.text(one.uri)), one.weight)
    };
    set.iter().map(text).collect()
}

#[test]
fn targets_come_and_go_and_those_that_stay_keep_their_state() {
    let root = root(Mapping::new(1 << 20));
    let named = line_of("1 sip:gw 0 0 duid=g");
    let other = Resolved { written: Cow::default(), named: false, ..line_of("1 sip:10.0.0.9") };
    let mut all = expand(named, &[target(1, 10), target(2, 20)]);
    all.push(other);
    publish(root, all);
    let there = ["sip:10.0.0.1:5070 g/10.0.0.1:5070 10", "sip:10.0.0.2:5070 g/10.0.0.2:5070 20"];
    assert_eq!(serving_uris(root), [there[0], there[1], "sip:10.0.0.9  0"]);

    let number = root.sets.pin(0).unwrap().set(1).unwrap().get(1).unwrap().record;
    let record = root.registry.record(number).unwrap();
    root.registry.change(number, 1, |_, _| Some((Flags::INACTIVE, 0)));
    let gw = NamedLine::of_resolved(&line_of("1 SIP:gw 0 0 duid=G"));
    let found = HashMap::from([(gw.clone(), vec![target(2, 20), target(3, 30)])]);
    retarget(root, &found).unwrap();
    let third = "sip:10.0.0.3:5070 g/10.0.0.3:5070 30";
    assert_eq!(serving_uris(root), [there[1], third, "sip:10.0.0.9  0"]);
    assert_eq!(root.sets.pin(0).unwrap().set(1).unwrap().get(0).unwrap().record, number);
    assert_eq!(record.flags(), Flags::INACTIVE);
    assert_eq!(lines(&root.sets.pin(0).unwrap())[&gw], [target(2, 20), target(3, 30)]);
}

#[test]
fn a_reload_finds_the_weights_of_the_records_again() {
    let root = root(Mapping::new(1 << 20));
    let gw = line_of("1 sip:gw 0 0 weight=7");
    let all = expand(gw.clone(), &[target(1, 10), target(2, 20)]);
    publish(root, all);
    let sets = root.sets.pin(0).unwrap();
    assert_eq!(lines(&sets)[&NamedLine::of_resolved(&gw)], [target(1, 10), target(2, 20)]);
}

/// One that a name stood for is not the line that has its address as its URI, even if all other words are the same.
#[test]
fn a_line_with_the_address_of_a_target_is_a_line_of_its_own() {
    let root = root(Mapping::new(1 << 20));
    publish(root, expand(line_of("1 sip:gw 0 0 x=y"), &[target(1, 10)]));
    let number = root.sets.pin(0).unwrap().set(1).unwrap().get(0).unwrap().record;
    super::publish(root, "1 sip:10.0.0.1:5070 0 0 x=y").unwrap();
    let sets = root.sets.pin(0).unwrap();
    let one = sets.set(1).unwrap().get(0).unwrap();
    assert_eq!((one.record, one.text(one.written), one.srv_weight), (number, &b""[..], 0));
}

#[test]
fn a_weight_of_the_line_counts_before_that_of_the_record() {
    let all = expand(line_of("1 sip:gw 0 0 weight=7"), &[target(1, 10)]);
    assert_eq!((all[0].entry.attrs.weight, all[0].entry.attrs.rweight), (7, 10));
}

/// One name on two lines is two lines, as one URI through two sockets is two destinations.
#[test]
fn lines_with_one_name_are_told_apart() {
    let root = root(Mapping::new(1 << 20));
    let line = |text: &'static str| {
        let one = line_of(text);
        (NamedLine::of_resolved(&one), one)
    };
    let (a, of_a) = line("1 sip:gw 0 5 socket=udp:a:1");
    let (x, of_x) = line("1 sip:x 0 3");
    let (b, of_b) = line("1 sip:GW 0 1 socket=udp:b:1");
    let both = [target(1, 10), target(2, 20)];
    let (third, fourth) = (target(3, 30), target(4, 40));
    let all = [expand(of_a, &both), expand(of_x, std::slice::from_ref(&third)), expand(of_b, &both)].concat();
    publish(root, all);
    let targets = |line: &NamedLine| lines(&root.sets.pin(0).unwrap())[line].clone();
    assert_eq!([targets(&a), targets(&x), targets(&b)], [both.to_vec(), vec![third.clone()], both.to_vec()]);

    let more = vec![third.clone(), fourth.clone(), both[1].clone()];
    let found = HashMap::from([(a.clone(), vec![both[1].clone()]), (x.clone(), more.clone())]);
    retarget(root, &found).unwrap();
    assert_eq!([targets(&a), targets(&x), targets(&b)], [vec![both[1].clone()], more, both.to_vec()]);
    let last = |uri: &str| uri.split(' ').next().unwrap().rsplit('.').next().unwrap().to_owned();
    let order: Vec<_> = serving_uris(root).iter().map(|uri| last(uri)).collect();
    assert_eq!(order, ["2:5070", "3:5070", "4:5070", "2:5070", "1:5070", "2:5070"]);

    // What the name stands for is changed on both lines, and stays with each.
    let update = Update { attrs: None, flags: Some(Flags::PROBING), priority: None };
    edit::update(root, &Spreading, (1, b"sip:gw"), &update, PACE).unwrap();
    assert_eq!([targets(&a), targets(&b)], [vec![both[1].clone()], both.to_vec()]);
    let sets = root.sets.pin(0).unwrap();
    let probing = sets.set(1).unwrap().iter().map(|one| one.flags == Flags::PROBING);
    assert_eq!(probing.collect::<Vec<_>>(), [true, false, false, false, true, true]);
}
