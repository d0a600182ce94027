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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packing::model::KindSet;

    fn shapes() -> [Shape; 3] {
        [0, 1, 2].map(|kind| Shape { kind, devices: 4, cpu: 1000, memory: 1, device_memory: 0 })
    }

    fn asks(kinds: u64, devices: u8, share: u16) -> Request {
        Request::new(1, 1, devices, share, KindSet(kinds)).unwrap()
    }

    /// Prices after days on each of which these were refused: a hundred devices of model 0, ten of model 1, none of model 2.
    fn after(days: usize, refused: &[(Request, usize, usize)]) -> Prices {
        let machines: Vec<u16> = [vec![0; 25], vec![1; 2]].concat();
        let mut prices = Prices::new(&shapes(), &machines);
        for _ in 0..days {
            let mut tally = nothing_refused();
            for (request, next, times) in refused {
                (0..*times).for_each(|_| prices.refuse(&mut tally, request, *next));
            }
            prices.learn(&tally);
        }
        prices
    }

    #[test]
    fn before_anything_is_learned_all_devices_are_equal() {
        let prices = after(0, &[]);
        assert!((0..3).all(|kind| prices.of(kind, 0) == 1.0 && prices.of(kind, 1) == 1.0));
        assert!((0..3).all(|kind| after(1, &[]).of(kind, 0) == 0.0), "nobody was refused: idle devices cost nothing");
    }

    #[test]
    fn a_model_some_insist_on_is_dearer() {
        let prices = after(20, &[(asks(0b10, 1, 1000), 0, 4), (asks(0b11, 1, 1000), 1, 4)]);
        assert!(prices.of(1, 0) > 0.9, "{}", prices.of(1, 0));
        assert_eq!(prices.of(0, 0), 0.0, "who was refused could not have used model 0");
        assert!(prices.of(1, 1) > prices.of(0, 1) && prices.of(0, 1) > 0.0);
        assert_eq!(prices.of(2, 1), 0.0, "of a model that is not there nothing is said");
    }

    #[test]
    fn whoever_takes_any_model_makes_all_equally_dear() {
        let prices = after(5, &[(asks(u64::MAX, 1, 500), 0, 20)]);
        assert_eq!(prices.of(0, 0), prices.of(1, 0));
        assert!(prices.of(0, 0) > 0.5);
    }

    #[test]
    fn a_gang_counts_for_one_device_and_who_wants_none_for_none() {
        let (gang, single) = (after(3, &[(asks(1, 4, 1000), 0, 2)]), after(3, &[(asks(1, 1, 1000), 0, 2)]));
        assert_eq!(gang.of(0, 0), single.of(0, 0));
        assert_eq!(after(3, &[(asks(1, 0, 0), 0, 9)]).of(0, 0), 0.0);
    }

    #[test]
    fn prices_follow_when_refusals_end() {
        let mut prices = after(20, &[(asks(0b10, 1, 1000), 0, 4)]);
        let high = prices.of(1, 0);
        for _ in 0..60 {
            prices.learn(&nothing_refused());
        }
        assert!(prices.of(1, 0) < high / 1.2, "{high} then {}", prices.of(1, 0));
    }
}
