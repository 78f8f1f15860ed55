//! Where requests are sent from when they go on from a destination with a socket of its own to one without: over UDP and TCP, to
//! IPv4 and IPv6 addresses, from the server's own script and from Lua.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use crate::calls::with;
use crate::support::language::Language;
use crate::support::server_config::Builder;
use crate::support::{Agent, Behaviour, Kamailio, Probed, eventually, net};
use crate::watch::SOON;

/// How requests go to the gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Udp,
    Tcp,
    /// UDP to ::1, for requests that came to an IPv4 address.
    Udp6,
    /// And for those that came to an IPv6 address.
    Udp6Only,
    /// TCP to ::1, for requests that came by UDP to an IPv4 address.
    Tcp6,
}
use Way::{Tcp, Tcp6, Udp, Udp6, Udp6Only};

impl Way {
    fn is_tcp(self) -> bool {
        matches!(self, Tcp | Tcp6)
    }

    fn proto(self) -> &'static str {
        if self.is_tcp() { "tcp" } else { "udp" }
    }

    fn address(self) -> IpAddr {
        match self {
            Udp | Tcp => net::address().into(),
            Udp6 | Udp6Only | Tcp6 => Ipv6Addr::LOCALHOST.into(),
        }
    }
}

/// Sockets `a`, `b` for destinations and `x`, `y` for the script; `-` is what the server takes if nobody chooses.
struct Sockets {
    way: Way,
    named: [SocketAddr; 4],
    usual: Option<SocketAddr>,
}

const NAMES: [&str; 4] = ["a", "b", "x", "y"];

impl Sockets {
    fn new(way: Way) -> Sockets {
        // Taken together, or the kernel may give the same port twice: all are at one address if that is ::1.
        let bound: [(UdpSocket, Option<TcpListener>); 5] = std::array::from_fn(|_| {
            loop {
                let udp = UdpSocket::bind((way.address(), 0)).unwrap();
                if !way.is_tcp() {
                    break (udp, None);
                }
                if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                    break (udp, Some(tcp));
                }
            }
        });
        let [usual, named @ ..] = bound.each_ref().map(|(udp, _)| udp.local_addr().unwrap());
        // An IPv4 server has one already.
        Sockets { way, named, usual: Some(usual).filter(SocketAddr::is_ipv6) }
    }

    fn listens(&self) -> String {
        let proto = self.way.proto();
        let named = NAMES.iter().zip(self.named);
        let named = named.map(|(name, socket)| format!("listen={proto}:{socket} name \"{name}\"\n"));
        // Of those that are at ::1 the server takes the last one.
        named.chain(self.usual.map(|socket| format!("listen={proto}:{socket}\n"))).collect()
    }

    fn of(&self, name: &str) -> String {
        let at = NAMES.iter().position(|one| *one == name).unwrap();
        format!("{}:{}", self.way.proto(), self.named[at])
    }
}

/// Each of the gateways refuses. They are in set 1 in this order, and each in a set of its own from 11 on: the first with
/// socket `a`, the third with `b`, the others without.
struct Scene {
    gateways: [Probed; 4],
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

/// The same in Lua. SELECT and NEXT are expressions.
const LUA: &str = r#"
D = KSR.dispatcher
local function given(name)
	local value = KSR.pv.gete("$hdr(" .. name .. ")")
	return value ~= "" and value
end
local function send_from(name)
	if given(name) then KSR.pv.sets("$fs", given(name)) end
end
local function relay()
	KSR.tm.t_on_failure("ksr_failure_FAILED")
	KSR.tm.t_relay()
end
function ksr_request_route()
	if KSR.is_method("OPTIONS") then KSR.sl.sl_send_reply(200, "Ready"); return end
	if KSR.is_method("ACK") then KSR.tm.t_check_trans(); return end
	if given("X-Early") then KSR.tm.t_newtran() end
	send_from("X-Before")
	if SELECT < 0 then KSR.sl.sl_send_reply(404, "None"); return end
	send_from("X-After")
	KSR.pv.seti("$avp(next)", 12)
	relay()
end
function ksr_failure_FAILED()
	local next_set = KSR.pv.get("$avp(next)")
	if next_set == 12 then send_from("X-Failed") end
	if NEXT < 0 then return end
	KSR.pv.seti("$avp(next)", next_set + 1)
	relay()
end
"#;

fn by_lua(builder: Builder, select: &str, next: &str) -> Builder {
    let script = LUA.replace("SELECT", select).replace("NEXT", next);
    Language::Lua.script(builder, &script)
}

fn by_script(builder: Builder, select: &str, next: &str) -> Builder {
    builder.route(&ROUTE.replace("SELECT", select).replace("NEXT", next))
}

impl Scene {
    fn start(select: &str, next: &str) -> Scene {
        Scene::start_with(Udp, |builder| by_script(builder, select, next))
    }

    fn start_with(way: Way, dressed: impl FnOnce(Builder) -> Builder) -> Scene {
        let gateways = [(); 4].map(|()| {
            let at = (way.address(), 0).into();
            let gateway = if way.is_tcp() { Probed::with_tcp_at(at) } else { Probed::at(at) };
            gateway.probed_by("INVITE");
            gateway.behave(Behaviour::Answer(500, "No"));
            gateway
        });
        let sockets = Sockets::new(way);
        let mut list = String::new();
        for (n, gateway) in gateways.iter().enumerate() {
            let socket = match n {
                0 => format!("socket={}", sockets.of("a")),
                2 => format!("socket={}", sockets.of("b")),
                _ => format!("n={n}"),
            };
            let uri = format!("{};transport={}", gateway.uri(), way.proto());
            list += &format!("1 {uri} 0 {} {socket}\n{} {uri} 0 0 {socket}\n", 9 - n, 11 + n);
        }
        let builder = Kamailio::builder().workers(2).list(list).globals(&sockets.listens());
        let builder = if way.is_tcp() { builder.tcp() } else { builder };
        let server = dressed(builder.modparam("modparam(\"dispatcher\", \"flags\", 2)")).start();
        Scene { gateways, sockets, server }
    }

    /// The name of the socket that a request was sent from.
    #[track_caller]
    fn name_of(&self, via: &str) -> &'static str {
        let is_it = |socket: &SocketAddr| via.contains(&format!(" {socket};"));
        if let Some(at) = self.sockets.named.iter().position(is_it) {
            return NAMES[at];
        }
        let usual = self.sockets.usual.unwrap_or(self.server.address());
        assert!(is_it(&usual), "sent from no socket of ours: {via}");
        "-"
    }

    /// Places a call that nobody takes, with these headers (`X-Before: x`).
    #[track_caller]
    fn call(&self, headers: &[(&str, &str)]) {
        self.gateways.iter().for_each(Probed::forget);
        let to = self.sockets.usual.filter(|_| self.sockets.way == Udp6Only).unwrap_or(self.server.address());
        let mut agent = Agent::bind(to);
        let mut call = agent.call();
        for (name, socket) in headers {
            let value = if socket.is_empty() { "1".to_owned() } else { self.sockets.of(socket) };
            call = with(call, name, &value);
        }
        let answer = agent.place(&mut call);
        assert_eq!(answer.status(), Some(500), "{}", answer.start);
    }

    /// The sockets that the gateways see, in their order.
    #[track_caller]
    fn seen(&self, headers: &[(&str, &str)]) -> [&'static str; 4] {
        self.call(headers);
        let all = || self.gateways.iter().all(|gateway| gateway.count("INVITE") >= 1);
        eventually("each is tried", SOON, all);
        std::array::from_fn(|gateway| self.socket_at(gateway))
    }

    #[track_caller]
    fn socket_at(&self, gateway: usize) -> &'static str {
        let invite = self.gateways[gateway].probes().swap_remove(0);
        self.name_of(invite.message.header("Via").unwrap_or_default())
    }
}

const SELECT: &str = r#"if (!ds_select_dst("1", "8")) { sl_send_reply("404", "None"); exit; }"#;
const NEXT: &str = "if (!ds_next_dst()) exit;";

/// Each way to go from one to the next, with the headers and what is seen then.
fn assert_undone(select: &str, next: &str) {
    assert_undone_in(Scene::start(select, next), &format!("{select} {next}"));
}

fn assert_undone_in(scene: Scene, what: &str) {
    for early in [&[][..], &[("X-Early", "")]] {
        let seen = |headers: &[(&str, &str)]| scene.seen(&[early, headers].concat());
        assert_eq!(seen(&[]), ["a", "-", "b", "-"], "{what} {early:?}");
        assert_eq!(seen(&[("X-Before", "x")]), ["a", "x", "b", "x"], "{what} {early:?}");
        // The script's own choice is the same as that of the first destination.
        assert_eq!(seen(&[("X-Before", "a")]), ["a", "a", "b", "a"], "{what} {early:?}");
    }
    // What the script sets after the selection is what it wants, also of the next.
    assert_eq!(scene.seen(&[("X-After", "y")]), ["y", "y", "b", "y"], "{what}");
    // What it sets in a failure route ends with it: tm gives the next one the message as it was relayed first.
    assert_eq!(scene.seen(&[("X-Failed", "y")]), ["a", "y", "b", "-"], "{what}");
    assert_eq!(scene.seen(&[("X-Before", "x"), ("X-Failed", "y")]), ["a", "y", "b", "x"], "{what}");
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
    let scene = Scene::start(r#"ds_select_dst("11", "8"); ds_select_dst("1", "8"); ds_next_dst();"#, NEXT);
    for (headers, wanted) in [(&[][..], "-"), (&[("X-Before", "x")], "x")] {
        scene.call(headers);
        let first = scene
            .gateways
            .iter()
            .enumerate()
            .flat_map(|(n, one)| one.probes().into_iter().map(move |p| (n, p)));
        let (n, first) = first.min_by_key(|(_, probe)| probe.at).unwrap();
        assert_eq!((n, scene.name_of(first.message.header("Via").unwrap_or_default())), (1, wanted));
    }
    scene.server.stop();
}

#[test]
fn each_branch_leaves_from_its_own_socket_or_the_scripts() {
    let scene = Scene::start(&SELECT.replace("\"8\"", "\"12\""), "exit;");
    assert_eq!(scene.seen(&[]), ["a", "-", "b", "-"]);
    assert_eq!(scene.seen(&[("X-Before", "x")]), ["a", "x", "b", "x"]);
    scene.server.stop();
}

/// What is undone is a fault there: the socket of the first stays in use.
#[test]
fn stock_module_keeps_the_socket_of_the_one_that_failed() {
    let scene = Scene::start_with(Udp, |builder| by_script(builder, SELECT, NEXT).stock());
    assert_eq!(scene.seen(&[]), ["a", "a", "b", "a"]);
    assert_eq!(scene.seen(&[("X-Before", "x")]), ["a", "a", "b", "a"]);
    scene.server.stop();
}

#[test]
fn socket_of_the_one_that_failed_ends_in_lua_too() {
    if Language::Lua.is_missing() {
        return;
    }
    let lua = |select: &str, next: &str| Scene::start_with(Udp, |builder| by_lua(builder, select, next));
    for (select, next) in [
        ("D.ds_select_dst(1, 8)", "D.ds_next_dst()"),
        ("D.ds_select_domain(1, 8)", "D.ds_next_domain()"),
        ("D.ds_select_dst(11, 8)", "D.ds_select_dst(next_set, 8)"),
        ("D.ds_select_routes('11=8', 'd')", "D.ds_select_routes(next_set .. '=8', 'd')"),
        ("D.ds_select(1, 8) + D.ds_set_dst()", "D.ds_next_dst()"),
    ] {
        assert_undone_in(lua(select, next), &format!("{select} {next}"));
    }
}

#[test]
fn socket_of_the_one_that_failed_ends_over_tcp_and_ipv6() {
    for way in [Tcp, Udp6, Udp6Only, Tcp6] {
        let scene = Scene::start_with(way, |builder| by_script(builder, SELECT, NEXT));
        assert_undone_in(scene, &format!("{way:?}"));
        // That is where the server itself sends from, if nobody ever chose.
        let select = SELECT.replace("\"1\"", "\"12\"");
        let scene = Scene::start_with(way, |builder| by_script(builder, &select, "exit;"));
        scene.call(&[]);
        assert_eq!(scene.socket_at(1), "-", "{way:?}");
        scene.server.stop();
    }
}
