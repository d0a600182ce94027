//! FGD: the machine whose expected fragmentation grows least, for the requests that usually come.

use super::tightest;
use crate::packing::demand::Demand;
use crate::packing::filter::shared_choices;
use crate::packing::measure::fragment;
use crate::packing::model::{Free, Request, Shape};
use crate::packing::score::{Cost, Score, Spot};

/// Knows the distribution of requests beforehand.
#[derive(Clone, Debug)]
pub struct Fgd {
    typical: Vec<(Request, f64)>,
}

impl Fgd {
    /// Of the demand the most frequent requests that make up 95 %, as published.
    pub fn new(demand: &Demand) -> Fgd {
        Fgd { typical: demand.typical(0.95) }
    }

    fn grows(&self, spot: &Spot<'_>, after: &Free) -> f64 {
        let lost = fragment(spot.shape, spot.free, &self.typical) - fragment(spot.shape, after, &self.typical);
        // Published scale: a logistic curve over whole devices, cut to a whole number.
        -(100.0 / (1.0 + (-lost / 1000.0).exp())).trunc()
    }
}

impl Score for Fgd {
    fn cost(&self, spot: &Spot<'_>, request: &Request) -> Cost {
        let mut best = Cost { cost: f32::INFINITY, device: tightest(spot.free, request) };
        if !request.is_shared() {
            let mut after = *spot.free;
            after.take(request, crate::packing::filter::whole_devices(spot.free, request));
            best.cost = self.grows(spot, &after) as f32;
            return best;
        }
        // The tightest first: it keeps a tie.
        let mut choices: Vec<usize> = shared_choices(spot.free, request).collect();
        choices.reverse();
        for device in choices {
            let mut after = *spot.free;
            after.take(request, 1 << device);
            let cost = self.grows(spot, &after) as f32;
            if cost < best.cost {
                best = Cost { cost, device: device as u8 };
            }
        }
        best
    }

    fn potential(&self, _: u16, _: &Shape, _: &Free) -> f32 {
        0.0
    }
}
