//! A flood of calls fills the shared memory; when it is over, everything works again at once.

use std::time::Duration;

use serde_json::json;

use crate::calls::assert_no_drift;
use crate::support::{Agent, Call, Kamailio, eventually};

/// Sent before an answer is awaited: what fits the server's receive buffer.
const BATCH: usize = 50;
/// The issue of calls goes on until this many in a row were refused.
const REFUSED: usize = 2_000;
const NEW: usize = 1_000;
/// "A peak of calls is given back within a minute" (docs/running.md).
const MINUTE: Duration = Duration::from_secs(60);
/// One chunk of calls in each of the 256 shards, which stays ready for the next ones.
const READY: i64 = 256 * 64 * 40;

/// No transactions, whose memory would hide that of the calls.
const ROUTE: &str = r#"
request_route {
	if (is_method("BYE")) { ds_load_update(); sl_send_reply("200", "OK"); exit; }
	if (!is_method("INVITE")) exit;
	if (!ds_select_dst("100", "10")) { sl_send_reply("404", "No destination"); exit; }
	forward();
	sl_send_reply("200", "OK");
}
"#;

fn list(turn: usize) -> String {
    let old = (0..4).map(|n| format!("100 sip:127.200.0.{}:5060 0 0 duid=gw{n}\n", n + 1));
    old.chain((0..200).map(|n| format!("7 sip:10.{turn}.0.{n} 0 0 duid=d{turn}-{n}\n"))).collect()
}

/// Sends an INVITE for each, and says how many were admitted.
fn place(agent: &mut Agent, calls: &mut [Call]) -> Vec<bool> {
    let mut admitted = Vec::new();
    for batch in calls.chunks_mut(BATCH) {
        batch.iter_mut().for_each(|call| agent.send(&call.invite()));
        admitted.extend(batch.iter().map(|call| agent.answer(call, "INVITE").status() == Some(200)));
    }
    admitted
}

fn end(agent: &mut Agent, calls: &mut [Call]) {
    for batch in calls.chunks_mut(BATCH) {
        batch.iter_mut().for_each(|call| agent.send(&call.bye()));
        batch.iter().for_each(|call| assert_eq!(agent.answer(call, "BYE").status(), Some(200)));
    }
}

#[test]
fn server_takes_calls_and_changes_at_once_after_a_flood_and_has_its_memory_back_within_a_minute() {
    let mut server = Kamailio::builder()
        .workers(2)
        .shm_megabytes(4)
        .fast_allocator()
        .without_tm()
        .list(list(0))
        .route(ROUTE)
        .start();
    let before = server.shm_used();
    let mut agent = server.agent();
    let (mut calls, mut refused) = (Vec::new(), 0);
    while refused < REFUSED {
        let mut next: Vec<_> = (0..BATCH).map(|_| agent.call()).collect();
        let admitted = place(&mut agent, &mut next);
        refused = if admitted.contains(&true) { 0 } else { refused + BATCH };
        calls.extend(next.into_iter().zip(admitted).filter_map(|(call, admitted)| admitted.then_some(call)));
    }
    println!("{} calls fill {} bytes", calls.len(), server.shm_used() - before);
    assert!(calls.len() > 10_000, "{} calls", calls.len());
    assert_eq!(server.total_load(), calls.len() as i64);

    end(&mut agent, &mut calls);
    let mut new: Vec<_> = (0..NEW).map(|_| agent.call()).collect();
    let admitted = place(&mut agent, &mut new).into_iter().filter(|&admitted| admitted).count();
    assert_eq!((admitted, server.total_load()), (NEW, NEW as i64));
    for turn in 1..4 {
        server.write_list(&list(turn));
        server.rpc("dispatcher.reload", json!([])).expect("a reload after the flood");
        server
            .rpc("dispatcher.add", json!([9, format!("sip:10.9.0.{turn}")]))
            .expect("an add after the flood");
    }
    end(&mut agent, &mut new);
    assert_no_drift(&server);
    eventually("the memory of the flood is back", MINUTE, || server.shm_used() < before + READY);
    server.assert_healthy();
    server.stop();
}
