//! A node whose script drops its probes sends none, and its states do not change.

use serde_json::{Value, json};

use crate::support::server_config::Builder;
use crate::support::{Behaviour, Kamailio, Probed, eventually};
use crate::watch::{SOON, all, become_all, flags, probing, set, told_so_many};

/// Drops OPTIONS while the shared variable is 1.
const STANDBY: &str = r#"
event_route[tm:local-request] {
	if ($rm == "OPTIONS" && $shv(standby) == 1) drop;
}
"#;

fn node(builder: Builder, standby: u32) -> Builder {
    let start = format!("modparam(\"pv\", \"shvset\", \"standby=i:{standby}\")");
    builder.more_route(STANDBY).modparam(&start)
}

fn stand_by(server: &Kamailio, standby: u32) {
    server.rpc("pv.shvSet", json!(["standby", "int", standby])).unwrap();
}

fn dropped(server: &Kamailio) -> Vec<u64> {
    all(server).iter().map(|one| one["HEALTH"]["DROPPED"].as_u64().unwrap()).collect()
}

/// Waits until the probe of each destination was dropped some times more.
#[track_caller]
fn more_dropped(server: &Kamailio) {
    let begun = dropped(server);
    let later = |now: Vec<u64>| now.iter().zip(&begun).all(|(now, begun)| *now >= begun.max(&1) + 3);
    eventually("probes of each are dropped", SOON, || later(dropped(server)));
}

/// All that `list full` says, but for what is of the clock.
fn known(server: &Kamailio) -> Vec<Value> {
    let mut all = all(server);
    for one in &mut all {
        let health = one["HEALTH"].as_object_mut().unwrap();
        assert!(health.remove("DROPPED").is_some() && health.remove("NEXT_PROBE").is_some());
    }
    all
}

/// The counters of probes.
fn counters(server: &Kamailio) -> Vec<(String, Value)> {
    let audit = server.rpc("dispatcher.load_audit", json!([])).unwrap();
    let fields = audit.as_object().unwrap().iter();
    fields
        .filter(|(name, _)| name.contains("PROBES"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[test]
fn standby_that_drops_its_probes_keeps_all_that_it_knows() {
    let gateways = Probed::start();
    gateways.behave_at("gw1", Behaviour::Answer(503, "No"));
    gateways.behave_at("gw2", Behaviour::Silent);
    let builder = node(probing(1, gateways.list(1, 3, "")), 0);
    let builder = set(set(builder, "ds_probing_threshold", 2), "ds_inactive_threshold", 2);
    let server = set(builder, "ds_ping_latency_stats", 1).start();
    become_all(&server, &["AP", "IP", "IP"]);
    assert_eq!(dropped(&server), [0, 0, 0]);

    stand_by(&server, 1);
    eventually("each is dropped", SOON, || dropped(&server).iter().all(|at| *at > 0));
    // What was under way then is over by the next.
    more_dropped(&server);
    let (before, counted, seen) = (known(&server), counters(&server), gateways.count("OPTIONS"));
    gateways.behave(Behaviour::Silent);
    gateways.behave_at("gw1", Behaviour::Answer(200, "OK"));
    more_dropped(&server);
    assert_eq!(known(&server), before);
    assert_eq!(counters(&server), counted);
    assert_eq!(gateways.count("OPTIONS"), seen, "nobody is asked");
    told_so_many(&server, 2);

    stand_by(&server, 0);
    become_all(&server, &["IP", "AP", "IP"]);
    assert_eq!(dropped(&server), [0, 0, 0], "probes are sent again");
    server.stop();
}

/// In each mode, as the stock module does.
#[test]
fn standby_from_the_start_keeps_the_states_of_its_list() {
    let nobody = Probed::start();
    nobody.behave(Behaviour::Silent);
    let list: String = [8, 9, 10]
        .iter()
        .enumerate()
        .map(|(n, flags)| format!("1 {} {flags} {}\n", nobody.uri_of(n), 9 - n))
        .collect();
    for mode in 0..4 {
        let params = format!(
            "modparam(\"dispatcher\", \"ds_ping_interval\", 1)\nmodparam(\"dispatcher\", \"ds_probing_mode\", {mode})"
        );
        let builder = || node(Kamailio::builder().list(&*list).modparam(&params), 1);
        let (ours, stock) = (builder().start(), builder().stock().start());
        let probed = |one: &Value| mode != 2 || one["FLAGS"] == "IP";
        let turns = || {
            all(&ours).iter().filter(|one| probed(one)).all(|one| one["HEALTH"]["DROPPED"].as_u64() > Some(0))
        };
        eventually("a turn of each", SOON, turns);
        let begun = dropped(&ours);
        eventually("another turn", SOON, || dropped(&ours).iter().max() > begun.iter().max());
        for server in [&ours, &stock] {
            assert_eq!(flags(server), ["AP", "IP", "TP"], "mode {mode}");
        }
        assert_eq!(nobody.count("OPTIONS"), 0);
        ours.stop();
    }
}
