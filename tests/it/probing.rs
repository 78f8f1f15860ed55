//! A gateway that is killed is found to be down in time, and up again after it returns, in each probing mode as the manual says.

use std::time::Instant;

use serde_json::json;

use crate::calls::assert_quiet;
use crate::support::sip_sockets::Peer;
use crate::support::{Kamailio, Probed, distinct};
use crate::watch::{
    INTERVAL, SLACK, SOON, TIMEOUT, at, become_all, becomes, call, choices, counted, more_probes, no_probe,
    probing, probing_with, set, set_state, told,
};

/// Two gateways, the first preferred by algorithm 8, and what a list says of both.
fn pair() -> (Probed, Probed) {
    (Probed::start(), Probed::start())
}

fn list(gateways: (&Probed, &Probed), flags: u32) -> String {
    let (first, second) = (gateways.0.uri(), gateways.1.uri());
    format!("1 {first} {flags} 9 duid=first\n1 {second} {flags} 5 duid=second\n")
}

/// Two failures take a gateway out, two replies bring it back.
fn start(mode: u32, list: &str) -> Kamailio {
    let builder = set(probing_with(mode, list, "ip"), "ds_probing_threshold", 2);
    set(builder, "ds_inactive_threshold", 2).start()
}

/// Down and up as `ds_probing_threshold` and `ds_inactive_threshold` say, with calls and events that go with it.
fn follows_a_gateway_that_is_killed_and_restarted(mode: u32, listed_flags: u32) {
    let (first, second) = pair();
    let mut server = start(mode, &list((&first, &second), listed_flags));
    become_all(&server, &["AP", "AP"]);
    assert_eq!((call(&server, 8), first.count("INVITE"), second.count("INVITE")), (Some(200), 1, 0));
    let (address, uri) = (first.local(), first.uri());
    more_probes(&first, 1);

    drop(first);
    let killed = Instant::now();
    becomes(&server, 0, "TP");
    assert_eq!(choices(&server, 8, 1), [uri.as_str()], "one failure is none");
    let down = becomes(&server, 0, "IP");
    let took = killed.elapsed();
    assert!(took >= INTERVAL && took <= INTERVAL * 2 + TIMEOUT + SLACK, "{took:?}");
    assert_eq!((&down["HEALTH"]["FAILURES"], &down["HEALTH"]["CODE"]), (&json!(2), &json!(408)));
    assert_eq!(choices(&server, 8, 4), vec![second.uri(); 4]);
    assert_eq!(choices(&server, 4, 4), vec![second.uri(); 4]);
    assert_eq!((call(&server, 4), second.count("INVITE")), (Some(200), 1));
    more_probes(&second, 2);
    told(&server, &[format!("down {uri}")]);

    let first = Probed::at(address);
    let restarted = Instant::now();
    let up = becomes(&server, 0, "AP");
    let took = restarted.elapsed();
    assert!(took <= INTERVAL * 2 + SLACK, "{took:?}");
    assert_eq!(up["HEALTH"]["SUCCESSES"], json!(2));
    assert_eq!((call(&server, 8), first.count("INVITE")), (Some(200), 1));
    let turns = choices(&server, 4, 4);
    assert_eq!(turns.iter().filter(|&one| *one == uri).count(), 2, "{turns:?}");
    more_probes(&second, 2);
    told(&server, &[format!("down {uri}"), format!("up {uri}")]);
    server.assert_healthy();
    assert_quiet(&server.stop());
}

#[test]
fn mode_1_follows_all_gateways() {
    follows_a_gateway_that_is_killed_and_restarted(1, 0);
}

#[test]
fn mode_3_follows_gateways_that_are_flagged() {
    follows_a_gateway_that_is_killed_and_restarted(3, 8);
}

/// The server holds a connection to it, which ends with it: the next one is refused.
#[test]
fn gateway_on_tcp_is_followed_as_well() {
    let gateway = Probed::with_tcp();
    let (address, uri) = (gateway.local(), format!("{};transport=tcp", gateway.uri()));
    let mut server = set(probing(1, format!("1 {uri}\n")).tcp(), "ds_probing_threshold", 2).start();
    becomes(&server, 0, "AP");
    drop(gateway);
    let killed = Instant::now();
    let down = becomes(&server, 0, "IP");
    assert!(killed.elapsed() <= INTERVAL * 2 + TIMEOUT + SLACK, "{:?}", killed.elapsed());
    assert_eq!(down["HEALTH"]["FAILURES"], json!(2));
    let gateway = Probed::with_tcp_at(address);
    let restarted = Instant::now();
    becomes(&server, 0, "AP");
    assert!(restarted.elapsed() <= INTERVAL * 2 + SLACK, "{:?}", restarted.elapsed());
    assert!(gateway.probes().iter().all(|probe| matches!(probe.peer, Peer::Tcp(_))));
    told(&server, &[format!("down {uri}"), format!("up {uri}")]);
    server.assert_healthy();
    server.stop();
}

#[test]
fn mode_3_leaves_others_alone() {
    let (first, second) = pair();
    let list = format!("1 {} 0 9\n1 {} 8 5\n1 {} 1 1\n", first.uri(), second.uri(), first.uri_of(0));
    let server = start(3, &list);
    more_probes(&second, 3);
    assert!(first.probes().is_empty(), "{:?}", first.probes());
    become_all(&server, &["AX", "AP", "IX"]);
    server.stop();
}

/// A call finds out that the gateway is gone, probes find out that it is back.
#[test]
fn mode_2_probes_what_a_call_has_found_down_until_it_is_up() {
    let (first, second) = pair();
    let mut server = start(2, &list((&first, &second), 0));
    assert_eq!(call(&server, 8), Some(200));
    assert_eq!(first.count("INVITE"), 1);
    no_probe(&first);

    let (address, uri) = (first.local(), first.uri());
    drop(first);
    assert_eq!((call(&server, 8), second.count("INVITE")), (Some(200), 1), "failover");
    become_all(&server, &["IP", "AX"]);
    assert_eq!(choices(&server, 8, 4), vec![second.uri(); 4]);
    assert_eq!(choices(&server, 4, 4), vec![second.uri(); 4]);
    assert_eq!((call(&server, 8), second.count("INVITE")), (Some(200), 2));

    let first = Probed::at(address);
    let restarted = Instant::now();
    let up = becomes(&server, 0, "AX");
    assert!(restarted.elapsed() <= INTERVAL * 2 + SLACK, "{:?}", restarted.elapsed());
    assert_eq!(up["HEALTH"]["SUCCESSES"], json!(2));
    assert_eq!((call(&server, 8), first.count("INVITE")), (Some(200), 1));
    no_probe(&first);
    assert!(second.probes().is_empty(), "{:?}", second.probes());
    told(&server, &[format!("down {uri}"), format!("up {uri}")]);
    server.assert_healthy();
    assert_quiet(&server.stop());
}

/// An operator's `ip` is probed as well.
#[test]
fn mode_2_probes_what_an_operator_has_taken_out_with_p_only() {
    let (first, second) = pair();
    let server = start(2, &list((&first, &second), 8));
    set_state(&server, "i", &second.uri());
    set_state(&server, "ip", &first.uri());
    become_all(&server, &["AX", "IX"]);
    assert_eq!(distinct(&first.probes()), 2);
    assert!(second.probes().is_empty(), "{:?}", second.probes());
    server.stop();
}

/// Probed once while it is up; its `P` goes with the answer.
#[test]
fn mode_0_probes_once_and_takes_the_flag_away() {
    let (first, second) = pair();
    let list = list((&first, &second), 8);
    let server = set(probing(0, &list), "ds_inactive_threshold", 2).start();
    become_all(&server, &["AX", "AX"]);
    no_probe(&first);
    assert_eq!((distinct(&first.probes()), distinct(&second.probes())), (1, 1));

    let (address, uri) = (first.local(), first.uri());
    drop(first);
    set_state(&server, "ap", &uri);
    let flagged = Instant::now();
    becomes(&server, 0, "IX");
    assert!(flagged.elapsed() <= INTERVAL + TIMEOUT + SLACK, "{:?}", flagged.elapsed());
    assert_eq!(choices(&server, 8, 2), vec![second.uri(); 2]);
    told(&server, &[format!("down {uri}")]);

    let begun = counted(&server, "PROBES");
    let first = Probed::at(address);
    set_state(&server, "ap", &second.uri());
    becomes(&server, 1, "AX");
    assert_eq!(counted(&server, "PROBES"), begun + 1, "the first has no P");
    set_state(&server, "ip", &uri);
    let up = becomes(&server, 0, "AX");
    assert_eq!(up["HEALTH"]["SUCCESSES"], json!(2));
    assert_eq!(counted(&server, "PROBES"), begun + 3);
    assert_eq!((call(&server, 8), first.count("INVITE")), (Some(200), 1));
    told(&server, &[format!("down {uri}"), format!("up {uri}")]);
    assert_quiet(&server.stop());
}

#[test]
fn list_tells_when_it_was_probed_and_will_be() {
    let gateway = Probed::start();
    let server = probing(1, format!("1 {}\n", gateway.uri())).start();
    gateway.wait_for(1, SOON);
    let one = becomes(&server, 0, "AP");
    let time = |name: &str| one["HEALTH"][name].as_i64().unwrap();
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    assert!((clock - time("PROBED")).abs() <= 2, "{one} at {clock}");
    assert!((0..=2).contains(&(time("NEXT_PROBE") - time("PROBED"))), "{one}");
    assert!((clock - time("CHANGED")).abs() <= 3, "{one} at {clock}");
    server.rpc("dispatcher.ping_active", json!([0])).unwrap();
    assert_eq!(at(&server, 0)["HEALTH"]["NEXT_PROBE"], json!(0));
    server.stop();
}
