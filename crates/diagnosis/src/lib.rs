//! What is wrong, and what to do about it.
//!
//! Rules are pure functions from facts to a [`Finding`]. Facts are plain values, so a rule is tested with a
//! table and needs no machine; whoever holds the facts (a report of a node, a probe of the kernel) converts
//! them at its own edge.

pub mod faults;
mod finding;
pub mod profile;
pub mod readiness;
pub mod run_end;
mod signal;

pub use finding::{Finding, Severity};
