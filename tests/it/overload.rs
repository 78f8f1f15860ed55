//! Algorithm 64 with `ds_oc_set_attrs`, and what `$dsg(…)` says of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::calls::with;
use crate::support::{Agent, Kamailio, eventually};

/// A wish of `X-Uri` if there is `X-Rate`, then `X-Times` selections by algorithm 64, then what `$dsg(…)` says.
const ROUTE: &str = r#"
request_route {
	$var(set) = $(hdr(X-Set){s.int});
	$var(rate) = $(hdr(X-Rate){s.int});
	$var(interval) = $(hdr(X-Interval){s.int});
	$var(sequence) = $(hdr(X-Sequence){s.int});
	$var(times) = $(hdr(X-Times){s.int});
	$var(uri) = $hdr(X-Uri);
	if (is_present_hf("X-Rate")) {
		$var(rc) = ds_oc_set_attrs("$var(set)", "$var(uri)", "$var(rate)", "$var(interval)", "$var(sequence)");
		append_to_reply("X-Wish: $var(rc)\r\n");
	}
	while ($var(times) > 0) {
		$du = $null;
		$xavp(_dsdst_[*]) = $null;
		$xavp(_dsctx_[*]) = $null;
		$var(rc) = ds_select_dst("$var(set)", "64");
		if ($var(rc) > 0) append_to_reply("X-Pick: $du\r\n");
		else append_to_reply("X-Pick: $var(rc)\r\n");
		$var(times) = $var(times) - 1;
	}
	$var(rc) = ds_dsg_fetch("$var(set)");
	append_to_reply("X-Fetch: $var(rc)\r\n");
	append_to_reply("X-Set: $dsg(count) $dsg(active) $dsg(inactive) $dsg(pactive) $dsg(pinactive)\r\n");
	append_to_reply("X-None: $dsg(ocrate) $dsg(ocseq) $dsg(octime_sec) $dsg(octime_usec)\r\n");
	if (is_present_hf("X-Uri")) {
		$var(rc) = ds_dsg_fetch_uri("$var(set)", "$var(uri)");
		append_to_reply("X-Fetch: $var(rc)\r\n");
		append_to_reply("X-Set: $dsg(count) $dsg(active) $dsg(inactive) $dsg(pactive) $dsg(pinactive)\r\n");
		append_to_reply("X-Wished: $dsg(ocrate) $dsg(ocseq)\r\n");
		append_to_reply("X-Until: $dsg(octime_sec) $dsg(octime_usec)\r\n");
	}
	sl_send_reply("200", "OK");
}
"#;

/// Of set 1 the last is the first in turn; set 2 has one that wants to be left out of half at least.
const LIST: &str = "1 sip:127.0.7.1:5060\n1 sip:127.0.7.2:5060\n1 sip:127.0.7.3:5060\n\
                    2 sip:127.0.7.4:5060 0 0 ocmin=50\n\
                    3 sip:127.0.7.5:5060 0 0 note=n\n\
                    4 sip:127.0.7.6:5060\n";

const HOUR: i64 = 3_600_000;

fn start(modparams: &str) -> Kamailio {
    let builder = Kamailio::builder().list(LIST).globals("max_while_loops=1000");
    builder.modparam(modparams).route(ROUTE).start()
}

fn uri(n: u32) -> String {
    format!("sip:127.0.7.{n}:5060")
}

/// What the script saw.
struct Seen(Vec<(String, String)>);

impl Seen {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    fn one<'a>(&'a self, name: &'a str) -> &'a str {
        self.all(name).last().unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }

    fn picked(&self, what: &str) -> usize {
        self.all("X-Pick").filter(|pick| *pick == what).count()
    }
}

#[track_caller]
fn ask(agent: &mut Agent, headers: &[(&str, String)]) -> Seen {
    let call = headers.iter().fold(agent.call(), |call, (name, value)| with(call, name, value));
    let mut call = call;
    agent.send(&call.within("MESSAGE"));
    Seen(agent.answer(&call, "MESSAGE").headers)
}

#[track_caller]
fn wish(agent: &mut Agent, set: i64, uri: &str, rate: i64, interval: i64, sequence: i64) -> Seen {
    let numbers = [("X-Set", set), ("X-Rate", rate), ("X-Interval", interval), ("X-Sequence", sequence)];
    let mut headers: Vec<_> = numbers.map(|(name, number)| (name, number.to_string())).to_vec();
    headers.push(("X-Uri", uri.into()));
    ask(agent, &headers)
}

#[track_caller]
fn select(agent: &mut Agent, set: i64, times: usize) -> Seen {
    let seen = ask(agent, &[("X-Set", set.to_string()), ("X-Times", times.to_string())]);
    assert_eq!(seen.all("X-Pick").count(), times);
    seen
}

#[test]
fn only_one_of_a_set_is_left_out_of_exactly_its_rate() {
    let server = start("");
    let mut agent = server.agent();
    for (sequence, rate) in (1..).zip([30, 10, 99, 100]) {
        assert_eq!(wish(&mut agent, 3, &uri(5), rate, HOUR, sequence).one("X-Wish"), "1");
        for before in [0, 7, 31] {
            select(&mut agent, 3, before);
            let seen = select(&mut agent, 3, 100);
            let picked = (seen.picked("-3") as i64, seen.picked(&uri(5)) as i64);
            assert_eq!(picked, (rate, 100 - rate), "after {before}");
        }
    }
    server.stop();
}

/// A round is a selection of each of three, or of the other two: with 30 percent, 70 and 30 of 100 rounds.
#[test]
fn others_of_the_set_get_what_one_is_left_out_of() {
    for params in ["", "modparam(\"dispatcher\", \"flags\", 2)"] {
        let server = start(params);
        let mut agent = server.agent();
        let seen = select(&mut agent, 1, 300);
        assert_eq!([1, 2, 3].map(|n| seen.picked(&uri(n))), [100; 3]);
        assert_eq!(wish(&mut agent, 1, &uri(2), 30, HOUR, 1).one("X-Wish"), "1");
        for _ in 0..3 {
            let seen = select(&mut agent, 1, 270);
            assert_eq!([1, 2, 3].map(|n| seen.picked(&uri(n))), [100, 70, 100], "{params}");
        }
        server.stop();
    }
}

#[test]
fn only_newer_wishes_of_known_destinations_are_taken() {
    let server = start("");
    let mut agent = server.agent();
    let mut code = |set, uri: &str, rate, sequence| {
        let seen = wish(&mut agent, set, uri, rate, HOUR, sequence);
        (seen.one("X-Wish").to_owned(), seen.one("X-Wished").to_owned())
    };
    let due = |code: &str, wished: &str| (code.to_owned(), wished.to_owned());
    assert_eq!(code(55, &uri(5), 30, 1), due("-1", "<null> <null>"));
    assert_eq!(code(3, &uri(9), 30, 1), due("-2", "0 0"));
    assert_eq!(code(1, &uri(5), 30, 1), due("-2", "0 0"));
    assert_eq!(code(3, &uri(5), 30, 7), due("1", "30 7"));
    for stale in [7, 6, 0, -1] {
        assert_eq!(code(3, &uri(5), 40, stale), due("-2", "30 7"), "{stale}");
    }
    assert_eq!(code(3, &uri(5), 40, 8), due("1", "40 8"));
    assert_eq!(code(3, &uri(5), 200, 9), due("1", "100 9"));
    assert_eq!(code(3, &uri(5), 4, 10), due("1", &format!("{} 10", usual(4))), "the usual least");
    assert_eq!(code(3, &uri(5), 0, 11), due("1", "0 11"), "0 is the end of the overload");
    assert_eq!(code(2, &uri(4), 30, 1), due("1", "50 1"), "raised to its own least");
    assert_eq!(code(2, &uri(4), 60, i64::from(i32::MAX)), due("1", "60 2147483647"));
    server.stop();
}

/// The manual says ten; where the stock module has the attribute there is no least rate unless a line has one.
fn usual(rate: i32) -> i32 {
    if cfg!(stock_overload) { rate } else { 10 }
}

#[test]
fn least_rate_is_the_usual_one_where_a_line_has_no_attributes() {
    let server = start("");
    let mut agent = server.agent();
    assert_eq!(wish(&mut agent, 4, &uri(6), 3, HOUR, 1).one("X-Wished"), format!("{} 1", usual(3)));
    server.stop();
}

fn now_micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}

#[test]
fn wish_holds_for_its_interval_or_half_a_second() {
    let server = start("");
    let mut agent = server.agent();
    for (sequence, (interval, holds)) in (1..).zip([(HOUR, HOUR), (1500, 1500), (0, 500), (-5, 500)]) {
        let before = now_micros();
        let seen = wish(&mut agent, 3, &uri(5), 100, interval, sequence);
        let (seconds, micros) = seen.one("X-Until").split_once(' ').unwrap();
        let until = seconds.parse::<u128>().unwrap() * 1_000_000 + micros.parse::<u128>().unwrap();
        let holds = holds as u128 * 1000;
        // It is kept in whole milliseconds.
        let range = before + holds - 1000..=now_micros() + holds;
        assert!(range.contains(&until), "{until} for {interval}: not in {range:?}");
    }
    assert_eq!(wish(&mut agent, 3, &uri(5), 100, 1, 9).one("X-Wish"), "1");
    eventually("the wish is over", Duration::from_secs(5), || {
        select(&mut agent, 3, 50).picked(&uri(5)) == 50
    });
    server.stop();
}

#[test]
fn group_variables_count_the_destinations_of_the_set() {
    let server = start("");
    let mut agent = server.agent();
    for (down, due) in [
        ("", "3 3 0 100 0"),
        ("i", "3 2 1 66 33"),
        ("d", "3 2 1 66 33"),
        ("t", "3 3 0 100 0"),
        ("all", "3 0 3 0 100"),
    ] {
        match down {
            "" => {}
            "all" => drop(server.rpc("dispatcher.set_state", json!(["i", 1, "all"])).unwrap()),
            state => drop(server.rpc("dispatcher.set_state", json!([state, 1, uri(2)])).unwrap()),
        }
        let seen = ask(&mut agent, &[("X-Set", "1".into()), ("X-Uri", uri(2))]);
        assert_eq!(seen.all("X-Set").collect::<Vec<_>>(), [due, due], "{down}");
        assert_eq!(seen.all("X-Fetch").collect::<Vec<_>>(), ["1", "1"]);
        assert_eq!(seen.one("X-None"), "0 0 0 0");
    }
    let seen = ask(&mut agent, &[("X-Set", "55".into())]);
    assert_eq!(seen.one("X-Set"), "<null> <null> <null> <null> <null>");
    assert_eq!(seen.one("X-None"), "<null> <null> <null> <null>");
    server.stop();
}
