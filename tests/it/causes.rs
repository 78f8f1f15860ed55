//! Why a selection failed: the return codes that a script sees.

use serde_json::json;

use crate::calls::with;
use crate::support::{Agent, Kamailio};

const LIST: &str = "1 sip:127.0.1.1:5060 0 0 duid=a;maxload=1\n2 sip:127.0.2.1:5060\n2 sip:127.0.2.2:5060\n\
                    3 sip:127.0.1.3:5060 0 0 cps=1\n";

const ROUTE: &str = r#"
request_route {
	if (!is_method("INVITE")) exit;
	$var(rules) = $hdr(X-Rules);
	$var(mode) = $hdr(X-Mode);
	ds_select_routes("$var(rules)", "$var(mode)");
	append_to_reply("X-Cause: $rc $dsv(code) $dsv(reason) $dsv(flags)\r\n");
	# Only a call that is sent there takes a place.
	if ($du != $null) forward();
	sl_send_reply("200", "OK");
}
"#;

fn cause(agent: &mut Agent, rules: &str, mode: &str) -> String {
    let mut call = with(with(agent.call(), "X-Rules", rules), "X-Mode", mode);
    agent.place(&mut call).header("X-Cause").unwrap().to_owned()
}

#[test]
fn each_cause_has_a_code_and_words() {
    let limits = "modparam(\"dispatcher\", \"ds_limits\", 1)";
    let server = Kamailio::builder().list(LIST).modparam(limits).route(ROUTE).start();
    let mut agent = server.agent();
    assert_eq!(cause(&mut agent, "1=10", "d"), "1 <null> <null> <null>");
    assert_eq!(cause(&mut agent, "1=10", "d"), "-4 -4 no room <null>");
    // One a second: of a few in a row the next is refused, unless the machine stands still.
    for algorithm in [4, 10] {
        let rule = format!("3={algorithm}");
        let causes: Vec<_> = (0..10).map(|_| cause(&mut agent, &rule, "d")).collect();
        let over = causes.iter().filter(|cause| *cause == "-6 -6 over the rate <null>").count();
        assert!(
            over >= 5 && causes.iter().all(|cause| cause.starts_with("1 ") || cause.starts_with("-6 ")),
            "{causes:?}"
        );
        // It is nearer than no room.
        assert_eq!(cause(&mut agent, &format!("1=10;{rule};9=1"), "d"), "-6 -6 over the rate <null>");
    }
    assert_eq!(cause(&mut agent, "9=10", "d"), "-2 -2 no such set <null>");
    server.rpc("dispatcher.set_state", json!(["i", 2, "all"])).unwrap();
    assert_eq!(cause(&mut agent, "2=4", "d"), "-3 -3 none active <null>");
    assert_eq!(cause(&mut agent, "2=4", "what"), "-1 -1 error <null>");
    // Of several rules the one that came nearest tells.
    for rules in ["2=4;1=10", "1=10;2=4", "9=1;1=10;2=4"] {
        assert_eq!(cause(&mut agent, rules, "d"), "-4 -4 no room <null>");
    }
    assert_eq!(cause(&mut agent, "1=4", "d"), "1 <null> <null> <null>");
    server.stop();
}
