//! Shared by the tests of probing: a server that probes quickly, the states it finds, and where calls go then.

use std::time::{Duration, Instant};

use crate::calls::with;
use crate::support::server_config::Builder;
use crate::support::{Kamailio, Probed, distinct, eventually, until};
use serde_json::{Value, json};

pub const SOON: Duration = Duration::from_secs(10);
pub const INTERVAL: Duration = Duration::from_secs(1);
/// `ds_ping_fr_timer`; tm would wait for two seconds.
pub const TIMEOUT: Duration = Duration::from_millis(300);
/// What a busy machine takes longer than it should, with the jitter of a probe.
pub const SLACK: Duration = Duration::from_millis(700);

/// Chooses from set 1 by the algorithm in `X-Alg` (8 if there is none), relays, and marks with `MARK` what does not answer.
/// With `X-Ask` it only says what it has chosen. An ACK goes nowhere: the gateways' Contact leads here.
const ROUTE: &str = r#"
request_route {
	if (is_method("ACK")) exit;
	$var(alg) = 8;
	if (is_present_hf("X-Alg")) $var(alg) = $(hdr(X-Alg){s.int});
	if (!ds_select_dst("1", "$var(alg)")) { sl_send_reply("404", "No destination"); exit; }
	if (is_present_hf("X-Ask")) { append_to_reply("X-To: $du\r\n"); sl_send_reply("200", "Chosen"); exit; }
	t_on_failure("FAILED");
	t_set_fr("0", "400");
	t_relay();
}
failure_route[FAILED] {
	if (!t_check_status("408")) exit;
	ds_mark_dst("MARK");
	if (ds_next_dst()) { t_on_failure("FAILED"); t_relay(); exit; }
}
event_route[dispatcher:dst-down] {
	xlog("L_INFO", "EVENT down $ru\n");
}
event_route[dispatcher:dst-up] {
	xlog("L_INFO", "EVENT up $ru\n");
}
"#;

/// Probes each second, in `mode`; a failure of a call reports `mark`.
pub fn probing_with(mode: u32, list: &str, mark: &str) -> Builder {
    let builder = Kamailio::builder().list(list).route(&ROUTE.replace("MARK", mark));
    builder.modparam(&format!(
        "modparam(\"dispatcher\", \"flags\", 2)\nmodparam(\"dispatcher\", \"ds_ping_interval\", 1)\n\
         modparam(\"dispatcher\", \"ds_ping_fr_timer\", {})\nmodparam(\"dispatcher\", \"ds_probing_mode\", {mode})",
        TIMEOUT.as_millis()
    ))
}

/// The same, where no call fails.
pub fn probing(mode: u32, list: impl AsRef<str>) -> Builder {
    probing_with(mode, list.as_ref(), "t")
}

/// With a parameter of ours that is a number.
pub fn set(builder: Builder, name: &str, value: u32) -> Builder {
    builder.modparam(&format!("modparam(\"dispatcher\", \"{name}\", {value})"))
}

/// With one that is a text.
pub fn set_text(builder: Builder, name: &str, value: &str) -> Builder {
    builder.modparam(&format!("modparam(\"dispatcher\", \"{name}\", \"{value}\")"))
}

/// All there is in `dispatcher.list full`, the highest priority first and then in the order of lines: the server has the
/// last line first.
#[track_caller]
pub fn all(server: &Kamailio) -> Vec<Value> {
    let list = server.rpc("dispatcher.list", json!(["full"])).unwrap_or_else(|e| panic!("{e:?}"));
    let sets = list["RECORDS"].as_array().cloned().unwrap_or_default();
    let targets = |set: Value| set["SET"]["TARGETS"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<Value> =
        sets.into_iter().flat_map(targets).map(|mut target| target["DEST"].take()).collect();
    all.reverse();
    all.sort_by_key(|one| std::cmp::Reverse(one["PRIORITY"].as_i64()));
    all
}

/// The destination at this place of the list.
#[track_caller]
pub fn at(server: &Kamailio, place: usize) -> Value {
    let all = all(server);
    all.get(place).cloned().unwrap_or_else(|| panic!("no destination {place} in {all:?}"))
}

#[track_caller]
pub fn flags(server: &Kamailio) -> Vec<String> {
    all(server).iter().map(|one| text(&one["FLAGS"])).collect()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

/// `HEALTH.CODE` and `HEALTH.REASON`.
pub fn reason(one: &Value) -> (i64, String) {
    (one["HEALTH"]["CODE"].as_i64().unwrap_or(-1), text(&one["HEALTH"]["REASON"]))
}

/// Waits until the states are these, in the order of the list; gives the destinations as they were found then.
#[track_caller]
pub fn become_all(server: &Kamailio, wanted: &[&str]) -> Vec<Value> {
    let mut found = Vec::new();
    let met = until(SOON, || {
        found = all(server);
        found.iter().map(|one| text(&one["FLAGS"])).eq(wanted.iter().copied())
    });
    assert!(met, "not {wanted:?} but {found:#?}");
    found
}

/// Waits until this destination has this state; gives it as it was found then.
#[track_caller]
pub fn becomes(server: &Kamailio, place: usize, wanted: &str) -> Value {
    let mut found = Value::Null;
    let met = until(SOON, || {
        found = at(server, place);
        found["FLAGS"] == json!(wanted)
    });
    assert!(met, "not {wanted} but {found:#}");
    found
}

/// Waits for this many more probes, each counted once.
#[track_caller]
pub fn more_probes(gateway: &Probed, count: usize) {
    let before = distinct(&gateway.probes());
    gateway.wait_for(before + count, SOON);
}

/// Asserts that no new probe comes for a bit more than two intervals; tm may send old ones again.
#[track_caller]
pub fn no_probe(gateway: &Probed) {
    let before = distinct(&gateway.probes());
    let came = until(INTERVAL * 5 / 2, || distinct(&gateway.probes()) > before);
    assert!(!came, "{:?}", gateway.probes().last());
}

#[track_caller]
pub fn set_state(server: &Kamailio, state: &str, uri: &str) {
    server.rpc("dispatcher.set_state", json!([state, 1, uri])).unwrap_or_else(|e| panic!("{e:?}"));
}

#[track_caller]
pub fn reload(server: &Kamailio) {
    server.rpc("dispatcher.reload", json!([])).unwrap_or_else(|e| panic!("{e:?}"));
}

/// Sends no more probes, and waits until those under way are over.
#[track_caller]
pub fn freeze(server: &Kamailio) {
    server.rpc("dispatcher.ping_active", json!([0])).unwrap_or_else(|e| panic!("{e:?}"));
    let mut before = all(server);
    let mut since = Instant::now();
    eventually("what is under way is over", SOON, || {
        let now = all(server);
        if now != before {
            (before, since) = (now, Instant::now());
        }
        since.elapsed() > TIMEOUT * 2
    });
}

/// A number of `dispatcher.load_audit`.
#[track_caller]
pub fn counted(server: &Kamailio, name: &str) -> i64 {
    let audit = server.rpc("dispatcher.load_audit", json!([])).unwrap_or_else(|e| panic!("{e:?}"));
    audit[name].as_i64().unwrap_or_else(|| panic!("no {name} in {audit}"))
}

/// What event routes have said so far.
pub fn events(server: &Kamailio) -> Vec<String> {
    let after = |line: String| line.split_once("EVENT ").map(|(_, event)| event.to_owned());
    server.log_lines("EVENT ").into_iter().filter_map(after).collect()
}

/// These events and no other. A state is seen before the route that tells of it has run, so it waits for as many.
#[track_caller]
pub fn told(server: &Kamailio, wanted: &[String]) {
    until(SOON, || events(server).len() >= wanted.len());
    assert_eq!(events(server), wanted);
}

/// So many events and no more.
#[track_caller]
pub fn told_so_many(server: &Kamailio, wanted: usize) {
    until(SOON, || events(server).len() >= wanted);
    assert_eq!(events(server).len(), wanted);
}

/// The status of a call that is relayed by this algorithm.
#[track_caller]
pub fn call(server: &Kamailio, algorithm: u32) -> Option<u16> {
    let mut agent = server.agent();
    let mut call = with(agent.call(), "X-Alg", &algorithm.to_string());
    agent.place(&mut call).status()
}

/// Where so many calls would go by this algorithm; empty where there is no destination.
#[track_caller]
pub fn choices(server: &Kamailio, algorithm: u32, count: usize) -> Vec<String> {
    let mut agent = server.agent();
    let mut choose = || {
        let mut call = with(with(agent.call(), "X-Alg", &algorithm.to_string()), "X-Ask", "1");
        agent.send(&call.invite());
        agent.answer(&call, "INVITE").header("X-To").unwrap_or_default().to_owned()
    };
    (0..count).map(|_| choose()).collect()
}
