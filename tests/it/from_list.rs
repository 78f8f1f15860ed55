//! `ds_is_from_list`, `ds_is_active`, `ds_list_exists`: whole tables, equal to the stock module's and to the manual.

use std::net::UdpSocket;

use serde_json::json;

use crate::odd_messages::plain;
use crate::side_by_side::{Answer, Pair, Side};
use crate::support::Message;

/// Asks about any set, `X-Set` and one that is not there, in each mode: about `X-Uri`, or else the message's source.
/// What is not set stays `-7` and `unset`.
const ROUTE: &str = r#"
request_route {
	if (is_present_hf("X-Where")) append_to_reply("X-Source: $si $sp\r\n");
	$var(uri) = "";
	if (is_present_hf("X-Uri")) $var(uri) = $hdr(X-Uri);
	$var(which) = 0;
	while ($var(which) < 3) {
		$var(set) = -1;
		if ($var(which) == 1) $var(set) = $(hdr(X-Set){s.int});
		if ($var(which) == 2) $var(set) = 999;
		$var(mode) = 0;
		while ($var(mode) < 8) {
			route(CLEAR);
			if (is_present_hf("X-Uri")) $var(rc) = ds_is_from_list("$var(set)", "$var(mode)", "$var(uri)");
			else $var(rc) = ds_is_from_list("$var(set)", "$var(mode)");
			append_to_reply("X-Row: $var(set) $var(mode): $var(rc) $var(setid) $var(attrs)\r\n");
			$var(mode) = $var(mode) + 1;
		}
		if (!is_present_hf("X-Uri")) {
			route(CLEAR);
			$var(rc) = ds_is_from_list("$var(set)");
			append_to_reply("X-Row: $var(set) none: $var(rc) $var(setid) $var(attrs)\r\n");
		}
		$var(which) = $var(which) + 1;
	}
	route(CLEAR);
	$var(rc) = ds_is_from_list();
	append_to_reply("X-Row: none none: $var(rc) $var(setid) $var(attrs)\r\n");
	$var(set) = $(hdr(X-Set){s.int});
	$var(rc) = ds_is_active("$var(set)");
	append_to_reply("X-Active: $var(rc)\r\n");
	$var(rc) = ds_is_active("$var(set)", "$var(uri)");
	append_to_reply("X-Active-Uri: $var(rc)\r\n");
	$var(rc) = ds_list_exists("$var(set)");
	append_to_reply("X-Exists: $var(rc)\r\n");
	$var(rc) = ds_list_exist("$var(set)");
	append_to_reply("X-Exist: $var(rc)\r\n");
	sl_send_reply("200", "OK");
}
route[CLEAR] {
	$var(setid) = -7;
	$var(attrs) = "unset";
}
"#;

const PARAMS: &str = r#"
modparam("dispatcher", "setid_pvname", "$var(setid)")
modparam("dispatcher", "attrs_pvname", "$var(attrs)")
modparam("dispatcher", "reload_delta", 0)
"#;

const PORTS: [&str; 3] = ["", ":5060", ":5070"];
const TRANSPORTS: [&str; 3] = ["", ";transport=udp", ";transport=tcp"];

/// The pair, and where each listens for IPv6: with no such socket the host has no IPv6 destinations.
pub fn start(list: &str) -> (Pair, [String; 2]) {
    let ports: [_; 2] = std::array::from_fn(|_| UdpSocket::bind("[::1]:0").expect("IPv6 on loopback"));
    let [ours, stock] = ports.map(|port| port.local_addr().unwrap().to_string());
    let side = |at: &str, stock| Side::start(list, &format!("listen=udp:{at}\n{PARAMS}"), ROUTE, stock);
    (Pair { ours: side(&ours, false), stock: side(&stock, true) }, [ours, stock])
}

pub fn about(set: i64, uri: &str) -> Message {
    plain("MESSAGE").with("X-Set", set.to_string()).with("X-Uri", uri)
}

/// The transport of an address that names none.
fn usual(transport: &str) -> &str {
    if cfg!(stock_default_transport) && transport.is_empty() { ";transport=udp" } else { transport }
}

/// A destination alone in its set, and alone at its host.
#[derive(Clone)]
struct Form {
    set: i64,
    host: String,
    port: &'static str,
    transport: &'static str,
    flags: u32,
}

impl Form {
    fn uri(&self) -> String {
        format!("sip:{}{}{}", self.host, self.port, self.transport)
    }

    fn attrs(&self) -> Option<String> {
        (self.set % 2 == 0).then(|| format!("note=n{}", self.set))
    }

    fn line(&self) -> String {
        let attrs = self.attrs().unwrap_or_default();
        format!("{} {} {} 0 {attrs}\n", self.set, self.uri(), self.flags)
    }

    /// What the manual says of something from this host.
    fn matches(&self, mode: u32, port: &str, transport: &str) -> bool {
        self.flags & 16 == 0
            && (mode & 1 != 0 || self.port.is_empty() || self.port == port)
            && (mode & 2 != 0 || usual(self.transport) == usual(transport))
            && (mode & 4 == 0 || self.flags & 5 == 0)
    }

    /// The rows that are true, as the script writes them.
    fn rows(&self, modes: &[(&str, u32)], port: &str, transport: &str) -> Vec<String> {
        let attrs = self.attrs().unwrap_or("unset".into());
        let row = |asked: &str, id: i64| {
            let modes = modes.iter().filter(|(_, mode)| self.matches(*mode, port, transport));
            modes.map(|(name, _)| format!("{asked} {name}: 1 {id} {attrs}")).collect::<Vec<_>>()
        };
        [row("-1", self.set), row(&self.set.to_string(), -7)].concat()
    }
}

fn forms(host: impl Fn(i64) -> String, flags: &[u32]) -> Vec<Form> {
    let mut forms = Vec::new();
    for port in PORTS {
        for transport in TRANSPORTS {
            for &flags in flags {
                forms.push(Form { set: 0, host: String::new(), port, transport, flags });
            }
        }
    }
    for (set, form) in (1..).zip(&mut forms) {
        (form.set, form.host) = (set, host(set));
    }
    forms
}

const MODES: [(&str, u32); 8] =
    [("0", 0), ("1", 1), ("2", 2), ("3", 3), ("4", 4), ("5", 5), ("6", 6), ("7", 7)];

#[track_caller]
fn assert_rows(answer: &Answer, due: &[String], what: &str) {
    let is_true = |row: &&str| !row.starts_with("none ") && !row.contains(": -1 ");
    assert_eq!(answer.all("Row").filter(is_true).collect::<Vec<_>>(), due, "{what}");
}

/// Each form of a destination against each form of a URI, in each mode.
fn table(forms: &[Form], other_host: &str) {
    let list: String = forms.iter().map(Form::line).collect();
    let (mut pair, _) = start(&list);
    for form in forms {
        for (port, transport) in PORTS.iter().flat_map(|port| TRANSPORTS.map(|transport| (port, transport))) {
            let uri = format!("sip:{}{port}{transport}", form.host);
            let answer = pair.same(&about(form.set, &uri));
            assert_rows(&answer, &form.rows(&MODES, port, transport), &format!("{uri} of {}", form.line()));
            let answer = pair.same(&about(form.set, &format!("sip:{other_host}{port}{transport}")));
            assert_rows(&answer, &[], "another host");
        }
    }
    pair.stop();
}

#[test]
fn uri_is_matched_as_the_stock_module_does_in_every_mode() {
    table(&forms(|set| format!("127.0.9.{set}"), &[0, 1, 2, 4, 8, 9, 16]), "127.0.8.1");
}

#[test]
fn ipv6_uri_is_matched_as_the_stock_module_does_in_every_mode() {
    table(&forms(|set| format!("[2001:db8::{set}]"), &[0, 1, 16]), "[2001:db8::ffff]");
}

#[test]
fn uris_of_odd_forms_get_the_answer_of_the_stock_module() {
    let hosts = ["127.0.9.1", "[2001:DB8::A]"];
    let list = "1 sip:127.0.9.1:5060;transport=udp\n2 sip:[2001:db8:0::a]\n3 sips:127.0.9.3\n";
    let (mut pair, _) = start(list);
    let mut matched = 0;
    for host in hosts.into_iter().chain(["127.0.9.3", "127.0.9.4", ""]) {
        for (before, after) in [
            ("sip:", ""),
            ("sips:", ""),
            ("SIP:", ":05060"),
            ("sip:user@", ":5060;lr"),
            ("sip:user:secret@", ";Transport=UDP?Subject=s"),
            ("sips:", ":5061;transport=tls"),
            ("sip:", ";transport=quic"),
            ("sip:", ":5060;transport=udp;transport=tcp"),
            ("sip:", ":"),
            ("sip:", ":99999"),
            ("", ""),
            ("tel:", ""),
            ("<sip:", ">"),
            (" sip:", " "),
            ("urn:service:", ""),
        ] {
            for set in [1, 2, 3] {
                let answer = pair.same(&about(set, &format!("{before}{host}{after}")));
                matched += answer.all("Row").filter(|row| row.contains(": 1 ")).count();
            }
        }
    }
    assert!(matched > 300, "{matched} matches: the table says little");
    pair.stop();
}

/// The same destination on both sides, but that each side's text has its own source.
fn load(side: Side, form: &Form, (host, port): (&str, &str), stock: bool) -> Side {
    let uri = form.uri().replace("SOURCE", host).replace(":5060", &format!(":{port}"));
    let list = form.line().replace(&form.uri(), &uri);
    if stock && cfg!(stock_waits_for_readers) {
        // After these questions its reload has no end.
        return side.started_anew(&list);
    }
    side.server.write_list(&list);
    side.server.rpc("dispatcher.reload", json!([])).unwrap();
    side
}

#[test]
fn source_of_a_message_is_matched_as_the_stock_module_does() {
    let (mut pair, _) = start("1 sip:127.0.9.1\n");
    let (ours, stock) = pair.ask(&plain("MESSAGE").with("X-Where", "from"));
    let modes: Vec<_> = MODES.into_iter().chain([("none", 2)]).collect();
    for form in forms(|_| "SOURCE".into(), &[0, 1, 16]) {
        pair = Pair {
            ours: load(pair.ours, &form, ours.one("Source").split_once(' ').unwrap(), false),
            stock: load(pair.stock, &form, stock.one("Source").split_once(' ').unwrap(), true),
        };
        let answer = pair.same(&plain("MESSAGE").with("X-Set", form.set.to_string()));
        // Port 5060 of the form stands for the source's.
        assert_rows(&answer, &form.rows(&modes, ":5060", ";transport=udp"), &form.line());
    }
    pair.stop();
}

/// Bits 8 and 16: the local socket, and the closest of those that match in part. The stock module of the oldest servers ignores both.
#[test]
fn socket_and_closeness_count_where_they_are_asked_for() {
    const ROUTE: &str = r#"
request_route {
	route(CLEAR);
	$var(code) = ds_is_from_list("$(hdr(X-Set){s.int})", "$(hdr(X-Mode){s.int})");
	append_to_reply("X-Row: $var(code) $var(attrs)\r\n");
	sl_send_reply("200", "OK");
}
route[CLEAR] {
	$var(attrs) = "unset";
}
"#;
    let params = "modparam(\"dispatcher\", \"attrs_pvname\", \"$var(attrs)\")";
    let other = crate::support::net::free_port(crate::support::net::address());
    let side = |stock: bool| {
        let builder = crate::support::Kamailio::builder().route(ROUTE).modparam(params);
        let builder = builder.modparam("modparam(\"dispatcher\", \"reload_delta\", 0)");
        let builder = builder.globals(&format!("listen=udp:{other} name \"other\""));
        let builder = builder.list("1 sip:127.0.0.1\n");
        if stock { builder.stock().start() } else { builder.start() }
    };
    let seen = |server: &crate::support::Kamailio| {
        let mut agent = server.agent();
        let (own, main) = (agent.local(), server.address());
        let (host, port) = (own.ip(), own.port());
        server.write_list(&format!(
            "1 sip:{host}:{port};transport=udp 0 9 socket=udp:{other};note=elsewhere\n\
             1 sip:{host}:{port};transport=udp 0 8 socket=udp:{main};note=here\n\
             2 sip:{host} 0 9 note=host\n2 sip:{host}:{port} 0 8 note=port\n\
             2 sip:{host}:{port};transport=udp 0 7 note=both\n2 sip:{host}:9;transport=tcp 0 6 note=none\n\
             3 sip:{host}:9;transport=tcp 0 9 note=far\n3 sip:{host} 0 8 note=any\n"
        ));
        server.rpc("dispatcher.reload", serde_json::json!([])).unwrap();
        let mut rows = Vec::new();
        for set in ["1", "2", "3"] {
            for mode in ["2", "10", "16", "24", "18"] {
                let mut call = agent.call();
                call.extra.push(("X-Set".into(), set.into()));
                call.extra.push(("X-Mode".into(), mode.into()));
                agent.send(&call.within("MESSAGE"));
                let answer = agent.answer(&call, "MESSAGE");
                let note = answer.header("X-Row").unwrap();
                let note = note.rsplit("note=").next().unwrap().to_owned();
                rows.push(format!("{set} {mode} {note}"));
            }
        }
        rows
    };
    let [ours, stock] = [side(false), side(true)];
    let told = seen(&ours);
    for row in ["1 2 elsewhere", "1 10 here", "1 16 here", "1 24 here", "2 2 host"] {
        assert!(told.iter().any(|found| found == row), "{row}: {told:?}");
    }
    // With 16 something that differs in port and transport may still be the closest.
    let udp = cfg!(stock_default_transport);
    for closest in if udp { ["2 16 port", "3 16 any"] } else { ["2 16 both", "3 16 far"] } {
        assert!(told.iter().any(|found| found == closest), "{closest}: {told:?}");
    }
    if cfg!(stock_probing_count) {
        assert_eq!(told, seen(&stock));
    }
    ours.stop();
    stock.stop();
}
