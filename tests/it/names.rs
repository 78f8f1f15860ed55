//! Destinations whose host name stops resolving, or never resolved.

use std::time::Duration;

use serde_json::{Value, json};

use crate::pace;
use crate::support::server_config::Builder;
use crate::support::{Agent, Dns, Kamailio, Message, Probed, TYPE, Trouble, eventually, net, until};

pub const SOON: Duration = Duration::from_secs(15);

/// An INVITE is answered with where a call goes. A MESSAGE asks whether X-Uri is one of set 1, by its address.
pub const ROUTE: &str = r#"
request_route {
	if (is_method("MESSAGE")) {
		$var(uri) = $hdr(X-Uri);
		if (ds_is_from_list("1", "3", "$var(uri)")) sl_send_reply("200", "From The List");
		else sl_send_reply("403", "A Stranger");
		exit;
	}
	if (is_method("NOTIFY")) {
		if (ds_reload()) sl_send_reply("200", "Reloaded");
		else sl_send_reply("500", "Not Reloaded");
		exit;
	}
	if (!ds_select_dst("1", "4")) { sl_send_reply("404", "No destination"); exit; }
	append_to_reply("X-To: $du\r\n");
	sl_send_reply("200", "Chosen");
	exit;
}
event_route[dispatcher:dst-down] { xlog("L_INFO", "EVENT down $ru $dsv(code) $dsv(setid)\n"); }
event_route[dispatcher:dst-up] { xlog("L_INFO", "EVENT up $ru $dsv(code) $dsv(setid)\n"); }
"#;

/// Names are looked up as `mode` says, and each second where that is "now and then"; nothing is probed.
pub fn looking_up(list: &str, mode: u32, dns: &Dns) -> Builder {
    let params = format!(
        "modparam(\"dispatcher\", \"ds_dns_mode\", {mode})\nmodparam(\"dispatcher\", \"ds_dns_interval\", 1)"
    );
    Kamailio::builder().list(list).modparam(&params).route(ROUTE).dns(dns)
}

/// The answer of the script, which is stateless: there is nothing to acknowledge.
#[track_caller]
fn ask(agent: &mut Agent, method: &str, uri: &str) -> Message {
    let mut call = agent.call();
    agent.send(&call.within(method).with("X-Uri", uri));
    agent.answer(&call, method)
}

#[track_caller]
pub fn is_from_list(agent: &mut Agent, uri: &str) -> bool {
    match ask(agent, "MESSAGE", uri).status() {
        Some(200) => true,
        Some(403) => false,
        other => panic!("{other:?}"),
    }
}

/// Where a call goes, if anywhere.
#[track_caller]
pub fn chosen(agent: &mut Agent) -> Option<String> {
    ask(agent, "INVITE", "").header("X-To").map(str::to_owned)
}

/// The first destination of the first set, with everything that is known of it.
#[track_caller]
pub fn first(server: &Kamailio) -> Value {
    let list = server.rpc("dispatcher.list", json!(["full"])).unwrap();
    list["RECORDS"][0]["SET"]["TARGETS"][0]["DEST"].clone()
}

pub fn health(server: &Kamailio, field: &str) -> i64 {
    first(server)["HEALTH"][field].as_i64().unwrap()
}

#[track_caller]
pub fn becomes(server: &Kamailio, wanted: &str) {
    let flags = || first(server)["FLAGS"].as_str().unwrap().to_owned();
    eventually(&format!("{wanted}, not {}", first(server)), SOON, || flags() == wanted);
}

/// The events so far, in order, and the code of each.
fn events(server: &Kamailio, name: &str) -> Vec<String> {
    let lines = server.log_lines("EVENT ");
    let event = |line: &String| line.split("EVENT ").nth(1).unwrap_or_default().trim().to_owned();
    lines.iter().map(event).map(|event| event.replace(name, "it")).collect()
}

#[test]
fn probe_of_a_name_in_trouble_fails_at_once_and_thresholds_decide() {
    let dns = Dns::start();
    let gateway = Probed::start();
    dns.a("gw.test", 0, &[gateway.ip()]);
    let uri = format!("sip:gw.test:{}", gateway.local().port());
    let thresholds = "modparam(\"dispatcher\", \"ds_probing_threshold\", 3)\n\
                      modparam(\"dispatcher\", \"ds_inactive_threshold\", 2)\n\
                      modparam(\"dispatcher\", \"ds_dns_mode\", 1)";
    let builder = pace::probing(format!("1 {uri}\n"), 1).modparam(thresholds).route(ROUTE).dns(&dns);
    let mut server = builder.start();
    let mut agent = server.agent();
    becomes(&server, "AP");
    let mut wanted = Vec::new();
    for trouble in [Trouble::NxDomain, Trouble::ServFail, Trouble::Timeout] {
        dns.trouble("gw.test", trouble);
        becomes(&server, "TP");
        assert_eq!(chosen(&mut agent).as_ref(), Some(&uri), "below the threshold");
        becomes(&server, "IP");
        assert!(health(&server, "FAILURES") >= 3 && health(&server, "NAME_LOST") > 0, "{}", first(&server));
        assert_eq!(health(&server, "CODE"), 478);
        assert_eq!(chosen(&mut agent), None);
        let seen = gateway.probes().len();
        eventually("six failures", SOON, || health(&server, "FAILURES") >= 6);
        assert_eq!(gateway.probes().len(), seen, "there is nowhere to send a probe to");

        dns.no_trouble("gw.test");
        becomes(&server, "AP");
        assert_eq!((health(&server, "NAME_LOST"), health(&server, "CODE")), (0, 200));
        wanted.extend(["down it 478 1".to_owned(), "up it 200 1".to_owned()]);
        assert_eq!(events(&server, &uri), wanted, "one event each");
    }
    server.assert_healthy();
    server.stop();
}

#[test]
fn lost_name_serves_until_the_hold_is_over_and_again_when_it_is_back() {
    for trouble in [Trouble::NxDomain, Trouble::ServFail, Trouble::Timeout] {
        let dns = Dns::start();
        let address = net::address();
        dns.a("gw.test", 1, &[address]);
        let (uri, own) = ("sip:gw.test:5070", format!("sip:{address}"));
        let builder = looking_up(&format!("1 {uri}\n"), 4 | 1, &dns);
        let mut server = builder.modparam(r#"modparam("dispatcher", "ds_dns_hold", 3)"#).start();
        let mut agent = server.agent();
        becomes(&server, "AX");

        dns.trouble("gw.test", trouble);
        eventually("the name is lost", SOON, || health(&server, "NAME_LOST") > 0);
        let dest = first(&server);
        assert_eq!((&dest["FLAGS"], &dest["IPADDR"]), (&json!("AX"), &json!(address.to_string())), "{dest}");
        assert!(is_from_list(&mut agent, &own), "it keeps its address");
        assert_eq!(chosen(&mut agent).as_deref(), Some(uri), "calls still go");

        becomes(&server, "IX");
        let held = health(&server, "CHANGED") - health(&server, "NAME_LOST");
        // Looked at each second, which may take one if nobody answers.
        assert!((3..=6).contains(&held), "{trouble:?}: down after {held} seconds of 3");
        assert_eq!(health(&server, "CODE"), 478);
        assert!(is_from_list(&mut agent, &own), "it keeps its address");
        assert_eq!(chosen(&mut agent), None);
        dns.forget_queries();
        dns.wait_for("gw.test", TYPE::A, 2, SOON);
        assert_eq!(events(&server, uri), ["down it 478 1"]);

        dns.no_trouble("gw.test");
        becomes(&server, "AX");
        assert_eq!(health(&server, "NAME_LOST"), 0);
        assert_eq!(chosen(&mut agent).as_deref(), Some(uri));
        eventually("one event each", SOON, || events(&server, uri) == ["down it 478 1", "up it 200 1"]);
        server.assert_healthy();
        server.stop();
    }
}

/// A server that found a name, which is lost now, with `ds_dns_hold` of so many seconds.
#[track_caller]
fn found_and_lost(hold: i32) -> (Dns, Kamailio) {
    let dns = Dns::start();
    dns.a("gw.test", 1, &[net::address()]);
    let hold = format!("modparam(\"dispatcher\", \"ds_dns_hold\", {hold})");
    let server = looking_up("1 sip:gw.test\n", 4, &dns).modparam(&hold).start();
    becomes(&server, "AX");
    dns.forget("gw.test");
    (dns, server)
}

#[test]
fn hold_below_zero_never_takes_a_lost_name_down() {
    let (dns, server) = found_and_lost(-1);
    eventually("the name is lost", SOON, || health(&server, "NAME_LOST") > 0);
    dns.forget_queries();
    dns.wait_for("gw.test", TYPE::A, 4, SOON);
    becomes(&server, "AX");
    assert_eq!(events(&server, "sip:gw.test"), [""; 0]);
    assert!(chosen(&mut server.agent()).is_some());
    server.stop();
}

#[test]
fn without_a_hold_a_lost_name_is_down_at_once() {
    let (dns, server) = found_and_lost(0);
    becomes(&server, "IX");
    assert!(health(&server, "CHANGED") - health(&server, "NAME_LOST") <= 1);
    eventually("an event", SOON, || events(&server, "sip:gw.test") == ["down it 478 1"]);
    dns.a("gw.test", 1, &[net::address()]);
    becomes(&server, "AX");
    server.stop();
}

/// Also where a name is looked up only once: that is, until it has meant something.
#[test]
fn name_that_never_resolved_is_loaded_and_down_and_comes_up_by_itself() {
    for mode in [1, 4] {
        let dns = Dns::start();
        let address = net::address();
        let list = "1 sip:gw.test\n2 sip:127.0.0.1\n";
        let server = looking_up(list, mode, &dns).start();
        let mut agent = server.agent();
        becomes(&server, "IX");
        assert_eq!(health(&server, "CODE"), 478);
        let told = server
            .log_lines(".list:1:3: 'gw.test' does not resolve: the destination goes down until it does");
        assert_eq!(told.len(), 1, "{:?}", server.log_lines("does not resolve"));
        let own = format!("sip:{address}");
        assert_eq!((chosen(&mut agent), is_from_list(&mut agent, &own)), (None, false));
        eventually("one event", SOON, || events(&server, "sip:gw.test") == ["down it 478 1"]);

        dns.a("gw.test", 60, &[address]);
        becomes(&server, "AX");
        let there = || is_from_list(&mut agent, &own);
        assert!(until(SOON, there), "its address is known");
        assert_eq!(chosen(&mut agent).as_deref(), Some("sip:gw.test"));
        assert_eq!(events(&server, "sip:gw.test"), ["down it 478 1", "up it 200 1"]);
        server.stop();
    }
}
