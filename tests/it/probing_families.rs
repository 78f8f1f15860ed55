//! Gateways that are not at an IPv4 address: IPv6, AAAA and NAPTR records.

use std::net::{Ipv6Addr, SocketAddr};

use serde_json::json;
use simple_dns::CharacterString;
use simple_dns::Name;
use simple_dns::rdata::{NAPTR, RData};

use crate::names::{ROUTE, SOON, becomes, chosen, first, is_from_list};
use crate::pace;
use crate::support::{Behaviour, Dns, Kamailio, Probed, TYPE, eventually};

/// A gateway at ::1, and a free port there for a server.
fn at_six() -> (Probed, SocketAddr) {
    let gateway = Probed::at((Ipv6Addr::LOCALHOST, 0).into());
    let socket = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a port at ::1");
    (gateway, socket.local_addr().expect("the address just bound"))
}

#[test]
fn gateway_at_an_ipv6_address_is_followed_and_chosen() {
    let (gateway, own) = at_six();
    let uri = gateway.uri();
    let builder = pace::probing(format!("1 {uri}\n"), 1).route(ROUTE).globals(&format!("listen=udp:{own}"));
    let mut server = builder.start();
    becomes(&server, "AP");
    let probe = gateway.wait_for(1, SOON).remove(0);
    assert_eq!((probe.uri(), probe.source()), (uri.as_str(), own));
    let shown = first(&server);
    assert_eq!((&shown["HOST"], &shown["IPADDR"]), (&json!("[::1]"), &json!("0:0:0:0:0:0:0:1")), "{shown}");
    let mut agent = server.agent();
    assert_eq!(chosen(&mut agent).as_deref(), Some(&*uri));
    assert!(is_from_list(&mut agent, "sip:[::1]"));
    gateway.behave(Behaviour::Answer(503, "No"));
    becomes(&server, "IP");
    assert_eq!(chosen(&mut agent), None);
    server.assert_healthy();
    server.stop();
}

#[test]
fn name_with_an_ipv6_address_only_leads_there() {
    let dns = Dns::start();
    let (gateway, own) = at_six();
    dns.aaaa("six.test", 1, &[Ipv6Addr::LOCALHOST]);
    let uri = format!("sip:six.test:{}", gateway.local().port());
    let builder = pace::probing(format!("1 {uri}\n"), 1).route(ROUTE).dns(&dns);
    let builder = builder.globals(&format!("listen=udp:{own}\ndns_try_ipv6=yes"));
    let mut server = builder.modparam("modparam(\"dispatcher\", \"ds_dns_mode\", 4)").start();
    becomes(&server, "AP");
    assert_eq!(gateway.wait_for(1, SOON).remove(0).uri(), uri);
    eventually("its address is known", SOON, || first(&server)["IPADDR"] == json!("0:0:0:0:0:0:0:1"));
    assert!(is_from_list(&mut server.agent(), "sip:[::1]"));
    server.assert_healthy();
    server.stop();
}

/// An address is checked against what the server sends to, at start and at each reload.
#[test]
fn addresses_of_a_family_that_the_server_does_not_send_to_are_refused() {
    let (_gateway, own) = at_six();
    let six_only = format!("listen=udp:{own}\ndns_cache_flags=2");
    for (globals, good, bad) in
        [("", "sip:127.0.0.9", "sip:[2001:db8::9]"), (&six_only, "sip:[2001:db8::9]", "sip:127.0.0.9")]
    {
        let server = Kamailio::builder()
            .globals(globals)
            .list(format!("100 {good}\n100 {bad}\n"))
            .modparam("modparam(\"dispatcher\", \"reload_delta\", 0)")
            .start();
        let line = format!("{}:2:5: '{bad}': the server sends to no", server.list_file().display());
        for times in 1..=3 {
            assert_eq!(server.log_lines(&line).len(), times, "{line} in {}", server.log());
            assert_eq!(server.list().iter().map(|one| one.uri.as_str()).collect::<Vec<_>>(), [good]);
            server.rpc("dispatcher.reload", json!([])).expect("a reload");
        }
        server.stop();
    }
}

fn naptr(order: u16, service: &str, replacement: &str) -> RData<'static> {
    let text = |text: &str| CharacterString::new(text.as_bytes()).expect("a short text").into_owned();
    let replacement = Name::new(replacement).expect("a name").into_owned();
    let (flags, services, regexp) = (text("s"), text(service), text(""));
    RData::NAPTR(NAPTR { order, preference: 10, flags, services, regexp, replacement })
}

/// RFC 3263 section 4.1: without port and transport the NAPTR records decide, here for TCP before UDP. By default the core
/// does not go by their order, but prefers UDP (`dns_naptr_ignore_rfc`).
#[test]
fn naptr_record_gives_the_transport_to_a_uri_without_one() {
    let dns = Dns::start();
    let gateway = Probed::with_tcp();
    let port = gateway.local().port();
    let records =
        [naptr(10, "SIP+D2T", "_sip._tcp.trunk.test"), naptr(20, "SIP+D2U", "_sip._udp.trunk.test")];
    dns.set("trunk.test", TYPE::NAPTR, 1, records.to_vec());
    dns.srv("_sip._tcp.trunk.test", 1, &[(10, 5, port, "gw.test")]);
    dns.srv("_sip._udp.trunk.test", 1, &[(10, 5, port, "gw.test")]);
    dns.a("gw.test", 1, &[gateway.ip()]);
    let builder = pace::probing("1 sip:trunk.test\n", 1).route(ROUTE).dns(&dns).tcp();
    let builder = builder.globals("dns_try_naptr=yes\ndns_naptr_ignore_rfc=no");
    let mut server = builder.modparam("modparam(\"dispatcher\", \"ds_dns_mode\", 12)").start();
    becomes(&server, "AP");
    let probe = gateway.wait_for(1, SOON).remove(0);
    assert_eq!(probe.message.header("Via").map(|via| via.starts_with("SIP/2.0/TCP")), Some(true));
    let shown = first(&server);
    let due = json!([gateway.ip().to_string(), port, 2]);
    assert_eq!(json!([shown["IPADDR"], shown["PORT"], shown["PROTOID"]]), due);
    server.assert_healthy();
    server.stop();
}
