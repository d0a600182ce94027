//! Several types of devices: who runs where, by how fast each class of jobs is on each type.
//!
//! - `table`: measured speeds, and estimates for what was not measured
//! - `shares`: time shares for a goal, and rounds that keep to them
//! - `simplex`: the linear programmes behind

mod shares;
mod simplex;
mod table;

pub use shares::{Goal, Rounds, TypedJob, equal_shares, rate, shares};
pub use simplex::{Solution, solve};
pub use table::Throughputs;
