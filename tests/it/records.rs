//! The records of the failover list. The module makes them in shared memory itself: to the host they must be as its own.

use crate::support::server_config::Builder;
use crate::support::{Agent, Kamailio, net};

const FAILOVER: &str = "modparam(\"dispatcher\", \"flags\", 2)\n";

/// Selects twice, beside an xavp of the script's own, and writes all to the log.
const PRINT: &str = r#"
request_route {
	$xavp(own=>field) = "value";
	ds_select_dst("1", "10");
	ds_select_dst("2", "8");
	pv_xavp_print();
	sl_send_reply("200", "OK");
}
"#;

/// What a server has written of its xavps: their order, names with hashes, kinds and values. Addresses have names.
fn printed(stock: bool) -> Vec<String> {
    let [plain, edge] = [(); 2].map(|()| net::free_port(net::address()));
    let list = format!(
        "1 sip:127.0.0.1:5080 0 3 duid=one;weight=50\n\
         1 sip:127.0.0.1:5081 0 2 duid=two;socket=udp:{plain}\n\
         1 sip:127.0.0.1:5082 0 1 duid=three;sockname=edge\n\
         2 sip:127.0.0.1:5083\n"
    );
    let builder = Kamailio::builder().list(list).route(PRINT).modparam(FAILOVER);
    let builder = builder.modparam("modparam(\"dispatcher\", \"xavp_dst_mode\", 6)");
    let builder = builder.globals(&format!("listen=udp:{plain}\nlisten=udp:{edge} name \"edge\""));
    let server = if stock { builder.stock().start() } else { builder.start() };
    let mut asked = Asked::new(server);
    assert_eq!(asked.ask("any", ""), 200);
    let log = asked.server.stop().replace(&plain.to_string(), "PLAIN");
    let lines = log.lines().filter_map(|line| line.split_once("xavx_print_list_content(): "));
    let word = |word: &str| {
        word.split_once("0x").map_or_else(|| word.to_owned(), |(before, _)| format!("{before}ADDRESS"))
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    lines.map(|(_, text)| line(text)).collect()
}

#[test]
fn records_are_those_that_the_stock_module_makes() {
    let [ours, stock] = [false, true].map(printed);
    let there = |text: &str| ours.iter().any(|line| line.contains(text));
    assert!(["weight=50", "PLAIN", "edge", "dstid", "cnt", "vptr"].into_iter().all(there), "{ours:#?}");
    assert_eq!(ours, stock);
}

/// Selects so many times, and clears the list each time: as a whole, or record by record. The last one is left to the host,
/// which frees it after the answer.
const CLEAR: &str = r#"
request_route {
	$var(n) = $(rU{s.int});
	while ($var(n) > 0) {
		if (!ds_select_dst("1", "4")) { sl_send_reply("404", "No destination"); exit; }
		$var(n) = $var(n) - 1;
		if ($var(n) == 0) break;
		if ($var(n) mod 2 == 0) $xavp(_dsdst_[*]) = $null;
		else while (ds_next_dst()) $var(next) = $du;
		$xavp(_dsctx_[*]) = $null;
	}
	sl_send_reply("200", "OK");
}
"#;

fn start(size: usize, route: &str, fast: bool, more: impl Fn(Builder) -> Builder) -> Kamailio {
    let line = |n| format!("1 sip:127.1.{}.{}:5060 0 0 duid=gw{n};weight={n}\n", n / 250, n % 250 + 1);
    let builder = Kamailio::builder().list((0..size).map(line).collect::<String>()).route(route);
    let builder = more(builder.globals("max_while_loops=100000").modparam(FAILOVER));
    if fast { builder.fast_allocator().start() } else { builder.start() }
}

/// A server, and how to ask it something.
struct Asked {
    server: Kamailio,
    agent: Agent,
}

impl Asked {
    fn new(server: Kamailio) -> Self {
        Self { agent: server.agent(), server }
    }

    #[track_caller]
    fn ask(&mut self, user: &str, text: &str) -> u16 {
        let mut call = self.agent.call();
        call.uri = format!("sip:{user}@{}", self.server.address());
        self.agent.send(&call.invite().with("X-Text", text));
        self.agent.answer(&call, "INVITE").status().unwrap_or(0)
    }

    /// The shared memory in use once the worker is done with all that came before.
    #[track_caller]
    fn used(&mut self) -> i64 {
        assert_eq!(self.ask("0", ""), 200);
        self.server.shm_used()
    }

    fn end(mut self) {
        // The host ends a worker wherever it is, in the middle of freeing as well, and then trips over what is half done.
        self.used();
        self.server.assert_healthy();
        self.server.stop();
    }
}

#[test]
fn the_host_frees_every_block_of_a_record() {
    for fast in [false, true] {
        let mut asked = Asked::new(start(30, CLEAR, fast, |builder| builder));
        let mut used = || {
            assert_eq!(asked.ask("200", ""), 200);
            asked.used()
        };
        let (before, after) = (used(), used());
        // A block that is left each time would be 200 times at least 64 bytes.
        assert!(after - before < 2_000, "from {before} to {after}, fast {fast}");
        asked.end();
    }
}

/// Puts a text into a table until no more fits, takes one out, or all; else selects.
const FULL: &str = r#"
request_route {
	if ($rU == "fill") {
		while (1) {
			$sht(fill=>$var(n)) = $hdr(X-Text);
			if ($sht(fill=>$var(n)) == $null) break;
			$var(n) = $var(n) + 1;
		}
	}
	else if ($rU == "less") $sht(fill=>$hdr(X-Text)) = $null;
	else if ($rU == "empty") sht_rm_name_re("fill=>.*");
	else if ($rU == "any" && !ds_select_dst("1", "4")) { sl_send_reply("404", "No destination"); exit; }
	sl_send_reply("200", "OK");
}
"#;

/// Each time with more room than before, so that it ends at another field of a record.
#[test]
fn a_record_for_which_memory_ran_out_is_given_back() {
    let table = "modparam(\"htable\", \"htable\", \"fill=>size=8;\")";
    let small = |builder: Builder| builder.module("htable").modparam(table).shm_megabytes(8);
    let mut asked = Asked::new(start(300, FULL, false, small));
    assert_eq!(asked.ask("any", ""), 200);
    assert_eq!(asked.ask("fill", &"x".repeat(2_000)), 200);
    for round in 0..12 {
        assert_eq!(asked.ask("less", &round.to_string()), 200);
        let before = asked.used();
        assert_eq!(asked.ask("any", ""), 404, "round {round}");
        assert_eq!(asked.used(), before, "round {round}");
    }
    assert_eq!([asked.ask("empty", ""), asked.ask("any", "")], [200, 200]);
    asked.end();
}
