//! Arguments as scripts write them: in quotes, as variables, put together.

use crate::calls::with;
use crate::support::{Agent, Kamailio};

const LIST: &str = "1 sip:127.0.1.1:5060\n2 sip:127.0.2.1:5060\n";

/// Each way to say the same, by its number.
const ROUTE: &str = r#"
request_route {
	if (!is_method("INVITE")) exit;
	$var(set) = 2;
	$var(text) = "2";
	$var(alg) = 4;
	$var(uri) = "sip:127.0.2.1:5060";
	$var(found) = -9;
	switch ($hdr(X-Way)) {
		case "0": $var(found) = ds_select_dst("2", "4"); break;
		case "1": $var(found) = ds_select_dst($var(set), 4); break;
		case "2": $var(found) = ds_select_dst("$var(text)", $var(alg)); break;
		case "3": $var(found) = ds_select_dst($var(set), $var(alg), 1 + 1); break;
		case "4": $var(found) = ds_select_routes("9=4;" + $var(text) + "=4", "d"); break;
		case "5": $var(found) = ds_is_active($var(set), $var(uri)); break;
		case "6": $var(found) = ds_is_from_list($var(set), 3, "sip:127.0." + $var(text) + ".1"); break;
		case "7": $var(found) = ds_mark_addr("a" + "p", $var(set), $var(uri)); break;
		case "8": $var(found) = ds_oc_set_attrs($var(set), $var(uri), 30, 1000, 1); break;
		case "9": $var(found) = ds_list_exists($var(set)); break;
	}
	append_to_reply("X-Found: $var(found)\r\n");
	sl_send_reply("200", "OK");
}
"#;

fn found(agent: &mut Agent, way: usize) -> String {
    let mut call = with(agent.call(), "X-Way", &way.to_string());
    agent.place(&mut call).header("X-Found").unwrap().to_owned()
}

#[test]
fn constants_variables_and_expressions_mean_the_same() {
    let server = Kamailio::builder().list(LIST).route(ROUTE).start();
    let mut agent = server.agent();
    for way in 0..10 {
        assert_eq!(found(&mut agent, way), "1", "way {way}:\n{}", server.log());
    }
    server.stop();
}
