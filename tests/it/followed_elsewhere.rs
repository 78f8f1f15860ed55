//! Calls that count themselves (`ds_load_auto`), where the script sends a request elsewhere than to what it selected, or selects late.

use std::time::Duration;

use crate::calls::{all_over, assert_no_drift, let_scripts_end, loads, obedient, ringing, set, with};
use crate::followed::proxy;
use crate::followed_dialogs::at_one_and_eight;
use crate::support::counting::{Counting, counted};
use crate::support::language::Language;
use crate::support::{Gateways, eventually};

const SOON: Duration = Duration::from_secs(10);

at_one_and_eight! {
    stateless_request_counts_where_the_script_sent_it,
    branch_to_an_address_counts_at_the_destination_there,
    branch_to_an_address_of_nobody_counts_nowhere,
    selection_in_a_branch_route_counts_until_the_calls_end,
}

const STATELESS: &str = r#"
request_route {
	if (has_totag()) { loose_route(); forward(); exit; }
	if (is_method("CANCEL")) { $du = $hdr(X-Next); forward(); exit; }
	record_route();
	if (!ds_select_dst("100", "4")) { sl_send_reply("404", "No destination"); exit; }
	if (is_present_hf("X-Next")) $du = $hdr(X-Next);
	forward();
}
"#;

fn stateless_request_counts_where_the_script_sent_it(workers: u32) {
    counted(Counting::Followed, || {
        let (gateways, others) = (obedient(2), obedient(1));
        let server = proxy(workers, gateways.list(100, "")).route(STATELESS).start();
        let mut agent = server.agent();
        for round in 0..4 {
            let mut call = with(agent.call(), "X-Next", &gateways.uri(1));
            assert_eq!(agent.place(&mut call).status(), Some(200));
            eventually("it counts where it went", SOON, || loads(&server, 2) == [0, 1]);
            assert_eq!(assert_no_drift(&server).confirmed, 1, "{round}");
            assert_eq!(agent.hang_up(&mut call), 200);
            let_scripts_end(&server);
            // To nobody that we know.
            let mut call = with(agent.call(), "X-Next", &others.uri(0));
            assert_eq!(agent.place(&mut call).status(), Some(200));
            eventually("it counts nowhere", SOON, || loads(&server, 2) == [0, 0]);
            assert_eq!(agent.hang_up(&mut call), 200);
            // Where it was selected.
            let mut call = agent.call();
            assert_eq!(agent.place(&mut call).status(), Some(200));
            assert_eq!(loads(&server, 2).iter().sum::<i64>(), 1, "{round}");
            assert_eq!(agent.hang_up(&mut call), 200);
            let_scripts_end(&server);
        }
        // One that rings.
        let mut call = with(with(agent.call(), "X-Next", &gateways.uri(1)), "X-Answer", "180");
        agent.ring(&mut call);
        eventually("it counts where it rings", SOON, || loads(&server, 2) == [0, 1]);
        assert_eq!(agent.cancel(&mut call), 487);
        let_scripts_end(&server);
        all_over(server);
    });
}

/// The proxy, which asks algorithm 8 (the first, here the last line), then sends to this address; `X-Way` says how.
fn to_address(gateways: &Gateways, gateway: usize) -> String {
    let (host, port) = (gateways.address(gateway).ip(), gateways.address(gateway).port());
    format!(
        r#"
request_route {{
	if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
	if (has_totag()) {{ if (loose_route()) t_relay(); else if (is_method("ACK") && t_check_trans()) t_relay(); exit; }}
	t_check_trans();
	record_route();
	if (!ds_select_dst("100", "8")) {{ send_reply("404", "No destination"); exit; }}
	if ($hdr(X-Way) == "host") t_relay_to_udp("{host}", "{port}");
	else if ($hdr(X-Way) == "proxy") t_relay_to("udp:{host}:{port}");
	else t_relay();
}}
"#
    )
}

/// What was selected and not sent there is released when the script ends, which another worker may be about to do.
fn branch_to_an_address_counts_at_the_destination_there(workers: u32) {
    let (gateways, others) = (obedient(2), obedient(1));
    let list = format!("{}200 {} 0 0 duid=gw2\n", gateways.list(100, ""), others.uri(0));
    // One of the same set, one of another.
    for (route, expected) in [(to_address(&gateways, 0), [1, 0, 0]), (to_address(&others, 0), [0, 0, 1])] {
        let server = proxy(workers, list.clone()).route(&route).start();
        let mut agent = server.agent();
        for way in ["host", "proxy"] {
            let mut call = with(with(agent.call(), "X-Way", way), "X-Answer", "180");
            agent.ring(&mut call);
            eventually(way, SOON, || loads(&server, 3) == expected);
            assert_eq!(agent.cancel(&mut call), 487);
            assert_eq!(loads(&server, 3), [0, 0, 0], "{way}");
            set(&mut call, "X-Answer", "200");
            let mut call = with(agent.call(), "X-Way", way);
            assert_eq!(agent.place(&mut call).status(), Some(200));
            eventually(way, SOON, || loads(&server, 3) == expected);
            assert_eq!(assert_no_drift(&server).confirmed, 1, "{way}");
            assert_eq!(agent.hang_up(&mut call), 200);
            assert_eq!(loads(&server, 3), [0, 0, 0], "{way}");
        }
        let mut call = agent.call();
        assert_eq!(agent.place(&mut call).status(), Some(200));
        assert_eq!(loads(&server, 3), [0, 1, 0]);
        assert_eq!(agent.hang_up(&mut call), 200);
        all_over(server);
    }
}

fn branch_to_an_address_of_nobody_counts_nowhere(workers: u32) {
    let (gateways, others) = (obedient(2), obedient(1));
    let server = proxy(workers, gateways.list(100, "")).route(&to_address(&others, 0)).start();
    let mut agent = server.agent();
    for way in ["host", "proxy"] {
        let mut call = with(agent.call(), "X-Way", way);
        assert_eq!(agent.place(&mut call).status(), Some(200));
        assert_eq!(others.of_call(&call.id), Some(0), "{way}");
        eventually(way, SOON, || loads(&server, 2) == [0, 0]);
        assert_eq!(agent.hang_up(&mut call), 200);
    }
    all_over(server);
}

/// Each branch is sent where its branch route says, which may be another than the main route selected. The native language has no
/// selection there.
const LATE: &str = r#"
function ksr_request_route()
	if KSR.is_OPTIONS() then KSR.sl.sl_send_reply(200, "Ready") return 1 end
	if KSR.is_CANCEL() then
		if KSR.tm.t_check_trans() > 0 then KSR.tm.t_relay() end
		return 1
	end
	if KSR.siputils.has_totag() > 0 then
		if KSR.rr.loose_route() > 0 then KSR.tm.t_relay()
		elseif KSR.is_ACK() and KSR.tm.t_check_trans() > 0 then KSR.tm.t_relay() end
		return 1
	end
	if KSR.tm.t_check_trans() == 0 then return 1 end
	KSR.rr.record_route()
	if KSR.hdr.is_present("X-Twice") > 0 and KSR.dispatcher.ds_select_dst(200, 8) < 0 then
		KSR.sl.send_reply(404, "No destination")
		return 1
	end
	if KSR.hdr.is_present("X-Two") > 0 then KSR.corex.append_branch_uri("sip:other@127.0.0.1") end
	KSR.tm.t_on_branch("ksr_branch_late")
	KSR.tm.t_on_failure("ksr_failure_again")
	KSR.tm.t_relay()
	return 1
end
function ksr_branch_late()
	local algorithm = tonumber(KSR.pv.gete("$hdr(X-Alg)")) or 10
	if KSR.dispatcher.ds_select_dst(100, algorithm) < 0 then KSR.err("no destination\n") end
	return 1
end
function ksr_failure_again()
	if KSR.tm.t_is_canceled() > 0 or KSR.tm.t_check_status("503") < 0 then return 1 end
	KSR.corex.append_branch()
	KSR.tm.t_on_branch("ksr_branch_late")
	KSR.tm.t_relay()
	return 1
end
"#;

fn selection_in_a_branch_route_counts_until_the_calls_end(workers: u32) {
    let (gateways, others) = (obedient(2), obedient(1));
    let list = format!("{}200 {} 0 0 duid=gw2\n", gateways.list(100, "maxload=5"), others.uri(0));
    if Language::Lua.is_missing() {
        return;
    }
    let server = Language::Lua.script(proxy(workers, list), LATE).start();
    let mut agent = server.agent();
    let sum = || loads(&server, 3).iter().sum::<i64>();
    for algorithm in ["4", "10"] {
        for twice in [false, true] {
            let call = |agent: &crate::support::Agent| {
                let call = with(agent.call(), "X-Alg", algorithm);
                if twice { with(call, "X-Twice", "1") } else { call }
            };
            let at = format!("algorithm {algorithm}, selected before: {twice}");
            let mut held = Vec::new();
            for n in 1..=4 {
                let mut call = call(&agent);
                assert_eq!(agent.place(&mut call).status(), Some(200), "{at}");
                assert_eq!((sum(), loads(&server, 3)[2]), (n, 0), "{at}");
                held.push(call);
            }
            assert_eq!(loads(&server, 3), [2, 2, 0], "{at}");
            crate::calls::hang_up_all(&mut agent, &mut held);
            assert_eq!(sum(), 0, "{at}");
            for (answers, status) in [("486", 486), ("503", 503), ("0", 408)] {
                let mut call = with(call(&agent), "X-Answer", answers);
                let got = agent.place(&mut call).status();
                assert!(
                    got == Some(status) || answers == "503" && got == Some(500),
                    "{at}: {answers}: {got:?}"
                );
                eventually("it is over", SOON, || sum() == 0);
            }
            let mut call = with(call(&agent), "X-Answer", "180");
            agent.ring(&mut call);
            assert_eq!(sum(), 1, "{at}");
            assert_eq!(agent.cancel(&mut call), 487, "{at}");
            assert_eq!(sum(), 0, "{at}");
        }
    }
    // Two branches, one after the other: each counts where it rings, and in the end one.
    let mut call = with(with(with(agent.call(), "X-Alg", "4"), "X-Two", "1"), "X-Answer", "180");
    agent.ring(&mut call);
    assert!(gateways.await_total("INVITE", 1, SOON));
    eventually("both ring", SOON, || loads(&server, 3) == [1, 1, 0]);
    assert!(gateways.answer(&call.id, 200));
    assert_eq!(agent.settle(&mut call).status(), Some(200));
    eventually("one was answered", SOON, || sum() == 1);
    assert_eq!(agent.hang_up(&mut call), 200);
    eventually("it is over", SOON, || sum() == 0);
    // One that nobody has room for.
    let mut held: Vec<_> = (0..10).map(|_| ringing(&mut agent)).collect();
    assert_eq!(sum(), 10);
    for call in &mut held {
        assert_eq!(agent.cancel(call), 487);
    }
    assert_eq!(sum(), 0);
    all_over(server);
}
