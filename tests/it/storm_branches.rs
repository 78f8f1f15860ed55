//! Calls of all fates at once, at eight workers: challenged, refused, forked, cancelled, answered by somebody else, taken by the
//! next gateway; while the list is reloaded and the calls are audited. When they are over nothing counts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::branches::{fork, server};
use crate::calls::{assert_no_drift, set, with};
use crate::odd_messages::Random;
use crate::support::{Agent, Gateways, Kamailio, Message, eventually};

/// How long a storm is; `STORM_SECONDS` makes it longer, by hand.
pub fn long() -> Duration {
    let seconds = std::env::var("STORM_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

const CALLERS: u64 = 6;
const GATEWAYS: usize = 5;
/// What tm needs to forget its transactions, and more.
pub const TIDY: Duration = Duration::from_secs(25);
/// Nothing more comes after this long.
const QUIET: Duration = Duration::from_secs(2);
/// Requests that gateways have still to know while the calls are under way.
pub const REMEMBERED: usize = 20_000;
const SHM_SLACK: i64 = 64 * 1024;

/// The first answer is what `X-Answer` says; whoever is asked again on another branch answers. Probes get an answer from
/// those that are up.
pub fn gateways(count: usize, up: impl Fn(usize) -> bool + Send + 'static) -> Gateways {
    Gateways::start(count, move |gateway, request| {
        let again = request.header("Via").is_some_and(|via| !via.contains(".0;") && !via.ends_with(".0"));
        match (request.method(), request.header("X-Answer")) {
            (Some("CANCEL"), _) => vec![487],
            (Some("INVITE"), Some(codes)) if !again => {
                codes.split(' ').filter_map(|code| code.parse().ok()).filter(|&code| code > 0).collect()
            }
            (Some("INVITE"), _) => vec![180, 200],
            (Some("OPTIONS"), _) if !up(gateway) => vec![],
            _ => vec![200],
        }
    })
    .until_acknowledged()
}

/// Final answers, and how often each came.
pub type Answers = BTreeMap<u16, usize>;

/// Of several callers.
pub fn together(all: impl IntoIterator<Item = Answers>) -> Answers {
    all.into_iter().flatten().fold(Answers::new(), |mut sum, (answer, count)| {
        *sum.entry(answer).or_default() += count;
        sum
    })
}

/// Whom a caller calls.
#[derive(Clone, Copy)]
pub struct Peers<'a> {
    pub server: &'a Kamailio,
    pub gateways: &'a Gateways,
    pub voicemail: &'a Gateways,
}

/// One call after the other until then. All of them are over at the end, also those that others have answered.
pub fn call_until(mut agent: Agent, peers: Peers<'_>, seed: u64, until: Instant) -> Answers {
    let (mut random, mut answers) = (Random::new(seed), Answers::new());
    while Instant::now() < until {
        *answers.entry(live(&mut agent, peers, &mut random)).or_default() += 1;
        end_the_rest(&mut agent, Duration::ZERO);
        agent.forget_waiting();
    }
    end_the_rest(&mut agent, QUIET);
    answers
}

/// One call from its INVITE to its end; gives its final answer.
fn live(agent: &mut Agent, peers: Peers<'_>, random: &mut Random) -> u16 {
    let Peers { server, gateways, voicemail } = peers;
    let answer = random.of(&["200", "180 200", "180", "486", "503", "407", "0"]);
    let mut call = with(agent.call(), "X-Answer", answer);
    set(&mut call, "X-Inv-Timer", "900");
    let next = match random.below(6) {
        0 => voicemail.uri(0),
        1 => gateways.uri(random.below(gateways.how_many())),
        2 => "list".into(),
        3 => "auth".into(),
        _ => String::new(),
    };
    if !next.is_empty() {
        set(&mut call, "X-Next", &next);
    } else if random.below(2) == 0 {
        set(&mut call, "X-Keep", "1");
    }
    match random.below(6) {
        0 => set(&mut call, "X-Phone", &voicemail.uri(0)),
        1 => set(&mut call, "X-All", "1"),
        _ => {}
    }
    agent.send(&call.invite());
    let first = agent.reply_to(&call, "INVITE", 180..=699);
    let ringing = first.status().is_some_and(|status| status < 200);
    if ringing && random.below(3) == 0 {
        if let (true, Some(gateway)) = (random.below(2) == 0, gateways.of_call(&call.id)) {
            fork(gateways, gateway, server, &call, "forked");
        }
        agent.send(&call.cancel());
    }
    let last = if ringing { agent.answer(&call, "INVITE") } else { first };
    let answered = last.status() == Some(200);
    if answered {
        call.learn(&last);
    }
    agent.send(&call.ack(&last));
    if answered {
        agent.send(&call.bye());
        agent.answer(&call, "BYE");
    }
    last.status().unwrap_or(0)
}

/// Ends what others have answered, too: each 200 is a dialog (RFC 3261 section 13.2.2.4).
fn end_the_rest(agent: &mut Agent, wait: Duration) {
    let is_answer = |m: &Message| m.status() == Some(200) && m.cseq().1 == "INVITE";
    while let Some(answer) = agent.receive_where(wait, is_answer) {
        let mut dialog = agent.call_with_id(answer.call_id());
        dialog.cseq = answer.cseq().0;
        dialog.from_tag = answer.tag("From").unwrap_or_default().into();
        dialog.learn(&answer);
        agent.send(&dialog.ack(&answer));
        dialog.cseq += 10;
        agent.send(&dialog.bye());
        agent.answer(&dialog, "BYE");
    }
}

#[test]
fn calls_of_all_fates_leave_nothing_behind() {
    let (gateways, voicemail) =
        (gateways(GATEWAYS, |_| true), Gateways::answering(1, 200).until_acknowledged());
    let list = gateways.list(100, "maxload=400");
    let server = server(8, &*list).start();
    let before = server.shm_used();
    let until = Instant::now() + long();
    let rpc = server.rpc_handle();
    let peers = Peers { server: &server, gateways: &gateways, voicemail: &voicemail };
    let answers = std::thread::scope(|scope| {
        let call = |seed| scope.spawn(move || call_until(peers.server.agent(), peers, seed, until));
        let callers: Vec<_> = (1..=CALLERS).map(call).collect();
        while Instant::now() < until {
            rpc.call("dispatcher.reload", json!([])).unwrap();
            assert_no_drift(&server);
            gateways.forget_but(REMEMBERED);
        }
        together(callers.into_iter().map(|caller| caller.join().unwrap()))
    });
    println!("final answers: {answers:?}");
    assert!(answers.values().sum::<usize>() > 100, "{answers:?} is no storm");
    assert!(!answers.contains_key(&404), "a place was lost: {answers:?}");
    eventually("nothing counts", TIDY, || assert_no_drift(&server).calls == 0);
    eventually("shared memory is back at its level", 3 * TIDY, || server.shm_used() < before + SHM_SLACK);
    server.stop();
}
