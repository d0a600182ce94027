//! BestFit: the machine that has least left over, over CPU and devices.

use super::{LARGEST_CPU, LARGEST_SHARE, tightest};
use crate::packing::model::Request;
use crate::packing::score::{Cost, Score, Spot};

#[derive(Clone, Copy, Debug, Default)]
pub struct BestFit;

impl Score for BestFit {
    fn cost(&self, spot: &Spot<'_>, request: &Request) -> Cost {
        let cpu = f64::from(spot.free.cpu - request.cpu) / LARGEST_CPU;
        let share = f64::from(spot.free.total() - request.amount()) / LARGEST_SHARE;
        let score = ((1.0 - 0.5 * cpu - 0.5 * share) * 100.0).trunc();
        Cost { cost: -score as f32, device: tightest(spot.free, request) }
    }
}
