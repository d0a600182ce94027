//! Costs that were computed once, for each distinct request.
//!
//! A request comes again and again, and between two of a kind only a few states changed. Costs lie in blocks with the
//! least of each block beside them, so that the cheapest state is found without touching all of them.

use crate::packing::filter::fits;
use crate::packing::fleet::Fleet;
use crate::packing::model::Request;
use crate::packing::score::{Score, Spot};

const BLOCK: usize = 64;

/// What the cost of every state is to one request; infinite where it does not fit.
#[derive(Clone, Debug)]
pub struct CostTable {
    pub request: Request,
    costs: Vec<f32>,
    devices: Vec<u8>,
    least: Vec<f32>,
    stale: Vec<u64>,
    /// Epoch of the policy and position in the log of changes.
    valid: Option<(u32, u64)>,
    /// When it was last used, to drop the one longest unused.
    pub used: u64,
}

impl CostTable {
    pub fn new(request: Request) -> CostTable {
        CostTable { request, costs: vec![], devices: vec![], least: vec![], stale: vec![], valid: None, used: 0 }
    }

    /// Entries it holds.
    pub fn len(&self) -> usize {
        self.costs.len()
    }

    /// Brings the costs up to date; `potentials` holds one a slot.
    pub fn refresh(&mut self, fleet: &Fleet, policy: &dyn Score, potentials: &mut Potentials) {
        let (slots, now, epoch) = (fleet.groups().len(), fleet.groups().now(), policy.epoch());
        potentials.refresh(fleet, policy);
        let changed = match self.valid {
            Some((of, then)) if of == epoch => fleet.groups().changed_since(then),
            _ => None,
        };
        self.costs.resize(slots, f32::INFINITY);
        self.devices.resize(slots, 0);
        self.least.resize(slots.div_ceil(BLOCK), f32::INFINITY);
        match changed {
            Some(changed) => {
                self.stale.clear();
                self.stale.resize(self.least.len().div_ceil(64), 0);
                for slot in changed {
                    self.price(*slot, fleet, policy, potentials);
                    let block = *slot as usize / BLOCK;
                    self.stale[block / 64] |= 1 << (block % 64);
                }
                for word in 0..self.stale.len() {
                    let mut bits = self.stale[word];
                    while bits != 0 {
                        self.summarise(word * 64 + bits.trailing_zeros() as usize);
                        bits &= bits - 1;
                    }
                }
            }
            None => {
                for slot in 0..slots as u32 {
                    self.price(slot, fleet, policy, potentials);
                }
                for block in 0..self.least.len() {
                    self.summarise(block);
                }
            }
        }
        self.valid = Some((epoch, now));
    }

    #[inline]
    fn price(&mut self, slot: u32, fleet: &Fleet, policy: &dyn Score, potentials: &mut Potentials) {
        let (number, free, population) = fleet.groups().state(slot);
        let shape = &fleet.shapes()[usize::from(number)];
        let at = slot as usize;
        if population == 0 || !fits(shape, free, &self.request) {
            self.costs[at] = f32::INFINITY;
            return;
        }
        let potential = potentials.of(at, || policy.potential(number, shape, free));
        let cost = policy.cost(&Spot { number, shape, free, potential }, &self.request);
        self.costs[at] = cost.cost;
        self.devices[at] = cost.device;
    }

    fn summarise(&mut self, block: usize) {
        let end = self.costs.len().min((block + 1) * BLOCK);
        self.least[block] = lowest(&self.costs[block * BLOCK..end]);
    }

    /// The lowest cost and every slot that has it; empty when the request fits nowhere.
    pub fn cheapest(&self, slots: &mut Vec<u32>) {
        slots.clear();
        let least = lowest(&self.least);
        if least == f32::INFINITY {
            return;
        }
        for (block, _) in self.least.iter().enumerate().filter(|(_, cost)| **cost == least) {
            let from = block * BLOCK;
            let costs = &self.costs[from..self.costs.len().min(from + BLOCK)];
            slots.extend(costs.iter().enumerate().filter(|(_, cost)| **cost == least).map(|(at, _)| (from + at) as u32));
        }
    }

    /// Every slot the request fits.
    pub fn feasible(&self, slots: &mut Vec<u32>) {
        slots.clear();
        slots.extend(self.costs.iter().enumerate().filter(|(_, cost)| **cost < f32::INFINITY).map(|(slot, _)| slot as u32));
    }

    pub fn device(&self, slot: u32) -> usize {
        usize::from(self.devices[slot as usize])
    }

    pub fn cost(&self, slot: u32) -> f32 {
        self.costs[slot as usize]
    }
}

/// In eight lanes, so that it compiles to vector instructions.
fn lowest(costs: &[f32]) -> f32 {
    let mut lanes = [f32::INFINITY; 8];
    let chunks = costs.chunks_exact(8);
    let mut least = f32::INFINITY;
    for cost in chunks.remainder() {
        least = if *cost < least { *cost } else { least };
    }
    for chunk in chunks {
        for (lane, cost) in lanes.iter_mut().zip(chunk) {
            *lane = if *cost < *lane { *cost } else { *lane };
        }
    }
    lanes.into_iter().fold(least, |least, lane| if lane < least { lane } else { least })
}

/// [`Score::potential`] of every slot, shared by all requests.
#[derive(Clone, Debug, Default)]
pub struct Potentials {
    values: Vec<f32>,
    valid: Option<(u32, u64)>,
}

impl Potentials {
    fn refresh(&mut self, fleet: &Fleet, policy: &dyn Score) {
        let (now, epoch) = (fleet.groups().now(), policy.epoch());
        if self.valid == Some((epoch, now)) && self.values.len() == fleet.groups().len() {
            return;
        }
        let changed = match self.valid {
            Some((of, then)) if of == epoch => fleet.groups().changed_since(then),
            _ => None,
        };
        self.values.resize(fleet.groups().len(), f32::NAN);
        match changed {
            Some(changed) => changed.iter().for_each(|slot| self.values[*slot as usize] = f32::NAN),
            None => self.values.fill(f32::NAN),
        }
        self.valid = Some((epoch, now));
    }

    #[inline]
    fn of(&mut self, slot: usize, compute: impl FnOnce() -> f32) -> f32 {
        let value = &mut self.values[slot];
        if value.is_nan() {
            *value = compute();
        }
        *value
    }
}
