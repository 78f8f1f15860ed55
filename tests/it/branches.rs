//! A call counts at a gateway exactly while a branch that may still be answered, or was answered, went there.

use std::time::Duration;

use serde_json::json;

use crate::calls::{
    self, all_over, assert_no_drift, at_one_and_eight_workers, loads, obedient, set, up, with,
};
use crate::support::server_config::Builder;
use crate::support::{Agent, Call, Gateways, Kamailio, Message, Over, Received, eventually};

at_one_and_eight_workers! {
    voicemail_that_answers_for_a_gateway_does_not_count_there,
    refusal_that_comes_after_the_voicemails_answer_leaves_the_gateway_empty,
    phone_that_answers_first_frees_the_gateway,
    challenged_gateway_that_is_asked_again_counts_the_answered_call,
    two_answers_of_a_gateway_that_forks_need_a_bye_each,
    forked_call_ends_with_the_gateways_own_bye,
    late_answer_of_the_gateway_that_was_given_up_counts_there,
    parallel_branches_count_where_they_ring_and_then_where_one_answers,
    branch_to_a_gateway_set_by_hand_counts_there,
    spiral_counts_at_both_gateways,
    suspended_request_counts_when_it_goes_on,
    answer_that_no_script_reports_is_known_when_the_transaction_ends,
}

/// Header fields of the INVITE say what the script does: `X-Phone` is one more branch, `X-Next` where it goes after a
/// failure, and how.
const ROUTE: &str = r#"
request_route {
	if (is_method("CANCEL")) { ds_load_update(); if (t_check_trans()) t_relay(); exit; }
	if (has_totag()) {
		if (is_method("ACK") && t_check_trans()) { t_relay(); exit; }
		loose_route();
		if (is_method("BYE|INVITE|UPDATE")) ds_load_update();
		t_relay();
		exit;
	}
	t_check_trans();
	record_route();
	if (is_present_hf("X-Once")) append_hf("X-Spiral: 1\r\n");
	if (is_present_hf("X-Spiral")) {
		ds_select_dst("200", "10");
		t_on_failure("FAILED");
		t_relay();
		exit;
	}
	if (is_present_hf("X-Phone")) { $du = $hdr(X-Phone); append_branch(); }
	if (!ds_select_dst("100", "10")) { send_reply("404", "No destination"); exit; }
	if (is_present_hf("X-All") && !ds_select_dst("100", "12")) { send_reply("404", "No destination"); exit; }
	if (is_present_hf("X-Inv-Timer")) t_set_fr("$(hdr(X-Inv-Timer){s.int})");
	t_on_failure("FAILED");
	if (is_present_hf("X-Sleep")) { async_route("GO", "1"); exit; }
	t_relay();
}
route[GO] {
	t_relay();
}
onreply_route {
	if (!is_method("INVITE")) exit;
	if (status =~ "^2") ds_load_update();
	else if (status =~ "^[3-7]") ds_load_unset();
}
failure_route[FAILED] {
	if (t_is_canceled()) exit;
	if (is_present_hf("X-Keep")) { t_reset_fr(); if (ds_next_dst()) { t_on_failure("FAILED"); t_relay(); } exit; }
	ds_load_unset();
	if (!is_present_hf("X-Next")) exit;
	if ($hdr(X-Next) == "auth") { if (!uac_auth()) exit; }
	else if ($hdr(X-Next) == "list") ds_set_dst();
	else $du = $hdr(X-Next);
	t_relay();
}
"#;

pub fn server(workers: u32, list: impl Into<String>) -> Builder {
    let uac = "modparam(\"dispatcher\", \"flags\", 2)\n\
               modparam(\"uac\", \"auth_username_avp\", \"$avp(user)\")\n\
               modparam(\"uac\", \"auth_password_avp\", \"$avp(password)\")\n\
               modparam(\"uac\", \"auth_realm_avp\", \"$avp(realm)\")\n\
               modparam(\"uac\", \"credential\", \"user:gateway:secret\")\n\
               modparam(\"uac\", \"restore_mode\", \"none\")";
    let more = ["uac", "async"].into_iter().fold(Kamailio::builder(), Builder::module);
    more.workers(workers).list(list).modparam(uac).globals("async_workers=1").route(ROUTE)
}

const SOON: Duration = Duration::from_secs(4);

/// A transaction is gone five seconds after its end.
const GONE: Duration = Duration::from_secs(15);

fn voicemail_that_answers_for_a_gateway_does_not_count_there(workers: u32) {
    let (gateways, voicemail) = (obedient(1), Gateways::answering(1, 200));
    let server = server(workers, gateways.list(100, "maxload=2")).start();
    let mut agent = server.agent();
    let mut held = Vec::new();
    // Silence, ringing for too long, busy: more often than the limit allows at a time.
    for answer in ["0", "183", "486", "0", "183", "486"] {
        let mut call = with(with(agent.call(), "X-Answer", answer), "X-Next", &voicemail.uri(0));
        set(&mut call, "X-Inv-Timer", "500");
        assert_eq!(agent.place(&mut call).status(), Some(200), "{answer}");
        assert_eq!(loads(&server, 1), [0], "{answer}");
        held.push(call);
    }
    assert_eq!(assert_no_drift(&server).calls, 0);
    calls::hang_up_all(&mut agent, &mut held);
    all_over(server);
}

fn refusal_that_comes_after_the_voicemails_answer_leaves_the_gateway_empty(workers: u32) {
    // It answers no CANCEL with the end of the INVITE: that comes when the test says so.
    let gateways = Gateways::start(1, |_, request| match request.method() {
        Some("INVITE") => vec![183],
        _ => vec![],
    });
    let voicemail = Gateways::answering(1, 200);
    let server = server(workers, gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut call = with(agent.call(), "X-Next", &voicemail.uri(0));
    set(&mut call, "X-Inv-Timer", "500");
    assert_eq!(agent.place(&mut call).status(), Some(200));
    assert!(gateways.await_total("CANCEL", 1, SOON));
    assert_eq!(loads(&server, 1), [0]);
    // Not by its ACK, which the tm of some servers sends no more.
    let refusals = || server.rpc("stats.get_statistics", json!(["rcv_replies_4xx"])).expect("a statistic");
    let before = refusals();
    assert!(gateways.answer(&call.id, 487));
    eventually("the refusal is there", SOON, || refusals() != before);
    assert_eq!(loads(&server, 1), [0]);
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}

fn phone_that_answers_first_frees_the_gateway(workers: u32) {
    let (gateways, phone) = (Gateways::ringing(1), Gateways::ringing(1));
    let server = server(workers, gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut call = with(agent.call(), "X-Phone", &phone.uri(0));
    agent.ring(&mut call);
    assert!(gateways.await_total("INVITE", 1, SOON) && phone.await_total("INVITE", 1, SOON));
    assert_eq!(loads(&server, 1), [1]);
    assert!(phone.answer(&call.id, 200));
    assert_eq!(agent.settle(&mut call).status(), Some(200));
    // The gateway's 487 frees it; the phone's 200 never counted there.
    eventually("the gateway is empty", GONE, || loads(&server, 1) == [0]);
    assert_eq!(assert_no_drift(&server).calls, 0);
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}

fn challenged_gateway_that_is_asked_again_counts_the_answered_call(workers: u32) {
    // The first INVITE of a call is refused, the second one answered.
    let gateways = Gateways::start(1, |_, request| {
        let first = !request.headers.iter().any(|(name, _)| name.ends_with("Authorization"));
        let again = request.header("Via").is_some_and(|via| !via.contains(".0;") && !via.ends_with(".0"));
        match (request.method(), request.header("X-Answer")) {
            (Some("INVITE"), Some(code)) if first && !again => vec![code.parse().unwrap()],
            (Some("INVITE"), _) => vec![180, 200],
            _ => vec![200],
        }
    });
    let server = server(workers, gateways.list(100, "maxload=3")).start();
    let mut agent = server.agent();
    for (code, next) in [
        ("407", "auth".to_owned()),
        ("401", "auth".into()),
        ("407", gateways.uri(0)),
        ("422", gateways.uri(0)),
        ("503", format!("sip:gw@{};transport={}", gateways.address(0), Over::now().name())),
        ("422", "list".into()),
    ] {
        let mut call = with(with(agent.call(), "X-Answer", code), "X-Next", &next);
        assert_eq!(agent.place(&mut call).status(), Some(200), "{code} {next}");
        let audit = assert_no_drift(&server);
        assert_eq!((loads(&server, 1), audit.confirmed), (vec![1], 1), "{code} {next}");
        // Also when the transaction is gone.
        if next == "auth" {
            eventually("the transaction is gone", GONE, || transactions(&server) == 0);
            assert_eq!(loads(&server, 1), [1]);
        }
        assert_eq!(agent.hang_up(&mut call), 200);
        assert_eq!(loads(&server, 1), [0], "{code} {next}");
    }
    all_over(server);
}

/// Transactions that the server holds.
pub fn transactions(server: &Kamailio) -> i64 {
    server.rpc("tm.stats", serde_json::json!([])).unwrap()["current"].as_i64().unwrap()
}

/// The gateway answers the INVITE of this call with one more 200, of the user agent with this tag.
#[track_caller]
pub fn fork(gateways: &Gateways, gateway: usize, server: &Kamailio, call: &Call, tag: &str) {
    let is_it = |one: &Received| one.gateway == gateway && one.message.call_id() == call.id;
    let invite = gateways.last_invite(is_it).expect("the gateway has the INVITE");
    let contact = format!("<{}>", gateways.uri(gateway));
    gateways.send(gateway, &invite.message.reply(200, tag).with("Contact", contact), server.address());
}

/// Waits for the 200 of the user agent with this tag; gives its dialog, acknowledged.
#[track_caller]
pub fn dialog(agent: &mut Agent, call: &Call, tag: &str) -> Call {
    let fits = |m: &Message| m.status() == Some(200) && m.call_id() == call.id && m.tag("To") == Some(tag);
    let answer = agent.receive_where(SOON, fits).unwrap_or_else(|| panic!("no 200 with tag {tag}"));
    let mut dialog = call.clone();
    dialog.learn(&answer);
    agent.send(&dialog.ack(&answer));
    dialog
}

/// The user agent with this tag, behind gateway 0, ends the call: its tag is in From.
#[track_caller]
fn gateway_hangs_up(gateways: &Gateways, server: &Kamailio, agent: &mut Agent, call: &Call, tag: &str) {
    let bye = Message::request("BYE", &agent.uri())
        .with("Via", gateways.via(0, &format!("{tag}{}", call.id)))
        .with("From", format!("<{}>;tag={tag}", call.uri))
        .with("To", format!("<sip:caller@{}>;tag={}", agent.local(), call.from_tag))
        .with("Call-ID", call.id.as_str())
        .with("CSeq", "1 BYE")
        .with("Max-Forwards", "70");
    gateways.send(0, &bye, server.address());
    let arrived = agent.receive_where(SOON, |m| m.method() == Some("BYE") && m.tag("From") == Some(tag));
    agent.reply(&arrived.expect("the BYE"), 200);
}

fn two_answers_of_a_gateway_that_forks_need_a_bye_each(workers: u32) {
    let gateways = Gateways::ringing(1);
    let server = server(workers, gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.ring(&mut call);
    for tag in ["ta", "tb", "ta", "tb"] {
        fork(&gateways, 0, &server, &call, tag);
    }
    let (mut first, mut second) = (dialog(&mut agent, &call, "ta"), dialog(&mut agent, &call, "tb"));
    let audit = assert_no_drift(&server);
    assert_eq!((loads(&server, 1), audit.confirmed), (vec![1], 1));
    // RFC 3261 section 13.2.2.4: the caller ends the dialog that it does not want.
    assert_eq!(agent.hang_up(&mut second), 200);
    assert_eq!(agent.hang_up(&mut second), 200);
    assert_eq!(loads(&server, 1), [1]);
    assert_eq!(agent.hang_up(&mut first), 200);
    assert_eq!(loads(&server, 1), [0]);
    all_over(server);
}

fn forked_call_ends_with_the_gateways_own_bye(workers: u32) {
    let gateways = Gateways::ringing(1);
    let server = server(workers, gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut call = agent.call();
    let invite = call.invite();
    agent.send(&invite);
    agent.reply_to(&call, "INVITE", 180..=189);
    // Both are answered before one ends: a call that is over is not known any more.
    for tag in ["ta", "tb"] {
        fork(&gateways, 0, &server, &call, tag);
        dialog(&mut agent, &call, tag);
        assert_eq!(loads(&server, 1), [1]);
    }
    gateway_hangs_up(&gateways, &server, &mut agent, &call, "ta");
    assert_eq!(loads(&server, 1), [1]);
    gateway_hangs_up(&gateways, &server, &mut agent, &call, "tb");
    eventually("the gateway is empty", SOON, || loads(&server, 1) == [0]);
    all_over(server);
}

fn late_answer_of_the_gateway_that_was_given_up_counts_there(workers: u32) {
    let gateways = Gateways::start(2, |gateway, request| match (request.method(), gateway) {
        (Some("INVITE"), 0) => vec![183],
        (Some("INVITE"), _) => vec![180],
        (Some("CANCEL"), 0) => vec![],
        (Some("CANCEL"), _) => vec![487],
        _ => vec![200],
    });
    // The last line comes first.
    let list: String = gateways.list(100, "").lines().rev().map(|line| format!("{line}\n")).collect();
    let server = server(workers, list).start();
    let mut agent = server.agent();
    let mut call = with(with(agent.call(), "X-Keep", "1"), "X-Inv-Timer", "500");
    agent.send(&call.invite());
    assert!(gateways.await_total("INVITE", 2, SOON));
    eventually("the count has moved", SOON, || loads(&server, 2) == [0, 1]);
    // The one that was given up answers all the same, before it has seen the CANCEL. The server tells nobody, so it hangs up
    // when no ACK comes.
    fork(&gateways, 0, &server, &call, "late");
    eventually("the answer counts", SOON, || loads(&server, 2) == [1, 1]);
    assert_eq!(agent.cancel(&mut call), 487);
    assert_eq!(loads(&server, 2), [1, 0]);
    gateway_hangs_up(&gateways, &server, &mut agent, &call, "late");
    eventually("its BYE ends the call", SOON, || loads(&server, 2) == [0, 0]);
    all_over(server);
}

fn parallel_branches_count_where_they_ring_and_then_where_one_answers(workers: u32) {
    let gateways = Gateways::ringing(3);
    let server = server(workers, gateways.list(100, "")).start();
    let mut agent = server.agent();
    for answering in 0..3 {
        let mut call = with(agent.call(), "X-All", "1");
        agent.ring(&mut call);
        assert!(gateways.await_total("INVITE", 3 * (answering + 1), SOON));
        assert_eq!(loads(&server, 3), [1, 1, 1]);
        fork(&gateways, answering, &server, &call, "won");
        assert_eq!(agent.settle(&mut call).status(), Some(200));
        let mut expected = [0; 3];
        expected[answering] = 1;
        // One that tm could not cancel yet is free when the transaction ends.
        eventually("the others are free", GONE, || loads(&server, 3) == expected);
        assert_eq!(agent.hang_up(&mut call), 200);
        assert_eq!(loads(&server, 3), [0, 0, 0]);
    }
    all_over(server);
}

fn branch_to_a_gateway_set_by_hand_counts_there(workers: u32) {
    let (gateways, others) = (Gateways::answering(1, 503), Gateways::answering(1, 200));
    let list = format!("{}200 {} 0 0 duid=other\n", gateways.list(100, ""), others.uri(0));
    let server = server(workers, list).start();
    let mut agent = server.agent();
    let mut call = with(agent.call(), "X-Next", &others.uri(0));
    assert_eq!(agent.place(&mut call).status(), Some(200));
    assert_eq!((loads(&server, 1), server.load_of("other")), (vec![0], 1));
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}

fn spiral_counts_at_both_gateways(workers: u32) {
    let last = Gateways::answering(1, 200);
    // The first gateway is the server itself, which the request comes back to.
    let server = server(workers, "300 sip:127.0.0.1:9\n").start();
    let (itself, by) = (server.address(), Over::now().parameter());
    let list = format!("100 sip:{itself}{by} 0 0 duid=gw0\n200 {} 0 0 duid=other\n", last.uri(0));
    server.write_list(&list);
    server.rpc("dispatcher.reload", serde_json::json!([])).unwrap();
    let mut agent = server.agent();
    let mut call = agent.call();
    set(&mut call, "X-Once", "1");
    assert_eq!(agent.place(&mut call).status(), Some(200));
    assert_eq!((loads(&server, 1), server.load_of("other")), (vec![1], 1));
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}

fn suspended_request_counts_when_it_goes_on(workers: u32) {
    let gateways = Gateways::ringing(1);
    // The pause of a second may last longer on a busy machine.
    let patient = "modparam(\"tm\", \"fr_timer\", 10000)\nmodparam(\"tm\", \"fr_inv_timer\", 10000)";
    let server = server(workers, gateways.list(100, "maxload=1")).modparam(patient).start();
    let mut agent = server.agent();
    let mut call = with(agent.call(), "X-Sleep", "1");
    agent.ring(&mut call);
    assert_eq!(loads(&server, 1), [1]);
    assert!(gateways.answer(&call.id, 200));
    assert_eq!(agent.settle(&mut call).status(), Some(200));
    eventually("the transaction is gone", GONE, || transactions(&server) == 0);
    assert_eq!((loads(&server, 1), assert_no_drift(&server).confirmed), (vec![1], 1));
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}

fn answer_that_no_script_reports_is_known_when_the_transaction_ends(workers: u32) {
    let gateways = obedient(1);
    let silent = ROUTE.replace("onreply_route {", "onreply_route {\n\texit;");
    let server = server(workers, gateways.list(100, "")).route(&silent).start();
    let mut agent = server.agent();
    let mut answered = up(&mut agent);
    let mut refused = with(agent.call(), "X-Answer", "486");
    assert_eq!(agent.place(&mut refused).status(), Some(486));
    eventually("the transactions are gone", GONE, || transactions(&server) == 0);
    let audit = assert_no_drift(&server);
    assert_eq!((audit.calls, audit.confirmed), (1, 1));
    assert_eq!(agent.hang_up(&mut answered), 200);
    all_over(server);
}
