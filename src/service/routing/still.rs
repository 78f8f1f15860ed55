//! A copy of a set's state at one moment, to explain a choice with the values that it was made of.

use crate::dest::Flags;
use crate::select::Candidates;
use crate::service::routing::candidates::View;
use crate::shm::Alloc;

/// What was seen of one destination.
#[derive(Debug, Clone, Copy, Default)]
struct One {
    flags: Flags,
    load: u32,
    maxload: u32,
    last_chosen: u64,
    priority: i32,
    weight: u32,
    rweight: u32,
    latency: u32,
    congestion: Option<u32>,
    overloaded: bool,
}

/// What was seen of each destination.
pub struct Still(Vec<One>);

impl Still {
    /// Looks at each destination once.
    pub fn of<A: Alloc>(view: &View<'_, A>) -> Self {
        let one = |at: usize| One {
            flags: view.record(at).map_or(Flags::DISABLED, |record| record.flags()),
            load: view.load(at),
            maxload: view.maxload(at),
            last_chosen: view.last_chosen(at),
            priority: view.priority(at),
            weight: view.weight(at),
            rweight: view.rweight(at),
            latency: view.latency(at),
            congestion: view.congestion(at),
            overloaded: view.overloaded(at),
        };
        Self((0..view.len()).map(one).collect())
    }

    /// What was seen at this position; behind the end an unusable destination.
    fn at(&self, at: usize) -> One {
        self.0.get(at).copied().unwrap_or(One { flags: Flags::DISABLED, ..One::default() })
    }

    /// State and options.
    pub fn flags(&self, at: usize) -> Flags {
        self.at(at).flags
    }
}

impl Candidates for Still {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn usable(&self, at: usize) -> bool {
        self.at(at).flags.usable()
    }
    fn load(&self, at: usize) -> u32 {
        self.at(at).load
    }
    fn maxload(&self, at: usize) -> u32 {
        self.at(at).maxload
    }
    fn last_chosen(&self, at: usize) -> u64 {
        self.at(at).last_chosen
    }
    fn priority(&self, at: usize) -> i32 {
        self.at(at).priority
    }
    fn weight(&self, at: usize) -> u32 {
        self.at(at).weight
    }
    fn rweight(&self, at: usize) -> u32 {
        self.at(at).rweight
    }
    fn latency(&self, at: usize) -> u32 {
        self.at(at).latency
    }
    fn congestion(&self, at: usize) -> Option<u32> {
        self.at(at).congestion
    }
    fn overloaded(&self, at: usize) -> bool {
        self.at(at).overloaded
    }
}
