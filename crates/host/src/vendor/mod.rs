//! Accelerators.
//!
//! A card is found by what the PCI bus says, so one without a driver is seen too. [`table::ROWS`] is data, a row for
//! each kind of card; there is code only for what a row cannot say.

mod find;
mod models;
pub mod nvidia;
pub mod table;

pub use find::devices;
pub use models::model;
