//! Lines and rows with values that make no sense: all that the stock module loads are loaded, and the log says for each where it is,
//! what was expected and what is in effect.

use serde_json::{Value, json};

use crate::support::database::{Database, Engine};
use crate::support::server_config::Builder;
use crate::support::{Destination, Kamailio, host};

/// What the numbers of a destination come to.
fn figures(one: &Destination) -> [Value; 4] {
    let attrs = &one.raw["ATTRS"];
    [json!(one.priority), attrs["MAXLOAD"].clone(), attrs["WEIGHT"].clone(), attrs["RWEIGHT"].clone()]
}

#[track_caller]
fn find(server: &Kamailio, host: &str) -> Destination {
    let list = server.list();
    let found = list.iter().find(|one| one.uri == format!("sip:{host}")).cloned();
    found.unwrap_or_else(|| panic!("no {host} in {list:?}"))
}

/// Flags, priority and attributes; maxload, weight and rweight as both modules read them; and what ours says.
const ODD: &[(&str, [i64; 4], &str)] = &[
    (
        "0 0 rweight=50,maxload=80",
        [0, 0, 0, 50],
        "rweight='50,maxload=80': expected a whole number from 0 to 2147483647; 50 is in effect, ',maxload=80' is ignored",
    ),
    (
        "0 0 weight=50, rweight=30",
        [0, 0, 50, 0],
        "weight='50,': expected a whole number from 0 to 2147483647; 50 is in effect, ',' is ignored",
    ),
    (
        "0 0 weight=10.5",
        [0, 0, 10, 0],
        "weight='10.5': expected a whole number from 0 to 2147483647; 10 is in effect, '.5' is ignored",
    ),
    (
        "0 0 maxload=20ms",
        [0, 20, 0, 0],
        "maxload='20ms': expected a whole number from 0 to 2147483647; 20 is in effect, 'ms' is ignored",
    ),
    (
        "0 0 weight=",
        [0, 0, 0, 0],
        "weight='': expected a whole number from 0 to 2147483647; it is as if not there",
    ),
    (
        "0 0 maxload=many",
        [0, 0, 0, 0],
        "maxload='many': expected a whole number from 0 to 2147483647; it is as if not there",
    ),
    (
        "0 0 rweight=-3",
        [0, 0, 0, 0],
        "rweight='-3': expected a whole number from 0 to 2147483647; 0 is in effect",
    ),
    (
        "0 10.5",
        [10, 0, 0, 0],
        "priority '10.5': expected a whole number from 0 to 2147483647; 10 is in effect, '.5' is ignored",
    ),
    (
        "-1",
        [0, 0, 0, 0],
        "flags '-1': expected a whole number from 0 to 2147483647 (or hex, 0x…); 0 is in effect",
    ),
    (
        "0 high",
        [0, 0, 0, 0],
        "priority 'high': expected a number, or attributes; it is taken for the attributes",
    ),
    ("0 0 cc=yes;maxload=5", [0, 5, 0, 0], "cc='yes': expected 0 or 1; 1 is in effect"),
    (
        "0 0 maxload=4;ping_from=teams.example.com",
        [0, 4, 0, 0],
        "ping_from='teams.example.com': expected a SIP URI, with its scheme; 'sip:teams.example.com' is in effect",
    ),
    (
        "0 0 maxload=6;obproxy=127.0.0.1:5090",
        [0, 6, 0, 0],
        "obproxy='127.0.0.1:5090': expected a SIP URI, with its scheme; 'sip:127.0.0.1:5090' is in effect",
    ),
    (
        "0 0 maxload=7;obproxy=sip:h:99999",
        [0, 7, 0, 0],
        "obproxy='sip:h:99999': expected a SIP URI; it is as if not there",
    ),
    ("0 0 weight=5;weight=7", [0, 0, 5, 0], "weight='7': expected once; the first one is in effect"),
];

fn host(n: usize) -> String {
    format!("127.0.3.{}", n + 1)
}

#[test]
fn no_line_that_the_stock_module_loads_is_lost_and_each_is_told_with_its_place() {
    let line = |(n, (rest, ..)): (usize, &(&str, [i64; 4], &str))| format!("1 sip:{} {rest}\n", host(n));
    let list: String = ODD.iter().enumerate().map(line).collect();
    let server = Kamailio::builder().list(list.clone()).start();
    let stock = Kamailio::builder().list(list).stock().start();
    assert_eq!(server.list().len(), ODD.len());
    let answer = server.rpc("dispatcher.reload", json!([])).unwrap();
    let answer = answer.as_str().unwrap_or_default();
    assert!(answer.contains("Findings: ") && answer.contains(ODD[0].2), "a reload tells it again: {answer}");
    for (n, (rest, found, told)) in ODD.iter().enumerate() {
        let (ours, theirs) = (find(&server, &host(n)), find(&stock, &host(n)));
        let numbers = |one| figures(one).map(|figure| figure.as_i64().unwrap_or(0));
        assert_eq!(numbers(&ours), *found, "{rest}");
        assert_eq!(numbers(&ours), numbers(&theirs), "{rest}");
        assert_eq!(ours.duid, theirs.duid, "{rest}");
        let told = format!("{told} (line loaded)");
        let lines = server.log_lines(&told);
        assert_eq!(lines.len(), 2, "{told}, at start and at the reload: {}", server.log());
        let place = format!("dispatcher.list:{}:", n + 1);
        assert!(lines.iter().all(|line| line.contains("WARNING: ") && line.contains(&place)), "{lines:?}");
    }
    server.stop();
    stock.stop();
}

#[test]
fn maxload_below_zero_is_no_limit_and_a_text_ends_at_a_comma() {
    let list = "1 sip:127.0.3.1 0 0 duid=a,maxload=3\n1 sip:127.0.3.2 0 0 duid=b;maxload=-4\n";
    let server = Kamailio::builder().list(list).start();
    let (a, b) = (find(&server, "127.0.3.1"), find(&server, "127.0.3.2"));
    assert_eq!((a.duid.as_str(), &a.raw["ATTRS"]["MAXLOAD"]), ("a", &json!(0)));
    assert_eq!((b.duid.as_str(), &b.raw["ATTRS"]["MAXLOAD"]), ("b", &json!(0)));
    assert_eq!(server.log_lines(":1:21: duid='a,maxload=3': expected").len(), 1, "{}", server.log());
    assert_eq!(server.log_lines(":2:28: maxload='-4': expected").len(), 1, "{}", server.log());
    assert_eq!(server.log_lines("no limit is in effect").len(), 1);
    server.stop();
}

/// As the stock module reads it.
#[test]
fn line_without_a_set_id_is_of_set_0() {
    let list = "sip:127.0.3.1 8\n7sip:127.0.3.2\n127.0.3.3:5060 0 0 duid=x\n1 127.0.3.4:5060\n1 not a uri\n";
    let server = Kamailio::builder().list(list).start();
    let stock = Kamailio::builder().list(list).stock().start();
    let sets = |server: &Kamailio| {
        let mut all: Vec<_> = server.list().into_iter().map(|one| (one.set, one.uri, one.flags)).collect();
        all.sort();
        all
    };
    let wanted = [
        (0, "sip:127.0.3.1", &*host::unprobed("AP")),
        (1, "sip:127.0.3.4:5060", "AX"),
        (7, "sip:127.0.3.2", "AX"),
    ];
    assert_eq!(sets(&server), wanted.map(|(set, uri, flags)| (set, uri.to_owned(), flags.to_owned())));
    // It makes set 127 and `sip:.0.3.3:5060` of that line.
    let of_stock = sets(&stock).into_iter().filter(|(set, ..)| *set != 127);
    assert_eq!(sets(&server), of_stock.collect::<Vec<_>>());
    for told in [
        "1:1: set id 'sip:127.0.3.1': expected",
        "2:1: set id '7sip:127.0.3.2': expected",
        "4:3: '127.0.3.4:5060': expected a SIP URI, with its scheme; 'sip:127.0.3.4:5060' is in effect (line loaded)",
        "3:1: set id '127.0.3.3:5060': expected a whole number",
        "5:3: 'not' is no SIP URI with a host (line not loaded)",
    ] {
        assert_eq!(server.log_lines(&format!("dispatcher.list:{told}")).len(), 1, "{told}: {}", server.log());
    }
    server.stop();
    stock.stop();
}

const STRICT: &str = "modparam(\"dispatcher\", \"ds_load_mode\", 1)";

#[test]
fn where_nothing_may_be_wrong_nothing_is_mended() {
    const GOOD: &str = "1 sip:127.0.3.1\n-4 sip:127.0.3.2:5060 0 3 weight=900\n";
    let warned = "1 127.0.3.1:5060\n-4 sip:127.0.3.2:5060 0 -3 weight=900\n";
    let server = Kamailio::builder().list(warned).modparam(STRICT).start();
    assert_eq!((server.list().len(), server.log_lines("(line loaded)").len()), (2, 2), "{}", server.log());
    for (line, told) in [
        ("1 sip:127.0.3.3 0 0 weight=50,rweight=3", "weight='50,rweight=3'"),
        ("1 sip:127.0.3.3 0 0 maxload=-1", "maxload='-1'"),
        ("1 sip:127.0.3.3 8x", "flags '8x'"),
        ("sip:127.0.3.3", "set id 'sip:127.0.3.3'"),
        ("1 sip:127.0.3.3 0 0 obproxy=sip:h:99999", "obproxy='sip:h:99999'"),
    ] {
        server.write_list(&format!("{GOOD}{line}\n"));
        let error = server.rpc("dispatcher.reload", json!([])).unwrap_err().message;
        assert!(error.contains("ds_load_mode is 1") && error.contains("1 of 3 lines"), "{line}: {error}");
        let mut lines = server.log_lines("dispatcher.list:3:");
        lines.retain(|line| !line.contains("nothing loaded"));
        let last = lines.last().unwrap();
        assert!(last.contains("ERROR: ") && last.contains(told), "{line}: {last}");
        assert!(last.ends_with("(line not loaded)") && !last.contains("in effect"), "{line}: {last}");
        assert_eq!(server.list().len(), 2);
    }
    for attrs in ["weight=5x", "obproxy=sip:h:99999"] {
        let params = json!([1, "sip:127.0.3.9", 0, 0, attrs]);
        let error = server.rpc("dispatcher.add", params).unwrap_err().message;
        assert!(error.contains("expected"), "{error}");
    }
    assert_eq!(server.list().len(), 2);
    server.stop();
}

fn with_database(database: &Database) -> Builder {
    let url = format!("modparam(\"dispatcher\", \"db_url\", \"{}\")", database.url());
    Kamailio::builder().module(database.module()).modparam(&url).modparam(database.modparam())
}

#[test]
fn no_row_that_the_stock_module_loads_is_lost_and_each_is_told_with_its_place() {
    let database = Database::start(Engine::Sqlite);
    database.rows(&[
        (-7, "sip:127.0.3.1", 0, -5, "duid=a"),
        (-7, "sip:127.0.3.2", 0, -9, "duid=b;rweight=50,maxload=80"),
        (-7, "127.0.3.3:5060", 0, 3, "duid=c;maxload=-2"),
        (-7, "sip:127.0.3.4", -1, 0, "duid=d"),
        (8, "sip:127.0.3.5", 0, 0, "weight=50, rweight=30"),
        (8, "sip:127.0.3.6", 0, 0, "maxload=5;\nweight=6"),
        (8, "sip:127.0.3.7", 0, 0, "maxload=;weight=7"),
    ]);
    let [server, stock] = [with_database(&database), with_database(&database).stock()].map(Builder::start);
    let seen = |server: &Kamailio, host: &str| {
        let one = find(server, host);
        (one.set, one.flags.clone(), one.duid.clone(), figures(&one))
    };
    for host in ["127.0.3.1", "127.0.3.2", "127.0.3.4", "127.0.3.5", "127.0.3.6"] {
        assert_eq!(seen(&server, host), seen(&stock, host), "{host}");
    }
    assert_eq!(find(&server, "127.0.3.3:5060").raw["ATTRS"]["MAXLOAD"], json!(0));
    assert_eq!(find(&server, "127.0.3.7").raw["ATTRS"]["WEIGHT"], json!(7));
    assert_eq!(
        find(&server, "127.0.3.6").attrs,
        "maxload=5; weight=6",
        "a script may write it into a header"
    );
    let row = |told: &str| format!("table dispatcher, row {told}");
    for told in [
        "2: (set -7, 'sip:127.0.3.2') attributes: rweight='50,maxload=80': expected a whole number",
        "3: (set -7, '127.0.3.3:5060') attributes: maxload='-2': expected",
        "4: (set -7, 'sip:127.0.3.4') flags is -1: expected a whole number from 0 to 2147483647; all its bits are in effect (row loaded)",
        "5: (set 8, 'sip:127.0.3.5') attributes: weight='50, rweight=30': expected",
        "6: (set 8, 'sip:127.0.3.6') attributes: expected one line; blanks are in effect",
        "7: (set 8, 'sip:127.0.3.7') attributes: maxload='': expected",
    ] {
        assert_eq!(server.log_lines(&row(told)).len(), 1, "{told}: {}", server.log());
    }
    server.stop();
    stock.stop();
}

/// Chooses by the rules in `X-Rules`, or from the set in `X-Set`.
const ROUTE: &str = r#"
request_route {
	if (is_present_hf("X-Rules")) {
		$var(rules) = $hdr(X-Rules);
		$var(rc) = ds_select_routes("$var(rules)", "0");
	} else $var(rc) = ds_select_dst("-7", "8");
	append_to_reply("X-To: $du\r\nX-Rc: $var(rc)\r\n");
	sl_send_reply("200", "OK");
}
"#;

#[track_caller]
fn routed(server: &Kamailio, rules: &str) -> String {
    let mut agent = server.agent();
    let mut call = crate::calls::with(agent.call(), "X-Rules", rules);
    agent.send(&call.invite());
    agent.answer(&call, "INVITE").header("X-To").unwrap_or_default().to_owned()
}

#[test]
fn negative_set_ids_and_priorities_go_through_every_path() {
    let list = "-7 sip:127.0.3.1 0 -5 duid=a\n-7 sip:127.0.3.2 0 -2 duid=b\n3 sip:127.0.3.9\n";
    let server = Kamailio::builder().list(list).route(ROUTE).start();
    let order = || server.list().into_iter().map(|one| (one.set, one.uri, one.priority)).collect::<Vec<_>>();
    let one = |set: i64, host: &str, priority: i64| (set, format!("sip:{host}"), priority);
    assert_eq!(order(), [one(-7, "127.0.3.2", -2), one(-7, "127.0.3.1", -5), one(3, "127.0.3.9", 0)]);
    assert_eq!(choices_of(&server), "sip:127.0.3.2");
    for (rules, chosen) in
        [("-7=10", "2"), ("-7=8;3=8", "2"), ("99=8;-7=8", "2"), ("3=8", "9"), ("3", "9"), ("3=", "9")]
    {
        assert_eq!(routed(&server, rules), format!("sip:127.0.3.{chosen}"), "{rules}");
    }
    assert_eq!(server.log_lines("expected set=alg, found '3'; 3=0 is in effect").len(), 1, "told once");

    let rpc = |command: &str, params: Value| server.rpc(&format!("dispatcher.{command}"), params).unwrap();
    rpc("add", json!([-7, "sip:127.0.3.3", 0, -1, "duid=c"]));
    rpc("add", json!([-8, "127.0.3.4:5060", 0, -2147483647]));
    assert_eq!(order()[..2], [one(-8, "127.0.3.4:5060", -2147483647), one(-7, "127.0.3.3", -1)]);
    assert_eq!(choices_of(&server), "sip:127.0.3.3");
    rpc("update", json!([-7, "sip:127.0.3.3", -1, -9]));
    assert_eq!(choices_of(&server), "sip:127.0.3.2");
    rpc("set_state", json!(["d", -7, "sip:127.0.3.2"]));
    assert_eq!(choices_of(&server), "sip:127.0.3.1");
    rpc("set_duid_state", json!(["a", -7, "B"]));
    assert_eq!(choices_of(&server), "sip:127.0.3.2");
    assert_eq!(rpc("list", json!(["short", -7]))["RECORDS"][0]["SET"]["SIZE"], json!(3));
    assert_eq!(rpc("stats", json!([-7])).as_array().map(Vec::len), Some(3));
    assert_eq!(rpc("oclist", json!([-7])).as_array().map(Vec::len), Some(3));
    assert_eq!(rpc("explain", json!([-7, 8]))["CHOSEN"], json!("sip:127.0.3.2"));
    rpc("remove", json!([-8, "127.0.3.4:5060"]));
    rpc("remove", json!([-7, "sip:127.0.3.2"]));
    assert_eq!(order(), [one(-7, "127.0.3.1", -5), one(-7, "127.0.3.3", -9), one(3, "127.0.3.9", 0)]);
    server.stop();
}

#[track_caller]
fn choices_of(server: &Kamailio) -> String {
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.send(&call.invite());
    agent.answer(&call, "INVITE").header("X-To").unwrap_or_default().to_owned()
}

#[test]
fn destination_that_an_operator_adds_is_mended_too_and_the_answer_says_so() {
    let server = Kamailio::builder().list("1 sip:127.0.3.1 0 0 duid=a\n").start();
    let add = |params: Value| server.rpc("dispatcher.add", params).unwrap();
    let answer =
        add(json!([1, "127.0.3.2:5060", 0, 0, "duid=b;rweight=5,maxload=3;obproxy=127.0.0.1:9;maxload=x"]));
    let told = [
        "attrs, byte 8: rweight='5,maxload=3': expected a whole number from 0 to 2147483647; 5 is in effect, ',maxload=3' is ignored",
        "attrs, byte 28: obproxy='127.0.0.1:9': expected a SIP URI, with its scheme; 'sip:127.0.0.1:9' is in effect",
        "attrs, byte 48: maxload='x': expected a whole number from 0 to 2147483647; it is as if not there",
        "'127.0.3.2:5060': expected a SIP URI, with its scheme; 'sip:127.0.3.2:5060' is in effect",
    ];
    assert_eq!(answer, json!(format!("Ok. Dispatcher destination added. Findings: {}", told.join("; "))));
    assert_eq!(find(&server, "127.0.3.2:5060").raw["ATTRS"]["OBPROXY"], json!("sip:127.0.0.1:9"));
    let answer =
        server.rpc("dispatcher.update", json!([1, "sip:127.0.3.1", -1, -1, "duid=a;weight=8kg"])).unwrap();
    assert!(answer.as_str().unwrap().ends_with("8 is in effect, 'kg' is ignored"), "{answer}");
    assert_eq!(find(&server, "127.0.3.1").raw["ATTRS"]["WEIGHT"], json!(8));
    server.stop();
}
