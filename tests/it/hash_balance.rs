//! `hash_balance`: a hot key spills to one and the same second gateway, and other keys stay.

use serde_json::json;

use crate::calls::{assert_no_drift, hang_up_all, obedient, with};
use crate::followed::proxy;
use crate::support::{Agent, Call, Gateways, Kamailio};
use crate::watch::text;

const KEYS: usize = 40;

/// A call of this key, which stays up; its gateway.
fn place(agent: &mut Agent, gateways: &Gateways, calls: &mut Vec<Call>, key: &str) -> usize {
    let mut call = with(with(agent.call(), "X-Alg", "101"), "X-Key", key);
    assert_eq!(agent.place(&mut call).status(), Some(200));
    let gateway = gateways.of_call(&call.id).expect("its gateway");
    calls.push(call);
    gateway
}

#[test]
fn a_hot_key_spills_to_one_and_the_same_second_gateway_and_other_keys_stay() {
    let gateways = obedient(4);
    let bound = "modparam(\"dispatcher\", \"hash_balance\", 100)\nmodparam(\"dispatcher\", \"hash_pvar\", \"$hdr(X-Key)\")";
    let server = proxy(8, gateways.list(100, "")).modparam(bound).start();
    let (mut agent, mut calls) = (server.agent(), Vec::new());
    let others: Vec<_> =
        (0..KEYS).map(|n| place(&mut agent, &gateways, &mut calls, &format!("key{n}"))).collect();
    let hot: Vec<_> = (0..2 * KEYS).map(|_| place(&mut agent, &gateways, &mut calls, "hot")).collect();
    let first = hot[0];
    let spilt: Vec<_> = hot.iter().copied().filter(|gateway| *gateway != first).collect();
    assert!(spilt.len() > KEYS / 4 && spilt.iter().all(|gateway| *gateway == spilt[0]), "{hot:?}");
    // The first ones all stay: twice the share of all is far.
    assert!(hot[..KEYS / 4].iter().all(|gateway| *gateway == first), "{hot:?}");
    let loads = crate::calls::loads(&server, 4);
    // A share is a quarter.
    let most = (calls.len() as i64 + 1).div_euclid(2) + 1;
    assert!(loads.iter().all(|load| *load <= most), "{loads:?}");
    // A call that spills makes the share of all greater, too: the next one may stay.
    let told = loop {
        let told = server.rpc("dispatcher.explain", json!([100, 101, "hot"])).unwrap();
        let chosen = text(&told["CHOSEN"]);
        let next = place(&mut agent, &gateways, &mut calls, "hot");
        assert_eq!(chosen, gateways.uri(next), "{told}");
        if next != first {
            break told;
        }
    };
    assert!(told.to_string().contains("has its share of calls"), "{told}");
    for (n, before) in others.iter().enumerate().filter(|(_, before)| **before != first) {
        assert_eq!(place(&mut agent, &gateways, &mut calls, &format!("key{n}")), *before, "key {n}");
    }
    // And it comes back when there is room.
    hang_up_all(&mut agent, &mut calls);
    calls.clear();
    assert_eq!(place(&mut agent, &gateways, &mut calls, "hot"), first);
    hang_up_all(&mut agent, &mut calls);
    assert_no_drift(&server);
    server.stop();
}

/// Its own call is no reason to pass a gateway over.
#[test]
fn a_call_for_which_a_gateway_is_chosen_again_stays_there() {
    let gateways = obedient(3);
    let params =
        "modparam(\"dispatcher\", \"ds_load_auto\", 1)\nmodparam(\"dispatcher\", \"hash_balance\", 1)";
    let route = r#"request_route {
	$var(n) = 0; $var(all) = "";
	while ($var(n) < 3) {
		if (!ds_select_dst("100", "101")) { sl_send_reply("404", "No destination"); exit; }
		$var(all) = $var(all) + " " + $du;
		$var(n) = $var(n) + 1;
	}
	sl_send_reply("200", "$var(all)");
}"#;
    let server = Kamailio::builder().list(gateways.list(100, "")).modparam(params).route(route).start();
    let mut agent = server.agent();
    for _ in 0..8 {
        let mut call = agent.call();
        let answer = agent.place(&mut call);
        let chosen: Vec<&str> =
            answer.start.split(' ').skip(2).filter(|word| word.starts_with("sip:")).collect();
        assert!(chosen.len() == 3 && chosen.iter().all(|one| *one == chosen[0]), "{}", answer.start);
    }
    assert_no_drift(&server);
    server.stop();
}
