//! How full and how fragmented a fleet is.

use crate::packing::filter::{device_fits, fits};
use crate::packing::fleet::Fleet;
use crate::packing::model::{Free, MAX_DEVICES, Request, Shape};
use serde::{Deserialize, Serialize};

/// Expected thousandths of free devices that a typical request cannot use (Weng et al., USENIX ATC 2023, section 3): all of
/// them where it does not fit or asks for none, else those of devices too full for it.
pub fn fragment(shape: &Shape, free: &Free, typical: &[(Request, f64)]) -> f64 {
    let total = f64::from(free.total());
    if total == 0.0 {
        return 0.0;
    }
    let unusable = |request: &Request| {
        if request.devices == 0 || !fits(shape, free, request) {
            return total;
        }
        let small = (0..MAX_DEVICES).filter(|device| !device_fits(free, *device, request));
        small.map(|device| f64::from(free.share[device])).sum()
    };
    typical.iter().map(|(request, weight)| weight * unusable(request)).sum()
}

/// Held devices, as a fraction of those there are.
pub fn allocated(fleet: &Fleet) -> f64 {
    if fleet.capacity() == 0 { 0.0 } else { fleet.allocated() as f64 / fleet.capacity() as f64 }
}

/// Fragmentation of a fleet, in devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fragmentation {
    /// Free devices, shares added up.
    pub idle: f64,
    /// Of them, expected to be of no use to a typical request.
    pub unusable: f64,
}

impl Fragmentation {
    pub fn of(fleet: &Fleet, typical: &[(Request, f64)]) -> Fragmentation {
        let groups = fleet.groups();
        let mut sum = Fragmentation::default();
        for slot in 0..groups.len() as u32 {
            let (shape, free, population) = groups.state(slot);
            let machines = f64::from(population);
            sum.idle += machines * f64::from(free.total()) / 1000.0;
            if population > 0 {
                sum.unusable += machines * fragment(&fleet.shapes()[usize::from(shape)], free, typical) / 1000.0;
            }
        }
        sum
    }
}
