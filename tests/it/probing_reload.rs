//! Reloads while a probe is out, and what a reload keeps of health.

use serde_json::{Value, json};

use crate::calls::assert_quiet;
use crate::support::server_config::Builder;
use crate::support::{Behaviour, Kamailio, Probed, distinct, eventually};
use crate::watch::{
    SOON, all, at, become_all, becomes, counted, events, flags, freeze, more_probes, probing, reload, set,
    told, told_so_many,
};

/// Probes that wait long for their answer, and are far apart.
fn patient(mode: u32, list: &str) -> Builder {
    set(set(probing(mode, list), "ds_ping_interval", 2), "ds_ping_fr_timer", 1900)
}

/// A server with this list and one probe of gw0 out, not answered yet; the gateways behind it behave as `answer` says.
fn with_a_probe_out(mode: u32, list: impl Fn(&Probed) -> String, answer: Behaviour) -> (Kamailio, Probed) {
    let gateways = Probed::start();
    gateways.behave(answer);
    gateways.hold();
    let server = patient(mode, &list(&gateways)).start();
    gateways.wait_for(1, SOON);
    (server, gateways)
}

/// The list becomes this one and is loaded; then the probe is answered, and the answer is dropped.
#[track_caller]
fn answer_means_nothing_after(server: Kamailio, gateways: &Probed, list: &str, wanted: &[&str]) {
    server.write_list(list);
    reload(&server);
    assert_eq!(flags(&server), wanted);
    gateways.behave(Behaviour::Silent);
    assert_eq!((gateways.release(), distinct(&gateways.probes())), (1, 1));
    eventually("the answer is dropped", SOON, || counted(&server, "STALE_PROBES") == 1);
    assert_eq!(flags(&server), wanted);
    let last = all(&server).pop().unwrap();
    assert_eq!([&last["HEALTH"]["CODE"], &last["HEALTH"]["SUCCESSES"]], [0, 0], "{last}");
    assert_eq!(events(&server).len(), 0);
    assert_quiet(&server.stop());
}

const GOOD: Behaviour = Behaviour::Answer(200, "OK");
const BAD: Behaviour = Behaviour::Answer(503, "Not Now");

#[test]
fn answer_counts_for_what_stays() {
    let list = |gateways: &Probed| gateways.list(1, 1, "").replace(" 0 0 ", " 9 0 ");
    let (server, gateways) = with_a_probe_out(1, list, GOOD);
    // Other lines, another order, other attributes: the same destination.
    let more = format!("1 {} 4 0\n{};weight=7\n", gateways.uri_of(5), list(&gateways).trim());
    server.write_list(&more);
    reload(&server);
    assert_eq!(flags(&server), ["DX", "IP"]);
    assert_eq!(gateways.release(), 1);
    let up = becomes(&server, 1, "AP");
    assert_eq!((distinct(&gateways.probes()), &up["HEALTH"]["SUCCESSES"]), (1, &json!(1)));
    assert_eq!(counted(&server, "STALE_PROBES"), 0);
    told(&server, &[format!("up {}", gateways.uri_of(0))]);
    assert_quiet(&server.stop());
}

#[test]
fn answer_for_what_is_removed_is_dropped() {
    let (server, gateways) = with_a_probe_out(1, |gateways| gateways.list(1, 1, ""), BAD);
    let other = format!("1 {} 4 0 duid=other\n", gateways.uri_of(5));
    answer_means_nothing_after(server, &gateways, &other, &["DX"]);
}

#[test]
fn answer_for_another_uri_of_the_same_duid_is_dropped() {
    for (flags, state, answer) in [(9, "IP", GOOD), (8, "AP", BAD)] {
        let list = |gateways: &Probed| format!("1 {} {flags} 0 duid=x\n", gateways.uri_of(0));
        let (server, gateways) = with_a_probe_out(1, list, answer);
        let other = format!("1 {} {flags} 0 duid=x\n", gateways.uri_of(5));
        answer_means_nothing_after(server, &gateways, &other, &[state]);
    }
}

#[test]
fn answer_after_the_end_of_probing_is_dropped() {
    for (before, after, state, answer) in [(8, 0, "AX", BAD), (9, 1, "IX", GOOD), (8, 40, "AP", BAD)] {
        let list = |gateways: &Probed, flags: u32| format!("1 {} {flags} 0 duid=x\n", gateways.uri_of(0));
        let (server, gateways) = with_a_probe_out(3, |gateways| list(gateways, before), answer);
        answer_means_nothing_after(server, &gateways, &list(&gateways, after), &[state]);
    }
}

/// One gateway is down, the other up, and both have answered often. A reload keeps latencies unless `builder` says otherwise.
fn with_history(builder: impl FnOnce(Builder) -> Builder) -> (Kamailio, Probed, Vec<Value>) {
    by_default(|given| builder(set(given, "ds_retain_latency_stats", 1)))
}

/// The same with the server's own default for latencies.
fn by_default(builder: impl FnOnce(Builder) -> Builder) -> (Kamailio, Probed, Vec<Value>) {
    let gateways = Probed::start();
    gateways.behave_at("gw0", BAD);
    let list = gateways.list(1, 2, "latency=90");
    let builder = builder(set(probing(1, list), "ds_ping_latency_stats", 1));
    let server = builder.start();
    become_all(&server, &["IP", "AP"]);
    more_probes(&gateways, 4);
    freeze(&server);
    let found = all(&server);
    assert!(found[0]["HEALTH"]["FAILURES"].as_i64().unwrap() >= 2, "{}", found[0]);
    assert!(found[1]["HEALTH"]["SUCCESSES"].as_i64().unwrap() >= 2, "{}", found[1]);
    assert!(found.iter().all(|one| one["LATENCY"]["EST"] != json!(90.0)), "{found:?}");
    (server, gateways, found)
}

#[test]
fn reload_keeps_states_counts_and_latencies() {
    let (server, gateways, before) = with_history(|builder| builder);
    reload(&server);
    assert_eq!(all(&server), before);
    // In another order, and with other weights.
    let lines: Vec<String> =
        gateways.list(1, 2, "latency=90;weight=3").lines().rev().map(|line| format!("{line}\n")).collect();
    server.write_list(&lines.concat());
    reload(&server);
    let after = all(&server);
    for name in ["FLAGS", "HEALTH", "LATENCY"] {
        assert_eq!((&after[1][name], &after[0][name]), (&before[0][name], &before[1][name]), "{name}");
    }
    assert_quiet(&server.stop());
}

#[test]
fn changed_flags_of_the_file_count() {
    let (server, gateways, before) = with_history(|builder| builder);
    server.write_list(&gateways.list(1, 2, "latency=90").replace(" 0 0 ", " 8 0 "));
    reload(&server);
    assert_eq!(flags(&server), ["AP", "AP"]);
    assert_eq!(at(&server, 0)["HEALTH"]["FAILURES"], json!(0));
    assert_eq!(at(&server, 0)["LATENCY"], before[0]["LATENCY"]);
    server.stop();
}

#[test]
fn without_retain_state_a_reload_takes_states_from_the_file() {
    let (server, _gateways, before) = with_history(|builder| set(builder, "ds_retain_state", 0));
    reload(&server);
    let after = all(&server);
    assert_eq!(flags(&server), ["AX", "AX"]);
    for (after, before) in after.iter().zip(&before) {
        assert_eq!([&after["HEALTH"]["FAILURES"], &after["HEALTH"]["SUCCESSES"]], [0, 0]);
        assert_eq!(after["LATENCY"], before["LATENCY"]);
    }
    told_so_many(&server, 1);
    server.stop();
}

/// Where the stock module has the parameter its default is 0.
#[test]
fn whether_a_reload_keeps_latencies_follows_the_release_where_nothing_is_said() {
    let (server, _gateways, before) = by_default(|builder| builder);
    reload(&server);
    for (after, before) in all(&server).iter().zip(&before) {
        let anew = after["LATENCY"]["EST"] == 90.0;
        assert_eq!(anew, cfg!(stock_retain_latency), "{before} {after}");
    }
    server.stop();
}

#[test]
fn without_retain_latency_stats_a_reload_begins_them_anew() {
    let (server, _gateways, before) = with_history(|builder| set(builder, "ds_retain_latency_stats", 0));
    reload(&server);
    for (after, before) in all(&server).iter().zip(&before) {
        assert_eq!((&after["FLAGS"], &after["HEALTH"]), (&before["FLAGS"], &before["HEALTH"]));
        assert_eq!([&after["LATENCY"]["AVG"], &after["LATENCY"]["EST"]], [90.0, 90.0]);
    }
    server.stop();
}
