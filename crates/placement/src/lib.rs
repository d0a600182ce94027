//! Who gets what, and why.
//!
//! [`plan`] is a function of a [`Snapshot`], a [`Policy`] and the time: the same values give the same [`Plan`].
//! [`check`] is written apart from it, trusts nothing the planner computed, and runs before every adoption.
//!
//! ```text
//! Snapshot ── order ──> jobs, one by one ── demand, held: does it fit? ──> start (place: which CPUs, devices, nodes, ports)
//!                             │                                  no ──> promise: earliest time on the horizon
//!                             └── explain: what lacks, who holds it, what would help
//! ```
//!
//! - `layout`: a machine with its CPUs in hardware order
//! - `held`: what is taken, at a moment or at most over a time
//! - `demand`: what a job asks, and whether it fits: counts only, exact
//! - `place`: where it goes: preferences only, never a refusal
//! - `horizon`: the time ahead, with promises
//! - `evict`: which runs end for a job whose queue is guaranteed what they hold
//! - `resize`: which elastic runs go on with fewer ranks for a job that waits, or with more
//! - `tree`: which queue is below which
//! - `order`: whose turn it is, down the tree
//! - `planner`: the stages, one after the other
//! - `explain`, `reason`: why a job waits, as data and in words
//!
//! [`goodput`] decides how many devices elastic jobs hold.
//! [`heterogeneity`] decides which jobs run on which type of device.
//! [`packing`] decides among many machines: shared devices, device models, policies that can be compared.

mod check;
mod demand;
mod evict;
mod explain;
pub mod goodput;
mod held;
pub mod heterogeneity;
mod horizon;
mod layout;
mod model;
mod order;
pub mod packing;
mod place;
mod planner;
mod reason;
mod resize;
mod suppose;
mod tree;

pub use check::check;
pub use model::{
    Blocker, Elastic, Evicted, Eviction, Gate, MachineSnapshot, Plan, Policy, QueueSnapshot, Reason, Reservation, Resize, Running,
    Snapshot, Start, Violation, Waiting, WhatIf,
};
pub use planner::{plan, what_if};
pub use resize::next_resizable;
pub use suppose::{SupposeError, suppose};
