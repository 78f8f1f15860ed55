//! Where requests are sent from when they go on from a destination with a socket of its own to one without.

use std::net::SocketAddr;

use crate::calls::with;
use crate::support::{Gateways, Kamailio, eventually, net};
use crate::watch::SOON;

/// Sockets `a`, `b` for destinations and `x`, `y` for the script.
struct Sockets([SocketAddr; 4]);

const NAMES: [&str; 4] = ["a", "b", "x", "y"];

impl Sockets {
    fn new() -> Sockets {
        Sockets(std::array::from_fn(|_| net::free_port(net::address())))
    }

    fn listens(&self) -> String {
        NAMES
            .iter()
            .zip(self.0)
            .map(|(name, socket)| format!("listen=udp:{socket} name \"{name}\"\n"))
            .collect()
    }

    fn of(&self, name: &str) -> String {
        format!("udp:{}", self.0[NAMES.iter().position(|one| *one == name).unwrap()])
    }
}

/// Each of the gateways refuses. They are in set 1 in this order, and each in a set of its own from 11 on: the first with
/// socket `a`, the third with `b`, the others without.
struct Scene {
    gateways: Gateways,
    sockets: Sockets,
    server: Kamailio,
}

/// A script that sets `$fs` before its first selection to `X-Before`, after it to `X-After`, and in the first failure route to
/// `X-Failed`. `X-Early` makes the transaction before anything is chosen. SELECT and NEXT are statements.
const ROUTE: &str = r#"
request_route {
	if (is_method("ACK")) { t_check_trans(); exit; }
	if (is_present_hf("X-Early")) t_newtran();
	if (is_present_hf("X-Before")) $fs = $hdr(X-Before);
	SELECT
	if (is_present_hf("X-After")) $fs = $hdr(X-After);
	$avp(next) = 12;
	t_on_failure("FAILED");
	t_relay();
}
failure_route[FAILED] {
	if (is_present_hf("X-Failed") && $avp(next) == 12) $fs = $hdr(X-Failed);
	NEXT
	$avp(next) = $avp(next) + 1;
	t_on_failure("FAILED");
	t_relay();
}
"#;

impl Scene {
    fn start(select: &str, next: &str, stock: bool) -> Scene {
        let (gateways, sockets) = (Gateways::answering(4, 500), Sockets::new());
        let mut list = String::new();
        for n in 0..4 {
            let socket = match n {
                0 => format!("socket={}", sockets.of("a")),
                2 => format!("socket={}", sockets.of("b")),
                _ => format!("n={n}"),
            };
            let uri = gateways.uri(n);
            list += &format!("1 {uri} 0 {} {socket}\n{} {uri} 0 0 {socket}\n", 9 - n, 11 + n);
        }
        let route = ROUTE.replace("SELECT", select).replace("NEXT", next);
        let builder = Kamailio::builder().workers(4).list(list).route(&route).globals(&sockets.listens());
        let builder = builder.modparam("modparam(\"dispatcher\", \"flags\", 2)");
        let server = if stock { builder.stock().start() } else { builder.start() };
        Scene { gateways, sockets, server }
    }

    /// The sockets that the gateways see, in their order; `-` is the server's own. `headers` as `X-Before: x`.
    #[track_caller]
    fn seen(&self, headers: &[(&str, &str)]) -> [String; 4] {
        self.gateways.forget_received();
        let mut agent = self.server.agent();
        let mut call = agent.call();
        for (name, socket) in headers {
            let value = if socket.is_empty() { "1".to_owned() } else { self.sockets.of(socket) };
            call = with(call, name, &value);
        }
        agent.send(&call.invite());
        assert_eq!(agent.answer(&call, "INVITE").status(), Some(500));
        let all = || self.gateways.counts("INVITE").iter().all(|count| *count >= 1);
        eventually("each is tried", SOON, all);
        let received = self.gateways.received();
        std::array::from_fn(|n| {
            let invite =
                |one: &&crate::support::Received| one.gateway == n && one.message.method() == Some("INVITE");
            let via =
                received.iter().find(invite).unwrap().message.header("Via").unwrap_or_default().to_owned();
            let place = self.sockets.0.iter().position(|socket| via.contains(&format!(" {socket};")));
            place.map_or("-", |place| NAMES[place]).to_owned()
        })
    }
}

const SELECT: &str = r#"if (!ds_select_dst("1", "8")) { sl_send_reply("404", "None"); exit; }"#;
const NEXT: &str = "if (!ds_next_dst()) exit;";

/// Each way to go from one to the next, with the headers and what is seen then.
fn assert_undone(select: &str, next: &str) {
    let scene = Scene::start(select, next, false);
    for early in [&[][..], &[("X-Early", "")]] {
        let seen = |headers: &[(&str, &str)]| scene.seen(&[early, headers].concat());
        assert_eq!(seen(&[]), ["a", "-", "b", "-"], "{select} {next} {early:?}");
        assert_eq!(seen(&[("X-Before", "x")]), ["a", "x", "b", "x"], "{select} {next} {early:?}");
        // The script's own choice is the same as that of the first destination.
        assert_eq!(seen(&[("X-Before", "a")]), ["a", "a", "b", "a"], "{select} {next} {early:?}");
    }
    // What the script sets after the selection is what it wants, also of the next.
    assert_eq!(scene.seen(&[("X-After", "y")]), ["y", "y", "b", "y"], "{select} {next}");
    // What it sets in a failure route ends with it: tm gives the next one the message as it was relayed first.
    assert_eq!(scene.seen(&[("X-Failed", "y")]), ["a", "y", "b", "-"], "{select} {next}");
    assert_eq!(scene.seen(&[("X-Before", "x"), ("X-Failed", "y")]), ["a", "y", "b", "x"], "{select} {next}");
    scene.server.stop();
}

#[test]
fn socket_of_the_one_that_failed_ends_with_next_dst() {
    assert_undone(SELECT, NEXT);
}

#[test]
fn socket_of_the_one_that_failed_ends_with_next_domain() {
    assert_undone(&SELECT.replace("ds_select_dst", "ds_select_domain"), "if (!ds_next_domain()) exit;");
}

#[test]
fn socket_of_the_one_that_failed_ends_with_set_dst() {
    let select = r#"if (!ds_select("1", "8")) { sl_send_reply("404", "None"); exit; } ds_set_dst();"#;
    assert_undone(select, NEXT);
    assert_undone(
        &SELECT.replace("\"1\"", "\"11\""),
        r#"if (!ds_select("$avp(next)", "8")) exit; ds_set_dst();"#,
    );
}

#[test]
fn socket_of_the_one_that_failed_ends_with_a_new_selection() {
    assert_undone(&SELECT.replace("\"1\"", "\"11\""), r#"if (!ds_select_dst("$avp(next)", "8")) exit;"#);
    assert_undone(
        &SELECT.replace("\"1\"", "\"11\"").replace("_dst", "_domain"),
        r#"if (!ds_select_domain("$avp(next)", "8")) exit;"#,
    );
    let routes = r#"if (!ds_select_routes("11=8", "d")) { sl_send_reply("404", "None"); exit; }"#;
    assert_undone(routes, r#"if (!ds_select_routes("$avp(next)=8", "d")) exit;"#);
}

/// In one request route, and two in each failure route.
#[test]
fn of_several_selections_only_the_last_ones_socket_counts() {
    let before = r#"ds_select_dst("13", "8"); ds_select_dst("12", "8"); ds_select_dst("11", "8");"#;
    assert_undone(before, r#"ds_select_dst("13", "8"); if (!ds_select_dst("$avp(next)", "8")) exit;"#);
    let scene =
        Scene::start(r#"ds_select_dst("11", "8"); ds_select_dst("1", "8"); ds_next_dst();"#, NEXT, false);
    let mut call = scene.server.agent().call();
    for (before, wanted) in [(None, "-"), (Some("x"), "x")] {
        scene.gateways.forget_received();
        let mut agent = scene.server.agent();
        call = agent.call();
        if let Some(socket) = before {
            call = with(call, "X-Before", &scene.sockets.of(socket));
        }
        agent.send(&call.invite());
        assert_eq!(agent.answer(&call, "INVITE").status(), Some(500));
        let first =
            scene.gateways.received().into_iter().find(|one| one.message.method() == Some("INVITE")).unwrap();
        let via = first.message.header("Via").unwrap_or_default().to_owned();
        let place = scene.sockets.0.iter().position(|socket| via.contains(&format!(" {socket};")));
        assert_eq!((first.gateway, place.map_or("-", |place| NAMES[place])), (1, wanted));
    }
    drop(call);
    scene.server.stop();
}

#[test]
fn each_branch_leaves_from_its_own_socket_or_the_scripts() {
    let scene = Scene::start(&SELECT.replace("\"8\"", "\"12\""), "exit;", false);
    assert_eq!(scene.seen(&[]), ["a", "-", "b", "-"]);
    assert_eq!(scene.seen(&[("X-Before", "x")]), ["a", "x", "b", "x"]);
    scene.server.stop();
}

/// What is undone is a fault there: the socket of the first stays in use.
#[test]
fn stock_module_keeps_the_socket_of_the_one_that_failed() {
    let scene = Scene::start(SELECT, NEXT, true);
    assert_eq!(scene.seen(&[]), ["a", "a", "b", "a"]);
    assert_eq!(scene.seen(&[("X-Before", "x")]), ["a", "a", "b", "a"]);
    scene.server.stop();
}
