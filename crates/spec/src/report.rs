//! What a machine says: the whole observed state of its runs.

use crate::{RunId, Span, Time};
use machine::{Bytes, DeviceId, IsolationLevel};
use serde::{Deserialize, Serialize};

/// Everything a node knows of its runs. A run that has ended stays in the report until an assignment no longer
/// lists it, so a lost or repeated report changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub machine: String,
    /// The assignment that was in force when the report was made. A run missing from a report is only "not
    /// there" if it was ordered by this generation or an earlier one.
    pub generation: u64,
    pub runs: Vec<RunReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    pub run: RunId,
    pub phase: RunPhase,
    /// When ranks began to execute the person's command.
    pub started: Option<Time>,
    pub ended: Option<Time>,
    pub ranks: Vec<RankReport>,
    pub isolation: Option<IsolationReport>,
    /// In order; the last one may still be going on.
    pub stages: Vec<StageTime>,
    pub usage: Option<Usage>,
    /// It held more of a device than its part, when that was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overstep: Option<Overstep>,
}

/// A run held more of a device's memory than its part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overstep {
    pub device: DeviceId,
    /// Granted.
    pub part: Bytes,
    /// Measured.
    pub used: Bytes,
    pub at: Time,
    /// The node's policy ends the run for it.
    pub ends: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "phase", content = "cause")]
pub enum RunPhase {
    /// Environment and container are being made.
    Starting,
    Running,
    /// Told to end, not yet gone.
    Stopping,
    Ended(EndCause),
}

/// Why a run ended: the first thing that went wrong, not what followed from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum EndCause {
    /// Every rank left with code 0.
    Success,
    /// This rank was the first to leave with a code other than 0.
    Exit { rank: u32, code: i32 },
    /// This rank was the first to be killed by a signal that we did not send.
    Signalled { rank: u32, signal: i32 },
    /// The kernel killed a process of the run because its memory was used up.
    OutOfMemory { rank: Option<u32>, limit: Bytes, peak: Bytes },
    /// It held more of a device's memory than its part, and the ranks were asked to end.
    DeviceMemory { device: DeviceId, part: Bytes, used: Bytes },
    /// The limit was reached and the ranks were asked to end.
    Limit {
        limit: Span,
        /// Every rank then ended by itself in time, with code 0 or 128 + the signal: what it saved can be gone on with.
        #[serde(default)]
        clean: bool,
    },
    /// A stop order was carried out.
    Stopped,
    /// No rank ever ran; the text says what failed and the hint what to do.
    StartFailed {
        message: String,
        hint: Option<String>,
        /// Something that the job names is not there, so that another try would end the same way.
        #[serde(default)]
        missing: bool,
    },
    /// The supervisor or the machine went away under the run.
    Lost { message: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankReport {
    pub rank: u32,
    pub state: RankState,
    /// Process id on the machine, while it runs.
    pub pid: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum RankState {
    Waiting,
    Running,
    Exited { code: i32 },
    Signalled { signal: i32 },
}

/// What was asked of the kernel for one run, and what it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationReport {
    pub level: IsolationLevel,
    pub marks: Vec<IsolationMark>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationMark {
    /// What: `memory`, `cpus`, `devices`, `seccomp` ...
    pub what: String,
    pub enforced: Enforced,
    /// The value set ("512 MiB, memory.limit_in_bytes"), or why it could not be.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enforced {
    Yes,
    No,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTime {
    /// `environment`, `container`, `ranks`, `stop`.
    pub stage: String,
    pub began: Time,
    /// `None` while it goes on.
    pub took: Option<Span>,
}

/// What a run used in all, from its control group where there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub memory_peak: Option<Bytes>,
    /// Processor time, user and system.
    pub cpu_time: Option<Span>,
    pub output: Bytes,
}
