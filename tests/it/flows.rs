//! The main flows, recorded from the wire, as the pictures of docs/flows.md. `make flows` draws them anew; here each must be as it
//! is committed.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::support::flow::Flow;
use crate::support::{Agent, Call, Kamailio, Message, eventually};

const SOON: Duration = Duration::from_secs(20);

/// As on the page Start. One worker, so that what it sends has one order.
const ROUTE: &str = r#"
request_route {
    if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
    if (has_totag()) { if (loose_route() || is_method("ACK") && t_check_trans()) t_relay(); exit; }
    t_check_trans();
    if (!is_method("INVITE")) { sl_send_reply("200", "OK"); exit; }
    record_route();
    if (!ds_select_dst("100", "10")) { send_reply("503", "No Gateway"); exit; }
    t_on_failure("NEXT_GATEWAY");
    t_relay();
}
failure_route[NEXT_GATEWAY] {
    if (t_is_canceled()) exit;
    if (t_check_status("408|5[0-9][0-9]") && ds_next_dst()) { t_on_failure("NEXT_GATEWAY"); t_relay(); }
}
"#;
const PARAMETERS: &str = r#"
modparam("dispatcher", "ds_load_auto", 1)
modparam("dispatcher", "flags", 2)
modparam("dispatcher", "ds_lean_failover", 2)
"#;

/// A caller, the server, and gateways that the test answers for.
struct Scene {
    server: Kamailio,
    caller: Agent,
    call: Call,
    /// In the order in which they were asked.
    gateways: Vec<Agent>,
    flow: Flow,
}

impl Scene {
    fn open(gateways: usize) -> Scene {
        let sink = SocketAddr::from(([127, 0, 0, 1], 9));
        let mut gateways: Vec<_> = (0..gateways).map(|_| Agent::bind(sink)).collect();
        let list: String =
            gateways.iter().map(|one| format!("100 sip:{} 0 0 maxload=200\n", one.local())).collect();
        let server = Kamailio::builder().workers(1).list(list).route(ROUTE).modparam(PARAMETERS).start();
        gateways.iter_mut().for_each(|one| one.turn_to(server.address()));
        let caller = server.agent();
        let call = caller.call();
        Scene { server, caller, call, gateways, flow: Flow::record() }
    }

    fn among(&self) -> Vec<SocketAddr> {
        let ours = [self.caller.local(), self.server.address()];
        ours.into_iter().chain(self.gateways.iter().map(Agent::local)).collect()
    }

    fn names(&self) -> &'static [&'static str] {
        match self.gateways.len() {
            1 => &["caller", "Kamailio", "the gateway"],
            _ => &["caller", "Kamailio", "gateway 1", "gateway 2"],
        }
    }

    /// The request at this gateway.
    #[track_caller]
    fn at(&mut self, gateway: usize, method: &str) -> Message {
        let request = self.gateways[gateway].receive_where(SOON, |message| message.method() == Some(method));
        request.unwrap_or_else(|| panic!("no {method} at gateway {gateway}"))
    }

    /// The INVITE at whoever is asked first; that is the first gateway from now on.
    fn first_invite(&mut self) -> Message {
        self.caller.send(&self.call.invite());
        let end = std::time::Instant::now() + SOON;
        while std::time::Instant::now() < end {
            for at in 0..self.gateways.len() {
                let brief = Duration::from_millis(50);
                let found =
                    self.gateways[at].receive_where(brief, |message| message.method() == Some("INVITE"));
                if let Some(invite) = found {
                    self.gateways.swap(0, at);
                    return invite;
                }
            }
        }
        panic!("no INVITE at any gateway");
    }

    /// Writes the loads below this message, when they are these.
    #[track_caller]
    fn loads(&mut self, below: &str, due: &[i64]) {
        let of = |server: &Kamailio, gateways: &[Agent]| -> Vec<i64> {
            let list = server.list();
            let load = |one: &Agent| {
                let uri = format!("sip:{}", one.local());
                list.iter().find(|row| row.uri == uri).and_then(|row| row.load)
            };
            gateways.iter().filter_map(load).collect()
        };
        eventually(&format!("loads {due:?}"), SOON, || of(&self.server, &self.gateways) == due);
        let each = due.iter().enumerate().map(|(at, load)| format!("{}: {load}", self.names()[at + 2]));
        let text = format!("calls at {}", each.collect::<Vec<_>>().join(", "));
        let among = self.among();
        self.flow.note(&among, below, text);
    }

    /// 180 and 200 of this gateway, as far as the caller and back.
    fn answered(&mut self, gateway: usize, invite: &Message) {
        self.gateways[gateway].reply(invite, 180);
        self.caller.reply_to(&self.call, "INVITE", 180..=180);
        self.gateways[gateway].reply(invite, 200);
        let answer = self.caller.answer(&self.call, "INVITE");
        self.call.learn(&answer);
        self.caller.send(&self.call.ack(&answer));
        self.at(gateway, "ACK");
    }

    fn closed(mut self, name: &str, title: &str) {
        let who: Vec<_> = self.among().into_iter().zip(self.names().iter().copied()).collect();
        self.server.assert_healthy();
        self.server.stop();
        as_committed(name, &self.flow.picture(title, &who));
    }
}

/// Compares with the picture of the docs, or draws it where `FLOWS` says.
#[track_caller]
fn as_committed(name: &str, picture: &str) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = format!("flow-{name}.svg");
    if let Some(to) = std::env::var_os("FLOWS") {
        std::fs::write(top.join(to).join(file), picture).expect("a picture");
        return;
    }
    let committed = std::fs::read_to_string(top.join("docs/images").join(&file)).unwrap_or_default();
    assert!(
        committed == picture,
        "docs/images/{file} is not what went over the wire; `make flows` draws it anew:\n{picture}"
    );
}

#[test]
fn failover_moves_the_call_to_the_next_gateway() {
    let mut scene = Scene::open(2);
    let invite = scene.first_invite();
    scene.loads("INVITE", &[1, 0]);
    scene.gateways[0].reply(&invite, 503);
    let again = scene.at(1, "INVITE");
    scene.at(0, "ACK");
    scene.loads("INVITE", &[0, 1]);
    scene.answered(1, &again);
    scene.loads("ACK", &[0, 1]);
    scene.closed(
        "failover",
        "An INVITE that the first gateway refuses goes to the second, and so does its count",
    );
}

#[test]
fn bye_ends_the_count() {
    let mut scene = Scene::open(1);
    let invite = scene.first_invite();
    scene.loads("INVITE", &[1]);
    scene.answered(0, &invite);
    scene.loads("ACK", &[1]);
    scene.caller.send_on(&scene.call.bye());
    let bye = scene.at(0, "BYE");
    scene.gateways[0].reply(&bye, 200);
    assert_eq!(scene.caller.answer(&scene.call, "BYE").status(), Some(200));
    scene.loads("200 OK (BYE)", &[0]);
    scene.closed("bye", "A call from its INVITE to its BYE");
}

#[test]
fn cancel_ends_the_count() {
    let mut scene = Scene::open(1);
    let invite = scene.first_invite();
    scene.gateways[0].reply(&invite, 180);
    scene.caller.reply_to(&scene.call, "INVITE", 180..=180);
    scene.loads("180", &[1]);
    scene.caller.send(&scene.call.cancel());
    let cancel = scene.at(0, "CANCEL");
    scene.loads("CANCEL", &[0]);
    scene.caller.answer(&scene.call, "CANCEL");
    // One after the other, so that the picture is always the same.
    scene.gateways[0].reply(&cancel, 200);
    scene.gateways[0].reply(&invite, 487);
    scene.at(0, "ACK");
    let answer = scene.caller.answer(&scene.call, "INVITE");
    assert_eq!(answer.status(), Some(487));
    scene.caller.send(&scene.call.ack(&answer));
    scene.closed("cancel", "A call that the caller cancels while it rings");
}

#[test]
fn probes_take_a_gateway_out_and_back() {
    let sink = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut gateway = Agent::bind(sink);
    let mut flow = Flow::record();
    let parameters = "modparam(\"dispatcher\", \"ds_ping_interval\", 1)\nmodparam(\"dispatcher\", \"ds_probing_mode\", 1)\n";
    let list = format!("100 sip:{}\n", gateway.local());
    let server = Kamailio::builder().workers(1).list(list).route(ROUTE).modparam(parameters).start();
    gateway.turn_to(server.address());
    let among = [server.address(), gateway.local()];
    let mut before = None;
    for (status, below, flags, text) in
        [(503, "503", "IP", "inactive: it gets no calls"), (200, "200", "AP", "active: it gets calls")]
    {
        // A probe that is sent again has the same Call-ID.
        let probe = gateway.receive_where(SOON, |message| {
            message.method() == Some("OPTIONS") && Some(message.call_id()) != before.as_deref()
        });
        let probe = probe.expect("a probe");
        gateway.reply(&probe, status);
        before = Some(probe.call_id().to_owned());
        eventually(flags, SOON, || server.list()[0].flags == flags);
        flow.note(&among, below, format!("{flags} – {text}"));
    }
    flow.until(&among, "200");
    let who = [(among[0], "Kamailio"), (among[1], "gateway")];
    server.stop();
    as_committed("probe", &flow.picture("A gateway that refuses a probe, and answers the next", &who));
}
