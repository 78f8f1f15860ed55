//! Shares of selections on a real server: exact for the algorithms that promise it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::calls::with;
use crate::support::{Agent, Kamailio};

/// Selects `X-Times` times from `X-Set` by `X-Alg`, and reports each.
const ROUTE: &str = r#"
request_route {
	$var(set) = $(hdr(X-Set){s.int});
	$var(alg) = $(hdr(X-Alg){s.int});
	$var(times) = $(hdr(X-Times){s.int});
	while ($var(times) > 0) {
		$du = $null;
		$xavp(_dsdst_[*]) = $null;
		$xavp(_dsctx_[*]) = $null;
		$var(rc) = ds_select_dst("$var(set)", "$var(alg)");
		if ($var(rc) > 0) append_to_reply("X-Pick: $du\r\n");
		else append_to_reply("X-Pick: $var(rc)\r\n");
		$var(times) = $var(times) - 1;
	}
	sl_send_reply("200", "OK");
}
"#;

/// As many as one answer has room for.
const AT_ONCE: usize = 500;

type Shares = BTreeMap<String, u32>;

fn start(list: &str, workers: u32) -> Kamailio {
    let builder = Kamailio::builder().list(list).workers(workers).globals("max_while_loops=1000");
    builder.modparam("modparam(\"dispatcher\", \"flags\", 2)").route(ROUTE).start()
}

fn uri(n: usize) -> String {
    format!("sip:127.0.6.{}:5060", n + 1)
}

/// A set of destinations that have these shares by the name of an attribute.
fn list(attribute: &str, shares: &[u32]) -> String {
    let line = |(n, share)| format!("1 {} 0 0 duid=d{n};{attribute}={share}\n", uri(n));
    shares.iter().enumerate().map(line).collect()
}

/// Each pick of so many selections, in their order.
#[track_caller]
fn picks(agent: &mut Agent, alg: i64, mut times: usize) -> Vec<String> {
    let mut picks = Vec::new();
    while times > 0 {
        let now = times.min(AT_ONCE);
        let call = with(agent.call(), "X-Set", "1");
        let mut call = with(with(call, "X-Alg", &alg.to_string()), "X-Times", &now.to_string());
        agent.send(&call.within("MESSAGE"));
        picks.extend(agent.answer(&call, "MESSAGE").values("X-Pick").map(str::to_owned));
        times -= now;
    }
    picks
}

fn count(picks: impl IntoIterator<Item = String>) -> Shares {
    let mut shares = Shares::new();
    for pick in picks {
        *shares.entry(pick).or_default() += 1;
    }
    shares
}

/// The expected shares: `times` the share of each destination.
fn due(shares: &[u32], times: u32) -> Shares {
    let of = |(n, share): (usize, &u32)| (*share > 0).then(|| (uri(n), share * times));
    shares.iter().enumerate().filter_map(of).collect()
}

fn set_state(server: &Kamailio, state: &str, n: usize) {
    server.rpc("dispatcher.set_state", json!([state, 1, uri(n)])).unwrap();
}

/// Over the sum of the shares, from wherever it is; then without two of the destinations.
fn exact(alg: i64, attribute: &str, shares: &[u32]) {
    let server = start(&list(attribute, shares), 1);
    let mut agent = server.agent();
    let mut exact = |shares: &[u32], rounds: u32| {
        let sum: u32 = shares.iter().sum();
        for round in 0..rounds {
            assert_eq!(count(picks(&mut agent, alg, sum as usize)), due(shares, 1), "round {round}");
            // So that the next begins elsewhere.
            picks(&mut agent, alg, 7);
        }
    };
    exact(shares, 3);
    let mut left = shares.to_vec();
    for down in [shares.len() / 2, 0] {
        set_state(&server, "i", down);
        left[down] = 0;
        exact(&left, 2);
    }
    set_state(&server, "a", 0);
    left[0] = shares[0];
    exact(&left, 2);
    server.stop();
}

fn odd_shares(destinations: u32) -> Vec<u32> {
    (0..destinations).map(|n| 1 + n * n % 11).collect()
}

#[test]
fn weights_of_three_are_exact_and_shared_by_the_others_when_one_is_down() {
    exact(9, "weight", &[50, 31, 19]);
    exact(9, "weight", &[1, 300, 199]);
}

#[test]
fn weights_of_a_hundred_and_one_are_exact_and_shared_by_the_others_when_one_is_down() {
    exact(9, "weight", &odd_shares(101));
    exact(9, "weight", &[1; 101]);
}

#[test]
fn relative_weights_of_three_are_exact_and_shared_by_the_others_when_one_is_down() {
    exact(11, "rweight", &[50, 31, 19]);
    exact(11, "rweight", &[1, 2, 1]);
}

#[test]
fn relative_weights_of_a_hundred_and_one_are_exact_and_shared_by_the_others_when_one_is_down() {
    exact(11, "rweight", &odd_shares(101));
    exact(11, "rweight", &[1; 101]);
}

#[test]
fn weights_are_exact_over_all_workers_together() {
    const CALLERS: usize = 16;
    const ROUNDS: u32 = 8;
    let shares = odd_shares(101);
    let sum: u32 = shares.iter().sum();
    let server = start(&list("weight", &shares), 8);
    for _ in 0..2 {
        let selections = (sum * ROUNDS) as usize;
        let picked = std::thread::scope(|scope| {
            let caller = |which: usize| {
                let mut agent = server.agent();
                let own = selections / CALLERS + usize::from(which < selections % CALLERS);
                move || -> Vec<String> {
                    let requests = (0..own.div_ceil(5)).map(|n| 5.min(own - n * 5));
                    requests.flat_map(|times| picks(&mut agent, 9, times)).collect()
                }
            };
            let callers: Vec<_> = (0..CALLERS).map(|which| scope.spawn(caller(which))).collect();
            callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(count(picked), due(&shares, ROUNDS));
    }
    server.stop();
}

/// Each count lies within five standard deviations: one run in three hundred thousand fails by chance.
#[test]
fn random_ones_are_about_equal() {
    const TIMES: f64 = 3000.0;
    let server = start(&list("weight", &[1, 50, 1, 1, 1, 46]), 1);
    let mut agent = server.agent();
    let shares = count(picks(&mut agent, 6, TIMES as usize));
    let (mean, deviation) = (TIMES / 6.0, (TIMES / 6.0 * (1.0 - 1.0 / 6.0)).sqrt());
    let within = shares.values().all(|&share| (f64::from(share) - mean).abs() < 5.0 * deviation);
    assert!(within && shares.len() == 6, "{shares:?}");
    set_state(&server, "i", 3);
    let shares = count(picks(&mut agent, 6, 400));
    assert!(shares.len() == 5 && !shares.contains_key(&uri(3)), "{shares:?}");
    server.stop();
}

#[test]
fn lowest_priority_value_is_the_tier_until_all_of_it_is_down() {
    let rows = [(20, 60), (20, 20), (10, 70), (10, 30), (30, 100), (20, 20)];
    let line = |(n, (priority, weight))| format!("1 {} 0 {priority} weight={weight}\n", uri(n));
    let server = start(&rows.into_iter().enumerate().map(line).collect::<String>(), 1);
    let mut agent = server.agent();
    let mut shares = |times| count(picks(&mut agent, 15, times));
    assert_eq!(shares(100), due(&[0, 0, 70, 30, 0, 0], 1));
    set_state(&server, "i", 2);
    assert_eq!(shares(100), due(&[0, 0, 0, 100, 0, 0], 1));
    set_state(&server, "i", 3);
    assert_eq!(shares(100), due(&[60, 20, 0, 0, 0, 20], 1));
    set_state(&server, "i", 0);
    assert_eq!(shares(100), due(&[0, 50, 0, 0, 0, 50], 1));
    set_state(&server, "i", 1);
    set_state(&server, "i", 5);
    assert_eq!(shares(100), due(&[0, 0, 0, 0, 100, 0], 1));
    set_state(&server, "i", 4);
    assert_eq!(shares(10), Shares::from([("-3".into(), 10)]));
    set_state(&server, "a", 3);
    assert_eq!(shares(100), due(&[0, 0, 0, 100, 0, 0], 1));
    server.stop();
}

#[test]
fn equals_take_turns_and_ranked_ones_do_not() {
    let with_priorities = |priorities: [u32; 4]| {
        let line = |(n, priority)| format!("1 {} 0 {priority}\n", uri(n));
        priorities.into_iter().enumerate().map(line).collect::<String>()
    };
    // Of equals the last line is the first of the set.
    for (priorities, in_turn, first) in
        [([5; 4], true, 3), ([5, 5, 7, 5], false, 2), ([0; 4], false, 3), ([1, 2, 3, 4], false, 3)]
    {
        let server = start(&with_priorities(priorities), 1);
        let mut agent = server.agent();
        let shares = count(picks(&mut agent, 14, 40));
        let all = if in_turn { due(&[10; 4], 1) } else { Shares::from([(uri(first), 40)]) };
        assert_eq!(shares, all, "{priorities:?}");
        set_state(&server, "i", first);
        let others = picks(&mut agent, 14, 30);
        assert!(!others.contains(&uri(first)), "{others:?}");
        assert_eq!(count(others).values().all(|&share| share == 10), in_turn, "{priorities:?}");
        server.stop();
    }
}
