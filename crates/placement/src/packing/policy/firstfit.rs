//! Packing: shared devices before whole ones, used machines before empty ones.

use super::tightest;
use crate::packing::filter::device_fits;
use crate::packing::model::{MAX_DEVICES, Request, WHOLE};
use crate::packing::score::{Cost, Score, Spot};

#[derive(Clone, Copy, Debug, Default)]
pub struct Packing;

impl Score for Packing {
    fn cost(&self, spot: &Spot<'_>, request: &Request) -> Cost {
        let device = tightest(spot.free, request);
        if request.devices == 0 {
            return Cost { cost: 0.0, device };
        }
        let whole = spot.free.whole() as i64;
        if whole == i64::from(spot.shape.devices) {
            return Cost { cost: -(33 - whole).max(whole) as f32, device };
        }
        // Sorted falling, so the tightest are last.
        let fitting = (0..MAX_DEVICES).rev().filter(|device| device_fits(spot.free, *device, request));
        let used: Vec<u16> = fitting.take(usize::from(request.devices)).map(|device| spot.free.share[device]).collect();
        let opened = used.iter().filter(|share| **share == WHOLE).count() as i64;
        let score = if opened > 0 {
            (50 - opened).max(33)
        } else {
            let left: i64 = used.iter().map(|share| i64::from(*share) * 100 / i64::from(WHOLE)).sum();
            (100 - left / 10).max(50)
        };
        Cost { cost: -score as f32, device }
    }
}
