//! Behind a server that hides who is on its other side, calls count as ever: `topoh`, also with Call-IDs of its own towards the
//! gateways, and `topos`, which keeps what it hides in a database.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::calls::{
    self, FAILOVER, all_over, assert_no_drift, at_one_and_eight_workers, hang_up_all, loads, obedient, set,
    with,
};
use crate::followed::proxy;
use crate::support::counting::{Counting, counted};
use crate::support::over::{Over, over};
use crate::support::server_config::Builder;
use crate::support::{Agent, Call, Gateways, Kamailio, Message, Received, eventually, host};

at_one_and_eight_workers! {
    calls_behind_topoh_count_until_their_end,
    calls_with_masked_call_ids_count_until_their_end,
}

const SOON: Duration = Duration::from_secs(10);

fn calls_behind_topoh_count_until_their_end(workers: u32) {
    if !host::lacks(&["topoh"]) {
        count_until_their_end(workers, false, |builder| builder.module("topoh"));
    }
}

fn calls_with_masked_call_ids_count_until_their_end(workers: u32) {
    if host::lacks(&["topoh"]) {
        return;
    }
    let masked = "modparam(\"topoh\", \"mask_callid\", 1)";
    count_until_their_end(workers, true, |builder| builder.module("topoh").modparam(masked));
}

fn calls_behind_topos_count_until_their_end() {
    if host::lacks(&["topos", "db_sqlite"]) {
        return;
    }
    let database = database();
    let url = format!("sqlite:///{}/topos.db", database.path().display());
    let kept = format!("modparam(\"topos\", \"db_url\", \"{url}\")");
    // SQLite refuses a process what another one is writing: one worker.
    count_until_their_end(1, false, |builder| builder.module("db_sqlite").module("topos").modparam(&kept));
}

#[test]
fn calls_behind_topos_that_the_script_counts() {
    counted(Counting::Script, calls_behind_topos_count_until_their_end);
}

#[test]
fn calls_behind_topos_that_count_themselves() {
    for way in [Counting::Followed, Counting::Both] {
        counted(way, calls_behind_topos_count_until_their_end);
    }
}

#[test]
fn calls_behind_topos_over_tcp_that_count_themselves() {
    over(Over::Tcp, || counted(Counting::Followed, calls_behind_topos_count_until_their_end));
}

/// The server hangs up by itself: the time of its dialog is over.
fn server_hangs_up_for_the_dialog(workers: u32, hide: impl FnOnce(Builder) -> Builder) {
    let gateways = obedient(2);
    let dialog = "if (is_present_hf(\"X-Short\")) $dlg_ctx(timeout_bye) = 1; dlg_manage();";
    let route = ROUTE_WITH_DIALOG.replace("DIALOG", dialog);
    let timers = "modparam(\"dialog\", \"default_timeout\", 3)\n\
                  modparam(\"dialog\", \"timer_procs\", 0)";
    let server =
        proxy(workers, gateways.list(100, "maxload=9")).route(&route).module("dialog").modparam(timers);
    let server = hide(server).start();
    let agent = server.agent();
    let mut world = World { server, gateways, agent };
    // One of each end: the caller's, the gateway's, the server's.
    let mut calls = Vec::new();
    let place = |world: &mut World, mut call: Call, count: i64| {
        assert_eq!(world.agent.place(&mut call).status(), Some(200));
        world.expect(count, "answered");
        call
    };
    for count in 1..=2 {
        let call = world.call("180 200");
        calls.push(place(&mut world, call, count));
    }
    assert_eq!(world.agent.hang_up(&mut calls[0]), 200);
    world.expect(1, "the caller hung up");
    world.gateway_hangs_up(&calls[1]);
    world.expect(0, "the gateway hung up");
    // The time of this one alone: it ends while nothing else does.
    let call = with(world.call("180 200"), "X-Short", "1");
    let call = place(&mut world, call, 1);
    let fits = |m: &Message| m.method() == Some("BYE") && m.call_id() == call.id;
    let bye = world.agent.receive_where(SOON, fits).expect("the server's BYE");
    // Not before the other end has its own: the server sends none of a dialog whose first one is answered, and complains.
    assert!(world.gateways.await_total("BYE", 2, SOON));
    world.agent.reply(&bye, 200);
    world.expect(0, "the server hung up");
    all_over(world.server);
}

const ROUTE_WITH_DIALOG: &str = r#"
request_route {
	if (is_method("CANCEL")) { if (t_check_trans()) t_relay(); exit; }
	if (has_totag()) { if (loose_route()) t_relay(); else if (is_method("ACK") && t_check_trans()) t_relay(); exit; }
	t_check_trans();
	record_route();
	DIALOG
	if (!ds_select_dst("100", "10")) { send_reply("404", "No destination"); exit; }
	t_relay();
}
"#;

#[test]
fn dialogs_behind_topos_end_with_the_servers_own_bye() {
    if host::lacks(&["topos", "db_sqlite"]) {
        return;
    }
    let database = database();
    let url = format!("sqlite:///{}/topos.db", database.path().display());
    let kept = format!("modparam(\"topos\", \"db_url\", \"{url}\")");
    counted(Counting::Followed, || {
        server_hangs_up_for_the_dialog(1, |one| one.module("db_sqlite").module("topos").modparam(&kept));
    });
}

#[test]
fn dialogs_behind_topoh_end_with_the_servers_own_bye() {
    if host::lacks(&["topoh"]) {
        return;
    }
    for masked in ["modparam(\"topoh\", \"mask_callid\", 0)", "modparam(\"topoh\", \"mask_callid\", 1)"] {
        counted(Counting::Followed, || {
            server_hangs_up_for_the_dialog(8, |one| one.module("topoh").modparam(masked));
        });
    }
}

/// A database with the tables that the server comes with.
fn database() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("sqlite3");
    command.arg("-bail").arg(dir.path().join("topos.db")).stdin(Stdio::piped());
    let mut sqlite = command.spawn().expect("sqlite3 can be run");
    let mut input = sqlite.stdin.take().unwrap();
    for part in ["standard", "topos"] {
        let text = std::fs::read(format!("/usr/share/kamailio/db_sqlite/{part}-create.sql")).unwrap();
        input.write_all(&text).unwrap();
    }
    drop(input);
    assert!(sqlite.wait().unwrap().success());
    dir
}

/// Callers and gateways know a call by different names: `X-Id` says which it is.
struct World {
    server: Kamailio,
    gateways: Gateways,
    agent: Agent,
}

impl World {
    fn call(&self, answer: &str) -> Call {
        let call = self.agent.call();
        let id = call.id.clone();
        with(with(call, "X-Id", &id), "X-Answer", answer)
    }

    /// The first INVITE of the call, as its gateway got it last.
    #[track_caller]
    fn invite(&self, call: &Call) -> Received {
        let is_it =
            |one: &Received| one.message.header("X-Id") == Some(&*call.id) && one.message.tag("To").is_none();
        self.gateways.last_invite(is_it).expect("a gateway has the INVITE")
    }

    /// The gateway's BYE: it knows nobody but the server.
    #[track_caller]
    fn gateway_hangs_up(&mut self, call: &Call) {
        let (gateway, bye) = self.gateways.within(self.invite(call).message.call_id(), "BYE", 1);
        self.gateways.send(gateway, &bye, self.server.address());
        let fits = |m: &Message| m.method() == Some("BYE") && m.call_id() == call.id;
        let arrived = self.agent.receive_where(SOON, fits).expect("the BYE");
        self.agent.reply(&arrived, 200);
    }

    #[track_caller]
    fn expect(&self, calls: i64, what: &str) {
        eventually(what, SOON, || loads(&self.server, 2).iter().sum::<i64>() == calls);
        assert_eq!(
            assert_no_drift(&self.server).early + assert_no_drift(&self.server).confirmed,
            calls,
            "{what}"
        );
    }
}

fn count_until_their_end(workers: u32, masked: bool, hide: impl FnOnce(Builder) -> Builder) {
    let gateways = obedient(2);
    let server = hide(calls::relaying(workers, gateways.list(100, "maxload=9"), FAILOVER)).start();
    let agent = server.agent();
    let mut world = World { server, gateways, agent };

    let mut up = Vec::new();
    for n in 1..=8 {
        let mut call = world.call("180 200");
        assert_eq!(world.agent.place(&mut call).status(), Some(200));
        world.expect(n, "answered");
        // It does hide.
        let Received { gateway, message: invite } = world.invite(&call);
        let caller = world.agent.local().to_string();
        assert!(!invite.contact().unwrap().contains(&caller), "{:?}", invite.contact());
        assert!(!call.target().unwrap().contains(&world.gateways.address(gateway).to_string()));
        assert_eq!(invite.call_id() != call.id, masked, "{}", invite.call_id());
        up.push(call);
    }
    assert_eq!(loads(&world.server, 2), [4, 4]);

    for (answers, status) in [("486", 486), ("180 603", 603), ("407", 407), ("503", 500)] {
        let mut call = world.call(answers);
        assert_eq!(world.agent.place(&mut call).status(), Some(status), "{answers}");
        world.expect(8, answers);
    }
    for crossing in [false, true] {
        let mut call = world.call("180");
        world.agent.ring(&mut call);
        world.expect(9, "rings");
        let id = world.invite(&call).message.call_id().to_owned();
        if crossing {
            world.gateways.answer(&id, 200);
        }
        if world.agent.cancel(&mut call) == 200 {
            world.expect(9, "answered all the same");
            hang_up_all(&mut world.agent, [&mut call]);
        }
        world.expect(8, "cancelled");
    }
    for (answer, stays) in [("488", 8), ("200", 8), ("481", 7)] {
        let call = &mut up[0];
        set(call, "X-Answer", answer);
        world.agent.send(&call.invite());
        let reply = world.agent.answer(call, "INVITE");
        assert_eq!(reply.status(), answer.parse().ok());
        let ack = call.ack(&reply);
        world.agent.send(&ack);
        world.expect(stays, answer);
    }
    let (by_caller, by_gateway) = up[1..].split_at_mut(4);
    hang_up_all(&mut world.agent, by_caller);
    world.expect(3, "the callers hung up");
    for (left, call) in by_gateway.iter().enumerate().rev() {
        world.gateway_hangs_up(call);
        world.expect(left as i64, "a gateway hung up");
    }
    all_over(world.server);
}
