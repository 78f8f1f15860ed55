//! Parameters with values that make no sense: where the stock module starts, ours starts too and logs what is in effect.

use serde_json::json;

use crate::support::server_config::Builder;
use crate::support::{Behaviour, Kamailio, Probe, Probed};
use crate::watch::{become_all, becomes, more_probes, probing, set_text};

fn parameters(all: &[(&str, &str)]) -> String {
    all.iter().map(|(name, value)| format!("modparam(\"dispatcher\", \"{name}\", {value})\n")).collect()
}

/// Those that the stock module of 5.6 knows, with what is in effect.
const ODD: &[(&str, &str, &str)] = &[
    ("flags", "-1", "3 is in effect"),
    ("use_default", "7", "1 is in effect"),
    ("force_dst", "-1", "1 is in effect"),
    ("xavp_dst_mode", "64", "0 is in effect"),
    ("xavp_ctx_mode", "-2", "0 is in effect"),
    ("ds_hash_expire", "-1", "7200 is in effect"),
    ("ds_hash_initexpire", "-1", "7200 is in effect"),
    ("ds_hash_check_interval", "0", "30 is in effect"),
    ("reload_delta", "-1", "0 is in effect"),
    ("ds_probing_threshold", "0", "1 is in effect"),
    ("ds_inactive_threshold", "-5", "1 is in effect"),
    ("ds_ping_latency_stats", "2", "1 is in effect"),
    ("ds_latency_estimator_alpha", "5000", "100, the default, is in effect"),
    ("ds_ping_reply_codes", "\"501,403\"", "'403': it has no effect"),
    ("ds_ping_method", "\"OPT IONS\"", "\"OPTIONS\" is in effect"),
    ("ds_ping_from", "\"sip:a>\"", "\"sip:dispatcher@localhost\" is in effect"),
    ("ds_probing_mode", "-1", "3 is in effect"),
    ("outbound_proxy", "\"127.0.0.1:5090\"", "'sip:127.0.0.1:5090' is in effect"),
    ("ds_timer_mode", "9", "0 is in effect"),
    ("ds_dns_mode", "-4", "12 is in effect"),
    ("ds_dns_interval", "0", "600 is in effect"),
    ("ds_dns_ttl", "-1", "0 is in effect"),
    ("ds_attrs_none", "2", "1 is in effect"),
    ("ds_load_mode", "2", "0 is in effect"),
];

#[test]
fn server_starts_with_all_that_the_stock_module_starts_with_and_names_what_is_in_effect() {
    const LIST: &str = "1 sip:127.0.1.1:5060 0 0 duid=a\n";
    let all: Vec<_> = ODD.iter().map(|&(name, value, _)| (name, value)).collect();
    let builder = |list: &str| Kamailio::builder().list(list).modparam(&parameters(&all));
    builder(LIST).stock().start().stop();
    let mut server = builder(LIST).start();
    assert_eq!(server.list().len(), 1);
    for (name, value, in_effect) in ODD {
        let lines = server.log_lines(&format!("modparam(\"dispatcher\", \"{name}\", {value}): expected "));
        assert!(lines.iter().all(|line| line.contains("WARNING: dispatcher")), "{name}: {lines:?}");
        assert!(lines.iter().any(|line| line.contains(in_effect)), "{name}: {in_effect}: {lines:?}");
    }
    server.assert_healthy();
    server.stop();
}

#[test]
fn server_starts_with_values_of_parameters_that_are_ours_or_of_later_releases() {
    let odd = [
        ("event_callback_mode", "5", "0 is in effect"),
        ("ds_ping_fr_timer", "-1", "0 is in effect"),
        ("ds_ping_interval", "-1", "0 is in effect"),
        ("ds_retain_latency_stats", "2", "1 is in effect"),
        ("ds_retain_state", "-1", "1 is in effect"),
        ("ds_dns_match_all", "3", "1 is in effect"),
        ("ds_dns_hold", "-7", "-1 is in effect: for ever"),
        ("ds_latency_estimator_alpha", "0", "100, the default, is in effect"),
        ("ds_hash_size", "-1", "the call table grows by itself"),
        ("ds_probing_mode", "5", "3 is in effect"),
        ("ds_lean_failover", "7", "0 is in effect"),
        ("ds_limits", "2", "0 is in effect"),
        ("ds_failure_decay", "-1", "0 is in effect"),
        ("ds_ping_fast_interval", "-1", "0 is in effect"),
        ("ds_ping_jitter", "60", "50 is in effect"),
        ("ds_passive_health", "2", "0 is in effect"),
        ("ds_eject_row", "-1", "5 is in effect"),
        ("ds_eject_window", "0", "30 is in effect"),
        ("ds_eject_min_calls", "0", "10 is in effect"),
        ("ds_eject_share", "101", "50 is in effect"),
        ("ds_eject_time", "0", "30 is in effect"),
        ("ds_eject_max_time", "0", "300 is in effect"),
        ("ds_eject_trial", "0", "3 is in effect"),
        ("ds_max_ejected", "-1", "30 is in effect"),
        ("ds_retry_after_max", "-1", "60 is in effect"),
    ];
    let all: Vec<_> = odd.iter().map(|&(name, value, _)| (name, value)).collect();
    let server = Kamailio::builder().list("1 sip:127.0.1.1\n").modparam(&parameters(&all)).start();
    for (name, value, in_effect) in odd {
        let lines = server.log_lines(&format!("modparam(\"dispatcher\", \"{name}\", {value}): expected "));
        assert!(lines.len() == 1 && lines[0].ends_with(in_effect), "{name}: {lines:?}");
    }
    server.stop();
}

#[test]
fn server_starts_with_further_limits_and_says_nothing_of_it() {
    let server = Kamailio::builder()
        .list("1 sip:127.0.1.1 0 0 maxload=1;cps=text\n")
        .modparam(&parameters(&[("ds_limits", "1")]))
        .start();
    assert_eq!(server.log_lines("ds_limits"), [""; 0]);
    assert_eq!(server.list().len(), 1);
    server.stop();
}

/// Both modules probe a gateway that answers 404; what the second one finds is what the first one does.
#[test]
fn reply_codes_without_code_or_class_have_no_effect_as_in_the_stock_module() {
    for (codes, state, told) in [
        ("501,403,404,400,200", "IP", 5),
        ("200|404|486", "IP", 1),
        ("class2;class4", "IP", 2),
        ("code=404|486", "AP", 1),
        ("code=99;class=4x", "AP", 2),
        ("code=", "IP", 1),
    ] {
        let gateway = Probed::start();
        gateway.behave(Behaviour::Answer(404, "Not Found"));
        let probed = |builder: Builder| {
            let builder = builder.modparam("modparam(\"dispatcher\", \"ds_ping_interval\", 1)");
            let builder = builder.modparam("modparam(\"dispatcher\", \"ds_probing_mode\", 1)");
            let server = set_text(builder, "ds_ping_reply_codes", codes).start();
            more_probes(&gateway, 2);
            becomes(&server, 0, state);
            server
        };
        let list = || Kamailio::builder().list(format!("1 {}\n", gateway.uri()));
        probed(list().stock()).stop();
        let server = probed(list());
        let lines = server.log_lines("\"ds_ping_reply_codes\"");
        assert_eq!(lines.len(), told, "{codes}: {lines:?}");
        server.stop();
    }
}

#[test]
fn reply_codes_without_sense_may_be_set_while_the_server_runs() {
    let gateway = Probed::start();
    gateway.behave(Behaviour::Answer(404, "Not Found"));
    let server = probing(1, format!("1 {}\n", gateway.uri())).module("cfg_rpc").start();
    becomes(&server, 0, "IP");
    server.rpc("cfg.sets", json!(["dispatcher", "ping_reply_codes", "501,code=404;class3"])).unwrap();
    becomes(&server, 0, "AP");
    for part in ["'501'", "'class3'"] {
        let lines = server.log_lines(&format!("ping_reply_codes: {part}: expected "));
        assert_eq!(lines.len(), 1, "{part}: {lines:?}");
        assert!(lines[0].ends_with("; it has no effect"), "{lines:?}");
    }
    server.rpc("cfg.sets", json!(["dispatcher", "ping_reply_codes", "200|404|486"])).unwrap();
    becomes(&server, 0, "IP");
    server.stop();
}

fn last(gateway: &Probed) -> Probe {
    more_probes(gateway, 1);
    gateway.probes().pop().unwrap()
}

/// The From header up to its tag.
fn from(probe: &Probe) -> String {
    let header = probe.message.header("From").unwrap_or_default();
    header.split(";tag=").next().unwrap_or_default().to_owned()
}

#[test]
fn from_of_probes_may_be_a_name_with_a_uri_as_in_the_stock_module() {
    for (written, sent) in [
        ("\\\"Ping\\\" <sip:a@b>", "\"Ping\" <sip:a@b>"),
        ("Ping <sip:a@b>", "Ping <sip:a@b>"),
        ("<sip:a@b>", "<sip:a@b>"),
        ("sip:a@b", "<sip:a@b>"),
    ] {
        let [ours, stock] = [false, true].map(|stock| {
            let gateway = Probed::start();
            let list = Kamailio::builder().list(format!("1 {}\n", gateway.uri()));
            let list = if stock { list.stock() } else { list };
            let interval = "modparam(\"dispatcher\", \"ds_ping_interval\", 1)\nmodparam(\"dispatcher\", \"ds_probing_mode\", 1)";
            let server = set_text(list.modparam(interval), "ds_ping_from", written).start();
            let from = from(&last(&gateway));
            assert_eq!(server.log_lines("\"ds_ping_from\""), [""; 0]);
            server.stop();
            from
        });
        assert_eq!((ours.as_str(), &ours), (sent, &stock), "{written}");
    }
    let gateway = Probed::start();
    let server = set_text(probing(1, format!("1 {}\n", gateway.uri())), "ds_ping_from", "a@b").start();
    assert_eq!(from(&last(&gateway)), "<sip:a@b>");
    assert_eq!(server.log_lines("\"ds_ping_from\", \"a@b\"): expected a SIP URI, with its scheme").len(), 1);
    server.stop();
}

#[test]
fn proxy_of_probes_may_stand_in_brackets_as_in_the_stock_module_or_lack_its_scheme() {
    let (proxy, own, gateway) = (Probed::start(), Probed::start(), Probed::start());
    let list = format!("1 {} 0 9 obproxy=<{}>\n1 {} 0 5\n", gateway.uri_of(0), own.uri(), gateway.uri_of(1));
    let through = |builder: Builder, proxy: &str| {
        let interval = "modparam(\"dispatcher\", \"ds_ping_interval\", 1)\nmodparam(\"dispatcher\", \"ds_probing_mode\", 1)";
        set_text(builder.modparam(interval), "outbound_proxy", proxy)
    };
    let in_brackets = format!("<{}>", proxy.uri());
    for builder in [Kamailio::builder().stock(), Kamailio::builder()] {
        proxy.forget();
        own.forget();
        let server = through(builder.list(list.clone()), &in_brackets).start();
        become_all(&server, &["AP", "AP"]);
        assert_eq!(last(&own).uri(), gateway.uri_of(0));
        assert_eq!(last(&proxy).uri(), gateway.uri_of(1));
        assert_eq!(server.log_lines("outbound_proxy"), [""; 0]);
        server.stop();
    }
    let bare = proxy.local().to_string();
    let server = through(Kamailio::builder().list(format!("1 {}\n", gateway.uri_of(2))), &bare).start();
    assert_eq!(last(&proxy).uri(), gateway.uri_of(2));
    let told = format!(
        "\"outbound_proxy\", \"{bare}\"): expected a SIP URI, with its scheme; 'sip:{bare}' is in effect"
    );
    assert_eq!(server.log_lines(&told).len(), 1);
    server.stop();
    assert!(gateway.probes().is_empty());
}

/// The stock module dies of the first one as soon as it probes.
#[test]
fn address_that_breaks_out_of_a_request_is_not_used() {
    for bad in [
        "sip:127.0.0.1:9>",
        "<sip:127.0.0.1:9",
        "sip:127.0.0.1:9 x",
        "sip:127.0.0.1:9;x=\\r\\nInjected: yes",
        "sip:h:99999",
    ] {
        let gateway = Probed::start();
        let list = format!("1 {}\n", gateway.uri());
        let builder = set_text(probing(1, list), "outbound_proxy", bad);
        let mut server =
            set_text(set_text(builder, "ds_ping_from", bad), "ds_ping_method", "A B\\r\\nInjected: yes")
                .start();
        let probe = last(&gateway);
        assert_eq!(
            (probe.uri_of_from(), probe.message.method()),
            ("sip:dispatcher@localhost", Some("OPTIONS"))
        );
        assert_eq!(probe.message.header("Injected"), None);
        for name in ["outbound_proxy", "ds_ping_from", "ds_ping_method"] {
            assert_eq!(
                server.log_lines(&format!("modparam(\"dispatcher\", \"{name}\", ")).len(),
                1,
                "{name} {bad}"
            );
        }
        assert_eq!(
            server.log_lines("Injected").len(),
            if bad.contains("Inj") { 3 } else { 1 },
            "each in its one line"
        );
        server.assert_healthy();
        server.stop();
    }
}
