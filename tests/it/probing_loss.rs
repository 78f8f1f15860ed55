//! A gateway that never answers.

use std::time::Duration;

use serde_json::json;

use crate::calls::assert_quiet;
use crate::support::{Behaviour, Probed, distinct, eventually};
use crate::watch::{SOON, at, becomes, counted, more_probes, probing, set, told};

#[test]
fn all_is_lost_and_each_loss_counts_once() {
    let gateway = Probed::start();
    gateway.behave(Behaviour::Silent);
    let server = set(probing(1, format!("1 {}\n", gateway.uri())), "ds_probing_threshold", 3).start();
    let down = becomes(&server, 0, "IP");
    assert_eq!(down["HEALTH"]["FAILURES"], json!(3));
    // Longer than tm waits for an answer: its own end of the probe is no second one, and no late answer.
    more_probes(&gateway, 3);
    server.rpc("dispatcher.ping_active", json!([0])).unwrap();
    let given_up =
        || gateway.probes().last().is_some_and(|last| last.at.elapsed() > Duration::from_millis(1500));
    eventually("tm sends nothing again any more", SOON, given_up);
    let probes = distinct(&gateway.probes()) as i64;
    assert_eq!(at(&server, 0)["HEALTH"]["FAILURES"], json!(probes));
    assert_eq!(
        ["PROBES", "FAILED_PROBES", "STALE_PROBES"].map(|name| counted(&server, name)),
        [probes, probes, 0]
    );
    told(&server, &[format!("down {}", gateway.uri())]);
    assert_quiet(&server.stop());
}
