//! A script that calls the selecting function a request asks for, and reports all that a script can see of the selection; and
//! lists and requests for it.

use crate::odd_messages::Random;
use crate::support::Message;

/// `X-Do` names the function, `X-Set`, `X-Alg`, `X-Limit`, `X-Rules`, `X-Mode` are its arguments; `X-Walk` says how the
/// script goes on. `X-Down` is a destination of `X-Set` that goes down after the selection, `X-Du` a destination that
/// is set before.
pub const ROUTE: &str = r#"
request_route {
	$var(set) = $(hdr(X-Set){s.int});
	$var(alg) = $(hdr(X-Alg){s.int});
	$var(limit) = $(hdr(X-Limit){s.int});
	$var(do) = $hdr(X-Do);
	$var(rules) = "";
	$var(mode) = "";
	if (is_present_hf("X-Rules")) { $var(rules) = $hdr(X-Rules); $var(mode) = $hdr(X-Mode); }
	$var(rc) = -99;
	if (is_present_hf("X-Du")) $du = $hdr(X-Du);
	if (!is_present_hf("X-Limit")) {
		if ($var(do) == "dst") $var(rc) = ds_select_dst("$var(set)", "$var(alg)");
		else if ($var(do) == "domain") $var(rc) = ds_select_domain("$var(set)", "$var(alg)");
		else if ($var(do) == "list") $var(rc) = ds_select("$var(set)", "$var(alg)");
		else if ($var(do) == "routes") $var(rc) = ds_select_routes("$var(rules)", "$var(mode)");
	} else {
		if ($var(do) == "dst") $var(rc) = ds_select_dst("$var(set)", "$var(alg)", "$var(limit)");
		else if ($var(do) == "domain") $var(rc) = ds_select_domain("$var(set)", "$var(alg)", "$var(limit)");
		else if ($var(do) == "list") $var(rc) = ds_select("$var(set)", "$var(alg)", "$var(limit)");
		else if ($var(do) == "routes") $var(rc) = ds_select_routes("$var(rules)", "$var(mode)", "$var(limit)");
	}
	append_to_reply("X-Code: $var(rc)\r\n");
	if ($var(rc) > 0) append_to_reply("X-True: $var(rc)\r\n");
	append_to_reply("X-Sent: du=$du ru=$ru fs=$fs\r\n");
	append_to_reply("X-Count: $xavp(_dsctx_=>cnt)\r\n");
	$var(i) = 0;
	while ($var(i) < $branch(count)) {
		append_to_reply("X-Branch: $(branch(uri)[$var(i)]) $(branch(dst_uri)[$var(i)]) $(branch(send_socket)[$var(i)])\r\n");
		$var(i) = $var(i) + 1;
	}
	$var(i) = 0;
	while ($xavp(_dsdst_[$var(i)]=>uri) != $null) {
		$var(sock) = 0;
		if ($xavp(_dsdst_[$var(i)]=>sock) != $null) $var(sock) = 1;
		append_to_reply("X-Entry: $xavp(_dsdst_[$var(i)]=>uri) grp=$xavp(_dsdst_[$var(i)]=>grp) attrs=$xavp(_dsdst_[$var(i)]=>attrs) dstid=$xavp(_dsdst_[$var(i)]=>dstid) sock=$var(sock) $xavp(_dsdst_[$var(i)]=>socket) $xavp(_dsdst_[$var(i)]=>sockname)\r\n");
		$var(i) = $var(i) + 1;
	}
	if (is_present_hf("X-Down")) {
		jsonrpc_exec('{"jsonrpc":"2.0","method":"dispatcher.set_state","params":["i",$var(set),"$hdr(X-Down)"],"id":1}');
	}
	$var(walk) = "none";
	if (is_present_hf("X-Walk")) $var(walk) = $hdr(X-Walk);
	if ($var(walk) == "set-dst") { $var(rc) = ds_set_dst(); route(WHERE); }
	else if ($var(walk) == "set-domain") { $var(rc) = ds_set_domain(); route(WHERE); }
	$var(rc) = 1;
	while (is_present_hf("X-Walk") && $var(rc) > 0) {
		if ($var(walk) =~ "domain") $var(rc) = ds_next_domain();
		else $var(rc) = ds_next_dst();
		route(WHERE);
	}
	sl_send_reply("200", "OK");
}
route[WHERE] {
	$var(step) = "false";
	if ($var(rc) > 0) $var(step) = $_s($var(rc));
	append_to_reply("X-Then: $var(step) du=$du ru=$ru fs=$fs left=$xavp(_dsdst_=>uri)\r\n");
}
"#;

/// The sets of [`list`], and one that is not there.
pub const SETS: [i64; 7] = [1, 2, 3, 7, 8, 9, 55];

/// Sets of as many destinations as their number says: of ranked ones (3, 7) and of equals, with and without a socket of
/// their own, with all forms that the URI of a destination has.
pub fn list() -> String {
    let line = |set: i64, n: i64| {
        let priority = if set == 3 || set == 7 { n * 7 % 5 } else { 4 };
        let attrs = match n % 4 {
            0 => format!("duid=d{n};note={n};latency={}", 3 * n),
            1 => format!("duid=d{n};socket=udp:FIRST;latency=2"),
            2 => format!("duid=d{n};sockname=edge;socket=udp:FIRST"),
            _ if set == 8 => String::new(),
            _ => format!("duid=d{n};maxload=900000;weight=5;rweight=5"),
        };
        format!("{set} {} 0 {priority} {attrs}\n", uri_of(set, n))
    };
    SETS.iter().take(6).flat_map(|&set| (0..set).map(move |n| line(set, n))).collect()
}

/// The URI of a destination of [`list`].
pub fn uri_of(set: i64, n: i64) -> String {
    let address = format!("127.0.{set}.{}", n + 1);
    match (set, n) {
        (9, 0) => "sip:[::1]:5070".into(),
        (9, 1) => format!("sip:{address}"),
        (9, 2) => format!("sip:{address}:5061;transport=tcp"),
        (9, 3) => format!("sips:{address}"),
        (9, 4) => format!("SIP:{address}:5070"),
        (9, 5) => format!("sip:user@{address}:5070"),
        (9, 6) => format!("sip:{address}:5070;transport=udp;lr"),
        _ => format!("sip:{address}:5060"),
    }
}

/// What the script is to do.
#[derive(Debug, Clone)]
pub struct Question {
    pub function: &'static str,
    pub set: i64,
    pub alg: i64,
    pub rules: Option<(String, &'static str)>,
    pub limit: Option<i64>,
    pub walk: Option<&'static str>,
}

impl Question {
    pub fn new(function: &'static str, set: i64, alg: i64) -> Question {
        Question { function, set, alg, rules: None, limit: None, walk: None }
    }

    pub fn routes(rules: &str, mode: &'static str) -> Question {
        Question { rules: Some((rules.into(), mode)), ..Question::new("routes", 0, 0) }
    }

    pub fn limit(self, limit: i64) -> Question {
        Question { limit: Some(limit), ..self }
    }

    pub fn walk(self, walk: &'static str) -> Question {
        Question { walk: Some(walk), ..self }
    }

    /// Any question about these algorithms, where the two modules mean the same by it.
    pub fn any(random: &mut Random, algorithms: &[i64]) -> Question {
        let function = random.of(&["dst", "domain", "list", "routes"]);
        let mut one = Question::new(function, random.of(&SETS), random.of(algorithms));
        // A limit that several rules share: see the differences.
        let mut limits = &[None, Some(-1), Some(0), Some(1), Some(3), Some(100)][..];
        if function == "routes" {
            let rule = |random: &mut Random| {
                format!("{}={}", random.of(&SETS), random.of(algorithms).unsigned_abs())
            };
            let rules: Vec<_> = (0..=random.below(3)).map(|_| rule(random)).collect();
            if rules.len() > 1 {
                limits = &[None, Some(-1), Some(0), Some(100)];
            }
            let end = random.of(&["", ";"]);
            one.rules =
                Some((rules.join(";") + end, random.of(&["0", "d", "D", "1", "r", "R", "2", "x", "X"])));
        }
        one.limit = random.of(limits);
        one.walk =
            random.of(&[None, Some("next-dst"), Some("next-domain"), Some("set-dst"), Some("set-domain")]);
        one
    }

    /// Whether a rule finds the request URI as another rule left it.
    pub fn replaces_more_than_once(&self) -> bool {
        let rules = self.rules.as_ref();
        rules.is_some_and(|(rules, mode)| rules.matches('=').count() > 1 && ["1", "r", "R"].contains(mode))
    }

    /// The message with what is asked in it.
    pub fn in_message(&self, message: Message) -> Message {
        let mut message = message
            .with("X-Do", self.function)
            .with("X-Set", self.set.to_string())
            .with("X-Alg", self.alg.to_string());
        if let Some((rules, mode)) = &self.rules {
            message = message.with("X-Rules", rules.as_str()).with("X-Mode", *mode);
        }
        if let Some(limit) = self.limit {
            message = message.with("X-Limit", limit.to_string());
        }
        if let Some(walk) = self.walk {
            message = message.with("X-Walk", walk);
        }
        message
    }
}
