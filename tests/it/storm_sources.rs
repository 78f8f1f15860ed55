//! The source is edited and read again and again, operators say something else at the same time, and calls go on: what serves
//! in the end is the source, with the states that operators gave to what stayed.
//!
//! An exact rule needs an order where one matters. So in the storm nobody takes away the destinations whose states an
//! operator sets, and nobody sets the state of those that come and go; of these two kinds each operator has his own. Between
//! two storms one thing after the other is done to any of them, and each time the list must be what the model says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::calls::{
    self, NO_FAILOVER, all_over, assert_no_drift, hang_up_all, loads, obedient, reload_by_script, up,
};
use crate::odd_messages::Random;
use crate::source_kinds::Source;
use crate::source_model::{Model, Row};
use crate::storm_edits::call_and_hang_up;
use crate::support::database::Engine;
use crate::support::{Agent, Call, Gateways, Kamailio, Rpc, eventually};

const STORMS: usize = 8;
const STORM: Duration = Duration::from_millis(1200);
const OPERATORS: usize = 3;
/// Nobody takes these away or disables them, so that a call always has one.
const STEADY: usize = 8;
/// Those of each operator that stay.
const LASTING: usize = 6;
/// Those of each operator that come and go.
const COMING: usize = 9;
const OWN: usize = LASTING + COMING;
const ALL: usize = STEADY + OPERATORS * OWN;
/// Calls that are up all the time, at any of them.
const HELD: usize = 60;
/// Things done one after the other between two storms.
const QUIET: usize = 15;
const TIDY: Duration = Duration::from_secs(60);
const SHM_SLACK: i64 = 64 * 1024;
const STATES: [(&str, &str); 4] = [("d", "DX"), ("a", "AX"), ("ip", "IP"), ("t", "TX")];

fn comes_and_goes(n: usize) -> bool {
    n >= STEADY && (n - STEADY) % OWN >= LASTING
}

/// What an operator may be told: that what he means is not there just now.
fn ask(rpc: &Rpc, method: &str, params: Value, may_be_gone: bool) {
    if let Err(error) = rpc.call_within(TIDY, method, params.clone()) {
        assert!(
            may_be_gone && error.message.ends_with("no such destination"),
            "{method} {params}: {error:?}"
        );
    }
}

fn reload(rpc: &Rpc) {
    let answer = rpc.call_within(TIDY, "dispatcher.reload", json!([]));
    assert_eq!(answer, Ok(json!("Ok. Dispatcher successfully reloaded.")));
}

fn said(uri: &str, row: &Row, with_flags: bool) -> Value {
    json!([100, uri, if with_flags { row.flags } else { -1 }, row.priority, row.attrs])
}

/// Changes some of the source.
fn edit(model: &mut Model, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let n = random.below(ALL);
        let mut row = Row::random(n, random);
        if comes_and_goes(n) && model.source.contains_key(&n) && random.below(2) == 0 {
            model.source.remove(&n);
            continue;
        }
        row.flags = if comes_and_goes(n) { row.flags } else { 0 };
        model.source.insert(n, row);
    }
}

/// One operator in the storm; gives the states that his lasting ones have after it.
fn operate(
    rpc: &Rpc,
    gateways: &Gateways,
    random: &mut Random,
    first: usize,
    over: &dyn Fn() -> bool,
) -> (Vec<(usize, &'static str)>, usize) {
    let (mut states, mut done) = (Vec::new(), 0);
    while !over() {
        let n = first + random.below(OWN);
        let (uri, row) = (gateways.uri(n), Row::random(n, random));
        match (comes_and_goes(n), random.below(3)) {
            (true, 0) => ask(rpc, "dispatcher.add", said(&uri, &row, true), false),
            (true, 1) => ask(rpc, "dispatcher.remove", json!([100, uri]), true),
            (true, _) => ask(rpc, "dispatcher.update", said(&uri, &row, true), true),
            (false, 0) => ask(rpc, "dispatcher.update", said(&uri, &row, false), false),
            (false, _) => {
                let (state, letters) = random.of(&STATES);
                ask(rpc, "dispatcher.set_state", json!([state, 100, uri]), false);
                states.push((n, letters));
            }
        }
        done += 1;
    }
    (states, done)
}

/// One thing, to any but the steady ones; the model says what is to come of it.
fn do_one_thing(
    server: &Kamailio,
    source: &Source,
    gateways: &Gateways,
    model: &mut Model,
    random: &mut Random,
) -> String {
    let rpc = server.rpc_handle();
    let n = STEADY + random.below(ALL - STEADY);
    let (uri, row) = (gateways.uri(n), Row::random(n, random));
    match (random.below(6), model.serving.contains_key(&n)) {
        (0, _) => {
            reload(&rpc);
            model.reload();
            "a reload".into()
        }
        (1, _) => {
            edit(model, random);
            source.write(server, gateways, &model.source);
            "an edit of the source".into()
        }
        (2, true) => {
            ask(&rpc, "dispatcher.remove", json!([100, uri]), false);
            model.serving.remove(&n);
            format!("remove gw{n}")
        }
        (3, true) => {
            ask(&rpc, "dispatcher.update", said(&uri, &row, true), false);
            model.say(n, row);
            format!("update gw{n}")
        }
        (_, true) => {
            let (state, letters) = random.of(&STATES);
            ask(&rpc, "dispatcher.set_state", json!([state, 100, uri]), false);
            model.serving.get_mut(&n).unwrap().state = letters;
            format!("set_state {state} gw{n}")
        }
        (_, false) => {
            ask(&rpc, "dispatcher.add", said(&uri, &row, true), false);
            model.say(n, row);
            format!("add gw{n}")
        }
    }
}

/// Everybody at once, for a while; then a reload, after which the model knows what serves.
fn storm(
    server: &Kamailio,
    source: &Source,
    gateways: &Gateways,
    model: &mut Model,
    seed: usize,
) -> [usize; 3] {
    let until = Instant::now() + STORM;
    let over = &|| Instant::now() >= until;
    let by_script = matches!(source, Source::File);
    let rpc = server.rpc_handle();
    let (books, done, edits, reloads) = std::thread::scope(|scope| {
        let operators: Vec<_> = (0..OPERATORS)
            .map(|operator| {
                let (rpc, mut random) = (rpc.clone(), Random::new((seed * 100 + operator) as u64));
                let first = STEADY + operator * OWN;
                scope.spawn(move || operate(&rpc, gateways, &mut random, first, over))
            })
            .collect();
        let others = by_script.then(|| {
            let mut agent = server.agent();
            scope.spawn(move || reload_on(&mut agent, over))
        });
        let (mut random, mut edits) = (Random::new(seed as u64 + 7777), 0);
        while !over() {
            edit(model, &mut random);
            source.write(server, gateways, &model.source);
            reload(&rpc);
            edits += 1;
        }
        let (mut books, mut done) = (Vec::new(), 0);
        for operator in operators {
            let (states, count) = operator.join().unwrap();
            books.extend(states);
            done += count;
        }
        (books, done, edits, others.map_or(0, |others| others.join().unwrap()))
    });
    reload(&rpc);
    for (n, letters) in books {
        model.serving.get_mut(&n).unwrap().state = letters;
    }
    // Their states are as their flags were said all the time.
    model.serving.retain(|&n, _| !comes_and_goes(n));
    model.reload();
    [done, edits, reloads]
}

/// `ds_reload()` in a worker, again and again.
fn reload_on(agent: &mut Agent, over: &dyn Fn() -> bool) -> usize {
    let mut reloads = 0;
    while !over() {
        assert_eq!(reload_by_script(agent), 200);
        reloads += 1;
    }
    reloads
}

/// One thing after the other, each with its list; and then as the next storm needs it.
fn quiet(server: &Kamailio, source: &Source, gateways: &Gateways, model: &mut Model, random: &mut Random) {
    model.assert_served(server, gateways, "a storm");
    assert!(assert_no_drift(server).calls >= HELD as i64);
    for _ in 0..QUIET {
        let what = do_one_thing(server, source, gateways, model, random);
        model.assert_served(server, gateways, &what);
    }
    let rpc = server.rpc_handle();
    reload(&rpc);
    model.reload();
    for (&n, one) in &mut model.serving {
        let (state, letters) = one.row.state();
        if comes_and_goes(n) && one.state != letters {
            ask(&rpc, "dispatcher.set_state", json!([state, 100, gateways.uri(n)]), false);
            one.state = letters;
        }
    }
    model.assert_served(server, gateways, "the quiet time");
}

#[track_caller]
fn source_and_operators_agree_after_every_storm(engine: Option<Engine>) {
    let gateways = obedient(ALL);
    let mut model = Model { source: (0..ALL).map(|n| (n, Row::first(n))).collect(), ..Model::default() };
    let first = model.source.clone();
    // A process for each who asks: what they say is done at the same time.
    let params = "modparam(\"tm\", \"wt_timer\", 500)\nmodparam(\"dispatcher\", \"reload_delta\", 0)\n\
                  modparam(\"jsonrpcs\", \"dgram_workers\", 4)";
    let builder = calls::plain(8, "", NO_FAILOVER).modparam(params);
    let (source, builder) = Source::new(engine, builder, &gateways, &first);
    let mut server = builder.start();
    let rpc = server.rpc_handle();
    reload(&rpc);
    model.reload();
    model.assert_served(&server, &gateways, "the start");
    let mut agent = server.agent();
    let mut held: Vec<Call> = (0..HELD).map(|_| up(&mut agent)).collect();
    let loads_before = loads(&server, ALL);
    let before = server.shm_used();

    let mut random = Random::new(1);
    let ended = AtomicBool::new(false);
    let over = &|| ended.load(Ordering::Relaxed);
    let (sums, calls) = std::thread::scope(|scope| {
        // The callers end also when something below fails.
        let _end = End(&ended);
        let callers = [server.agent(), server.agent()]
            .map(|mut agent| scope.spawn(move || call_and_hang_up(&mut agent, over)));
        let mut sums = [0; 3];
        for seed in 0..STORMS {
            let counts = storm(&server, &source, &gateways, &mut model, seed);
            sums = std::array::from_fn(|at| sums[at] + counts[at]);
            quiet(&server, &source, &gateways, &mut model, &mut random);
        }
        ended.store(true, Ordering::Relaxed);
        (sums, callers.map(|caller| caller.join().unwrap()).iter().sum::<usize>())
    });
    let [done, edits, reloads] = sums;
    println!("{done} changes by RPC, {edits} of the source, {reloads} reloads by scripts, {calls} calls");
    assert!(done > 200 && edits > 2 * STORMS && calls > 100, "{done}, {edits} and {calls} are no storm");

    server.assert_healthy();
    assert_eq!(assert_no_drift(&server).calls, HELD as i64);
    model.source = first;
    source.write(&server, &gateways, &model.source);
    reload(&rpc);
    model.reload();
    model.assert_served(&server, &gateways, "the first source again");
    assert_eq!(loads(&server, ALL), loads_before);
    eventually("shared memory is back at its level", TIDY, || server.shm_used() < before + SHM_SLACK);
    hang_up_all(&mut agent, &mut held);
    all_over(server);
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn file_and_operators_agree_after_every_storm() {
    source_and_operators_agree_after_every_storm(None);
}

#[test]
fn database_and_operators_agree_after_every_storm() {
    source_and_operators_agree_after_every_storm(Some(Engine::Sqlite));
}
