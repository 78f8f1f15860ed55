//! A name that stands for many destinations.

use core::net::IpAddr;
use dispatcher::dest::{Flags, list};
use dispatcher::service::located::Located;
use dispatcher::service::publish::publish;
use dispatcher::service::targets::{Target, expand, line, lines, retarget};
use dispatcher::state::{Member, Root};
use std::collections::HashMap;

use super::mapping::Mapping;
use super::{KEEP, root, unlocated};

fn line_of(text: &str) -> Located {
    let (mut entries, _) = list::parse(text.as_bytes());
    let one = unlocated(entries.remove(0));
    Located { written: one.entry.uri.clone(), ..one }
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
    let other = Located { written: Vec::new(), named: false, ..line_of("1 sip:10.0.0.9") };
    let mut all = expand(named, &[target(1, 10), target(2, 20)]);
    all.push(other);
    publish(root, &all, KEEP).unwrap();
    let there = ["sip:10.0.0.1:5070 g/10.0.0.1:5070 10", "sip:10.0.0.2:5070 g/10.0.0.2:5070 20"];
    assert_eq!(serving_uris(root), [there[0], there[1], "sip:10.0.0.9  0"]);

    let number = root.sets.pin(0).unwrap().set(1).unwrap().get(1).unwrap().record;
    let record = root.registry.record(number).unwrap();
    record.change(1, |_, _| Some((Flags::INACTIVE, 0)));
    let found = HashMap::from([(line(1, b"SIP:gw"), vec![target(2, 20), target(3, 30)])]);
    retarget(root, &found).unwrap();
    let third = "sip:10.0.0.3:5070 g/10.0.0.3:5070 30";
    assert_eq!(serving_uris(root), [there[1], third, "sip:10.0.0.9  0"]);
    assert_eq!(root.sets.pin(0).unwrap().set(1).unwrap().get(0).unwrap().record, number);
    assert_eq!(record.flags(), Flags::INACTIVE);
    assert_eq!(lines(&root.sets.pin(0).unwrap())[&line(1, b"sip:gw")], [target(2, 20), target(3, 30)]);
}

#[test]
fn a_reload_finds_the_weights_of_the_records_again() {
    let root = root(Mapping::new(1 << 20));
    let all = expand(line_of("1 sip:gw 0 0 weight=7"), &[target(1, 10), target(2, 20)]);
    publish(root, &all, KEEP).unwrap();
    let sets = root.sets.pin(0).unwrap();
    assert_eq!(lines(&sets)[&line(1, b"sip:gw")], [target(1, 10), target(2, 20)]);
}

#[test]
fn a_weight_of_the_line_counts_before_that_of_the_record() {
    let all = expand(line_of("1 sip:gw 0 0 weight=7"), &[target(1, 10)]);
    assert_eq!((all[0].entry.attrs.weight, all[0].entry.attrs.rweight), (7, 10));
}
