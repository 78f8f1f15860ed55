//! Calls that count themselves (`ds_load_auto`), and several dialogs or INVITEs with one Call-ID: which of them a message is about.

use std::time::Duration;

use crate::branches::{dialog, fork, transactions};
use crate::calls::{all_over, assert_no_drift, loads, obedient, set, up, with};
use crate::followed::proxy;
use crate::support::{Agent, Call, Gateways, Kamailio, Message, eventually};

const SOON: Duration = Duration::from_secs(10);

/// Makes tests of each of these functions, at one worker and at eight.
macro_rules! at_one_and_eight {
    ($($test:ident),+ $(,)?) => {
        mod one_worker { $(#[test] fn $test() { super::$test(1); })+ }
        mod eight_workers { $(#[test] fn $test() { super::$test(8); })+ }
    };
}
pub(crate) use at_one_and_eight;

at_one_and_eight! {
    refused_update_while_it_rings_leaves_the_call_ringing,
    refused_update_in_the_dialog_ends_the_call,
    two_callers_with_one_call_id_ring_and_end_each_for_itself,
    two_callers_with_one_call_id_at_one_gateway_count_until_both_are_over,
    next_dialog_of_a_gateway_that_forks_counts_after_the_bye_of_the_first,
    bye_with_other_tags_ends_no_call,
    bye_and_cancel_of_another_caller_release_no_call_that_rings,
    request_with_other_tags_keeps_no_call,
}

fn refused_update_while_it_rings_leaves_the_call_ringing(workers: u32) {
    let gateways = Gateways::start(1, |_, request| match request.method() {
        Some("INVITE") => vec![180],
        Some("UPDATE" | "INFO") => vec![481],
        _ => vec![200],
    });
    let server = proxy(workers, gateways.list(100, "")).start();
    let mut agent = server.agent();
    for method in ["UPDATE", "INFO"] {
        let mut call = agent.call();
        let rings = agent.ring(&mut call);
        let mut early = call.clone();
        early.learn(&rings);
        agent.send(&early.within(method));
        assert_eq!(agent.answer(&early, method).status(), Some(481));
        assert_eq!(loads(&server, 1), [1], "{method}");
        assert!(gateways.answer(&call.id, 200));
        assert_eq!(agent.settle(&mut call).status(), Some(200));
        assert_eq!(loads(&server, 1), [1], "{method}");
        call.cseq = early.cseq;
        assert_eq!(agent.hang_up(&mut call), 200);
        assert_eq!(loads(&server, 1), [0], "{method}");
    }
    all_over(server);
}

fn refused_update_in_the_dialog_ends_the_call(workers: u32) {
    let gateways = obedient(1);
    let server = proxy(workers, gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut call = with(up(&mut agent), "X-Answer", "481");
    agent.send(&call.update());
    assert_eq!(agent.answer(&call, "UPDATE").status(), Some(481));
    assert_eq!(loads(&server, 1), [0]);
    all_over(server);
}

/// Two INVITEs with one Call-ID and other From-tags, as from somebody in front who forks with tags of his own.
fn two_callers(agent: &Agent, algorithm: &str, other_cseq: u32) -> (Call, Call) {
    let ring = |call: Call| with(with(call, "X-Answer", "180"), "X-Alg", algorithm);
    let one = ring(agent.call());
    let mut other = ring(agent.call_with_id(&one.id));
    other.cseq = other_cseq;
    (one, other)
}

/// The module knows a caller by 12 bits of a hash with a secret: now and then it takes two for one. Not twice in a row.
struct Chances(u32);

impl Chances {
    #[track_caller]
    fn take(&mut self, what: &str) {
        assert!(self.0 > 0, "{what}");
        self.0 -= 1;
    }
}

/// It rings; the 180 is that for this From-tag.
#[track_caller]
fn ring(agent: &mut Agent, call: &mut Call) {
    agent.send(&call.invite());
    let fits = |m: &Message| m.status() == Some(180) && m.tag("From") == Some(&call.from_tag);
    agent.receive_where(SOON, fits).expect("it rings");
}

/// The caller with this From-tag gives up.
#[track_caller]
fn give_up(agent: &mut Agent, call: &Call) {
    agent.send(&call.cancel());
    let fits = |m: &Message| m.status() == Some(487) && m.tag("From") == Some(&call.from_tag);
    let over = agent.receive_where(SOON, fits).expect("the end of the INVITE");
    agent.send(&call.ack(&over));
}

/// The gateway answers what this caller has sent.
#[track_caller]
fn answered(agent: &mut Agent, (gateways, server): (&Gateways, &Kamailio), call: &mut Call) {
    let is_it = |m: &Message| m.call_id() == call.id && m.tag("From") == Some(&call.from_tag);
    let invite = gateways.last_invite(|one| is_it(&one.message)).expect("the gateway has it");
    let contact = format!("<{}>", gateways.uri(invite.gateway));
    let answer = invite.message.reply(200, &format!("of{}", call.from_tag)).with("Contact", contact);
    gateways.send(invite.gateway, &answer, server.address());
    let fits = |m: &Message| m.status() == Some(200) && is_it(m) && m.cseq().1 == "INVITE";
    let answer = agent.receive_where(SOON, fits).expect("the answer");
    call.learn(&answer);
    agent.send(&call.ack(&answer));
}

fn two_callers_with_one_call_id_ring_and_end_each_for_itself(workers: u32) {
    let gateways = Gateways::ringing(2);
    let server = proxy(workers, gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut chances = Chances(1);
    for other_cseq in [0, 6, 6] {
        let (mut one, mut other) = two_callers(&agent, "4", other_cseq);
        ring(&mut agent, &mut one);
        let first = loads(&server, 2);
        ring(&mut agent, &mut other);
        if loads(&server, 2) != [1, 1] {
            chances.take("both ring");
            give_up(&mut agent, &other);
            give_up(&mut agent, &one);
            continue;
        }
        // A gateway of the tests answers a CANCEL for the last INVITE of the Call-ID, and here each has one.
        give_up(&mut agent, &other);
        assert_eq!(loads(&server, 2), first, "{other_cseq}");
        answered(&mut agent, (&gateways, &server), &mut one);
        assert_eq!((loads(&server, 2), assert_no_drift(&server).confirmed), (first, 1), "{other_cseq}");
        assert_eq!(agent.hang_up(&mut one), 200);
        assert_eq!(loads(&server, 2), [0, 0], "{other_cseq}");
    }
    all_over(server);
}

fn two_callers_with_one_call_id_at_one_gateway_count_until_both_are_over(workers: u32) {
    let gateways = Gateways::ringing(1);
    let server = proxy(workers, gateways.list(100, "maxload=9")).start();
    let mut agent = server.agent();
    let mut chances = Chances(1);
    for other_cseq in [0, 6, 6] {
        let (mut one, mut other) = two_callers(&agent, "10", other_cseq);
        ring(&mut agent, &mut one);
        ring(&mut agent, &mut other);
        assert_eq!(loads(&server, 1), [1], "{other_cseq}");
        // The gateway's last INVITE is that of the other.
        give_up(&mut agent, &other);
        if loads(&server, 1) != [1] {
            chances.take("the first one rings");
            give_up(&mut agent, &one);
            continue;
        }
        answered(&mut agent, (&gateways, &server), &mut one);
        assert_eq!((loads(&server, 1), assert_no_drift(&server).confirmed), (vec![1], 1), "{other_cseq}");
        assert_eq!(agent.hang_up(&mut one), 200);
        assert_eq!(loads(&server, 1), [0], "{other_cseq}");
        // Both are answered, each is ended by its own BYE.
        let (mut one, mut other) = two_callers(&agent, "10", other_cseq);
        for call in [&mut one, &mut other] {
            ring(&mut agent, call);
            answered(&mut agent, (&gateways, &server), call);
        }
        assert_eq!(loads(&server, 1), [1], "{other_cseq}");
        for (call, left) in [(&mut other, 1), (&mut one, 0)] {
            assert_eq!(agent.hang_up(call), 200);
            assert_eq!(loads(&server, 1), [left], "{other_cseq}");
        }
    }
    all_over(server);
}

fn next_dialog_of_a_gateway_that_forks_counts_after_the_bye_of_the_first(workers: u32) {
    let gateways = Gateways::ringing(1);
    let server = proxy(workers, gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.ring(&mut call);
    for tag in ["ta", "tb", "tc"] {
        fork(&gateways, 0, &server, &call, tag);
        let mut dialog = dialog(&mut agent, &call, tag);
        assert_eq!(loads(&server, 1), [1], "{tag}");
        // Twice: the second one ends nothing else.
        for _ in 0..2 {
            assert_eq!(agent.hang_up(&mut dialog), 200);
        }
        assert_eq!(loads(&server, 1), [0], "{tag}");
        // Its answer comes again, as one does whose ACK was lost.
        fork(&gateways, 0, &server, &call, tag);
        let again =
            |m: &Message| m.status() == Some(200) && m.tag("To") == Some(tag) && m.cseq().1 == "INVITE";
        agent.receive_where(SOON, again).expect("the answer again");
        assert_eq!(loads(&server, 1), [0], "{tag}");
    }
    assert_eq!(assert_no_drift(&server).calls, 0);
    // Nothing is remembered when the transaction is gone.
    eventually("the transaction is gone", Duration::from_secs(15), || transactions(&server) == 0);
    let audit = assert_no_drift(&server);
    assert_eq!((audit.calls, audit.released), (0, 0));
    all_over(server);
}

fn bye_with_other_tags_ends_no_call(workers: u32) {
    let gateways = obedient(1);
    let server = proxy(workers, gateways.list(100, "")).start();
    let mut agent = server.agent();
    let mut call = up(&mut agent);
    let wrong = |call: &mut Call, from: bool, to: bool| {
        if from {
            call.from_tag = "forged".into();
        }
        if to {
            call.to_tag = Some("wrong".into());
        }
    };
    for (from, to) in [(true, true), (true, false), (false, true)] {
        let mut forged = call.clone();
        wrong(&mut forged, from, to);
        forged.cseq += 10;
        assert_eq!(agent.hang_up(&mut forged), 200);
        assert_eq!(loads(&server, 1), [1], "BYE, {from} {to}");
        set(&mut forged, "X-Answer", "481");
        agent.send(&forged.update());
        assert_eq!(agent.answer(&forged, "UPDATE").status(), Some(481));
        assert_eq!(loads(&server, 1), [1], "UPDATE, {from} {to}");
        assert_eq!(agent.place(&mut forged).status(), Some(481));
        assert_eq!(loads(&server, 1), [1], "INVITE, {from} {to}");
    }
    assert_eq!(agent.hang_up(&mut call), 200);
    assert_eq!(loads(&server, 1), [0]);
    // From the other side.
    let call = up(&mut agent);
    gateways.hang_up(&call.id);
    let bye = agent.receive_where(SOON, |m: &Message| m.method() == Some("BYE") && m.call_id() == call.id);
    agent.reply(&bye.expect("the gateway's BYE"), 200);
    eventually("it is over", SOON, || loads(&server, 1) == [0]);
    all_over(server);
}

/// Also where no transaction tells for whom a CANCEL is.
const STATELESS: &str = r#"
request_route {
	if (is_method("CANCEL")) { $du = $hdr(X-Gateway); forward(); exit; }
	if (has_totag()) { loose_route(); forward(); exit; }
	record_route();
	if (ds_select_dst("100", "4")) forward();
}
"#;

fn bye_and_cancel_of_another_caller_release_no_call_that_rings(workers: u32) {
    let gateways = Gateways::start(1, |_, request| match request.method() {
        Some("INVITE") => vec![180],
        Some("CANCEL") => vec![],
        _ => vec![200],
    });
    let mut chances = Chances(1);
    for stateless in [false, true, false, true] {
        let server = proxy(workers, gateways.list(100, ""));
        let server = if stateless { server.route(STATELESS) } else { server }.start();
        let mut agent = server.agent();
        let mut call = with(agent.call(), "X-Gateway", &gateways.uri(0));
        let rings = agent.ring(&mut call);
        let mut early = call.clone();
        early.learn(&rings);
        let mut forged = early.clone();
        forged.from_tag = "forged".into();
        assert_eq!(agent.hang_up(&mut forged), 200);
        // Without a transaction it is not over before its script is.
        agent.send(&forged.update());
        agent.answer(&forged, "UPDATE");
        if loads(&server, 1) != [1] {
            chances.take("BYE");
        } else if stateless {
            let mut forged = call.clone();
            forged.from_tag = "forged".into();
            agent.send(&forged.cancel());
            agent.answer(&forged, "CANCEL");
            agent.send(&forged.within("UPDATE"));
            agent.answer(&forged, "UPDATE");
            if loads(&server, 1) != [1] {
                chances.take("CANCEL");
            }
            agent.send(&call.cancel());
            agent.answer(&call, "CANCEL");
        } else {
            assert_eq!(agent.hang_up(&mut early), 200);
        }
        eventually("the caller's own", SOON, || loads(&server, 1) == [0]);
        assert!(gateways.answer(&call.id, 487));
        assert_eq!(agent.settle(&mut call).status(), Some(487));
        all_over(server);
    }
}

fn request_with_other_tags_keeps_no_call(workers: u32) {
    let gateways = obedient(1);
    let times = "modparam(\"dispatcher\", \"ds_hash_expire\", 2)\nmodparam(\"dispatcher\", \"ds_hash_check_interval\", 1)";
    let server = proxy(workers, gateways.list(100, "")).modparam(times).start();
    let mut agent = server.agent();
    let (mut call, mut kept) = (up(&mut agent), up(&mut agent));
    let mut forged = call.clone();
    forged.from_tag = "forged".into();
    let over = || assert_no_drift(&server).expired >= 1;
    let end = std::time::Instant::now() + SOON;
    while !over() && std::time::Instant::now() < end {
        for one in [&mut forged, &mut kept] {
            agent.send(&one.update());
            agent.answer(one, "UPDATE");
        }
        agent.place(&mut forged.clone());
        forged.cseq += 1;
    }
    assert!(over());
    assert_eq!((loads(&server, 1), assert_no_drift(&server).expired), (vec![1], 1));
    assert_eq!(agent.hang_up(&mut kept), 200);
    call.cseq = forged.cseq;
    assert_eq!(agent.hang_up(&mut call), 200);
    all_over(server);
}
