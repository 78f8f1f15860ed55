//! Ejection by what becomes of calls (`ds_passive_health`): who refuses calls or is silent is out, though its probes are good, and back by a
//! trial; what is the call's own fault puts nobody out; a set never loses more than it may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::calls::{assert_no_drift, loads, with};
use crate::drain::ask;
use crate::restart::folder;
use crate::support::server_config::Builder;
use crate::support::{Agent, Call, Gateways, Kamailio, eventually, until};
use crate::watch::{all, become_all, becomes, flags, reload};

const SOON: Duration = Duration::from_secs(10);

/// `X-Alg` names the algorithm, `X-Alone` keeps the call from going elsewhere.
const ROUTE: &str = r#"
request_route {
	if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
	if (has_totag()) { if (loose_route()) t_relay(); else if (is_method("ACK") && t_check_trans()) t_relay(); exit; }
	t_check_trans();
	record_route();
	$var(alg) = $(hdr(X-Alg){s.int});
	if (!ds_select_dst("100", "$var(alg)")) { send_reply("404", "No destination"); exit; }
	if (!is_present_hf("X-Alone")) t_on_failure("NEXT");
	t_relay();
}
failure_route[NEXT] {
	if (t_is_canceled()) exit;
	if (t_check_status("5[0-9][0-9]|408") && ds_next_dst()) { t_on_failure("NEXT"); t_relay(); exit; }
}
event_route[dispatcher:dst-down] { xlog("L_INFO", "EVENT down $ru $dsv(code) $dsv(reason)\n"); }
event_route[dispatcher:dst-up] { xlog("L_INFO", "EVENT up $ru $dsv(code) $dsv(reason)\n"); }
"#;

/// Gateways that answer OPTIONS, and calls as is said: 200 rings and takes the call, 0 is silent, others refuse.
struct Moody {
    gateways: Gateways,
    moods: Arc<Vec<AtomicU32>>,
}

impl Moody {
    fn new(count: usize) -> Self {
        let moods: Arc<Vec<_>> = Arc::new((0..count).map(|_| AtomicU32::new(200)).collect());
        let theirs = moods.clone();
        let gateways = Gateways::start(count, move |gateway, request| match request.method() {
            Some("INVITE") => match theirs[gateway].load(Ordering::SeqCst) as u16 {
                0 => vec![],
                200 => vec![180, 200],
                code => vec![code],
            },
            Some("CANCEL") => vec![487],
            _ => vec![200],
        });
        Self { gateways, moods }
    }

    fn be(&self, gateway: usize, mood: u32) {
        self.moods[gateway].store(mood, Ordering::SeqCst);
    }

    /// INVITEs that each has got so far.
    fn got(&self) -> Vec<usize> {
        self.gateways.counts("INVITE")
    }

    fn server(&self, params: &[(&str, u32)]) -> Builder {
        let mut all = vec![
            ("flags", 2),
            ("ds_lean_failover", 2),
            ("ds_passive_health", 1),
            ("ds_eject_window", 20),
            ("ds_eject_time", 1),
            ("ds_eject_trial", 2),
        ];
        all.extend(params);
        let mut lines: String = all
            .iter()
            .map(|(name, value)| format!("modparam(\"dispatcher\", \"{name}\", {value})\n"))
            .collect();
        lines.push_str("modparam(\"tm\", \"fr_timer\", 300)");
        let list = (0..self.gateways.how_many())
            .map(|n| format!("100 {} 0 {} duid=gw{n}\n", self.gateways.uri(n), 99 - n))
            .collect::<String>();
        Kamailio::builder().workers(4).list(list).route(ROUTE).modparam(&lines)
    }
}

/// Callers that call many: so many that each calls every gateway in turn.
struct Callers {
    agents: Vec<Agent>,
    algorithm: String,
    calls: usize,
}

impl Callers {
    fn new(server: &Kamailio, algorithm: u32) -> Self {
        let agents = (0..5).map(|_| server.agent()).collect();
        Self { agents, algorithm: algorithm.to_string(), calls: 0 }
    }

    /// A call of the next of them to somebody else; what came of it.
    #[track_caller]
    fn call(&mut self) -> u16 {
        let (caller, callee) = (self.calls % 5, format!("callee{}", self.calls));
        self.call_of(caller, &callee, |call| call)
    }

    #[track_caller]
    fn call_of(&mut self, caller: usize, callee: &str, change: impl FnOnce(Call) -> Call) -> u16 {
        self.calls += 1;
        let agent = &mut self.agents[caller];
        let mut call = change(with(agent.call(), "X-Alg", &self.algorithm));
        call.uri = call.uri.replace("callee@", &format!("{callee}@"));
        let status = agent.place(&mut call).status().unwrap();
        if status == 200 {
            assert_eq!(agent.hang_up(&mut call), 200);
        }
        status
    }

    /// Calls until this is so; none is lost.
    #[track_caller]
    fn call_until(&mut self, what: &str, so: impl Fn() -> bool) {
        let met = until(SOON, || {
            assert_eq!(self.call(), 200);
            so()
        });
        assert!(met, "{what}");
    }
}

fn alone(call: Call) -> Call {
    with(call, "X-Alone", "1")
}

/// Out though its probes are good; its trial fails, then it is mended and its trial is passed.
#[track_caller]
fn goes_out_and_comes_back((auto, lean): (u32, u32), algorithm: u32, mood: u32) {
    let moody = Moody::new(3);
    moody.be(0, mood);
    let probed = [("ds_ping_interval", 1), ("ds_probing_mode", 1)];
    let ways = [("ds_load_auto", auto), ("ds_lean_failover", lean)];
    let mut server = moody.server(&[probed, ways].concat()).start();
    become_all(&server, &["AP", "AP", "AP"]);
    let mut callers = Callers::new(&server, algorithm);
    let out = || server.log_lines("EVENT down").len();
    callers.call_until("it is out", || flags(&server)[0] == "APE");
    assert!((5..=6).contains(&moody.got()[0]), "{:?}", moody.got());
    let code = if mood == 0 { 408 } else { mood };
    let ejection = all(&server)[0]["EJECTION"].clone();
    assert_eq!((&ejection["CODE"], &ejection["TIMES"]), (&json!(code), &json!(1)), "{ejection}");
    assert_eq!(ejection["REASON"], "ejected: 5 calls in a row failed");
    eventually("it is told", SOON, || out() == 1);
    // One call is enough to put it out again, for longer.
    callers.call_until("its trial fails", || all(&server)[0]["EJECTION"]["TIMES"] == json!(2));
    assert!((6..=8).contains(&moody.got()[0]), "{:?}", moody.got());
    moody.be(0, 200);
    callers.call_until("it is back", || flags(&server)[0] == "AP");
    eventually("it is told", SOON, || server.log_lines("EVENT up").len() == 1);
    assert_eq!(out(), 1, "a trial that fails is no news");
    let uri = moody.gateways.uri(0);
    let told = [server.log_lines("EVENT down")[0].clone(), server.log_lines("EVENT up")[0].clone()];
    assert!(told[0].ends_with(&format!("{uri} {code} ejected: 5 calls in a row failed")), "{told:?}");
    assert!(told[1].ends_with(&format!("{uri} 200 its ejection is over")), "{told:?}");
    let before = moody.got()[0];
    (0..9).for_each(|_| assert_eq!(callers.call(), 200));
    assert!(moody.got()[0] >= before + 2, "{:?}", moody.got());
    let stats = server.rpc("dispatcher.stats", json!([100])).unwrap();
    let of_first = stats.as_array().and_then(|all| all.iter().find(|one| one["DUID"] == "gw0")).unwrap();
    assert_eq!((&of_first["EJECTED"], &of_first["EJECTIONS_TOTAL"]), (&json!(0), &json!(2)), "{stats}");
    assert_no_drift(&server);
    server.assert_healthy();
    server.stop();
}

#[test]
fn one_that_refuses_calls_is_out_whatever_its_probes_say_and_back_by_a_trial() {
    goes_out_and_comes_back((0, 2), 4, 503);
    goes_out_and_comes_back((1, 0), 10, 500);
}

#[test]
fn one_that_is_silent_is_out_whatever_its_probes_say_and_back_by_a_trial() {
    goes_out_and_comes_back((0, 0), 10, 0);
    goes_out_and_comes_back((1, 1), 4, 0);
}

#[test]
fn neither_a_dead_number_nor_one_caller_nor_a_call_that_all_refuse_puts_anybody_out() {
    for (auto, algorithm) in [(0, 4), (1, 10)] {
        let moody = Moody::new(4);
        let mut server = moody.server(&[("ds_load_auto", auto)]).start();
        let mut callers = Callers::new(&server, algorithm);
        let nobody_is_out = |what: &str| assert_eq!(flags(&server), ["AX"; 4], "{what}");
        (0..4).for_each(|gateway| moody.be(gateway, 500));
        for n in 0..12 {
            assert_eq!(callers.call_of(n % 5, "dead", alone), 500);
            assert_eq!(callers.call_of(0, &format!("number{n}"), alone), 500);
        }
        nobody_is_out("a dead number, and one caller");
        (0..20).for_each(|_| assert_eq!(callers.call(), 500));
        nobody_is_out("all refuse it");
        // A refusal of the call is a sign of life.
        for code in [403, 404, 486, 488, 600] {
            (0..4).for_each(|gateway| moody.be(gateway, code));
            (0..12).for_each(|_| assert_eq!(callers.call(), code as u16));
        }
        nobody_is_out("what is the call's own");
        // Nor does one say anything that the caller gives up.
        (0..4).for_each(|gateway| moody.be(gateway, 180));
        for n in 0..16 {
            let agent = &mut callers.agents[n % 5];
            let mut call = with(agent.call(), "X-Alg", &algorithm.to_string());
            call.uri = call.uri.replace("callee@", &format!("n{n}@"));
            agent.ring(&mut call);
            assert_eq!(agent.cancel(&mut call), 487);
        }
        nobody_is_out("cancelled");
        assert_eq!(server.log_lines("EVENT"), [""; 0]);
        assert_no_drift(&server);
        server.assert_healthy();
        server.stop();
    }
}

#[test]
fn where_all_are_bad_the_ceiling_holds_and_none_starves() {
    for (auto, algorithm) in [(1, 4), (0, 10)] {
        let moody = Moody::new(4);
        let mut server = moody.server(&[("ds_load_auto", auto)]).start();
        let mut callers = Callers::new(&server, algorithm);
        (0..4).for_each(|gateway| moody.be(gateway, 503));
        let ejected = || flags(&server).iter().filter(|one| one.ends_with('E')).count();
        for n in 0..60 {
            // A 503 is not for the caller (RFC 3261 section 16.7).
            assert_eq!(callers.call_of(n % 5, &format!("number{n}"), alone), 500);
            assert!(ejected() <= 1, "{:?}", flags(&server));
        }
        assert!(moody.got().iter().all(|calls| *calls >= 5), "{:?}", moody.got());
        eventually("one is out", SOON, || {
            callers.call_of(callers.calls % 5, &format!("number{}", callers.calls), alone);
            ejected() == 1
        });
        (0..4).for_each(|gateway| moody.be(gateway, 200));
        callers.call_until("all are back", || ejected() == 0);
        assert_no_drift(&server);
        server.assert_healthy();
        server.stop();
    }
}

/// Puts the first gateway out, and mends it.
#[track_caller]
fn put_out(server: &Kamailio, moody: &Moody, callers: &mut Callers, mood: u32) {
    moody.be(0, mood);
    let told = server.log_lines("EVENT down").len();
    callers.call_until("it is out", || flags(server)[0].ends_with('E'));
    moody.be(0, 200);
    eventually("it is told", SOON, || server.log_lines("EVENT down").len() > told);
}

#[test]
fn it_goes_on_over_a_reload_and_the_word_of_an_operator_ends_it() {
    let moody = Moody::new(3);
    let mut server = moody.server(&[("ds_eject_time", 300)]).start();
    let mut callers = Callers::new(&server, 4);
    let uri = moody.gateways.uri(0);
    for (command, arguments, after) in [
        ("set_state", json!(["ap", 100, uri]), "AP"),
        ("set_state", json!(["i", 100, uri]), "IX"),
        ("drain", json!([100, uri, 600]), "AXD"),
    ] {
        put_out(&server, &moody, &mut callers, 503);
        let list = std::fs::read_to_string(server.list_file()).unwrap();
        server.write_list(&list.replace("duid=gw1", "duid=gw1;weight=5"));
        reload(&server);
        assert!(flags(&server)[0].ends_with('E'), "over a reload");
        assert_eq!(callers.call(), 200);
        ask(&server, command, arguments);
        assert_eq!(flags(&server)[0], after, "{command}");
        if command == "drain" {
            ask(&server, "undrain", json!([100, uri]));
        } else {
            ask(&server, "set_state", json!(["a", 100, uri]));
        }
        let before = moody.got()[0];
        (0..6).for_each(|_| assert_eq!(callers.call(), 200));
        assert_eq!((moody.got()[0], &*flags(&server)[0]), (before + 2, "AX"), "it gets its share");
    }
    let told = (server.log_lines("EVENT down").len(), server.log_lines("EVENT up").len());
    assert_eq!(told, (3, 0), "an operator's command is no event");
    server.assert_healthy();
    server.stop();
}

#[test]
fn where_nothing_else_is_left_one_that_is_ejected_serves() {
    let moody = Moody::new(2);
    let mut server = moody.server(&[("ds_eject_time", 300), ("ds_load_auto", 1)]).start();
    for (round, algorithm) in (1..).zip([4, 8, 10]) {
        let mut callers = Callers::new(&server, algorithm);
        put_out(&server, &moody, &mut callers, 503);
        let explained = server.rpc("dispatcher.explain", json!([100, algorithm])).unwrap().to_string();
        assert!(explained.contains("ejected"), "{explained}");
        ask(&server, "set_state", json!(["i", 100, moody.gateways.uri(1)]));
        let before = moody.got();
        assert_eq!(callers.call(), 200);
        assert_eq!(moody.got(), [before[0] + 1, before[1]]);
        assert_eq!(flags(&server), ["AX", "IX"]);
        ask(&server, "set_state", json!(["a", 100, moody.gateways.uri(1)]));
        eventually("it is told", SOON, || server.log_lines("EVENT up").len() == round);
    }
    assert_eq!(loads(&server, 2), [0, 0]);
    server.assert_healthy();
    server.stop();
}

#[test]
fn in_a_parallel_fork_who_fails_beside_others_is_out_and_who_is_cancelled_is_not() {
    for auto in [0, 1] {
        let moody = Moody::new(3);
        let mut server = moody.server(&[("ds_load_auto", auto)]).start();
        let mut callers = Callers::new(&server, 12);
        moody.be(0, 503);
        moody.be(2, 180);
        callers.call_until("it is out", || flags(&server)[0] == "AXE");
        // The caller may be faster than the worker that has the fifth refusal.
        assert!([[5; 3], [6; 3]].iter().any(|got| moody.got() == got), "{:?}", moody.got());
        (0..8).for_each(|_| assert_eq!(callers.call(), 200));
        assert_eq!(flags(&server)[1..], ["AX"; 2]);
        // To ring is a sign of life.
        moody.be(0, 180);
        callers.call_until("it is back", || flags(&server)[0] == "AX");
        assert_no_drift(&server);
        server.assert_healthy();
        server.stop();
    }
}

#[test]
fn one_to_which_nothing_can_be_sent_is_out() {
    let refusing = crate::support::net::free_port(crate::support::net::address());
    let silent = crate::support::net::socket();
    let silent = silent.local_addr().unwrap();
    for uri in [format!("sip:{refusing};transport=tcp"), format!("sip:{silent}")] {
        let moody = Moody::new(2);
        let list = format!("100 {uri} 0 9 duid=dead\n{}", moody.gateways.list(100, ""));
        let dropping = format!("onsend_route {{ if (to_port == {}) drop; }}\n", silent.port());
        let builder =
            moody.server(&[]).list(list).tcp().globals("tcp_async=no").route(&(ROUTE.to_owned() + &dropping));
        let mut server = builder.start();
        let mut callers = Callers::new(&server, 8);
        for n in 0..5 {
            assert_eq!(flags(&server)[0], "AX", "{uri}");
            assert!(callers.call_of(n, &format!("number{n}"), alone) >= 400);
        }
        becomes(&server, 0, "AXE");
        assert_eq!(callers.call(), 200);
        assert_no_drift(&server);
        server.assert_healthy();
        server.stop();
    }
}

/// A gateway that answers each INVITE with 503, and asks for so many seconds.
fn busy(seconds: u32) -> (String, Arc<AtomicU32>) {
    let socket = crate::support::net::socket();
    let uri = format!("sip:{}", socket.local_addr().unwrap());
    let got = Arc::new(AtomicU32::new(0));
    let counted = got.clone();
    socket.set_read_timeout(Some(SOON * 3)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let request = crate::support::Message::parse(&buffer[..length]);
            if let Some(invite) = request.filter(|request| request.method() == Some("INVITE")) {
                counted.fetch_add(1, Ordering::SeqCst);
                let reply =
                    invite.reply(503, "busy").with("Retry-After", format!("{seconds} (full);duration=9"));
                let _ = socket.send_to(&reply.bytes(), from);
            }
        }
    });
    (uri, got)
}

#[test]
fn one_that_asks_to_be_left_alone_is_where_the_next_takes_the_call() {
    for (honoured, most) in [(7, 60), (4, 4), (0, 0)] {
        let moody = Moody::new(2);
        let (uri, got) = busy(7);
        let list = format!("100 {uri} 0 9 duid=busy\n{}", moody.gateways.list(100, ""));
        let mut server = moody.server(&[("ds_retry_after_max", most)]).list(list).start();
        let mut callers = Callers::new(&server, 8);
        assert_eq!(
            callers.call_of(0, "alone", alone),
            500,
            "it goes nowhere else: not known whose fault it is"
        );
        assert_eq!(flags(&server)[0], "AX");
        assert_eq!(callers.call(), 200);
        let ejection = all(&server)[0]["EJECTION"].clone();
        if honoured == 0 {
            assert_eq!(flags(&server)[0], "AX");
        } else {
            let reason = format!("ejected: Retry-After of {honoured} s");
            assert_eq!(ejection["REASON"].as_str(), Some(&*reason), "{ejection}");
            (0..3).for_each(|_| assert_eq!(callers.call(), 200));
            assert_eq!(got.load(Ordering::SeqCst), 2);
        }
        server.assert_healthy();
        server.stop();
    }
}

#[test]
fn a_restart_forgets_it_and_without_tm_the_server_does_not_start() {
    let (dir, moody) = (folder(), Moody::new(3));
    let file = crate::restart::state_file(&dir.path().join("s"));
    let start = || moody.server(&[("ds_eject_time", 300)]).modparam(&file).start();
    let server = start();
    put_out(&server, &moody, &mut Callers::new(&server, 4), 503);
    becomes(&server, 0, "AXE");
    server.stop();
    let server = start();
    assert_eq!(flags(&server), ["AX"; 3]);
    server.stop();
    let refused =
        Kamailio::builder().without_tm().modparam("modparam(\"dispatcher\", \"ds_passive_health\", 1)");
    assert!(refused.refused().contains("ds_passive_health is set, but the module tm is not loaded"));
}
