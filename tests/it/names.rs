//! Names that do not resolve: what becomes of their destinations, with probes and without.

use serde_json::{Value, json};

use crate::harness_probing::{SOON, becomes};
use crate::support::server_config::Builder;
use crate::support::{Agent, Dns, Kamailio, Probed, TYPE, Trouble, distinct, eventually, net};

/// A MESSAGE reloads, an INFO asks whether `X-Uri` is from the list, an INVITE is told where it would go.
const ROUTE: &str = r#"
request_route {
	if (is_method("MESSAGE")) { if (ds_reload()) sl_send_reply("200", "OK"); else sl_send_reply("500", "No"); exit; }
	if (is_method("INFO")) {
		if (ds_is_from_list("1", "0", "$hdr(X-Uri)")) sl_send_reply("200", "Is"); else sl_send_reply("404", "Is Not");
		exit;
	}
	if (is_method("ACK")) exit;
	if (!ds_select_dst("1", "4")) { sl_send_reply("503", "No Destination"); exit; }
	append_to_reply("X-To: $du\r\n");
	sl_send_reply("200", "Chosen");
}
event_route[dispatcher:dst-up] { xlog("L_NOTICE", "EVENT up $ru $dsv(code)\n"); }
event_route[dispatcher:dst-down] { xlog("L_NOTICE", "EVENT down $ru $dsv(code)\n"); }
"#;

/// Nobody is probed; names are looked up in this `ds_dns_mode`, each second where that has an interval.
pub fn unprobed(list: &str, dns: &Dns, mode: u32) -> Builder {
    let params = format!(
        "modparam(\"dispatcher\", \"ds_dns_mode\", {mode})\nmodparam(\"dispatcher\", \"ds_dns_interval\", 1)"
    );
    Kamailio::builder().list(list).route(ROUTE).modparam(&params).dns(dns)
}

/// The same, and all are probed each second. What tm itself would wait for an answer is much longer than a test.
pub fn probed(list: &str, dns: &Dns, mode: u32) -> Builder {
    unprobed(list, dns, mode).modparam(
        "modparam(\"dispatcher\", \"ds_ping_interval\", 1)\nmodparam(\"dispatcher\", \"ds_probing_mode\", 1)\n\
         modparam(\"tm\", \"fr_timer\", 30000)",
    )
}

/// All destinations of `dispatcher.list full`, in order.
#[track_caller]
pub fn full(server: &Kamailio) -> Vec<Value> {
    let list = server.rpc("dispatcher.list", json!(["full"])).unwrap_or_else(|error| panic!("{error:?}"));
    let sets = list["RECORDS"].as_array().cloned().unwrap_or_default();
    let targets = sets.iter().flat_map(|set| set["SET"]["TARGETS"].as_array().cloned().unwrap_or_default());
    targets.map(|target| target["DEST"].clone()).collect()
}

/// The only destination.
#[track_caller]
pub fn only(server: &Kamailio) -> Value {
    let mut all = full(server);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Whether the script finds this URI in set 1.
#[track_caller]
pub fn is_from(agent: &mut Agent, uri: &str) -> bool {
    let mut call = crate::calls::with(agent.call(), "X-Uri", uri);
    agent.send(&call.within("INFO"));
    match agent.answer(&call, "INFO").status() {
        Some(200) => true,
        Some(404) => false,
        other => panic!("{other:?}"),
    }
}

/// Where an INVITE would go; empty if nowhere.
#[track_caller]
pub fn chosen(agent: &mut Agent) -> String {
    let mut call = agent.call();
    agent.send(&call.invite());
    agent.answer(&call, "INVITE").header("X-To").unwrap_or_default().to_owned()
}

/// What the event routes have said, in order: `down sip:gw.test 478`.
pub fn events(server: &Kamailio) -> Vec<String> {
    let lines = server.log_lines("EVENT ");
    lines.iter().filter_map(|line| line.split_once("EVENT ").map(|(_, event)| event.to_owned())).collect()
}

#[test]
fn probes_of_a_lost_name_fail_at_once_until_the_threshold_and_come_back_with_the_name() {
    for trouble in [Trouble::NxDomain, Trouble::ServFail, Trouble::Timeout] {
        let (dns, gateway) = (Dns::start(), Probed::start());
        dns.a("gw.test", 0, &[gateway.ip()]);
        let uri = format!("sip:gw.test:{}", gateway.local().port());
        let threshold = r#"modparam("dispatcher", "ds_probing_threshold", 2)"#;
        let server = probed(&format!("1 {uri}\n"), &dns, 1).modparam(threshold).start();
        becomes(&server, "AP");
        gateway.wait_for(2, SOON);
        assert_eq!(only(&server)["HEALTH"]["NAME_LOST"], 0);

        dns.trouble("gw.test", trouble);
        let mut one = Value::Null;
        eventually(&format!("{trouble:?}: two failures"), SOON, || {
            one = only(&server);
            let health = &one["HEALTH"];
            assert!(one["FLAGS"] != "IP" || health["FAILURES"].as_i64() >= Some(2), "{one}");
            health["FAILURES"].as_i64() >= Some(2)
        });
        assert_eq!(
            (&one["FLAGS"], &one["HEALTH"]["CODE"]),
            (&json!("IP"), &json!(478)),
            "{trouble:?}: {one}"
        );
        assert_ne!(one["HEALTH"]["NAME_LOST"], 0);
        gateway.forget();
        eventually("more failures", SOON, || only(&server)["HEALTH"]["FAILURES"].as_i64() >= Some(4));
        assert_eq!(distinct(&gateway.probes()), 0, "nothing is sent to what a name once meant");
        assert_eq!(events(&server), [format!("down {uri} 478")], "{trouble:?}");

        dns.no_trouble("gw.test");
        becomes(&server, "AP");
        assert_eq!(only(&server)["HEALTH"]["NAME_LOST"], 0);
        assert_eq!(events(&server), [format!("down {uri} 478"), format!("up {uri} 200")], "{trouble:?}");
        server.stop();
    }
}

#[test]
fn name_that_nobody_probes_serves_on_until_the_hold_is_over_and_is_back_with_the_dns() {
    for trouble in [Trouble::NxDomain, Trouble::ServFail, Trouble::Timeout] {
        let (dns, address) = (Dns::start(), net::address());
        dns.a("gw.test", 0, &[address]);
        let hold = r#"modparam("dispatcher", "ds_dns_hold", 2)"#;
        let server = unprobed("1 sip:gw.test:5070\n", &dns, 5).modparam(hold).start();
        let (mut agent, literal) = (server.agent(), format!("sip:{address}:5070"));
        assert!(is_from(&mut agent, &literal));

        dns.trouble("gw.test", trouble);
        let mut one = Value::Null;
        eventually("the name is lost", SOON, || {
            one = only(&server);
            one["HEALTH"]["NAME_LOST"] != 0
        });
        assert_eq!((&one["FLAGS"], &one["IPADDR"]), (&json!("AX"), &json!(address.to_string())), "{one}");
        becomes(&server, "IX");
        one = only(&server);
        assert_eq!((&one["HEALTH"]["CODE"], &one["IPADDR"]), (&json!(478), &json!(address.to_string())));
        let time = |field: &str| one["HEALTH"][field].as_i64().unwrap();
        let held = time("CHANGED") - time("NAME_LOST");
        assert!((2..=6).contains(&held), "two seconds, and what a look takes: {one}");
        assert!(is_from(&mut agent, &literal), "what it sends is known all the same");
        assert_eq!(chosen(&mut agent), "");
        dns.forget_queries();
        dns.wait_for("gw.test", TYPE::A, 3, SOON);
        assert_eq!(events(&server), ["down sip:gw.test:5070 478"], "{trouble:?}");

        dns.no_trouble("gw.test");
        becomes(&server, "AX");
        assert_eq!(chosen(&mut agent), "sip:gw.test:5070");
        assert_eq!(only(&server)["HEALTH"]["NAME_LOST"], 0);
        assert_eq!(events(&server), ["down sip:gw.test:5070 478", "up sip:gw.test:5070 200"], "{trouble:?}");
        server.stop();
    }
}

#[test]
fn hold_of_minus_one_keeps_it_up_for_ever() {
    let (dns, address) = (Dns::start(), net::address());
    dns.a("gw.test", 0, &[address]);
    let hold = r#"modparam("dispatcher", "ds_dns_hold", -1)"#;
    let server = unprobed("1 sip:gw.test:5070\n", &dns, 4).modparam(hold).start();
    let mut agent = server.agent();
    dns.forget("gw.test");
    eventually("the name is lost", SOON, || only(&server)["HEALTH"]["NAME_LOST"] != 0);
    dns.forget_queries();
    dns.wait_for("gw.test", TYPE::A, 4, SOON);
    let one = only(&server);
    assert!(one["FLAGS"] == "AX" && one["HEALTH"]["NAME_LOST"] != 0, "{one}");
    assert_eq!(chosen(&mut agent), "sip:gw.test:5070");
    assert!(is_from(&mut agent, &format!("sip:{address}:5070")));
    assert!(events(&server).is_empty(), "{:?}", events(&server));
    server.stop();
}

#[test]
fn name_that_never_resolved_is_loaded_and_down_and_comes_up_by_itself() {
    for with_probes in [false, true] {
        let (dns, gateway) = (Dns::start(), Probed::start());
        let uri = format!("sip:new.test:{}", gateway.local().port());
        let (list, up, down) = (format!("1 {uri}\n"), "AX AP", "IX IP");
        let builder = if with_probes { probed(&list, &dns, 4) } else { unprobed(&list, &dns, 4) };
        let server = builder.start();
        let (mut agent, word) = (server.agent(), usize::from(with_probes));
        let word = |words: &'static str| words.split(' ').nth(word).unwrap();
        becomes(&server, word(down));
        let one = only(&server);
        assert_eq!((&one["HEALTH"]["CODE"], &one["IPADDR"]), (&json!(478), &json!("")), "{one}");
        assert_eq!(chosen(&mut agent), "");
        assert_eq!(server.log_lines("'new.test' does not resolve: the destination is down until").len(), 1);

        dns.a("new.test", 0, &[gateway.ip()]);
        becomes(&server, word(up));
        assert_eq!(chosen(&mut agent), uri);
        eventually("its address is known", SOON, || is_from(&mut agent, &gateway.uri()));
        assert_eq!(events(&server), [format!("down {uri} 478"), format!("up {uri} 200")]);
        server.stop();
    }
}

#[test]
fn stock_module_leaves_a_destination_out_whose_name_does_not_resolve() {
    let (dns, address) = (Dns::start(), net::address());
    for (stock, loaded) in [(true, 1), (false, 2)] {
        let list = format!("1 sip:{address}:5070\n");
        let builder = unprobed(&list, &dns, 1).modparam(r#"modparam("dispatcher", "reload_delta", 0)"#);
        let server = if stock { builder.stock() } else { builder }.start();
        server.write_list(&format!("{list}1 sip:new.test:5070\n"));
        server.rpc("dispatcher.reload", json!([])).unwrap();
        assert_eq!(server.list().len(), loaded);
        server.stop();
    }
}
