//! Calls that count themselves (`ds_load_auto`): no word of counting in the script. The tests of call load run in this way, too
//! (`calls::at_one_and_eight_workers`); here is what only this way does.

use std::time::Duration;

use crate::branches::dialog;
use crate::calls::{all_over, assert_no_drift, hang_up_all, loads, obedient, ringing, set, up, with};
use crate::support::over::{Over, over};
use crate::support::server_config::Builder;
use crate::support::{Gateways, Kamailio, Message, eventually};

const SOON: Duration = Duration::from_secs(10);

/// The shortest proxy; `X-Alg` names the algorithm. A request with `X-Forged` is challenged, dropped or answered in its place.
const PROXY: &str = r#"
request_route {
	if ($hdr(X-Forged) == "challenge") { sl_send_reply("401", "Unauthorized"); exit; }
	if ($hdr(X-Forged) == "tm") { t_newtran(); t_reply("407", "Proxy Authentication Required"); exit; }
	if ($hdr(X-Forged) == "drop") exit;
	if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
	if (has_totag()) { if (loose_route()) t_relay(); else if (is_method("ACK") && t_check_trans()) t_relay(); exit; }
	t_check_trans();
	record_route();
	$var(alg) = 10;
	if (is_present_hf("X-Alg")) $var(alg) = $(hdr(X-Alg){s.int});
	if (!ds_select_dst("100", "$var(alg)")) { send_reply("404", "No destination"); exit; }
	if (is_present_hf("X-Self")) { send_reply("486", "Busy here"); exit; }
	if (is_present_hf("X-Next")) t_on_failure("ELSEWHERE");
	t_relay();
}
failure_route[ELSEWHERE] { if (t_is_canceled()) exit; $du = $hdr(X-Next); t_relay(); }
"#;

pub fn proxy(workers: u32, list: impl Into<String>) -> Builder {
    let follows = "modparam(\"dispatcher\", \"ds_load_auto\", 1)\nmodparam(\"tm\", \"fr_timer\", 1000)";
    Kamailio::builder().workers(workers).list(list).route(PROXY).modparam(follows)
}

fn sum(server: &Kamailio, count: usize) -> i64 {
    loads(server, count).iter().sum()
}

#[test]
fn calls_of_every_algorithm_count_until_their_end_from_either_side() {
    let gateways = obedient(3);
    // Only algorithm 10 looks at the limit.
    let server = proxy(8, gateways.list(100, "maxload=2;weight=33;rweight=33")).start();
    let mut agent = server.agent();
    for algorithm in ["0", "2", "4", "6", "8", "9", "11", "13", "14"] {
        let mut calls: Vec<_> = (0..9).map(|_| with(agent.call(), "X-Alg", algorithm)).collect();
        for call in &mut calls {
            assert_eq!(agent.place(call).status(), Some(200), "algorithm {algorithm}");
        }
        let at =
            |gateway| calls.iter().filter(|call| gateways.of_call(&call.id) == Some(gateway)).count() as i64;
        assert_eq!(loads(&server, 3), [at(0), at(1), at(2)], "algorithm {algorithm}");
        let (ours, theirs) = calls.split_at_mut(4);
        hang_up_all(&mut agent, ours);
        assert_eq!(sum(&server, 3), 5, "algorithm {algorithm}");
        for call in &*theirs {
            gateways.hang_up(&call.id);
            let bye =
                agent.receive_where(SOON, |m: &Message| m.method() == Some("BYE") && m.call_id() == call.id);
            agent.reply(&bye.expect("the gateway's BYE"), 200);
        }
        eventually("all are empty", SOON, || sum(&server, 3) == 0);
        assert_no_drift(&server);
    }
    all_over(server);
}

#[test]
fn refused_cancelled_and_silent_calls_count_nowhere() {
    let gateways = obedient(2);
    let server = proxy(8, gateways.list(100, "")).start();
    let mut agent = server.agent();
    for algorithm in ["4", "10"] {
        for (answers, status) in [("486", 486), ("180 603", 603), ("302", 302), ("407", 407), ("0", 408)] {
            let mut call = with(with(agent.call(), "X-Answer", answers), "X-Alg", algorithm);
            assert_eq!(agent.place(&mut call).status(), Some(status), "{algorithm}: {answers}");
            assert_eq!(sum(&server, 2), 0, "{algorithm}: {answers}");
        }
        let mut call = with(with(agent.call(), "X-Answer", "180"), "X-Alg", algorithm);
        agent.ring(&mut call);
        assert_eq!(sum(&server, 2), 1);
        assert_eq!(agent.cancel(&mut call), 487);
        assert_eq!(sum(&server, 2), 0);
        // The script answers by itself.
        let mut call = with(with(agent.call(), "X-Self", "1"), "X-Alg", algorithm);
        assert_eq!(agent.place(&mut call).status(), Some(486));
        eventually("a call that went nowhere counts nowhere", SOON, || sum(&server, 2) == 0);
    }
    all_over(server);
}

#[test]
fn count_moves_with_a_branch_that_the_script_sends_elsewhere_by_hand() {
    let gateways = Gateways::start(3, |gateway, request| match (request.method(), gateway) {
        (Some("INVITE"), 0) => vec![503],
        (Some("INVITE"), 1) => vec![],
        _ => vec![200],
    });
    let server = proxy(8, gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut held = Vec::new();
    for _ in 0..6 {
        let mut call = with(with(agent.call(), "X-Next", &gateways.uri(2)), "X-Alg", "4");
        assert_eq!(agent.place(&mut call).status(), Some(200));
        held.push(call);
        assert_eq!(loads(&server, 3), [0, 0, held.len() as i64]);
    }
    assert!(gateways.counts("INVITE")[..2].iter().all(|&count| count > 0), "{:?}", gateways.counts("INVITE"));
    hang_up_all(&mut agent, &mut held);
    all_over(server);
}

#[test]
fn requests_that_the_script_does_not_send_on_end_no_call() {
    let gateways = obedient(1);
    let server = proxy(8, gateways.list(100, "maxload=2")).start();
    let mut agent = server.agent();
    let (mut answered, mut rings) = (up(&mut agent), ringing(&mut agent));
    for (way, status) in [("challenge", Some(401)), ("tm", Some(407)), ("drop", None)] {
        let mut forged = answered.clone();
        set(&mut forged, "X-Forged", way);
        agent.send(&forged.bye());
        if let Some(status) = status {
            assert_eq!(agent.answer(&forged, "BYE").status(), Some(status), "{way}");
        }
        let mut forged = rings.clone();
        set(&mut forged, "X-Forged", if way == "tm" { "challenge" } else { way });
        agent.send(&forged.cancel());
        // What comes after it was dealt with after it, one way or the other: a call more would pass the limit.
        let mut other = agent.call();
        assert_eq!(agent.place(&mut other).status(), Some(404), "{way}");
        assert_eq!(loads(&server, 1), [2], "{way}");
    }
    // Numbers of the forged ones are not used again.
    answered.cseq += 3;
    agent.forget_waiting();
    assert_eq!(agent.cancel(&mut rings), 487);
    assert_eq!(agent.hang_up(&mut answered), 200);
    all_over(server);
}

#[test]
fn words_of_counting_change_nothing() {
    let gateways = obedient(1);
    let route = PROXY.replace("request_route {", "request_route {\n\tds_load_update();").replace(
        "t_relay();\n}\nfailure",
        "t_relay();\n\tds_load_unset();\n}\nonreply_route { ds_load_unset(); }\nfailure",
    );
    let server = proxy(1, gateways.list(100, "")).route(&route).start();
    let mut agent = server.agent();
    let mut call = up(&mut agent);
    assert_eq!(loads(&server, 1), [1]);
    let mut forged = call.clone();
    set(&mut forged, "X-Forged", "challenge");
    agent.send(&forged.bye());
    assert_eq!(agent.answer(&forged, "BYE").status(), Some(401));
    assert_eq!(loads(&server, 1), [1]);
    call.cseq += 1;
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}

#[test]
fn session_timer_of_the_answer_and_of_refreshes_sets_the_calls_end() {
    let gateways = obedient(1);
    let times = "modparam(\"dispatcher\", \"ds_hash_expire\", 2)\nmodparam(\"dispatcher\", \"ds_hash_check_interval\", 1)";
    let server = proxy(8, gateways.list(100, "")).modparam(times).start();
    let mut agent = server.agent();
    let call = ringing(&mut agent);
    let invite = gateways.last_invite(|one| one.message.call_id() == call.id).expect("the INVITE").message;
    let answer = invite.reply(200, "timed").with("Contact", format!("<{}>", gateways.uri(0)));
    gateways.send(0, &answer.with("Session-Expires", "1800;refresher=uac"), server.address());
    let mut timed = dialog(&mut agent, &call, "timed");
    up(&mut agent);
    eventually("the call without a timer is gone", SOON, || assert_no_drift(&server).expired == 1);
    assert_eq!(loads(&server, 1), [1], "the timer keeps the other one");
    // Refreshed without a timer, it is one as any other.
    timed.extra.clear();
    agent.send(&timed.update());
    assert_eq!(agent.answer(&timed, "UPDATE").status(), Some(200));
    eventually("both are gone", SOON, || assert_no_drift(&server).expired == 2);
    assert_eq!(loads(&server, 1), [0]);
    server.stop();
}

/// Less than a session may last (RFC 4028 section 4) is taken as the least.
#[test]
fn session_timer_of_a_few_seconds_does_not_end_the_call_before_its_time() {
    let gateways = obedient(1);
    let times = "modparam(\"dispatcher\", \"ds_hash_expire\", 2)\nmodparam(\"dispatcher\", \"ds_hash_check_interval\", 1)";
    let server = proxy(8, gateways.list(100, "")).modparam(times).start();
    let mut agent = server.agent();
    let mut held = Vec::new();
    for seconds in ["1", "30", "0", "89;refresher=uas"] {
        let call = ringing(&mut agent);
        let invite = gateways.last_invite(|one| one.message.call_id() == call.id).expect("it").message;
        let answer = invite.reply(200, "timed").with("Contact", format!("<{}>", gateways.uri(0)));
        gateways.send(0, &answer.with("Session-Expires", seconds), server.address());
        held.push(dialog(&mut agent, &call, "timed"));
    }
    up(&mut agent);
    eventually("the call without a timer is gone", SOON, || assert_no_drift(&server).expired == 1);
    assert_eq!(loads(&server, 1), [4]);
    for mut call in held {
        assert_eq!(agent.hang_up(&mut call), 200);
    }
    all_over(server);
}

#[test]
fn dialog_time_out_ends_the_call() {
    let gateways = obedient(1);
    let dialog = "modparam(\"dialog\", \"default_timeout\", 2)\n\
                  modparam(\"dialog\", \"timer_procs\", 0)";
    let route =
        PROXY.replace("	record_route();", "	record_route(); $dlg_ctx(timeout_bye) = 1; dlg_manage();");
    let server = proxy(2, gateways.list(100, "")).module("dialog").modparam(dialog).route(&route).start();
    let mut agent = server.agent();
    up(&mut agent);
    assert_eq!(loads(&server, 1), [1]);
    eventually("the server has hung up", SOON, || loads(&server, 1) == [0]);
    assert!(gateways.await_total("BYE", 1, SOON));
    assert_eq!(assert_no_drift(&server).calls, 0);
    server.stop();
}

#[test]
fn reinvite_that_nobody_answers_ends_the_call() {
    let gateways = obedient(1);
    let server = proxy(2, gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut call = up(&mut agent);
    for (answers, status, stays) in [("488", 488, 1), ("491", 491, 1), ("0", 408, 0)] {
        set(&mut call, "X-Answer", answers);
        assert_eq!(agent.place(&mut call).status(), Some(status), "{answers}");
        eventually(answers, SOON, || loads(&server, 1) == [stays]);
    }
    all_over(server);
}

#[test]
fn bye_that_cannot_be_delivered_ends_the_call() {
    over(Over::Tcp, || {
        let gateways = obedient(1);
        let server = proxy(8, gateways.list(100, "maxload=3")).start();
        let mut agent = server.agent();
        let mut held: Vec<_> = (0..3).map(|_| up(&mut agent)).collect();
        assert_eq!(loads(&server, 1), [3]);
        // Its connections close, and it takes no new one.
        drop(gateways);
        for call in &mut held {
            assert!(agent.hang_up(call) >= 400);
        }
        eventually("nobody is there", SOON, || loads(&server, 1) == [0]);
        assert_eq!(assert_no_drift(&server).calls, 0);
        server.stop();
    });
}

#[test]
fn bye_that_the_script_suspends_and_refuses_ends_no_call() {
    let gateways = obedient(1);
    let later =
        "request_route {\n\tif (is_present_hf(\"X-Later\")) { async_route(\"REFUSE\", \"1\"); exit; }\n";
    let route = PROXY.replace("request_route {\n", later);
    let refuse = "route[REFUSE] { t_reply(\"403\", \"Forbidden\"); }\n";
    let server = proxy(2, gateways.list(100, "")).module("async").globals("async_workers=1");
    // The time of the suspension is that of a branch.
    let server = server.modparam("modparam(\"tm\", \"fr_timer\", 5000)");
    let server = server.route(&route).more_route(refuse).start();
    let mut agent = server.agent();
    let mut call = up(&mut agent);
    let mut forged = with(call.clone(), "X-Later", "1");
    assert_eq!(agent.hang_up(&mut forged), 403);
    assert_eq!(loads(&server, 1), [1]);
    call.cseq = forged.cseq;
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}

#[test]
fn reply_to_nothing_ends_no_call() {
    let gateways = obedient(1);
    let server = proxy(2, gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut call = up(&mut agent);
    // The server sends it on to the caller, who makes it, as it sends on any reply.
    let via = |address| format!("SIP/2.0/UDP {address};branch=z9hG4bKnothing");
    for (method, status) in
        [("INVITE", 481), ("INVITE", 408), ("INVITE", 486), ("UPDATE", 481), ("BYE", 481), ("BYE", 200)]
    {
        let mut request = call.within(method);
        request.headers.retain(|(name, _)| name != "Via");
        request.headers.insert(0, ("Via".into(), via(agent.local())));
        request.headers.insert(0, ("Via".into(), via(server.address())));
        agent.send(&request.reply(status, "gw0"));
        assert_eq!(agent.answer(&call, method).status(), Some(status));
        assert_eq!(loads(&server, 1), [1], "{status} to {method}");
    }
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}
