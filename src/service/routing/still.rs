//! A set as it was at one look: for who must say why a choice is what it is.

use crate::dest::Flags;
use crate::select::Pool;
use crate::service::routing::candidates::View;
use crate::shm::Alloc;

/// What was seen of one destination.
#[derive(Debug, Clone, Copy)]
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

    fn get<T>(&self, at: usize, field: impl Fn(&One) -> T) -> Option<T> {
        self.0.get(at).map(field)
    }

    /// State and options.
    pub fn flags(&self, at: usize) -> Flags {
        self.get(at, |one| one.flags).unwrap_or_default()
    }
}

impl Pool for Still {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn usable(&self, at: usize) -> bool {
        self.get(at, |one| one.flags.usable()).unwrap_or(false)
    }
    fn load(&self, at: usize) -> u32 {
        self.get(at, |one| one.load).unwrap_or(0)
    }
    fn maxload(&self, at: usize) -> u32 {
        self.get(at, |one| one.maxload).unwrap_or(0)
    }
    fn last_chosen(&self, at: usize) -> u64 {
        self.get(at, |one| one.last_chosen).unwrap_or(0)
    }
    fn priority(&self, at: usize) -> i32 {
        self.get(at, |one| one.priority).unwrap_or(0)
    }
    fn weight(&self, at: usize) -> u32 {
        self.get(at, |one| one.weight).unwrap_or(0)
    }
    fn rweight(&self, at: usize) -> u32 {
        self.get(at, |one| one.rweight).unwrap_or(0)
    }
    fn latency(&self, at: usize) -> u32 {
        self.get(at, |one| one.latency).unwrap_or(0)
    }
    fn congestion(&self, at: usize) -> Option<u32> {
        self.get(at, |one| one.congestion)?
    }
    fn overloaded(&self, at: usize) -> bool {
        self.get(at, |one| one.overloaded).unwrap_or(false)
    }
}
