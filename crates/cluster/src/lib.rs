//! What has happened.
//!
//! [`State::apply`] is the whole memory of the system: a pure function of the state and one [`Command`]. [`Core::step`]
//! is the whole loop around it (apply, plan, check, adopt) without any I/O, so that the daemon, the
//! simulated world and a replay of a log run the same code. Time, ids and seeds come in as arguments.
//!
//! [`replay`] fills a fleet of many machines under a packing policy, for experiments and comparisons.
//! [`world`] runs that same code against a simulated disk, network, set of machines and people, with faults.

mod command;
mod ending;
mod job;
mod ledger;
pub mod replay;
mod snapshot;
mod state;
mod step;
pub mod world;

pub use command::{Answer, Batch, Command, Input, Notice, Refusal};
pub use ending::explain;
pub use job::{Job, JobState, Run, RunState};
pub use ledger::Ledger;
pub use snapshot::expected_end;
pub use state::{Effects, MachineState, RestoreError, State};
pub use step::{Core, RUNS_UNKNOWN};
