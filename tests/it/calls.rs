//! Shared by the tests of call load: the routing, gateways that behave as a header tells them, and the checks at the end.

use std::time::Duration;

use crate::calls_kemi;
use crate::support::counting::Counting;
use crate::support::language::Language;
use crate::support::server_config::Builder;
use crate::support::{Agent, Call, Gateways, Kamailio, Message, eventually};
use serde_json::{Value, json};

/// Makes tests of each of these functions: at one worker and at eight; at one and at eight where the module follows calls by
/// itself, and at eight where the script counts as well; and all of these where the module follows calls over TCP. What differs
/// least from another way has a name with `long_`: `make it` leaves it to `make it-long`.
macro_rules! at_one_and_eight_workers {
    ($($test:ident),+ $(,)?) => {
        mod one_worker { $(#[test] fn $test() { super::$test(1); })+ }
        mod eight_workers { $(#[test] fn $test() { super::$test(8); })+ }
        mod long_followed_at_one_worker {
            use crate::support::counting::{Counting, counted};
            $(#[test] fn $test() { counted(Counting::Followed, || super::$test(1)); })+
        }
        mod followed {
            use crate::support::counting::{Counting, counted};
            $(#[test] fn $test() { counted(Counting::Followed, || super::$test(8)); })+
        }
        mod followed_and_counted {
            use crate::support::counting::{Counting, counted};
            $(#[test] fn $test() { counted(Counting::Both, || super::$test(8)); })+
        }
        mod over_tcp {
            use crate::support::counting::{Counting, counted};
            use crate::support::over::{Over, over};
            fn run(way: Counting, test: impl FnOnce()) { over(Over::Tcp, || counted(way, test)); }
            mod long_followed_at_one_worker {
                $(#[test] fn $test() {
                    super::run(super::Counting::Followed, || super::super::$test(1));
                })+
            }
            mod followed {
                $(#[test] fn $test() { super::run(super::Counting::Followed, || super::super::$test(8)); })+
            }
            mod long_followed_and_counted {
                $(#[test] fn $test() {
                    super::run(super::Counting::Both, || super::super::$test(8));
                })+
            }
        }
    };
}
pub(crate) use at_one_and_eight_workers;

/// Makes a test of each of these functions with calls that the script counts, and with calls that count themselves.
macro_rules! counted_in_each_way {
    ($($test:ident),+ $(,)?) => {
        mod counted_by_the_script { $(#[test] fn $test() { super::$test(); })+ }
        mod followed {
            use crate::support::counting::{Counting, counted};
            $(#[test] fn $test() { counted(Counting::Followed, super::$test); })+
        }
    };
}
pub(crate) use counted_in_each_way;

/// Routing by call load as an operator writes it: select, relay, report the answer and the BYE. `X-Set` names another set than 100; a MESSAGE reloads from the script.
const RELAY: &str = r#"
request_route {
	if (is_method("MESSAGE")) { if (ds_reload()) sl_send_reply("200", "OK"); else sl_send_reply("500", "No"); exit; }
	if (is_method("CANCEL")) { ds_load_update(); if (t_check_trans()) t_relay(); exit; }
	if (has_totag()) {
		if (is_method("ACK") && t_check_trans()) { t_relay(); exit; }
		$var(known) = loose_route();
		if (is_method("BYE|INVITE|UPDATE")) ds_load_update();
		if ($var(known) > 0) t_relay(); else if (!is_method("ACK")) sl_send_reply("481", "Not here");
		exit;
	}
	t_check_trans();
	record_route();
	$var(set) = 100;
	if (is_present_hf("X-Set")) $var(set) = $(hdr(X-Set){s.int});
	if (!ds_select_dst("$var(set)", "10")) { send_reply("404", "No destination"); exit; }
	t_on_failure("FAILED");
	t_relay();
}
onreply_route {
	if (!is_method("INVITE")) exit;
	if (status =~ "^2") ds_load_update();
	else if (status =~ "^[3-7]") ds_load_unset();
}
failure_route[FAILED] {
	if (t_is_canceled()) exit;
"#;

/// What a failure route does: nothing more, or one gateway after the other.
pub const NO_FAILOVER: &str = "ds_load_unset();";
pub const FAILOVER: &str = r#"
	if (t_check_status("408|5[0-9][0-9]") && ds_next_dst()) { t_on_failure("FAILED"); t_relay(); exit; }
	ds_load_unset();
"#;

/// A server with that routing and `flags` 2 for failover.
pub fn relaying(workers: u32, list: impl Into<String>, failure: &str) -> Builder {
    plain(workers, list, failure).modparam(r#"modparam("dispatcher", "flags", 2)"#)
}

/// The same, where `X-Priority` of a request sets flag 5.
pub fn flagging(workers: u32, list: impl Into<String>, failure: &str) -> Builder {
    let route = format!("{RELAY}{failure}}}\n");
    let flag = "t_check_trans();\n\tif (is_present_hf(\"X-Priority\")) setflag(5);\n\trecord_route();";
    let flagging = route.replacen("t_check_trans();\n\trecord_route();", flag, 1);
    assert_ne!(flagging, route);
    Kamailio::builder().workers(workers).list(list).route(&flagging)
}

/// The same by another algorithm.
pub fn relaying_by(algorithm: u32, workers: u32, list: impl Into<String>, failure: &str) -> Builder {
    let by = |algorithm: u32| format!("ds_select_dst(\"$var(set)\", \"{algorithm}\")");
    let route = format!("{RELAY}{failure}}}\n").replace(&by(10), &by(algorithm));
    relaying(workers, list, failure).route(&route)
}

/// The same with no more parameters than it takes.
pub fn plain(workers: u32, list: impl Into<String>, failure: &str) -> Builder {
    let builder = Kamailio::builder().workers(workers).list(list);
    match Language::now() {
        Language::Native => builder.route(&format!("{RELAY}{failure}}}\n")),
        other => other.script(builder, &calls_kemi::routing(other, failure)),
    }
}

/// Gateways that reply to an INVITE or UPDATE what its `X-Answer` says (`180`: it rings, `0`: silence), else 200.
pub fn obedient(count: usize) -> Gateways {
    Gateways::start(count, obeys)
}

/// What such a gateway replies.
pub fn obeys(_: usize, request: &Message) -> Vec<u16> {
    match (request.method(), request.header("X-Answer")) {
        (Some("CANCEL"), _) => vec![487],
        (Some("INVITE" | "UPDATE"), Some(codes)) => {
            codes.split(' ').filter_map(|code| code.parse().ok()).filter(|&code| code > 0).collect()
        }
        (Some("INVITE"), None) => vec![180, 200],
        _ => vec![200],
    }
}

/// A call with one more header in its requests from now on.
pub fn with(mut call: Call, name: &str, value: &str) -> Call {
    set(&mut call, name, value);
    call
}

/// Gives the requests of a call this header from now on, in place of one of the same name.
pub fn set(call: &mut Call, name: &str, value: &str) {
    call.extra.retain(|(old, _)| old != name);
    call.extra.push((name.into(), value.into()));
}

/// A call that is up: placed and answered.
#[track_caller]
pub fn up(agent: &mut Agent) -> Call {
    let mut call = agent.call();
    assert_eq!(agent.place(&mut call).status(), Some(200));
    call
}

/// A call that rings.
#[track_caller]
pub fn ringing(agent: &mut Agent) -> Call {
    let mut call = with(agent.call(), "X-Answer", "180");
    agent.ring(&mut call);
    call
}

/// A call of each agent at once: those that ring. The others are told that there is no destination.
#[track_caller]
pub fn burst<'a>(agents: &'a mut [Agent], calls: &'a mut [Call]) -> Vec<(&'a mut Agent, &'a mut Call)> {
    let invites: Vec<_> = calls.iter_mut().map(Call::invite).collect();
    for (agent, invite) in std::iter::zip(&*agents, &invites) {
        agent.send(invite);
    }
    let mut accepted = Vec::new();
    for (agent, call) in std::iter::zip(agents, calls) {
        let reply = agent.reply_to(call, "INVITE", 180..=699);
        match reply.status() {
            Some(180) => accepted.push((agent, call)),
            Some(404) => agent.send(&call.ack(&reply)),
            other => panic!("{other:?}"),
        }
    }
    accepted
}

/// Answered calls, this many at each gateway of set 100.
#[track_caller]
pub fn fill(agent: &mut Agent, gateways: &Gateways, wanted: &[usize]) -> Vec<Vec<Call>> {
    let mut calls = vec![Vec::new(); wanted.len()];
    let mut too_many = Vec::new();
    while std::iter::zip(&calls, wanted).any(|(calls, &wanted)| calls.len() < wanted) {
        let call = up(agent);
        let gateway = gateways.of_call(&call.id).unwrap();
        let here = if calls[gateway].len() < wanted[gateway] { &mut calls[gateway] } else { &mut too_many };
        here.push(call);
    }
    hang_up_all(agent, &mut too_many);
    calls
}

#[track_caller]
pub fn hang_up_all<'a>(agent: &mut Agent, calls: impl IntoIterator<Item = &'a mut Call>) {
    for call in calls {
        assert_eq!(agent.hang_up(call), 200);
    }
}

/// `ds_reload()` in the script; says what the script answered.
#[track_caller]
pub fn reload_by_script(agent: &mut Agent) -> u16 {
    let mut call = agent.call();
    agent.send(&call.within("MESSAGE"));
    agent.answer(&call, "MESSAGE").status().unwrap()
}

/// The recorded loads of gw0, gw1, … in any set.
#[track_caller]
pub fn loads(server: &Kamailio, count: usize) -> Vec<i64> {
    let list = server.list();
    let load = |n| list.iter().find(|d| d.duid == format!("gw{n}")).and_then(|d| d.load);
    (0..count).map(|n| load(n).unwrap_or_else(|| panic!("no load of gw{n} in {list:?}"))).collect()
}

/// `dispatcher.load_audit`.
#[derive(Debug, Clone)]
pub struct Audit {
    pub calls: i64,
    pub early: i64,
    pub confirmed: i64,
    pub released: i64,
    pub unknown: i64,
    pub late: i64,
    pub crossed: i64,
    pub expired: i64,
    pub accounts: Vec<Account>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub set: i64,
    pub name: String,
    pub configured: bool,
    pub load: i64,
}

impl Audit {
    /// The account of this destination, if it has one.
    pub fn of(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == name)
    }
}

/// Recounts the calls, and asserts that every destination's load is the number of its calls.
#[track_caller]
pub fn assert_no_drift(server: &Kamailio) -> Audit {
    let audit =
        server.rpc("dispatcher.load_audit", json!([])).unwrap_or_else(|e| panic!("load_audit: {e:?}"));
    let int = |of: &Value, name: &str| of[name].as_i64().unwrap_or_else(|| panic!("no {name} in {audit}"));
    assert_eq!((int(&audit, "DRIFT"), int(&audit, "MISPLACED")), (0, 0), "{audit}");
    let account = |entry: &Value| {
        let dest = &entry["DEST"];
        assert_eq!((int(dest, "DRIFT"), int(dest, "RECORDED")), (0, int(dest, "COUNTED")), "{audit}");
        Account {
            set: int(dest, "SET"),
            name: dest["NAME"].as_str().unwrap_or_default().into(),
            configured: int(dest, "CONFIGURED") != 0,
            load: int(dest, "RECORDED"),
        }
    };
    let accounts: Vec<Account> = audit["DESTINATIONS"].as_array().unwrap().iter().map(account).collect();
    assert_eq!(accounts.iter().map(|a| a.load).sum::<i64>(), int(&audit, "CALLS"), "{audit}");
    Audit {
        calls: int(&audit, "CALLS"),
        early: int(&audit, "EARLY"),
        confirmed: int(&audit, "CONFIRMED"),
        released: int(&audit, "RELEASED"),
        unknown: int(&audit, "UNKNOWN"),
        late: int(&audit, "LATE"),
        crossed: int(&audit, "CROSSED"),
        expired: int(&audit, "EXPIRED"),
        accounts,
    }
}

/// Waits until no call is left, where the module follows calls: a BYE without a transaction counts when its script has ended, a
/// moment after it was sent on. A script that counts has done so before, and nothing is waited for.
pub fn let_scripts_end(server: &Kamailio) {
    if Counting::now().is_followed() {
        eventually("the scripts have ended", Duration::from_secs(5), || assert_no_drift(server).calls == 0);
    }
}

/// The end of a test whose calls are over: zero load, no drift, nothing in the log. Gives the last audit.
#[track_caller]
pub fn all_over(server: Kamailio) -> Audit {
    let audit = assert_no_drift(&server);
    assert_eq!(audit.calls, 0, "{audit:?}");
    assert_quiet(&server.stop());
    audit
}

/// No line of the log is an error, or a warning of the module's; tm warns of replies that it does not expect, and jsonrpcs
/// complains of a question whose asker did not wait for the answer.
#[track_caller]
pub fn assert_quiet(log: &str) {
    let loud = |line: &&str| {
        (line.contains("ERROR: ") && !line.contains("ERROR: jsonrpcs"))
            || line.contains("WARNING: dispatcher")
    };
    let loud: Vec<&str> = log.lines().filter(loud).collect();
    assert!(loud.is_empty(), "the log says:\n{}", loud.join("\n"));
}
