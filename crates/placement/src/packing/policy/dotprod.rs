//! DotProd: the machine whose free vector has the smallest dot product with the request's (Tetris, SIGCOMM 2014, in
//! the reading of the FGD authors).

use super::{LARGEST_CPU, LARGEST_SHARE, tightest};
use crate::packing::model::Request;
use crate::packing::score::{Cost, Score, Spot};

#[derive(Clone, Copy, Debug, Default)]
pub struct DotProd;

impl Score for DotProd {
    fn cost(&self, spot: &Spot<'_>, request: &Request) -> Cost {
        let cpu = f64::from(spot.free.cpu) / LARGEST_CPU * (f64::from(request.cpu) / LARGEST_CPU);
        let share = f64::from(spot.free.total()) / LARGEST_SHARE * (f64::from(request.amount()) / LARGEST_SHARE);
        let score = ((1.0 - (cpu + share) / 2.0) * 100.0).trunc();
        Cost { cost: -score as f32, device: tightest(spot.free, request) }
    }
}
