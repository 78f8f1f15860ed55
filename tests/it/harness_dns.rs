//! Tests of the harness for DNS, with the stock module: what the tests of names rely on.

use std::time::Duration;

use serde_json::json;

use crate::harness_probing::{SOON, becomes, probing};
use crate::support::{Dns, Kamailio, Probed, TYPE, Trouble, net};

#[track_caller]
fn ip_and_port(server: &Kamailio) -> (String, u64) {
    let list = server.rpc("dispatcher.list", json!(["full"])).unwrap();
    let dest = &list["RECORDS"][0]["SET"]["TARGETS"][0]["DEST"];
    (dest["IPADDR"].as_str().unwrap().into(), dest["PORT"].as_u64().unwrap())
}

#[test]
fn name_leads_where_the_dns_server_says_until_its_ttl_is_over() {
    let dns = Dns::start();
    let first = Probed::start();
    let port = first.local().port();
    let second = Probed::at((net::address(), port).into());
    dns.a("gw.test", 2, &[first.ip()]);
    let list = format!("1 sip:gw.test:{port}\n");
    let server = probing(list).modparam(r#"modparam("dispatcher", "ds_dns_mode", 1)"#).dns(&dns).start();
    assert_eq!(ip_and_port(&server), (first.ip().to_string(), u64::from(port)));
    assert_eq!(first.wait_for(1, SOON).first().unwrap().gateway, "gw.test");
    becomes(&server, "AP");
    dns.a("gw.test", 60, &[second.ip()]);
    second.wait_for(1, SOON);
    first.forget();
    dns.forget_queries();
    second.wait_for(4, SOON);
    assert_eq!((first.probes().len(), dns.all_queries().len()), (0, 0));
    server.stop();
}

#[test]
fn srv_record_gives_host_and_port() {
    let dns = Dns::start();
    let gateway = Probed::start();
    let port = gateway.local().port();
    dns.srv("_sip._udp.trunk.test", 60, &[(10, 5, port, "host.test")]);
    dns.a("host.test", 60, &[gateway.ip()]);
    let builder = probing("1 sip:trunk.test\n").dns(&dns);
    let server = builder.modparam(r#"modparam("dispatcher", "ds_dns_mode", 9)"#).start();
    assert_eq!(ip_and_port(&server), (gateway.ip().to_string(), u64::from(port)));
    assert_eq!(gateway.wait_for(3, SOON).first().unwrap().uri(), "sip:trunk.test");
    becomes(&server, "AP");
    assert_eq!((dns.queries("_sip._udp.trunk.test", TYPE::SRV), dns.queries("host.test", TYPE::A)), (1, 1));
    server.stop();
}

#[test]
fn name_in_trouble_is_asked_for_again_with_the_next_probe() {
    let dns = Dns::start();
    let gateway = Probed::start();
    dns.a("gw.test", 0, &[gateway.ip()]);
    let list = format!("1 sip:gw.test:{}\n", gateway.local().port());
    let server = probing(list).modparam(r#"modparam("dispatcher", "ds_dns_mode", 2)"#).dns(&dns).start();
    becomes(&server, "AP");
    for trouble in [Trouble::NxDomain, Trouble::ServFail, Trouble::Timeout] {
        dns.trouble("gw.test", trouble);
        becomes(&server, "IP");
        dns.forget_queries();
        dns.wait_for("gw.test", TYPE::A, 3, SOON);
        dns.no_trouble("gw.test");
        becomes(&server, "AP");
    }
    dns.trouble("gw.test", Trouble::Delay(Duration::from_millis(300)));
    dns.forget_queries();
    dns.wait_for("gw.test", TYPE::A, 3, SOON);
    becomes(&server, "AP");
    dns.forget("gw.test");
    becomes(&server, "IP");
    server.stop();
}
