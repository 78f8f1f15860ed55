//! Our module and the stock one in two servers with one configuration, asked one message after the other.
//!
//! A script answers each request with a stateless 200 whose `X-` headers tell what it saw. Where both must do the
//! same, those are equal text by text.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use crate::support::{Agent, Kamailio, Message, net};

const PATIENCE: Duration = Duration::from_secs(8);

/// The `X-` headers of an answer, in their order, as `name: value` without the `X-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(pub Vec<String>);

impl Answer {
    /// What the headers of this name say.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// What the first header of this name says.
    #[track_caller]
    pub fn one<'a>(&'a self, name: &'a str) -> &'a str {
        self.all(name).next().unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

/// One of the two servers.
pub struct Side {
    pub server: Kamailio,
    agent: Agent,
    /// Its addresses, each with the name that stands for it in texts.
    names: Vec<(String, &'static str)>,
    /// Starts the server with another list.
    make: Box<dyn Fn(&str) -> Kamailio>,
}

impl Side {
    /// `FIRST` and `SECOND` in list and parameters stand for two sockets more; the second has the name `edge`.
    pub fn start(list: &str, modparams: &str, route: &str, stock: bool) -> Side {
        let extra: [SocketAddr; 2] = std::array::from_fn(|_| net::free_port(net::address()));
        let names: Vec<_> =
            extra.iter().zip(["FIRST", "SECOND"]).map(|(at, name)| (at.to_string(), name)).collect();
        let of_names = names.clone();
        let own = move |text: &str| {
            of_names.iter().fold(text.to_owned(), |text, (at, name)| text.replace(name, at))
        };
        let globals = "max_while_loops=500\nlisten=udp:FIRST\nlisten=udp:SECOND name \"edge\"";
        let (modparams, route) = (own(modparams), route.to_owned());
        let make = Box::new(move |list: &str| {
            let builder = Kamailio::builder().list(own(list)).modparam(&modparams).route(&route);
            let builder = builder.globals(&own(globals));
            if stock { builder.stock().start() } else { builder.start() }
        });
        let server = make(list);
        let agent = server.agent();
        Side { server, agent, names, make }
    }

    /// The same with another list, in another server. Whoever asks stays at his address.
    pub fn started_anew(self, list: &str) -> Side {
        let Side { server, mut agent, names, make } = self;
        server.stop();
        let server = make(list);
        agent.turn_to(server.address());
        Side { server, agent, names, make }
    }

    fn send(&self, message: &Message) {
        self.agent.send(message);
    }

    #[track_caller]
    fn receive(&mut self, cseq: u32) -> Answer {
        let found = self.agent.receive_where(PATIENCE, |m| m.status() == Some(200) && m.cseq().0 == cseq);
        let answer = found.unwrap_or_else(|| panic!("no answer to the request of CSeq {cseq}"));
        let text = |(name, value): &(String, String)| Some(format!("{}: {value}", name.strip_prefix("X-")?));
        let lines = answer.headers.iter().filter_map(text);
        let named =
            |line| self.names.iter().fold(line, |line: String, (at, name)| line.replace(at.as_str(), name));
        Answer(lines.map(named).collect())
    }
}

/// After a failover the stock module keeps the send socket of the destination that failed for one that names none. What ours
/// does is the same but for that.
fn without_the_socket_of_the_one_before(answer: &mut Answer) {
    let bare: Vec<String> = answer
        .all("Entry")
        .filter(|entry| entry.contains(" sock=0 "))
        .filter_map(|entry| entry.split(' ').next().map(str::to_owned))
        .collect();
    let mut kept = false;
    for line in answer.0.iter_mut().filter(|line| line.starts_with("Then: ")) {
        let Some((before, after)) = line.split_once(" fs=") else { continue };
        let Some((_, left)) = after.split_once(" left=") else { continue };
        // Where there was no next one, all stays as it was.
        if line.starts_with("Then: 1 ") {
            kept = bare.iter().any(|uri| uri == left);
        }
        if kept {
            *line = format!("{before} fs=<null> left={left}");
        }
    }
}

pub struct Pair {
    pub ours: Side,
    pub stock: Side,
}

impl Pair {
    pub fn start(list: &str, modparams: &str, route: &str) -> Pair {
        Pair {
            ours: Side::start(list, modparams, route, false),
            stock: Side::start(list, modparams, route, true),
        }
    }

    /// What ours and the stock module's scripts saw of one message. Its CSeq must be its own.
    #[track_caller]
    pub fn ask(&mut self, message: &Message) -> (Answer, Answer) {
        self.ours.send(message);
        self.stock.send(message);
        let cseq = message.cseq().0;
        let (ours, mut stock) = (self.ours.receive(cseq), self.stock.receive(cseq));
        without_the_socket_of_the_one_before(&mut stock);
        (ours, stock)
    }

    /// Asserts that both saw the same, and says what.
    #[track_caller]
    pub fn same(&mut self, message: &Message) -> Answer {
        let (ours, stock) = self.ask(message);
        assert!(
            ours == stock,
            "asked\n{}ours\n{:#?}\nthe stock module's\n{:#?}",
            String::from_utf8_lossy(&message.bytes()),
            ours.0,
            stock.0
        );
        ours
    }

    #[track_caller]
    pub fn set_state(&self, state: &str, set: i64, uri: &str) {
        for side in [&self.ours, &self.stock] {
            side.server.rpc("dispatcher.set_state", json!([state, set, uri])).unwrap();
        }
    }

    pub fn stop(self) {
        self.ours.server.stop();
        self.stock.server.stop();
    }
}
