//! Failover in the modes of `ds_lean_failover` and without it, driven by scripts in Lua and Python (KEMI) and by a module that is
//! bound to the C interface: the same tour, and the script is told the same, in each mode.

use crate::calls::{all_over, assert_quiet, with};
use crate::kemi::written;
use crate::support::language::{Language, python};
use crate::support::server_config::Builder;
use crate::support::{Agent, Gateways, Kamailio, eventually, host};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

/// `X-Alg` in set 100. What the script sees of the destination in use goes along in `X-Try`.
const LUA: &str = r#"
function send()
	local seen = ""
	for _, name in ipairs({"uri", "attrs", "setid", "dstid", "left"}) do
		seen = seen .. " " .. name .. "=" .. KSR.pv.gete("$dsv(" .. name .. ")")
	end
	KSR.hdr.append("X-Try:" .. seen .. " du=" .. KSR.pv.gete("$du") .. "\r\n")
	KSR.tm.t_on_failure("ksr_failure_route")
	KSR.tm.t_relay()
end

function ksr_request_route()
	if KSR.pv.gete("$rm") == "ACK" then
		if KSR.tm.t_check_trans() > 0 then KSR.tm.t_relay() end
		return 1
	end
	if KSR.pv.gete("$rm") ~= "INVITE" then
		KSR.sl.sl_send_reply(200, "OK")
		return 1
	end
	if KSR.dispatcher.ds_select_dst(100, tonumber(KSR.pv.gete("$hdr(X-Alg)"))) < 0 then
		KSR.sl.sl_send_reply(404, "No destination")
		return 1
	end
	send()
	return 1
end

function ksr_failure_route()
	if KSR.dispatcher.ds_next_dst() > 0 then
		send()
	else
		KSR.info("EXHAUSTED left=" .. KSR.pv.gete("$dsv(left)") .. " uri=" .. KSR.pv.gete("$dsv(uri)") .. ".\n")
		KSR.dispatcher.ds_load_unset()
	end
	return 1
end
"#;

/// Methods of its class ([`python`]).
const PYTHON: &str = r#"
    def send(self):
        names = ("uri", "attrs", "setid", "dstid", "left")
        seen = "".join(" %s=%s" % (name, KSR.pv.gete("$dsv(%s)" % name)) for name in names)
        KSR.hdr.append("X-Try:%s du=%s\r\n" % (seen, KSR.pv.gete("$du")))
        KSR.tm.t_on_failure("ksr_failure_route")
        KSR.tm.t_relay()

    def ksr_request_route(self, msg):
        if KSR.pv.gete("$rm") == "ACK":
            if KSR.tm.t_check_trans() > 0:
                KSR.tm.t_relay()
            return 1
        if KSR.pv.gete("$rm") != "INVITE":
            KSR.sl.sl_send_reply(200, "OK")
            return 1
        if KSR.dispatcher.ds_select_dst(100, int(KSR.pv.gete("$hdr(X-Alg)"))) < 0:
            KSR.sl.sl_send_reply(404, "No destination")
            return 1
        self.send()
        return 1

    def ksr_failure_route(self, msg):
        if KSR.dispatcher.ds_next_dst() > 0:
            self.send()
        else:
            KSR.info("EXHAUSTED left=%s uri=%s.\n" % (KSR.pv.gete("$dsv(left)"), KSR.pv.gete("$dsv(uri)")))
            KSR.dispatcher.ds_load_unset()
        return 1
"#;

fn lines(gateways: &Gateways) -> String {
    (0..gateways.how_many()).map(|n| format!("100 {} 0 {} duid=gw{n}\n", gateways.uri(n), n + 1)).collect()
}

fn lean(builder: Builder, mode: u32) -> Builder {
    builder.modparam(&format!("modparam(\"dispatcher\", \"ds_lean_failover\", {mode})"))
}

/// The gateways to which an INVITE went that all of them refuse, and what this header said there.
fn tour(agent: &mut Agent, gateways: &Gateways, alg: &str, header: &str) -> Vec<(usize, String)> {
    gateways.forget_received();
    let mut call = with(agent.call(), "X-Alg", alg);
    assert!(agent.place(&mut call).status() >= Some(500));
    let all = gateways.received();
    let of_call = all.iter().filter(|one| one.message.call_id() == call.id);
    let invites = of_call.filter(|one| one.message.method() == Some("INVITE"));
    let last = |one: &str| one.to_owned();
    invites
        .map(|one| (one.gateway, one.message.values(header).last().map(last).unwrap_or_default()))
        .collect()
}

fn script_fails_over(language: Language, script: &str, mode: u32) {
    if language.is_missing() {
        return;
    }
    let gateways = Gateways::answering(3, 503);
    // Without this the host calls a route that the script does not have, and what Python does next ends with an exception.
    let builder = written(language, script).globals("kemi.reply_route_callback=\"none\"");
    let server = lean(builder.workers(2).list(lines(&gateways)), mode).start();
    let mut agent = server.agent();
    for alg in ["8", "10"] {
        let wanted = [2, 1, 0].map(|n| {
            let (uri, dstid) = (gateways.uri(n), if alg == "10" { format!("gw{n}") } else { String::new() });
            (n, format!("uri={uri} attrs=duid=gw{n} setid=100 dstid={dstid} left={n} du={uri}"))
        });
        assert_eq!(tour(&mut agent, &gateways, alg, "X-Try"), wanted, "algorithm {alg}");
    }
    // The log comes through a pipe.
    eventually("both ends are told", SOON, || server.log_lines("EXHAUSTED").len() == 2);
    let ends = server.log_lines("EXHAUSTED");
    assert!(ends.iter().all(|line| line.contains("left= uri=.")), "{ends:?}");
    all_over(server);
}

macro_rules! in_each_mode {
    ($($name:ident: $test:expr),+ $(,)?) => {
        $(mod $name {
            #[test] fn full_list() { $test(0) }
            #[test] fn one_record() { $test(1) }
            #[test] fn no_record() { $test(2) }
        })+
    };
}

in_each_mode! {
    from_lua: |mode| super::script_fails_over(super::Language::Lua, super::LUA, mode),
    from_python: |mode| super::script_fails_over(super::Language::Python, &super::python(super::PYTHON), mode),
    bound: super::bound_module_fails_over,
}

/// `sr.dispatcher` of app_lua_sr calls the C interface.
const BOUND: &str = r#"
function choose()
	sr.pv.seti("$var(done)", sr.dispatcher.select(100, 8))
end

function go_on()
	sr.dispatcher.mark(1)
	sr.pv.seti("$var(done)", sr.dispatcher.next(0))
end
"#;

const BOUND_ROUTE: &str = r#"
request_route {
	if (is_method("ACK")) { if (t_check_trans()) t_relay(); exit; }
	lua_run("choose");
	if ($var(done) < 0) { sl_send_reply("404", "No destination"); exit; }
	route(SEND);
}
route[SEND] {
	append_hf("X-Try: $dsv(uri) $dsv(left)\r\n");
	t_on_failure("FAILED");
	t_relay();
	exit;
}
failure_route[FAILED] {
	lua_run("go_on");
	if ($var(done) > 0) route(SEND);
}
"#;

fn bound_module_fails_over(mode: u32) {
    if host::lacks(&["app_lua_sr"]) {
        return; // no module of this server binds to dispatcher
    }
    let gateways = Gateways::answering(3, 503);
    let params = "modparam(\"app_lua\", \"load\", \"RUN_DIR/script.lua\")\n\
                  modparam(\"app_lua_sr\", \"register\", \"dispatcher\")\n\
                  modparam(\"dispatcher\", \"flags\", 2)";
    let builder = Kamailio::builder().module("app_lua").module("app_lua_sr").with_file("script.lua", BOUND);
    let builder = builder.workers(2).list(lines(&gateways)).modparam(params).route(BOUND_ROUTE);
    let server = lean(builder, mode).start();
    let wanted = [2, 1, 0].map(|n| (n, format!("{} {n}", gateways.uri(n))));
    assert_eq!(tour(&mut server.agent(), &gateways, "8", "X-Try"), wanted);
    // Each was marked inactive where it was in use.
    let states: Vec<_> = server.list().iter().map(|one| format!("{} {}", one.duid, one.flags)).collect();
    assert_eq!(states, ["gw2 IX", "gw1 IX", "gw0 IX"]);
    assert_quiet(&server.stop());
}
