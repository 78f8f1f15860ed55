//! Addresses of host names are kept up to date: `ds_dns_mode`, `ds_dns_interval`, `ds_dns_ttl`, `ds_dns_match_all`, and flag 16.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;

use crate::names::{SOON, becomes, chosen, first, is_from_list, looking_up};
use crate::pace;
use crate::support::{Agent, Dns, Kamailio, Probed, TYPE, eventually, net, until};

/// How long a test waits for something that must not happen: some turns of a look each second.
const LONG: Duration = Duration::from_secs(4);

fn matches(agent: &mut Agent, address: Ipv4Addr) -> bool {
    is_from_list(agent, &format!("sip:{address}"))
}

#[track_caller]
fn follows(agent: &mut Agent, old: Ipv4Addr, new: Ipv4Addr) {
    let moved = |agent: &mut Agent| !matches(agent, old) && matches(agent, new);
    eventually("the new address in the place of the old", SOON, || moved(agent));
}

fn ipaddr(server: &Kamailio) -> String {
    first(server)["IPADDR"].as_str().unwrap().to_owned()
}

#[test]
fn mode_4_follows_a_changed_record_at_its_interval_and_mode_2_each_second() {
    for (mode, interval) in [(4, 1), (5, 1), (2, 600), (3, 600)] {
        let dns = Dns::start();
        let (old, new) = (net::address(), net::address());
        dns.a("gw.test", 0, &[old]);
        let builder = looking_up("1 sip:gw.test:5070\n", mode, &dns);
        let own = format!("modparam(\"dispatcher\", \"ds_dns_interval\", {interval})");
        let server = builder.modparam(&own).start();
        let mut agent = server.agent();
        assert_eq!((matches(&mut agent, old), matches(&mut agent, new)), (true, false));
        dns.a("gw.test", 0, &[new]);
        follows(&mut agent, old, new);
        assert_eq!(ipaddr(&server), new.to_string());

        let seen = || first(&server)["DNSTIME_SEC"].as_u64().unwrap();
        let before = seen();
        eventually("DNSTIME_SEC moves on", SOON, || seen() > before);
        assert_eq!(first(&server)["FLAGS"], "AX");
        server.stop();
    }
}

#[test]
fn mode_1_looks_once_and_a_longer_interval_no_sooner() {
    for mode in [1, 4] {
        let dns = Dns::start();
        let (old, new) = (net::address(), net::address());
        dns.a("gw.test", 0, &[old]);
        let builder = looking_up("1 sip:gw.test\n", mode, &dns);
        let server = builder.modparam(r#"modparam("dispatcher", "ds_dns_interval", 600)"#).start();
        let mut agent = server.agent();
        let seen = || first(&server)["DNSTIME_SEC"].as_u64().unwrap();
        eventually("the name is looked up", SOON, || seen() > 0);
        dns.a("gw.test", 0, &[new]);
        dns.forget_queries();
        assert!(!until(LONG, || !dns.all_queries().is_empty()), "{:?}", dns.all_queries());
        assert_eq!((matches(&mut agent, old), matches(&mut agent, new)), (true, false));
        server.stop();
    }
}

#[test]
fn mode_0_asks_for_nothing_and_its_names_are_matched_by_nothing() {
    let dns = Dns::start();
    let address = net::address();
    dns.a("gw.test", 0, &[address]);
    let server = looking_up("1 sip:gw.test\n", 0, &dns).start();
    let mut agent = server.agent();
    assert!(!matches(&mut agent, address));
    assert_eq!(chosen(&mut agent).as_deref(), Some("sip:gw.test"), "calls go there all the same");
    let dest = first(&server);
    assert_eq!(
        (&dest["FLAGS"], &dest["IPADDR"], &dest["DNSTIME_SEC"]),
        (&json!("AX"), &json!(""), &json!(0))
    );
    assert!(dns.all_queries().is_empty(), "{:?}", dns.all_queries());
    server.stop();
}

#[test]
fn destination_with_flag_16_is_not_looked_up_and_matched_by_nothing() {
    let dns = Dns::start();
    let (address, other) = (net::address(), net::address());
    dns.a("gw.test", 0, &[address]);
    dns.a("other.test", 0, &[other]);
    let server = looking_up("1 sip:other.test\n1 sip:gw.test 16\n", 4, &dns).start();
    let mut agent = server.agent();
    dns.wait_for("other.test", TYPE::A, 4, SOON);
    assert_eq!(dns.queries("gw.test", TYPE::A), 0);
    assert_eq!((matches(&mut agent, address), matches(&mut agent, other)), (false, true));
    // Of equal priority the last line comes first.
    let dest = first(&server);
    assert_eq!((&dest["FLAGS"], &dest["IPADDR"]), (&json!("AX"), &json!("")), "{dest}");
    server.rpc("dispatcher.reload", json!([])).unwrap();
    dns.forget_queries();
    dns.wait_for("other.test", TYPE::A, 2, SOON);
    assert_eq!(dns.queries("gw.test", TYPE::A), 0, "nor after a reload");
    server.stop();
}

/// Servers give the addresses of a name in another order each time.
#[test]
fn addresses_in_changing_order_change_nothing() {
    for all in [0, 1] {
        let dns = Dns::start();
        let addresses: Vec<Ipv4Addr> = (0..3).map(|_| net::address()).collect();
        dns.a("gw.test", 0, &addresses);
        let builder = looking_up("1 sip:gw.test\n", 4, &dns);
        let match_all = format!("modparam(\"dispatcher\", \"ds_dns_match_all\", {all})");
        let server = builder.modparam(&match_all).start();
        let mut agent = server.agent();
        let matched = |agent: &mut Agent| addresses.iter().map(|ip| matches(agent, *ip)).collect::<Vec<_>>();
        let (shown, before) = (ipaddr(&server), matched(&mut agent));
        assert_eq!(before.iter().filter(|it| **it).count(), if all == 1 { 3 } else { 1 }, "{before:?}");
        assert_eq!(shown, addresses[0].to_string());
        let mut order = addresses.clone();
        for _ in 0..3 {
            order.rotate_left(1);
            dns.a("gw.test", 0, &order);
            dns.forget_queries();
            // The second begins after the first has been taken in.
            dns.wait_for("gw.test", TYPE::A, 2, SOON);
            assert_eq!((ipaddr(&server), matched(&mut agent)), (shown.clone(), before.clone()), "{order:?}");
        }
        // What is gone is gone, and what stays is kept.
        let (one, another) = (addresses[1], net::address());
        dns.a("gw.test", 0, &[another, one]);
        eventually("the first is gone", SOON, || !matches(&mut agent, addresses[0]));
        let wanted = if all == 1 { one } else { another };
        assert_eq!(ipaddr(&server), wanted.to_string());
        assert_eq!((matches(&mut agent, one), matches(&mut agent, another)), (all == 1, true));
        server.stop();
    }
}

#[test]
fn ttl_of_the_record_counts_unless_the_module_has_one() {
    for (record, own, asked_again) in [(600, 0, false), (600, 1, true), (0, 600, false), (0, 0, true)] {
        let dns = Dns::start();
        let (old, new) = (net::address(), net::address());
        dns.a("gw.test", record, &[old]);
        let builder = looking_up("1 sip:gw.test\n", 4, &dns);
        let ttl = format!("modparam(\"dispatcher\", \"ds_dns_ttl\", {own})");
        let server = builder.modparam(&ttl).start();
        let mut agent = server.agent();
        dns.a("gw.test", record, &[new]);
        if asked_again {
            follows(&mut agent, old, new);
        } else {
            assert!(!until(LONG, || dns.queries("gw.test", TYPE::A) > 1), "{:?}", dns.all_queries());
            assert!(matches(&mut agent, old), "ttl {record} with {own} of its own");
        }
        server.stop();
    }
}

#[test]
fn srv_record_gives_port_and_transport_to_a_uri_without_a_port() {
    let dns = Dns::start();
    let (host, other) = (net::address(), net::address());
    dns.a("host.test", 0, &[host]);
    dns.a("other.test", 0, &[other]);
    dns.srv("_sip._udp.udp.test", 1, &[(10, 5, 5071, "host.test")]);
    dns.srv("_sip._tcp.tcp.test", 1, &[(10, 5, 5072, "host.test")]);
    let list = "1 sip:udp.test\n2 sip:tcp.test;transport=tcp\n3 sip:host.test:5073\n";
    let server = looking_up(list, 4 | 8, &dns).tcp().start();
    let shown = || {
        let list = server.rpc("dispatcher.list", json!(["full"])).unwrap();
        let sets = list["RECORDS"].as_array().unwrap();
        let dest = |set: &serde_json::Value| set["SET"]["TARGETS"][0]["DEST"].clone();
        let part = |dest: serde_json::Value| {
            (dest["IPADDR"].as_str().unwrap().to_owned(), dest["PORT"].as_i64(), dest["PROTOID"].as_i64())
        };
        sets.iter().map(dest).map(part).collect::<Vec<_>>()
    };
    let at = |ip: Ipv4Addr, port, proto| (ip.to_string(), Some(port), Some(proto));
    let third = shown().pop().unwrap();
    assert_eq!(shown(), [at(host, 5071, 1), at(host, 5072, 2), third.clone()]);
    assert_eq!((third.0, third.1), (host.to_string(), Some(5073)));
    dns.srv("_sip._udp.udp.test", 1, &[(10, 5, 5081, "other.test")]);
    eventually("it follows the record", SOON, || shown()[0] == at(other, 5081, 1));
    becomes(&server, "AX");
    server.stop();
}

/// With `use_dns_failover` the core also takes an SRV record with a TTL of 0, and looks for those of each transport.
#[test]
fn probe_goes_where_the_core_finds_the_name_to_lead_with_failover_too() {
    let dns = Dns::start();
    let (udp, tcp) = (Probed::start(), Probed::with_tcp());
    dns.a("udp-host.test", 0, &[udp.ip()]);
    dns.a("tcp-host.test", 0, &[tcp.ip()]);
    dns.srv("_sip._udp.udp.test", 0, &[(10, 5, udp.local().port(), "udp-host.test")]);
    dns.srv("_sip._tcp.tcp.test", 1, &[(10, 5, tcp.local().port(), "tcp-host.test")]);
    let builder = pace::probing("1 sip:udp.test\n1 sip:tcp.test\n", 1).globals("use_dns_failover=on");
    let server = builder.modparam("modparam(\"dispatcher\", \"ds_dns_mode\", 0)").tcp().dns(&dns).start();
    for (gateway, uri) in [(&udp, "sip:udp.test"), (&tcp, "sip:tcp.test")] {
        assert_eq!(gateway.wait_for(2, SOON).first().unwrap().uri(), uri);
    }
    eventually("both are up", SOON, || server.list().iter().all(|one| one.flags == "AP"));
    server.stop();
}
