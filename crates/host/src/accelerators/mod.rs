//! Accelerators.
//!
//! A card is found by what the PCI bus says, so one without a driver is seen too. [`table::rows`] is data, a row for
//! each kind of card; there is code only for what a row cannot say.

pub(crate) mod ascend;
mod find;
pub(crate) mod glob;
pub mod kfd;
mod models;
pub mod modules;
mod nodes;
pub mod nvidia;
pub mod nvml;
mod partitions;
pub mod table;
pub mod tools;

pub use find::{Counted, device_at, devices, still_on_bus as on_bus};
pub use models::{architecture, model};
