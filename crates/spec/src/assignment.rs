//! What a machine is told: its whole desired state, never a change to it.

use crate::{JobSpec, RunId, Time};
use machine::Grant;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Everything that should run on one machine now. A node ignores an assignment older than the last it saw and
/// does nothing new on one it has seen; a run that is not listed may be forgotten once it has ended, and is
/// stopped if it has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    pub machine: String,
    /// Grows with every change to the assignment.
    pub generation: u64,
    pub runs: Vec<RunOrder>,
}

/// One run, with everything needed to start it and keep it running if nobody answers any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOrder {
    pub run: RunId,
    pub spec: Arc<JobSpec>,
    pub owner: Identity,
    pub grant: Grant,
    pub submitted: Time,
    /// Set when the run shall end.
    pub stop: Option<StopOrder>,
}

/// An order to end a run. Stopping twice is the same as once, except that `kill` can only be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopOrder {
    /// Skip the signal and the grace.
    pub kill: bool,
}

/// Who submitted: what the kernel said of the peer of the socket, never what the peer said of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Login name, or the number where the machine knows no name.
    pub user: String,
    pub home: String,
}
