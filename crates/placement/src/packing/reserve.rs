//! Reserve: what a device model is worth to those who can use nothing else.
//!
//! A free device on which a later request would have been refused a place is worth a device; one that stays idle anyway is
//! worth nothing. The price of a model is learned from refusals in simulated days ahead: requests that were
//! refused although they would take the model, in proportion to the devices they would take.

use crate::packing::model::{MAX_KINDS, Request, Shape};
use crate::packing::values::CHECKPOINTS;

/// Refused demand, as a part of the devices that would do, at which a device is worth half.
const HALF: f32 = 0.02;

/// Weight of what was learned before, against one more simulated day, at most; less in the first days.
const MEMORY: f32 = 0.95;

/// Refusals of one simulated day, per model and checkpoint.
pub type Refused = Vec<[f32; CHECKPOINTS]>;

/// Prices between 0 and 1 of a device of each model, at each checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    capacity: Vec<f32>,
    refused: Refused,
    /// Days the sums count as, older ones fading.
    days: f32,
    learned: u32,
}

impl Prices {
    pub fn new(shapes: &[Shape], machines: &[u16]) -> Prices {
        let mut capacity = vec![0.0; MAX_KINDS];
        for shape in machines.iter().map(|shape| &shapes[usize::from(*shape)]) {
            capacity[usize::from(shape.kind)] += shape.capacity() as f32;
        }
        Prices { capacity, refused: nothing_refused(), days: 0.0, learned: 0 }
    }

    /// Adds one refusal to a day's tally, for the checkpoints from `next` on.
    pub fn refuse(&self, tally: &mut Refused, request: &Request, next: usize) {
        let could = |kind: &usize| request.kinds.has(*kind as u8) && self.capacity[*kind] > 0.0;
        let devices: f32 = (0..MAX_KINDS).filter(could).map(|kind| self.capacity[kind]).sum();
        if devices == 0.0 || request.devices == 0 {
            return;
        }
        for kind in (0..MAX_KINDS).filter(could) {
            // One device's worth: more of one device would not have helped a gang.
            tally[kind][next..].iter_mut().for_each(|sum| *sum += f32::from(request.share) / devices);
        }
    }

    /// Learns from a whole day.
    pub fn learn(&mut self, tally: &Refused) {
        let memory = (1.0 - 2.0 / (self.learned as f32 + 4.0)).min(MEMORY);
        self.learned += 1;
        self.days = self.days * memory + 1.0;
        for (all, day) in self.refused.iter_mut().zip(tally) {
            all.iter_mut().zip(day).for_each(|(sum, refused)| *sum = *sum * memory + refused);
        }
    }

    /// 1 before anything was learned: every device counts the same.
    pub fn of(&self, kind: u8, checkpoint: usize) -> f32 {
        if self.days == 0.0 {
            return 1.0;
        }
        let refused = self.refused[usize::from(kind)][checkpoint] / self.days;
        refused / (refused + HALF)
    }
}

pub fn nothing_refused() -> Refused {
    vec![[0.0; CHECKPOINTS]; MAX_KINDS]
}
