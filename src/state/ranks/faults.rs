//! Whether a board is as its records and capacities say. Not so is a fault of this module.

use super::board::Board;
use super::layer::Layer;
use super::takes::Takes;
use super::{Line, Measure, Registry};
use crate::shm::Alloc;
use crate::shm::tournament::NONE;
use crate::state::Capacities;
use crate::state::capacities::{Fill, Pace};

impl<A: Alloc> Board<A> {
    pub(super) fn faults(&self, registry: &Registry<A>, capacities: Option<&Capacities<A>>) -> usize {
        let fill = |capacity| capacities.map_or(Fill::Room, |capacities| capacities.fill(capacity));
        let pace = |capacity| capacities.map_or_else(Pace::default, |capacities| capacities.pace(capacity));
        let layers = [(Some(&self.ordinary), false), (self.reserved.as_ref(), true)];
        let layers = layers.into_iter().filter_map(|(layer, priority)| Some((layer?, priority)));
        let wrong = layers.map(|(layer, priority)| {
            let is_full = |capacity| fill(capacity).is_full_for(priority);
            self.wrong_ranks(registry, layer, priority) + layer.faults(self.places.len(), is_full)
        });
        let wrong: usize = wrong.sum();
        let takes = |takes: Takes| self.places.iter().filter(|place| place.takes == takes).count();
        let is_wrong = |at: &usize| {
            let place = self.places.get(*at).zip(self.record_at(registry, *at));
            place.is_some_and(|(place, record)| place.takes != Takes::of(&place.line, record))
        };
        let wrong_takes = (0..self.places.len()).filter(is_wrong).count();
        let (usable, drained) = (takes(Takes::Calls), takes(Takes::NoneWhileDrained));
        let over_rate = takes(Takes::NoneOverRate);
        let lines = |is_so: fn(&Line) -> bool| self.places.iter().filter(|place| is_so(&place.line)).count();
        let (limited, reserving) = (lines(|line| line.maxload > 0), lines(|line| line.reserve > 0));
        let (rated, by_limits) = (lines(|line| line.rate.limits()), limited == self.len);
        let counts = (usable, drained, limited, reserving, by_limits)
            != (self.usable, self.drained, self.limited, self.reserving, self.by_limits);
        let counts =
            counts || self.has_wrong_shares(registry) || (over_rate, rated) != (self.over_rate, self.rated);
        wrong
            + wrong_takes
            + usize::from(counts)
            + self.rate_faults(registry)
            + self.pace_faults(registry, pace)
            + self.slow_faults(registry)
    }

    /// How many ranks of this layer are not what the records say.
    fn wrong_ranks(&self, registry: &Registry<A>, layer: &Layer<A>, priority: bool) -> usize {
        let wrong = |measure: Measure, at: usize| {
            let place = self.places.get(at).zip(self.record_at(registry, at));
            let rank = place.map(|(place, record)| Self::rank(self.by(measure, priority), place, record));
            let shared = layer.groups.as_ref().map_or(0, |groups| groups.capacity(at));
            layer.rank(measure, at) != rank.unwrap_or(NONE)
                || place.is_some_and(|(_, record)| record.capacity() != shared)
        };
        let measures = [Some(Measure::Calls), layer.is_relative().then_some(Measure::Relative)];
        let all = measures.into_iter().flatten();
        all.map(|measure| (0..self.places.len()).filter(|at| wrong(measure, *at)).count()).sum()
    }
}
