//! Who gets what, and why.
//!
//! [`plan`] is a function of a [`Snapshot`], a [`Policy`] and the time: the same values give the same [`Plan`].
//! [`check`] is written apart from it, trusts nothing the planner computed, and runs before every adoption.

mod model;

pub use model::{
    Blocker, Gate, MachineSnapshot, Plan, Policy, QueueSnapshot, Reason, Reservation, Running, Snapshot, Start, Violation, Waiting,
};
