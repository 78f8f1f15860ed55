//! A thousand calls of random lives, followed by the module (`ds_load_auto`), beside a model that knows where each of them is: at
//! every rest the loads are the model's.
//!
//! LIVES_SEED repeats a run; the seed is printed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::calls::{all_over, assert_no_drift, loads, set, with};
use crate::followed::proxy;
use crate::odd_messages::Random;
use crate::storm_branches::gateways;
use crate::support::over::{Over, over};
use crate::support::{Agent, Call, Gateways, Message, eventually};

const LIVES: usize = 1000;
const GATEWAYS: usize = 4;
/// Calls at a time, at most.
const LIVE: usize = 40;
const SOON: Duration = Duration::from_secs(10);

/// A call of the model.
struct Life {
    call: Call,
    gateway: usize,
    rings: bool,
    /// Number of the last request that somebody has forged in it.
    forged: u32,
    /// The last INVITE that its gateway has is not the one that leaves a route for a BYE.
    invited_again: bool,
}

struct World {
    random: Random,
    agent: Agent,
    gateways: Gateways,
    lives: Vec<Life>,
    begun: usize,
}

impl World {
    fn begin(&mut self) -> Call {
        self.begun += 1;
        let algorithm = ["0", "4", "8", "9", "10"][self.random.below(5)];
        with(self.agent.call(), "X-Alg", algorithm)
    }

    /// Where the call was sent last.
    fn lives_on(&mut self, mut call: Call, rings: bool) {
        call.extra.clear();
        let invite = self.gateways.last_invite(|one| one.message.call_id() == call.id);
        let gateway = invite.expect("a gateway has it").gateway;
        self.lives.push(Life { call, gateway, rings, forged: 1000, invited_again: false });
    }

    fn any(&mut self, rings: bool) -> Option<Life> {
        let fit: Vec<usize> = (0..self.lives.len()).filter(|&at| self.lives[at].rings == rings).collect();
        if fit.is_empty() { None } else { Some(self.lives.swap_remove(fit[self.random.below(fit.len())])) }
    }

    /// Something begins.
    fn new_call(&mut self) -> &'static str {
        let call = self.begin();
        match self.random.below(6) {
            0 => {
                let refused = ["486", "180 603", "302", "481"][self.random.below(4)];
                let mut call = with(call, "X-Answer", refused);
                assert!(self.agent.place(&mut call).status() >= Some(300));
                "refused"
            }
            1 => {
                // The script sends it on by hand.
                let next = self.gateways.uri(self.random.below(GATEWAYS));
                let mut call = with(with(call, "X-Answer", "503"), "X-Next", &next);
                assert_eq!(self.agent.place(&mut call).status(), Some(200));
                self.lives_on(call, false);
                "went to another"
            }
            2 => {
                let mut call = with(call, "X-Self", "1");
                assert_eq!(self.agent.place(&mut call).status(), Some(486));
                "answered by the script"
            }
            3 | 4 => {
                let mut call = with(call, "X-Answer", "180");
                self.agent.ring(&mut call);
                self.lives_on(call, true);
                "rings"
            }
            _ => {
                let mut call = call;
                assert_eq!(self.agent.place(&mut call).status(), Some(200));
                self.lives_on(call, false);
                "answered at once"
            }
        }
    }

    /// Something happens to one that rings.
    fn ringing(&mut self, mut life: Life) -> &'static str {
        match self.random.below(4) {
            0 => {
                assert_eq!(self.agent.cancel(&mut life.call), 487);
                "cancelled"
            }
            1 => {
                // The answer and the CANCEL cross.
                self.gateways.answer(&life.call.id, 200);
                if self.agent.cancel(&mut life.call) == 200 {
                    life.rings = false;
                    self.lives.push(life);
                    return "crossed: answered";
                }
                "crossed: cancelled"
            }
            2 => {
                self.gateways.answer(&life.call.id, 486);
                assert_eq!(self.agent.settle(&mut life.call).status(), Some(486));
                "refused while it rang"
            }
            _ => {
                self.gateways.answer(&life.call.id, 200);
                assert_eq!(self.agent.settle(&mut life.call).status(), Some(200));
                life.rings = false;
                self.lives.push(life);
                "answered"
            }
        }
    }

    /// Something happens to one that is up.
    fn up(&mut self, mut life: Life) -> &'static str {
        let done = match self.random.below(7) {
            0 if !life.invited_again => {
                self.gateways.hang_up(&life.call.id);
                let fits = |m: &Message| m.method() == Some("BYE") && m.call_id() == life.call.id;
                let bye = self.agent.receive_where(SOON, fits).expect("the gateway's BYE");
                self.agent.reply(&bye, 200);
                return "the gateway hung up";
            }
            1 => {
                let bye = life.call.bye();
                self.agent.send(&bye);
                self.agent.send(&bye);
                assert_eq!(self.agent.answer(&life.call, "BYE").status(), Some(200));
                return "hung up twice";
            }
            2 => {
                set(&mut life.call, "X-Answer", "481");
                assert_eq!(self.agent.place(&mut life.call).status(), Some(481));
                return "lost";
            }
            3 => {
                set(&mut life.call, "X-Answer", ["488", "491", "200"][self.random.below(3)]);
                // The route stays as it is.
                let mut call = life.call.clone();
                self.agent.place(&mut call);
                life.call.cseq = call.cseq;
                life.invited_again = true;
                "re-INVITE"
            }
            4 | 5 => {
                let mut forged = life.call.clone();
                life.forged += 1;
                forged.cseq = life.forged;
                set(&mut forged, "X-Forged", ["challenge", "tm", "drop"][self.random.below(3)]);
                self.agent.send(&forged.bye());
                "forged BYE"
            }
            _ => {
                assert_eq!(self.agent.hang_up(&mut life.call), 200);
                return "hung up";
            }
        };
        life.call.extra.clear();
        self.lives.push(life);
        done
    }

    fn step(&mut self) -> &'static str {
        let over = self.begun == LIVES;
        match self.random.below(3) {
            0 if !over && self.lives.len() < LIVE => self.new_call(),
            1 => self.any(true).map_or("nothing", |life| self.ringing(life)),
            _ => self.any(false).map_or("nothing", |life| self.up(life)),
        }
    }

    fn expected(&self) -> Vec<i64> {
        let at = |gateway| self.lives.iter().filter(|life| life.gateway == gateway).count() as i64;
        (0..GATEWAYS).map(at).collect()
    }
}

#[test]
fn a_thousand_random_lives_count_where_the_calls_are() {
    live();
}

#[test]
fn a_thousand_random_lives_over_tcp_count_where_the_calls_are() {
    over(Over::Tcp, live);
}

fn live() {
    let seed = std::env::var("LIVES_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    println!("LIVES_SEED={seed}");
    let gateways = gateways(GATEWAYS, |_| true);
    let server = proxy(8, gateways.list(100, "weight=25")).start();
    let agent = server.agent();
    let mut world = World { random: Random::new(seed), agent, gateways, lives: Vec::new(), begun: 0 };
    let mut last = Vec::new();
    while world.begun < LIVES || !world.lives.is_empty() {
        last.push(world.step());
        if last.len() == 8 {
            let expected = world.expected();
            let mut seen = loads(&server, GATEWAYS);
            let end = SystemTime::now() + Duration::from_secs(2);
            while seen != expected && SystemTime::now() < end {
                seen = loads(&server, GATEWAYS); // what a script answers by itself is released when it has ended
            }
            assert_eq!(seen, expected, "LIVES_SEED={seed}, after {} lives: {last:?}", world.begun);
            world.agent.forget_waiting();
            last.clear();
        }
    }
    eventually("no call is left", SOON, || assert_no_drift(&server).calls == 0);
    all_over(server);
}
