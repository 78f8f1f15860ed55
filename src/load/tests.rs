//! Calls through all that may happen to them.

use super::event::Effect;
use super::leg::Branch;
use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

const T: Transaction = Transaction::of(1, 1);
const FAILED: Failed = Failed { transaction: T, failures: Failures::NONE };

fn branch(number: u16) -> Branch {
    Branch::of(T, number)
}

fn invite(cseq: u16) -> Invite {
    Invite { number: cseq, ..Invite::default() }
}

/// The hash of the caller's tag. The number of an INVITE has the lower bits of it, which are 0: that is the CSeq number alone.
const CALLER: u16 = 0x3000;

fn news(event: Event, about: About, to: u16) -> News {
    News { event, about, tags: Tags { to, from: CALLER }, now: 9, timer: Timer::Same }
}

/// A call that was sent to the destination of record 5 on branch 0.
fn sent() -> Call {
    let mut call = Call::default();
    call.choose(5, invite(1));
    call.sent(5, branch(0), invite(1));
    call
}

/// The same, and these events happened, of what comes on branch 0 or of a request.
fn after(events: &[Event]) -> Call {
    let mut call = sent();
    for &event in events {
        let about = match event {
            Event::Answered | Event::Refused | Event::Lost => About::Branch(branch(0), 1),
            _ => About::Request,
        };
        call.on(&news(event, about, 7));
    }
    call
}

fn loads(call: &Call) -> Vec<u32> {
    call.counted().collect()
}

#[test]
fn an_answer_that_crosses_the_cancel_counts_again_until_its_bye() {
    let mut call = after(&[Event::Cancelled]);
    assert!(!call.counts());
    let effect = call.on(&news(Event::Answered, About::Branch(branch(0), 1), 7));
    assert_eq!((effect, loads(&call)), (Effect { fits: true, crossed: true }, vec![5]));
    assert!(call.on(&news(Event::Ended, About::Request, 7)).fits);
    assert!(!call.counts());
}

#[test]
fn a_refused_reinvite_leaves_the_call_up_but_a_lost_one_ends_it() {
    let up = after(&[Event::Answered]);
    for about in [About::OtherTransaction, About::NoTransaction] {
        let mut call = up.clone();
        assert!(!call.on(&news(Event::Refused, about, 7)).fits);
        assert!(!call.on(&news(Event::Cancelled, About::Request, 7)).fits);
        assert_eq!(call, up);
        assert!(call.on(&news(Event::Lost, about, 7)).fits);
        assert!(!call.counts());
    }
}

#[test]
fn the_final_answer_to_a_cancel_clears_the_memory() {
    assert!(after(&[Event::Cancelled, Event::Refused]).is_empty());
    assert!(!after(&[Event::Cancelled, Event::Cancelled, Event::Ended]).is_empty());
}

#[test]
fn being_seen_refreshes_only_a_confirmed_call() {
    assert_eq!(after(&[Event::Seen]).legs()[0].seen(), 0);
    let mut call = after(&[Event::Answered]);
    call.on(&News { now: 30, ..news(Event::Seen, About::Request, 7) });
    assert_eq!(call.legs()[0].seen(), 30);
}

#[test]
fn who_answers_elsewhere_does_not_count_here() {
    let mut call = sent();
    assert!(!call.on(&news(Event::Answered, About::Branch(branch(1), 1), 7)).fits);
    assert_eq!(call, sent());
    call.on(&news(Event::Refused, About::Branch(branch(0), 1), 8));
    assert!(call.is_empty());
}

#[test]
fn without_a_transaction_it_is_the_last_selection_that_answered() {
    let mut call = Call::default();
    call.choose(5, invite(1));
    call.script_ended(1, Unsent::Forwarded, |_| true);
    call.on(&news(Event::Answered, About::NoTransaction, 7));
    assert_eq!(call.legs()[0].phase(), Phase::Confirmed);
    let mut call = Call::default();
    call.choose(5, invite(1));
    call.script_ended(1, Unsent::Forwarded, |_| true);
    call.on(&news(Event::Refused, About::NoTransaction, 7));
    assert!(call.is_empty());
}

#[test]
fn what_the_script_forwards_counts_where_it_went_whether_it_is_answered_before_or_after() {
    for (to, expected) in [(Some(5), vec![5]), (Some(6), vec![6]), (None, vec![])] {
        for answered in [false, true] {
            let mut call = Call::default();
            call.choose(5, invite(1));
            if answered {
                call.on(&news(Event::Answered, About::NoTransaction, 7));
            }
            call.script_ended(1, Unsent::ForwardedTo(to), |_| true);
            assert_eq!(loads(&call), expected, "{to:?} {answered}");
            // Once only: another script of the call has ended.
            call.script_ended(2, Unsent::ForwardedTo(Some(9)), |_| true);
            assert_eq!(loads(&call), expected, "{to:?} {answered}");
            call.on(&news(Event::Answered, About::NoTransaction, 7));
            call.on(&news(Event::Ended, About::Request, 7));
            assert!(call.is_empty());
        }
    }
}

/// Without a transaction nothing tells that it came before; whether its script or the BYE's ends first.
#[test]
fn a_copy_of_an_answered_invite_ends_with_its_call() {
    for ended in [false, true] {
        let mut call = Call::default();
        call.choose(5, invite(1));
        call.script_ended(1, Unsent::Forwarded, |_| true);
        call.on(&news(Event::Answered, About::NoTransaction, 7));
        call.stay(5, invite(1));
        if ended {
            call.script_ended(1, Unsent::Forwarded, |_| true);
        }
        call.on(&news(Event::Answered, About::NoTransaction, 7));
        assert_eq!(loads(&call), [5]);
        assert!(call.on(&news(Event::Ended, About::Request, 7)).fits);
        assert!(call.is_empty());
    }
}

#[test]
fn what_was_chosen_and_not_sent_is_forgotten_when_the_script_ends() {
    let mut call = Call::default();
    call.choose(5, invite(1));
    call.script_ended(1, Unsent::Forgotten, |_| true);
    assert!(call.is_empty());
    let mut call = sent();
    call.script_ended(1, Unsent::Forgotten, |one| one != branch(0));
    assert!(call.is_empty());
}

#[test]
fn what_one_script_could_not_send_is_forgotten_and_not_what_the_next_invite_has_under_the_same_number() {
    let mut call = sent();
    call.choose(6, invite(2));
    call.sent(6, branch(0), invite(2));
    call.script_ended(1, Unsent::Forgotten, |one| one != branch(0));
    assert_eq!((call.legs().len(), loads(&call)), (1, vec![6]));
    // Nor what the next one has chosen and not sent yet.
    let mut call = sent();
    call.choose(6, invite(2));
    call.script_ended(1, Unsent::Forgotten, |_| true);
    assert_eq!(loads(&call), [6]);
    call.script_ended(2, Unsent::Forgotten, |_| true);
    assert!(!call.counts());
}

#[test]
fn a_copy_of_the_request_leaves_what_was_chosen_for_the_first_one() {
    let mut call = Call::default();
    call.choose(5, invite(1));
    assert!(!call.stay(5, invite(1)));
    call.script_ended(1, Unsent::OfAnother, |_| true);
    assert_eq!(loads(&call), [5]);
    let mut call = sent();
    assert!(call.stay(5, invite(1)));
    call.script_ended(1, Unsent::Forgotten, |_| true);
    assert_eq!(call, sent());
}

#[test]
fn a_late_answer_after_a_failover_takes_the_count_along() {
    let mut call = sent();
    call.choose(6, Invite { failed: Some(FAILED), ..invite(1) });
    call.sent(6, branch(1), invite(1));
    assert_eq!(loads(&call), [6]);
    call.on(&news(Event::Answered, About::Branch(branch(0), 1), 7));
    call.on(&news(Event::Refused, About::Branch(branch(1), 1), 8));
    assert_eq!(loads(&call), [5]);
}

#[test]
fn each_of_two_answers_that_a_gateway_forked_needs_a_bye_of_its_own() {
    let mut call = sent();
    for tag in [7, 8, 7, 8] {
        call.on(&news(Event::Answered, About::Branch(branch(0), 1), tag));
    }
    assert_eq!((call.legs().len(), loads(&call)), (2, vec![5]));
    assert!(!call.on(&news(Event::Ended, About::Request, 9)).fits);
    assert!(call.on(&news(Event::Ended, About::Request, 8)).fits);
    assert!(!call.on(&news(Event::Ended, About::Request, 8)).fits);
    assert_eq!(loads(&call), [5]);
    let mut call = sent();
    call.on(&news(Event::Answered, About::Branch(branch(0), 1), 7));
    call.on(&news(Event::Answered, About::NoTransaction, 8));
    // A BYE of the gateway: its tag is in From.
    let bye = News { tags: Tags { to: CALLER, from: 7 }, ..news(Event::Ended, About::Request, 0) };
    call.on(&bye);
    assert_eq!(loads(&call), [5]);
    // Again: it is not the other dialog that ends.
    assert!(!call.on(&bye).fits);
    call.on(&news(Event::Ended, About::Request, 8));
    assert!(!call.counts());
}

#[test]
fn a_bye_with_tags_of_no_dialog_ends_none_unless_they_are_not_known() {
    let wrong = [(99, CALLER), (7, 99), (99, 99), (0, CALLER), (7, 0), (CALLER, CALLER)];
    for (to, from) in wrong {
        for event in [Event::Ended, Event::Lost, Event::Gone] {
            let mut call = after(&[Event::Answered]);
            let forged = News { tags: Tags { to, from }, ..news(event, About::OtherTransaction, 0) };
            assert!(!call.on(&forged).fits, "{event:?} {to} {from}");
            assert_eq!(loads(&call), [5], "{event:?} {to} {from}");
        }
    }
    let mut call = sent();
    call.transaction_ended(T, invite(1), |_| true);
    assert!(call.on(&news(Event::Ended, About::Request, 99)).fits);
    assert!(call.is_empty());
}

#[test]
fn another_caller_does_not_end_what_rings_nor_keep_what_is_up() {
    for event in [Event::Ended, Event::Cancelled] {
        let mut call = sent();
        let other = News { tags: Tags { to: 7, from: 0x3001 }, ..news(event, About::Request, 0) };
        assert!(!call.on(&other).fits);
        assert_eq!(loads(&call), [5]);
        assert!(call.on(&news(event, About::Request, 7)).fits);
        assert!(!call.counts());
    }
    for (event, about) in [(Event::Seen, About::Request), (Event::Answered, About::OtherTransaction)] {
        let mut call = after(&[Event::Answered]);
        call.on(&News { now: 30, tags: Tags { to: 7, from: 0x3001 }, ..news(event, about, 0) });
        assert_eq!(call.legs()[0].seen(), 9);
        call.on(&News { now: 30, ..news(event, about, 7) });
        assert_eq!(call.legs()[0].seen(), 30);
    }
}

#[test]
fn what_is_refused_in_an_early_dialog_leaves_its_invite() {
    let mut call = sent();
    assert!(!call.on(&news(Event::Gone, About::OtherTransaction, 7)).fits);
    assert_eq!(loads(&call), [5]);
    let mut call = after(&[Event::Answered]);
    assert!(call.on(&news(Event::Gone, About::OtherTransaction, 7)).fits);
    assert!(!call.counts());
}

#[test]
fn the_next_dialog_of_a_fork_counts_after_the_bye_of_the_first_while_the_transaction_lives() {
    let mut call = after(&[Event::Answered, Event::Ended]);
    assert!(!call.counts() && !call.is_empty());
    // Its answer again, and its BYE.
    call.on(&news(Event::Answered, About::Branch(branch(0), 1), 7));
    assert!(!call.on(&news(Event::Ended, About::Request, 7)).fits);
    assert!(!call.counts());
    call.on(&news(Event::Answered, About::Branch(branch(0), 1), 8));
    assert_eq!(loads(&call), [5]);
    let both = call.clone();
    call.transaction_ended(T, invite(1), |_| true);
    assert_eq!((call.legs().len(), loads(&call)), (1, vec![5]));
    assert!(call.on(&news(Event::Ended, About::Request, 8)).fits);
    assert!(call.is_empty());
    // Without the transaction no answer brings it back.
    let mut call = both;
    call.on(&news(Event::Ended, About::Request, 8));
    assert!(!call.on(&news(Event::Answered, About::NoTransaction, 9)).fits);
    assert!(!call.counts());
    call.transaction_ended(T, invite(1), |_| true);
    assert!(call.is_empty());
}

#[test]
fn a_late_answer_counts_on_its_branch_where_the_server_finds_no_transaction_that_it_has_answered() {
    let mut call = after(&[Event::Answered]);
    call.sent(6, branch(1), invite(1));
    call.on(&news(Event::Cancelled, About::Request, 0));
    call.given_up(T, invite(1), |one| one == branch(1));
    call.on(&news(Event::Ended, About::Request, 7));
    assert!(!call.counts());
    // On a branch that there is not, and the same answer again.
    assert!(!call.on(&news(Event::Answered, About::Late(2), 9)).fits);
    call.on(&news(Event::Answered, About::Late(0), 7));
    assert!(!call.counts());
    assert!(call.on(&news(Event::Answered, About::Late(1), 8)).crossed);
    assert!(call.on(&news(Event::Answered, About::Late(0), 9)).fits);
    assert_eq!(
        {
            let mut loads = loads(&call);
            loads.sort();
            loads
        },
        [5, 6]
    );
    call.on(&news(Event::Ended, About::Request, 8));
    call.on(&news(Event::Ended, About::Request, 9));
    assert!(!call.counts());
    call.transaction_ended(T, invite(1), |_| true);
    assert!(call.is_empty());
}

#[test]
fn an_answer_that_nobody_reported_is_known_when_the_transaction_ends() {
    let mut call = sent();
    call.transaction_ended(T, invite(1), |one| one == branch(0));
    assert_eq!(call.legs()[0].phase(), Phase::Confirmed);
    let mut call = sent();
    call.transaction_ended(T, invite(1), |_| false);
    assert!(call.is_empty());
    let mut call = sent();
    call.transaction_ended(Transaction::of(8, 8), invite(1), |_| false);
    assert_eq!(loads(&call), [5]);
}

#[test]
fn what_a_suspended_request_was_to_get_is_forgotten_with_its_transaction() {
    let mut call = Call::default();
    call.choose(5, invite(2));
    call.transaction_ended(T, invite(1), |_| false);
    assert_eq!(loads(&call), [5]);
    call.transaction_ended(T, invite(2), |_| false);
    assert!(call.is_empty());
}

#[test]
fn an_earlier_invite_of_the_same_caller_counts_no_more_but_a_spiral_does() {
    let mut call = sent();
    call.choose(6, invite(2));
    assert_eq!(loads(&call), [6]);
    let mut call = sent();
    call.choose(6, invite(1));
    assert_eq!(loads(&call), [5, 6]);
}

#[test]
fn an_earlier_invite_of_another_caller_counts_until_its_own_end() {
    let mut call = sent();
    let second = invite(Invite::number(2, 77));
    let other = Transaction::of(2, 2);
    call.choose(6, second);
    call.sent(6, Branch::of(other, 0), second);
    assert_eq!(loads(&call), [5, 6]);
    let mut one = call.clone();
    one.transaction_cancelled(T, invite(1));
    assert_eq!(loads(&one), [6]);
    one.transaction_cancelled(other, second);
    assert!(!one.counts());
    call.on(&news(Event::Answered, About::Branch(branch(0), 1), 7));
    call.on(&news(Event::Refused, About::Branch(Branch::of(other, 0), second.number), 8));
    assert_eq!(loads(&call), [5]);
    // What was chosen and not sent, when its caller gives up.
    let mut call = Call::default();
    call.choose(5, second);
    call.transaction_cancelled(T, invite(1));
    assert_eq!(loads(&call), [5]);
    call.transaction_cancelled(T, second);
    assert!(!call.counts());
}

#[test]
fn the_leg_that_means_least_gives_way_when_there_are_too_many() {
    let mut call = sent();
    for record in 0..40 {
        call.choose(record, Invite { failed: Some(FAILED), ..invite(1) });
        call.sent(record, branch(record as u16 % 31), invite(1));
    }
    assert!(call.legs().len() <= super::call::MOST);
    assert_eq!(loads(&call).last(), Some(&39));
}

/// One branch in the plain account of the property test.
struct Sent {
    record: u32,
    pending: bool,
    dialogs: HashSet<u16>,
}

#[derive(Debug, Clone)]
enum Step {
    Send(u32),
    Answer(usize, u16),
    Refuse(usize),
    Bye(usize, u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u32..3).prop_map(Step::Send),
        (0usize..6, 1u16..4).prop_map(|(at, tag)| Step::Answer(at, tag)),
        (0usize..6).prop_map(Step::Refuse),
        (0usize..6, 1u16..4).prop_map(|(at, tag)| Step::Bye(at, tag)),
    ]
}

proptest! {
    /// It counts at a destination exactly while a branch there may be answered or a dialog there is up. (A tag is of one
    /// branch here, as no two user agents choose the same.)
    #[test]
    fn a_call_counts_exactly_where_its_branches_are(steps in prop::collection::vec(step(), 0..40)) {
        let mut call = Call::default();
        let mut model: Vec<Sent> = Vec::new();
        for step in steps {
            match step {
                Step::Send(record) if model.len() < 5 => {
                    let on = branch(model.len() as u16);
                    call.choose(record, invite(1));
                    call.sent(record, on, invite(1));
                    model.push(Sent { record, pending: true, dialogs: HashSet::new() });
                }
                Step::Answer(at, tag) if at < model.len() => {
                    let tag = tag + 10 * at as u16;
                    // Once it was refused, or all its dialogs are over, nothing more comes.
                    if model[at].pending || !model[at].dialogs.is_empty() {
                        model[at].pending = false;
                        model[at].dialogs.insert(tag);
                        call.on(&news(Event::Answered, About::Branch(branch(at as u16), 1), tag));
                    }
                }
                Step::Refuse(at) if at < model.len() && model[at].pending => {
                    model[at].pending = false;
                    call.on(&news(Event::Refused, About::Branch(branch(at as u16), 1), 0));
                }
                Step::Bye(at, tag) if at < model.len() => {
                    let tag = tag + 10 * at as u16;
                    if model[at].dialogs.remove(&tag) {
                        call.on(&news(Event::Ended, About::Request, tag));
                    }
                }
                _ => {}
            }
            let counts = |one: &&Sent| one.pending || !one.dialogs.is_empty();
            let expected: HashSet<u32> = model.iter().filter(counts).map(|one| one.record).collect();
            let counted: Vec<u32> = loads(&call);
            prop_assert_eq!(counted.len(), expected.len());
            prop_assert_eq!(counted.into_iter().collect::<HashSet<_>>(), expected);
        }
    }
}

/// Transactions have short numbers, and two INVITEs of a call may have the same.
#[test]
fn next_invite_counts_though_its_branch_has_the_number_of_an_earlier_one() {
    let mut call = sent();
    assert!(call.stay(5, invite(2)));
    call.sent(5, branch(0), invite(2));
    assert_eq!(loads(&call), [5]);
    // The end of the first transaction is none of the second's.
    call.given_up(T, invite(1), |_| true);
    call.transaction_ended(T, invite(1), |_| false);
    call.script_ended(1, Unsent::Forgotten, |_| false);
    assert_eq!(loads(&call), [5]);
    call.transaction_ended(T, invite(2), |_| false);
    assert!(call.is_empty());
}

#[test]
fn what_is_heard_of_an_earlier_invite_is_nothing_to_the_next_though_their_branches_have_one_number() {
    let mut call = sent();
    call.choose(6, invite(2));
    call.sent(6, branch(0), invite(2));
    let both = call.clone();
    assert_eq!((call.legs().len(), loads(&call)), (2, vec![6]));
    // The first one is refused at last.
    call.on(&news(Event::Refused, About::Branch(branch(0), 1), 7));
    assert_eq!((call.legs().len(), loads(&call)), (1, vec![6]));
    // Or answered.
    let mut call = both.clone();
    assert!(call.on(&news(Event::Answered, About::Branch(branch(0), 1), 7)).crossed);
    assert_eq!(loads(&call), [5, 6]);
    // Or a script unsets it, in the route for its failure or for its reply.
    for about in [About::Failed(T, 1), About::Branch(branch(0), 1)] {
        let mut call = both.clone();
        call.on(&news(Event::Unset, about, 7));
        assert_eq!(loads(&call), [6], "{about:?}");
        call.on(&news(Event::Unset, About::Failed(T, 2), 7));
        assert!(!call.counts());
    }
    // And it was sent to the first destination only by the first one.
    let failed = Invite { failed: Some(FAILED), ..invite(2) };
    assert_eq!(both.sent_before(failed).collect::<Vec<_>>(), [6]);
}
