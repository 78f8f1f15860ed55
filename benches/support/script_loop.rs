//! A server whose script does one thing over and over for one request, so that the way there and back is nothing beside it.
//!
//! Each round clears both xavps, as a script that selects once leaves them to the end of the transaction. The loop
//! [`NOTHING`] does only that; it is taken off.

use super::aging::{self, MOST_ROUNDS};
use crate::servers::server_config::Builder;
use crate::servers::{Agent, Kamailio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// The loop without anything inside.
pub const NOTHING: &str = "nothing";

const PATIENCE: Duration = Duration::from_secs(120);
/// Rounds that show how long one takes.
const TRIAL: u32 = 20;

/// What a loop does, by the name that a request asks for it.
pub struct Statement {
    pub name: String,
    pub text: String,
}

impl Statement {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Statement {
        Statement { name: name.into(), text: text.into() }
    }
}

/// The name of [`select`]'s loop.
pub fn selection(set: u32, algorithm: u32, limit: Option<u32>) -> String {
    format!("{set}/{algorithm}/{}", limit.map_or_else(|| "all".into(), |limit| limit.to_string()))
}

/// Selects from a set. A call that counts is released, because the stock module counts a Call-ID once.
pub fn select(set: u32, algorithm: u32, limit: Option<u32>) -> Statement {
    let released = match algorithm {
        10 => "ds_load_unset();",
        12 => "clear_branches();",
        _ => "",
    };
    let arguments = limit.map_or_else(String::new, |limit| format!(", \"{limit}\""));
    Statement::new(
        selection(set, algorithm, limit),
        format!(
            "if (!ds_select_dst(\"{set}\", \"{algorithm}\"{arguments})) {{ sl_send_reply(\"500\", \"No\"); exit; }} {released}"
        ),
    )
}

fn route(statements: &[Statement]) -> String {
    let mut text = String::from(
        "request_route {\n\
         \tif (is_method(\"ACK\")) exit;\n\
         \t$var(i) = 0; $var(n) = $(rU{s.int});\n",
    );
    let nothing = Statement::new(NOTHING, "");
    for Statement { name, text: statement } in statements.iter().chain([&nothing]) {
        text.push_str(&format!(
            "\tif ($hdr(X-Loop) == \"{name}\") {{ while ($var(i) < $var(n)) {{ {statement}\n\
             \t\t$xavp(_dsdst_[*]) = $null; $xavp(_dsctx_[*]) = $null; $var(i) = $var(i) + 1; }} }}\n"
        ));
    }
    text.push_str("\tsl_send_reply(\"200\", \"OK\");\n}\n");
    text
}

/// The server, and as many callers as it has workers.
pub struct Looping {
    server: Kamailio,
    agents: Vec<Agent>,
}

impl Looping {
    pub fn start(builder: Builder, statements: &[Statement], workers: u32) -> Looping {
        let server = aging::start(builder.workers(workers), &route(statements));
        let agents = (0..workers).map(|_| server.agent()).collect();
        Looping { server, agents }
    }

    pub fn server(&self) -> &Kamailio {
        &self.server
    }

    /// Seconds of one request that loops so often.
    pub fn alone(&mut self, name: &str, rounds: u32) -> f64 {
        once(&self.server, &mut self.agents[0], name, rounds)
    }

    /// Seconds of the longer of two such requests at the same time.
    pub fn together(&mut self, names: [&str; 2], rounds: u32) -> f64 {
        let both = Barrier::new(2);
        let (server, both) = (&self.server, &both);
        std::thread::scope(|scope| {
            let callers: Vec<_> = self
                .agents
                .iter_mut()
                .zip(names)
                .map(|(agent, name)| {
                    scope.spawn(move || {
                        both.wait();
                        once(server, agent, name, rounds)
                    })
                })
                .collect();
            callers.into_iter().map(|caller| caller.join().expect("a caller")).fold(0.0, f64::max)
        })
    }

    /// How often to loop so that a request takes about this long.
    pub fn rounds(&mut self, name: &str, within: Duration) -> u32 {
        let first = self.alone(name, TRIAL);
        let guess = (TRIAL as f64 * (within.as_secs_f64() / 4.0) / first)
            .clamp(f64::from(TRIAL), f64::from(MOST_ROUNDS));
        let second = self.alone(name, guess as u32);
        (guess * within.as_secs_f64() / second).clamp(f64::from(TRIAL), f64::from(MOST_ROUNDS)) as u32
    }
}

fn once(server: &Kamailio, agent: &mut Agent, name: &str, rounds: u32) -> f64 {
    let mut call = agent.call();
    call.uri = format!("sip:{rounds}@{}", server.address());
    let invite = call.invite().with("X-Loop", name);
    let begun = Instant::now();
    agent.send(&invite);
    let answer = agent.receive(PATIENCE).expect("an answer");
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(answer.status(), Some(200), "{name}:\n{}", server.log());
    took
}
