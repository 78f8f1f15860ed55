//! What a live call costs in shared memory.

use std::time::Duration;

use serde_json::json;

use crate::support::Kamailio;

const CALLS: usize = 100_000;
/// Sent before an answer is awaited: what fits the server's receive buffer.
const BATCH: usize = 100;

/// The whole of it: entries, buckets, what is kept ready for the next calls and the allocator's own overhead.
#[test]
fn a_live_call_costs_at_most_48_bytes_at_a_hundred_thousand() {
    let mut server = Kamailio::builder()
        .workers(2)
        .list(
            (0..30).map(|n| format!("100 sip:127.200.0.{}:5060 0 0 duid=gw{n}\n", n + 1)).collect::<String>(),
        )
        .route(
            "request_route {\n\
             \tif (!ds_select_dst(\"100\", \"10\")) { sl_send_reply(\"404\", \"No destination\"); exit; }\n\
             \tforward();\n\tsl_send_reply(\"200\", \"OK\");\n}\n",
        )
        .start();
    let used =
        |server: &Kamailio| server.rpc("core.shmmem", json!([])).unwrap()["real_used"].as_i64().unwrap();
    let mut agent = server.agent();
    let before = used(&server);
    let mut accepted = 0;
    for batch in 0..CALLS / BATCH {
        for call in 0..BATCH {
            // 36 bytes, as a UUID has.
            let call_id = format!("{:08x}-0000-4000-8000-{:012x}", batch, call);
            agent.send(&agent.call_with_id(&call_id).invite());
        }
        for _ in 0..BATCH {
            let answer = agent.receive(Duration::from_secs(5)).expect("an answer to each INVITE");
            assert_eq!(answer.status(), Some(200));
            accepted += 1;
        }
    }
    let per_call = (used(&server) - before) as f64 / f64::from(accepted);
    println!("shared memory a live call at {accepted}: {per_call:.1} bytes");
    assert_eq!(server.total_load(), CALLS as i64);
    assert!(per_call <= 48.0, "{per_call:.1} bytes a call");
    server.assert_healthy();
    server.stop();
}
