//! Algorithm 101: the hash that stays put.

use serde_json::json;

use crate::calls::assert_quiet;
use crate::picks::{self, Ask, Pick};
use crate::support::server_config::Builder;
use crate::support::{Agent, Kamailio};

const KEYS: usize = 300;

/// Lines of these gateways, in this order.
fn list(gateways: impl Iterator<Item = u32>) -> String {
    gateways.map(|n| format!("1 sip:127.0.1.{n}:5060 0 0 duid=gw{n}\n")).collect()
}

fn picking(list: impl Into<String>) -> Builder {
    picks::picking(list, "modparam(\"dispatcher\", \"flags\", 2)")
}

fn pick(agent: &mut Agent, call_id: &str) -> Pick {
    Ask { set: 1, alg: 101, limit: Some(0), call_id }.pick(agent)
}

/// What each key gets.
fn picks(server: &Kamailio) -> Vec<Pick> {
    let mut agent = server.agent();
    (0..KEYS).map(|key| pick(&mut agent, &format!("call-{key}@example.com"))).collect()
}

fn chosen(picks: &[Pick]) -> Vec<String> {
    picks.iter().map(|one| one.dst.clone().expect("a destination")).collect()
}

fn count(all: &[String], uri: &str) -> usize {
    all.iter().filter(|one| *one == uri).count()
}

const DEAD: &str = "sip:127.0.1.3:5060";

#[test]
fn every_server_gives_a_key_the_same_destination_whatever_the_order_of_the_lines() {
    let servers = [list(1..7), list((1..7).rev())].map(|list| picking(list).workers(2).start());
    let [one, other] = [0, 1].map(|n| chosen(&picks(&servers[n])));
    assert_eq!(one, other);
    servers.into_iter().for_each(|server| assert_quiet(&server.stop()));
}

#[test]
fn keys_of_one_that_is_down_go_to_all_others_and_come_back() {
    let server = picking(list(1..7)).workers(2).start();
    let before = picks(&server);
    server.rpc("dispatcher.set_state", json!(["i", 1, DEAD])).unwrap();
    let during = picks(&server);
    for (before, during) in before.iter().zip(&during) {
        if before.dst.as_deref() == Some(DEAD) {
            // The list for failover says it before.
            assert_eq!(during.dst.as_ref(), before.next.first());
        } else {
            assert_eq!(during.dst, before.dst);
        }
    }
    let all = chosen(&during);
    let moved = count(&chosen(&before), DEAD);
    assert!(moved > KEYS / 12, "{moved}");
    for n in [1, 2, 4, 5, 6] {
        let uri = format!("sip:127.0.1.{n}:5060");
        assert!(count(&all, &uri) > count(&chosen(&before), &uri), "{n} takes some of its keys");
    }
    server.rpc("dispatcher.set_state", json!(["a", 1, DEAD])).unwrap();
    assert_eq!(picks(&server), before);
    assert_quiet(&server.stop());
}

#[test]
fn only_keys_of_the_removed_one_move() {
    let server = picking(list(1..7)).start();
    let before = chosen(&picks(&server));
    server.write_list(&list([6, 5, 4, 2, 1].into_iter()));
    server.rpc("dispatcher.reload", json!([])).unwrap();
    let after = chosen(&picks(&server));
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || before == DEAD));
    assert_eq!(count(&after, DEAD), 0);
    // It comes back by a row of its own, and has what it had.
    server.rpc("dispatcher.add", json!([1, DEAD, 0, 0, "duid=gw3"])).unwrap();
    assert_eq!(chosen(&picks(&server)), before);
    assert_quiet(&server.stop());
}

#[test]
fn a_destination_keeps_its_keys_at_another_address() {
    let server = picking(list(1..7)).start();
    let before = chosen(&picks(&server));
    server.write_list(&list(1..7).replace("127.0.1.3:5060", "127.0.2.3:5070"));
    server.rpc("dispatcher.reload", json!([])).unwrap();
    let moved = |uri: &String| uri.replace("127.0.1.3:5060", "127.0.2.3:5070");
    assert_eq!(chosen(&picks(&server)), before.iter().map(moved).collect::<Vec<_>>());
    assert_quiet(&server.stop());
}

#[test]
fn the_key_is_hash_pvar_where_it_is_set() {
    let server =
        picking(list(1..7)).modparam("modparam(\"dispatcher\", \"hash_pvar\", \"$(ci{s.len})\")").start();
    let mut agent = server.agent();
    let mut of = |call_id: &str| pick(&mut agent, call_id).dst;
    let lengths: Vec<_> = (4..24).map(|length| of(&"x".repeat(length))).collect();
    for (length, dst) in (4..24).zip(&lengths) {
        assert_eq!(&of(&"y".repeat(length)), dst, "{length}");
    }
    assert!(lengths.iter().any(|dst| dst != &lengths[0]));
    assert_quiet(&server.stop());
}

#[test]
fn weights_share_the_keys() {
    let lines =
        "1 sip:127.0.1.1:5060 0 0 weight=1\n1 sip:127.0.1.2:5060 0 0 weight=4\n1 sip:127.0.1.3:5060\n";
    let server = picking(lines).start();
    let all = chosen(&picks(&server));
    // A fifth, with six times the deviation that chance gives 300 keys.
    let first = count(&all, "sip:127.0.1.1:5060") as f64;
    assert!((first - KEYS as f64 / 5.0).abs() < 42.0, "{first}");
    assert_eq!(count(&all, "sip:127.0.1.3:5060"), 0);
    assert_quiet(&server.stop());
}
