//! Calls a second: no gateway gets more than its limit and the burst in any second, what is too much is refused with its cause, and a limit
//! is no state.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::calls::{self, with};
use crate::support::{Agent, Call, Gateways, Kamailio, Message, net};

pub const LIMITS: &str = "modparam(\"dispatcher\", \"ds_limits\", 1)\n";
const SECOND: u64 = 1_000_000_000;
const CPS: usize = 50;
const BURST: usize = 10;

/// By gateway and branch: the arrival, and when the script began to choose, both in nanoseconds of the wall clock.
type Arrivals = HashMap<(usize, String), (u64, u64)>;

/// Gateways that note when each INVITE arrives, by the kernel's clock, and answer it at once.
pub struct Timed {
    pub sockets: Vec<Arc<UdpSocket>>,
    seen: Arc<Mutex<Arrivals>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Timed {
    pub fn start(answers: &[u16]) -> Timed {
        let sockets: Vec<_> = answers.iter().map(|_| Arc::new(stamped(net::socket()))).collect();
        let (seen, stop) = (Arc::<Mutex<Arrivals>>::default(), Arc::<AtomicBool>::default());
        let serve = |(gateway, (socket, status)): (usize, (&Arc<UdpSocket>, &u16))| {
            let (socket, seen, stop) = (Arc::clone(socket), Arc::clone(&seen), Arc::clone(&stop));
            let status = *status;
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let Some((message, from, at)) = receive(&socket) else { continue };
                    if message.method() != Some("INVITE") {
                        continue;
                    }
                    let before = message.values("X-Before").map(nanos).max().expect("what the script notes");
                    let branch = message.header("Via").expect("a branch").to_owned();
                    seen.lock().unwrap().entry((gateway, branch)).or_insert((at, before));
                    socket.send_to(&message.reply(status, "gw").bytes(), from).expect("an answer");
                }
            })
        };
        let threads = sockets.iter().zip(answers).enumerate().map(serve).collect();
        Timed { sockets, seen, stop, threads }
    }

    /// The first four have a limit.
    fn list(&self) -> String {
        let line = |(n, socket): (usize, &Arc<UdpSocket>)| {
            let limit = if n < 4 { format!(";cps={CPS};cps_burst={BURST}") } else { String::new() };
            format!("100 sip:{} 0 0 duid=gw{n};weight=1;rweight=1{limit}\n", socket.local_addr().unwrap())
        };
        self.sockets.iter().enumerate().map(line).collect()
    }

    pub fn arrivals(&self, gateways: Range<usize>) -> Vec<(u64, u64)> {
        let seen = self.seen.lock().unwrap();
        let all = seen.iter().filter(|(key, _)| gateways.contains(&key.0));
        let mut all: Vec<_> = all.map(|(_, at)| *at).collect();
        all.sort_unstable();
        all
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// The kernel notes when a datagram comes.
fn stamped(socket: UdpSocket) -> UdpSocket {
    let on: libc::c_int = 1;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: an open socket and a number with its size.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size,
        )
    };
    assert_eq!(done, 0);
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket
}

/// The next message, from whom, and when it came.
fn receive(socket: &UdpSocket) -> Option<(Message, std::net::SocketAddr, u64)> {
    let (mut bytes, mut control) = ([0u8; 4096], [0u64; 16]);
    // SAFETY: plain numbers and addresses, for which zero is the empty value.
    let (mut from, mut head): (libc::sockaddr_in, libc::msghdr) = unsafe { std::mem::zeroed() };
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    head.msg_name = (&raw mut from).cast();
    head.msg_namelen = size_of_val(&from) as _;
    (head.msg_iov, head.msg_iovlen) = (&raw mut part, 1);
    (head.msg_control, head.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control) as _);
    // SAFETY: all that the head names lives here and is as long as it says.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut head, 0) };
    let message = Message::parse(bytes.get(..usize::try_from(length).ok()?)?)?;
    // SAFETY: the kernel has filled in the first piece, which is the time.
    let at = unsafe {
        let piece = libc::CMSG_FIRSTHDR(&raw const head).as_ref()?;
        assert_eq!(piece.cmsg_type, libc::SCM_TIMESTAMPNS);
        libc::CMSG_DATA(piece).cast::<libc::timespec>().read_unaligned()
    };
    let from = (u32::from_be(from.sin_addr.s_addr), u16::from_be(from.sin_port));
    let from = std::net::SocketAddr::from((std::net::Ipv4Addr::from_bits(from.0), from.1));
    Some((message, from, at.tv_sec as u64 * SECOND + at.tv_nsec as u64))
}

/// `seconds.microseconds` in nanoseconds.
fn nanos(text: &str) -> u64 {
    let (seconds, micros) = text.split_once('.').expect("a time of the script");
    seconds.parse::<u64>().unwrap() * SECOND + micros.parse::<u64>().unwrap() * 1000
}

/// The most of these arrivals in a window that is a second less what the way took at most.
///
/// A token is taken after the script has noted the time (`X-Before`) and before the INVITE arrives. So what arrives in such a window took its
/// tokens within one second, whatever the server and the machine did on the way.
pub fn most_in_a_second(arrivals: &[(u64, u64)]) -> (usize, u64) {
    let longest = arrivals.iter().map(|(at, before)| at - before).max().unwrap_or(0);
    let window = SECOND.checked_sub(longest).expect("a way of less than a second");
    let until = |from: usize| arrivals.partition_point(|(at, _)| *at <= arrivals[from].0 + window) - from;
    ((0..arrivals.len()).map(until).max().unwrap_or(0), longest)
}

fn route(algorithm: u32) -> String {
    route_to("$var(set) = \"100\";", algorithm)
}

/// The same to the set that these words of the script put into `$var(set)`.
pub fn route_to(set: &str, algorithm: u32) -> String {
    format!(
        r#"
request_route {{
	t_check_trans();
	if (!is_method("INVITE")) exit;
	$var(before) = $TV(Sn);
	{set}
	if (!ds_select_dst("$var(set)", "{algorithm}")) {{
		append_to_reply("X-Cause: $rc $dsv(code) $dsv(reason)\r\n");
		send_reply("503", "No");
		exit;
	}}
	append_hf("X-Before: $var(before)\r\n");
	t_on_failure("FAILED");
	t_relay();
}}
failure_route[FAILED] {{
	if (!t_check_status("500")) exit;
	$var(before) = $TV(Sn);
	if (!ds_next_dst()) exit;
	append_hf("X-Before: $var(before)\r\n");
	t_on_failure("FAILED");
	t_relay();
}}
"#
    )
}

/// Sends a thousand INVITEs a second for so many seconds; each final answer by its status, with its cause.
pub fn offer(server: &Kamailio, seconds: usize) -> HashMap<String, usize> {
    let (mut agent, mut calls) = (server.agent(), HashMap::new());
    let (start, mut answers) = (Instant::now(), HashMap::new());
    let mut take = |agent: &mut Agent, calls: &mut HashMap<String, _>, wait| {
        let Some(reply) = agent.receive(wait) else { return false };
        let status = reply.status().expect("a reply");
        let known: Option<(Call, Message)> = if status >= 200 { calls.remove(reply.call_id()) } else { None };
        if let Some((call, _)) = known {
            agent.send(&call.ack(&reply));
            let cause = reply.header("X-Cause").map_or(String::new(), |cause| format!(" {cause}"));
            *answers.entry(format!("{status}{cause}")).or_default() += 1;
        }
        true
    };
    for n in 0..seconds * 1000 {
        let due = start + Duration::from_millis(n as u64);
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            take(&mut agent, &mut calls, left);
        }
        let mut call = agent.call();
        let invite = call.invite();
        agent.send(&invite);
        calls.insert(call.id.clone(), (call, invite));
    }
    // What the kernel dropped on its way comes again, as from any caller.
    for _ in 0..40 {
        while take(&mut agent, &mut calls, Duration::from_millis(500)) {}
        calls.values().for_each(|(_, invite)| agent.send(invite));
        if calls.is_empty() {
            break;
        }
    }
    assert!(calls.is_empty(), "{} calls have no answer", calls.len());
    answers
}

/// What was offered, and that each gateway with a limit got as much as that, and never more.
fn assert_limits(gateways: &Timed, seconds: usize, what: &str) -> usize {
    let mut total = 0;
    for gateway in 0..4 {
        let arrivals = gateways.arrivals(gateway..gateway + 1);
        let (most, way) = most_in_a_second(&arrivals);
        println!(
            "{what}: gateway {gateway}: {} INVITEs, {most} in a second less {} us",
            arrivals.len(),
            way / 1000
        );
        assert!(most <= CPS + BURST, "{what}: {most} in a second at gateway {gateway}");
        // The burst, and what comes back meanwhile.
        let all = arrivals.len();
        assert!(
            all >= CPS * seconds && all <= BURST + CPS * (seconds + 2),
            "{what}: {all} in all at {gateway}"
        );
        total += all;
    }
    total
}

const ALGORITHMS: [u32; 7] = [0, 4, 9, 10, 11, 100, 101];
const SECONDS: usize = 3;

fn server(gateways: &Timed, algorithm: u32) -> Kamailio {
    start(gateways.list(), &route(algorithm), algorithm)
}

/// A server with eight workers where limits act, and calls count if the algorithm counts them.
pub fn start(list: String, route: &str, algorithm: u32) -> Kamailio {
    let params = format!(
        "modparam(\"dispatcher\", \"flags\", 2)\n{LIMITS}modparam(\"dispatcher\", \"ds_load_auto\", {})\n",
        u8::from([10, 100].contains(&algorithm))
    );
    Kamailio::builder().workers(8).list(list).modparam(&params).route(route).start()
}

/// Of the calls that were offered for so many seconds these were sent, and all others refused because of the rate.
pub fn assert_others_refused(answers: HashMap<String, usize>, sent: usize, seconds: usize, algorithm: u32) {
    let refused = ("503 -6 -6 over the rate".to_owned(), seconds * 1000 - sent);
    assert_eq!(answers, HashMap::from([("486".to_owned(), sent), refused]), "algorithm {algorithm}");
}

#[test]
fn what_is_above_the_limits_is_refused_with_its_cause() {
    for algorithm in ALGORITHMS {
        let gateways = Timed::start(&[486; 4]);
        let server = server(&gateways, algorithm);
        let answers = offer(&server, SECONDS);
        let sent = assert_limits(&gateways, SECONDS, &format!("algorithm {algorithm}"));
        assert_others_refused(answers, sent, SECONDS, algorithm);
        calls::assert_no_drift(&server);
        server.stop();
    }
}

#[test]
fn one_without_a_limit_takes_what_the_others_may_not() {
    for algorithm in ALGORITHMS {
        let gateways = Timed::start(&[486; 5]);
        let server = server(&gateways, algorithm);
        let answers = offer(&server, SECONDS);
        let sent = assert_limits(&gateways, SECONDS, &format!("algorithm {algorithm}"));
        assert_eq!(answers, HashMap::from([("486".to_owned(), SECONDS * 1000)]), "algorithm {algorithm}");
        assert_eq!(gateways.arrivals(4..5).len(), SECONDS * 1000 - sent, "algorithm {algorithm}");
        server.stop();
    }
}

/// In each way that failover is remembered. Half of those with a limit refuse, and what goes on counts where it goes.
#[test]
fn failover_keeps_the_limits() {
    for (algorithm, lean) in [(4, 0), (4, 1), (0, 2), (10, 0), (10, 1), (10, 2)] {
        let what = format!("algorithm {algorithm}, ds_lean_failover {lean}");
        let gateways = Timed::start(&[500, 500, 486, 486, 486]);
        let params = format!(
            "modparam(\"dispatcher\", \"flags\", 2)\n{LIMITS}modparam(\"dispatcher\", \"ds_load_auto\", 1)\n\
             modparam(\"dispatcher\", \"ds_lean_failover\", {lean})\n"
        );
        let builder = Kamailio::builder().workers(8).list(gateways.list()).modparam(&params);
        let server = builder.route(&route(algorithm)).start();
        let answers = offer(&server, SECONDS);
        let sent = assert_limits(&gateways, SECONDS, &what);
        let failed = gateways.arrivals(0..2).len();
        assert_eq!(answers, HashMap::from([("486".to_owned(), SECONDS * 1000)]), "{what}");
        assert_eq!(sent + gateways.arrivals(4..5).len(), SECONDS * 1000 + failed, "{what}");
        calls::assert_no_drift(&server);
        server.stop();
    }
}

pub const ONE_BY_ONE: &str = r#"
request_route {
	if (is_method("ACK|BYE")) exit;
	$var(alg) = $(hdr(X-Alg){s.int});
	$var(to) = $hdr(X-To);
	if ($var(to) == "list") {
		if (ds_select("100", "$var(alg)")) { if (ds_set_dst()) $var(done) = 1; else $var(done) = -9; } else $var(done) = $rc;
	} else if (ds_select_dst("100", "$var(alg)")) $var(done) = 1; else $var(done) = $rc;
	append_to_reply("X-Cause: $var(done) $dsv(reason)\r\nX-Du: $du\r\n");
	ds_dsg_fetch("100");
	append_to_reply("X-Active: $dsg(active)\r\n");
	if ($var(done) == 1) forward();
	sl_send_reply("200", "OK");
}
"#;

/// A request of this method: the cause, and where it went.
pub fn ask(agent: &mut Agent, method: &str, (algorithm, to): (u32, &str)) -> (String, String, String) {
    let mut call = with(with(agent.call(), "X-Alg", &algorithm.to_string()), "X-To", to);
    let mut request = call.invite();
    if method != "INVITE" {
        request.start = request.start.replace("INVITE", method);
        let headers = &mut request.headers;
        headers
            .iter_mut()
            .filter(|(name, _)| name == "CSeq")
            .for_each(|(_, value)| *value = value.replace("INVITE", method));
    }
    agent.send(&request);
    let answer = agent.answer(&call, method);
    let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    (header("X-Cause"), header("X-Du"), header("X-Active"))
}

pub const OVER: &str = "-6 over the rate";

/// Goes on until the look fits right after a refusal: a token may come back between the two.
pub fn when_over<T>(agent: &mut Agent, algorithm: u32, look: impl Fn(&mut Agent) -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if ask(agent, "INVITE", (algorithm, "")).0 == OVER {
            if let Some(seen) = look(agent) {
                return seen;
            }
        }
        assert!(Instant::now() < end, "never over its rate");
    }
}

#[test]
fn a_limit_is_no_state_and_holds_back_only_calls() {
    let gateway = net::socket();
    let uri = format!("sip:{}", gateway.local_addr().unwrap());
    let line = |attrs: &str| format!("100 {uri} 0 5 duid=a;{attrs}\n100 sip:127.0.1.1 1 0 duid=b\n");
    let params = format!("modparam(\"dispatcher\", \"flags\", 2)\n{LIMITS}");
    let server =
        Kamailio::builder().workers(4).list(line("cps=1")).modparam(&params).route(ONE_BY_ONE).start();
    let mut agent = server.agent();
    for algorithm in [0, 4, 10] {
        let is_over = |told: &Value| {
            let one = &told["TARGETS"][0]["DEST"];
            (told["REFUSED"] == "over the rate" && one["WHY"] == "over its rate").then(|| one.clone())
        };
        let key = if algorithm == 0 { json!([100, 0, "call"]) } else { json!([100, algorithm]) };
        let one = when_over(&mut agent, algorithm, |_| {
            is_over(&server.rpc("dispatcher.explain", key.clone()).unwrap())
        });
        assert_eq!(one["FLAGS"], "AX");
        assert!(
            one["RATE"]["CPS"] == 1 && one["RATE"]["BURST"] == 1 && one["RATE"]["OVER"].as_i64() > Some(0),
            "{one}"
        );
        // Other methods go there, and it counts as active.
        let to = when_over(&mut agent, algorithm, |agent| Some(ask(agent, "MESSAGE", (4, ""))));
        assert_eq!((to.0.split(' ').next(), &*to.1, &*to.2), (Some("1"), &*uri, "1"));
    }
    let listed = || {
        server.rpc("dispatcher.list", json!(["full", 100])).unwrap()["RECORDS"][0]["SET"]["TARGETS"][0]["DEST"].clone()
    };
    assert_eq!((&listed()["FLAGS"], &listed()["RATE"]["CPS"]), (&json!("AX"), &json!(1)));
    let stats = server.rpc("dispatcher.stats", json!([100])).unwrap();
    let stats = stats.as_array().map_or(&stats, |all| &all[0]);
    assert!(
        stats["CPS"] == 1 && stats["CPS_BURST"] == 1 && stats["OVER_RATE_TOTAL"].as_i64() > Some(0),
        "{stats}"
    );
    // What is chosen for the list takes a token when it is sent there, or is not sent.
    let sent = when_over(&mut agent, 4, |agent| {
        let (cause, ..) = ask(agent, "INVITE", (4, "list"));
        cause.starts_with("-9").then_some(cause)
    });
    assert!(sent.starts_with("-9"));
    // A reload with the same limit gives nothing back; more, by a command, counts at once; and none.
    let over_after_reload = |agent: &mut Agent| {
        server.write_list(&line("cps=1;x=y"));
        server.rpc("dispatcher.reload", json!([])).unwrap();
        (ask(agent, "INVITE", (4, "")).0 == OVER).then_some(())
    };
    when_over(&mut agent, 4, over_after_reload);
    let update = |attrs: &str| server.rpc("dispatcher.update", json!([100, uri, -1, -1, attrs])).unwrap();
    when_over(&mut agent, 4, |_| Some(()));
    update("duid=a;cps=1;cps_burst=40");
    let got = (0..60).filter(|_| ask(&mut agent, "INVITE", (4, "")).0 != OVER).count();
    assert!((39..55).contains(&got), "{got}");
    update("duid=a");
    assert!((0..100).all(|_| ask(&mut agent, "INVITE", (10, "")).0.starts_with('1')));
    assert_eq!(listed().get("RATE"), None);
    let audit = server.rpc("dispatcher.load_audit", json!([])).unwrap();
    assert_eq!((&audit["DRIFT"], &audit["MISPLACED"]), (&json!(0), &json!(0)));
    server.stop();
}

/// The script does not ask whether the request comes again.
#[test]
fn a_retransmission_takes_no_token() {
    const ROUTE: &str = r#"
request_route {
	if (is_method("ACK")) { t_relay(); exit; }
	if (!is_method("INVITE")) { t_check_trans(); exit; }
	$var(alg) = $(hdr(X-Alg){s.int});
	if ($var(alg) == 104) {
		if (!ds_select("100", "4") || !ds_set_dst()) { send_reply("503", "Over"); exit; }
	} else if (!ds_select_dst("100", "$var(alg)")) { send_reply("503", "Over"); exit; }
	t_relay();
}
"#;
    for (algorithm, lean) in [(0, 0), (4, 0), (4, 2), (9, 1), (10, 0), (12, 0), (104, 0)] {
        let gateways = Gateways::ringing(1);
        let params = format!("modparam(\"dispatcher\", \"flags\", 2)\n{LIMITS}");
        let params = format!("{params}modparam(\"dispatcher\", \"ds_lean_failover\", {lean})\n");
        let list = gateways.list(100, "weight=1;cps=1;cps_burst=20");
        let server = Kamailio::builder().workers(4).list(list).modparam(&params).route(ROUTE).start();
        let agent = &mut server.agent();
        let mut ring = |n: usize| {
            let mut calls: Vec<_> =
                (0..n).map(|_| with(agent.call(), "X-Alg", &algorithm.to_string())).collect();
            for call in &mut calls {
                let invite = call.invite();
                agent.send(&invite);
                let first = agent.reply_to(call, "INVITE", 180..=699).status();
                assert_eq!(first, Some(180), "algorithm {algorithm}, ds_lean_failover {lean}");
                // It rings on, also when what comes again has been dealt with.
                for _ in 0..4 {
                    agent.send(&invite);
                    let again = agent.reply_to(call, "INVITE", 180..=699).status();
                    assert_eq!(again, Some(180), "algorithm {algorithm}, ds_lean_failover {lean}");
                }
            }
        };
        // All of the burst, each sent five times.
        ring(20);
        assert_eq!(gateways.counts("INVITE"), [20], "algorithm {algorithm}, ds_lean_failover {lean}");
        // And there are no more tokens than before.
        let over = |_| ask_over(&server, algorithm);
        assert!((0..10).filter(|n| over(*n)).count() >= 5, "algorithm {algorithm}, ds_lean_failover {lean}");
        server.stop();
    }
}

/// Whether a new call is refused.
fn ask_over(server: &Kamailio, algorithm: u32) -> bool {
    let mut agent = server.agent();
    let mut call = with(agent.call(), "X-Alg", &algorithm.to_string());
    agent.send(&call.invite());
    agent.reply_to(&call, "INVITE", 180..=699).status() == Some(503)
}

#[test]
fn without_ds_limits_a_rate_is_text_for_the_script() {
    let gateways = Gateways::ringing(1);
    let server =
        Kamailio::builder().list(gateways.list(100, "cps=1;cps_burst=many")).route(ONE_BY_ONE).start();
    let mut agent = server.agent();
    assert!((0..20).all(|_| ask(&mut agent, "INVITE", (4, "")).0.starts_with('1')));
    let told = "without ds_limits these attributes are only text for the script: cps, cps_burst";
    assert_eq!(server.log_lines(told).len(), 1);
    server.stop();
}
