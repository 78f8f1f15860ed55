//! What a probe looks like, and how often it comes.

use serde_json::json;

use crate::support::{Dns, Probe, Probed, distinct};
use crate::watch::{SOON, all, become_all, becomes, choices, probing, set, set_text, told};

/// The one probe of this gateway.
#[track_caller]
fn probe_of(gateways: &Probed, gateway: &str) -> Probe {
    gateways.probes_of(gateway).pop().unwrap_or_else(|| panic!("no probe of {gateway}"))
}

#[test]
fn probe_is_what_the_stock_module_sends_unless_told_otherwise() {
    let gateways = Probed::start();
    let server = probing(1, gateways.list(1, 1, "")).start();
    becomes(&server, 0, "AP");
    let probe = probe_of(&gateways, "gw0");
    assert_eq!(probe.message.method(), Some("OPTIONS"));
    assert_eq!((probe.uri(), probe.uri_of_to()), (&*gateways.uri_of(0), &*gateways.uri_of(0)));
    assert_eq!((probe.uri_of_from(), probe.source()), ("sip:dispatcher@localhost", server.address()));
    server.stop();
}

#[test]
fn from_and_method_are_those_of_the_parameters_and_from_that_of_the_destination() {
    let gateways = Probed::start();
    gateways.probed_by("INFO");
    let list =
        format!("1 {} 0 9\n1 {} 0 5 ping_from=sip:own@example.com\n", gateways.uri_of(0), gateways.uri_of(1));
    let builder = set_text(probing(1, list), "ds_ping_from", "sip:probe@example.org");
    let server = set_text(builder, "ds_ping_method", "INFO").start();
    become_all(&server, &["AP", "AP"]);
    assert_eq!(probe_of(&gateways, "gw0").uri_of_from(), "sip:probe@example.org");
    assert_eq!(probe_of(&gateways, "gw1").uri_of_from(), "sip:own@example.com");
    assert_eq!(gateways.count("OPTIONS"), 0);
    server.stop();
}

/// Probes go through it, calls do not.
#[test]
fn proxy_of_the_destination_comes_before_that_of_the_parameter() {
    let (general, own, direct) = (Probed::start(), Probed::start(), Probed::start());
    let list = format!(
        "1 {} 0 9 duid=a\n1 {} 0 5 duid=b;obproxy={}\n",
        direct.uri_of(0),
        direct.uri_of(1),
        own.uri()
    );
    let server = set_text(probing(1, list), "outbound_proxy", &general.uri()).start();
    become_all(&server, &["AP", "AP"]);
    assert_eq!(probe_of(&general, "gw0").uri(), direct.uri_of(0));
    assert_eq!(probe_of(&own, "gw1").uri(), direct.uri_of(1));
    let proxies = [&general, &own].map(|proxy| proxy.probes_of("gw0").len() + proxy.probes_of("gw1").len());
    assert!(proxies.iter().zip([&general, &own]).all(|(&its, proxy)| its == proxy.probes().len()));
    assert!(general.probes_of("gw1").is_empty() && own.probes_of("gw0").is_empty());
    assert!(direct.probes().is_empty(), "{:?}", direct.probes());
    assert_eq!(choices(&server, 8, 1), [direct.uri_of(0)]);
    let (address, down) = (own.local(), [format!("down {}", direct.uri_of(1))]);
    drop(own);
    become_all(&server, &["AP", "IP"]);
    told(&server, &down);
    let _own = Probed::at(address);
    become_all(&server, &["AP", "AP"]);
    server.stop();
}

/// The name of a proxy stands for where probes go; that of the gateway itself then means nothing.
#[test]
fn proxy_may_have_a_name() {
    let dns = Dns::start();
    let proxy = Probed::start();
    dns.a("proxy.test", 60, &[proxy.ip()]);
    let list = format!("1 sip:gw0@127.0.0.9 0 0 obproxy=sip:proxy.test:{}\n", proxy.local().port());
    let server = probing(1, list).dns(&dns).start();
    becomes(&server, 0, "AP");
    assert_eq!(probe_of(&proxy, "gw0").uri(), "sip:gw0@127.0.0.9");
    server.stop();
}

#[test]
fn flag_16_looks_a_name_up_for_probes_only() {
    let dns = Dns::start();
    let gateway = Probed::start();
    dns.a("gw.test", 60, &[gateway.ip()]);
    let uri = format!("sip:gw.test:{}", gateway.local().port());
    let server = probing(1, format!("1 {uri} 16 9\n1 {uri};x=y 0 5\n")).dns(&dns).start();
    let found = become_all(&server, &["AP", "AP"]);
    assert_eq!([&found[0]["IPADDR"], &found[1]["IPADDR"]], [&json!(""), &json!(gateway.ip().to_string())]);
    assert_eq!(choices(&server, 8, 1), [uri]);
    server.stop();
}

#[test]
fn interval_of_a_destination_comes_before_that_of_all() {
    let gateways = Probed::start();
    let list = ["1", "2", "0"].iter().enumerate();
    let line =
        |(n, own): (usize, &&str)| format!("1 {} 0 0 duid=gw{n};ping_interval={own}\n", gateways.uri_of(n));
    let list: String = list.map(line).collect();
    let server = set(probing(1, list), "ds_ping_interval", 3).start();
    gateways.wait_for(16, SOON);
    for (n, interval) in [1.0, 2.0, 3.0].into_iter().enumerate() {
        let probes = gateways.probes_of(&format!("gw{n}"));
        let count = distinct(&probes);
        assert!(probes.len() == count && count >= 2, "gw{n}: {count} of {}", probes.len());
        let mean = (probes[count - 1].at - probes[0].at).as_secs_f64() / (count - 1) as f64;
        assert!((mean - interval).abs() < 0.15, "gw{n}: {mean}");
    }
    assert!(all(&server).iter().all(|one| one["FLAGS"] == "AP"));
    server.stop();
}
