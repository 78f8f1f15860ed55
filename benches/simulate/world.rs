//! Calls, gateways and time: what happens, one event after the other.
//!
//! Model: a gateway has channels, and sets up calls one after the other (first come, first served; each takes an exponential time, a
//! BYE less by the factor 1.75). It holds a channel from the INVITE on, and refuses at once when none is free. The proxy sends a call that
//! is refused, or not answered for five seconds, to another gateway: once, unless the case says otherwise.

use super::random::Random;
use super::rules::{Proxy, Rule, Wanted};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How long calls last.
#[derive(Clone, Copy)]
pub enum Lengths {
    LogNormal,
    Pareto,
}

/// What is odd: mostly something that the first gateway does and the others do not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    None,
    /// It answers each INVITE with 503 at once, and OPTIONS with 200.
    Refuses,
    /// It answers no INVITE, and OPTIONS with 200.
    Silent,
    /// It is down, which probes know, and is back after half of the time.
    Returns,
    /// A number that no gateway gets an answer from, whoever calls it; one call in five does.
    DeadNumber,
    /// One INVITE in fifty, which every gateway answers with 500 at once.
    BadCalls,
    /// Every gateway answers each INVITE with 503 at once.
    All,
}

impl Odd {
    /// Whether it is one gateway.
    pub const fn is_gateway(self) -> bool {
        matches!(self, Self::Refuses | Self::Silent | Self::Returns)
    }

    /// Whether nobody should be ejected, or not all.
    pub const fn is_no_fault(self) -> bool {
        matches!(self, Self::DeadNumber | Self::BadCalls | Self::All)
    }
}

pub struct Case {
    pub name: &'static str,
    pub about: &'static str,
    /// Channels of each gateway.
    pub sizes: Vec<u32>,
    /// Calls that are offered, as a part of all channels.
    pub offered: f64,
    /// Seconds that a call lasts, in the mean.
    pub length: f64,
    pub lengths: Lengths,
    /// Calls come three times as often for a tenth of the time.
    pub bursts: bool,
    /// Users, of whom the nth calls as often as the first one divided by n.
    pub users: u64,
    pub odd: Odd,
    /// Gateways that a call goes to, at most.
    pub tries: usize,
    pub calls: u64,
    pub rules: &'static [Rule],
}

/// What came of the calls of a case.
pub struct Outcome {
    /// Calls that no gateway took, in percent.
    pub lost: f64,
    /// Seconds until a call is answered: of half of them, and of all but one in twenty.
    pub set_up: [f64; 2],
    /// How much fuller the fullest gateway is than all are together, in percent of its channels, in the mean of all times.
    pub spread: f64,
    /// Calls that went to the odd gateway first, in percent; where it returns, in the first five seconds.
    pub to_odd: f64,
    /// Where it returns, in each window of five seconds after that: calls that went there first, and all.
    pub windows: Vec<(u64, u64)>,
    /// Windows until it has as many calls as the others have in the mean.
    pub level: usize,
    /// Calls of the first minute that no gateway took, in percent.
    pub lost_first: f64,
    /// Seconds until the first gateway was ejected.
    pub out: Option<f64>,
    /// Gateways that were ejected or on trial at one time, at most.
    pub most_out: usize,
    /// INVITEs that went to the gateway with the fewest, in percent of a fair share.
    pub fewest: f64,
    /// Calls for which there was no gateway at all, in percent.
    pub nowhere: f64,
}

/// Seconds that a gateway takes to set up a call, times its channels.
const SET_UP: f64 = 28.0;
/// The part of that for a BYE.
const BYE: f64 = 1.0 / 1.75;
/// Seconds until a gateway refuses.
const REFUSAL: f64 = 0.005;
/// Seconds until the proxy gives up.
const PATIENCE: f64 = 5.0;
/// A number that is dead.
const NOBODY: u64 = u64::MAX;
/// Seconds between two looks.
const LOOK: f64 = 1.0;
/// Seconds that are the first minute.
const FIRST: f64 = 60.0;
/// Seconds of a window after a return in which its calls are counted.
pub const RETURN: f64 = 5.0;
/// Windows.
const WINDOWS: usize = 60;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Comes,
    Answered(u32),
    Failed(u32),
    Ended(u32),
    Over(u32),
    Look,
    Back,
}

struct Gateway {
    size: u32,
    active: u32,
    /// When it is done with what it has to do.
    free: f64,
    /// INVITEs that came.
    invites: u64,
}

struct Call {
    began: f64,
    user: u64,
    callee: u64,
    tried: Vec<usize>,
}

struct World<'a> {
    case: &'a Case,
    random: Random,
    proxy: Proxy,
    gateways: Vec<Gateway>,
    calls: Vec<Call>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    now: f64,
    /// Events so far: those of one time keep their order.
    number: u64,
    /// Sums of frequencies of users.
    users: Vec<f64>,
    lost: u64,
    nowhere: u64,
    /// Calls of the first minute, and those of them that no gateway took.
    first: (u64, u64),
    out: Option<f64>,
    waited: Vec<f64>,
    looks: (f64, u64),
    /// Calls that went to the odd gateway first, and all.
    odd: (u64, u64),
    windows: Vec<(u64, u64)>,
    level: Option<usize>,
}

/// What a case comes to by a rule.
pub fn run(case: &Case, rule: Rule) -> Outcome {
    let gateway = |&size: &u32| Gateway { size, active: 0, free: 0.0, invites: 0 };
    let mut sum = 0.0;
    let mut frequency = |n: u64| {
        sum += 1.0 / n as f64;
        sum
    };
    let world = World {
        case,
        random: Random::new(16),
        proxy: Proxy::new(rule, &case.sizes),
        gateways: case.sizes.iter().map(gateway).collect(),
        calls: Vec::new(),
        events: BinaryHeap::new(),
        now: 0.0,
        number: 0,
        users: (1..=case.users).map(&mut frequency).collect(),
        lost: 0,
        nowhere: 0,
        first: (0, 0),
        out: None,
        waited: Vec::new(),
        looks: (0.0, 0),
        odd: (0, 0),
        windows: vec![(0, 0); WINDOWS],
        level: None,
    };
    world.run()
}

impl World<'_> {
    /// Calls a second.
    fn rate(&self) -> f64 {
        let channels: u32 = self.case.sizes.iter().sum();
        self.case.offered * f64::from(channels) / self.case.length
    }

    fn lasts(&self) -> f64 {
        self.case.calls as f64 / self.rate()
    }

    fn is_warm(&self) -> bool {
        self.now > (3.0 * self.case.length).min(self.lasts() / 4.0)
    }

    fn after(&mut self, seconds: f64, event: Event) {
        self.number += 1;
        let at = ((self.now + seconds) * 1e6) as u64;
        self.events.push(Reverse((at, self.number, event)));
    }

    fn run(mut self) -> Outcome {
        if self.case.odd == Odd::Returns {
            self.proxy.probed(0, false);
            self.after(self.lasts() / 2.0, Event::Back);
        }
        self.after(0.0, Event::Comes);
        self.after(LOOK, Event::Look);
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at as f64 / 1e6;
            self.proxy.at(at);
            match event {
                Event::Comes => self.comes(),
                Event::Answered(call) => self.answered(call),
                Event::Failed(call) => self.failed(call),
                Event::Ended(call) => self.ended(call),
                Event::Over(gateway) => self.proxy.over(gateway as usize),
                Event::Look => self.look(),
                Event::Back => self.proxy.probed(0, true),
            }
        }
        // The module has counted what the simulation has.
        assert_eq!((self.proxy.counted().unwrap_or(0), self.proxy.calls()), (0, 0), "{}", self.case.name);
        self.waited.sort_by(f64::total_cmp);
        let part = |part: f64| self.waited.get((self.waited.len() as f64 * part) as usize).copied();
        let percent = |of: u64, all: u64| 100.0 * of as f64 / all.max(1) as f64;
        Outcome {
            lost: percent(self.lost, self.calls.len() as u64),
            set_up: [0.5, 0.95].map(|one| part(one).unwrap_or(f64::NAN)),
            spread: self.looks.0 / self.looks.1.max(1) as f64,
            to_odd: percent(self.odd.0, self.odd.1),
            level: self.level.unwrap_or(WINDOWS),
            most_out: self.proxy.most_out(),
            fewest: self.fewest(),
            nowhere: percent(self.nowhere, self.calls.len() as u64),
            lost_first: percent(self.first.1, self.first.0),
            out: self.out,
            windows: self.windows,
        }
    }

    /// INVITEs of the gateway with the fewest, in percent of a fair share.
    fn fewest(&self) -> f64 {
        let invites = || self.gateways.iter().map(|one| one.invites);
        100.0 * invites().min().unwrap_or(0) as f64 * self.gateways.len() as f64
            / invites().sum::<u64>() as f64
    }

    fn comes(&mut self) {
        let many = self.case.bursts && (self.now / 60.0).fract() < 0.1;
        // In the mean as often as without bursts.
        let rate = self.rate()
            * if many {
                3.0
            } else if self.case.bursts {
                7.0 / 9.0
            } else {
                1.0
            };
        let user = self.user();
        let call = self.calls.len() as u32;
        self.first.0 += u64::from(self.now < FIRST);
        let callee = match self.case.odd {
            Odd::DeadNumber if call % 5 == 0 => NOBODY,
            _ => call.into(),
        };
        self.calls.push(Call { began: self.now, user, callee, tried: Vec::new() });
        self.send(call);
        if (self.calls.len() as u64) < self.case.calls {
            let next = self.random.exponential(1.0 / rate);
            self.after(next, Event::Comes);
        }
    }

    fn user(&mut self) -> u64 {
        let Some(all) = self.users.last().copied() else { return self.random.next() };
        let at = self.random.below(1 << 52) as f64 / (1u64 << 52) as f64 * all;
        self.users.partition_point(|sum| *sum <= at) as u64
    }

    fn send(&mut self, call: u32) {
        let one = &self.calls[call as usize];
        let Call { user, callee, .. } = *one;
        let first = one.tried.is_empty();
        let wanted = Wanted { call: call.into(), user, callee, tried: &one.tried, now: self.now };
        let found = self.proxy.choose(wanted, &mut self.random);
        let back = self.now - self.lasts() / 2.0;
        let counts = match self.case.odd {
            Odd::Returns => (0.0..RETURN).contains(&back),
            odd => odd.is_gateway() && self.is_warm(),
        };
        let window = (back >= 0.0).then_some((back / RETURN) as usize);
        if let Some(window) = window.and_then(|at| self.windows.get_mut(at)).filter(|_| first) {
            *window = (window.0 + u64::from(found == Some(0)), window.1 + 1);
        }
        if first && counts {
            self.odd = (self.odd.0 + u64::from(found == Some(0)), self.odd.1 + 1);
        }
        let Some(chosen) = found else {
            self.nowhere += u64::from(first);
            self.proxy.nowhere(call.into(), self.now);
            self.lose(call);
            return;
        };
        self.calls[call as usize].tried.push(chosen);
        self.gateways[chosen].invites += 1;
        let gateway = &mut self.gateways[chosen];
        let (is_silent, refuses) = match self.case.odd {
            Odd::Silent => (chosen == 0, false),
            Odd::Refuses => (false, chosen == 0),
            Odd::DeadNumber => (callee == NOBODY, false),
            Odd::BadCalls => (false, call % 50 == 0),
            Odd::All => (false, true),
            Odd::None | Odd::Returns => (false, false),
        };
        if is_silent {
            self.after(PATIENCE, Event::Failed(call));
        } else if refuses || gateway.active >= gateway.size {
            self.after(REFUSAL, Event::Failed(call));
        } else {
            gateway.active += 1;
            let done = self.works(chosen, 1.0);
            self.after(done, Event::Answered(call));
        }
    }

    /// Seconds until a gateway is done with one thing more.
    fn works(&mut self, gateway: usize, part: f64) -> f64 {
        let one = &mut self.gateways[gateway];
        let takes = self.random.exponential(SET_UP / f64::from(one.size) * part);
        one.free = one.free.max(self.now) + takes;
        one.free - self.now
    }

    fn answered(&mut self, call: u32) {
        let one = &self.calls[call as usize];
        let gateway = *one.tried.last().expect("it was sent");
        if self.is_warm() {
            self.waited.push(self.now - one.began);
        }
        self.proxy.answered(call.into(), gateway, self.now);
        let length = match self.case.lengths {
            Lengths::LogNormal => self.random.log_normal(self.case.length, 1.5),
            Lengths::Pareto => self.random.pareto(self.case.length, 1.5),
        };
        self.after(length, Event::Ended(call));
    }

    fn failed(&mut self, call: u32) {
        let one = &self.calls[call as usize];
        let (gateway, last) = (*one.tried.last().expect("it was sent"), one.tried.len() == self.case.tries);
        self.proxy.failed(call.into(), gateway, last, self.now);
        if last {
            self.lose(call);
        } else {
            self.send(call);
        }
    }

    fn ended(&mut self, call: u32) {
        let gateway = *self.calls[call as usize].tried.last().expect("it was sent");
        self.gateways[gateway].active -= 1;
        self.proxy.ended(call.into(), gateway, self.now as u32);
        let done = self.works(gateway, BYE);
        self.after(done, Event::Over(gateway as u32));
    }

    fn lose(&mut self, call: u32) {
        self.lost += 1;
        self.first.1 += u64::from(self.calls[call as usize].began < FIRST);
    }

    fn look(&mut self) {
        self.out = self.proxy.look(self.now);
        if (self.calls.len() as u64) >= self.case.calls {
            return;
        }
        if self.is_warm() {
            let skip = usize::from(self.case.odd.is_gateway());
            let others = || self.gateways.iter().skip(skip);
            let (active, size) = others().fold((0, 0), |sum, one| (sum.0 + one.active, sum.1 + one.size));
            let full = |one: &Gateway| 100.0 * f64::from(one.active) / f64::from(one.size);
            let fullest = others().map(full).fold(0.0, f64::max);
            self.looks.0 += fullest - 100.0 * f64::from(active) / f64::from(size);
            self.looks.1 += 1;
        }
        self.after(LOOK, Event::Look);
        let window = ((self.now - self.lasts() / 2.0) / RETURN).max(0.0) as usize;
        let others: u32 = self.gateways.iter().skip(1).map(|one| one.active).sum();
        let is_level = self.gateways[0].active as usize * (self.gateways.len() - 1) >= others as usize;
        if is_level && self.now > self.lasts() / 2.0 {
            self.level.get_or_insert(window);
        }
    }
}
