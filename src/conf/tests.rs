use super::*;

fn raw() -> Raw {
    Raw {
        flags: 3,
        xavp_dst_mode: 5,
        ds_hash_initexpire: 0,
        ds_ping_interval: 10,
        ds_ping_latency_stats: 1,
        ds_latency_estimator_alpha: 900,
        ..Raw::default()
    }
}

fn check(raw: Raw) -> Conf {
    let (conf, findings) = Conf::check(raw).unwrap();
    assert_eq!(findings, []);
    conf
}

/// The one finding.
fn told(raw: Raw) -> (Conf, String) {
    let (conf, findings) = Conf::check(raw).unwrap();
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert!(finding.instead.is_some());
    (conf, finding.to_string())
}

#[test]
fn bits_mean_what_the_manual_says() {
    let conf = check(raw());
    assert!(conf.failover == Failover::List && conf.with_count && conf.force_dst && !conf.use_default);
    let DstMode { attrs, socket, sockname } = conf.xavp_dst_mode;
    assert_eq!((attrs, socket, sockname), (false, false, true));
    assert_eq!(conf.expiry, Expiry { early: 0, confirmed: 7200 });
}

#[test]
fn defaults_are_nothing_to_tell() {
    check(Raw::default());
}

#[test]
fn a_value_without_sense_is_told_with_its_name_and_what_is_in_effect() {
    let (conf, line) = told(Raw { ds_hash_check_interval: 0, ..raw() });
    assert_eq!(conf.check_interval, 30);
    assert_eq!(
        line,
        "modparam(\"dispatcher\", \"ds_hash_check_interval\", 0): \
         expected a whole number from 1 to 2147483647; 30 is in effect"
    );
    let (conf, line) = told(Raw { ds_ping_reply_codes: b"code=2;class=3".to_vec(), ..raw() });
    assert_eq!(
        line,
        "modparam(\"dispatcher\", \"ds_ping_reply_codes\", \"code=2;class=3\"): \
         expected code=100 to code=699 or class=1 to class=6; 'code=2': it has no effect"
    );
    assert_eq!(conf.reply_codes, b"code=2;class=3");
}

/// As the stock module takes them, seen in its source or by running it.
#[test]
fn numbers_without_sense_are_in_effect_as_in_the_stock_module() {
    macro_rules! number {
        ($name:ident, $found:expr, $of:expr, $instead:expr) => {{
            let (conf, line) = told(Raw { $name: $found, ..raw() });
            let of: fn(&Conf) -> _ = $of;
            assert_eq!(of(&conf), $instead, "{line}");
            let named = format!("modparam(\"dispatcher\", \"{}\", {}): ", stringify!($name), $found);
            assert!(line.starts_with(&named) && line.contains(" in effect"), "{line}");
        }};
    }
    number!(flags, -1, |conf| (conf.user_only, conf.failover), (true, Failover::List));
    number!(flags, 6, |conf| (conf.user_only, conf.failover), (false, Failover::List));
    number!(use_default, 2, |conf| conf.use_default, true);
    number!(force_dst, -1, |conf| conf.force_dst, true);
    number!(xavp_dst_mode, 8, |conf| conf.xavp_dst_mode.attrs, true);
    number!(xavp_ctx_mode, 3, |conf| conf.with_count, false);
    number!(ds_hash_expire, -1, |conf| conf.expiry.confirmed, 7200);
    number!(ds_hash_initexpire, -1, |conf| conf.expiry.early, 7200);
    number!(ds_hash_check_interval, -1, |conf| conf.check_interval, 30);
    number!(reload_delta, -1, |conf| conf.reload_delta, 0);
    number!(ds_probing_threshold, 0, |conf| conf.probing_threshold, 1);
    number!(ds_inactive_threshold, -3, |conf| conf.inactive_threshold, 1);
    number!(ds_ping_interval, -1, |conf| conf.probing.is_none(), true);
    number!(ds_ping_fast_interval, -1, |conf| conf.probing.as_ref().unwrap().fast, 0);
    number!(ds_ping_jitter, 51, |conf| conf.probing.as_ref().unwrap().jitter, 50);
    number!(ds_ping_jitter, -1, |conf| conf.probing.as_ref().unwrap().jitter, 0);
    number!(ds_failure_decay, -1, |conf| conf.failure_decay, 0);
    number!(ds_ping_fr_timer, -1, |conf| conf.probing.as_ref().unwrap().timeout, 0);
    number!(ds_ping_fr_timeout, -1, |conf| conf.probing.as_ref().unwrap().timeout, 0);
    number!(ds_probing_mode, 5, |conf| conf.probing_mode, ProbingMode::Flagged);
    number!(ds_probing_mode, -1, |conf| conf.probing_mode, ProbingMode::Flagged);
    number!(ds_timer_mode, 2, |conf| conf.secondary_timer, false);
    number!(event_callback_mode, 3, |conf| conf.events, Events::Changes);
    number!(ds_ping_latency_stats, 2, |conf| conf.latency_alpha.is_some(), true);
    number!(ds_latency_estimator_alpha, 0, |conf| conf.latency_alpha, Some(0.1));
    number!(ds_latency_estimator_alpha, 1000, |conf| conf.latency_alpha, Some(0.1));
    number!(ds_latency_estimator_alpha, 5000, |conf| conf.latency_alpha, Some(0.1));
    number!(ds_retain_latency_stats, 2, |conf| conf.retain_latency, true);
    number!(ds_retain_state, 2, |conf| conf.retain_state, true);
    number!(ds_dns_mode, 33, |conf| (conf.dns.on, conf.dns.each), (true, false));
    number!(ds_dns_mode, -1, |conf| (conf.dns.refresh, conf.dns.srv, conf.dns.each), (Some(1), true, false));
    number!(ds_dns_ttl, -1, |conf| conf.dns.ttl, 0);
    number!(ds_dns_match_all, 2, |conf| conf.dns.match_all, true);
    number!(ds_dns_hold, -2, |conf| conf.dns.hold, None);
    number!(ds_attrs_none, 2, |conf| conf.attrs_none, true);
    number!(ds_load_mode, 2, |conf| conf.strict, false);
    number!(ds_load_auto, 2, |conf| conf.load_auto, true);
    number!(ds_limits, 2, |conf| conf.limits, false);
    number!(ds_lean_failover, 3, |conf| conf.failover, Failover::List);
    let (conf, line) = told(Raw { ds_dns_mode: 4, ds_dns_interval: 0, ..raw() });
    assert!(line.ends_with("600 is in effect"), "{line}");
    assert_eq!(conf.dns.refresh, Some(600));
    let (conf, line) = told(Raw { ds_lean_failover: 1, flags: 1, ..raw() });
    assert!(line.ends_with("failover is off") && conf.failover == Failover::Off, "{line}");
    let lean =
        |mode, name: &[u8]| check(Raw { ds_lean_failover: mode, xavp_dst: name.to_vec(), ..raw() }).failover;
    assert_eq!([lean(1, b"x"), lean(2, b"x")], [Failover::Record, Failover::Transaction]);
    assert_eq!([0, 1, 2].map(|mode| lean(mode, b"")), [Failover::Off, Failover::Off, Failover::Transaction]);
    let (_, line) = told(Raw { ds_hash_size: -1, ..raw() });
    assert!(line.contains("it has no effect"), "{line}");
}

#[test]
fn further_limits_are_asked_for() {
    let limits = |ds_limits| check(Raw { ds_limits, ..raw() }).limits;
    assert!(limits(1) && !limits(0) && !check(Raw::default()).limits);
}

#[test]
fn addresses_of_probes_may_stand_in_brackets_and_what_breaks_out_is_not_in_effect() {
    let probing = |conf: &Conf| conf.probing.clone().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let from = |found: &str| Raw { ds_ping_from: found.into(), ..raw() };
    let proxy = |found: &str| Raw { outbound_proxy: found.into(), ..raw() };
    for (found, sent) in [
        ("\"Ping\" <sip:a@b>", "\"Ping\" <sip:a@b>"),
        ("Ping <sip:a@b>", "Ping <sip:a@b>"),
        ("<sip:a@b>", "sip:a@b"),
        ("sip:a@b", "sip:a@b"),
    ] {
        assert_eq!(text(probing(&check(from(found))).from), sent);
    }
    assert_eq!(text(probing(&check(proxy("<sip:p;lr>"))).outbound_proxy), "sip:p;lr");
    let (conf, line) = told(from("a@b"));
    assert_eq!(text(probing(&conf).from), "sip:a@b");
    assert!(
        line.ends_with("\"a@b\"): expected a SIP URI, with its scheme; 'sip:a@b' is in effect"),
        "{line}"
    );
    let (conf, line) = told(proxy("127.0.0.1:5090"));
    assert_eq!(text(probing(&conf).outbound_proxy), "sip:127.0.0.1:5090");
    assert!(line.ends_with("'sip:127.0.0.1:5090' is in effect"), "{line}");
    for bad in ["sip:p>", "<sip:p", "sip:p x", "sip:p\r\nInjected: yes", "\"", ""] {
        let (conf, line) = told(from(bad));
        assert_eq!(text(probing(&conf).from), "sip:dispatcher@localhost");
        assert!(line.contains("expected a SIP URI: ") && !line.contains('\n'), "{line}");
    }
    for bad in ["sip:p>", "<sip:p", "sip:p x", "sip:p\r\nInjected: yes", "\""] {
        let (conf, line) = told(proxy(bad));
        assert_eq!(text(probing(&conf).outbound_proxy), "");
        assert!(line.ends_with("probes go to the destination itself"), "{line}");
    }
    let mut conf =
        check(Raw { ds_ping_from: b"sip:@".to_vec(), outbound_proxy: b"sip:h:p".to_vec(), ..raw() });
    assert_eq!(conf.check_addresses(|_| false).len(), 2);
    assert_eq!(text(probing(&conf).from), "sip:dispatcher@localhost");
    assert_eq!(text(probing(&conf).outbound_proxy), "");
}

#[test]
fn method_is_one_word() {
    let method = |found: &str| Raw { ds_ping_method: found.into(), ..raw() };
    assert_eq!(check(method("INFO")).probing.unwrap().method, b"INFO");
    for bad in ["", "OPTIONS sip:x SIP/2.0\r\nX: y", "OPT IONS", "<"] {
        let (conf, line) = told(method(bad));
        assert_eq!(conf.probing.unwrap().method, b"OPTIONS");
        assert!(line.contains("expected the name of a SIP method; \"OPTIONS\" is in effect"), "{line}");
    }
}

#[test]
fn further_columns_that_say_nothing_count_only_with_a_database() {
    let columns = |text: &str| Raw { ds_db_extra_attrs: text.into(), ..raw() };
    for text in ["a", "abc", "a=b;c"] {
        check(columns(text));
    }
    let (_, line) = told(Raw { db_url: b"sqlite:///x".to_vec(), ..columns("a") });
    assert!(
        line.ends_with("expected attribute=column;attribute=column; no further column is read"),
        "{line}"
    );
    let error = Conf::check(Raw { db_url: b"sqlite:///x".to_vec(), ..columns("abc") }).unwrap_err();
    assert!(error.to_string().contains("\"ds_db_extra_attrs\", \"abc\""), "{error}");
}

#[test]
fn probing_and_names_are_what_the_manual_says() {
    let conf = check(raw());
    assert_eq!((conf.probing.as_ref().unwrap().interval, conf.latency_alpha), (10, Some(0.9)));
    assert!(conf.alpha_looks_old());
    assert_eq!((conf.dns.on, conf.dns.refresh, conf.dns.srv), (true, None, false));
    assert!(check(Raw { ds_ping_interval: 0, ..raw() }).probing.is_none());
    let dns = |ds_dns_mode| check(Raw { ds_dns_mode, ..raw() }).dns;
    assert_eq!((dns(2).refresh, dns(5).refresh, dns(9).srv, dns(0).on), (Some(1), Some(600), true, false));
}

#[test]
fn a_flag_is_a_number_or_a_name_and_needs_ds_limits() {
    let flag = |number, name: &str, ds_limits| Raw {
        ds_priority_flag: (number, name.into()),
        ds_limits,
        ..Raw::default()
    };
    assert_eq!(check(flag(-1, "", 0)).priority_flag, None);
    assert_eq!(check(flag(0, "", 1)).priority_flag, Some(Flag::Number(0)));
    assert_eq!(check(flag(-1, "31", 1)).priority_flag, Some(Flag::Number(31)));
    let named = |name: &str| {
        let mut conf = check(flag(-1, name, 1));
        let told = conf.check_flag(|name| (name == b"EMERGENCY").then_some(7));
        (conf.priority_flag, told.map(|finding| finding.to_string()))
    };
    assert_eq!(named("EMERGENCY"), (Some(Flag::Number(7)), None));
    let instead = "expected a number from 0 to 31, or a name of the core's flags; no call has priority";
    let (none, line) = named("no\nsuch");
    assert_eq!(
        (none, line.as_deref()),
        (None, Some(&*format!("modparam(\"dispatcher\", \"ds_priority_flag\", \"no\\nsuch\"): {instead}")))
    );
    for (number, name) in [(32, ""), (-2, ""), (-1, "32"), (-1, "99999999999")] {
        let (conf, line) = told(flag(number, name, 1));
        assert!(conf.priority_flag.is_none() && line.ends_with(instead), "{line}");
    }
    for one in [flag(5, "", 0), flag(-1, "NAME", 0)] {
        assert!(told(one).1.ends_with("expected ds_limits 1 as well; it has no effect"));
    }
}

#[test]
fn a_slow_start_for_all_acts_with_further_limits_only() {
    let of = |seconds, ds_limits| {
        let (conf, told) = Conf::check(Raw { ds_slowstart: seconds, ds_limits, ..Raw::default() }).unwrap();
        (conf.slow_start, told.first().map(|finding| finding.to_string()))
    };
    assert_eq!([of(0, 0), of(60, 1)], [(0, None), (60, None)]);
    let (seconds, told) = of(60, 0);
    let told = told.unwrap();
    assert!(
        seconds == 0 && told.contains("ds_limits 1 as well") && told.ends_with("it has no effect"),
        "{told}"
    );
    let (seconds, told) = of(-1, 1);
    assert!(seconds == 0 && told.unwrap().contains("a whole number from 0 to"));
}
