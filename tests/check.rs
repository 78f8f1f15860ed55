//! `dispatcher-check` as an operator runs it: on five lists, each written as a kind of platform writes its own, with the whole report of
//! each; compared with an answer of a server; and what scripts rely on.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// What the program prints to each of its outputs, and its exit code.
struct Ran {
    out: String,
    err: String,
    code: i32,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/check")
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatcher-check"));
    command.args(arguments).current_dir(folder()).env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Ran {
    let output = program(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { out: text(output.stdout), err: text(output.stderr), code: output.status.code().unwrap() }
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&run(&[&["--format", "json"], arguments].concat()).out).unwrap()
}

/// The file with what is expected; what the release of the server decides stands in `@…@`.
fn expected(name: &str) -> String {
    let algorithms = if cfg!(stock_overload) { "14 and 15" } else { "14, 15 and 64" };
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    text.replace("@RELEASE@", env!("KAMAILIO_RELEASE")).replace("@ALGORITHMS@", algorithms)
}

#[track_caller]
fn reports(arguments: &[&str], name: &str, code: i32) {
    let ran = run(arguments);
    assert_eq!(ran.out, expected(name), "tests/check/{name}");
    assert_eq!((ran.err.as_str(), ran.code), ("", code), "{arguments:?}");
}

#[test]
fn table_of_a_softswitch_as_sqlite_prints_it() {
    reports(&["--stock", "softswitch.csv"], "softswitch.txt", 1);
}

#[test]
fn table_of_a_pbx_as_psql_prints_it_with_wrong_rows() {
    reports(&["--stock", "pbx.csv"], "pbx.txt", 2);
}

#[test]
fn table_of_a_proxy_as_mysql_prints_it() {
    reports(&["--stock", "proxy.tsv"], "proxy.txt", 1);
}

#[test]
fn list_that_a_router_generates() {
    reports(&["--stock", "router.list"], "router.txt", 0);
}

#[test]
fn list_of_carriers_written_by_hand_with_what_goes_wrong_by_hand() {
    reports(&["--stock", "carrier.list"], "carrier.txt", 2);
}

#[test]
fn answer_of_a_server_beside_the_list_tells_which_calls_are_affected() {
    reports(&["--quiet", "--diff", "answer.json", "pbx.csv", "--explain", "1", "10"], "changes.txt", 2);
    let told = json(&["--diff", "answer.json", "pbx.csv"]);
    let counts = ["added", "removed", "changed", "unchanged", "calls_at_removed", "calls_at_changed"];
    assert_eq!(counts.map(|name| told["diff"][name].as_i64().unwrap()), [0, 1, 2, 2, 33, 360]);
    // The answer has no flags as written, so it has none that differ; a list has.
    let other = std::env::temp_dir().join(format!("dispatcher-check-old-{}.list", std::process::id()));
    std::fs::write(&other, "2 sip:10.37.0.21:5060;transport=udp 4\n").unwrap();
    let told = json(&["--diff", other.to_str().unwrap(), "router.list"]);
    std::fs::remove_file(&other).unwrap();
    let changed: Vec<_> =
        told["diff"]["changes"].as_array().unwrap().iter().filter(|one| one["kind"] == "changed").collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["what"], json!(["flags 4 -> 0"]));
}

#[test]
fn choice_is_explained_as_a_server_makes_it_first() {
    let chosen = |arguments: &[&str]| {
        let told = json(&[&["router.list", "--explain"], arguments].concat());
        (told["explain"]["chosen"].clone(), told["explain"]["targets"][0]["why"].clone())
    };
    assert_eq!(chosen(&["1", "8"]), (json!("sip:10.37.0.13:5060"), json!("chosen")));
    assert_eq!(chosen(&["1", "10"]).0, json!("sip:10.37.0.13:5060"));
    // By the stock hash of "call-1", which `dispatcher.hash 3 call-1` puts at 2.
    let all: Vec<_> = ["a", "b", "c", "call-1"].map(|key| chosen(&["1", "0", key]).0).into();
    assert!(all.iter().any(|one| *one != all[0]), "keys are spread: {all:?}");
    for (arguments, why) in [
        (["router.list", "--explain", "1", "0"], "algorithm 0 hashes the Call-ID: give it as KEY"),
        (["router.list", "--explain", "1", "77"], "there is no algorithm 77"),
        (["router.list", "--explain", "9", "4"], "there is no set 9"),
        (["router.list", "--explain", "x", "4"], "SET 'x': expected a whole number"),
    ] {
        let ran = run(&arguments);
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{arguments:?}");
        assert!(ran.err.contains(why), "{arguments:?}: {}", ran.err);
    }
    let refused = json(&["pbx.csv", "--explain", "2", "4"]);
    assert_eq!(
        (&refused["explain"]["chosen"], &refused["explain"]["refused"]),
        (&Value::Null, &json!("none active"))
    );
}

#[test]
fn configuration_is_looked_through_for_what_the_stock_module_does_not_know() {
    let cfg = std::env::temp_dir().join(format!("dispatcher-check-{}.cfg", std::process::id()));
    std::fs::write(&cfg, "modparam(\"dispatcher\", \"ds_load_auto\", 1)\nds_select_dst(\"1\", \"15\");\n")
        .unwrap();
    let told = json(&["--stock", "--cfg", cfg.to_str().unwrap(), "router.list"]);
    std::fs::remove_file(&cfg).unwrap();
    let rollback: Vec<_> =
        told["stock"]["rollback"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(rollback[1].contains(":2: algorithm 15: it has none of this number"), "{rollback:?}");
    assert!(rollback[0].contains(":1: ds_load_auto: it has no such parameter"), "{rollback:?}");
    assert_eq!(
        rollback[2],
        "the first is, in set 1: sip:10.37.0.13:5060; set 2: sip:10.37.0.22:5060;transport=udp"
    );
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/kamailio.cfg.example");
    let told = json(&["--stock", "--cfg", example, "router.list"]);
    let first = told["stock"]["rollback"][0].as_str().unwrap();
    assert!(first.ends_with(": ds_lean_failover: it has no such parameter, and does not start"), "{first}");
}

#[test]
fn strict_loads_nothing_where_anything_is_corrected() {
    let told = json(&["--strict", "softswitch.csv"]);
    assert_eq!(
        (&told["loaded"], &told["errors"]),
        (&json!(5), &json!(0)),
        "a scheme that lacks is no correction"
    );
    let told = json(&["--strict", "carrier.list"]);
    assert_eq!((&told["loaded"], &told["sets"]), (&json!(0), &json!([])));
    assert_eq!(run(&["--strict", "carrier.list"]).code, 2);
}

#[test]
fn exit_codes_tell_scripts_what_happened() {
    for (arguments, code) in [
        (&["router.list"][..], 0),
        (&["softswitch.csv"], 1),
        (&["carrier.list"], 2),
        (&[], 64),
        (&["--no-such-option", "router.list"], 64),
        (&["--cfg", "x", "router.list"], 64),
        (&["--help"], 0),
        (&["--version"], 0),
        (&["--csv", "router.list"], 65),
        (&["--diff", "pbx.txt", "no-such-file"], 66),
        (&["no-such-file"], 66),
    ] {
        assert_eq!(run(arguments).code, code, "{arguments:?}");
    }
    assert!(run(&["no-such-file"]).err.starts_with("dispatcher-check: no-such-file: No such file"));
    assert!(run(&["--csv", "router.list"]).err.contains("no column 'setid' in its first line"));
}

#[test]
fn standard_input_is_read_and_colours_are_for_terminals() {
    let mut child = program(&["-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"1 sip:192.0.2.1 0 x\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.starts_with("-:1:19: warning: priority 'x'"), "{shown}");
    assert!(!shown.contains('\x1b'));
    assert!(run(&["--color", "always", "router.list"]).out.contains("\x1b[32mnothing wrong\x1b[m"));
}

/// `script` gives the program a terminal.
#[test]
fn on_a_terminal_there_are_colours_unless_no_color_is_set() {
    let on_terminal = |no_color: Option<&str>| {
        let line = format!("'{}' router.list", env!("CARGO_BIN_EXE_dispatcher-check"));
        let mut command = Command::new("script");
        command
            .args(["-qec", &line, "/dev/null"])
            .current_dir(folder())
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(on_terminal(None).contains("\x1b[32mnothing wrong"));
    assert!(on_terminal(Some("")).contains("\x1b[32mnothing wrong"));
    let plain = on_terminal(Some("1"));
    assert!(plain.contains("nothing wrong") && !plain.contains('\x1b'), "{plain}");
}

#[test]
fn bash_takes_the_completions() {
    let script = run(&["--completions", "bash"]);
    assert_eq!(script.code, 0);
    let mut bash = Command::new("bash");
    // The function is the one that the script registers.
    let asked = r#"eval "$1"; COMP_WORDS=(dispatcher-check --exp); COMP_CWORD=1
        function=$(complete -p dispatcher-check | sed 's/.*-F \([^ ]*\).*/\1/')
        $function dispatcher-check --exp dispatcher-check; echo "${COMPREPLY[@]}""#;
    let output = bash.args(["-c", asked, "bash", &script.out]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "--explain");
    assert!(run(&["--completions", "zsh"]).out.starts_with("#compdef dispatcher-check"));
}

/// The first example of docs/check.md, and each option of its table.
#[test]
fn page_shows_what_the_program_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/check.md")).unwrap();
    let block = |after: &str| page.split_once(after).unwrap().1.split_once("```").unwrap().0.to_owned();
    let folder = std::env::temp_dir().join(format!("dispatcher-check-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("dispatcher.list"), block("```list\n")).unwrap();
    let output = program(&["dispatcher.list"]).current_dir(&folder).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), block("$ dispatcher-check dispatcher.list\n"));
    let help = run(&["--help"]).out;
    let options = help.split_whitespace().filter(|word| word.starts_with("--"));
    for option in options.map(|word| word.trim_end_matches([',', '.', ':'])) {
        if !["--help", "--version"].contains(&option) {
            assert!(page.contains(option), "the page has no {option}");
        }
    }
}

#[test]
fn limits_on_new_calls_that_make_no_sense_are_told_with_their_place() {
    let list = "1 sip:a 0 0 cps=0\n1 sip:b 0 0 x=y;cps=-1\n1 sip:c 0 0 cps=fast\n1 sip:d 0 0 cps_burst=5\n1 sip:e 0 0 cps=50;cps_burst=0\n1 sip:f 0 0 cps=50\n";
    let run = |arguments: &[&str]| {
        let mut child = program(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let told = run(&["--limits", "-"]);
    for (place, what, effect) in [
        ("1:13", "cps='0': expected a whole number from 1 to 2147483647", "no limit is in effect"),
        ("2:17", "cps='-1': expected a whole number from 1 to 2147483647", "no limit is in effect"),
        ("3:13", "cps='fast': expected a whole number from 1 to 2147483647", "it is as if not there"),
        ("4:13", "cps_burst='5': expected a cps beside it", "it has no effect"),
        ("5:20", "cps_burst='0': expected a whole number from 1 to 2147483647", "10 is in effect"),
    ] {
        let line =
            told.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what}: {told}"));
        assert!(line.contains(place) && line.contains(effect), "{line}");
    }
    assert!(!told.contains("6:13"), "{told}");
    assert!(!run(&["-"]).contains("cps="), "{told}");
}

/// What all lines of a capacity say of new calls, and what does not fit together.
#[test]
fn limits_on_new_calls_are_shown_with_those_that_are_shared() {
    let folder = std::env::temp_dir().join(format!("dispatcher-check-rates-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let list = "1 sip:192.0.2.1 0 0 cps=30;capacity=c;capacity_max=5;capacity_cps=100\n\
        2 sip:192.0.2.2 0 0 capacity=c;capacity_cps=50;capacity_cps_burst=7\n3 sip:192.0.2.3 0 0 capacity=c\n\
        3 sip:192.0.2.4 0 0 capacity=d;capacity_cps_burst=3\n3 sip:192.0.2.5 0 0 capacity_cps=3\n";
    std::fs::write(folder.join("list"), list).unwrap();
    let output = program(&["--limits", "--format", "json", "list"]).current_dir(&folder).output().unwrap();
    let told = serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let one = &told["sets"][0]["destinations"][0];
    assert_eq!([&one["cps"], &one["cps_burst"], &one["capacity"]], [&json!(30), &json!(6), &json!("c")]);
    let third = told["sets"][2]["destinations"].as_array().unwrap();
    assert_eq!(third.iter().filter(|one| one["capacity"] == json!(null)).count(), 1);
    let expected = json!([
        {"name": "c", "destinations": 3, "limit": 5, "reserve": 0, "cps": 50, "cps_burst": 7},
        {"name": "d", "destinations": 1, "limit": 0, "reserve": 0, "cps": 0, "cps_burst": 0},
    ]);
    assert_eq!(told["capacities"], expected);
    let findings = told["findings"].as_array().unwrap().iter();
    let findings: Vec<_> =
        findings.map(|one| (one["at"]["line"].as_u64().unwrap(), one["text"].as_str().unwrap())).collect();
    let expected = [
        (1, "capacity='c': capacity_cps is 100 here and 50 on line 2: the smallest of all, 50, is in effect"),
        (4, "capacity='d': no line of it says a capacity_max or a capacity_cps, so it has no limit"),
        (4, "capacity='d': capacity_cps_burst=3 has no effect without a capacity_cps"),
        (5, "capacity_cps='3': expected the name of a capacity beside it"),
    ];
    assert_eq!(findings, expected);
    let shown = program(&["--limits", "list"]).current_dir(&folder).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let has = |words: &[&str]| {
        shown.lines().any(|line| {
            line.split_whitespace().collect::<Vec<_>>().windows(words.len()).any(|all| all == words)
        })
    };
    assert!(has(&["30+6", "c"]) && has(&["c", "3", "5", "50+7"]), "{shown}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A capacity that two sets share is full by the calls of both.
#[test]
fn explanation_knows_shared_capacities_and_reserves_are_shown() {
    let folder = std::env::temp_dir().join(format!("dispatcher-check-capacity-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let list = "1 sip:192.0.2.1 0 0 duid=a;maxload=9;maxload_reserve=3;capacity=c;capacity_max=5\n\
        1 sip:192.0.2.2 0 0 duid=b\n2 sip:192.0.2.3 0 0 duid=d;capacity=c\n3 sip:192.0.2.4 0 0 duid=e;capacity=e\n\
        4 sip:192.0.2.5 0 0 maxload_reserve=10%\n4 sip:192.0.2.6 0 0 maxload=5;maxload_reserve=-2\n\
        4 sip:192.0.2.7 0 0 maxload=5;maxload_reserve=some\n";
    std::fs::write(folder.join("list"), list).unwrap();
    let target = |uri: &str, duid: &str, calls: u32| json!({"DEST": {"URI": uri, "FLAGS": "AX", "ATTRS": {"BODY": format!("duid={duid}")}, "RUNTIME": {"DLGLOAD": calls}}});
    let answer = |calls: u32| {
        json!({"RECORDS": [
            {"SET": {"ID": 1, "TARGETS": [target("sip:192.0.2.1", "a", 2), target("sip:192.0.2.2", "b", 7)]}},
            {"SET": {"ID": 2, "TARGETS": [target("sip:192.0.2.3", "d", calls)]}},
        ]})
    };
    let explained = |calls: u32, limits: &[&str]| {
        std::fs::write(folder.join("answer"), answer(calls).to_string()).unwrap();
        let arguments =
            [&["list", "--diff", "answer", "--format", "json"], limits, &["--explain", "1", "10"]].concat();
        let output = program(&arguments).current_dir(&folder).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let why = |told: &Value| told["explain"]["targets"][1]["why"].as_str().unwrap().to_owned();
    assert_eq!(why(&explained(2, &["--limits"])), "chosen");
    let told = explained(3, &["--limits"]);
    assert_eq!(
        (why(&told), &told["explain"]["chosen"]),
        ("capacity c full".to_owned(), &json!("sip:192.0.2.2"))
    );
    assert_eq!(why(&explained(3, &[])), "chosen", "without ds_limits nothing is shared");
    let told = explained(3, &["--limits", "--priority"]);
    assert_eq!(why(&told), "capacity c full, and has no reserve");
    let told = explained(3, &["--limits"]);
    assert_eq!(told["sets"][0]["destinations"][1]["maxload_reserve"], json!(3));
    let busy = list.replace("capacity_max=5", "capacity_max=5;capacity_reserve=1");
    std::fs::write(folder.join("list"), busy).unwrap();
    assert_eq!(why(&explained(3, &["--limits", "--priority"])), "chosen, by the reserve of its capacity");
    assert_eq!(why(&explained(4, &["--limits", "--priority"])), "capacity c full, its reserve too");
    std::fs::write(folder.join("list"), list).unwrap();
    let at = |told: &Value| (told["at"]["line"].as_u64().unwrap(), told["at"]["column"].as_u64().unwrap());
    let findings: Vec<_> = told["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (at(one), one["text"].as_str().unwrap()))
        .collect();
    let number = "expected a whole number from 0 to 2147483647, or percent of the limit";
    let expected = [
        (
            (4, 3),
            "capacity='e': no line of it says a capacity_max or a capacity_cps, so it has no limit"
                .to_owned(),
        ),
        ((5, 21), "maxload_reserve='10%': expected a maxload beside it".to_owned()),
        ((6, 31), format!("maxload_reserve='-2': {number}")),
        ((7, 31), format!("maxload_reserve='some': {number}")),
    ];
    assert_eq!(findings, expected.each_ref().map(|(at, text)| (*at, text.as_str())));
    let shown = program(&["--limits", "list"]).current_dir(&folder).output().unwrap();
    assert!(String::from_utf8(shown.stdout).unwrap().contains(" 9+3 "));
    std::fs::remove_dir_all(&folder).unwrap();
}
