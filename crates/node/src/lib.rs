//! Makes one machine match its assignment.
//!
//! ```text
//!   Assignment ──> Node (one thread)                       Report ──> control
//!                    │  asks the nursery for                 ▲
//!                    ▼                                       │ reads
//!          supervisor of a run (own process) ──writes──> runs/<run>/journal
//!                    │ sandbox::start
//!                    ▼
//!              ranks of the run
//! ```
//! The node holds no truth of its own: what should run is in the assignment, what does run is in the journals of
//! the supervisors. It can be killed at any moment and started again. It never decides who gets what.

mod burial;
mod clock;
mod conduct;
mod daemon;
mod device_memory;
mod environment;
mod files;
mod journal;
mod lock;
mod notify;
mod nursery;
mod output;
mod progress;
mod reconcile;
mod supervisor;

pub use conduct::{Action, Conduct, Event};
pub use daemon::{Node, NodeError, NodeOptions};
pub use environment::{
    BuiltEnvironment, EnvironmentError, LOCK_FILE, NamedEnvironment, Shelf, ShelfError, build_as_owner, build_table,
    framework_requirements, framework_wanted, hardware,
};
pub use files::{RunFile, RunFiles, StateFiles};
pub use journal::{Entry, Journal, read_journal};
pub use notify::{Notification, Notifier, carry};
pub use nursery::nurse;
pub use output::{OutputError, read_output};
pub use reconcile::{LocalRun, Standing, Step, reconcile};
pub use supervisor::{SuperviseError, supervise};
