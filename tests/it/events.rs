//! Event routes: what they can read, which changes cause them, and that they may call any function.

use serde_json::json;

use crate::calls::{assert_quiet, with};
use crate::support::server_config::Builder;
use crate::support::{Behaviour, Kamailio, Probed, eventually};
use crate::watch::{SOON, become_all, becomes, events, flags, more_probes, probing, reload, set, set_state};

/// A request marks the destination that `ds_select_dst` gives, or the one that `X-Uri` names, with `X-Mark`.
const MARK: &str = r#"
request_route {
	if (is_present_hf("X-Uri")) ds_mark_addr("$hdr(X-Mark)", "1", "$hdr(X-Uri)");
	else if (ds_select_dst("1", "8")) ds_mark_dst("$hdr(X-Mark)");
	xlog("L_INFO", "AFTER $ru $dsv(flags)\n");
	sl_send_reply("200", "OK");
}
"#;

const TELL: &str = r#"
	xlog("L_INFO", "EVENT NAME rm=$rm ru=$ru du=$du uri=$dsv(uri) set=$dsv(setid) flags=$dsv(flags) $dsv(code) $dsv(reason)\n");
"#;

fn routes(mark: &str, down: &str, up: &str) -> String {
    format!(
        "{mark}\nevent_route[dispatcher:dst-down] {{ {down} }}\nevent_route[dispatcher:dst-up] {{ {up} }}\n"
    )
}

fn telling(builder: Builder) -> Builder {
    builder.route(&routes(MARK, &TELL.replace("NAME", "down"), &TELL.replace("NAME", "up")))
}

#[track_caller]
fn mark(server: &Kamailio, state: &str, uri: Option<&str>) {
    let mut agent = server.agent();
    let mut call = with(agent.call(), "X-Mark", state);
    if let Some(uri) = uri {
        call = with(call, "X-Uri", uri);
    }
    agent.send(&call.invite());
    assert_eq!(agent.answer(&call, "INVITE").status(), Some(200));
}

#[test]
fn route_may_ask_what_happened_to_whom_and_why() {
    let gateway = Probed::start();
    gateway.behave(Behaviour::Answer(503, "Not Now, Please"));
    let server = telling(probing(1, format!("1 {}\n", gateway.uri()))).start();
    let uri = gateway.uri();
    let told = |event: &str, why: &str| format!("{event} rm=OPTIONS ru={uri} du={uri} uri={uri} set=1 {why}");
    let mut wanted = vec![told("down", "flags=1 503 Not Now, Please")];
    becomes(&server, 0, "IP");
    gateway.behave(Behaviour::Answer(202, "Again"));
    becomes(&server, 0, "AP");
    wanted.push(told("up", "flags=1 202 Again"));
    gateway.behave(Behaviour::Silent);
    becomes(&server, 0, "IP");
    wanted.push(told("down", "flags=0 408 no answer"));
    eventually("all are told", SOON, || events(&server).len() == 3);
    crate::watch::told(&server, &wanted);
    server.stop();
}

/// The call that the script handles stays what it is.
#[test]
fn script_that_marks_is_told_too_and_goes_on_with_its_own_request() {
    let gateway = Probed::start();
    let uri = gateway.uri();
    let server = telling(probing(3, format!("1 {uri}\n"))).start();
    mark(&server, "i", None);
    mark(&server, "i", Some(&uri));
    mark(&server, "a", Some(&uri));
    mark(&server, "a", Some(&uri));
    let told =
        |event: &str| format!("{event} rm=OPTIONS ru={uri} du={uri} uri={uri} set=1 flags=0 820 <null>");
    crate::watch::told(&server, &[told("down"), told("up")]);
    let after = format!("AFTER sip:callee@{} <null>", server.address());
    assert_eq!(server.log_lines("AFTER ").iter().filter(|line| line.ends_with(&after)).count(), 4);
    assert_quiet(&server.stop());
}

#[test]
fn operator_and_reload_make_no_event() {
    for mode in 0..=2 {
        let gateway = Probed::start();
        let (uri, other) = (gateway.uri(), gateway.uri_of(0));
        let list = format!("1 {uri} 8 0 duid=x\n1 {other} 32\n");
        let server = set(telling(probing(3, &list)), "event_callback_mode", mode).start();
        gateway.wait_for(1, SOON);
        becomes(&server, 0, "AP");
        let due = usize::from(mode == 2);
        eventually("the first finding is told in mode 2", SOON, || events(&server).len() == due);
        for state in ["i", "a", "d", "ip", "t", "d"] {
            set_state(&server, state, &other);
        }
        server.write_list(&format!("1 {uri} 5 0 duid=x\n"));
        reload(&server);
        reload(&server);
        assert_eq!(events(&server).len(), due, "mode {mode}: {:?}", events(&server));
        server.stop();
    }
}

#[test]
fn mode_1_is_for_what_probes_find() {
    let gateway = Probed::start();
    let uri = gateway.uri();
    let server = set(probing(1, format!("1 {uri}\n")).route(MARK), "event_callback_mode", 1);
    let server = telling(server).start();
    becomes(&server, 0, "AP");
    mark(&server, "ip", None);
    becomes(&server, 0, "AP");
    gateway.behave(Behaviour::Answer(500, "No"));
    becomes(&server, 0, "IP");
    let told: Vec<String> =
        events(&server).iter().map(|event| event.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(told, ["up", "down"], "the first is that of the probe after the mark");
    server.stop();
}

#[test]
fn mode_2_tells_the_first_finding_about_each_even_if_it_changes_nothing() {
    let gateways = Probed::start();
    gateways.behave_at("gw1", Behaviour::Answer(500, "No"));
    let list = gateways.list(1, 2, "") + &format!("1 {} 1 0 duid=gw2\n", gateways.uri_of(2));
    gateways.behave_at("gw2", Behaviour::Answer(500, "No"));
    let server = set(probing(1, list), "event_callback_mode", 2).start();
    become_all(&server, &["AP", "IP", "IP"]);
    more_probes(&gateways, 6);
    let mut told = events(&server);
    told.sort();
    let wanted = [("down", 1), ("down", 2), ("up", 0)];
    assert_eq!(told, wanted.map(|(event, n)| format!("{event} {}", gateways.uri_of(n))));
    reload(&server);
    more_probes(&gateways, 6);
    crate::watch::told_so_many(&server, 3);
    server.stop();
}

/// In the route for `down`: another selection, a reload, a mark that makes an event inside the event, and a call from
/// the list that was left.
const BUSY: &str = r#"
	xlog("L_INFO", "EVENT down $dsv(uri)\n");
	$avp(x) = "left behind";
	ds_reload();
	if (ds_select("1", "4")) xlog("L_INFO", "EVENT none\n");
	if (ds_select_dst("1", "8")) { ds_mark_dst("ip"); ds_next_dst(); }
	ds_mark_addr("a", "1", "$dsv(uri)");
	xlog("L_INFO", "EVENT end of $dsv(uri)\n");
"#;
const BUSY_UP: &str = r#"
	xlog("L_INFO", "EVENT up $dsv(uri)\n");
	ds_is_active("1");
	ds_select_dst("1", "10");
	ds_reload();
"#;

#[test]
fn route_may_do_anything_also_make_events() {
    let gateways = Probed::start();
    let list = format!("1 {} 0 9 duid=a\n1 {} 0 5 duid=b\n", gateways.uri_of(0), gateways.uri_of(1));
    let mut server = probing(1, list).route(&routes(MARK, BUSY, BUSY_UP)).start();
    become_all(&server, &["AP", "AP"]);
    gateways.behave_at("gw0", Behaviour::Answer(503, "No"));
    // gw0 is found down; that marks gw1, and each is marked up again by its own event.
    let first = [
        format!("down {}", gateways.uri_of(0)),
        format!("down {}", gateways.uri_of(1)),
        format!("up {}", gateways.uri_of(1)),
        format!("end of {}", gateways.uri_of(1)),
        format!("up {}", gateways.uri_of(0)),
        format!("end of {}", gateways.uri_of(0)),
    ];
    let told = || events(&server).into_iter().filter(|event| event != "none").collect::<Vec<_>>();
    eventually("the events and those inside them", SOON, || told().len() >= first.len());
    assert_eq!(told()[..first.len()], first);
    gateways.behave_at("gw0", Behaviour::Answer(200, "OK"));
    more_probes(&gateways, 4);
    become_all(&server, &["AP", "AP"]);
    mark(&server, "i", None);
    eventually("a worker runs them as well", SOON, || flags(&server) == ["AP", "AP"]);
    let ends = told().iter().filter(|event| event.starts_with("end of")).count();
    let downs = told().iter().filter(|event| event.starts_with("down")).count();
    assert!(ends == downs && ends >= 4, "{:?}", told());
    server.assert_healthy();
    server.stop();
}

/// A thousand changes leave no memory behind.
#[test]
fn events_leave_nothing_behind() {
    let gateway = Probed::start();
    let uri = gateway.uri();
    let down = r#"xlog("L_DBG", "$ru $fu $ci $dsv(reason)"); $avp(x) = "something that is to be freed"; $xavp(y=>z) = "and this";"#;
    let server = probing(2, format!("1 {uri}\n")).route(&routes(MARK, down, down)).start();
    let run = |times| {
        for _ in 0..times {
            mark(&server, "i", Some(&uri));
            mark(&server, "a", Some(&uri));
        }
        let stats = server.rpc("pkg.stats", json!([])).unwrap();
        stats.as_array().unwrap().iter().map(|one| one["used"].as_i64().unwrap()).max().unwrap()
    };
    let (first, shared) = (run(50), server.shm_used());
    let second = run(200);
    assert!(second <= first + 2000, "{first} then {second}");
    eventually("shared memory is as before", SOON, || server.shm_used() <= shared + 2000);
    server.stop();
}
