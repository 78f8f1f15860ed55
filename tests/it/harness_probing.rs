//! Tests of the harness for probing, with the stock module: what the tests of our own probing rely on.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::calls::with;
use crate::support::server_config::Builder;
use crate::support::{Agent, Behaviour, BlackHole, Kamailio, Malformed, Probed, distinct, eventually};

pub const SOON: Duration = Duration::from_secs(10);

/// All are probed each second, and a probe without an answer is over after 800 ms.
pub fn probing(list: impl Into<String>) -> Builder {
    let builder = Kamailio::builder().stock().list(list);
    builder.modparam(
        "modparam(\"tm\", \"fr_timer\", 800)\nmodparam(\"tm\", \"retr_timer1\", 100)\n\
         modparam(\"dispatcher\", \"ds_ping_interval\", 1)\nmodparam(\"dispatcher\", \"ds_probing_mode\", 1)",
    )
}

fn flags(server: &Kamailio) -> String {
    server.list().first().map(|destination| destination.flags.clone()).unwrap_or_default()
}

/// The state of the first destination.
#[track_caller]
pub fn becomes(server: &Kamailio, wanted: &str) {
    eventually(&format!("{wanted}, not {}", flags(server)), SOON, || flags(server) == wanted);
}

#[test]
fn state_follows_what_the_gateway_answers() {
    let gateway = Probed::start();
    let server = probing(format!("1 {}\n", gateway.uri())).start();
    let probes = gateway.wait_for(2, SOON);
    becomes(&server, "AP");
    let probe = probes.first().unwrap();
    assert_eq!((probe.uri(), probe.uri_of_to()), (&*gateway.uri(), &*gateway.uri()));
    assert_eq!(probe.uri_of_from(), "sip:dispatcher@localhost");
    assert_eq!(probe.source(), server.address());
    assert_ne!(probe.call_id(), probes.last().unwrap().call_id());

    gateway.behave(Behaviour::Answer(503, "Not Now"));
    becomes(&server, "IP");
    gateway.behave(Behaviour::Answer(200, "Fine"));
    becomes(&server, "AP");
    gateway.behave(Behaviour::Delay(Duration::from_millis(150), 200));
    let changed = Instant::now();
    gateway.wait_for(distinct(&gateway.probes()) + 2, SOON);
    assert_eq!(flags(&server), "AP");
    let retransmitted = gateway.probes_since(changed);
    assert!(retransmitted.len() > distinct(&retransmitted), "after 100 ms: {retransmitted:?}");
    gateway.behave(Behaviour::Delay(Duration::from_secs(2), 200));
    becomes(&server, "IP");
    server.stop();
}

#[test]
fn gateway_that_is_gone_is_back_at_its_address() {
    for tcp in [false, true] {
        let gateway = if tcp { Probed::with_tcp() } else { Probed::start() };
        let uri = if tcp { format!("{};transport=tcp", gateway.uri()) } else { gateway.uri() };
        let server = probing(format!("1 {uri}\n")).tcp().start();
        becomes(&server, "AP");
        let local = gateway.local();
        drop(gateway);
        becomes(&server, "IP");
        let gateway = if tcp { Probed::with_tcp_at(local) } else { Probed::at(local) };
        becomes(&server, "AP");
        assert_eq!(gateway.wait_for(1, SOON).first().unwrap().uri(), uri);
        server.stop();
    }
}

#[test]
fn silence_is_told_from_a_loss_by_its_retransmissions() {
    let gateway = Probed::start();
    gateway.behave(Behaviour::Silent);
    let server = probing(format!("1 {}\n", gateway.uri())).start();
    becomes(&server, "IP");
    let probes = gateway.wait_for(2, SOON);
    assert!(probes.len() > distinct(&probes), "{probes:?}");
    server.stop();
}

#[test]
fn held_answers_come_late_when_they_are_released() {
    let gateway = Probed::start();
    gateway.hold();
    let server = probing(format!("1 {}\n", gateway.uri())).start();
    becomes(&server, "IP");
    gateway.wait_for(2, SOON);
    assert!(gateway.release() >= 2);
    becomes(&server, "AP");
    assert_eq!(gateway.release(), 0);
    server.stop();
}

/// What tm surely takes for no answer; of the others it takes some for one (see [`Malformed`]).
const NO_ANSWER: [Malformed; 5] = [
    Malformed::Garbage,
    Malformed::Zeros,
    Malformed::CutInStatusLine,
    Malformed::NoVia,
    Malformed::OtherBranch,
];

/// Each from an address of its own, since over TCP one that has no end keeps those behind it from being read.
#[test]
fn malformed_replies_break_nothing() {
    for tcp in [false, true] {
        let gateways =
            Malformed::ALL.map(|how| (how, if tcp { Probed::with_tcp() } else { Probed::start() }));
        let more = if tcp { ";transport=tcp" } else { "" };
        let list =
            gateways.iter().map(|(how, gateway)| format!("1 {}{more} 0 0 duid={how:?}\n", gateway.uri()));
        let mut server = probing(list.collect::<String>()).tcp().start();
        for (how, gateway) in &gateways {
            gateway.behave(Behaviour::Malformed(*how));
        }
        let seen = gateways.each_ref().map(|(_, gateway)| distinct(&gateway.probes()));
        for (seen, (_, gateway)) in seen.iter().zip(&gateways) {
            gateway.wait_for(seen + 3, SOON);
        }
        server.assert_healthy();
        let flags = |how: Malformed| {
            let found = server.list().into_iter().find(|d| d.duid == format!("{how:?}"));
            found.map(|destination| destination.flags)
        };
        for how in NO_ANSWER {
            assert_eq!(flags(how).as_deref(), Some("IP"), "{how:?}");
        }
        let local = gateways.each_ref().map(|(_, gateway)| gateway.local());
        drop(gateways);
        let _again = local.map(|local| if tcp { Probed::with_tcp_at(local) } else { Probed::at(local) });
        eventually("all are up", SOON, || server.list().iter().all(|destination| destination.flags == "AP"));
        server.stop();
    }
}

const ASK: &str = r#"
request_route {
	$var(uri) = $hdr(X-Uri);
	if (ds_is_active("1", "$var(uri)")) sl_send_reply("200", "Active");
	else sl_send_reply("480", "Not Active");
}
"#;

/// Asks until there is an answer: where thousands of replies arrive at once, the server loses requests.
#[track_caller]
fn is_active(agent: &mut Agent, uri: &str) -> bool {
    let mut call = with(agent.call(), "X-Uri", uri);
    let request = call.within("MESSAGE");
    let mut status = None;
    eventually("an answer", SOON, || {
        agent.send(&request);
        let answer = agent.receive_where(Duration::from_millis(100), |answer| answer.call_id() == call.id);
        status = answer.and_then(|answer| answer.status());
        status.is_some()
    });
    status == Some(200)
}

/// The stock module probes all at once, and what a full socket loses makes a gateway inactive until the next probe: so
/// all there is to see is what becomes true, and each probe has time.
#[test]
fn two_thousand_gateways_behind_one_socket_are_told_apart() {
    const COUNT: usize = 2000;
    const PATIENCE: Duration = Duration::from_secs(60);
    let gateways = Probed::start();
    gateways.behave_at("gw1234", Behaviour::Answer(503, "Only Here"));
    let builder = probing(gateways.list(1, COUNT, "")).route(ASK);
    let server = builder
        .modparam("modparam(\"tm\", \"fr_timer\", 3500)\nmodparam(\"dispatcher\", \"ds_ping_interval\", 4)")
        .start();
    eventually("a probe of each", PATIENCE, || {
        let probes = gateways.probes();
        probes.iter().map(|probe| probe.gateway.as_str()).collect::<HashSet<_>>().len() == COUNT
    });
    let mut agent = server.agent();
    eventually("only one is inactive", PATIENCE, || {
        !is_active(&mut agent, &gateways.uri_of(1234)) && is_active(&mut agent, &gateways.uri_of(1233))
    });
    assert!(!gateways.probes_of("gw1234").is_empty());
    gateways.behave(Behaviour::Answer(200, "OK"));
    eventually("it is active", PATIENCE, || is_active(&mut agent, &gateways.uri_of(1234)));
    server.stop();
}

#[test]
fn gateways_at_many_addresses_share_a_socket() {
    let gateways = Probed::at((Ipv4Addr::UNSPECIFIED, 0).into());
    let port = gateways.local().port();
    let list: String = (1..=200).map(|n| format!("1 sip:127.10.9.{n}:{port}\n")).collect();
    let server = probing(list).start();
    eventually("a probe at each", SOON, || {
        gateways.probes().iter().map(|probe| probe.gateway.clone()).collect::<HashSet<_>>().len() == 200
    });
    eventually("all are up", SOON, || server.list().iter().all(|destination| destination.flags == "AP"));
    server.stop();
}

#[test]
fn other_requests_are_answered_and_counted() {
    let gateway = Probed::start();
    gateway.behave(Behaviour::Silent);
    let mut agent = Agent::bind(gateway.local());
    let mut call = agent.call();
    assert_eq!(agent.place(&mut call).status(), Some(200));
    assert_eq!(agent.hang_up(&mut call), 200);
    let counts = ["INVITE", "ACK", "BYE", "OPTIONS"].map(|method| gateway.count(method));
    assert_eq!(counts, [1, 1, 1, 0]);
}

#[test]
fn black_hole_takes_no_connection() {
    let hole = BlackHole::start();
    let server = probing(format!("1 {}\n", hole.uri())).tcp().start();
    becomes(&server, "IP");
    assert!(hole.hangs());
    server.stop();
}
