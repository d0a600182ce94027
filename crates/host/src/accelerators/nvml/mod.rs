//! NVIDIA's management library (NVML): memory, identity, slices, links, telemetry and health of its cards.
//!
//! The library hangs and crashes with the driver, so the process that has work to do never loads it. A child does
//! ([`serve`]) and writes a line for each card it begins with; the asker ([`Asker`]) reads with a deadline, kills a child that
//! is silent, and starts another one that leaves out the card at which the first stopped. What comes back is checked for
//! what can be before it is used ([`merge`]).

mod ask;
mod ask_again;
mod merge;
mod reply;

pub use ask::{LIBRARY_VARIABLE, serve};
pub use ask_again::{Asker, Sweep};
pub(crate) use merge::judge;
pub use merge::merge;
pub use reply::{Fabric, Failed, Gpu, Line, MigSlice, Nvlink, Remap};
