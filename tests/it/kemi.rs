//! `KSR.dispatcher.*` in the languages that Kamailio embeds: each function with a match, without one, and called wrongly.
//!
//! The expressions are the same text in Lua and in Python: a script of a few lines evaluates what a request carries.

use serde_json::json;

use crate::calls::{assert_no_drift, loads};
use crate::kemi_calls::{BAD, MATCHES, NO_MATCHES, TOO_FEW, Told};
use crate::support::language::{self, Language};
use crate::support::server_config::Builder;
use crate::support::{Agent, Kamailio};

/// Evaluates `X-Do-0`, `X-Do-1`, … and answers with an `X-Result` for each.
const LUA: &str = r#"
D = KSR.dispatcher
function ksr_request_route()
	local at = 0
	while true do
		local text = KSR.pv.gete("$hdr(X-Do-" .. at .. ")")
		if text == "" then break end
		local _, value = pcall((loadstring or load)("return " .. text))
		KSR.hdr.append_to_reply("X-Result: " .. tostring(value) .. "\r\n")
		at = at + 1
	end
	KSR.sl.sl_send_reply(200, "OK")
end
"#;

/// A method, and what it evaluates with.
const PYTHON: &str = r#"
    def ksr_request_route(self, msg):
        at = 0
        while True:
            text = KSR.pv.gete("$hdr(X-Do-%d)" % at)
            if not text:
                break
            try:
                value = eval(text, globals())
            except Exception as error:
                value = "error: %s" % error
            KSR.hdr.append_to_reply("X-Result: %s\r\n" % value)
            at += 1
        KSR.sl.sl_send_reply(200, "OK")
        return 1

D = KSR.dispatcher
"#;

fn lua() -> Option<Builder> {
    (!Language::Lua.is_missing()).then(|| written(Language::Lua, LUA))
}

fn python() -> Option<Builder> {
    (!Language::Python.is_missing()).then(|| written(Language::Python, &language::python(PYTHON)))
}

/// A server with this script.
pub fn written(language: Language, script: &str) -> Builder {
    language.script(Kamailio::builder().modparam("modparam(\"dispatcher\", \"flags\", 2)"), script)
}

/// What these expressions give, in one request, in this order.
#[track_caller]
fn ask(agent: &mut Agent, call_id: Option<&str>, expressions: &[&str]) -> Vec<String> {
    let mut call = match call_id {
        Some(id) => agent.call_with_id(id),
        None => agent.call(),
    };
    for (at, text) in expressions.iter().enumerate() {
        call.extra.push((format!("X-Do-{at}"), (*text).into()));
    }
    agent.send(&call.invite());
    let answer = agent.answer(&call, "INVITE");
    let results: Vec<String> = answer.values("X-Result").map(str::to_lowercase).collect();
    assert_eq!(results.len(), expressions.len(), "{expressions:?} gave {results:?}");
    results
}

const LIST: &str = "100 sip:127.0.0.11:5060 0 9 duid=gw0\n100 sip:127.0.0.12:5060 0 5 duid=gw1\n\
                    200 sip:127.0.0.13:5060 1 0 duid=gw2\n";

/// A server whose set 300 is the first of the agents; the second is a stranger.
fn start(builder: Builder) -> (Kamailio, Agent, Agent) {
    let server = builder.list(LIST).start();
    let mut agents = (server.agent(), server.agent());
    assert_eq!(ask(&mut agents.0, None, &["D.ds_list_exists(300)", "D.ds_is_from_lists()"]), ["-1", "-1"]);
    server.write_list(&format!("{LIST}300 sip:{}\n", agents.0.local()));
    assert_eq!(ask(&mut agents.0, None, &["D.ds_reload()", "D.ds_list_exists(300)"]), ["1", "1"]);
    (server, agents.0, agents.1)
}

#[track_caller]
fn as_told(agent: &mut Agent, requests: &[Told<'_>]) {
    for told in requests {
        let (asked, expected): (Vec<&str>, Vec<&str>) = told.iter().copied().unzip();
        assert_eq!(ask(agent, None, &asked), expected, "asked {asked:?}");
    }
}

fn every_function_tells_a_match_from_none(builder: Builder) {
    let (server, mut known, mut stranger) = start(builder);
    as_told(&mut known, MATCHES);
    as_told(&mut stranger, NO_MATCHES);
    server.stop();
}

fn wrong_call_is_an_error_or_false(builder: Builder) {
    let (mut server, mut agent, _) = start(builder);
    let too_few =
        TOO_FEW.iter().flat_map(|(name, all)| all.iter().map(move |args| format!("D.{name}({args})")));
    for text in too_few.chain(BAD.iter().map(|&text| text.to_owned())) {
        let given = &ask(&mut agent, None, &[&text])[0];
        let refused = given == "false" || given.starts_with('-') || given.starts_with("error");
        assert!(refused, "{text} gave {given}");
    }
    server.assert_healthy();
    assert!(server.list().iter().filter(|one| one.set == 100).all(|one| one.flags.starts_with('A')));
    server.stop();
}

fn call_is_counted_and_released(builder: Builder) {
    let (server, mut agent, _) = start(builder);
    // It is sent there, too. (What Python gets of that is an exception that the host has left behind.)
    assert_eq!(ask(&mut agent, Some("kemi"), &["D.ds_select_dst(100, 10)", "KSR.forward()"])[0], "1");
    assert_eq!((loads(&server, 2).iter().sum::<i64>(), assert_no_drift(&server).calls), (1, 1));
    assert_eq!(ask(&mut agent, Some("kemi"), &["D.ds_load_update()"]), ["1"]);
    assert_eq!(assert_no_drift(&server).calls, 1);
    assert_eq!(ask(&mut agent, Some("kemi"), &["D.ds_load_unset()"]), ["1"]);
    assert_eq!(assert_no_drift(&server).calls, 0);
    // Nothing is known of this one.
    assert_eq!(ask(&mut agent, None, &["D.ds_load_unset()", "D.ds_load_update()"]), ["1", "1"]);
    server.stop();
}

fn broken_list_is_not_loaded(builder: Builder) {
    let (server, mut agent, _) = start(builder);
    server.write_list("nonsense\n");
    assert_eq!(ask(&mut agent, None, &["D.ds_reload()", "D.ds_select_dst(100, 8)"]), ["-1", "1"]);
    assert!(server.rpc("dispatcher.list", json!([])).is_ok());
    server.stop();
}

macro_rules! from {
    ($($language:ident: $name:ident),+; $tests:tt) => { $(from!(@ $language $name $tests);)+ };
    (@ $language:ident $name:ident { $($test:ident),+ $(,)? }) => {
        mod $name { $(#[test] fn $test() { super::$language().into_iter().for_each(super::$test); })+ }
    };
}

from! { lua: from_lua, python: from_python; {
    every_function_tells_a_match_from_none,
    wrong_call_is_an_error_or_false,
    call_is_counted_and_released,
    broken_list_is_not_loaded,
}}
