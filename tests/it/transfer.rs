//! Transfers as phones make them: REFER inside the dialog (RFC 3515) and a call that replaces another (RFC 3891). What counts is
//! each call that is up, by its Call-ID.

use std::time::Duration;

use crate::calls::{self, all_over, assert_no_drift, at_one_and_eight_workers, hang_up_all, loads, up, with};
use crate::support::{Agent, Call, Gateways, Message, eventually};

at_one_and_eight_workers! {
    call_that_is_transferred_counts_until_its_bye,
    call_that_replaces_another_counts_and_the_other_ends_with_the_gateways_bye,
}

/// Every message of the call is reported. A gateway that does not have the replaced call says 481, and the next is asked.
const ROUTE: &str = r#"
request_route {
	if (is_method("CANCEL")) { ds_load_update(); if (t_check_trans()) t_relay(); exit; }
	if (has_totag()) {
		if (is_method("ACK") && t_check_trans()) { t_relay(); exit; }
		if (loose_route()) { ds_load_update(); t_relay(); }
		exit;
	}
	t_check_trans();
	record_route();
	if (!ds_select_dst("100", "10")) { send_reply("404", "No destination"); exit; }
	t_on_failure("FAILED");
	t_relay();
}
onreply_route {
	if (status =~ "^2") ds_load_update();
	else if (status =~ "^[3-7]") ds_load_unset();
}
failure_route[FAILED] {
	if (t_check_status("481") && ds_next_dst()) { t_on_failure("FAILED"); t_relay(); exit; }
	ds_load_unset();
}
"#;

const SOON: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Caller,
    Gateway,
}
use Side::{Caller, Gateway};

/// Who sends what with which headers, and what the other one says.
type Step<'a> = (Side, &'a str, &'a [(&'a str, &'a str)], u16);

/// One answered call, and the number of the gateway's next request in it.
struct Dialog<'a> {
    agent: &'a mut Agent,
    gateways: &'a Gateways,
    call: Call,
    cseq: u32,
}

impl Dialog<'_> {
    /// One side sends a request, the other one answers it so; back when that answer has arrived.
    #[track_caller]
    fn exchange(&mut self, from: Side, method: &str, headers: &[(&str, &str)], answer: u16) {
        let dressed =
            |request: Message| headers.iter().fold(request, |r, (name, value)| r.with(name, *value));
        if from == Caller {
            // What the gateway says is in its policy.
            self.agent.send(&dressed(self.call.within(method)));
            assert_eq!(self.agent.answer(&self.call, method).status(), Some(answer), "{method} {headers:?}");
            return;
        }
        self.cseq += 1;
        let (gateway, request) = self.gateways.within(&self.call.id, method, self.cseq);
        self.gateways.send(gateway, &dressed(request.clone()), request.next_hop());
        let (id, cseq) = (&self.call.id, (self.cseq, method));
        let fits = |m: &Message| m.method() == Some(method) && m.call_id() == id && m.cseq() == cseq;
        let arrived = self.agent.receive_where(SOON, fits).unwrap_or_else(|| panic!("no {cseq:?}"));
        self.agent.reply(&arrived, answer);
        eventually("the gateway has its answer", SOON, || {
            let is_it = |m: &Message| m.status() == Some(answer) && m.call_id() == id && m.cseq() == cseq;
            self.gateways.received().iter().any(|one| is_it(&one.message))
        });
    }
}

/// Gateways where `Refer-To` or `Subscription-State` may ask for a refusal. Only one that has a call can replace it.
fn gateways(count: usize) -> Gateways {
    let calls = parking_lot::Mutex::new(vec![Vec::<String>::new(); count]);
    Gateways::start(count, move |gateway, request| match request.method() {
        Some("INVITE") => {
            let mut calls = calls.lock();
            let id = |replaces: &str| replaces.split(';').next().unwrap_or_default().to_owned();
            let here = request.header("Replaces").is_none_or(|one| calls[gateway].contains(&id(one)));
            calls[gateway].extend(here.then(|| request.call_id().to_owned()));
            if here { vec![180, 200] } else { vec![481] }
        }
        Some("REFER") if request.header("Refer-To").is_some_and(|to| to.contains("nobody")) => vec![603],
        Some("REFER") => vec![202],
        Some("NOTIFY") if request.header("Subscription-State") == Some("unknown") => vec![481],
        Some("CANCEL") => vec![487],
        _ => vec![200],
    })
}

fn call_that_is_transferred_counts_until_its_bye(workers: u32) {
    let gateways = gateways(1);
    let server = calls::plain(workers, gateways.list(100, "maxload=1"), "").route(ROUTE).start();
    let mut agent = server.agent();
    for (referrer, ender) in [(Caller, Caller), (Caller, Gateway), (Gateway, Caller), (Gateway, Gateway)] {
        let call = up(&mut agent);
        let notifier = if referrer == Caller { Gateway } else { Caller };
        let mut dialog = Dialog { agent: &mut agent, gateways: &gateways, call, cseq: 0 };
        let steps: [Step<'_>; 6] = [
            (referrer, "REFER", &[("Refer-To", "<sip:nobody@127.0.0.1>")], 603),
            (referrer, "REFER", &[("Refer-To", "<sip:third@127.0.0.1>")], 202),
            (notifier, "NOTIFY", &[("Event", "refer"), ("Subscription-State", "active")], 200),
            (notifier, "NOTIFY", &[("Event", "refer"), ("Subscription-State", "terminated")], 200),
            // A subscription that nobody knows any more; the call is something else (RFC 5057 section 5.1).
            (notifier, "NOTIFY", &[("Event", "refer"), ("Subscription-State", "unknown")], 481),
            (referrer, "REFER", &[("Refer-To", "<sip:third@127.0.0.1>")], 202),
        ];
        for (from, method, headers, answer) in steps {
            dialog.exchange(from, method, headers, answer);
            let audit = assert_no_drift(&server);
            let seen = (loads(&server, 1), audit.confirmed);
            assert_eq!(seen, (vec![1], 1), "{referrer:?} {ender:?} {method} {headers:?}");
        }
        dialog.exchange(ender, "BYE", &[], 200);
        assert_eq!(loads(&server, 1), [0], "{referrer:?} {ender:?}");
    }
    let audit = all_over(server);
    assert_eq!((audit.unknown, audit.late), (0, 0));
}

fn call_that_replaces_another_counts_and_the_other_ends_with_the_gateways_bye(workers: u32) {
    let gateways = gateways(2);
    let failover = "modparam(\"dispatcher\", \"flags\", 2)";
    let list = gateways.list(100, "maxload=2");
    let server = calls::plain(workers, list, "").route(ROUTE).modparam(failover).start();
    let (mut first, mut second) = (server.agent(), server.agent());
    for ender in [Caller, Gateway] {
        let replaced = up(&mut first);
        let here = gateways.of_call(&replaced.id).unwrap();
        let expect = |count: i64, what: &str| {
            let mut expected = [0; 2];
            expected[here] = count;
            assert_eq!(loads(&server, 2), expected, "{what}");
            assert_eq!(assert_no_drift(&server).confirmed, count, "{what}");
        };
        expect(1, "one call");

        // It is sent to the idle gateway first, which does not know the call.
        let tags = format!("to-tag={};from-tag={}", replaced.to_tag.as_deref().unwrap(), replaced.from_tag);
        let mut call = with(second.call(), "Replaces", &format!("{};{tags}", replaced.id));
        assert_eq!(second.place(&mut call).status(), Some(200));
        let sent = gateways.received().into_iter().filter(|one| one.message.call_id() == call.id);
        let sent = sent.filter(|one| one.message.method() == Some("INVITE"));
        assert_eq!(sent.map(|one| one.gateway).collect::<Vec<_>>(), [1 - here, here]);
        expect(2, "both are up");

        let mut dialog = Dialog { agent: &mut first, gateways: &gateways, call: replaced, cseq: 0 };
        dialog.exchange(Gateway, "BYE", &[], 200);
        expect(1, "the replaced one is over");

        if ender == Caller {
            hang_up_all(&mut second, [&mut call]);
        } else {
            Dialog { agent: &mut second, gateways: &gateways, call, cseq: 0 }.exchange(
                Gateway,
                "BYE",
                &[],
                200,
            );
        }
        expect(0, "the other is over");
    }
    let audit = all_over(server);
    assert_eq!((audit.unknown, audit.late), (0, 0));
}
