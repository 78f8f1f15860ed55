//! Thousands of odd messages through our module and the stock one: each selection, and all that a script sees of it, must be the
//! same. Deliberate differences are in [`crate::differences`].

use crate::odd_messages::{Random, odd};
use crate::selections::{Question, ROUTE, list, uri_of};
use crate::side_by_side::{Answer, Pair};
use crate::support::Message;

/// Hashes, turns, the first, latency, and two numbers that are none; 10 for what is no INVITE.
const ALGORITHMS: &[i64] = &[0, 1, 2, 3, 4, 5, 7, 8, 13, 77, -1];
/// Without latency, whose list has entries twice in the stock module with `use_default`.
const SPARING: &[i64] = &[0, 1, 2, 3, 4, 5, 7, 8, 77, -1];

/// Messages for each line of states, in each test.
const MESSAGES: u32 = 400;

/// What is inactive or disabled beside the states of before: (state, set, place in the list file).
const STATES: &[&[(&str, i64, i64)]] = &[
    &[],
    &[("i", 2, 1), ("d", 3, 1), ("i", 7, 2), ("ip", 7, 5), ("t", 7, 6), ("i", 8, 3)],
    &[("i", 8, 4), ("i", 8, 5), ("d", 8, 6), ("i", 8, 7), ("i", 9, 8), ("i", 9, 7)],
];

fn parameters(flags: i32, use_default: i32) -> String {
    let mode = (flags * 3 + use_default * 2 + 2) % 8;
    let set = |name, value| format!("modparam(\"dispatcher\", \"{name}\", {value})\n");
    let mut text = set("flags", flags) + &set("use_default", use_default) + &set("xavp_dst_mode", mode);
    text += &set("xavp_ctx_mode", i32::from(flags == 3));
    match flags {
        // Without one, algorithm 7 has nothing to hash.
        0 => {}
        1 => text += "modparam(\"dispatcher\", \"hash_pvar\", \"$fU-$hdr(Key)\")\n",
        _ => text += "modparam(\"dispatcher\", \"hash_pvar\", \"$hdr(Key)\")\n",
    }
    if use_default == 1 {
        text += "modparam(\"dispatcher\", \"ds_default_socket\", \"udp:SECOND\")\n";
    }
    text
}

#[track_caller]
fn same(pair: &mut Pair, question: &Question, message: Message) -> Answer {
    let message = question.in_message(message);
    let (mut ours, mut stock) = pair.ask(&message);
    // Codes of a false answer tell the cause in ours: see the differences.
    for answer in [&mut ours, &mut stock] {
        answer.0.retain(|line| !line.starts_with("Code: "));
    }
    assert!(
        ours == stock,
        "{question:?} of\n{}ours\n{:#?}\nthe stock module's\n{:#?}",
        String::from_utf8_lossy(&message.bytes()),
        ours.0,
        stock.0
    );
    ours
}

/// A tel URI whose host was replaced has a port but no host: of that, the stock module hashes memory beside an empty text.
fn is_sip(message: &Message) -> bool {
    message.uri().is_some_and(|uri| uri.to_ascii_lowercase().starts_with("sip"))
}

fn any_selection_is_the_same(flags: i32, use_default: i32) {
    let mut pair = Pair::start(&list(), &parameters(flags, use_default), ROUTE);
    let algorithms = if use_default == 1 { SPARING } else { ALGORITHMS };
    let mut random = Random::new((flags * 2 + use_default) as u64);
    let mut selected = 0;
    for (phase, states) in STATES.iter().enumerate() {
        for (state, set, n) in *states {
            pair.set_state(state, *set, &uri_of(*set, *n));
        }
        for n in 0..MESSAGES {
            let question = Question::any(&mut random, algorithms);
            let mut message = odd(&mut random, phase as u32 * MESSAGES + n);
            while question.replaces_more_than_once() && !is_sip(&message) {
                message = odd(&mut random, phase as u32 * MESSAGES + n);
            }
            selected += same(&mut pair, &question, message).all("True").count();
        }
    }
    assert!(selected > MESSAGES as usize * 3 / 2, "only {selected} selections were true");
    pair.stop();
}

macro_rules! with_each {
    ($($name:ident: $flags:literal, $use_default:literal;)+) => {
        $(#[test] fn $name() { any_selection_is_the_same($flags, $use_default); })+
    };
}

with_each! {
    any_selection_is_the_same_without_flags: 0, 0;
    any_selection_is_the_same_hashing_users: 1, 0;
    any_selection_is_the_same_with_failover: 2, 0;
    any_selection_is_the_same_with_failover_hashing_users: 3, 0;
    any_selection_is_the_same_sparing_the_last: 0, 1;
    any_selection_is_the_same_sparing_the_last_hashing_users: 1, 1;
    any_selection_is_the_same_sparing_the_last_with_failover: 2, 1;
    any_selection_is_the_same_sparing_the_last_with_failover_hashing_users: 3, 1;
}
