//! The start with probing: what it needs, and parameters that make no sense.

use std::fs::File;

use crate::calls::assert_quiet;
use crate::support::child::ChildGuard;
use crate::support::host::kamailio;
use crate::support::server_config::dispatcher_so;
use crate::support::{Kamailio, net};
use crate::watch::{SOON, choices, flags, probing};

/// A configuration without tm that answers where the next call goes. LISTEN_ADDR and so on are defines of the command line.
const WITHOUT_TM: &str = r#"#!KAMAILIO
debug=2
children=1
listen=LISTEN_ADDR
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
loadmodule "jsonrpcs.so"
loadmodule "kex.so"
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "textops.so"
loadmodule DISPATCHER_MODULE
modparam("jsonrpcs", "transport", 4)
modparam("jsonrpcs", "dgram_socket", RPC_SOCKET)
modparam("dispatcher", "list_file", DISPATCHER_LIST)
request_route {
	if (ds_select_dst("1", "8")) append_to_reply("X-To: $du\r\n");
	sl_send_reply("200", "OK");
}
"#;

#[test]
fn without_tm_it_works_where_nothing_is_probed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kamailio.cfg");
    std::fs::write(&file, WITHOUT_TM).unwrap();
    let server =
        Kamailio::builder().file(&file).list("1 sip:127.0.0.9:9 8 9\n1 sip:127.0.0.9:10 0 5\n").start();
    assert_eq!(choices(&server, 8, 2), ["sip:127.0.0.9:9"; 2]);
    server.rpc("dispatcher.set_state", serde_json::json!(["i", 1, "sip:127.0.0.9:9"])).unwrap();
    assert_eq!(choices(&server, 8, 2), ["sip:127.0.0.9:10"; 2]);
    assert_eq!(flags(&server), ["IX", "AX"]);
    assert_quiet(&server.log());
    server.stop();
}

#[test]
fn without_tm_it_refuses_to_probe() {
    let said = refusal(&with_parameter(WITHOUT_TM, "ds_ping_interval", "10"));
    let line = said.lines().find(|line| line.contains("ERROR: dispatcher: "));
    let line = line.unwrap_or_else(|| panic!("no line of ours: {said}"));
    assert!(line.contains("ds_ping_interval is set, but the module tm is not loaded"), "{line}");
}

fn with_parameter(text: &str, name: &str, value: &str) -> String {
    let line = format!("modparam(\"dispatcher\", \"{name}\", {value})\nrequest_route");
    text.replace("request_route", &line)
}

/// What Kamailio says when it refuses to start with this configuration.
#[track_caller]
fn refusal(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("dispatcher.list"), "1 sip:127.0.0.9:9\n").unwrap();
    std::fs::write(path("kamailio.cfg"), text).unwrap();
    let log = File::create(path("log")).unwrap();
    let mut command = kamailio(&path("kamailio.cfg"));
    command.args(["-DD", "-E"]).arg("-Y").arg(dir.path());
    for define in [
        format!("LISTEN_ADDR=udp:{}", net::free_port(net::address())),
        format!("DISPATCHER_MODULE=\"{}\"", dispatcher_so()),
        format!("DISPATCHER_LIST=\"{}\"", path("dispatcher.list").display()),
        format!("RPC_SOCKET=\"{}\"", path("rpc").display()),
    ] {
        command.args(["-A", &define]);
    }
    let mut kamailio = ChildGuard::spawn(command.stdout(log.try_clone().unwrap()).stderr(log)).unwrap();
    let status = kamailio.wait(SOON);
    let said = std::fs::read_to_string(path("log")).unwrap();
    assert!(status.is_some_and(|status| !status.success()), "{status:?}: {said}");
    said
}

/// Asserts that this value keeps the server from starting, with a word that names the parameter and says what is expected.
#[track_caller]
fn is_refused(name: &str, value: &str, expected: &str) {
    let with_tm = WITHOUT_TM.replace("loadmodule DISPATCHER", "loadmodule \"tm.so\"\nloadmodule DISPATCHER");
    let said = refusal(&with_parameter(&with_parameter(&with_tm, "ds_ping_interval", "1"), name, value));
    let wanted = format!("modparam(\"dispatcher\", \"{name}\", {value}): ");
    let line =
        said.lines().find(|line| line.contains(&wanted)).unwrap_or_else(|| panic!("no {wanted} in {said}"));
    assert!(line.contains("ERROR: dispatcher: ") && line.contains(expected), "{line}");
}

/// As with the stock module.
#[test]
fn parameter_that_names_what_is_not_there_keeps_the_server_from_starting() {
    is_refused("ds_ping_socket", "\"udp:127.0.0.1:1\"", "expected a socket that the server listens on");
    is_refused("ds_default_socket", "\"nonsense\"", "expected a socket that the server listens on");
    is_refused("ds_default_sockname", "\"nobody\"", "expected the name of a listen");
    is_refused("setid_pvname", "\"$ci\"", "expected a variable that can be set");
    is_refused("attrs_pvname", "\"nonsense\"", "expected a variable that can be set");
    is_refused("hash_pvar", "\"$var(\"", "expected a text with variables");
}

#[test]
fn attribute_that_makes_no_sense_is_named_with_its_place() {
    const BEFORE: &str = "1 sip:127.0.0.9:10 0 0 duid=a;";
    let at_it = BEFORE.len() + 1;
    for (attribute, told, column) in [
        ("ping_interval=x", "ping_interval='x': expected", at_it),
        ("ping_timeout=-1", "ping_timeout='-1': expected", at_it),
        ("latency=1s", "latency='1s': expected", at_it),
        ("cc=yes", "cc='yes': expected", at_it),
        ("ping_reply_codes=\"class=9\"", "'class=9': expected", at_it),
        ("obproxy=sip:p>", "obproxy='sip:p>': expected", at_it),
        // What only the server can tell stands where the destination does.
        ("ping_socket=udp:127.0.0.1:1", "ping_socket='udp:127.0.0.1:1'", 3),
        ("obproxy=sip:p:99999", "obproxy='sip:p:99999': expected", 3),
    ] {
        let server = probing(1, format!("1 sip:127.0.0.9:9\n# a comment\n{BEFORE}{attribute}\n")).start();
        let lost = attribute.contains("socket") || attribute.contains('>');
        assert_eq!(flags(&server).len(), if lost { 1 } else { 2 }, "{attribute}");
        let lines = server.log_lines("dispatcher.list:3:");
        assert_eq!(lines.len(), 1, "{attribute}: {lines:?}");
        let place = format!("dispatcher.list:3:{column}: ");
        assert!(lines[0].contains(told) && lines[0].contains(&place), "{attribute} at {place}{}", lines[0]);
        server.stop();
    }
}
