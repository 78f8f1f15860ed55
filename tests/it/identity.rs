//! Calls are known by their Call-ID and destinations by `duid` or URI; nothing has to be configured for it.

use std::collections::HashSet;

use serde_json::json;

use crate::calls::{
    self, NO_FAILOVER, all_over, assert_no_drift, at_one_and_eight_workers, hang_up_all, loads, obedient,
    ringing, up, with,
};
use crate::picks::{Ask, picking};
use crate::support::{Call, Kamailio, Over, net};

at_one_and_eight_workers! {
    calls_of_every_fate_end_at_zero_without_flags,
    any_ds_hash_size_will_do,
    call_ids_of_any_length_are_told_apart,
    destination_without_duid_is_known_by_its_uri,
    one_uri_through_two_sockets_is_two_destinations,
}

/// A silent gateway is given up soon.
const SHORT: &str = r#"modparam("tm", "fr_timer", 600)"#;

pub fn calls_of_every_fate_end_at_zero_without_flags(workers: u32) {
    let gateways = obedient(2);
    let server = calls::plain(workers, gateways.list(100, "maxload=4"), NO_FAILOVER).modparam(SHORT).start();
    every_fate(&server);
    all_over(server);
}

fn any_ds_hash_size_will_do(workers: u32) {
    for size in [0, 1, 16] {
        let gateways = obedient(2);
        let size = format!("{SHORT} modparam(\"dispatcher\", \"ds_hash_size\", {size})");
        let server =
            calls::plain(workers, gateways.list(100, "maxload=4"), NO_FAILOVER).modparam(&size).start();
        every_fate(&server);
        all_over(server);
    }
}

/// Answered, challenged, refused, cancelled, not answered at all: each counts while it lasts.
fn every_fate(server: &Kamailio) {
    let mut agent = server.agent();
    let mut answered = up(&mut agent);
    let mut cancelled = ringing(&mut agent);
    assert_eq!(loads(server, 2), [1, 1]);
    for (answers, status) in [("407", 407), ("180 486", 486), ("302", 302), ("0", 408)] {
        let mut refused = with(agent.call(), "X-Answer", answers);
        assert_eq!(agent.place(&mut refused).status(), Some(status));
        assert_eq!(assert_no_drift(server).calls, 2, "{answers}");
    }
    assert_eq!(agent.cancel(&mut cancelled), 487);
    assert_eq!(agent.hang_up(&mut answered), 200);
    assert_eq!(assert_no_drift(server).calls, 0);
}

pub fn call_ids_of_any_length_are_told_apart(workers: u32) {
    let gateways = obedient(4);
    let server = calls::plain(workers, gateways.list(100, ""), NO_FAILOVER).start();
    let mut agent = server.agent();
    let mut held: Vec<Call> = Vec::new();
    for length in [1, 36, 255, 4_096, 60_000] {
        // Alike up to the last letter.
        for last in ["a", "b", "A"] {
            let mut call = agent.call_with_id(&format!("{}{last}", "i".repeat(length - 1)));
            assert_eq!(agent.place(&mut call).status(), Some(200), "{length} bytes");
            held.push(call);
            assert_eq!(assert_no_drift(&server).confirmed, held.len() as i64, "{length} bytes");
        }
    }
    for left in (0..held.len()).rev() {
        assert_eq!(agent.hang_up(&mut held[left]), 200);
        assert_eq!(assert_no_drift(&server).confirmed, left as i64);
    }
    all_over(server);
}

pub fn destination_without_duid_is_known_by_its_uri(workers: u32) {
    let gateways = obedient(2);
    let [a, b] = [gateways.uri(0), gateways.uri(1)];
    let server = calls::plain(workers, format!("100 {a}\n100 {b} 0 0 maxload=2\n"), NO_FAILOVER).start();
    let mut agent = server.agent();
    let mut held: Vec<Call> = (0..6).map(|_| up(&mut agent)).collect();
    let load = |name: &String| assert_no_drift(&server).of(name).map(|account| account.load);
    assert_eq!((load(&a), load(&b)), (Some(4), Some(2)));
    server.write_list(&format!("100 {b} 0 7 maxload=3;note=new\n100 {a}\n"));
    server.rpc("dispatcher.reload", json!([])).unwrap();
    assert_eq!((load(&a), load(&b)), (Some(4), Some(2)));
    held.push(up(&mut agent));
    assert_eq!((load(&a), load(&b)), (Some(4), Some(3)));
    hang_up_all(&mut agent, &mut held);
    all_over(server);
}

fn one_uri_through_two_sockets_is_two_destinations(workers: u32) {
    let gateways = obedient(1);
    let sockets = [net::free_port(net::address()), net::free_port(net::address())];
    let by = Over::now().name();
    let line = |n: usize| format!("100 {} 0 0 socket={by}:{};maxload=3\n", gateways.uri(0), sockets[n]);
    let listen = format!("listen={by}:{}\nlisten={by}:{}", sockets[0], sockets[1]);
    let server = calls::plain(workers, line(0) + &line(1), NO_FAILOVER).globals(&listen).start();
    let mut agent = server.agent();
    let loads = || server.list().iter().map(|d| d.load.unwrap()).collect::<Vec<_>>();
    let mut held: Vec<Call> = (0..4).map(|_| up(&mut agent)).collect();
    assert_eq!(loads(), [2, 2]);
    let from = |via: &str| sockets.iter().position(|socket| via.contains(&format!(" {socket};")));
    let used: Vec<Option<usize>> = gateways
        .received()
        .iter()
        .filter(|r| r.message.method() == Some("INVITE"))
        .map(|r| from(r.message.header("Via").unwrap()))
        .collect();
    assert_eq!(used.iter().collect::<HashSet<_>>().len(), 2, "{used:?}");
    assert!(used.iter().all(Option::is_some), "{used:?}");
    // One of them away and back: each finds its own count.
    hang_up_all(&mut agent, [&mut held[0]]);
    let left = used[1..].iter().filter(|socket| **socket == Some(0)).count() as i64;
    let by_socket = || {
        let list = server.list();
        let load = |n: usize| {
            list.iter().find(|d| d.attrs.contains(&sockets[n].to_string())).and_then(|d| d.load).unwrap()
        };
        [load(0), load(1)]
    };
    assert_eq!(by_socket(), [left, 3 - left]);
    for list in [line(1), line(1) + &line(0)] {
        server.write_list(&list);
        server.rpc("dispatcher.reload", json!([])).unwrap();
    }
    assert_eq!(by_socket(), [left, 3 - left]);
    hang_up_all(&mut agent, &mut held[1..]);
    all_over(server);
}

#[test]
fn script_sees_what_was_chosen_and_what_is_left() {
    let socket = net::free_port(net::address());
    let list = format!(
        "5 sip:127.0.9.1:5060 0 9 duid=one;maxload=1;note=x\n\
         5 sip:127.0.9.2:5060 0 8 socket=udp:{socket}\n\
         5 sip:127.0.9.3:5060\n"
    );
    let params = r#"modparam("dispatcher", "flags", 2) modparam("dispatcher", "xavp_dst_mode", 6)"#;
    let listen = format!("listen=udp:{socket} name \"wan\"");
    let server = picking(list, params).globals(&listen).start();
    let pick = Ask { set: 5, alg: 10, limit: None, call_id: "one" }.pick(&mut server.agent());
    assert_eq!(pick.dst.as_deref(), Some("sip:127.0.9.1:5060"));
    assert_eq!(pick.count, "3");
    let uri = |n| format!("uri=sip:127.0.9.{n}:5060 grp=5");
    assert_eq!(pick.entries, [uri(1), uri(2), uri(3)]);
    assert_eq!(
        pick.more,
        [
            "attrs=duid=one;maxload=1;note=x dstid=one".into(),
            format!("attrs=socket=udp:{socket} dstid=sip:127.0.9.2:5060"),
            "attrs=<null> dstid=sip:127.0.9.3:5060".into(),
        ]
    );
    assert_eq!(pick.sockets[1], format!("udp:{socket} <null>"));
    let nexts: HashSet<&str> = pick.next.iter().map(String::as_str).collect();
    assert_eq!(nexts, HashSet::from(["sip:127.0.9.2:5060", "sip:127.0.9.3:5060"]));
    server.stop();
}
