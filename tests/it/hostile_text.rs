//! Texts that could break out of a SIP message, a log line, JSON or a Prometheus label are refused with the reason, or escaped, and
//! the server keeps working.

use std::collections::HashSet;

use serde_json::json;

use crate::support::database::{Database, Engine};
use crate::support::server_config::Builder;
use crate::support::{Kamailio, Probed};
use crate::watch::{becomes, choices, more_probes, probing};

/// Attributes of a line, or nothing; and what is said of it. Of the first the stock module dies when it is probed.
const UNFIT: &[(&str, &str, &str)] = &[
    ("sip:GW>", "", "a > at byte"),
    ("sip:GW;x=y>", "", "a > at byte"),
    ("<sip:GW>", "", "a < at byte 1"),
    ("sip:GW;x=<y", "", "a < at byte"),
    ("sip:GW\"", "", "a \" at byte"),
    ("sip:GW\u{7f}", "", "a control character (0x7f) at byte"),
    ("sip:GW;x=\u{1b}[2J", "", "a control character (0x1b) at byte"),
    ("sip:GW", "obproxy=sip:127.0.0.1:9>", "obproxy='sip:127.0.0.1:9>': expected a SIP URI: a > at byte"),
    (
        "sip:GW",
        "obproxy=<sip:127.0.0.1:9",
        "obproxy='<sip:127.0.0.1:9': expected a SIP URI: a < without its >",
    ),
    ("sip:GW", "ping_from=sip:a@b>", "ping_from='sip:a@b>': expected a SIP URI: a > at byte"),
    ("sip:GW", "ping_from='sip:a@b\"'", "ping_from='sip:a@b\\\"': expected a SIP URI: a \" at byte"),
    ("sip:GW", "note=a\u{7}b", "a control character (0x07) cannot stand in attributes"),
    ("sip:", "", "is no SIP URI with a host"),
    ("sip:@", "", "is no SIP URI with a host"),
    ("tel:+4930123456", "", "is no SIP URI with a host"),
    ("http://127.0.0.1/", "", "is no SIP URI with a host"),
    ("sip:${GATEWAY}", "", "'${GATEWAY}' is neither an address nor the name of a host"),
    ("sip:300.1.1.1", "", "'300.1.1.1' is neither an address nor the name of a host"),
    ("sip:[zz]:5060", "", "'[zz]' is neither an address nor the name of a host"),
    ("sip:a..b", "", "'a..b' is neither an address nor the name of a host"),
];

/// What cannot stand in a line of a file.
const UNFIT_ELSEWHERE: &[(&str, &str, &str)] = &[
    ("not a uri", "", "'not a uri': a blank at byte 4 cannot stand in a URI"),
    ("sip:GW;x=\r\nInjected: yes", "", "at byte"),
    ("sip:GW;x=\nInjected: yes", "", "a line feed at byte"),
    ("sip:GW;x=\ty", "", "a tabulator at byte"),
    ("sip:GW x", "", "a blank at byte"),
    ("sip:GW", "ping_from=\"sip:a@b x\"", "ping_from='sip:a@b x': expected a SIP URI: a blank at byte"),
    ("sip:GW", "obproxy='sip:a@b x'", "obproxy='sip:a@b x': expected a SIP URI: a blank at byte"),
];

/// A server that probes one good destination, which it must not stop doing.
fn start(gateway: &Probed, more: &str) -> Kamailio {
    let server = probing(1, format!("1 {} 0 9\n{more}", gateway.uri())).start();
    becomes(&server, 0, "AP");
    server
}

#[track_caller]
fn serves_on(mut server: Kamailio, gateway: &Probed) {
    more_probes(gateway, 2);
    assert_eq!(choices(&server, 8, 1), [gateway.uri()]);
    assert!(gateway.probes().iter().all(|probe| probe.message.header("Injected").is_none()));
    assert!(!server.log().lines().any(|line| line.trim_start().starts_with("Injected")), "{}", server.log());
    server.assert_healthy();
    server.stop();
}

#[test]
fn line_that_breaks_out_is_refused_with_its_place_and_the_server_probes_on() {
    let (gateway, other) = (Probed::start(), Probed::start());
    let gw = other.local().to_string();
    let line = |(uri, attrs, _): &(&str, &str, &str)| format!("1 {} 8 0 {attrs}\n", uri.replace("GW", &gw));
    let lines: String = UNFIT.iter().map(line).collect();
    let server = start(&gateway, &lines);
    assert_eq!(server.list().len(), 1, "{:?}", server.list());
    for (n, (uri, attrs, told)) in UNFIT.iter().enumerate() {
        let place = format!("dispatcher.list:{}:", n + 2);
        let lines = server.log_lines(&place);
        assert_eq!(lines.len(), 1, "{uri:?} {attrs:?}: {lines:?}");
        let told = lines[0].contains(told) && lines[0].ends_with("(line not loaded)");
        assert!(told && lines[0].contains("ERROR: "), "{uri:?} {attrs:?}: {}", lines[0]);
    }
    serves_on(server, &gateway);
    assert!(other.probes().is_empty());
}

#[test]
fn destination_that_breaks_out_cannot_be_added_or_changed_to() {
    let (gateway, other) = (Probed::start(), Probed::start());
    let gw = other.local().to_string();
    let server = start(&gateway, "");
    for (uri, attrs, told) in UNFIT.iter().chain(UNFIT_ELSEWHERE) {
        let uri = uri.replace("GW", &gw);
        let error = server.rpc("dispatcher.add", json!([1, uri, 8, 0, attrs])).unwrap_err();
        assert!(error.message.contains(told), "{uri:?} {attrs:?}: {error:?}");
        assert!(!error.message.contains(['\r', '\n', '\u{7}', '\u{1b}']), "{error:?}");
        if !attrs.is_empty() {
            let error =
                server.rpc("dispatcher.update", json!([1, gateway.uri(), -1, -1, attrs])).unwrap_err();
            assert!(error.message.contains(told), "{attrs:?}: {error:?}");
        }
    }
    assert_eq!(server.list().len(), 1);
    serves_on(server, &gateway);
    assert!(other.probes().is_empty());
}

#[test]
fn text_with_a_zero_byte_reaches_no_message() {
    let gateway = Probed::start();
    let server = start(&gateway, "");
    for (uri, attrs) in
        [("sip:127.0.0.1:9\0", ""), ("sip:127.0.0.1:9;x=\0>", ""), ("sip:127.0.0.1:9", "note=a\0b\r\n")]
    {
        // The server itself may end the text at the zero byte: then what is before it is what was asked for.
        let answer = server.rpc("dispatcher.add", json!([2, uri, 0, 0, attrs]));
        let added = server.list().into_iter().filter(|one| one.set == 2).collect::<Vec<_>>();
        match answer {
            Ok(_) => assert!(
                added.iter().all(|one| !format!("{}{}", one.uri, one.attrs).contains(['\0', '\r', '>']))
            ),
            Err(error) => assert!(error.message.contains("cannot stand in") && added.is_empty(), "{error:?}"),
        }
        let _ = server.rpc("dispatcher.remove", json!([2, "sip:127.0.0.1:9"]));
    }
    server.write_list(&format!(
        "1 {} 0 9\n1 sip:127.0.0.1:9\0\n1 sip:127.0.0.2:9 0 0 note=a\0b\n",
        gateway.uri()
    ));
    server.rpc("dispatcher.reload", json!([])).unwrap();
    assert_eq!(server.list().len(), 1);
    assert_eq!(
        server.log_lines(":2:3: 'sip:127.0.0.1:9\\x00': a zero byte at byte 16 cannot stand in a URI").len(),
        1
    );
    assert_eq!(
        server.log_lines(":3:29: a zero byte cannot stand in attributes").len(),
        1,
        "{}",
        server.log()
    );
    serves_on(server, &gateway);
}

fn with_database(builder: Builder, database: &Database) -> Builder {
    let url = format!("modparam(\"dispatcher\", \"db_url\", \"{}\")", database.url());
    builder.module(database.module()).modparam(&url).modparam(database.modparam())
}

#[test]
fn row_that_breaks_out_is_refused_with_its_place_and_the_server_probes_on() {
    let (gateway, other) = (Probed::start(), Probed::start());
    let gw = other.local().to_string();
    let database = Database::start(Engine::Sqlite);
    let all: Vec<_> = UNFIT.iter().chain(UNFIT_ELSEWHERE).collect();
    let uris: Vec<_> = all.iter().map(|(uri, ..)| uri.replace("GW", &gw)).collect();
    let good = gateway.uri();
    let mut rows = vec![(1, good.as_str(), 0, 9, "duid=a")];
    rows.extend(uris.iter().zip(&all).map(|(uri, (_, attrs, _))| (1, uri.as_str(), 8, 0, *attrs)));
    database.rows(&rows);
    let server = with_database(probing(1, ""), &database).start();
    assert_eq!(server.list().len(), 1, "{:?}", server.list());
    for (n, (uri, attrs, told)) in all.iter().enumerate() {
        let lines = server.log_lines(&format!("table dispatcher, row {}: ", n + 2));
        assert!(lines.iter().any(|line| line.contains(told)), "{uri:?} {attrs:?}: {lines:?}");
        assert!(lines.iter().any(|line| line.ends_with("(row not loaded)")), "{lines:?}");
    }
    becomes(&server, 0, "AP");
    serves_on(server, &gateway);
    assert!(other.probes().is_empty());
}

/// The stock module sends to these.
#[test]
fn odd_uri_that_fits_is_probed_and_called() {
    let gateway = Probed::start();
    let uris = [
        format!("sip:j%C3%BCrgen@{}", gateway.local()),
        format!("sip:a'b*c!{{d}}\\e@{}", gateway.local()),
        format!("sip:{};transport=udp;x=y?h=i", gateway.local()),
        format!("SIP:u:p@{};lr", gateway.local()),
        format!("sip:zeros@{}", gateway.local()).replace("@127.", "@0127."),
    ];
    let list: String = uris.iter().rev().map(|uri| format!("1 {uri}\n")).collect();
    for builder in [probing(1, &list), Kamailio::builder().stock().list(&list).modparam("modparam(\"dispatcher\", \"ds_ping_interval\", 1)\nmodparam(\"dispatcher\", \"ds_probing_mode\", 1)")] {
        gateway.forget();
        let server = builder.start();
        let probes = gateway.wait_for(2 * uris.len(), crate::watch::SOON);
        let probed: HashSet<_> = probes.iter().map(|probe| probe.uri().to_owned()).collect();
        assert_eq!(probed, uris.iter().cloned().collect());
        server.stop();
    }
}

const ASKS: &str = r#"
request_route {
	$var(uri) = $hdr(X-Uri);
	$var(rc) = ds_is_from_list("1", "0", "$var(uri)");
	append_to_reply("X-Rc: $var(rc)\r\n");
	sl_send_reply("200", "OK");
}
"#;

/// A header may go on in the next line, with its line break.
#[test]
fn header_over_two_lines_makes_one_line_of_the_log() {
    let server = Kamailio::builder().list("1 sip:127.0.1.1\n").route(ASKS).start();
    let mut agent = server.agent();
    let mut call = crate::calls::with(agent.call(), "X-Uri", "sip:127.0.1.1:x\r\n Injected: yes");
    agent.send(&call.within("MESSAGE"));
    assert_eq!(agent.answer(&call, "MESSAGE").header("X-Rc"), Some("-1"));
    let lines = server.log_lines("Injected");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("'sip:127.0.1.1:x\\r\\n Injected: yes' is no SIP URI"), "{lines:?}");
    server.stop();
}
