//! The stock module beside ours, on the same list and asked the same: where both must do the same, it is the judge.

use serde_json::json;

use crate::picks::{Ask, Pick, picking};
use crate::support::{Agent, Kamailio};

const SETS: [i64; 4] = [1, 3, 7, 30];

/// Sets of as many destinations as their number says, of different priorities, most with attributes.
fn list() -> String {
    let line = |set: i64, n: i64| {
        let attrs = if n % 3 == 2 { String::new() } else { format!(" duid=d{n};note={n};maxload=900000") };
        format!("{set} sip:127.0.{set}.{}:5060 0 {}{attrs}\n", n + 1, n * 7 % 5)
    };
    SETS.iter().flat_map(|&set| (0..set).map(move |n| line(set, n))).collect()
}

struct Pair {
    ours: (Kamailio, Agent),
    stock: (Kamailio, Agent),
}

impl Pair {
    fn start(modparams: &str) -> Pair {
        let run = |server: Kamailio| {
            let agent = server.agent();
            (server, agent)
        };
        Pair {
            ours: run(picking(list(), modparams).start()),
            stock: run(picking(list(), modparams).stock().start()),
        }
    }

    /// Asks both, asserts that they see the same, and says what.
    #[track_caller]
    fn same(&mut self, ask: Ask<'_>) -> Pick {
        let (ours, stock) = (ask.pick(&mut self.ours.1), ask.pick(&mut self.stock.1));
        assert_eq!(ours, stock, "ours and the stock module's, asked {ask:?}");
        ours
    }

    fn set_state(&self, state: &str, set: i64, uri: &str) {
        for server in [&self.ours.0, &self.stock.0] {
            server.rpc("dispatcher.set_state", json!([state, set, uri])).unwrap();
        }
    }

    fn stop(self) {
        self.ours.0.stop();
        self.stock.0.stop();
    }
}

/// Call-IDs of odd lengths, with letters of one, two and three bytes; the same ones in each run.
fn call_ids(count: usize) -> Vec<String> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let letter = |random: &mut dyn FnMut(u64) -> u64| match random(4) {
        0 => char::from_u32(0x80 + random(0x700) as u32),
        1 => char::from_u32(0x800 + random(0x5000) as u32),
        _ => char::from_u32(0x30 + random(10) as u32),
    };
    let mut text = |length| (0..length).filter_map(|_| letter(&mut random)).collect::<String>();
    (0..count).map(|n| format!("{n}-{}.", text(n % 61))).collect()
}

const FAILOVER: &str = r#"modparam("dispatcher", "flags", 2)"#;
const DEFAULT: &str = r#"modparam("dispatcher", "flags", 2) modparam("dispatcher", "use_default", 1)"#;

#[test]
fn algorithm_0_picks_the_same_for_any_call_id() {
    let mut pair = Pair::start("");
    for call_id in &call_ids(500) {
        for set in SETS {
            assert!(pair.same(Ask { set, alg: 0, limit: None, call_id }).dst.is_some());
        }
    }
    pair.stop();
}

#[test]
fn algorithm_0_picks_the_same_beside_an_inactive_destination() {
    for params in ["", DEFAULT] {
        let mut pair = Pair::start(params);
        for (set, n) in [(3, 2), (7, 4), (30, 1), (30, 30)] {
            pair.set_state("i", set, &format!("sip:127.0.{set}.{n}:5060"));
        }
        for call_id in &call_ids(150) {
            for set in SETS {
                // With use_default the lists differ: see docs/moving.md.
                let ask = Ask { set, alg: 0, limit: Some(1), call_id };
                assert!(pair.same(ask).dst.is_some());
            }
        }
        pair.stop();
    }
}

#[test]
fn use_default_spares_the_same_destination() {
    let mut pair = Pair::start(DEFAULT);
    for call_id in &call_ids(150) {
        for set in SETS {
            pair.same(Ask { set, alg: 0, limit: None, call_id });
        }
    }
    pair.stop();
}

#[test]
fn algorithm_4_goes_round_in_the_same_order() {
    for params in [FAILOVER, DEFAULT] {
        let mut pair = Pair::start(params);
        for call_id in &call_ids(70) {
            for set in SETS {
                pair.same(Ask { set, alg: 4, limit: None, call_id });
            }
        }
        pair.stop();
    }
}

#[test]
fn list_for_failover_has_the_same_order_fields_and_length() {
    for mode in 0..2 {
        let params = format!("{FAILOVER} modparam(\"dispatcher\", \"xavp_dst_mode\", {mode})");
        let mut pair = Pair::start(&params);
        for call_id in &call_ids(12) {
            for (set, alg) in SETS.iter().flat_map(|&set| [(set, 0), (set, 4), (set, 8)]) {
                for limit in [None, Some(-1), Some(0), Some(1), Some(2), Some(5), Some(100)] {
                    pair.same(Ask { set, alg, limit, call_id });
                }
            }
        }
        pair.stop();
    }
}

#[test]
fn counted_call_has_the_same_fields() {
    let mut pair = Pair::start(FAILOVER);
    let first = pair.same(Ask { set: 1, alg: 10, limit: None, call_id: "counted" });
    assert!(first.more[0].ends_with("dstid=d0"), "{first:?}");
    pair.stop();
}

#[test]
fn what_cannot_be_selected_is_false_for_both() {
    let mut pair = Pair::start(FAILOVER);
    pair.set_state("i", 7, "all");
    pair.set_state("d", 3, "all");
    for alg in [0, 4, 8, 10] {
        for set in [2, 3, 7] {
            let pick = pair.same(Ask { set, alg, limit: None, call_id: "none" });
            assert_eq!(pick.dst, None, "algorithm {alg}, set {set}");
        }
    }
    pair.stop();
}
