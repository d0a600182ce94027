//! What has happened.
//!
//! [`State::apply`] is the whole memory of the system: a pure function of the state and one [`Command`]. [`Core::step`]
//! is the whole loop around it (apply, plan, check, adopt) without any I/O, so that the daemon, the
//! simulated world and a replay of a log run the same code. Time, ids and seeds come in as arguments.

mod command;
mod job;

pub use command::{Answer, Batch, Command, Input, Notice, Refusal};
pub use job::{Job, JobState, Run, RunState};
