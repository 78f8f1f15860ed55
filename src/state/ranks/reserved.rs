//! What a board does for calls with priority: a second layer of its lines, in which those have ranks that have room for such calls.
//!
//! Choices in it and counts change it as they change the other one. It is there only while there is a reserve, and once a call with priority
//! has come.

use super::board::{Board, Place};
use super::groups::Groups;
use super::layer::Layer;
use super::{Line, Measure, Record, Registry};
use crate::shm::{Alloc, OutOfMemory};
use crate::state::Capacities;
use crate::state::capacities::Fill;

impl<A: Alloc> Board<A> {
    /// From now on there is a layer for calls with priority, if there is a reserve for them. Without memory for it they are as any
    /// other.
    pub(super) fn look_beyond(&mut self, registry: &Registry<A>, capacities: Option<&Capacities<A>>) {
        let shared = capacities.filter(|capacities| self.has_groups() && capacities.has_reserve());
        if self.reserving == 0 && shared.is_none() {
            self.reserved = None;
        } else if self.reserved.is_none() {
            self.reserved = self.try_reserved(registry, capacities).ok();
        }
    }

    #[cold]
    fn try_reserved(
        &self,
        registry: &Registry<A>,
        capacities: Option<&Capacities<A>>,
    ) -> Result<Layer<A>, OutOfMemory> {
        let groups = if self.has_groups() {
            // Those that share stand at the first places, in their order.
            let lines: Vec<Line> = self.places.iter().take(self.len).map(|place| place.line).collect();
            Groups::try_of(&lines, self.alloc)?
        } else {
            None
        };
        let numbers: Vec<u32> = groups.iter().flat_map(Groups::capacities).collect();
        let is_relative = self.ordinary.is_relative();
        let mut layer = Layer::try_with_room_in(self.places.len(), is_relative, groups, self.alloc)?;
        layer.fill(Measure::Calls, self.ranks(registry, Measure::Calls, true));
        if is_relative {
            layer.fill(Measure::Relative, self.ranks(registry, Measure::Relative, true));
        }
        let fill = |number| capacities.map_or(Fill::Room, |capacities| capacities.fill(number));
        numbers.into_iter().for_each(|number| layer.turn(number, fill(number) == Fill::Full));
        Ok(layer)
    }

    /// Whether calls with priority find room where others do not.
    pub(super) fn has_reserved(&self) -> bool {
        self.reserved.is_some()
    }

    /// The lines by rank, for calls with priority or others.
    pub(super) fn layer(&self, priority: bool) -> &Layer<A> {
        self.reserved.as_ref().filter(|_| priority).unwrap_or(&self.ordinary)
    }

    /// Room for the groups of these lines, which come next.
    pub(super) fn reserve_groups(&mut self, sharing: &[Line]) -> Result<(), OutOfMemory> {
        let ordinary = Groups::try_of(sharing, self.alloc)?;
        let reserved = if self.has_reserved() { Groups::try_of(sharing, self.alloc)? } else { None };
        self.next_groups = (ordinary, reserved);
        Ok(())
    }

    #[cold]
    pub(super) fn set_reserved(&mut self, at: usize, place: &Place, record: &Record) {
        let [calls, relative] = [Measure::Calls, Measure::Relative]
            .map(|measure| Self::rank(self.by(measure, true), place, record));
        let Some(layer) = &mut self.reserved else { return };
        layer.set(at, calls);
        if layer.is_relative() {
            layer.set_relative(at, relative);
        }
    }

    pub(super) fn drop_reserved_if_unused(&mut self) {
        if self.reserving == 0 && !self.has_groups() {
            self.reserved = None;
        }
    }
}
