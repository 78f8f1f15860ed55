use super::*;
use proptest::prelude::*;

const RULES: Rules = Rules {
    row: 5,
    window: 30,
    min_calls: 10,
    share: 50,
    time: 30,
    max_time: 300,
    trial: 3,
    retry_after_max: 60,
    most: 30,
};
const NO_ROW: Rules = Rules { row: 0, ..RULES };
const NO_SHARE: Rules = Rules { share: 0, ..RULES };
const BAD: Outcome = Outcome::Failed { wait: None };

/// A destination, and the epoch in which calls are sent now.
#[derive(Default)]
struct One {
    is: Ejection,
    epoch: u32,
    sent: u64,
}

impl One {
    /// A call of somebody to somebody, sent now.
    fn call(&mut self, outcome: Outcome, now: u64, rules: &Rules) -> Follows {
        self.sent += 1;
        self.call_of(outcome, People::of(self.sent, self.sent), now, rules)
    }

    fn call_of(&mut self, outcome: Outcome, people: People, now: u64, rules: &Rules) -> Follows {
        let told = Told { outcome, rang: false, epoch: self.epoch, people, code: 503 };
        self.is.told(told, now * SECOND, rules)
    }

    fn put_out(&mut self, why: Why, now: u64) -> u32 {
        self.epoch += 1;
        self.is.put_out(why, self.epoch, now * SECOND, &RULES)
    }

    fn try_out(&mut self, now: u64) {
        self.epoch += 1;
        self.is.try_out(self.epoch, now * SECOND);
    }

    fn put_back(&mut self, now: u64) {
        self.epoch += 1;
        self.is.put_back(self.epoch, now * SECOND);
    }
}

#[test]
fn failures_in_a_row_put_it_out_and_one_good_call_ends_the_row() {
    let mut one = One::default();
    for round in 0..3 {
        for _ in 0..4 {
            assert_eq!(one.call(BAD, round, &NO_SHARE), Follows::Nothing);
        }
        assert_eq!(one.call(Outcome::Good, round, &NO_SHARE), Follows::Nothing);
        assert_eq!(one.call(Outcome::Good, round, &NO_SHARE), Follows::Nothing);
    }
    let all: Vec<_> = (0..5).map(|_| one.call(BAD, 3, &NO_SHARE)).collect();
    assert_eq!(all[4], Follows::Out(Why::Row(5)));
    assert!(all[..4].iter().all(|follows| *follows == Follows::Nothing));
}

#[test]
fn a_row_counts_however_slowly_it_grows() {
    let mut one = One::default();
    let all: Vec<_> = (0..5).map(|hour| one.call(BAD, hour * 3600, &RULES)).collect();
    assert_eq!(all.last(), Some(&Follows::Out(Why::Row(5))));
}

#[test]
fn neither_one_caller_nor_one_callee_puts_it_out() {
    for people in [|n: u64| People::of(7, n), |n| People::of(n, 7), |n| People::of(n % 2, n)] {
        let mut one = One::default();
        for n in 0..200 {
            assert_eq!(one.call_of(BAD, people(n), n / 10, &RULES), Follows::Nothing);
        }
    }
}

#[test]
fn the_share_counts_in_the_window_and_from_the_least_number_of_calls_on() {
    let mut one = One::default();
    let mut follows = Vec::new();
    for n in 0..10 {
        follows.push(one.call(if n % 2 == 1 { BAD } else { Outcome::Good }, n, &NO_ROW));
    }
    assert_eq!(follows[9], Follows::Out(Why::Share(10, 5)));
    assert!(follows[..9].iter().all(|follows| *follows == Follows::Nothing));
    // The good ones of before are forgotten with time.
    let mut one = One::default();
    (0..90).for_each(|_| _ = one.call(Outcome::Good, 0, &NO_ROW));
    let follows: Vec<_> = (0..10).map(|_| one.call(BAD, 20, &NO_ROW)).collect();
    assert!(follows.iter().all(|follows| *follows == Follows::Nothing));
    assert_eq!(one.call(BAD, 31, &NO_ROW), Follows::Out(Why::Share(11, 11)));
    assert_eq!(one.is.window(80 * SECOND, &NO_ROW), (0, 0));
}

#[test]
fn it_stands_out_with_twice_the_share_of_the_others() {
    assert!(stands_out((10, 5), (0, 0)) && stands_out((10, 5), (100, 25)) && stands_out((10, 10), (100, 50)));
    assert!(!stands_out((10, 5), (100, 26)) && !stands_out((10, 10), (9, 9)));
}

#[test]
fn each_time_it_is_out_for_longer_and_good_behaviour_shortens_that() {
    let mut one = One::default();
    assert_eq!(one.put_out(Why::Row(5), 0), 30);
    assert_eq!([29, 30].map(|now| one.is.is_over(now * SECOND)), [false, true]);
    for (times, seconds) in [(2, 60), (3, 90), (4, 120)] {
        one.try_out(1000);
        assert_eq!(one.call(BAD, 1000, &RULES), Follows::Again);
        assert_eq!((one.put_out(Why::Trial, 1000), one.is.times()), (seconds, times));
    }
    (0..20).for_each(|_| _ = one.put_out(Why::Trial, 1000));
    assert_eq!(one.put_out(Why::Trial, 1000), 300);
    one.put_back(2000);
    let before = one.is.times();
    one.put_out(Why::Row(5), 2000 + 300 * 10);
    assert_eq!(one.is.times(), before - 10 + 1);
    one.put_back(10_000);
    assert_eq!(one.put_out(Why::Row(5), 1_000_000), 30);
}

#[test]
fn what_asks_to_be_left_alone_is_as_long_as_is_honoured_and_its_number_of_times_stays() {
    let asks = |wait| Outcome::Failed { wait: Some(wait) };
    let mut one = One::default();
    assert_eq!(one.call(asks(20), 0, &RULES), Follows::Out(Why::RetryAfter(20)));
    assert_eq!(one.call(asks(3600), 0, &RULES), Follows::Out(Why::RetryAfter(60)));
    assert_eq!(one.call(asks(20), 0, &Rules { retry_after_max: 0, ..RULES }), Follows::Nothing);
    assert_eq!((one.put_out(Why::RetryAfter(20), 0), one.is.times()), (20, 0));
    assert_eq!((one.is.left(0), one.is.left(19_500_000)), (Some(20), Some(1)));
}

#[test]
fn a_trial_is_passed_by_good_calls_alone_and_one_failure_ends_it() {
    let mut one = One::default();
    one.put_out(Why::Row(5), 0);
    assert_eq!(one.call(BAD, 1, &RULES), Follows::Nothing, "out, it is left alone");
    let before = one.epoch;
    one.try_out(30);
    let late = Told { outcome: BAD, rang: false, epoch: before, people: People::default(), code: 408 };
    assert_eq!(one.is.told(late, 31 * SECOND, &RULES), Follows::Nothing, "it was sent before");
    assert_eq!(one.call(Outcome::Unknown, 31, &RULES), Follows::OneMore);
    assert_eq!(one.call(Outcome::Rang, 31, &RULES), Follows::Nothing);
    let again =
        Told { outcome: Outcome::Good, rang: true, epoch: one.epoch, people: People::default(), code: 0 };
    assert_eq!(one.is.told(again, 32 * SECOND, &RULES), Follows::Nothing, "the same call");
    assert_eq!(one.call(Outcome::Good, 31, &RULES), Follows::Nothing);
    assert_eq!(one.call(Outcome::Good, 31, &RULES), Follows::Back);
}

#[test]
fn calls_of_a_trial_of_which_nothing_is_heard_may_come_again() {
    let mut one = One::default();
    one.put_out(Why::Row(5), 0);
    one.try_out(30);
    one.call(Outcome::Good, 30, &RULES);
    assert_eq!([89, 90].map(|now| one.is.is_late(now * SECOND, &RULES)), [false, true]);
    assert_eq!(one.is.renew(90 * SECOND, &RULES), 2);
    assert!(!one.is.is_late(91 * SECOND, &RULES));
}

#[test]
fn after_the_word_of_somebody_else_it_begins_anew() {
    let mut one = One::default();
    (0..4).for_each(|_| _ = one.call(BAD, 0, &RULES));
    one.epoch += 1;
    one.is.follow(one.epoch, false);
    assert_eq!(one.call(BAD, 0, &RULES), Follows::Nothing, "the row begins anew");
    one.put_out(Why::Row(5), 0);
    one.is.is_told = true;
    one.is.follow(one.epoch, true);
    assert!(matches!(one.is.phase(), Phase::Out(_)) && one.is.is_told);
    one.is.follow(one.epoch + 1, false);
    assert_eq!((one.is.phase(), one.is.times(), one.is.is_told), (Phase::In, 0, false));
}

#[test]
fn the_ceiling_is_rounded_down_but_one_of_two_may_go() {
    let all = [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (6, 1), (7, 2), (10, 3), (3000, 900)];
    assert!(all.iter().all(|(lines, most)| ceiling(*lines, 30) == *most));
    assert_eq!([ceiling(4, 0), ceiling(4, 100), ceiling(1, 100), ceiling(4, 900)], [1, 4, 1, 4]);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Call(u8, u8),
    Late(u8),
    Look,
    Word,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..4, 0u8..6).prop_map(|(outcome, who)| Step::Call(outcome, who)),
        1 => (0u8..4).prop_map(Step::Late),
        2 => Just(Step::Look),
        1 => Just(Step::Word),
    ]
}

proptest! {
    /// Whatever comes, and however clocks differ: it goes out only by a rule, stays out until its time is over, comes back only by good calls,
    /// never for longer than the bound; and a word ends it at once, after which only new failures count.
    #[test]
    fn any_outcomes(steps in prop::collection::vec((step(), 0u64..20_000_000, 0u64..3_000_000), 1..400)) {
        let rules = Rules { min_calls: 6, trial: 2, ..RULES };
        let mut one = One::default();
        let (mut clock, mut fresh, mut good) = (0u64, 0, 0);
        for (step, later, behind) in steps {
            clock += later / 4;
            // Another process looks at its clock, and is late.
            let now = clock.saturating_sub(behind);
            let phase = one.is.phase();
            let outcome = |number| match number {
                0 => Outcome::Good,
                1 => Outcome::Rang,
                2 => Outcome::Unknown,
                _ => BAD,
            };
            match step {
                Step::Call(kind, who) => {
                    let told = Told {
                        outcome: outcome(kind), rang: false, epoch: one.epoch,
                        people: People::of(who.into(), who.into()), code: 503,
                    };
                    fresh += u32::from(kind > 2);
                    good += u32::from(kind < 2);
                    match one.is.told(told, now, &rules) {
                        Follows::Nothing => {}
                        Follows::Out(_) => {
                            prop_assert!(phase == Phase::In && fresh >= 3, "{fresh} failures");
                            one.epoch += 1;
                            let seconds = one.is.put_out(Why::Row(5), one.epoch, now, &rules);
                            prop_assert!((30..=300).contains(&seconds));
                        }
                        Follows::Again => {
                            prop_assert!(kind > 2 && matches!(phase, Phase::Trial { .. }), "{:?}", phase);
                            one.epoch += 1;
                            let seconds = one.is.put_out(Why::Trial, one.epoch, now, &rules);
                            prop_assert!((60..=300).contains(&seconds));
                        }
                        Follows::Back => {
                            prop_assert!(good >= 2 && matches!(phase, Phase::Trial { .. }), "{:?}", phase);
                            one.epoch += 1;
                            one.is.put_back(one.epoch, now);
                            fresh = 0;
                        }
                        Follows::OneMore => prop_assert!(matches!(phase, Phase::Trial { .. }), "{:?}", phase),
                    }
                }
                Step::Late(kind) => {
                    let told = Told {
                        outcome: outcome(kind), rang: false, epoch: one.epoch.wrapping_sub(1),
                        people: People::default(), code: 503,
                    };
                    prop_assert_eq!(one.is.told(told, now, &rules), Follows::Nothing);
                }
                Step::Look => {
                    if let Phase::Out(until) = phase {
                        prop_assert_eq!(one.is.is_over(now), now >= until);
                    }
                    if one.is.is_over(now) {
                        one.epoch += 1;
                        one.is.try_out(one.epoch, now);
                        good = 0;
                    }
                    if one.is.is_late(now, &rules) {
                        prop_assert!((1..=2).contains(&one.is.renew(now, &rules)));
                    }
                }
                Step::Word => {
                    one.epoch += 1;
                    one.is.follow(one.epoch, false);
                    prop_assert_eq!((one.is.phase(), one.is.times()), (Phase::In, 0));
                    fresh = 0;
                }
            }
        }
    }
}
