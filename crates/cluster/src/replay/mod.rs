//! A fleet filled by a policy in simulated time: what an experiment or a comparison of policies runs.
//!
//! [`fill`] lets requests arrive until the fleet is overfull and nothing ends. [`churn`] lets work arrive and end, with a
//! queue in front; [`elastic`] lives through training jobs that can be resized, [`types`] through jobs on several types of devices. The first two are functions of their arguments; every decision goes through
//! [`placement::packing::audit::Audit`] as well, which trusts nothing.

mod churn;
pub mod elastic;
mod fill;
mod policies;
pub mod sharing;
pub mod types;

pub use churn::{Churn, ChurnReport, ChurnSample, churn};
pub use fill::{FillReport, FillSample, arrivals, fill};
pub use policies::{AnyPolicy, Knowledge, PolicyName, UnknownPolicy};
