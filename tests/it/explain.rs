//! `dispatcher.explain`: a dry run says what the next selection does, and changes nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Gateways, Kamailio, eventually};

const ROUTE: &str = r#"
request_route {
    if (is_method("ACK")) exit;
    if (!ds_select_dst("1", "$hdr(X-Alg)")) { sl_send_reply("404", "No destination"); exit; }
    append_to_reply("X-To: $du\r\n");
    sl_send_reply("200", "Chosen");
}
"#;

fn explain(server: &Kamailio, params: Value) -> Value {
    server.rpc("dispatcher.explain", params).unwrap()
}

/// What is said of each destination, in the order of the list file: the last line of a priority comes first in the set.
fn whys(answer: &Value) -> Vec<String> {
    let targets = answer["TARGETS"].as_array().unwrap();
    targets.iter().rev().map(|one| one["DEST"]["WHY"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn next_selection_is_as_it_was_explained_for_each_algorithm_without_chance() {
    let list: String = (1..6)
        .map(|n| format!("1 sip:127.0.1.{n}:5060 0 0 duid=d{n};weight={n};rweight={n};maxload=1000\n"))
        .collect();
    let server = Kamailio::builder().list(list).route(ROUTE).start();
    let mut agent = server.agent();
    for alg in [0, 4, 8, 9, 10, 11, 13, 14, 15, 64, 100, 101] {
        for _ in 0..7 {
            let mut call = crate::calls::with(agent.call(), "X-Alg", &alg.to_string());
            let params = json!([1, alg, call.id]);
            let told = explain(&server, params.clone());
            assert_eq!(explain(&server, params), told, "algorithm {alg}: asking changes nothing");
            agent.send(&call.invite());
            let chosen = agent.answer(&call, "INVITE").header("X-To").map(str::to_owned);
            assert_eq!(told["CHOSEN"].as_str(), chosen.as_deref(), "algorithm {alg}");
            // The script has answered: what was counted is released when it ends.
            eventually("nothing counts", Duration::from_secs(5), || server.total_load() == 0);
        }
    }
    server.stop();
}

#[test]
fn each_that_is_not_chosen_is_told_why() {
    let gateways = Gateways::answering(1, 200);
    let list = format!(
        "1 {} 0 0 duid=full;maxload=1\n1 sip:127.0.1.2 1\n1 sip:127.0.1.3 4\n1 sip:127.0.1.4 0 0 duid=free\n",
        gateways.uri(0)
    );
    let server = Kamailio::builder()
        .list(list)
        .route(&ROUTE.replace("sl_send_reply(\"200\", \"Chosen\");", "t_relay();"))
        .start();
    let mut agent = server.agent();
    let told = explain(&server, json!([1, 10]));
    assert_eq!(whys(&told), ["another one comes first", "inactive", "disabled", "chosen"]);
    server.rpc("dispatcher.set_state", json!(["d", 1, "sip:127.0.1.4"])).unwrap();
    let mut call = crate::calls::with(agent.call(), "X-Alg", "10");
    assert_eq!(agent.place(&mut call).status(), Some(200));
    let told = explain(&server, json!([1, 10]));
    assert_eq!(
        (whys(&told), &told["REFUSED"]),
        (["full", "inactive", "disabled", "disabled"].map(str::to_owned).to_vec(), &json!("no room"))
    );
    let fails = |params: Value| server.rpc("dispatcher.explain", params).unwrap_err();
    assert!(fails(json!([1, 0])).message.contains("Algorithm 0 hashes the Call-ID"));
    assert!(fails(json!([1, 77])).message.contains("no algorithm 77"));
    assert_eq!((fails(json!([9, 4])).code, fails(json!([1])).code), (404, 500));
    server.stop();
}
