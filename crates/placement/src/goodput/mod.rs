//! Elastic jobs: how many devices each one holds, chosen by what the devices do for it, again and again.
//!
//! ```text
//! measured steps ── learn ──> StepTime ┐
//!             measured gradients ──────┴─ model: goodput at (machines, ranks) ── choose: how many for each ── seat: where
//! ```
//!
//! - `model`: steps a second times what a step is worth
//! - `learn`: step times where the job has not been
//! - `job`: what a decision looks at and says
//! - `choose`: our policy; `seat`: devices to machines, moving as few as can be
//! - `tiresias`: the published policy to compare with

mod choose;
mod job;
mod learn;
mod model;
mod seat;
mod tiresias;

pub use choose::{Aim, Goodputs};
pub use job::{Assignment, ElasticJob, ElasticPolicy, Reason, Seats, devices};
pub use learn::Learner;
pub use model::{Batch, Configuration, Goodput, Noise, StepTime};
pub use seat::{parts, seat};
pub use tiresias::{THRESHOLD, Tiresias};
