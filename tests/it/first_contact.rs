//! The first contact with the module: the first lines of the log, usage texts, error messages.

use serde_json::{Value, json};

use crate::support::Kamailio;
use crate::support::host;
use crate::support::transports::{Http, kamcmd};

/// The usage of each command that has arguments.
const USAGES: &[(&str, &str)] = &[
    ("list", "[short|full|normal [set [from [count]]]]"),
    ("set_state", "a|i|d|t|ap|ip|tp set uri|all"),
    ("set_duid_state", "a|i|d|t|ap|ip|tp set duid|all"),
    ("add", "set uri [flags [priority [attributes]]]"),
    ("update", "set uri [flags|-1 [priority|-1 [attributes]]]"),
    ("remove", "set uri"),
    ("explain", "set algorithm [text [priority]]"),
    ("hash", "slots text [text]"),
    ("stats", "[set [from [count]]]"),
    ("oclist", "set"),
    ("ping_active", "[0|1]"),
    ("load_audit", "[from [count]]"),
];

fn usage(command: &str) -> String {
    let (name, arguments) = USAGES.iter().find(|(name, _)| *name == command).expect("a usage");
    format!("Usage: dispatcher.{name} {arguments}")
}

/// Calls without arguments that are required, and with arguments of a wrong kind; for each what is told besides the usage.
fn wrong_calls() -> Vec<(&'static str, Value, &'static str)> {
    let few = ["set_state", "set_duid_state", "add", "update", "remove", "explain", "hash", "oclist"];
    let mut calls: Vec<_> = few.iter().map(|command| (*command, json!([]), "")).collect();
    let one = few.iter().filter(|command| **command != "oclist").map(|command| (*command, json!([1]), ""));
    calls.extend(one);
    calls.extend([
        ("set_state", json!(["a", 1]), ""),
        ("set_duid_state", json!(["a", 1]), ""),
        ("set_state", json!(["a", "one", "all"]), "set 'one' is not a whole number. "),
        ("add", json!(["sip:127.0.1.9", 1]), "set 'sip:127.0.1.9' is not a whole number. "),
        ("add", json!([1, "sip:127.0.1.9", "up"]), "flags 'up' is not a whole number. "),
        ("add", json!([1, "sip:127.0.1.9", 0, "high"]), "priority 'high' is not a whole number. "),
        ("add", json!([1, "sip:127.0.1.9", true]), "argument 3 is neither text nor number. "),
        ("add", json!([1, "sip:127.0.1.9", {}]), "argument 3 is neither text nor number. "),
        ("update", json!([1, "sip:127.0.1.1", "x"]), "flags|-1 'x' is not a whole number. "),
        ("remove", json!(["all", "sip:127.0.1.1"]), "set 'all' is not a whole number. "),
        ("explain", json!(["first", 4]), "set 'first' is not a whole number. "),
        ("explain", json!([1, "4x"]), "algorithm '4x' is not a whole number. "),
        ("hash", json!(["x", "alice"]), "slots 'x' is not a whole number. "),
        ("oclist", json!(["all"]), "set 'all' is not a whole number. "),
        ("oclist", json!([null]), "argument 1 is neither text nor number. "),
        ("stats", json!(["all"]), "set 'all' is not a whole number. "),
        ("ping_active", json!(["off"]), "0|1 'off' is not a whole number. "),
        ("load_audit", json!(["full"]), "from 'full' is not a whole number. "),
        ("list", json!(["full", "one"]), "set 'one' is not a whole number. "),
    ]);
    calls
}

#[test]
fn command_with_wrong_arguments_is_answered_with_its_usage_and_changes_nothing() {
    let mut server = Kamailio::builder().list("1 sip:127.0.1.1 0 0 duid=a\n").start();
    let before = server.rpc("dispatcher.list", json!(["full"]));
    for (command, params, told) in wrong_calls() {
        let error = server.rpc(&format!("dispatcher.{command}"), params.clone()).unwrap_err();
        let due = format!("{told}{}", usage(command));
        assert_eq!((error.code, error.message), (500, due), "{command} {params}");
    }
    assert_eq!(server.rpc("dispatcher.list", json!(["full"])), before);
    server.assert_healthy();
    server.stop();
}

#[test]
fn kamcmd_gets_the_usage_too() {
    let binrpc = "modparam(\"ctl\", \"binrpc\", \"unixs:RUN_DIR/ctl\")";
    let server = Kamailio::builder().list("1 sip:127.0.1.1 0 0\n").module("ctl").modparam(binrpc).start();
    let ask = |command: &str| {
        let dir = server.run_dir();
        let (text, errors) = kamcmd(&format!("unixs:{}/ctl", dir.display()), dir, &format!("{command}\n"));
        // Its banner and prompts aside.
        let (_, answer) = text.split_once(command).expect("the command");
        (answer.trim_end().trim_end_matches("kamcmd>").to_owned() + &errors).trim().to_owned()
    };
    for (call, told) in [
        ("dispatcher.explain", ""),
        ("dispatcher.add", ""),
        ("dispatcher.add 1", ""),
        ("dispatcher.add x sip:127.0.1.9", "set 'x' is not a whole number. "),
        ("dispatcher.add 1 sip:127.0.1.9 up", "flags 'up' is not a whole number. "),
        ("dispatcher.add 1 sip:127.0.1.9 1.5", "argument 3 is neither text nor number. "),
        ("dispatcher.set_state a", ""),
        ("dispatcher.remove", ""),
    ] {
        let command = call.split(['.', ' ']).nth(1).expect("a command");
        assert_eq!(ask(call), format!("error: 500 - {told}{}", usage(command)), "{call}");
    }
    // What is given in full does what it says, negative numbers and numbers for texts too.
    assert_eq!(ask("dispatcher.add 1 sip:127.0.1.9 8 3 maxload=7"), "Ok. Dispatcher destination added.");
    assert_eq!(ask("dispatcher.hash 8 1234"), ask("dispatcher.hash s:8 s:1234"));
    assert!(ask("dispatcher.hash 8 1234").contains("slot: "));
    assert_eq!(server.list().len(), 2);
    server.stop();
}

#[test]
fn start_is_told_in_one_line_and_dispatcher_version_says_the_same() {
    let list = "1 sip:127.0.1.1\n1 sip:127.0.1.2\n7 sip:127.0.1.3\n";
    let server = Kamailio::builder().list(list).start();
    let lines = server.log_lines("dispatcher (Rust)");
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let (version, file) = (env!("CARGO_PKG_VERSION"), server.list_file());
    let due = format!(
        "INFO: dispatcher: dispatcher (Rust) {version} for {}: 2 sets, 3 destinations from {}",
        host::version(),
        file.display()
    );
    assert!(line.ends_with(&due), "{line}\n{due}");
    let told = server.rpc("dispatcher.version", json!([])).unwrap();
    let due = json!({
        "MODULE": "dispatcher (Rust)", "VERSION": version, "KAMAILIO": host::version(),
        "SETS": 2, "DESTINATIONS": 3, "SOURCE": file.display().to_string(),
    });
    assert_eq!(told, due);
    server.rpc("dispatcher.add", json!([9, "sip:127.0.1.4"])).unwrap();
    let told = server.rpc("dispatcher.version", json!([])).unwrap();
    assert_eq!((&told["SETS"], &told["DESTINATIONS"]), (&json!(3), &json!(4)));
    server.stop();
    let one = Kamailio::builder().list("1 sip:127.0.1.1\n").start();
    assert_eq!(one.log_lines(": 1 set, 1 destination from ").len(), 1);
    one.stop();
    let stock = Kamailio::builder().list(list).stock().start();
    assert!(stock.rpc("dispatcher.version", json!([])).is_err(), "this is how both are told apart");
    stock.stop();
}

#[test]
fn missing_list_file_stops_the_start_as_with_the_stock_module_and_the_error_says_what_to_write_where() {
    let missing = "modparam(\"dispatcher\", \"list_file\", \"/nowhere/dispatcher.list\")";
    Kamailio::builder().modparam(missing).stock().refused();
    let log = Kamailio::builder().modparam(missing).refused();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(": dispatcher: ")).collect();
    let [line] = lines.as_slice() else { panic!("{log}") };
    assert!(line.contains("list_file /nowhere/dispatcher.list: No such file or directory"), "{line}");
    assert!(line.contains("'100 sip:192.0.2.15:5060 0 0 duid=gw1'"), "an example: {line}");
    assert!(!log.contains("Reload"), "nothing was reloaded:\n{log}");
    // The example is right.
    let example = line.split('\'').nth(1).unwrap();
    let server = Kamailio::builder().list(format!("{example}\n")).start();
    assert_eq!((server.list()[0].set, server.list()[0].duid.as_str()), (100, "gw1"));
    std::fs::remove_file(server.list_file()).unwrap();
    let error = server.rpc("dispatcher.reload", json!([])).unwrap_err().message;
    let file = server.list_file();
    assert!(
        error.starts_with(&format!("Reload Failed: list_file {}: No such file", file.display())),
        "{error}"
    );
    assert_eq!(server.list().len(), 1);
    server.stop();
}

#[test]
fn source_in_which_everything_is_wrong_says_so_with_the_first_error() {
    let server = Kamailio::builder().list("1 sip:127.0.1.1\n").start();
    let wrong: String =
        (0..11).map(|n| format!("1 sip:127.0.2.{n} 0 0 socket=udp:192.0.2.1:{n}1\n")).collect();
    server.write_list(&format!("# a comment\n\n  one sip:127.0.1.1\n{wrong}"));
    let error = server.rpc("dispatcher.reload", json!([])).unwrap_err().message;
    let due = format!(
        "nothing loaded: all 12 lines have errors, the first: {}:3:3: set id 'one': ",
        server.list_file().display()
    );
    assert!(error.starts_with(&due), "{error}\n{due}");
    assert_eq!(server.log_lines("nothing is right").len() + server.log_lines("Reload Failed").len(), 0);
    assert_eq!(server.log_lines("nothing loaded: all 12 lines").len(), 1);
    server.write_list("x\n");
    let error = server.rpc("dispatcher.reload", json!([])).unwrap_err().message;
    assert!(error.starts_with("nothing loaded: the only line has errors, the first: "), "{error}");
    assert_eq!(server.list().len(), 1);
    server.stop();

    let strict = "modparam(\"dispatcher\", \"ds_load_mode\", 1)";
    let log = Kamailio::builder().list("1 sip:127.0.1.1\nx sip:127.0.1.2\n").modparam(strict).refused();
    assert!(
        log.contains("nothing loaded: 1 of 2 lines has errors and ds_load_mode is 1, the first: "),
        "{log}"
    );
}

#[test]
fn reason_says_who_set_a_state() {
    let list = "1 sip:127.0.1.1\n1 sip:127.0.1.2 4\n1 sip:127.0.1.3 1\n1 sip:127.0.1.4\n";
    let route = "request_route {\n\
        if (!is_method(\"MESSAGE\")) exit;\n\
        ds_mark_addr(\"$hdr(X-State)\", \"1\", \"sip:127.0.1.4\");\n\
        sl_send_reply(\"200\", \"OK\"); }\n";
    let server = Kamailio::builder().list(list).route(route).start();
    let why = |uri: &str| {
        let all = server.rpc("dispatcher.list", json!(["full"])).unwrap();
        let targets = all["RECORDS"][0]["SET"]["TARGETS"].as_array().cloned().unwrap();
        let one = targets.into_iter().find(|one| one["DEST"]["URI"] == json!(uri)).expect("a destination");
        let dest = &one["DEST"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&dest["FLAGS"]), text(&dest["HEALTH"]["REASON"]))
    };
    let is =
        |uri: &str, flags: &str, reason: &str| assert_eq!(why(uri), (flags.into(), reason.into()), "{uri}");
    is("sip:127.0.1.1", "AX", "");
    is("sip:127.0.1.2", "DX", "disabled by the flags of its line or row");
    is("sip:127.0.1.3", "IX", "inactive by the flags of its line or row");
    let set = |state: &str, uri: &str| server.rpc("dispatcher.set_state", json!([state, 1, uri])).unwrap();
    for (state, flags, reason) in [
        ("d", "DX", "disabled by an operator"),
        ("ip", "IP", "set inactive by an operator"),
        ("t", "TX", "set trying by an operator"),
        ("a", "AX", "set active by an operator"),
    ] {
        set(state, "sip:127.0.1.1");
        is("sip:127.0.1.1", flags, reason);
    }
    set("a", "sip:127.0.1.2");
    is("sip:127.0.1.2", "AX", "set active by an operator");
    let mut agent = server.agent();
    let mut mark = |state: &str| {
        let mut call = crate::calls::with(agent.call(), "X-State", state);
        agent.send(&call.within("MESSAGE"));
        agent.answer(&call, "MESSAGE");
    };
    mark("d");
    is("sip:127.0.1.4", "DX", "disabled by a script");
    // A failure that a script reports later changes neither the state nor what is said of it.
    mark("i");
    is("sip:127.0.1.4", "DX", "disabled by a script");
    set("d", "sip:127.0.1.4");
    mark("t");
    is("sip:127.0.1.4", "DX", "disabled by an operator");
    // What the source says anew counts, and is told.
    server.write_list("1 sip:127.0.1.1 4\n1 sip:127.0.1.2\n1 sip:127.0.1.3 1\n1 sip:127.0.1.4\n");
    server.rpc("dispatcher.reload", json!([])).unwrap();
    is("sip:127.0.1.1", "DX", "disabled by the flags of its line or row");
    is("sip:127.0.1.2", "AX", "");
    is("sip:127.0.1.4", "DX", "disabled by an operator");
    server.stop();
}

#[test]
fn messages_name_functions_and_texts_as_the_manual_does() {
    let route = "request_route {\n\
        if (!is_method(\"MESSAGE\")) exit;\n\
        $var(x) = \"ten\";\n\
        ds_select_dst(\"$var(x)\", \"4\"); ds_is_active(\"$var(x)\"); ds_oc_set_attrs(\"$var(x)\", \"sip:a\", \"1\", \"1\", \"1\");\n\
        ds_select(\"1\", \"$var(x)\", \"1\"); ds_select(\"1\", \"7\");\n\
        sl_send_reply(\"200\", \"OK\"); }\n";
    let server = Kamailio::builder().list("1 sip:127.0.1.1\n").route(route).start();
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.send(&call.within("MESSAGE"));
    agent.answer(&call, "MESSAGE");
    let lines = server.log_lines("ERROR: dispatcher: ");
    for due in [
        "dispatcher: ds_select_dst: ",
        "dispatcher: ds_is_active: ",
        "dispatcher: ds_oc_set_attrs: ",
        "dispatcher: ds_select: ",
        "no usable text of hash_pvar",
    ] {
        assert!(lines.iter().any(|line| line.contains(due)), "{due}: {lines:?}");
    }
    assert!(!lines.iter().any(|line| line.contains("c\"")), "{lines:?}");
    let error = server.rpc("dispatcher.explain", json!([1, 0])).unwrap_err().message;
    assert_eq!(error, "Algorithm 0 hashes the Call-ID: give it as the third argument");
    server.stop();
}

#[test]
fn html_pages_show_the_usage_too() {
    let route = "request_route {\n exit; }\nevent_route[xhttp:request] { dispatch_xhttp_rpc(); }\n";
    let server = Kamailio::builder()
        .list("1 sip:127.0.1.1\n")
        .module("xhttp")
        .module("xhttp_rpc")
        .modparam("modparam(\"xhttp_rpc\", \"xhttp_rpc_root\", \"rpc\")")
        .tcp()
        .globals("tcp_accept_no_cl=yes\n")
        .route(route)
        .start();
    let ask = |arguments: &str| {
        let path = format!("/rpc/dispatcher/dispatcher.add?arg={arguments}");
        String::from_utf8_lossy(&Http::ask(server.address(), &path, "").answer().1).into_owned()
    };
    for (arguments, told) in [("", ""), ("1", ""), ("x+sip:127.0.1.9", "set 'x' is not a whole number. ")] {
        let text = ask(arguments);
        assert!(text.contains(&format!("{told}{}", usage("add"))), "'{arguments}': {text}");
    }
    let text = ask("1+sip:127.0.1.9+8");
    assert!(text.contains("Ok. Dispatcher destination added."), "{text}");
    let added = server.list().into_iter().find(|one| one.uri == "sip:127.0.1.9").expect("it is there");
    assert_eq!((added.set, added.flags.as_str()), (1, &*host::unprobed("AP")));
    server.stop();
}

/// `kamcmd help COMMAND` asks for the same.
#[test]
fn help_of_each_command_names_its_parameters_as_the_manual_does() {
    let server = Kamailio::builder().list("100 sip:127.0.0.11:5060\n").start();
    let page = include_str!("../../docs/reference/rpc.md");
    let syntax: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("- **Syntax**: `")).collect();
    assert!(syntax.len() > 10, "{syntax:?}");
    for usage in syntax.iter().map(|line| line.trim_end_matches('`')) {
        let name = usage.split(' ').next().unwrap();
        let help = server.rpc("system.methodHelp", serde_json::json!([name])).unwrap();
        let help = help.as_str().expect("a text");
        assert!(help.ends_with(&format!(". Usage: {usage}")), "{name}: {help}");
    }
    server.stop();
}
