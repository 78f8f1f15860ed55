//! The configurations in `examples/`, as they are: each starts, and its calls of every fate leave no load behind.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::calls::{all_over, assert_no_drift, hang_up_all, loads, obedient, with};
use crate::probing_tls::certificate;
use crate::support::host;
use crate::support::server_config::Builder;
use crate::support::{Agent, Gateways, Kamailio, Message, Over, eventually, net};

const SOON: Duration = Duration::from_secs(10);

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// Whether this server lacks a module of this configuration, as a line says: the test is skipped.
pub fn cannot_run(config: &str) -> bool {
    host::lacks_some_of(&example(config))
}

/// A server with this configuration, and its script if it has one.
pub fn with_example(config: &str, script: &str) -> Builder {
    let script = format!("SCRIPT=\"{}\"", example(script).display());
    Kamailio::builder().file(example(config)).define(script)
}

/// Where callers on connections reach `browser.cfg`, and its certificate.
pub struct Secure {
    pub tls: SocketAddr,
    pub certificate: TempDir,
}

impl Secure {
    pub fn new() -> Secure {
        Secure { tls: net::free_port(net::address()), certificate: certificate() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.certificate.path().join(name)
    }

    pub fn builder(&self) -> Builder {
        let define = |name: &str, file: &str| format!("{name}=\"{}\"", self.file(file).display());
        with_example("browser.cfg", "")
            .tcp()
            .define(format!("TLS_ADDR=tls:{}", self.tls))
            .define(define("TLS_CERTIFICATE", "cert.pem"))
            .define(define("TLS_KEY", "key.pem"))
    }

    pub fn agent(&self, server: &Kamailio, over: Over) -> Agent {
        match over {
            Over::Udp => server.agent(),
            Over::Tcp | Over::WebSocket => Agent::by(over, server.address(), Path::new("")),
            Over::Tls | Over::SecureWebSocket => Agent::by(over, self.tls, &self.file("cert.pem")),
        }
    }
}

fn takes_calls_of_every_fate(config: &str, script: &str) {
    if cannot_run(config) {
        return;
    }
    let gateways = obedient(3);
    let server = with_example(config, script).list(gateways.list(100, "maxload=4")).start();
    every_fate(&server, &mut server.agent());
    all_over(server);
}

/// Calls that are answered, refused, cancelled and not answered: even while they last, and nothing in the end.
fn every_fate(server: &Kamailio, agent: &mut Agent) {
    let mut answered: Vec<_> = (0..9).map(|_| agent.call()).collect();
    for call in &mut answered {
        assert_eq!(agent.place(call).status(), Some(200));
    }
    assert_eq!(loads(server, 3), [3; 3]);
    let mut refused = with(agent.call(), "X-Answer", "486");
    assert_eq!(agent.place(&mut refused).status(), Some(486));
    let mut cancelled: Vec<_> = (0..3).map(|_| with(agent.call(), "X-Answer", "180")).collect();
    for call in &mut cancelled {
        agent.ring(call);
    }
    let mut too_many = agent.call();
    assert_eq!(agent.place(&mut too_many).status(), Some(404));
    for call in &mut cancelled {
        assert_eq!(agent.cancel(call), 487);
    }
    assert_eq!(loads(server, 3), [3; 3]);
    hang_up_all(agent, &mut answered);
    // Every worker has a copy of the same INVITE at once.
    for _ in 0..20 {
        let mut call = agent.call();
        let invite = call.invite();
        for _ in 0..8 {
            agent.send(&invite);
        }
        assert_eq!(agent.settle(&mut call).status(), Some(200));
        assert_eq!(loads(server, 3).iter().sum::<i64>(), 1);
        hang_up_all(agent, [&mut call]);
    }
    eventually("all are empty", SOON, || assert_no_drift(server).calls == 0);
    assert_eq!(loads(server, 3), [0; 3]);
}

#[test]
fn callers_on_tls_and_websocket_are_called_back_on_their_connections() {
    if cannot_run("browser.cfg") {
        return;
    }
    let (gateways, secure) = (obedient(3), Secure::new());
    let server = secure.builder().list(gateways.list(100, "maxload=4")).start();
    for over in [Over::Udp, Over::Tcp, Over::Tls, Over::WebSocket, Over::SecureWebSocket] {
        let mut agent = secure.agent(&server, over);
        every_fate(&server, &mut agent);
        let mut call = agent.call();
        assert_eq!(agent.place(&mut call).status(), Some(200), "{over:?}");
        // What the gateway asks after a re-INVITE of its own still arrives: the answer names the connection, too.
        for (cseq, method) in [(1, "INVITE"), (2, "BYE")] {
            assert_eq!(loads(&server, 3).iter().sum::<i64>(), 1, "{over:?}");
            let (gateway, request) = gateways.within(&call.id, method, cseq);
            gateways.send(gateway, &request, request.next_hop());
            let fits = |m: &Message| m.method() == Some(method) && m.call_id() == call.id;
            let arrived = agent.receive_where(SOON, fits);
            agent.reply(&arrived.unwrap_or_else(|| panic!("{over:?}: no {method}")), 200);
            eventually("the gateway has the answer", SOON, || {
                let answers = |m: &Message| m.status() == Some(200) && m.cseq() == (cseq, method);
                gateways
                    .received()
                    .iter()
                    .any(|one| answers(&one.message) && one.message.call_id() == call.id)
            });
        }
        eventually("the call is over", SOON, || assert_no_drift(&server).calls == 0);
    }
    all_over(server);
}

#[test]
fn shortest_proxy() {
    takes_calls_of_every_fate("shortest.cfg", "");
}

#[test]
fn shortest_proxy_in_lua() {
    takes_calls_of_every_fate("lua.cfg", "shortest.lua");
}

#[test]
fn shortest_proxy_in_python() {
    takes_calls_of_every_fate("python.cfg", "shortest.py");
}

#[test]
fn two_sets_spill_over_when_the_first_is_full_or_says_nothing() {
    if cannot_run("spill.cfg") {
        return;
    }
    let gateways = Gateways::start(3, |gateway, request| match (request.method(), gateway) {
        (Some("INVITE"), 1) => vec![], // set 100 has a dead one
        _ => vec![200],
    });
    let line = |set: u32, gateway: usize| {
        format!("{set} {} 0 0 duid=gw{gateway};maxload=2\n", gateways.uri(gateway))
    };
    let list = [line(100, 0), line(100, 1), line(200, 2)].concat();
    let server = with_example("spill.cfg", "").list(list).start();
    let mut agents: Vec<Agent> = (0..4).map(|_| server.agent()).collect();
    let mut calls: Vec<_> = agents.iter().map(Agent::call).collect();
    for (agent, call) in std::iter::zip(&mut agents, &mut calls) {
        assert_eq!(agent.place(call).status(), Some(200));
    }
    assert_eq!(loads(&server, 3), [2, 0, 2]);
    for (agent, call) in std::iter::zip(&mut agents, &mut calls) {
        hang_up_all(agent, [call]);
    }
    all_over(server);
}

/// What systemd does for `systemctl reload kamailio`: each line in turn, until one fails.
#[test]
fn drop_in_loads_a_list_that_is_right_and_no_other() {
    let binrpc = "modparam(\"ctl\", \"binrpc\", \"unixs:RUN_DIR/ctl\")";
    let server = Kamailio::builder().list("100 sip:127.0.0.11\n").module("ctl").modparam(binrpc).start();
    let kamcmd = format!("{} -s unixs:{}/ctl", host::kamcmd_path().display(), server.run_dir().display());
    let drop_in = std::fs::read_to_string(example("systemd.conf")).unwrap();
    let lines: Vec<_> = drop_in
        .lines()
        .filter_map(|line| line.strip_prefix("ExecReload="))
        .map(|line| line.replace("/usr/bin/dispatcher-check", env!("CARGO_BIN_EXE_dispatcher-check")))
        .map(|line| line.replace("/etc/kamailio/dispatcher.list", &server.list_file().display().to_string()))
        .map(|line| line.replace("/usr/sbin/kamcmd", &kamcmd).replace("$$", "$"))
        .collect();
    assert_eq!(lines.len(), 2, "{drop_in}");
    let reload =
        || lines.iter().all(|line| Command::new("sh").args(["-c", line]).status().unwrap().success());
    for (list, right, serve) in [
        ("100 sip:127.0.0.11\n100 sip:127.0.0.12\n", true, 2),
        // A warning is loaded as it says.
        ("100 sip:127.0.0.11\n100 sip:127.0.0.12\n100 sip:127.0.0.13 0 0 maxload=2x\n", true, 3),
        ("100 sip:127.0.0.11\n100 >\n", false, 3),
    ] {
        server.write_list(list);
        assert_eq!((reload(), server.list().len()), (right, serve), "{list}");
    }
    server.stop();
}
