//! A name as many destinations (`ds_dns_mode` 16): each target has its own state.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::server_config::Builder;
use crate::support::{Dns, Kamailio, Message, Probed, eventually, net};

const SOON: Duration = Duration::from_secs(15);

/// Takes the next destination of set 1 in turn and says which.
const ROUTE: &str = r#"
request_route {
    if (!ds_select_dst("1", "4")) { sl_send_reply("404", "No destination"); exit; }
    append_to_reply("X-To: $du\r\n");
    sl_send_reply("200", "Chosen");
    exit;
}
"#;

fn spreading(list: &str, mode: u32, dns: &Dns) -> Builder {
    let params = format!(
        "modparam(\"dispatcher\", \"ds_ping_interval\", 1)\nmodparam(\"dispatcher\", \"ds_ping_fr_timer\", 400)\n\
         modparam(\"dispatcher\", \"ds_probing_mode\", 1)\nmodparam(\"dispatcher\", \"ds_dns_mode\", {mode})\n\
         modparam(\"dispatcher\", \"ds_dns_interval\", 1)\n"
    );
    Kamailio::builder().list(list).modparam(&params).route(ROUTE).dns(dns)
}

/// The answer of the script, which is stateless: there is nothing to acknowledge.
fn ask(server: &Kamailio) -> Message {
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.send(&call.invite());
    agent.answer(&call, "INVITE")
}

fn chosen(server: &Kamailio) -> String {
    ask(server).header("X-To").unwrap_or_default().to_owned()
}

/// How often each destination is chosen in so many calls.
fn shares(server: &Kamailio, calls: usize) -> Vec<(String, usize)> {
    let mut shares = std::collections::BTreeMap::new();
    for _ in 0..calls {
        *shares.entry(chosen(server)).or_insert(0) += 1;
    }
    shares.into_iter().collect()
}

fn listed(server: &Kamailio) -> Vec<(String, String)> {
    let list = server.rpc("dispatcher.list", json!(["full"])).unwrap();
    let targets = list["RECORDS"][0]["SET"]["TARGETS"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    targets.iter().map(|one| (text(&one["DEST"]["URI"]), text(&one["DEST"]["FLAGS"]))).collect()
}

#[track_caller]
fn becomes(server: &Kamailio, wanted: &[(String, &str)]) {
    let wanted: Vec<_> = wanted.iter().map(|(uri, flags)| (uri.clone(), (*flags).to_owned())).collect();
    eventually(&format!("{wanted:?}, not {:?}", listed(server)), SOON, || listed(server) == wanted);
}

#[test]
fn one_of_three_srv_targets_dies_and_the_others_get_half_each() {
    let dns = Dns::start();
    let gateways: Vec<Probed> = (0..3).map(|_| Probed::start()).collect();
    let hosts = ["a.test", "b.test", "c.test"];
    let records: Vec<_> =
        gateways.iter().zip(hosts).map(|(gateway, host)| (10, 5, gateway.local().port(), host)).collect();
    dns.srv("_sip._udp.trunk.test", 1, &records);
    gateways.iter().zip(hosts).for_each(|(gateway, host)| dns.a(host, 1, &[gateway.ip()]));
    let mut server = spreading("1 sip:trunk.test 0 0 duid=trunk\n", 4 | 8 | 16, &dns).start();
    let uris: Vec<String> = gateways.iter().map(Probed::uri).collect();
    let all = |flags: [&'static str; 3]| uris.iter().cloned().zip(flags).collect::<Vec<_>>();

    becomes(&server, &all(["AP"; 3]));
    let even = |uris: &[String], each| {
        let mut even: Vec<_> = uris.iter().map(|uri| (uri.clone(), each)).collect();
        even.sort();
        even
    };
    assert_eq!(shares(&server, 30), even(&uris, 10));

    let mut gateways = gateways.into_iter();
    let (first, dead, third) = (gateways.next(), gateways.next().unwrap(), gateways.next());
    let address = dead.local();
    drop(dead);
    becomes(&server, &all(["AP", "IP", "AP"]));
    let left = [uris[0].clone(), uris[2].clone()];
    assert_eq!(shares(&server, 30), even(&left, 15));

    let back = Probed::at(address);
    becomes(&server, &all(["AP"; 3]));
    assert_eq!(shares(&server, 30), even(&uris, 10));
    drop((first, back, third));
    server.assert_healthy();
    server.stop();
}

#[test]
fn targets_come_and_go_with_the_records_and_stay_when_the_dns_is_gone() {
    let dns = Dns::start();
    let first = Probed::start();
    let port = first.local().port();
    let second = Probed::at((net::address(), port).into());
    dns.a("gw.test", 1, &[first.ip()]);
    let mut server = spreading(&format!("1 sip:gw.test:{port} 0 0 duid=g\n"), 4 | 16, &dns).start();
    becomes(&server, &[(first.uri(), "AP")]);

    dns.a("gw.test", 1, &[first.ip(), second.ip()]);
    let mut both = [(first.ip(), first.uri()), (second.ip(), second.uri())];
    both.sort();
    let both = both.map(|(_, uri)| (uri, "AP"));
    becomes(&server, &both);
    server.rpc("dispatcher.reload", json!([])).unwrap();
    assert_eq!(listed(&server).len(), 2, "a reload keeps the targets");

    dns.forget("gw.test");
    let lost = || {
        let list = server.rpc("dispatcher.list", json!(["full"])).unwrap();
        list["RECORDS"][0]["SET"]["TARGETS"][0]["DEST"]["HEALTH"]["NAME_LOST"] != json!(0)
    };
    eventually("the name is lost", SOON, lost);
    becomes(&server, &both);

    dns.a("gw.test", 1, &[second.ip()]);
    becomes(&server, &[(second.uri(), "AP")]);
    assert_eq!(chosen(&server), second.uri());
    server.assert_healthy();
    server.stop();
}

#[test]
fn line_is_disabled_as_a_whole_by_the_uri_that_was_written() {
    let dns = Dns::start();
    let gateway = Probed::start();
    let port = gateway.local().port();
    dns.a("gw.test", 60, &[gateway.ip(), net::address()]);
    let written = format!("sip:gw.test:{port}");
    let server = spreading(&format!("1 {written}\n"), 1 | 16, &dns).start();
    server.rpc("dispatcher.set_state", json!(["d", 1, written])).unwrap();
    assert!(listed(&server).iter().all(|(_, flags)| flags == "DX"), "{:?}", listed(&server));
    assert_eq!(listed(&server).len(), 2);
    assert_eq!(ask(&server).status(), Some(404));
    server.stop();
}

#[test]
fn line_is_changed_as_a_whole_and_keeps_states_and_the_weights_of_its_records() {
    let dns = Dns::start();
    let gateways = [Probed::start(), Probed::start()];
    let hosts = [("a.test", 30), ("b.test", 10)];
    let records: Vec<_> = gateways
        .iter()
        .zip(hosts)
        .map(|(gateway, (host, weight))| (10, weight, gateway.local().port(), host))
        .collect();
    dns.srv("_sip._udp.trunk.test", 600, &records);
    gateways.iter().zip(hosts).for_each(|(gateway, (host, _))| dns.a(host, 600, &[gateway.ip()]));
    // Looked at once: what a change loses stays lost.
    let server = spreading("1 sip:trunk.test 0 0 duid=trunk\n", 1 | 8 | 16, &dns).start();
    let uris = gateways.each_ref().map(Probed::uri);
    becomes(&server, &[(uris[0].clone(), "AP"), (uris[1].clone(), "AP")]);
    let full = || {
        let list = server.rpc("dispatcher.list", json!(["full"])).unwrap();
        let targets = list["RECORDS"][0]["SET"]["TARGETS"].as_array().cloned().unwrap_or_default();
        let attrs = |one: &Value| {
            let (dest, attrs) = (&one["DEST"], &one["DEST"]["ATTRS"]);
            json!([
                dest["URI"],
                dest["FLAGS"],
                dest["PRIORITY"],
                attrs["DUID"],
                attrs["WEIGHT"],
                attrs["MAXLOAD"]
            ])
        };
        Value::Array(targets.iter().map(attrs).collect())
    };
    let duids = uris.each_ref().map(|uri| format!("trunk/{}", uri.trim_start_matches("sip:")));
    assert_eq!(full(), json!([[uris[0], "AP", 0, duids[0], 30, 0], [uris[1], "AP", 0, duids[1], 10, 0]]));

    server.rpc("dispatcher.set_state", json!(["d", 1, uris[1]])).unwrap();
    let update = |params| server.rpc("dispatcher.update", params).map_err(|error| error.message);
    update(json!([1, "SIP:trunk.test", -1, 7, "duid=trunk;maxload=9"])).unwrap();
    let changed = json!([[uris[0], "AP", 7, duids[0], 30, 9], [uris[1], "DX", 7, duids[1], 10, 9]]);
    assert_eq!(full(), changed);
    // One of them has nothing of its own to change, and a duid is that of the line.
    for (uri, attrs, told) in [
        (uris[0].as_str(), "duid=trunk", "update that"),
        ("sip:trunk.test", &*format!("duid={}", duids[0]), "the duid must stay the same"),
        ("sip:trunk.test", "duid=other", "the duid must stay the same"),
    ] {
        let error = update(json!([1, uri, -1, -1, attrs])).unwrap_err();
        assert!(error.contains(told), "{told}: {error}");
    }
    assert_eq!(full(), changed);
    server.stop();
}

#[test]
fn name_that_means_nothing_waits_as_one_destination_that_is_down() {
    let dns = Dns::start();
    let gateway = Probed::start();
    let written = format!("sip:gw.test:{}", gateway.local().port());
    let server = spreading(&format!("1 {written}\n"), 4 | 16, &dns).start();
    becomes(&server, &[(written, "IP")]);
    dns.a("gw.test", 60, &[gateway.ip()]);
    becomes(&server, &[(gateway.uri(), "AP")]);
    server.stop();
}

#[test]
fn targets_behind_a_proxy_with_a_name_are_probed_through_it_and_their_line_is_not_lost() {
    let dns = Dns::start();
    let (proxy, gateway) = (Probed::start(), Probed::start());
    dns.a("proxy.test", 60, &[proxy.ip()]);
    dns.a("gw.test", 60, &[gateway.ip()]);
    let list = format!("1 sip:gw.test:{}\n", gateway.local().port());
    let through =
        format!("modparam(\"dispatcher\", \"outbound_proxy\", \"sip:proxy.test:{}\")", proxy.local().port());
    let server = spreading(&list, 4 | 16, &dns).modparam(&through).start();
    becomes(&server, &[(gateway.uri(), "AP")]);
    proxy.wait_for(3, SOON);
    becomes(&server, &[(gateway.uri(), "AP")]);
    assert_eq!(server.log_lines("does not resolve"), [""; 0]);
    server.stop();
}
