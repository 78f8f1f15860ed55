//! Deliberate differences from the stock module: one test for each, which asserts what both modules do.

use std::collections::HashSet;

use crate::odd_messages::{plain, plain_to};
use crate::selections::{Question, ROUTE, list, uri_of};
use crate::side_by_side::{Answer, Pair};

const FAILOVER: &str = "modparam(\"dispatcher\", \"flags\", 2)\n";
const SPARING: &str =
    "modparam(\"dispatcher\", \"flags\", 2)\nmodparam(\"dispatcher\", \"use_default\", 1)\n";

fn start(modparams: &str) -> Pair {
    Pair::start(&list(), modparams, ROUTE)
}

#[track_caller]
fn both(pair: &mut Pair, question: &Question) -> (Answer, Answer) {
    pair.ask(&question.in_message(plain("INVITE")))
}

#[track_caller]
fn same(pair: &mut Pair, question: &Question) -> Answer {
    pair.same(&question.in_message(plain("INVITE")))
}

/// What a script can see of a selection that did nothing.
#[track_caller]
fn assert_untouched(answer: &Answer) {
    let seen =
        (answer.all("True").next(), answer.one("Sent"), answer.one("Count"), answer.all("Entry").next());
    assert_eq!(seen, (None, "du=<null> ru=sip:callee@example.com fs=<null>", "<null>", None));
}

fn uris(answer: &Answer) -> Vec<&str> {
    answer.all("Entry").filter_map(|entry| entry.split(' ').next()).collect()
}

/// Scripts read true and false; the code of a false answer tells its cause in ours, and is -1 in the stock module.
#[test]
fn false_answers_tell_their_cause() {
    let mut pair = start(FAILOVER);
    pair.set_state("i", 7, "all");
    for (set, alg, code) in [(55, 4, "-2"), (7, 4, "-3"), (7, 10, "-3")] {
        let (ours, stock) = both(&mut pair, &Question::new("dst", set, alg));
        assert_eq!((ours.one("Code"), stock.one("Code")), (code, "-1"), "set {set}, algorithm {alg}");
        assert_untouched(&ours);
        assert_untouched(&stock);
    }
    pair.stop();
}

/// In the stock module each rule after the limit still adds its first destination.
#[test]
fn limit_holds_for_all_rules_together() {
    let mut pair = start(FAILOVER);
    for (limit, more) in [(1, 2), (3, 2), (4, 1)] {
        let (ours, stock) = both(&mut pair, &Question::routes("3=8;7=8;2=8", "d").limit(limit));
        let (ours, stock) = (uris(&ours), uris(&stock));
        assert_eq!((ours.len(), stock.len()), (limit as usize, limit as usize + more), "limit {limit}");
        assert_eq!(ours, stock[..ours.len()]);
    }
    pair.stop();
}

/// The stock module has applied the rules before a wrong one when it answers false. Both take a number that is not there for 0.
#[test]
fn rules_that_are_wrong_do_nothing() {
    let mut pair = start(FAILOVER);
    for rules in ["=8", "3=8;;7=8", "3=8;x=4", "", ";", "3=8;7=-1"] {
        let (ours, _) = both(&mut pair, &Question::routes(rules, "d"));
        assert_untouched(&ours);
    }
    let (_, stock) = both(&mut pair, &Question::routes("3=8;x=4", "d"));
    assert_eq!((stock.one("Code"), uris(&stock).len()), ("-1", 3));
    for rules in ["3", "3=", "3=8;7"] {
        let answer = same(&mut pair, &Question::routes(rules, "d"));
        assert_eq!(answer.one("Code"), "1", "{rules}");
    }
    for mode in ["", "3", "Q", "dst", "Xavp"] {
        same(&mut pair, &Question::routes("3=8", mode));
    }
    pair.stop();
}

fn steps(answer: &Answer) -> Vec<&str> {
    answer.all("Then").filter(|then| !then.starts_with("false")).collect()
}

/// What goes down after the selection, the stock module's list still leads to.
#[test]
fn entries_that_are_inactive_by_now_are_passed_over() {
    let mut pair = start(FAILOVER);
    let message = plain("INVITE").with("X-Down", uri_of(8, 5));
    let question = Question::new("dst", 8, 8).walk("next-dst");
    let (ours, stock) = pair.ask(&question.in_message(message));
    assert_eq!((ours.one("Sent"), uris(&ours)), (stock.one("Sent"), uris(&stock)));
    let goes_there = |answer: &Answer| steps(answer).iter().any(|step| step.contains(&uri_of(8, 5)));
    assert_eq!((steps(&ours).len(), goes_there(&ours)), (6, false));
    assert_eq!((steps(&stock).len(), goes_there(&stock)), (7, true));
    pair.stop();
}

/// With `use_default` both list the last of the set whatever its state; the stock module goes there, too.
#[test]
fn spared_one_is_passed_over_while_it_is_inactive() {
    let mut pair = start(SPARING);
    pair.set_state("i", 8, &uri_of(8, 0));
    let (ours, stock) = both(&mut pair, &Question::new("dst", 8, 8).walk("next-dst"));
    assert_eq!(uris(&ours), uris(&stock));
    assert_eq!((steps(&ours).len(), steps(&stock).len()), (6, 7));
    pair.stop();
}

#[test]
fn parallel_forking_is_the_same_while_all_are_active() {
    for params in ["", FAILOVER, SPARING] {
        let mut pair = start(params);
        for set in [1, 3, 7, 8, 9] {
            same(&mut pair, &Question::new("dst", set, 12));
        }
        for set in [1, 3, 7, 8] {
            same(&mut pair, &Question::new("domain", set, 12));
        }
        for rules in ["3=12", "3=12;2=0", "55=4;3=12;7=8"] {
            same(&mut pair, &Question::routes(rules, "d"));
            same(&mut pair, &Question::routes(rules, "r"));
        }
        pair.stop();
    }
}

/// The stock module adds a branch to each after the first, active or not.
#[test]
fn parallel_forking_leaves_out_what_is_not_active() {
    let mut pair = start("");
    pair.set_state("i", 7, &uri_of(7, 5));
    let (ours, stock) = both(&mut pair, &Question::new("dst", 7, 12));
    let inactive = |answer: &Answer| answer.all("Branch").filter(|b| b.contains(&uri_of(7, 5))).count();
    assert_eq!((inactive(&ours), ours.all("Branch").count()), (0, 5));
    assert_eq!((inactive(&stock), stock.all("Branch").count()), (1, 6));
    pair.stop();
}

/// The stock module forks no request URI to a destination whose scheme is in capitals.
#[test]
fn parallel_forking_takes_a_scheme_in_capitals() {
    let mut pair = start("");
    let (ours, stock) = both(&mut pair, &Question::new("domain", 9, 12));
    let capitals = |answer: &Answer| answer.all("Branch").filter(|b| b.starts_with("SIP:")).count();
    assert_eq!((capitals(&ours), capitals(&stock)), (1, 0));
    pair.stop();
}

#[test]
fn parallel_list_has_the_same_branches() {
    let mut pair = start(FAILOVER);
    for set in [1, 3, 7] {
        same(&mut pair, &Question::new("list", set, 12));
        same(&mut pair, &Question::routes(&format!("{set}=12"), "x"));
        same(&mut pair, &Question::routes(&format!("2=0;{set}=12"), "d"));
    }
    pair.stop();
}

fn turns_after_nothing_was_active(alg: i64, mut check: impl FnMut(&mut Pair, &Question)) {
    let mut pair = start(FAILOVER);
    let question = Question::new("dst", 7, alg);
    for tries in 1..5 {
        for _ in 0..3 {
            check(&mut pair, &question);
        }
        pair.set_state("i", 7, "all");
        for _ in 0..tries {
            let (ours, stock) = both(&mut pair, &question);
            assert_untouched(&ours);
            assert_untouched(&stock);
        }
        pair.set_state("a", 7, "all");
    }
    pair.stop();
}

#[test]
fn turns_go_on_the_same_after_nothing_was_active() {
    for alg in [4, 5] {
        turns_after_nothing_was_active(alg, |pair, question| drop(same(pair, question)));
    }
}

/// The stock module begins again at the first of the set.
#[test]
fn latency_goes_on_where_it_was_after_nothing_was_active() {
    let mut differ = 0;
    turns_after_nothing_was_active(13, |pair, question| {
        let (ours, stock) = both(pair, question);
        let sorted = |answer: &Answer| {
            let mut entries: Vec<_> = answer.all("Entry").map(str::to_owned).collect();
            entries.sort();
            entries
        };
        assert_eq!((ours.one("Sent"), sorted(&ours)), (stock.one("Sent"), sorted(&stock)));
        differ += usize::from(ours != stock);
    });
    assert!(differ > 0, "equal: no difference any more");
}

/// With `use_default` the stock module lists one destination twice, but for when its turn is at the last of the set:
/// then it takes the first, whatever its latency.
#[test]
fn sparing_latency_lists_each_once() {
    let mut pair = start(SPARING);
    let mut twice = 0;
    for _ in 0..9 {
        let (ours, stock) = both(&mut pair, &Question::new("dst", 7, 13));
        let distinct = |answer: &Answer| uris(answer).into_iter().collect::<HashSet<_>>().len();
        assert_eq!((distinct(&ours), uris(&ours).len(), ours.one("Count")), (7, 7, "7"));
        twice += usize::from(distinct(&stock) < uris(&stock).len());
    }
    assert!(twice > 0, "equal: no difference any more");
    pair.stop();
}

/// Both take one of the least loaded; of several, the stock module the first of the set, ours the one chosen longest
/// ago. The list goes round from there.
#[test]
fn ties_of_call_load_are_shared() {
    let mut pair = start(FAILOVER);
    let mut loads = [[0; 7]; 2];
    for n in 0..20 {
        let (ours, stock) = both(&mut pair, &Question::new("dst", 7, 10));
        let mut shapes = Vec::new();
        for (answer, loads) in std::iter::zip([&ours, &stock], &mut loads) {
            let chosen = answer.one("Entry").split(' ').next().unwrap();
            let at = (0..7).find(|&at| uri_of(7, at) == chosen).unwrap() as usize;
            assert_eq!(Some(&loads[at]), loads.iter().min(), "call {n} to {at} of {loads:?}");
            loads[at] += 1;
            let mut entries: Vec<_> = answer.all("Entry").map(str::to_owned).collect();
            let first = (0..7).min_by_key(|&at| entries[at].clone()).unwrap();
            entries.rotate_left(first);
            shapes.push((entries, answer.one("True").to_owned(), answer.one("Count").to_owned()));
        }
        assert_eq!(shapes[0], shapes[1], "call {n}");
    }
    pair.stop();
}

/// Where the host of the request URI cannot be replaced, both are false, but the stock module has written its list.
#[test]
fn latency_leaves_no_list_where_nothing_is_selected() {
    let mut pair = start(FAILOVER);
    for (alg, of_stock) in [(13, 7), (8, 0)] {
        let message = plain_to("INVITE", "tels:+49301");
        let (ours, stock) = pair.ask(&Question::new("domain", 7, alg).in_message(message));
        assert_eq!((ours.one("Code"), stock.one("Code")), ("-1", "-1"), "algorithm {alg}");
        assert_eq!((uris(&ours).len(), uris(&stock).len()), (0, of_stock), "algorithm {alg}");
    }
    pair.stop();
}

/// A request that starts no call takes the first, and is not counted.
#[test]
fn call_load_of_what_is_no_call_is_the_same() {
    let mut pair = start(FAILOVER);
    for method in ["MESSAGE", "SUBSCRIBE", "OPTIONS", "BYE"] {
        for function in ["dst", "domain", "list"] {
            pair.same(&Question::new(function, 7, 10).walk("next-dst").in_message(plain(method)));
        }
    }
    pair.stop();
}

#[test]
fn destination_that_is_set_is_kept_without_force_dst_by_both() {
    let mut pair = start("modparam(\"dispatcher\", \"force_dst\", 0)\n");
    for function in ["dst", "domain", "list"] {
        let message = plain("INVITE").with("X-Du", "sip:192.0.2.1");
        let answer = pair.same(&Question::new(function, 7, 4).in_message(message));
        assert_eq!(answer.all("True").count(), usize::from(function != "dst"));
    }
    pair.stop();
}
