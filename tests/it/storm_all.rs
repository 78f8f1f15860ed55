//! All at once, at eight workers of UDP and eight of TCP: calls of all fates, the list replaced and reloaded, every RPC command
//! with right and with wrong arguments, gateways that answer probes and do not. When it is over nothing counts, and shared
//! memory is back at its level.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::branches::{server, transactions};
use crate::calls::assert_no_drift;
use crate::odd_messages::Random;
use crate::storm::replace;
use crate::storm_branches::{Answers, Peers, REMEMBERED, TIDY, call_until, gateways, long, together};
use crate::support::{Behaviour, Gateways, Kamailio, Probed, Rpc, eventually, until};

const UDP_CALLERS: u64 = 12;
const TCP_CALLERS: u64 = 8;
const OPERATORS: u64 = 3;

/// The gateways of the calls, in set 100. Nobody touches these, so that a call always has one.
const STEADY: usize = 2;
/// These answer probes and do not, in turn.
const SHAKY: std::ops::Range<usize> = STEADY..4;
/// These are in some of the lists only, each time with other attributes, and operators change and remove them.
const PASSING: std::ops::Range<usize> = 4..8;
/// Gateways of set 200, which are probed from the start.
const PROBED: usize = 40;
/// The set that operators add to and remove from as they like.
const OWN: i64 = 300;
const OWN_GATEWAYS: usize = 30;

/// All but `load_audit`, which runs all the time.
const COMMANDS: [&str; 13] = [
    "add",
    "update",
    "remove",
    "set_state",
    "set_duid_state",
    "list",
    "explain",
    "hash",
    "oclist",
    "stats",
    "ping_active",
    "version",
    "reload",
];

/// In percent of what it was.
const SHM_SLACK: i64 = 5;

/// The list number so and so; 0 is the whole.
fn list(gateways: &Gateways, probed: &Probed, number: usize) -> String {
    let line = |n: usize, attrs: &str| format!("100 {} 0 0 duid=gw{n};maxload=400{attrs}\n", gateways.uri(n));
    let there = |n: &usize| number == 0 || (number + n) % 3 != 0;
    let attrs = format!(";weight={};v={number}", number % 50);
    let mut lines: Vec<String> = (0..SHAKY.end).map(|n| line(n, "")).collect();
    lines.extend(PASSING.filter(there).map(|n| line(n, &attrs)));
    lines.extend(
        (0..PROBED).filter(there).map(|n| format!("200 {} 8 0 duid=p{n}{attrs}\n", probed.uri_of(n))),
    );
    lines.push(format!("{OWN} {} 0 0 duid=own0\n", own(0)));
    if number % 2 == 1 {
        lines.reverse();
    }
    lines.concat()
}

fn own(n: usize) -> String {
    format!("sip:127.0.0.1:{}", 40_000 + n)
}

/// What a command must answer.
#[derive(Clone, Copy)]
enum Due {
    Done,
    /// An error that begins like this.
    Refused(&'static str),
    /// Done, or this where somebody else has changed the sets meanwhile.
    DoneOr(&'static str),
}

const NOT_UPDATED: &str = "Updating dispatcher dst failed: no such destination";
const NOT_REMOVED: &str = "Removing dispatcher dst failed: no such destination";
const NO_STATE: &str = "State Update Failed";
const NO_GROUP: &str = "Destination Group Not Found";
const NO_NUMBER: &str = "set 'x' is not a whole number";

/// How often each command was done and refused.
type Tally = BTreeMap<&'static str, [usize; 2]>;

struct Operator<'a> {
    rpc: Rpc,
    gateways: &'a Gateways,
    random: Random,
    tally: Tally,
}

impl Operator<'_> {
    fn work(mut self, end: Instant) -> Tally {
        while Instant::now() < end {
            let (command, params, due) = if self.random.below(4) == 0 { self.wrong() } else { self.right() };
            let answer = self.rpc.call(&format!("dispatcher.{command}"), params.clone());
            let fits = match (due, &answer) {
                (Due::Done | Due::DoneOr(_), Ok(_)) => true,
                (Due::Refused(text) | Due::DoneOr(text), Err(error)) => error.message.starts_with(text),
                _ => false,
            };
            assert!(fits, "{command} {params}: {answer:?}");
            self.tally.entry(command).or_default()[usize::from(answer.is_err())] += 1;
        }
        self.tally
    }

    fn right(&mut self) -> (&'static str, Value, Due) {
        let random = &mut self.random;
        let (own_uri, n) = (own(random.below(OWN_GATEWAYS)), PASSING.start + random.below(PASSING.len()));
        let (uri, duid) = (self.gateways.uri(n), format!("gw{n}"));
        let (set, any_uri, any_duid) = match random.below(2) {
            0 => (OWN, &own_uri, random.of(&["own0", "all", "gw4"])),
            _ => (100, &uri, &*duid),
        };
        let state = random.of(&["a", "i", "d", "t", "ap", "ip", "tp"]);
        let attrs = format!("duid={duid};maxload=400;weight={}", random.below(100));
        match random.below(15) {
            0 => ("add", json!([OWN, own_uri, 0, random.below(9), "weight=5;maxload=7"]), Due::Done),
            1 => {
                let params = json!([set, any_uri, random.of(&[-1, 0, 8]), random.of(&[-1, 0, 5])]);
                ("update", params, Due::DoneOr(NOT_UPDATED))
            }
            2 => ("update", json!([100, uri, -1, -1, attrs]), Due::DoneOr(NOT_UPDATED)),
            3 => ("remove", json!([set, any_uri]), Due::DoneOr(NOT_REMOVED)),
            4 => ("set_state", json!([state, set, any_uri]), Due::DoneOr(NO_STATE)),
            5 => ("set_duid_state", json!([state, set, any_duid]), Due::DoneOr(NO_STATE)),
            6 => ("list", json!([]), Due::Done),
            7 => ("list", json!([random.of(&["short", "full"]), set, 1, 5]), Due::DoneOr(NO_GROUP)),
            8 => ("explain", json!([100, random.of(&[0, 4, 7, 8, 10]), "alice"]), Due::Done),
            9 => ("hash", json!([8, "alice", "example.com"]), Due::Done),
            10 => ("oclist", json!([200]), Due::Done),
            11 => ("stats", json!([200, random.below(PROBED), 10]), Due::Done),
            12 => ("ping_active", json!([random.of(&[0, 1, 1, 1])]), Due::Done),
            13 => ("version", json!([]), Due::Done),
            _ => ("reload", json!([]), Due::Done),
        }
    }

    fn wrong(&mut self) -> (&'static str, Value, Due) {
        let text = "\"; {}\r\n%s%n\u{1}";
        let all = [
            ("add", json!([]), "Usage: dispatcher.add"),
            ("add", json!(["x", own(0)]), NO_NUMBER),
            ("add", json!([OWN, text]), "Adding dispatcher dst failed: "),
            ("add", json!([OWN, own(0), 0, 0, "duid=\"a"]), "Adding dispatcher dst failed: "),
            ("update", json!([OWN]), "Usage: dispatcher.update"),
            ("update", json!([OWN, text]), NOT_UPDATED),
            ("update", json!([99, own(0)]), NOT_UPDATED),
            ("remove", json!([]), "Usage: dispatcher.remove"),
            ("remove", json!([99, own(0)]), NOT_REMOVED),
            ("set_state", json!(["a"]), "Usage: dispatcher.set_state"),
            ("set_state", json!(["?", OWN, "all"]), "Unknown State Value"),
            ("set_state", json!(["a", 99, "all"]), NO_STATE),
            ("set_duid_state", json!(["a", "x", "all"]), NO_NUMBER),
            ("set_duid_state", json!(["a", OWN, text]), NO_STATE),
            ("list", json!(["full", 99]), NO_GROUP),
            ("list", json!([text, "x"]), NO_NUMBER),
            ("explain", json!([100, 99]), "There is no algorithm 99"),
            ("explain", json!([99, 10]), NO_GROUP),
            ("hash", json!([8]), "Usage: dispatcher.hash"),
            ("oclist", json!([99]), NO_GROUP),
            ("oclist", json!([]), "Usage: dispatcher.oclist"),
            ("stats", json!(["x"]), NO_NUMBER),
            ("load_audit", json!(["x"]), "from 'x' is not a whole number"),
            ("ping_active", json!(["x"]), "0|1 'x' is not a whole number"),
        ];
        let at = self.random.below(all.len());
        let (command, params, error) = all.into_iter().nth(at).unwrap();
        (command, params, Due::Refused(error))
    }
}

/// Gateways that answer probes and do not, in turn: each time until those of a few rounds have come.
fn flap(probed: &Probed, up: &AtomicBool, end: Instant) {
    let behaviours = [Behaviour::Silent, Behaviour::Answer(200, "OK"), Behaviour::Answer(503, "In Turn")];
    for behaviour in behaviours.into_iter().cycle().take_while(|_| Instant::now() < end) {
        probed.behave(behaviour);
        up.store(behaviour == Behaviour::Answer(200, "OK"), Ordering::Relaxed);
        probed.forget();
        until(TIDY, || probed.count("OPTIONS") >= 2 * PROBED || Instant::now() >= end);
    }
}

/// Shared memory in use, with the allocator's own.
fn shm(rpc: &Rpc) -> i64 {
    rpc.call("core.shmmem", json!([])).unwrap()["real_used"].as_i64().unwrap()
}

/// What a storm was.
#[derive(Debug, Default)]
struct Storm {
    udp: Answers,
    tcp: Answers,
    commands: Tally,
    lists: usize,
    audits: usize,
    /// Most shared memory.
    peak: i64,
}

fn storm(peers: Peers<'_>, probed: &Probed, up: &AtomicBool, end: Instant) -> Storm {
    let Peers { server, gateways, voicemail } = peers;
    let mut storm = Storm::default();
    std::thread::scope(|scope| {
        let call = |agent, seed| scope.spawn(move || call_until(agent, peers, seed, end));
        let udp: Vec<_> = (1..=UDP_CALLERS).map(|seed| call(server.agent(), seed)).collect();
        let tcp: Vec<_> = (1..=TCP_CALLERS).map(|seed| call(server.tcp_agent(), 100 + seed)).collect();
        let operate = |seed| {
            let (rpc, random) = (server.rpc_handle(), Random::new(seed));
            let operator = Operator { rpc, gateways, random, tally: Tally::new() };
            scope.spawn(move || operator.work(end))
        };
        let operators: Vec<_> = (1..=OPERATORS).map(operate).collect();
        let lists = scope.spawn(|| change_the_list(server, gateways, probed, end));
        scope.spawn(|| flap(probed, up, end));
        let rpc = server.rpc_handle();
        while Instant::now() < end {
            assert_no_drift(server);
            storm.audits += 1;
            storm.peak = storm.peak.max(shm(&rpc));
            gateways.forget_but(REMEMBERED);
            voicemail.forget_received();
        }
        storm.udp = together(udp.into_iter().map(|caller| caller.join().unwrap()));
        storm.tcp = together(tcp.into_iter().map(|caller| caller.join().unwrap()));
        for (command, [done, refused]) in operators.into_iter().flat_map(|one| one.join().unwrap()) {
            let sum = storm.commands.entry(command).or_default();
            *sum = [sum[0] + done, sum[1] + refused];
        }
        storm.lists = lists.join().unwrap();
    });
    storm
}

/// Says how many lists there were.
fn change_the_list(server: &Kamailio, gateways: &Gateways, probed: &Probed, end: Instant) -> usize {
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        replace(&server.list_file(), &list(gateways, probed, number));
        server.rpc("dispatcher.reload", json!([])).unwrap();
    }
    number
}

impl Storm {
    #[track_caller]
    fn assert_it_was_one(&self, seconds: usize) {
        println!("{self:?}");
        for answers in [&self.udp, &self.tcp] {
            let (good, all) = (answers.get(&200).copied().unwrap_or(0), answers.values().sum::<usize>());
            assert!(good > 3 * seconds && good * 4 > all, "no storm of calls: {answers:?}");
            assert!(!answers.contains_key(&404), "a place was lost: {answers:?}");
        }
        let few = |name: &&str| self.commands.get(*name).is_none_or(|&[done, _]| done < seconds);
        let few: Vec<_> = COMMANDS.iter().filter(|name| few(name)).collect();
        assert!(few.is_empty(), "too few of {few:?}");
        assert!(self.lists > seconds && self.audits > seconds);
    }
}

#[test]
fn all_at_once_leaves_nothing_behind() {
    let up = Arc::new(AtomicBool::new(true));
    let shaky = Arc::clone(&up);
    let gateways = gateways(PASSING.end, move |n| !SHAKY.contains(&n) || shaky.load(Ordering::Relaxed));
    let (voicemail, probed) = (Gateways::answering(1, 200).until_acknowledged(), Probed::start());
    let probing = "modparam(\"dispatcher\", \"ds_ping_interval\", 1)\n\
                   modparam(\"dispatcher\", \"ds_probing_mode\", 1)\n\
                   modparam(\"dispatcher\", \"ds_ping_fr_timer\", 900)";
    let mut server = server(8, list(&gateways, &probed, 0)).tcp().modparam(probing).start();
    let rpc = server.rpc_handle();
    let workers = |kind| rpc.processes().iter().filter(|(_, name)| name.starts_with(kind)).count();
    assert_eq!((workers("udp receiver"), workers("tcp receiver")), (8, 8));
    // Transactions of probes stay in memory for seconds: both measures are without.
    let ping = |on: i32| rpc.call("dispatcher.ping_active", json!([on])).unwrap();
    ping(0);
    eventually("the first probes are over", TIDY, || transactions(&server) == 0);
    let before = shm(&rpc);
    ping(1);

    let length = long();
    let end = Instant::now() + length;
    let peers = Peers { server: &server, gateways: &gateways, voicemail: &voicemail };
    let storm = storm(peers, &probed, &up, end);
    server.assert_healthy();
    storm.assert_it_was_one(length.as_secs() as usize);
    let audit = rpc.call("dispatcher.load_audit", json!([])).unwrap();
    let [probes, failed] = ["PROBES", "FAILED_PROBES"].map(|name| audit[name].as_u64().unwrap());
    println!("{probes} probes, of which {failed} failed");
    assert!(probes > 5 * length.as_secs() && failed > length.as_secs());

    replace(&server.list_file(), &list(&gateways, &probed, 0));
    rpc.call("dispatcher.reload", json!([])).unwrap();
    ping(0);
    eventually("nothing counts", TIDY, || assert_no_drift(&server).calls == 0);
    // As long as the storm was, if that is more.
    let is_back = until(length.max(3 * TIDY), || shm(&rpc) * 100 <= before * (100 + SHM_SLACK));
    let (after, later) = (shm(&rpc), end.elapsed());
    println!("shared memory: {before}, {} at the peak, {after} {later:?} after the end", storm.peak);
    assert!(is_back, "shared memory: {after}, and {before} at the start");
    assert_eq!(assert_no_drift(&server).calls, 0);
    server.stop();
}
