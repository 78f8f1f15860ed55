//! Which answers to a probe count: codes, no answer, malformed replies, and late ones.

use std::time::Duration;

use serde_json::json;

use crate::calls::assert_quiet;
use crate::support::{Behaviour, Malformed, Probed, distinct, eventually};
use crate::watch::{
    TIMEOUT, at, become_all, becomes, counted, flags, more_probes, probing, reason, set, set_text, told,
    told_so_many,
};

/// What a gateway answers, its own `ping_reply_codes`, and the letter of its state then.
type Case = (u16, &'static str, &'static str);

/// With `code=404;class=3` for those that have no codes of their own.
const CASES: [Case; 12] = [
    (200, "", "AP"),
    (299, "", "AP"),
    (404, "", "AP"),
    (302, "", "AP"),
    (403, "", "IP"),
    (503, "", "IP"),
    (408, "", "IP"),
    (603, "", "IP"),
    (503, "class=4;code=503", "AP"),
    (486, "class=4;code=503", "AP"),
    // Its own codes stand in the place of the others; a 2xx is good in any case.
    (302, "class=4;code=503", "IP"),
    (202, "class=4;code=503", "AP"),
];

#[test]
fn code_says_whether_a_gateway_is_up() {
    let gateways = Probed::start();
    let mut list = String::new();
    for (n, (code, own, _)) in CASES.into_iter().enumerate() {
        let own = if own.is_empty() { own.into() } else { format!(";ping_reply_codes=\"{own}\"") };
        list += &format!("1 {} 0 0 duid=gw{n}{own}\n", gateways.uri_of(n));
        gateways.behave_at(&format!("gw{n}"), Behaviour::Answer(code, "Says The Gateway"));
    }
    let server = set_text(probing(1, &list), "ds_ping_reply_codes", "code=404;class=3").start();
    let found = become_all(&server, &CASES.map(|(_, _, state)| state));
    for (one, (code, ..)) in found.iter().zip(CASES) {
        assert_eq!(reason(one), (code.into(), "Says The Gateway".into()), "{one}");
    }
    told_so_many(&server, CASES.iter().filter(|case| case.2 == "IP").count());
    server.stop();
}

#[test]
fn silence_is_never_good_but_a_reply_with_that_code_may_be() {
    let gateways = Probed::start();
    gateways.behave_at("gw0", Behaviour::Silent);
    gateways.behave_at("gw1", Behaviour::Answer(408, "Said In Time"));
    let server =
        set_text(probing(1, gateways.list(1, 2, "")), "ds_ping_reply_codes", "code=408;class=4").start();
    let found = become_all(&server, &["IP", "AP"]);
    assert_eq!(reason(&found[0]), (408, "no answer".into()));
    assert_eq!(reason(&found[1]), (408, "Said In Time".into()));
    server.stop();
}

#[test]
fn provisional_reply_is_no_answer() {
    let gateway = Probed::start();
    gateway.behave(Behaviour::Answer(183, "Not Yet"));
    let builder = set_text(probing(1, format!("1 {}\n", gateway.uri())), "ds_ping_reply_codes", "class=1");
    let server = builder.start();
    assert_eq!(reason(&becomes(&server, 0, "IP")), (408, "no answer".into()));
    server.stop();
}

/// What tm takes for an answer, over UDP: it looks at the branch, the method in CSeq and the code.
const ANSWERS: [Malformed; 6] = [
    Malformed::OtherCseq,
    Malformed::LongCseq,
    Malformed::OtherCallId,
    Malformed::NoEnd,
    Malformed::LongBody,
    Malformed::Huge,
];

#[test]
fn nonsense_is_no_answer_and_breaks_nothing() {
    let gateways = Malformed::ALL.map(|how| (how, Probed::start()));
    let line = |(how, gateway): &(Malformed, Probed)| format!("1 {} 0 0 duid={how:?}\n", gateway.uri());
    for (how, gateway) in &gateways {
        gateway.behave(Behaviour::Malformed(*how));
    }
    let mut server = probing(1, gateways.iter().map(line).collect::<String>()).start();
    let wanted = Malformed::ALL.map(|how| if ANSWERS.contains(&how) { "AP" } else { "IP" });
    become_all(&server, &wanted);
    gateways.iter().for_each(|(_, gateway)| more_probes(gateway, 2));
    assert_eq!(flags(&server), wanted, "and they stay so");
    for (place, _) in wanted.iter().enumerate().filter(|(_, state)| **state == "IP") {
        let how = Malformed::ALL[place];
        // tm takes any code above 699 for an answer as well.
        let code = if how == Malformed::HighCode { (999, "High") } else { (408, "no answer") };
        assert_eq!(reason(&at(&server, place)), (code.0, code.1.into()), "{how:?}");
    }
    gateways.iter().for_each(|(_, gateway)| gateway.behave(Behaviour::Answer(200, "OK")));
    become_all(&server, &[&"AP"; Malformed::ALL.len()].map(|state| *state));
    server.assert_healthy();
    server.stop();
}

#[test]
fn late_answer_changes_nothing_and_is_counted() {
    let gateway = Probed::start();
    gateway.hold();
    let server = probing(1, format!("1 {}\n", gateway.uri())).start();
    let down = becomes(&server, 0, "IP");
    assert_eq!(reason(&down), (408, "no answer".into()));
    let probes = distinct(&gateway.probes());
    gateway.behave(Behaviour::Silent);
    assert!(gateway.release() >= probes);
    eventually("they are counted", TIMEOUT * 10, || counted(&server, "STALE_PROBES") >= 1);
    more_probes(&gateway, 1);
    let one = at(&server, 0);
    assert_eq!((&one["FLAGS"], &one["HEALTH"]["SUCCESSES"]), (&json!("IP"), &json!(0)));
    assert_eq!(counted(&server, "STALE_PROBES"), probes as i64);
    gateway.behave(Behaviour::Answer(200, "OK"));
    becomes(&server, 0, "AP");
    told(&server, &["down", "up"].map(|event| format!("{event} {}", gateway.uri())));
    assert_quiet(&server.stop());
}

#[test]
fn connection_that_is_refused_fails_at_once() {
    let gateway = Probed::start();
    let uri = format!("{};transport=tcp", gateway.uri());
    let patient = set(probing(1, format!("1 {uri}\n")).tcp(), "ds_ping_fr_timer", 60_000);
    let server = patient.modparam("modparam(\"tm\", \"fr_timer\", 60000)").start();
    let down = becomes(&server, 0, "IP");
    assert_eq!(reason(&down), (500, "Sending keepalive failed".into()));
    let (address, _) = (gateway.local(), drop(gateway));
    let gateway = Probed::with_tcp_at(address);
    becomes(&server, 0, "AP");
    told(&server, &[format!("down {uri}"), format!("up {uri}")]);
    drop(gateway);
    server.stop();
}

#[test]
fn time_of_a_probe_is_that_of_its_destination() {
    let gateways = Probed::start();
    gateways.behave(Behaviour::Delay(Duration::from_millis(500), 200));
    let lines = ["", ";ping_timeout=200", ";ping_timeout=1500", ";ping_timeout=0"];
    let line = |(n, more): (usize, &&str)| format!("1 {} 0 0 duid=gw{n}{more}\n", gateways.uri_of(n));
    let list: String = lines.iter().enumerate().map(line).collect();
    let server = set(probing(1, list), "ds_ping_fr_timeout", 1000).start();
    become_all(&server, &["AP", "IP", "AP", "AP"]);
    no_failure_but_at(&server, 1);
    server.stop();
}

#[track_caller]
fn no_failure_but_at(server: &crate::support::Kamailio, place: usize) {
    eventually("a second answer of each", crate::watch::SOON, || {
        crate::watch::all(server).iter().enumerate().all(|(n, one)| {
            let count = |name: &str| one["HEALTH"][name].as_i64().unwrap();
            if n == place { count("FAILURES") >= 2 } else { count("SUCCESSES") >= 2 }
        })
    });
}
