//! `event_callback`: a function of the embedded language in the place of event routes.

use serde_json::json;

use crate::calls::with;
use crate::support::language::{Language, python};
use crate::support::server_config::Builder;
use crate::support::{Behaviour, Probed, eventually};
use crate::watch::{SOON, becomes, events, probing, set_text};

const LUA: &str = r#"
function ksr_request_route()
	KSR.dispatcher.ds_mark_addr(KSR.hdr.gete("X-Mark"), 1, KSR.hdr.gete("X-Uri"))
	KSR.sl.sl_send_reply(200, "OK")
end
function FUNCTION(name)
	KSR.info("EVENT " .. name .. " " .. KSR.pv.gete("$ru") .. " " .. KSR.pv.gete("$dsv(code)") .. "\n")
	FAIL
end
"#;

/// Events go to this function, which then does this.
fn calling(function: &str, then: &str, gateway: &Probed) -> Builder {
    let script = LUA.replace("FUNCTION", function).replace("FAIL", then);
    let builder = Language::Lua.script(probing(1, format!("1 {}\n", gateway.uri())), &script);
    set_text(builder, "event_callback", function)
}

#[test]
fn function_of_another_language_gets_the_name_of_the_event() {
    if Language::Lua.is_missing() {
        return;
    }
    let gateway = Probed::start();
    let server = calling("on_gateway", "", &gateway).start();
    becomes(&server, 0, "AP");
    gateway.behave(Behaviour::Answer(503, "No"));
    becomes(&server, 0, "IP");
    gateway.behave(Behaviour::Answer(200, "OK"));
    becomes(&server, 0, "AP");
    let uri = gateway.uri();
    let mut agent = server.agent();
    let mut call = with(with(agent.call(), "X-Mark", "i"), "X-Uri", &uri);
    agent.send(&call.invite());
    assert_eq!(agent.answer(&call, "INVITE").status(), Some(200));
    let told = |event: &str, code| format!("dispatcher:dst-{event} {uri} {code}");
    eventually("three events", SOON, || events(&server).len() >= 3);
    assert_eq!(events(&server)[..3], [told("down", 503), told("up", 200), told("down", 820)]);
    server.rpc("dispatcher.drain", json!([1, "all", 0])).unwrap();
    eventually("a drain is over", SOON, || events(&server).contains(&told("drained", 0)));
    server.stop();
}

const METHODS: &str = r#"
    def ksr_request_route(self, msg):
        KSR.sl.sl_send_reply(200, "OK")
        return 1

    def ksr_reply_route(self, msg):
        return 1

    def on_gateway(self, msg, name):
        KSR.info("EVENT " + name + " " + KSR.pv.gete("$ru") + " " + str(KSR.pv.get("$dsv(code)")) + "\n")
        return 1
"#;

#[test]
fn function_may_be_one_of_python() {
    if Language::Python.is_missing() {
        return;
    }
    let gateway = Probed::start();
    let builder = probing(1, format!("1 {}\n", gateway.uri()));
    let builder = Language::Python.script(builder, &python(METHODS));
    let server = set_text(builder, "event_callback", "on_gateway").start();
    becomes(&server, 0, "AP");
    gateway.behave(Behaviour::Answer(503, "No"));
    becomes(&server, 0, "IP");
    gateway.behave(Behaviour::Answer(200, "OK"));
    becomes(&server, 0, "AP");
    let told = |event: &str, code| format!("dispatcher:dst-{event} {} {code}", gateway.uri());
    eventually("both events", SOON, || events(&server).len() >= 2);
    assert_eq!(events(&server)[..2], [told("down", 503), told("up", 200)]);
    server.stop();
}

/// Of any length: interpreters read it up to a zero.
#[test]
fn function_may_have_any_name() {
    if Language::Lua.is_missing() {
        return;
    }
    let gateway = Probed::start();
    gateway.behave(Behaviour::Answer(503, "No"));
    for length in [1, 3, 8, 16, 24, 32, 33, 64] {
        let server = calling(&"f".repeat(length), "", &gateway).start();
        becomes(&server, 0, "IP");
        eventually(&format!("an event, {length}"), SOON, || events(&server).len() == 1);
        server.stop();
    }
}

#[test]
fn function_that_fails_is_told_and_breaks_nothing() {
    if Language::Lua.is_missing() {
        return;
    }
    let gateway = Probed::start();
    gateway.behave(Behaviour::Answer(503, "No"));
    let server = calling("bad", "error(name)", &gateway).start();
    becomes(&server, 0, "IP");
    eventually("a line in the log", SOON, || !server.log_lines("ERROR: app_lua").is_empty());
    gateway.behave(Behaviour::Answer(200, "OK"));
    becomes(&server, 0, "AP");
    eventually("both events", SOON, || events(&server).len() == 2);
    server.stop();
}
