//! `ds_lean_failover`: the next destination is chosen when it is needed, and a selection leaves one record or none.

use std::time::Duration;

use serde_json::json;

use crate::calls::{all_over, assert_no_drift, assert_quiet, hang_up_all, loads, obedient, set, with};
use crate::support::server_config::Builder;
use crate::support::{Agent, Call, Gateways, Kamailio, Message, eventually};

const SOON: Duration = Duration::from_secs(5);

/// Makes a test of each of these functions in both lean modes.
macro_rules! in_both_modes {
    ($($test:ident),+ $(,)?) => {
        mod one_record { $(#[test] fn $test() { super::$test(1); })+ }
        mod no_record { $(#[test] fn $test() { super::$test(2); })+ }
    };
}

in_both_modes! {
    next_ones_are_those_of_the_full_list_in_its_order,
    script_sees_the_destination_in_use_and_how_many_are_left,
    next_is_the_least_loaded_by_then,
    next_is_the_quickest_by_then,
    next_passes_over_what_went_down_and_takes_what_came_up,
    next_goes_on_where_the_removed_one_stood,
    reload_in_between_changes_nothing_that_was_tried,
    any_method_fails_over,
    rules_follow_one_another_and_the_limit_counts_all,
    one_that_means_the_same_as_a_tried_one_is_not_tried,
    list_alone_is_gone_through_too,
    request_that_was_put_aside_goes_on_in_another_process,
    transaction_that_is_made_before_the_selection_keeps_it_as_well,
    second_selection_goes_on_to_what_the_first_left,
    call_that_comes_back_to_the_proxy_has_attempts_of_its_own,
    memory_of_attempts_ends_with_the_transaction,
    marks_are_of_the_destination_in_use,
    branch_and_reply_routes_see_the_destination_in_use,
    parallel_rules_send_to_all_at_once,
    without_a_list_there_is_no_next,
}

/// `X-Alg` in set 100, or `X-Rules`; `X-Limit`. What the script sees of the destination in use goes along in `X-Try`.
const ROUTE: &str = r#"
request_route {
	if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
	if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
	if (has_totag()) { loose_route(); if (is_method("BYE")) ds_load_update(); t_relay(); exit; }
	record_route();
	if (is_present_hf("X-Early")) t_newtran();
	$var(limit) = 0;
	if (is_present_hf("X-Limit")) $var(limit) = $(hdr(X-Limit){s.int});
	if (is_present_hf("X-Rules")) $var(found) = ds_select_routes("$hdr(X-Rules)", "d", "$var(limit)");
	else $var(found) = ds_select_dst("100", "$(hdr(X-Alg){s.int})", "$var(limit)");
	if ($var(found) < 0) { send_reply("404", "No destination"); exit; }
	route(SEND);
}
route[SEND] {
	append_hf("X-Try: uri=$dsv(uri) attrs=$dsv(attrs) set=$dsv(setid) id=$dsv(dstid) left=$dsv(left) cnt=$xavp(_dsctx_=>cnt) du=$du\r\n");
	append_hf("X-Xavp: uri=$xavp(_dsdst_=>uri) attrs=$xavp(_dsdst_=>attrs) set=$xavp(_dsdst_=>grp) id=$xavp(_dsdst_=>dstid) next=$xavp(_dsdst_[1]=>uri)\r\n");
	t_on_failure("FAILED");
	t_relay();
	exit;
}
onreply_route {
	if (is_method("INVITE") && status =~ "^2") ds_load_update();
}
failure_route[FAILED] {
	if (t_is_canceled()) exit;
	if (is_present_hf("X-Mark")) ds_mark_dst("i");
	if (ds_next_dst()) route(SEND);
	xlog("L_INFO", "EXHAUSTED left=$dsv(left) uri=$dsv(uri) next=$var(none)\n");
	if (ds_next_dst()) xlog("L_ERR", "ERROR: a next one after the last\n");
	ds_load_unset();
}
"#;

fn server(list: impl Into<String>, mode: u32) -> Builder {
    Kamailio::builder()
        .workers(2)
        .list(list)
        .modparam(&format!(
            "modparam(\"dispatcher\", \"flags\", 2)\nmodparam(\"dispatcher\", \"ds_lean_failover\", {mode})"
        ))
        .route(ROUTE)
}

/// Gateways that refuse every INVITE, REGISTER and MESSAGE.
fn refusing(count: usize) -> Gateways {
    Gateways::answering(count, 503)
}

/// An INVITE that nobody takes (of several 503 the server makes a 500): the gateways that it went to, in order.
#[track_caller]
fn tour(agent: &mut Agent, gateways: &Gateways, headers: &[(&str, &str)]) -> Vec<usize> {
    let mut call = agent.call();
    headers.iter().for_each(|(name, value)| set(&mut call, name, value));
    let answer = agent.place(&mut call);
    assert!(matches!(answer.status(), Some(404 | 500 | 503)), "{answer:?}");
    let all = gateways.received();
    let of_call = |method| {
        all.iter()
            .filter(move |one| one.message.method() == Some(method))
            .filter(|one| one.message.call_id() == call.id)
    };
    of_call("INVITE").map(|one| one.gateway).collect()
}

fn lines(gateways: &Gateways, attrs: impl Fn(usize) -> String) -> String {
    (0..gateways.how_many()).map(|n| format!("100 {} 0 {} {}\n", gateways.uri(n), n + 1, attrs(n))).collect()
}

fn plain(n: usize) -> String {
    format!("duid=gw{n};weight={};rweight={}", 10 + n, 10 + n)
}

/// The last header of this name of each INVITE of the last call.
fn told(gateways: &Gateways, name: &str) -> Vec<String> {
    let received = gateways.received();
    // An ACK of an earlier call may come late.
    let mut invites = received.iter().filter(|one| one.message.method() == Some("INVITE"));
    let last = invites.next_back().map(|one| one.message.call_id().to_owned()).unwrap_or_default();
    let of_call = received.iter().filter(|one| one.message.call_id() == last);
    let invites = of_call.filter(|one| one.message.method() == Some("INVITE"));
    invites.map(|one| one.message.values(name).last().unwrap_or_default().to_owned()).collect()
}

fn next_ones_are_those_of_the_full_list_in_its_order(mode: u32) {
    let gateways = refusing(6);
    for spare in [0, 1] {
        let start = |mode| {
            let spare = format!("modparam(\"dispatcher\", \"use_default\", {spare})");
            let server = server(lines(&gateways, plain), mode).modparam(&spare).start();
            server.rpc("dispatcher.set_state", json!(["i", 100, gateways.uri(3)])).unwrap();
            server
        };
        let (full, lean) = (start(0), start(mode));
        let (mut of_full, mut of_lean) = (full.agent(), lean.agent());
        for alg in ["0", "4", "8", "9", "11", "13", "14", "15", "64", "101", "8", "4"] {
            for limit in ["0", "1", "3"] {
                let id = format!("{alg}-{limit}");
                let headers = [("X-Alg", alg), ("X-Limit", limit)];
                let tour = |agent: &mut Agent| {
                    let mut call = agent.call_with_id(&id);
                    headers.iter().for_each(|(name, value)| set(&mut call, name, value));
                    gateways.forget_received();
                    agent.place(&mut call);
                    let all = gateways.received();
                    let invites = all.iter().filter(|one| one.message.method() == Some("INVITE"));
                    invites.map(|one| one.gateway).collect::<Vec<_>>()
                };
                let (wanted, found) = (tour(&mut of_full), tour(&mut of_lean));
                assert_eq!(found, wanted, "algorithm {alg}, limit {limit}, spare {spare}");
                assert!(!found.contains(&3) && !found.is_empty());
            }
        }
        assert_quiet(&lean.stop());
        full.stop();
    }
}

fn script_sees_the_destination_in_use_and_how_many_are_left(mode: u32) {
    let gateways = refusing(3);
    let server = server(lines(&gateways, |n| format!("duid=gw{n};maxload=5")), mode).start();
    let mut agent = server.agent();
    for (alg, limit, left) in
        [("10", "0", [2, 1, 0].as_slice()), ("10", "2", &[1, 0]), ("8", "0", &[2, 1, 0])]
    {
        let tour = tour(&mut agent, &gateways, &[("X-Alg", alg), ("X-Limit", limit)]);
        assert_eq!(tour.len(), left.len());
        let seen = told(&gateways, "X-Try");
        let xavps = told(&gateways, "X-Xavp");
        for (step, (gateway, left)) in std::iter::zip(&tour, left).enumerate() {
            let uri = gateways.uri(*gateway);
            let id = if alg == "10" { format!("gw{gateway}") } else { "<null>".into() };
            let known = format!("uri={uri} attrs=duid=gw{gateway};maxload=5 set=100 id={id}");
            // A context is as old as the selection.
            let count = if mode == 1 { format!("{}", tour.len()) } else { "<null>".into() };
            assert_eq!(seen[step], format!("{known} left={left} cnt={count} du={uri}"));
            let xavp = if mode == 1 { known } else { "uri=<null> attrs=<null> set=<null> id=<null>".into() };
            assert_eq!(xavps[step], format!("{xavp} next=<null>"));
        }
    }
    eventually("three ends", SOON, || server.log_lines("EXHAUSTED").len() == 3);
    assert!(server.log_lines("EXHAUSTED").iter().all(|line| line.contains("left=<null> uri=<null>")));
    all_over(server);
}

fn next_is_the_least_loaded_by_then(mode: u32) {
    let gateways = obedient(4);
    let server = server(gateways.list(100, "maxload=4"), mode).start();
    let mut agent = server.agent();
    let mut call = with(with(agent.call(), "X-Answer", "180"), "X-Alg", "10");
    agent.ring(&mut call);
    let first = gateways.of_call(&call.id).unwrap();
    // By then one is full, one busy, one idle.
    let [full, busy, idle] = [1, 2, 3].map(|n| (first + n) % 4);
    let mut wanted = [0; 4];
    (wanted[full], wanted[busy], wanted[first]) = (4, 2, 1);
    let (mut held, mut too_many) = (Vec::new(), Vec::new());
    let mut there = [0; 4];
    there[first] = 1;
    while there != wanted {
        let mut other = with(agent.call(), "X-Alg", "10");
        assert_eq!(agent.place(&mut other).status(), Some(200));
        let gateway = gateways.of_call(&other.id).unwrap();
        if there[gateway] < wanted[gateway] {
            there[gateway] += 1;
            held.push(other);
        } else {
            too_many.push(other);
        }
    }
    hang_up_all(&mut agent, &mut too_many);
    assert_eq!(loads(&server, 4), wanted);
    for (last, next) in [(first, idle), (idle, busy)] {
        assert_eq!(gateways.of_call(&call.id), Some(last));
        assert!(gateways.answer(&call.id, 503));
        agent.reply_to(&call, "INVITE", 180..=180);
        assert_eq!(gateways.of_call(&call.id), Some(next));
        assert_no_drift(&server);
    }
    assert_eq!(loads(&server, 4)[busy], 3);
    assert!(gateways.answer(&call.id, 503));
    assert_eq!(agent.settle(&mut call).status(), Some(500));
    hang_up_all(&mut agent, &mut held);
    all_over(server);
}

fn next_is_the_quickest_by_then(mode: u32) {
    let gateways = obedient(3);
    let list = |latencies: [u32; 3]| -> String {
        (0..3)
            .map(|n| format!("100 {} 0 30 duid=gw{n};latency={}\n", gateways.uri(n), latencies[n]))
            .collect()
    };
    let server = server(list([1, 40, 90]), mode)
        .modparam("modparam(\"dispatcher\", \"ds_retain_latency_stats\", 0)")
        .start();
    let mut agent = server.agent();
    let mut call = with(with(agent.call(), "X-Answer", "180"), "X-Alg", "13");
    agent.ring(&mut call);
    assert_eq!(gateways.of_call(&call.id), Some(0));
    server.write_list(&list([1, 90, 40]));
    server.rpc("dispatcher.reload", json!([])).unwrap();
    for next in [2, 1] {
        assert!(gateways.answer(&call.id, 503));
        agent.reply_to(&call, "INVITE", 180..=180);
        assert_eq!(gateways.of_call(&call.id), Some(next));
    }
    assert!(gateways.answer(&call.id, 503));
    assert_eq!(agent.settle(&mut call).status(), Some(500));
    assert_quiet(&server.stop());
}

/// A call that rings at its first gateway, by algorithm 8.
#[track_caller]
fn ringing(agent: &mut Agent) -> Call {
    let mut call = with(with(agent.call(), "X-Answer", "180"), "X-Alg", "8");
    agent.ring(&mut call);
    call
}

/// The gateway where the call rings refuses; it rings at this one then.
#[track_caller]
fn goes_on_to(agent: &mut Agent, gateways: &Gateways, call: &Call, next: usize) {
    assert!(gateways.answer(&call.id, 503));
    agent.reply_to(call, "INVITE", 180..=180);
    assert_eq!(gateways.of_call(&call.id), Some(next));
}

#[track_caller]
fn ends(agent: &mut Agent, gateways: &Gateways, mut call: Call) {
    assert!(gateways.answer(&call.id, 503));
    assert_eq!(agent.settle(&mut call).status(), Some(500));
}

/// In the order of the set, which is that of falling priorities: gateway 4 is the first.
fn next_passes_over_what_went_down_and_takes_what_came_up(mode: u32) {
    let gateways = obedient(5);
    let server = server(lines(&gateways, plain), mode).start();
    let state = |state: &str, n: usize| {
        server.rpc("dispatcher.set_state", json!([state, 100, gateways.uri(n)])).unwrap();
    };
    let mut agent = server.agent();
    state("i", 1);
    let call = ringing(&mut agent);
    assert_eq!(gateways.of_call(&call.id), Some(4));
    state("i", 3);
    state("a", 1);
    goes_on_to(&mut agent, &gateways, &call, 2);
    // One that comes back is reached where the way around the set leads to it.
    state("a", 3);
    goes_on_to(&mut agent, &gateways, &call, 1);
    goes_on_to(&mut agent, &gateways, &call, 0);
    goes_on_to(&mut agent, &gateways, &call, 3);
    ends(&mut agent, &gateways, call);
    assert_quiet(&server.stop());
}

fn next_goes_on_where_the_removed_one_stood(mode: u32) {
    let gateways = obedient(5);
    let server = server(lines(&gateways, plain), mode).start();
    let mut agent = server.agent();
    let call = ringing(&mut agent);
    goes_on_to(&mut agent, &gateways, &call, 3);
    server.rpc("dispatcher.remove", json!([100, gateways.uri(3)])).unwrap();
    goes_on_to(&mut agent, &gateways, &call, 2);
    // Where it comes back it is new: its record may be another's meanwhile, but not its past.
    let [gone, other] = [2, 0].map(|n| gateways.uri(n));
    server.rpc("dispatcher.remove", json!([100, other])).unwrap();
    server.rpc("dispatcher.remove", json!([100, gone])).unwrap();
    goes_on_to(&mut agent, &gateways, &call, 1);
    ends(&mut agent, &gateways, call);
    assert_quiet(&server.stop());
}

fn reload_in_between_changes_nothing_that_was_tried(mode: u32) {
    let gateways = obedient(5);
    let server = server(lines(&gateways, plain), mode).start();
    let mut agent = server.agent();
    let call = ringing(&mut agent);
    goes_on_to(&mut agent, &gateways, &call, 3);
    // The other way round, and another line in front: all positions are others.
    let uri = |n| gateways.uri(n);
    let all = (0..5).map(|n| format!("100 {} 0 {} {}\n", uri(n), 9 - n, plain(n))).collect::<String>();
    server.write_list(&format!("100 sip:127.0.0.1:9 1 99 duid=front\n{all}"));
    server.rpc("dispatcher.reload", json!([])).unwrap();
    goes_on_to(&mut agent, &gateways, &call, 0);
    goes_on_to(&mut agent, &gateways, &call, 1);
    goes_on_to(&mut agent, &gateways, &call, 2);
    ends(&mut agent, &gateways, call);
    assert_quiet(&server.stop());
}

fn any_method_fails_over(mode: u32) {
    let gateways = Gateways::start(3, |gateway, request| match request.method() {
        Some("ACK") => vec![],
        _ if gateway == 0 => vec![200],
        _ => vec![503],
    });
    let server = server(lines(&gateways, plain), mode).start();
    let mut agent = server.agent();
    for method in ["REGISTER", "MESSAGE", "SUBSCRIBE", "OPTIONS"] {
        for alg in ["8", "10"] {
            let mut call = with(agent.call(), "X-Alg", alg);
            gateways.forget_received();
            let request = call.invite();
            let mut request = Message { start: request.start.replace("INVITE", method), ..request };
            for (name, value) in &mut request.headers {
                if name == "CSeq" {
                    *value = value.replace("INVITE", method);
                }
            }
            agent.send(&request);
            assert_eq!(agent.answer(&call, method).status(), Some(200), "{method}, algorithm {alg}");
            let went: Vec<_> = gateways.received().iter().map(|one| one.gateway).collect();
            assert_eq!(went, [2, 1, 0], "{method}, algorithm {alg}");
        }
    }
    all_over(server);
}

fn rules_follow_one_another_and_the_limit_counts_all(mode: u32) {
    let gateways = refusing(6);
    let line = |set: u32, n: usize| format!("{set} {} 0 {} duid=gw{n}\n", gateways.uri(n), 9 - n);
    let list: String = [(1, 0), (1, 1), (2, 2), (2, 3), (3, 4), (3, 5)].map(|(set, n)| line(set, n)).concat();
    let server = server(list, mode).start();
    let mut agent = server.agent();
    for (rules, limit, wanted, count) in [
        ("1=8;2=8;3=8", "0", &[0, 1, 2, 3, 4, 5][..], 6),
        ("3=8;1=10", "0", &[4, 5, 0, 1], 4),
        ("2=8;7=8;1=8", "0", &[2, 3, 0, 1], 4),
        ("7=8;1=8", "0", &[0, 1], 2),
        ("1=8;2=8;3=8", "3", &[0, 1, 2], 3),
        ("1=8;2=8", "1", &[0], 1),
    ] {
        gateways.forget_received();
        let went = tour(&mut agent, &gateways, &[("X-Rules", rules), ("X-Limit", limit)]);
        // Among equals of call load the order is that of turns.
        let (mut sorted, mut due) = (went.clone(), wanted.to_vec());
        if rules.contains("=10") {
            sorted.sort_unstable();
            due.sort_unstable();
        }
        assert_eq!(sorted, due, "{rules}, limit {limit}: {went:?}");
        let first = told(&gateways, "X-Try").remove(0);
        assert!(first.contains(&format!(" left={} ", count - 1)), "{rules}: {first}");
        assert!(mode == 2 || first.contains(&format!(" cnt={count} ")), "{rules}: {first}");
    }
    assert!(server.log_lines("no destination set 7").len() >= 2);
    assert_eq!(assert_no_drift(&server).calls, 0);
    server.stop();
}

/// Two lines with one `duid` are one destination.
fn one_that_means_the_same_as_a_tried_one_is_not_tried(mode: u32) {
    let gateways = refusing(3);
    let line =
        |n: usize, priority: u32, duid: &str| format!("100 {} 0 {priority} duid={duid}\n", gateways.uri(n));
    let list = [line(0, 9, "same"), line(1, 5, "same"), line(2, 1, "other")].concat();
    let server = server(list, mode).start();
    let mut agent = server.agent();
    assert_eq!(tour(&mut agent, &gateways, &[("X-Alg", "8")]), [0, 2]);
    gateways.forget_received();
    assert_eq!(tour(&mut agent, &gateways, &[("X-Alg", "10")]).len(), 2);
    assert_eq!(assert_no_drift(&server).calls, 0);
    server.stop();
}

/// Selects, and says in the reply where each step leads; nothing is sent.
const LIST_ONLY: &str = r#"
request_route {
	if (is_method("ACK|CANCEL")) exit;
	if (is_present_hf("X-Counted")) {
		ds_select_dst("100", "10");
		append_to_reply("X-Step: $du $dsv(left)\r\n");
		while (ds_next_dst()) append_to_reply("X-Step: $du $dsv(left)\r\n");
		sl_send_reply("480", "Nobody");
		exit;
	}
	ds_select("100", "8");
	append_to_reply("X-Step: $du $dsv(left)\r\n");
	ds_set_dst();
	append_to_reply("X-Step: $du $dsv(left)\r\n");
	while (ds_next_dst()) append_to_reply("X-Step: $du $dsv(left)\r\n");
	ds_select("100", "8", "2");
	ds_set_domain();
	append_to_reply("X-Step: $rd:$rp\r\n");
	while (ds_next_domain()) append_to_reply("X-Step: $rd:$rp\r\n");
	sl_send_reply("200", "OK");
}
"#;

fn list_alone_is_gone_through_too(mode: u32) {
    let gateways = refusing(3);
    let server = server(lines(&gateways, plain), mode).route(LIST_ONLY).start();
    let mut agent = server.agent();
    let call = agent.call();
    let mut invite = call.clone();
    agent.send(&invite.invite());
    let answer = agent.answer(&invite, "INVITE");
    let steps: Vec<_> = answer.values("X-Step").map(str::to_owned).collect();
    let [zero, one, two] = [0, 1, 2].map(|n| gateways.uri(n));
    let at = |n: usize| gateways.address(n).to_string();
    assert_eq!(
        steps,
        ["<null> 2".to_owned(), format!("{two} 2"), format!("{one} 1"), format!("{zero} 0"), at(2), at(1)]
    );
    // A call that counts goes on as well, and counts nowhere when the script has sent it nowhere.
    let mut counted = with(agent.call(), "X-Counted", "yes");
    agent.send(&counted.invite());
    let answer = agent.answer(&counted, "INVITE");
    let steps: Vec<_> = answer.values("X-Step").map(str::to_owned).collect();
    assert_eq!(steps, [format!("{two} 2"), format!("{one} 1"), format!("{zero} 0")]);
    eventually("it counts nowhere", SOON, || assert_no_drift(&server).calls == 0);
    assert_quiet(&server.stop());
}

/// A request is put aside after the selection; a MESSAGE lets it go on.
const ASIDE: &str = r#"
request_route {
	if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
	if (is_method("MESSAGE")) {
		t_continue("$(hdr(X-Index){s.int})", "$(hdr(X-Label){s.int})", "GO");
		sl_send_reply("200", "OK");
		exit;
	}
	ds_select_dst("100", "8");
	t_suspend();
	xlog("L_INFO", "ASIDE $T(id_index) $T(id_label)\n");
}
route[GO] {
	$du = $dsv(uri);
	append_hf("X-Try: $dsv(uri) $dsv(left)\r\n");
	t_on_failure("FAILED");
	t_relay();
}
failure_route[FAILED] {
	if (ds_next_dst()) { append_hf("X-Try: $dsv(uri) $dsv(left)\r\n"); t_on_failure("FAILED"); t_relay(); exit; }
}
"#;

fn request_that_was_put_aside_goes_on_in_another_process(mode: u32) {
    let gateways = refusing(3);
    let route = if mode == 1 { ASIDE.replace("$dsv(uri)", "$xavp(_dsdst_=>uri)") } else { ASIDE.into() };
    let server = server(lines(&gateways, plain), mode).workers(4).route(&route).start();
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.send(&call.invite());
    eventually("the request is put aside", SOON, || server.log_lines("ASIDE ").len() == 1);
    let line = server.log_lines("ASIDE ").remove(0);
    let mut words = line.rsplit(' ');
    let (label, index) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    // From another port, for another worker.
    let mut other = server.agent();
    let mut message = with(with(other.call(), "X-Index", &index), "X-Label", &label);
    other.send(&message.within("MESSAGE"));
    assert_eq!(other.answer(&message, "MESSAGE").status(), Some(200));
    assert_eq!(agent.settle(&mut call).status(), Some(500));
    let tries = told(&gateways, "X-Try");
    let wanted: Vec<_> = [2, 1, 0].map(|n| format!("{} {n}", gateways.uri(n))).into();
    assert_eq!(tries, wanted);
    assert_quiet(&server.stop());
}

fn transaction_that_is_made_before_the_selection_keeps_it_as_well(mode: u32) {
    let gateways = refusing(3);
    let server = server(lines(&gateways, plain), mode).start();
    let mut agent = server.agent();
    for alg in ["8", "10"] {
        gateways.forget_received();
        let went = tour(&mut agent, &gateways, &[("X-Alg", alg), ("X-Early", "yes")]);
        assert_eq!(went.len(), 3);
        assert!(told(&gateways, "X-Try")[1].contains(" left=1 "), "{:?}", told(&gateways, "X-Try"));
    }
    all_over(server);
}

/// `X-Sent` in a failure route, else in one script.
const TWICE: &str = r#"
request_route {
	if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
	ds_select_dst("1", "8");
	if (!is_present_hf("X-Sent")) ds_select_dst("2", "8");
	t_on_failure("FAILED");
	t_relay();
}
failure_route[FAILED] {
	if (is_present_hf("X-Sent") && $avp(done) == $null) {
		$avp(done) = 1;
		ds_select_dst("2", "8");
		t_on_failure("FAILED");
		t_relay();
		exit;
	}
	if (ds_next_dst()) { t_on_failure("FAILED"); t_relay(); exit; }
}
"#;

fn second_selection_goes_on_to_what_the_first_left(mode: u32) {
    let gateways = refusing(4);
    let line = |set: u32, n: usize| format!("{set} {} 0 {} duid=gw{n}\n", gateways.uri(n), 9 - n);
    let list = [line(1, 0), line(1, 1), line(2, 2), line(2, 3)].concat();
    let server = server(list, mode).route(TWICE).start();
    let mut agent = server.agent();
    // The first was only chosen: the request has not been there.
    assert_eq!(tour(&mut agent, &gateways, &[]), [2, 3, 0, 1]);
    gateways.forget_received();
    assert_eq!(tour(&mut agent, &gateways, &[("X-Sent", "yes")]), [0, 2, 3, 1]);
    assert_quiet(&server.stop());
}

/// Each call comes by twice: set 1 is the server itself.
const SPIRAL: &str = r#"
request_route {
	if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
	if (is_present_hf("X-Loop")) ds_select_dst("2", "8"); else { ds_select_dst("1", "8"); append_hf("X-Loop: yes\r\n"); }
	t_on_failure("FAILED");
	t_relay();
}
failure_route[FAILED] {
	if (ds_next_dst()) { t_on_failure("FAILED"); t_relay(); exit; }
}
"#;

fn call_that_comes_back_to_the_proxy_has_attempts_of_its_own(mode: u32) {
    let gateways = refusing(4);
    let line = |set: u32, n: usize| format!("{set} {} 0 {} duid=gw{n}\n", gateways.uri(n), 9 - n);
    let list = [line(1, 0), line(2, 2), line(2, 3)].concat();
    let server = server(list, mode).route(SPIRAL).start();
    // The first of set 1 is the server.
    let itself = format!("sip:{}", server.address());
    server.rpc("dispatcher.add", json!([1, itself, 0, 99, "duid=self"])).unwrap();
    let mut agent = server.agent();
    assert_eq!(tour(&mut agent, &gateways, &[]), [2, 3, 0]);
    assert_quiet(&server.stop());
}

fn memory_of_attempts_ends_with_the_transaction(mode: u32) {
    let gateways = refusing(3);
    let timers = "modparam(\"tm\", \"wt_timer\", 500)";
    let server = server(lines(&gateways, plain), mode).modparam(timers).start();
    let mut agent = server.agent();
    let mut round = || {
        (0..20).for_each(|_| drop(tour(&mut agent, &gateways, &[("X-Alg", "8")])));
        gateways.forget_received();
    };
    round();
    let settled = || {
        // The transactions are gone when the memory stays the same.
        let mut last = 0;
        eventually("no more memory comes back", SOON, || {
            let now = server.shm_used();
            core::mem::replace(&mut last, now) == now
        });
        last
    };
    let before = settled();
    (0..5).for_each(|_| round());
    eventually("the memory is back", SOON * 2, || server.shm_used() <= before);
    assert_quiet(&server.stop());
}

fn marks_are_of_the_destination_in_use(mode: u32) {
    let gateways = refusing(3);
    // One URI twice, with two names.
    let line =
        |n: usize, priority: u32, duid: &str| format!("100 {} 0 {priority} duid={duid}\n", gateways.uri(n));
    let list = [line(0, 9, "a"), line(1, 5, "b"), line(1, 4, "c"), line(2, 1, "d")].concat();
    let server = server(list, mode).start();
    let mut agent = server.agent();
    let went = tour(&mut agent, &gateways, &[("X-Alg", "8"), ("X-Limit", "3"), ("X-Mark", "yes")]);
    assert_eq!(went, [0, 1, 1]);
    let states: Vec<_> = server.list().iter().map(|one| format!("{} {}", one.duid, one.flags)).collect();
    assert_eq!(states, ["a IX", "b IX", "c IX", "d AX"]);
    server.stop();
}

/// A branch route tells where the request goes, a reply route takes out whoever refused.
const ELSEWHERE: &str = r#"
request_route {
	if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
	ds_select_dst("100", "8");
	route(SEND);
}
route[SEND] { t_on_branch("BRANCH"); t_on_reply("REPLY"); t_on_failure("FAILED"); t_relay(); exit; }
branch_route[BRANCH] { append_hf("X-Try: $dsv(uri) $dsv(left)\r\n"); }
onreply_route[REPLY] { if (status == "503" && $dsv(uri) != $null) ds_mark_dst("i"); }
failure_route[FAILED] { if (ds_next_dst()) route(SEND); }
"#;

fn branch_and_reply_routes_see_the_destination_in_use(mode: u32) {
    let gateways = refusing(3);
    let server = server(lines(&gateways, plain), mode).route(ELSEWHERE).start();
    let mut agent = server.agent();
    assert_eq!(tour(&mut agent, &gateways, &[]), [2, 1, 0]);
    let wanted: Vec<_> = [2, 1, 0].map(|n| format!("{} {n}", gateways.uri(n))).into();
    assert_eq!(told(&gateways, "X-Try"), wanted);
    assert!(server.list().iter().all(|one| one.flags == "IX"), "{:?}", server.list());
    assert_quiet(&server.stop());
}

fn parallel_rules_send_to_all_at_once(mode: u32) {
    let gateways = refusing(5);
    let line = |set: u32, n: usize| format!("{set} {} 0 {} duid=gw{n}\n", gateways.uri(n), 9 - n);
    let list: String = [(1, 0), (1, 1), (2, 2), (2, 3), (3, 4)].map(|(set, n)| line(set, n)).concat();
    let [full, lean] = [0, mode].map(|mode| server(&*list, mode).start());
    for rules in ["2=12", "1=8;2=12;3=8", "2=12;1=8"] {
        let tours = [&full, &lean].map(|server| {
            gateways.forget_received();
            let mut tour = tour(&mut server.agent(), &gateways, &[("X-Rules", rules)]);
            tour.sort_unstable();
            tour
        });
        assert_eq!(tours[1], tours[0], "{rules}");
    }
    full.stop();
    assert_quiet(&lean.stop());
}

fn without_a_list_there_is_no_next(mode: u32) {
    let gateways = refusing(3);
    let lean = format!("modparam(\"dispatcher\", \"ds_lean_failover\", {mode})");
    let server = Kamailio::builder().list(lines(&gateways, plain)).modparam(&lean).route(ROUTE).start();
    let mut agent = server.agent();
    assert_eq!(tour(&mut agent, &gateways, &[("X-Alg", "8")]), [2]);
    assert_eq!(server.log_lines("it has no effect: failover is off").len(), 1);
    server.stop();
}

#[test]
fn what_a_script_writes_into_the_record_ends_the_attempts_and_nothing_else() {
    const SPOILED: &str = r#"
request_route {
	if (is_method("ACK|CANCEL")) exit;
	ds_select_dst("100", "8");
	$xavp(_dsdst_=>tried) = $hdr(X-Tried);
	if (ds_next_dst()) sl_send_reply("200", "$du"); else sl_send_reply("404", "None");
}
"#;
    let gateways = refusing(3);
    let server = server(lines(&gateways, plain), 1).route(SPOILED).start();
    let mut agent = server.agent();
    for text in ["x", ";", "1;2;3=4;5.6x", ";4294967295;100=8;4294967295.4294967295", ";0;100=8;4000000.1"] {
        let mut call = with(agent.call(), "X-Tried", text);
        agent.send(&call.invite());
        let status = agent.answer(&call, "INVITE").status();
        // What looks like attempts, though of nothing that is there, is gone on from.
        assert_eq!(status, Some(if text.starts_with(";") && text.len() > 1 { 200 } else { 404 }), "{text}");
    }
    let mut server = server;
    server.assert_healthy();
    server.stop();
}
