//! The code does what the table of states in docs/health.md says, for any mode, state, thresholds and sequence of answers.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashMap;

use dispatcher::dest::Flags;
use dispatcher::health::mark::Thresholds;
use dispatcher::health::probing::{ProbingMode, answered};
use proptest::prelude::*;

/// After a good answer below and at the threshold, a bad one below and at.
type After = [String; 4];

/// The table, by mode and state.
fn table() -> HashMap<(i32, String), After> {
    let text = include_str!("../docs/health.md");
    let (_, from) = text.split_once("Read by tests/states.rs").unwrap();
    let rows = from.lines().skip_while(|line| !line.starts_with("|--")).skip(1);
    let row = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        let key = (cells.next().unwrap().parse().unwrap(), cells.next().unwrap());
        (key, cells.collect::<Vec<_>>().try_into().unwrap())
    };
    rows.take_while(|line| line.starts_with('|')).map(row).collect()
}

fn flags(letters: &str) -> Flags {
    let state = match letters.as_bytes()[0] {
        b'A' => Flags::default(),
        b'T' => Flags::TRYING,
        b'I' => Flags::INACTIVE,
        b'D' => Flags::DISABLED,
        other => panic!("{other}"),
    };
    if letters.ends_with('P') { state.with(Flags::PROBING) } else { state }
}

const STATES: [&str; 8] = ["AX", "AP", "TX", "TP", "IX", "IP", "DX", "DP"];

#[test]
fn the_table_has_a_row_for_each_state_that_a_mode_probes_and_no_other() {
    let table = table();
    for number in 0..4 {
        for state in STATES {
            let probed = ProbingMode::from_number(number).unwrap().probes(flags(state));
            assert_eq!(table.contains_key(&(number, state.to_owned())), probed, "mode {number}, {state}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_row_of_answers_goes_through_the_states_of_the_table(
        number in 0i32..4,
        start in prop::sample::select(&STATES[..]),
        options in prop::sample::select(&[0u32, 16, 32, 48][..]),
        failures in 1u32..6,
        replies in 1u32..6,
        answers in prop::collection::vec(any::<bool>(), 1..60),
    ) {
        let table = table();
        let mode = ProbingMode::from_number(number).unwrap();
        let thresholds = Thresholds { failures, replies };
        let (mut state, mut streak) = (flags(start).with(Flags(options)), 0);
        // What the documentation says: bad answers in a row while up, good ones in a row while down.
        let (mut letters, mut row) = (start.to_owned(), 0);
        for good in answers {
            let result = answered(mode, state, streak, good, thresholds);
            let after = table.get(&(number, letters.clone())).filter(|_| options & 32 == 0);
            let Some(after) = after else {
                prop_assert_eq!(result, None, "mode {}, {}", number, letters);
                break;
            };
            let counts = if letters.starts_with('I') { good } else { !good };
            row = if counts { row + 1 } else { 0 };
            let at = row >= if good { replies } else { failures };
            let expected = &after[usize::from(!good) * 2 + usize::from(at)];
            (state, streak) = result.unwrap();
            prop_assert_eq!(state.letters(), expected, "mode {}, {}, {}", number, letters, good);
            prop_assert_eq!(state.0 & 48, options);
            if expected[..1] != letters[..1] && (expected.starts_with('I') || letters.starts_with('I')) {
                row = 0;
            }
            letters = expected.clone();
        }
    }
}
