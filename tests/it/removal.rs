//! A destination is taken out of the list file, or moves to another address: its calls go on counting until they end.

use std::time::Duration;

use serde_json::json;

use crate::calls::{
    self, Account, NO_FAILOVER, all_over, assert_no_drift, at_one_and_eight_workers, fill, hang_up_all,
    loads, obedient, ringing, up,
};
use crate::support::{Agent, Call, Gateways, Kamailio, eventually};

at_one_and_eight_workers! {
    removed_destination_is_remembered_until_its_last_call_ends,
    destination_added_back_has_its_count,
    removed_set_keeps_its_counts_too,
    duid_keeps_its_count_at_another_address,
    destination_without_duid_is_another_one_at_another_address,
}

const SOON: Duration = Duration::from_secs(5);
/// The last call is remembered until its transaction is gone, five seconds after its end.
const GONE: Duration = Duration::from_secs(15);

fn server(list: String, workers: u32) -> Kamailio {
    let any_time = r#"modparam("dispatcher", "reload_delta", 0)"#;
    calls::relaying(workers, list, NO_FAILOVER).modparam(any_time).start()
}

#[track_caller]
fn change(server: &Kamailio, list: &str) {
    server.write_list(list);
    server.rpc("dispatcher.reload", json!([])).unwrap_or_else(|e| panic!("{e:?}"));
}

/// The list with one gateway less.
fn without(gateways: &Gateways, removed: usize) -> String {
    let name = format!("duid=gw{removed}");
    gateways
        .list(100, "")
        .lines()
        .filter(|line| !line.contains(&name))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn account(server: &Kamailio, name: &str) -> Option<Account> {
    assert_no_drift(server).of(name).cloned()
}

#[track_caller]
fn hang_up(agent: &mut Agent, calls: &mut Vec<Call>) {
    let mut call = calls.pop().unwrap();
    assert_eq!(agent.hang_up(&mut call), 200);
}

pub fn removed_destination_is_remembered_until_its_last_call_ends(workers: u32) {
    let gateways = obedient(2);
    let server = server(gateways.list(100, ""), workers);
    let mut agent = server.agent();
    let mut held = fill(&mut agent, &gateways, &[1, 3]);
    let mut cancelled = ringing(&mut agent);
    assert_eq!(gateways.of_call(&cancelled.id), Some(0));
    change(&server, &without(&gateways, 1));
    let removed = |load| Some(Account { set: 100, name: "gw1".into(), configured: false, load });
    eventually("no reader of the old sets", SOON, || account(&server, "gw1") == removed(3));
    assert_eq!(server.list().len(), 1);

    for _ in 0..4 {
        held[0].push(up(&mut agent));
    }
    assert_eq!(loads(&server, 1), [6]);
    for left in [2, 1] {
        hang_up(&mut agent, &mut held[1]);
        assert_eq!(account(&server, "gw1"), removed(left));
        change(&server, &without(&gateways, 1));
    }
    hang_up(&mut agent, &mut held[1]);
    eventually("gw1 forgotten", GONE, || account(&server, "gw1").is_none());
    assert_eq!(agent.cancel(&mut cancelled), 487);
    hang_up_all(&mut agent, &mut held[0]);
    all_over(server);
}

pub fn destination_added_back_has_its_count(workers: u32) {
    let gateways = obedient(2);
    let server = server(gateways.list(100, ""), workers);
    let mut agent = server.agent();
    let mut held = fill(&mut agent, &gateways, &[4, 4]);
    for left in [3, 2, 1, 0] {
        change(&server, &without(&gateways, 1));
        assert_eq!(loads(&server, 1), [4]);
        hang_up(&mut agent, &mut held[1]);
        change(&server, &gateways.list(100, "maxload=9"));
        assert_eq!(loads(&server, 2), [4, left]);
    }
    // Four less than the other, it gets the next four.
    for _ in 0..4 {
        let call = up(&mut agent);
        assert_eq!(gateways.of_call(&call.id), Some(1));
        held[1].push(call);
    }
    hang_up_all(&mut agent, held.iter_mut().flatten());
    all_over(server);
}

pub fn removed_set_keeps_its_counts_too(workers: u32) {
    let gateways = obedient(2);
    let server = server(gateways.list(100, ""), workers);
    let mut agent = server.agent();
    let mut held = fill(&mut agent, &gateways, &[2, 2]);
    change(&server, &gateways.list(200, ""));
    let mut refused = agent.call();
    agent.send(&refused.invite());
    assert_eq!(agent.settle(&mut refused).status(), Some(404));
    assert_eq!(loads(&server, 2), [0, 0]); // of set 200, whose destinations are others
    assert_eq!(assert_no_drift(&server).calls, 4);
    change(&server, &gateways.list(100, ""));
    assert_eq!(loads(&server, 2), [2, 2]);
    hang_up_all(&mut agent, held.iter_mut().flatten());
    assert_eq!(assert_no_drift(&server).calls, 0);
    server.stop(); // its log has the ERROR for the set that was missing
}

pub fn duid_keeps_its_count_at_another_address(workers: u32) {
    let (old, new) = (obedient(2), obedient(2));
    let server = server(old.list(100, "maxload=3"), workers);
    let mut agent = server.agent();
    let mut held = fill(&mut agent, &old, &[2, 2]);
    change(&server, &new.list(100, "maxload=3"));
    assert_eq!(loads(&server, 2), [2, 2]);
    let mut moved = [up(&mut agent), up(&mut agent)];
    assert_eq!((new.counts("INVITE"), loads(&server, 2)), (vec![1, 1], vec![3, 3]));
    let mut refused = agent.call();
    assert_eq!(agent.place(&mut refused).status(), Some(404));
    hang_up_all(&mut agent, held.iter_mut().flatten());
    assert_eq!(loads(&server, 2), [1, 1]);
    assert_eq!(old.counts("BYE"), [2, 2]);
    hang_up_all(&mut agent, &mut moved);
    all_over(server);
}

pub fn destination_without_duid_is_another_one_at_another_address(workers: u32) {
    let (old, new) = (obedient(1), obedient(1));
    let server = server(format!("100 {}\n", old.uri(0)), workers);
    let mut agent = server.agent();
    let mut held = [up(&mut agent), up(&mut agent)];
    assert_eq!(server.list()[0].load, Some(2));
    change(&server, &format!("100 {}\n", new.uri(0)));
    assert_eq!(server.list()[0].load, Some(0));
    let names = |server: &Kamailio| assert_no_drift(server).accounts.into_iter().map(|a| (a.name, a.load));
    let mut accounts: Vec<_> = names(&server).collect();
    accounts.sort_by_key(|(_, load)| *load);
    assert_eq!(accounts, [(new.uri(0), 0), (old.uri(0), 2)]);
    hang_up_all(&mut agent, &mut held);
    eventually("the old one forgotten", GONE, || names(&server).count() == 1);
    all_over(server);
}
