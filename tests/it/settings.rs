//! What an operator changes while the server runs: `cfg.seti dispatcher probing_threshold 3`, as with the stock module.

use std::time::Duration;

use serde_json::json;

use crate::harness_probing::becomes;
use crate::support::{Behaviour, Kamailio, Probed};

const SOON: Duration = Duration::from_secs(10);

fn start(gateway: &Probed) -> Kamailio {
    Kamailio::builder()
        .list(format!("1 {}\n", gateway.uri()))
        .module("cfg_rpc")
        .modparam(
            "modparam(\"dispatcher\", \"ds_ping_interval\", 1)\nmodparam(\"dispatcher\", \"ds_probing_mode\", 1)\n\
             modparam(\"dispatcher\", \"ds_ping_reply_codes\", \"code=404\")",
        )
        .start()
}

#[test]
fn thresholds_and_good_replies_change_while_the_server_runs() {
    let gateway = Probed::start();
    let mut server = start(&gateway);
    let set = |kind: &str, name: &str, value: serde_json::Value| {
        server.rpc(&format!("cfg.set{kind}"), json!(["dispatcher", name, value]))
    };
    set("i", "probing_threshold", json!(1000)).unwrap();
    gateway.behave(Behaviour::Answer(503, "Not Now"));
    becomes(&server, "TP");
    set("i", "probing_threshold", json!(1)).unwrap();
    becomes(&server, "IP");
    set("i", "inactive_threshold", json!(3)).unwrap();
    set("s", "ping_reply_codes", json!("code=503")).unwrap();
    gateway.forget();
    becomes(&server, "AP");
    assert!(gateway.wait_for(3, SOON).len() >= 3, "three good replies first");
    server.assert_healthy();
    server.stop();
}

#[test]
fn values_without_sense_are_refused_and_the_old_ones_stay() {
    let gateway = Probed::start();
    let server = start(&gateway);
    assert!(server.rpc("cfg.seti", json!(["dispatcher", "probing_threshold", 0])).is_err());
    assert_eq!(server.rpc("cfg.get", json!(["dispatcher", "probing_threshold"])), Ok(json!(1)));
    // The core does not show a text that is checked; what holds shows in the state.
    gateway.behave(Behaviour::Answer(404, "Not Found"));
    gateway.forget();
    gateway.wait_for(2, SOON);
    becomes(&server, "AP");
    server.stop();
}
