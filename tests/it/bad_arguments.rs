//! Arguments that make no sense: the function returns false and logs one clear line, and the server keeps working.

use crate::calls::with;
use crate::support::{Agent, Kamailio};

/// Calls the function `X-Do` with `X-A`, `X-B` and `X-C`, or what grows out of them, and tells its answer.
const ROUTE: &str = r#"
request_route {
	$var(a) = $hdr(X-A); $var(b) = $hdr(X-B); $var(c) = $hdr(X-C);
	if (is_present_hf("X-Large")) {
		$var(big) = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
		$var(i) = 0;
		while ($var(i) < 10) { $var(big) = $var(big) + $var(big); $var(i) = $var(i) + 1; }
		append_to_reply("X-Length: $(var(big){s.len})\r\n");
		if ($hdr(X-Large) == "a") $var(a) = $var(a) + $var(big);
		else if ($hdr(X-Large) == "b") $var(b) = $var(b) + $var(big);
		else $var(c) = $var(c) + $var(big);
	}
	if (is_present_hf("X-Du")) $du = "sip:127.0.0.99:5060";
	switch ($hdr(X-Do)) {
		case "select": $var(rc) = ds_select("$var(a)", "$var(b)"); break;
		case "select_dst": $var(rc) = ds_select_dst("$var(a)", "$var(b)"); break;
		case "select_limit": $var(rc) = ds_select_dst("$var(a)", "$var(b)", "$var(c)"); break;
		case "select_domain": $var(rc) = ds_select_domain("$var(a)", "$var(b)"); break;
		case "routes": $var(rc) = ds_select_routes("$var(a)", "$var(b)"); break;
		case "routes_limit": $var(rc) = ds_select_routes("$var(a)", "$var(b)", "$var(c)"); break;
		case "mark_dst": $var(rc) = ds_mark_dst("$var(a)"); break;
		case "mark_addr": $var(rc) = ds_mark_addr("$var(a)", "$var(b)", "$var(c)"); break;
		case "from": $var(rc) = ds_is_from_list("$var(a)"); break;
		case "from_mode": $var(rc) = ds_is_from_list("$var(a)", "$var(b)"); break;
		case "from_uri": $var(rc) = ds_is_from_list("$var(a)", "$var(b)", "$var(c)"); break;
		case "active": $var(rc) = ds_is_active("$var(a)"); break;
		case "active_uri": $var(rc) = ds_is_active("$var(a)", "$var(c)"); break;
		case "exists": $var(rc) = ds_list_exists("$var(a)"); break;
		case "fetch": $var(rc) = ds_dsg_fetch("$var(a)"); break;
		case "fetch_uri": $var(rc) = ds_dsg_fetch_uri("$var(a)", "$var(c)"); break;
		case "overload": $var(rc) = ds_oc_set_attrs("$var(a)", "$var(c)", "$var(b)", "$var(b)", "$var(b)"); break;
	}
	append_to_reply("X-Rc: $var(rc)\r\n");
	sl_send_reply("200", "OK");
}
"#;

const LIST: &str = "100 sip:127.0.0.11:5060 0 9 duid=gw0\n100 sip:127.0.0.12:5060 0 5 duid=gw1\n";
const URI: &str = "sip:127.0.0.11:5060";

fn start(modparam: &str) -> (Kamailio, Agent) {
    let flags = "modparam(\"dispatcher\", \"flags\", 2)";
    let server = Kamailio::builder().list(LIST).modparam(flags).modparam(modparam).route(ROUTE).start();
    let agent = server.agent();
    (server, agent)
}

/// The function, its arguments, and more headers.
type Asked<'a> = (&'a str, [&'a str; 3], &'a [(&'a str, &'a str)]);

/// What it answers, and the lines that the module writes meanwhile.
#[track_caller]
fn ask(server: &Kamailio, agent: &mut Agent, (function, [a, b, c], more): Asked<'_>) -> (i64, Vec<String>) {
    let before = complaints(server).len();
    let mut call = with(with(with(with(agent.call(), "X-Do", function), "X-A", a), "X-B", b), "X-C", c);
    for (name, value) in more {
        call = with(call, name, value);
    }
    agent.send(&call.within("MESSAGE"));
    let answer = agent.answer(&call, "MESSAGE");
    if let Some(length) = answer.header("X-Length") {
        assert_eq!(length, "102400");
    }
    let rc = answer.header("X-Rc").unwrap().parse().unwrap();
    (rc, complaints(server).split_off(before))
}

fn complaints(server: &Kamailio) -> Vec<String> {
    let lines = server.log_lines("ERROR: ").into_iter().chain(server.log_lines("WARNING: "));
    lines.filter(|line| line.contains(": dispatcher")).collect()
}

/// False, with one line that names what is wrong.
#[track_caller]
fn refused(server: &Kamailio, agent: &mut Agent, asked: Asked<'_>, line: &str) {
    let (rc, lines) = ask(server, agent, asked);
    assert!(rc < 0, "{asked:?} gave {rc}");
    assert_eq!(lines.len(), 1, "{asked:?}: {lines:?}");
    assert!(lines[0].contains(line) && lines[0].len() < 400, "{asked:?}: {lines:?}");
}

/// Which arguments must be numbers.
const NUMBERS: &[(&str, &[usize])] = &[
    ("select", &[0, 1]),
    ("select_dst", &[0, 1]),
    ("select_limit", &[0, 1, 2]),
    ("select_domain", &[0, 1]),
    ("routes_limit", &[2]),
    ("mark_addr", &[1]),
    ("from", &[0]),
    ("from_mode", &[0, 1]),
    ("from_uri", &[0, 1]),
    ("active", &[0]),
    ("active_uri", &[0]),
    ("exists", &[0]),
    ("fetch", &[0]),
    ("fetch_uri", &[0]),
    ("overload", &[0, 1]),
];

fn numbers() -> impl Iterator<Item = (&'static str, usize)> {
    NUMBERS.iter().flat_map(|&(function, places)| places.iter().map(move |&place| (function, place)))
}

/// What is right for a function.
fn right(function: &str) -> [&'static str; 3] {
    match function {
        "routes" | "routes_limit" => ["100=8", "d", "1"],
        "mark_addr" => ["a", "100", URI],
        "select_limit" => ["100", "8", "1"],
        _ => ["100", "8", URI],
    }
}

#[test]
fn text_in_the_place_of_a_number_is_false_with_one_line() {
    let (mut server, mut agent) = start("");
    for (function, place) in numbers() {
        for text in ["ten", "1.5", "0x10", "99999999999", "100 200", "--1", "$var(x)", "%s%n"] {
            let mut arguments = right(function);
            arguments[place] = text;
            refused(&server, &mut agent, (function, arguments, &[]), "expected a whole number");
        }
    }
    server.assert_healthy();
    server.stop();
}

#[test]
fn huge_text_in_the_place_of_a_number_is_false_with_one_short_line() {
    let (mut server, mut agent) = start("");
    for (function, place) in numbers() {
        let large = ["a", "b", "c"][place];
        refused(
            &server,
            &mut agent,
            (function, right(function), &[("X-Large", large)]),
            "expected a whole number",
        );
    }
    server.assert_healthy();
    server.stop();
}

#[test]
fn huge_text_is_false() {
    let (mut server, mut agent) = start("");
    let large = |place: &'static str| [("X-Large", place)];
    refused(&server, &mut agent, ("routes", right("routes"), &large("a")), "'rules'");
    refused(&server, &mut agent, ("routes", ["", "d", ""], &large("a")), "'rules'");
    refused(&server, &mut agent, ("mark_dst", ["", "", ""], &large("a")), "'state'");
    refused(&server, &mut agent, ("mark_addr", ["", "100", URI], &large("a")), "'state'");
    refused(&server, &mut agent, ("from_uri", ["100", "0", "sip:"], &large("c")), "'uri'");
    refused(&server, &mut agent, ("from_uri", ["100", "0", ""], &large("c")), "'uri'");
    // Nothing is there under such a name, which is an answer and no mistake.
    for function in ["active_uri", "overload"] {
        let (rc, _) = ask(&server, &mut agent, (function, right(function), &large("c")));
        assert!(rc < 0, "{function} gave {rc}");
    }
    let (rc, _) = ask(&server, &mut agent, ("mark_addr", right("mark_addr"), &large("c")));
    assert!(rc < 0);
    // Of a mode and a state the first letters count, as in the stock module.
    let (rc, _) = ask(&server, &mut agent, ("routes", ["100=8", "d", ""], &large("b")));
    assert!(rc != 0);
    server.assert_healthy();
    server.stop();
}

#[test]
fn malformed_rules_and_modes_are_false_with_one_line() {
    let (mut server, mut agent) = start("");
    for rules in ["", ";", "100=8;;100=8", "100:8", "a=8", "100=x", "100= 8", "99999999999=8", "-=8"] {
        refused(&server, &mut agent, ("routes", [rules, "d", ""], &[]), "argument 'rules'");
    }
    for mode in ["", "3", "9", "z", "-1", "\"d\""] {
        refused(&server, &mut agent, ("routes", ["100=8", mode, ""], &[]), "argument 'mode'");
    }
    for state in ["z", "1", "-", "i i"] {
        refused(&server, &mut agent, ("mark_addr", [state, "100", URI], &[]), "argument 'state'");
        refused(&server, &mut agent, ("mark_dst", [state, "", ""], &[]), "argument 'state'");
    }
    server.assert_healthy();
    server.stop();
}

#[test]
fn set_that_does_not_exist_is_false() {
    let (mut server, mut agent) = start("");
    for set in ["999", "0", "-1", "-2147483648", "2147483647"] {
        for function in ["select", "select_dst", "select_limit", "select_domain"] {
            let mut arguments = right(function);
            arguments[0] = set;
            refused(&server, &mut agent, (function, arguments, &[]), "no destination set");
        }
        for function in ["active", "active_uri", "exists", "overload", "from", "from_mode", "from_uri"] {
            if set == "-1" && function.starts_with("from") {
                continue; // which means any set
            }
            let mut arguments = right(function);
            arguments[0] = set;
            let (rc, lines) = ask(&server, &mut agent, (function, arguments, &[]));
            assert!(rc < 0 && lines.is_empty(), "{function} {set} gave {rc}: {lines:?}");
        }
    }
    refused(&server, &mut agent, ("routes", ["999=8", "d", ""], &[]), "no destination set 999");
    server.assert_healthy();
    server.stop();
}

#[test]
fn odd_numbers_crash_nothing() {
    let (mut server, mut agent) = start("");
    for number in ["-1", "-2147483648", "2147483647", "16", "1000"] {
        for (function, place) in
            [("select", 1), ("select_dst", 1), ("select_limit", 2), ("routes_limit", 2), ("from_mode", 1)]
        {
            let mut arguments = right(function);
            arguments[place] = number;
            let (rc, _) = ask(&server, &mut agent, (function, arguments, &[]));
            assert!(rc != 0, "{function} {arguments:?}");
        }
        let (rc, _) = ask(&server, &mut agent, ("overload", ["100", number, URI], &[]));
        assert!(rc != 0);
    }
    server.assert_healthy();
    server.stop();
}

#[test]
fn destination_that_is_set_already_is_an_error_without_force_dst() {
    let (server, mut agent) = start("modparam(\"dispatcher\", \"force_dst\", 0)");
    let set: &[(&str, &str)] = &[("X-Du", "1")];
    for function in ["select_dst", "select_limit", "routes", "routes_limit"] {
        refused(&server, &mut agent, (function, right(function), set), "force_dst is 0");
        assert_eq!(ask(&server, &mut agent, (function, right(function), &[])), (1, vec![]));
    }
    // These do not touch it.
    for function in ["select", "select_domain"] {
        assert_eq!(ask(&server, &mut agent, (function, right(function), set)), (1, vec![]));
    }
    server.stop();
}
