//! A model of what must serve after any sequence of reloads and commands: only the rules, without the module's data structures.

use std::collections::BTreeMap;

use crate::odd_messages::Random;
use crate::support::{Gateways, Kamailio};

/// What a source, or an operator who adds or updates, says of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub flags: i64,
    pub priority: i64,
    pub attrs: String,
}

impl Row {
    pub fn first(n: usize) -> Row {
        Row { flags: 0, priority: 0, attrs: format!("duid=gw{n}") }
    }

    /// Anything else; the `duid` is who it is.
    pub fn random(n: usize, random: &mut Random) -> Row {
        let maxload = random.of(&[50, 60, 70]);
        Row {
            flags: random.of(&[0, 2]),
            priority: random.of(&[0, 5, 9]),
            attrs: format!("duid=gw{n};maxload={maxload};note=n{}", random.below(1000)),
        }
    }

    /// The state that it says: as `set_state` takes it, and as a list shows it.
    pub fn state(&self) -> (&'static str, &'static str) {
        if self.flags == 2 { ("t", "TX") } else { ("a", "AX") }
    }
}

#[derive(Debug, Clone)]
pub struct Serving {
    /// As said last.
    pub row: Row,
    pub state: &'static str,
}

/// Destinations by the number of their gateway, all in set 100.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub source: BTreeMap<usize, Row>,
    pub serving: BTreeMap<usize, Serving>,
}

impl Model {
    /// What serves is the source. A destination that stays has its state, unless its flags are said to be others.
    pub fn reload(&mut self) {
        let source = self.source.clone();
        let before = std::mem::take(&mut self.serving);
        for (n, row) in source {
            if let Some(one) = before.get(&n) {
                self.serving.insert(n, one.clone());
            }
            self.say(n, row);
        }
    }

    /// An operator, or a reload, says this of a destination; a new one has the state that is said.
    pub fn say(&mut self, n: usize, row: Row) {
        let stays = self.serving.get(&n).filter(|one| one.row.flags == row.flags).map(|one| one.state);
        let state = stays.unwrap_or(row.state().1);
        self.serving.insert(n, Serving { row, state });
    }

    /// The server's list is this, no more and no less.
    #[track_caller]
    pub fn assert_served(&self, server: &Kamailio, gateways: &Gateways, after: &str) {
        let due = |(&n, Serving { row, state }): (&usize, &Serving)| {
            (gateways.uri(n), (*state).to_owned(), row.priority, row.attrs.clone())
        };
        let mut due: Vec<_> = self.serving.iter().map(due).collect();
        let list = server.list();
        let mut found: Vec<_> =
            list.into_iter().map(|one| (one.uri, one.flags, one.priority, one.attrs)).collect();
        due.sort();
        found.sort();
        let more: Vec<_> = found.iter().filter(|one| !due.contains(one)).collect();
        let missing: Vec<_> = due.iter().filter(|one| !found.contains(one)).collect();
        assert!(found == due, "after {after}: {more:#?} instead of {missing:#?}, of {}", found.len());
    }
}
