//! A destination whose name has not been resolved yet gets no call, however long the DNS does not answer.

use std::time::Duration;

use serde_json::json;

use crate::calls::with;
use crate::names::{SOON, becomes, first};
use crate::pace;
use crate::support::server_config::Builder;
use crate::support::{Dns, Kamailio, Probed, TYPE, Trouble, eventually, net};

/// Says where a call goes by the algorithm in X-Alg, or why not, and whether set 1 is active.
const ROUTE: &str = r#"
request_route {
	if (ds_is_active("1")) append_to_reply("X-Active: yes\r\n");
	$var(alg) = $(hdr(X-Alg){s.int});
	if (ds_select_dst("1", "$var(alg)")) append_to_reply("X-To: $du\r\n");
	else append_to_reply("X-Code: $dsv(code)\r\n");
	sl_send_reply("200", "OK");
	exit;
}
event_route[dispatcher:dst-down] { xlog("L_INFO", "EVENT down $ru\n"); }
event_route[dispatcher:dst-up] { xlog("L_INFO", "EVENT up $ru\n"); }
"#;

const ALL: [u32; 15] = [0, 1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 64];

/// The server waits for the DNS longer than that takes: nothing is found, and nothing fails, while a test looks.
const DNS_TIMEOUT: &str = "dns_retr_time=8";
const LATE: Trouble = Trouble::Delay(Duration::from_secs(6));

fn server(list: &str, dns_mode: u32, dns: &Dns) -> Builder {
    let mode = format!("modparam(\"dispatcher\", \"ds_dns_mode\", {dns_mode})");
    Kamailio::builder().list(list).modparam(&mode).route(ROUTE).globals(DNS_TIMEOUT).dns(dns)
}

/// Where a call goes, or the code of its refusal; and whether the set is active.
#[track_caller]
fn ask(server: &Kamailio, algorithm: u32) -> (Result<String, String>, bool) {
    let mut agent = server.agent();
    let mut call = with(agent.call(), "X-Alg", &algorithm.to_string());
    agent.send(&call.invite());
    let answer = agent.answer(&call, "INVITE");
    let field = |name: &str| answer.header(name).map(str::to_owned);
    (field("X-To").ok_or_else(|| field("X-Code").unwrap()), field("X-Active").is_some())
}

#[track_caller]
fn assert_takes_no_call(server: &Kamailio, flags: &str) {
    let one = first(server);
    assert_eq!(one["FLAGS"], flags, "{one}");
    assert_eq!(
        (&one["HEALTH"]["CODE"], &one["HEALTH"]["REASON"]),
        (&json!(478), &json!("the name has not been resolved yet"))
    );
    for algorithm in ALL {
        assert_eq!(ask(server, algorithm), (Err("-3".into()), false), "algorithm {algorithm}");
    }
    let told = server.rpc("dispatcher.explain", json!([1, 4])).unwrap();
    assert_eq!(told["TARGETS"][0]["DEST"]["WHY"], "its name has not been resolved yet");
    assert_eq!(server.rpc("dispatcher.stats", json!([1])).unwrap()[0]["UP"], 0);
}

/// It came by a reload, by `dispatcher.add`, and as a name of many destinations.
#[test]
fn name_that_nobody_has_resolved_takes_no_call_until_somebody_has() {
    for (mode, by_rpc) in [(1, false), (4, true), (1 | 16, false), (1 | 16, true)] {
        let dns = Dns::start();
        let address = net::address();
        dns.a("gw.test", 60, &[address]);
        dns.trouble("gw.test", LATE);
        let server = server("2 sip:127.0.0.1\n", mode, &dns).start();
        let attrs = "weight=1;rweight=1";
        if by_rpc {
            server.rpc("dispatcher.add", json!([1, "sip:gw.test:5070", 0, 1, attrs])).unwrap();
        } else {
            server.write_list(&format!("1 sip:gw.test:5070 0 1 {attrs}\n2 sip:127.0.0.1\n"));
            server.rpc("dispatcher.reload", json!([])).unwrap();
        }
        assert_takes_no_call(&server, "IX");
        dns.wait_for("gw.test", TYPE::A, 1, SOON);
        assert_takes_no_call(&server, "IX");
        // Nor does what somebody says of its state make it one.
        server.rpc("dispatcher.set_state", json!(["a", 1, "all"])).unwrap();
        assert_takes_no_call(&server, "IX");

        becomes(&server, "AX");
        let uri = if mode & 16 == 0 { "sip:gw.test:5070".into() } else { format!("sip:{address}:5070") };
        eventually("calls go there", SOON, || ask(&server, 4) == (Ok(uri.clone()), true));
        for algorithm in ALL {
            assert_eq!(ask(&server, algorithm), (Ok(uri.clone()), true), "algorithm {algorithm}");
        }
        server.stop();
    }
}

/// Destinations whose names are not looked up: by `ds_dns_mode` 0, or by flag 16.
#[test]
fn name_that_is_not_looked_up_takes_calls_at_once() {
    for (mode, flags, letters) in [(0, 0, "AX"), (1, 16, "AX"), (1 | 16, 16, "AX")] {
        let dns = Dns::start();
        dns.trouble("gw.test", Trouble::Timeout);
        let server = server(&format!("1 sip:gw.test:5070 {flags}\n"), mode, &dns).start();
        assert_eq!(first(&server)["FLAGS"], letters, "mode {mode}");
        assert_eq!(ask(&server, 4), (Ok("sip:gw.test:5070".into()), true), "mode {mode}");
        server.stop();
    }
}

#[test]
fn name_that_was_resolved_before_a_reload_stays_up_wherever_it_stands() {
    let dns = Dns::start();
    let address = net::address();
    dns.a("gw.test", 0, &[address]);
    let server = server("1 sip:gw.test:5070\n", 1, &dns).start();
    becomes(&server, "AX");
    dns.trouble("gw.test", Trouble::Timeout);
    // With other words, in another set, with other parameters, and in other letters.
    server
        .write_list("1 sip:gw.test:5070 0 0 note=1\n3 sip:GW.test:5070\n4 sip:gw.test:5071;transport=tcp\n");
    server.rpc("dispatcher.reload", json!([])).unwrap();
    let list = server.rpc("dispatcher.list", json!(["full"])).unwrap();
    for set in 0..3 {
        let one = &list["RECORDS"][set]["SET"]["TARGETS"][0]["DEST"];
        assert_eq!((&one["FLAGS"], &one["IPADDR"]), (&json!("AX"), &json!(address.to_string())), "{one}");
    }
    assert_eq!(ask(&server, 4), (Ok("sip:gw.test:5070".into()), true));
    server.stop();
}

#[test]
fn probed_name_is_up_as_soon_as_it_resolves() {
    let dns = Dns::start();
    let gateway = Probed::start();
    dns.a("gw.test", 60, &[gateway.ip()]);
    dns.trouble("gw.test", LATE);
    let uri = format!("sip:gw.test:{}", gateway.local().port());
    // The next probe is far away, as a rule; the other destination, where nobody answers, is not probed (32).
    let builder = pace::probing("2 sip:127.0.0.1 32\n", 600).route(ROUTE).globals(DNS_TIMEOUT).dns(&dns);
    let server = builder.start();
    server.rpc("dispatcher.add", json!([1, uri, 8])).unwrap();
    assert_takes_no_call(&server, "IP");
    becomes(&server, "AP");
    assert_eq!(ask(&server, 4), (Ok(uri), true));
    assert_eq!(server.log_lines("EVENT").len(), 0, "nobody was told that it was down");
    server.stop();
}
