//! What names mean while the DNS changes its mind: `ds_dns_mode`, `ds_dns_interval`, `ds_dns_ttl`, `ds_dns_match_all`, flag 16.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::harness_probing::SOON;
use crate::names::{full, is_from, only, probed, unprobed};
use crate::support::{Agent, Dns, Kamailio, Probed, TYPE, eventually, net};

const LIST: &str = "1 sip:gw.test:5070\n";

/// A second. The host's look-up finds nothing in an SRV record of 0 seconds.
const SRV_TTL: u32 = 1;

fn at(address: Ipv4Addr) -> String {
    format!("sip:{address}:5070")
}

/// Waits until what was found since now is known to the workers: the second look begins after the first is published.
#[track_caller]
fn two_looks(dns: &Dns, name: &str) {
    let so_far = dns.queries(name, TYPE::A);
    dns.wait_for(name, TYPE::A, so_far + 2, SOON);
}

fn addresses<const N: usize>() -> [Ipv4Addr; N] {
    std::array::from_fn(|_| net::address())
}

#[track_caller]
fn matched<const N: usize>(agent: &mut Agent, addresses: [Ipv4Addr; N]) -> [bool; N] {
    addresses.map(|address| is_from(agent, &at(address)))
}

/// When it was looked up last, in microseconds of the wall clock.
fn looked_up(one: &Value) -> u64 {
    let part = |name: &str| one[name].as_u64().unwrap();
    part("DNSTIME_SEC") * 1_000_000 + part("DNSTIME_USEC")
}

#[test]
fn modes_2_and_4_follow_the_dns_mode_1_looks_once_and_mode_0_never() {
    let dns = Dns::start();
    let [old, new] = addresses();
    let side = |mode: u32| {
        let name = format!("mode{mode}.test");
        dns.a(&name, 0, &[old]);
        let server = unprobed(&format!("1 sip:{name}:5070\n"), &dns, mode).start();
        let agent = server.agent();
        (name, server, agent)
    };
    let mut sides = [0, 1, 2, 4].map(side);
    for ((name, server, agent), found) in sides.iter_mut().zip([false, true, true, true]) {
        assert_eq!(matched(agent, [old, new]), [found, false], "{name}");
        let ip = if found { old.to_string() } else { String::new() };
        assert_eq!(only(server)["IPADDR"], ip, "{name}");
    }
    // The process for names looks once too, at what was looked up at start.
    eventually("a look", SOON, || looked_up(&only(&sides[1].1)) > 0);
    let once = looked_up(&only(&sides[1].1));
    dns.forget_queries();
    sides.iter().for_each(|(name, ..)| dns.a(name, 0, &[new]));
    for (name, server, agent) in &mut sides[2..] {
        let before = looked_up(&only(server));
        two_looks(&dns, name);
        assert_eq!(matched(agent, [old, new]), [false, true], "{name}");
        assert_eq!(only(server)["IPADDR"], new.to_string(), "{name}");
        eventually("DNSTIME moves", SOON, || looked_up(&only(server)) > before);
        dns.wait_for(name, TYPE::A, 4, SOON);
    }
    let (_, server, agent) = &mut sides[1];
    assert_eq!(matched(agent, [old, new]), [true, false]);
    assert_eq!((dns.queries("mode1.test", TYPE::A), looked_up(&only(server))), (0, once));
    assert_eq!((dns.queries("mode0.test", TYPE::A), looked_up(&only(&sides[0].1))), (0, 0));
    assert_eq!(matched(&mut sides[0].2, [old, new]), [false, false]);
    for (_, server, _) in sides {
        server.stop();
    }
}

#[test]
fn rotating_answers_never_change_what_matches() {
    let [one, two, three] = addresses();
    let all = [one, two, three];
    for (match_all, wanted) in [(0, [true, false, false]), (1, [true; 3])] {
        let dns = Dns::start();
        dns.a("gw.test", 0, &all);
        let param = format!("modparam(\"dispatcher\", \"ds_dns_match_all\", {match_all})");
        let server = unprobed(LIST, &dns, 4).modparam(&param).start();
        let mut agent = server.agent();
        assert_eq!(matched(&mut agent, all), wanted);
        for turn in [[two, three, one], [three, one, two], [three, two, one]] {
            dns.a("gw.test", 0, &turn);
            let so_far = dns.queries("gw.test", TYPE::A);
            while dns.queries("gw.test", TYPE::A) < so_far + 2 {
                assert_eq!(
                    (matched(&mut agent, all), &only(&server)["IPADDR"]),
                    (wanted, &json!(one.to_string()))
                );
            }
        }
        dns.a("gw.test", 0, &[three, two]);
        two_looks(&dns, "gw.test");
        assert_eq!(matched(&mut agent, all), [false, match_all == 1, true], "the one in use is gone");
        server.stop();
    }
}

#[test]
fn srv_record_says_port_and_transport_and_is_followed() {
    let (dns, [old, new]) = (Dns::start(), addresses());
    dns.a("old.test", 0, &[old]);
    dns.a("new.test", 0, &[new]);
    dns.srv("_sip._tcp.trunk.test", SRV_TTL, &[(10, 5, 5072, "old.test")]);
    let server = unprobed("1 sip:trunk.test;transport=tcp\n", &dns, 4 | 8).tcp().start();
    let where_to = || {
        let one = only(&server);
        (one["IPADDR"].as_str().unwrap().to_owned(), one["PORT"].as_u64(), one["PROTOID"].as_u64())
    };
    const TCP: Option<u64> = Some(2);
    assert_eq!(where_to(), (old.to_string(), Some(5072), TCP));
    let mut agent = server.agent();
    assert!(is_from(&mut agent, &format!("sip:{old}:5072;transport=tcp")));
    assert!(!is_from(&mut agent, &format!("sip:{old}:5060;transport=tcp")));

    dns.srv("_sip._tcp.trunk.test", SRV_TTL, &[(10, 5, 5074, "new.test")]);
    eventually("the new port", SOON, || where_to() == (new.to_string(), Some(5074), TCP));
    assert!(is_from(&mut agent, &format!("sip:{new}:5074;transport=tcp")));
    assert!(!is_from(&mut agent, &format!("sip:{old}:5072;transport=tcp")));
    server.stop();
}

#[test]
fn srv_record_of_udp_is_asked_for_where_the_uri_says_neither_port_nor_transport() {
    let (dns, [address]) = (Dns::start(), addresses());
    dns.a("gw.test", 1, &[address]);
    dns.a("plain.test", 1, &[address]);
    dns.srv("_sip._udp.trunk.test", SRV_TTL, &[(10, 5, 5072, "gw.test")]);
    for (uri, port) in [("trunk.test", 5072), ("plain.test", 5060), ("gw.test:5099", 5099)] {
        let server = unprobed(&format!("1 sip:{uri}\n"), &dns, 1 | 8).start();
        let one = only(&server);
        let found = (&one["IPADDR"], &one["PORT"], &one["PROTOID"]);
        assert_eq!(found, (&json!(address.to_string()), &json!(port), &json!(1)), "{uri}: {one}");
        server.stop();
    }
    assert_eq!(dns.queries("_sip._udp.gw.test", TYPE::SRV), 0);
}

#[test]
fn ds_dns_ttl_stands_for_the_ttl_of_the_dns() {
    for (ttl_of_dns, ttl, asked_again) in [(0, 60, false), (60, 1, true), (60, 0, false), (0, 0, true)] {
        let (dns, [old, new]) = (Dns::start(), addresses());
        dns.a("gw.test", ttl_of_dns, &[old]);
        let param = format!("modparam(\"dispatcher\", \"ds_dns_ttl\", {ttl})");
        let server = unprobed(LIST, &dns, 4).modparam(&param).start();
        let mut agent = server.agent();
        dns.a("gw.test", ttl_of_dns, &[new]);
        for _ in 0..4 {
            let last = looked_up(&only(&server));
            eventually("a look", SOON, || looked_up(&only(&server)) > last);
        }
        assert_eq!(dns.queries("gw.test", TYPE::A) > 1, asked_again, "{ttl_of_dns} {ttl}");
        assert_eq!(matched(&mut agent, [old, new]), [!asked_again, asked_again], "{ttl_of_dns} {ttl}");
        server.stop();
    }
}

#[test]
fn flag_16_means_no_query_for_the_address_and_no_match() {
    let (dns, [named, by_address]) = (Dns::start(), addresses());
    dns.a("gw.test", 0, &[named]);
    dns.a("other.test", 0, &[named]);
    let list = format!("1 sip:gw.test:5070 16\n1 {} 16\n2 sip:other.test\n", at(by_address));
    let server = unprobed(&list, &dns, 4).start();
    dns.wait_for("other.test", TYPE::A, 3, SOON);
    assert_eq!(dns.queries("gw.test", TYPE::A), 0);
    assert_eq!(matched(&mut server.agent(), [named, by_address]), [false, false]);
    let one = full(&server).remove(0);
    assert_eq!((&one["IPADDR"], &one["FLAGS"], looked_up(&one)), (&json!(""), &json!("AX"), 0), "{one}");
    server.stop();

    let gateway = Probed::start();
    dns.a("gw.test", 0, &[gateway.ip()]);
    let server = probed(&format!("1 sip:gw.test:{} 16\n", gateway.local().port()), &dns, 4).start();
    gateway.wait_for(2, SOON);
    assert!(!is_from(&mut server.agent(), &gateway.uri()), "it is looked up to be probed, for nothing else");
    server.stop();
}

#[track_caller]
fn reload(server: &Kamailio) {
    server.rpc("dispatcher.reload", json!([])).unwrap_or_else(|error| panic!("{error:?}"));
}

#[test]
fn reload_keeps_the_addresses_of_names_and_asks_for_none_that_is_known() {
    const COUNT: usize = 20;
    let dns = Dns::start();
    let name = |n: usize| format!("gw{n}.test");
    let all: [Ipv4Addr; COUNT] = addresses();
    (0..COUNT).for_each(|n| dns.a(&name(n), 0, &[all[n]]));
    let list: String = (0..COUNT).map(|n| format!("1 sip:{}:5070\n", name(n))).collect();
    let delta = r#"modparam("dispatcher", "reload_delta", 0)"#;
    let server = unprobed(&list, &dns, 1).modparam(delta).start();
    let mut agent = server.agent();
    eventually("each was looked at", SOON, || full(&server).iter().all(|one| looked_up(one) > 0));
    dns.forget_queries();
    (0..COUNT).for_each(|n| dns.trouble(&name(n), crate::support::Trouble::Timeout));
    for _ in 0..5 {
        reload(&server);
        assert_eq!(matched(&mut agent, all), [true; COUNT]);
    }
    // One more name, and what is known of the others stays.
    let more = net::address();
    dns.a("more.test", 0, &[more]);
    server.write_list(&format!("{list}1 sip:more.test:5070\n"));
    reload(&server);
    eventually("the new one is looked up", SOON, || is_from(&mut agent, &at(more)));
    assert_eq!(matched(&mut agent, all), [true; COUNT]);
    assert_eq!(dns.all_queries().len(), 1, "{:?}", dns.all_queries());
    assert!(full(&server).iter().all(|one| one["FLAGS"] == "AX"), "{:?}", full(&server));
    server.stop();
}
