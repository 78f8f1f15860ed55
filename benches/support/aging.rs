//! Servers with a past.
//!
//! Nearly all of the cost of a selection may be the host's allocator, and `qm` is ten times slower while it has no small free
//! blocks. So each server is aged first, in the same way: a table is filled and every other entry taken out. After that each
//! does only what is measured of it.

use crate::servers::Kamailio;
use crate::servers::server_config::Builder;
use std::time::Duration;

/// Entries of the table.
const ENTRIES: u32 = 40_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a script may loop.
pub const MOST_ROUNDS: u32 = 1_000_000;

const ROUTE: &str = r#"request_route {
	if (is_method("OPTIONS") && $rU == "age") {
		$var(i) = 0;
		while ($var(i) < $(hdr(X-Entries){s.int})) { $sht(age=>$var(i)) = "0123456789012345678901234567890123456789"; $var(i) = $var(i) + 1; }
		while ($var(i) > 0) { $var(i) = $var(i) - 2; $sht(age=>$var(i)) = $null; }
		sl_send_reply("200", "Aged");
		exit;
	}
"#;

/// Starts a server with this routing, and ages it.
pub fn start(builder: Builder, route: &str) -> Kamailio {
    let server = builder
        .module("htable")
        .modparam("modparam(\"htable\", \"htable\", \"age=>size=12;\")")
        .globals(&format!("max_while_loops={MOST_ROUNDS}"))
        .route(&route.replacen("request_route {\n", ROUTE, 1))
        .start();
    let mut agent = server.agent();
    let mut call = agent.call();
    call.uri = format!("sip:age@{}", server.address());
    agent.send(&call.within("OPTIONS").with("X-Entries", ENTRIES.to_string()));
    let answer = agent.receive(PATIENCE).expect("an answer");
    assert_eq!(answer.status(), Some(200), "{}", server.log());
    server
}
