//! Random: any machine that fits, any device of it.

use crate::packing::model::Request;
use crate::packing::score::{Cost, Score, Spot};

#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Score for Random {
    fn cost(&self, _: &Spot<'_>, _: &Request) -> Cost {
        Cost { cost: 0.0, device: 0 }
    }

    fn draws(&self) -> bool {
        true
    }
}
