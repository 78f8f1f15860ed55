//! Two configurations like those of real platforms: each routes the same calls the same way with the stock module and with ours.

use std::time::Duration;

use serde_json::json;

use crate::calls::set;
use crate::support::server_config::Builder;
use crate::support::{Agent, Gateways, Kamailio, Message, until};

/// What both have: dialogs, CANCEL, and the next gateway when one refuses.
const COMMON: &str = r#"
request_route {
	if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
	if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
	if (has_totag()) {
		if (is_method("ACK") && t_check_trans()) { t_relay(); exit; }
		if (loose_route()) t_relay(); else sl_send_reply("404", "Not here");
		exit;
	}
	t_check_trans();
	remove_hf("Route");
	record_route();
	route(SELECT);
	t_on_failure("NEXT");
	t_relay();
}
"#;

/// A softswitch front: sets 1 and 2 are primary and backup gateways, 3 are trunks that only call, 9 is the inside.
const SOFTSWITCH: &str = r#"
route[SELECT] {
	$var(from) = 0;
	if (ds_is_from_list("-1", "2") && $var(from) != 9) {
		append_hf("X-From: set $var(from)\r\n");
		if (!ds_select_dst("9", "4")) { sl_send_reply("503", "Inside is down"); exit; }
		return;
	}
	append_hf("X-From: elsewhere\r\n");
	if (!ds_select_routes("1=8;2=4", "d")) { sl_send_reply("503", "No gateway"); exit; }
}
failure_route[NEXT] {
	if (t_is_canceled()) exit;
	if (t_check_status("408|5[0-9][0-9]") && ds_next_dst()) { t_on_failure("NEXT"); t_relay(); exit; }
}
"#;

/// A carrier front: the set is what the caller's account says, the gateway's attributes say how to send the number.
const CARRIER: &str = r#"
route[SELECT] {
	$var(account) = $(hdr(X-Account){s.int});
	$var(group) = 400 + $var(account);
	if (!ds_list_exists("$var(group)")) { sl_send_reply("403", "No such account"); exit; }
	if (!ds_select_dst("$var(group)", "4", "3")) { sl_send_reply("503", "No carrier"); exit; }
	route(PREPARE);
}
route[PREPARE] {
	append_hf("X-Attrs: $xavp(carriers=>attrs)\r\n");
	append_hf("X-Group: $xavp(carriers=>grp) of $xavp(choice=>cnt)\r\n");
}
failure_route[NEXT] {
	if (t_is_canceled()) exit;
	if (!t_check_status("408|5[0-9][0-9]")) exit;
	ds_mark_dst("ip");
	if (ds_next_dst()) { route(PREPARE); t_on_failure("NEXT"); t_relay(); exit; }
}
"#;

/// Gateways that refuse with 503 where their number is in `X-Dead`.
fn gateways() -> Gateways {
    Gateways::start(5, |gateway, request| {
        let dead = request.header("X-Dead").unwrap_or_default();
        let dead = dead.split(' ').any(|one| one == gateway.to_string());
        match request.method() {
            Some("INVITE") if dead => vec![503],
            Some("INVITE") => vec![180, 200],
            _ => vec![200],
        }
    })
}

/// A call, and its end if it was answered: the answer, then each INVITE that a gateway got, with the headers that the
/// script made.
#[track_caller]
fn call(agent: &mut Agent, gateways: &Gateways, headers: &[(&str, &str)]) -> Vec<String> {
    let mut call = agent.call();
    for (name, value) in headers {
        set(&mut call, name, value);
    }
    let answer = agent.place(&mut call);
    if answer.status() == Some(200) {
        assert_eq!(agent.hang_up(&mut call), 200);
    }
    let made = |message: &Message| {
        let ours = ["X-From", "X-Attrs", "X-Group"];
        let ours = message.headers.iter().filter(|(name, _)| ours.contains(&name.as_str()));
        ours.map(|(name, value)| format!(" {name}: {value}")).collect::<String>()
    };
    let received = gateways.received();
    let invites =
        received.iter().filter(|r| r.message.method() == Some("INVITE") && r.message.call_id() == call.id);
    std::iter::once(answer.start)
        .chain(invites.map(|r| format!("gw{}{}", r.gateway, made(&r.message))))
        .collect()
}

/// The flags of each destination.
fn states(server: &Kamailio) -> Vec<String> {
    let mut states: Vec<String> =
        server.list().iter().map(|one| format!("{} {}", one.duid, one.flags)).collect();
    states.sort();
    states
}

/// Runs the same with both modules, and gives what they agree on.
#[track_caller]
fn both(builder: impl Fn() -> Builder, run: impl Fn(&Kamailio) -> Vec<Vec<String>>) -> Vec<Vec<String>> {
    let [ours, stock] = [builder(), builder().stock()].map(|builder| {
        let server = builder.start();
        let seen = run(&server);
        server.stop();
        seen
    });
    for (step, (ours, stock)) in std::iter::zip(&ours, &stock).enumerate() {
        assert_eq!(ours, stock, "ours and the stock module's, step {step}");
    }
    ours
}

#[test]
fn softswitch_front_routes_as_with_the_stock_module() {
    let gateways = gateways();
    let uri = |n| gateways.uri(n);
    let list = format!(
        "# primary\n1 {} 0 10 duid=p0\n1 {} 0 5 duid=p1\n\n# backup\n2 {} 0 0 duid=b0\n2 {} 0 0 duid=b1\n\
         # inside\n9 {} 0 0 duid=in\n",
        uri(0),
        uri(1),
        uri(2),
        uri(3),
        uri(4)
    );
    let builder = || {
        let params = "modparam(\"dispatcher\", \"flags\", 2)\nmodparam(\"dispatcher\", \"reload_delta\", 0)\n\
                      modparam(\"dispatcher\", \"setid_pvname\", \"$var(from)\")";
        Kamailio::builder().workers(2).list(&*list).modparam(params).route(&format!("{COMMON}{SOFTSWITCH}"))
    };
    let seen = both(builder, |server| {
        let (mut outside, mut trunk) = (server.agent(), server.agent());
        server.write_list(&format!("{list}3 sip:{} 0 0 duid=trunk\n", trunk.local()));
        server.rpc("dispatcher.reload", json!([])).unwrap();
        assert!(until(Duration::from_secs(5), || server.list().len() == 6));
        let mut seen: Vec<Vec<String>> =
            ["", "0", "0 1", "0 1 2 3"].map(|dead| call(&mut outside, &gateways, &[("X-Dead", dead)])).into();
        seen.push(call(&mut trunk, &gateways, &[]));
        server.rpc("dispatcher.set_state", json!(["i", 1, gateways.uri(0)])).unwrap();
        seen.push(call(&mut outside, &gateways, &[]));
        server.rpc("dispatcher.set_state", json!(["d", 1, "all"])).unwrap();
        seen.push(call(&mut outside, &gateways, &[]));
        server.rpc("dispatcher.set_state", json!(["i", 2, "all"])).unwrap();
        seen.push(call(&mut outside, &gateways, &[]));
        server.rpc("dispatcher.set_state", json!(["i", 9, "all"])).unwrap();
        seen.push(call(&mut trunk, &gateways, &[]));
        seen.push(states(server));
        seen
    });
    assert_eq!(seen[0], ["SIP/2.0 200 OK", "gw0 X-From: elsewhere"]);
    assert_eq!(seen[1].len(), 3, "{seen:?}");
    assert_eq!(seen[3][0], "SIP/2.0 500 Service Unavailable", "as tm forwards a 503");
    assert_eq!(seen[4], ["SIP/2.0 200 OK", "gw4 X-From: set 3"]);
    assert_eq!(seen[5], ["SIP/2.0 200 OK", "gw1 X-From: elsewhere"]);
    assert_eq!(
        (&*seen[7], &*seen[8]),
        (&["SIP/2.0 503 No gateway".to_owned()][..], &["SIP/2.0 503 Inside is down".to_owned()][..])
    );
}

#[test]
fn carrier_front_routes_as_with_the_stock_module() {
    let gateways = gateways();
    let uri = |n| gateways.uri(n);
    let list = format!(
        "401 {} 0 0 duid=a;prefix=00\n401 {} 0 0 duid=b;prefix=+\n401 {} 0 0 duid=c;strip=2\n401 {} 0 0 duid=d\n402 {} 0 0\n",
        uri(0),
        uri(1),
        uri(2),
        uri(3),
        uri(4)
    );
    let builder = || {
        let params = r#"
modparam("dispatcher", "flags", 2)
modparam("dispatcher", "xavp_dst", "carriers")
modparam("dispatcher", "xavp_ctx", "choice")
modparam("dispatcher", "force_dst", 1)
"#;
        Kamailio::builder().workers(2).list(&*list).modparam(params).route(&format!("{COMMON}{CARRIER}"))
    };
    let seen = both(builder, |server| {
        let mut caller = server.agent();
        let asked = [
            ("1", ""),
            ("1", ""),
            ("1", ""),
            ("2", ""),
            ("7", ""),
            ("1", "0 3"),
            ("1", "1 2"),
            ("1", ""),
            ("2", "4"),
            ("2", ""),
        ];
        let mut seen = Vec::new();
        for (account, dead) in asked {
            seen.push(call(&mut caller, &gateways, &[("X-Account", account), ("X-Dead", dead)]));
            seen.push(states(server));
        }
        seen
    });
    assert_eq!(seen[0][0], "SIP/2.0 200 OK");
    assert!(seen[0][1].contains("X-Group: 401 of 3"), "{seen:?}");
    assert_eq!(seen[8], ["SIP/2.0 403 No such account"]);
    assert!(seen.concat().iter().any(|text| text.contains("prefix=00")), "{seen:?}");
    assert!(seen.concat().iter().any(|text| text == "a IP"), "{seen:?}");
    assert_eq!(seen[18], ["SIP/2.0 503 No carrier"]);
}
