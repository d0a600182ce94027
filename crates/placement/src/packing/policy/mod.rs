//! The policies, each a [`Score`].
//!
//! `ashlar` is ours. The others are the published ones it is measured against, as their authors' simulator
//! computes them (Weng et al., "Beware of Fragmentation", USENIX ATC 2023): scores of 0 to 100 cut to whole numbers,
//! ties by a random order of the machines. A score is turned into a cost by its sign.

mod ashlar;
mod bestfit;
mod dotprod;
mod fgd;
mod firstfit;
mod random;

pub use ashlar::Ashlar;
pub use bestfit::BestFit;
pub use dotprod::DotProd;
pub use fgd::Fgd;
pub use firstfit::Packing;
pub use random::Random;

use crate::packing::filter::shared_choices;
use crate::packing::model::{Free, Request};

/// The largest machine of the published simulator, by which its scores are scaled: thousandths of a CPU, and of devices.
pub(crate) const LARGEST_CPU: f64 = 128_000.0;
pub(crate) const LARGEST_SHARE: f64 = 8_000.0;

/// The device with the least room that is enough.
pub(crate) fn tightest(free: &Free, request: &Request) -> u8 {
    if !request.is_shared() {
        return 0;
    }
    shared_choices(free, request).min_by_key(|device| (free.share[*device], *device)).unwrap_or(0) as u8
}
