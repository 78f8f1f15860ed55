//! The C interface (`bind_dispatcher`), through the one module of the distribution that binds to it: app_lua_sr, whose
//! `sr.dispatcher` calls it. (The module keepalive includes the header, but does not bind.)

use crate::support::{Agent, Kamailio, host};

/// Answers with what `X-Do` evaluates to, and with the destination.
const SCRIPT: &str = r#"
function evaluate()
	local _, value = pcall(loadstring("return " .. sr.pv.get("$hdr(X-Do)")))
	sr.pv.sets("$var(result)", tostring(value))
end
"#;

const ROUTE: &str = r#"
request_route {
	if (is_present_hf("X-Before")) $var(before) = ds_select_dst("100", "8");
	lua_run("evaluate");
	append_to_reply("X-Result: $var(result) $du $ru\r\n");
	sl_send_reply("200", "OK");
}
"#;

const LIST: &str = "100 sip:127.0.0.11:5060 0 9\n100 sip:127.0.0.12:5060 0 5\n";

#[track_caller]
fn ask(agent: &mut Agent, before: bool, text: &str) -> String {
    let mut call = agent.call();
    call.uri = "sip:callee@example.invalid".into();
    call.extra.push(("X-Do".into(), text.into()));
    if before {
        call.extra.push(("X-Before".into(), "1".into()));
    }
    agent.send(&call.within("MESSAGE"));
    agent.answer(&call, "MESSAGE").header("X-Result").unwrap().into()
}

/// By the stock module, or by ours with this `ds_lean_failover`.
fn told(lean: Option<u32>) -> Vec<String> {
    let params = "modparam(\"app_lua\", \"load\", \"RUN_DIR/script.lua\")\n\
                  modparam(\"app_lua_sr\", \"register\", \"dispatcher\")\n\
                  modparam(\"dispatcher\", \"flags\", 2)";
    let mut builder =
        Kamailio::builder().list(LIST).with_file("script.lua", SCRIPT).modparam(params).route(ROUTE);
    builder = builder.module("app_lua").module("app_lua_sr");
    builder = match lean {
        Some(mode) => builder.modparam(&format!("modparam(\"dispatcher\", \"ds_lean_failover\", {mode})")),
        None => builder.stock(),
    };
    let server = builder.start();
    let mut agent = server.agent();
    let mut told = Vec::new();
    for text in
        ["select(100, 8)", "select(100, 8, 0)", "select(100, 8, 1)", "select(100, 8, 2)", "select(999, 8)"]
    {
        told.push(ask(&mut agent, false, &format!("sr.dispatcher.{text}")));
    }
    for text in ["next(0)", "next(1)", "is_from(100)", "is_from(999)"] {
        told.push(ask(&mut agent, true, &format!("sr.dispatcher.{text}")));
    }
    told.push(ask(&mut agent, false, "sr.dispatcher.next(0)"));
    // Inactive is 1, probing 8.
    told.push(ask(&mut agent, true, "sr.dispatcher.mark(9)"));
    told.push(ask(&mut agent, false, "sr.dispatcher.select(100, 8)"));
    told.push(ask(&mut agent, false, "sr.dispatcher.mark(9)"));
    told.extend(server.list().into_iter().map(|one| format!("{} {}", one.uri, one.flags)));
    server.stop();
    told
}

/// Newer servers have no module that binds.
#[test]
fn bound_module_gets_the_same_as_from_the_stock_module() {
    if host::lacks(&["app_lua_sr"]) {
        return;
    }
    let ours = told(Some(0));
    assert!(ours[0].starts_with("1 sip:127.0.0.11:5060 "), "{ours:?}");
    assert!(ours.contains(&"sip:127.0.0.11:5060 IP".into()), "{ours:?}");
    // The code of a false answer tells the cause; the stock module has one for all.
    let plain =
        |told: Vec<String>| told.iter().map(|text| text.replacen("-2 ", "-1 ", 1)).collect::<Vec<_>>();
    assert_eq!(plain(ours), plain(told(None)));
}

#[test]
fn bound_module_gets_the_same_with_lean_failover() {
    if host::lacks(&["app_lua_sr"]) {
        return;
    }
    let full = told(Some(0));
    assert_eq!([1, 2].map(|mode| told(Some(mode))), [&full; 2].map(Clone::clone));
}
