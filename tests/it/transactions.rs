//! Counting when the module tm is loaded after this one, when it is not loaded, and with what tm does by itself.

use std::time::Duration;

use crate::calls::{
    self, NO_FAILOVER, all_over, assert_no_drift, at_one_and_eight_workers, hang_up_all, loads, obedient, up,
    with,
};
use crate::support::{Dns, Gateways, Kamailio, Over, eventually};

at_one_and_eight_workers! {
    calls_are_counted_where_tm_comes_after_the_module,
    calls_are_counted_without_tm,
    call_counts_on_while_dns_failover_goes_to_the_next_address,
    name_of_somebody_else_with_two_addresses_does_not_count,
    reply_that_the_script_drops_keeps_no_transaction,
}

const SOON: Duration = Duration::from_secs(4);
const GONE: Duration = Duration::from_secs(15);

fn calls_are_counted_where_tm_comes_after_the_module(workers: u32) {
    let gateways = obedient(2);
    let server = calls::relaying(workers, gateways.list(100, "maxload=3"), NO_FAILOVER).tm_after().start();
    let mut agent = server.agent();
    let mut held: Vec<_> = (0..6).map(|_| up(&mut agent)).collect();
    assert_eq!(loads(&server, 2), [3, 3]);
    let mut refused = agent.call();
    assert_eq!(agent.place(&mut refused).status(), Some(404));
    hang_up_all(&mut agent, &mut held);
    // It is bound, too: what is answered with a refusal is known by its branch.
    for answer in ["486", "180 503"] {
        let mut call = with(agent.call(), "X-Answer", answer);
        assert!(agent.place(&mut call).status() >= Some(400));
    }
    all_over(server);
}

/// `X-Do: nothing` selects and ends.
const STATELESS: &str = r#"
request_route {
	if (has_totag()) { loose_route(); if (is_method("BYE")) ds_load_update(); forward(); exit; }
	if (is_method("CANCEL")) { ds_load_update(); exit; }
	record_route();
	if (!ds_select_dst("100", "10")) { sl_send_reply("404", "No destination"); exit; }
	if ($hdr(X-Do) == "nothing") { sl_send_reply("480", "Not now"); exit; }
	if ($hdr(X-Do) == "lost") $du = "sip:no-such-host.invalid";
	if (!forward()) sl_send_reply("500", "Not sent");
}
onreply_route {
	if (!is_method("INVITE")) exit;
	if (status =~ "^2") ds_load_update();
	else if (status =~ "^[3-7]") ds_load_unset();
}
"#;

fn calls_are_counted_without_tm(workers: u32) {
    let gateways = obedient(2);
    let server = Kamailio::builder()
        .workers(workers)
        .without_tm()
        .list(gateways.list(100, "maxload=2"))
        .route(STATELESS)
        .start();
    let mut agent = server.agent();
    let mut held: Vec<_> = (0..4).map(|_| up(&mut agent)).collect();
    assert_eq!(loads(&server, 2), [2, 2]);
    let mut refused = agent.call();
    assert_eq!(agent.place(&mut refused).status(), Some(404));
    hang_up_all(&mut agent, &mut held);
    calls::let_scripts_end(&server);
    assert_eq!(loads(&server, 2), [0, 0]);
    for (name, value, status) in [("X-Answer", "486", 486), ("X-Do", "nothing", 480), ("X-Do", "lost", 500)] {
        for _ in 0..5 {
            let mut call = with(agent.call(), name, value);
            assert_eq!(agent.place(&mut call).status(), Some(status));
            eventually(value, SOON, || assert_no_drift(&server).calls == 0);
        }
    }
    server.stop();
}

/// A call to `sip:gw.test`, whose first SRV target refuses with 503 and whose second one rings until it is answered.
struct Named {
    dns: Dns,
    targets: Gateways,
}

fn named(name: &str) -> Named {
    let dns = Dns::start();
    let targets = Gateways::start(2, |gateway, request| match (request.method(), gateway) {
        (Some("INVITE"), 0) => vec![503],
        (Some("INVITE"), _) => vec![180],
        (Some("CANCEL"), _) => vec![487],
        _ => vec![200],
    });
    let hosts = [0, 1].map(|at| format!("t{at}.{name}"));
    let srv: Vec<_> =
        (0..2).map(|at| (at as u16 + 1, 1, targets.address(at).port(), hosts[at].as_str())).collect();
    dns.srv(&format!("_sip._{}.{name}", Over::now().name()), 60, &srv);
    for (at, host) in hosts.iter().enumerate() {
        let std::net::IpAddr::V4(address) = targets.address(at).ip() else { unreachable!() };
        dns.a(host, 60, &[address]);
    }
    Named { dns, targets }
}

const FAILOVER_BY_DNS: &str = "use_dns_failover=on\n";

fn call_counts_on_while_dns_failover_goes_to_the_next_address(workers: u32) {
    let Named { dns, targets } = named("gw.test");
    let list = format!("100 sip:gw.test{} 16 0 duid=gw0;maxload=1\n", Over::now().parameter());
    let server = calls::relaying(workers, list, NO_FAILOVER).dns(&dns).globals(FAILOVER_BY_DNS).start();
    let mut agent = server.agent();

    for n in 1..=3 {
        let mut call = agent.call();
        agent.ring(&mut call);
        assert_eq!(targets.counts("INVITE"), [n, n]);
        // The first target's 503 took the call off; the second branch counts again.
        eventually("it counts", SOON, || loads(&server, 1) == [1]);
        assert!(targets.answer(&call.id, 200));
        assert_eq!(agent.settle(&mut call).status(), Some(200));
        let audit = assert_no_drift(&server);
        assert_eq!((loads(&server, 1), audit.confirmed), (vec![1], 1));
        assert_eq!(agent.hang_up(&mut call), 200);
        assert_eq!(loads(&server, 1), [0]);
    }
    assert_eq!(assert_no_drift(&server).calls, 0);
    server.stop();
}

fn name_of_somebody_else_with_two_addresses_does_not_count(workers: u32) {
    let Named { dns, targets } = named("voicemail.test");
    let gateways = obedient(1);
    let failure = "ds_load_unset(); if (is_present_hf(\"X-Next\")) { $du = $hdr(X-Next); t_relay(); }";
    let server =
        calls::relaying(workers, gateways.list(100, ""), failure).dns(&dns).globals(FAILOVER_BY_DNS).start();
    let mut agent = server.agent();
    let next = format!("sip:voicemail.test{}", Over::now().parameter());
    let mut call = with(with(agent.call(), "X-Answer", "486"), "X-Next", &next);
    agent.ring(&mut call);
    assert_eq!(targets.counts("INVITE"), [1, 1]);
    assert_eq!(assert_no_drift(&server).calls, 0);
    assert!(targets.answer(&call.id, 200));
    assert_eq!(agent.settle(&mut call).status(), Some(200));
    assert_eq!(assert_no_drift(&server).calls, 0);
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}

fn reply_that_the_script_drops_keeps_no_transaction(workers: u32) {
    let gateways = obedient(1);
    let server = calls::relaying(workers, gateways.list(100, ""), NO_FAILOVER)
        .route(
            "request_route {\n\
             \tif (is_method(\"ACK\")) exit;\n\
             \tif (!ds_select_dst(\"100\", \"10\")) exit;\n\
             \tt_set_fr(\"700\", \"700\");\n\
             \tt_relay();\n}\n\
             onreply_route {\n\
             \tif (status =~ \"^2\") ds_load_update();\n\
             \tif (status =~ \"^[3-7]\") ds_load_unset();\n\
             \tdrop;\n}\n",
        )
        .start();
    let mut agent = server.agent();
    for answer in ["486", "503", "200"] {
        let mut call = with(agent.call(), "X-Answer", answer);
        assert_eq!(agent.place(&mut call).status(), Some(408), "{answer}");
    }
    let transactions = || server.rpc("tm.stats", serde_json::json!([])).unwrap()["current"].as_i64().unwrap();
    eventually("no transaction is left", GONE, || transactions() == 0);
    server.stop();
}
