//! `ds_ping_fast_interval`: after a first failure a destination is probed more often until its state is settled.

use std::time::{Duration, Instant};

use crate::calls::assert_quiet;
use crate::support::server_config::Builder;
use crate::support::{Behaviour, Probed, distinct, eventually};
use crate::watch::{at, becomes, flags, probing, set};

/// What is said of an interval of ten seconds here is seen within much less than another one.
const SOON: Duration = Duration::from_secs(7);

fn probing_slowly(gateway: &Probed, fast: u32) -> Builder {
    let builder = probing(1, format!("1 {}\n", gateway.uri()));
    let builder = set(set(builder, "ds_ping_interval", 10), "ds_ping_fast_interval", fast);
    set(set(builder, "ds_probing_threshold", 3), "ds_inactive_threshold", 3)
}

#[test]
fn a_gateway_that_stops_answering_is_inactive_and_one_that_answers_again_active_within_seconds() {
    let gateway = Probed::start();
    gateway.behave(Behaviour::Silent);
    let server = probing_slowly(&gateway, 1).start();
    let bad = Duration::from_secs(15);
    eventually("its first probe fails", bad, || flags(&server) == ["TP"]);
    let failed = Instant::now();
    becomes(&server, 0, "IP");
    assert!(failed.elapsed() < SOON, "{:?}", failed.elapsed());
    // Settled: it is probed as before. One of the ten seconds may have come meanwhile.
    let probes = distinct(&gateway.probes());
    assert!((3..=4).contains(&probes), "{probes}");
    gateway.behave(Behaviour::Answer(200, "OK"));
    let next = at(&server, 0)["HEALTH"]["NEXT_PROBE"].as_u64().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((1..=11).contains(&(next - now)), "in {} s", next - now);
    gateway.wait_for(probes + 1, bad);
    let answered = Instant::now();
    becomes(&server, 0, "AP");
    assert!(answered.elapsed() < SOON, "{:?}", answered.elapsed());
    let more = distinct(&gateway.probes()) - probes;
    assert!((3..=4).contains(&more), "{more}");
    assert_quiet(&server.stop());
}
