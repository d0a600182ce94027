//! What is written to the log, what goes into a step and what comes out.

use crate::{Job, JobState};
use machine::Machine;
use placement::{Eviction, Resize, Start};
use serde::{Deserialize, Serialize};
use spec::{Assignment, Identity, JobId, JobSpec, Queue, Report, Time};
use std::sync::Arc;

/// One record of the command log: the audit log, the crash-recovery log and the input of a replay at once.
/// Every variant carries the time it was accepted; applying it reads no clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "command")]
pub enum Command {
    Submit {
        /// The job number given at acceptance.
        number: u64,
        spec: Arc<JobSpec>,
        owner: Identity,
        /// Given by the submitter so that a repeated submission is the same job.
        key: Option<String>,
        /// How jobs named in `after` that are no longer in the state ended.
        ended: Vec<(JobId, JobState)>,
        at: Time,
    },
    Cancel {
        /// Without a task: every task of an array.
        job: JobId,
        by: Identity,
        kill: bool,
        at: Time,
    },
    /// A machine is there, or its hardware changed.
    Join { machine: Arc<Machine>, at: Time },
    /// A machine that will not come back is taken out.
    Leave { machine: String, by: Identity, at: Time },
    /// The queues, whole.
    Queues { queues: Vec<Queue>, at: Time },
    /// A checked plan takes effect.
    Adopt {
        based_on: u64,
        starts: Vec<Start>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        evictions: Vec<Eviction>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        resizes: Vec<Resize>,
        at: Time,
    },
    /// Something a machine reported changed the state.
    Observe { report: Report, at: Time },
    /// A timer of the state came due.
    Wake { at: Time },
    /// Jobs, by number, that ended and are remembered no longer.
    Forget { numbers: Vec<u64>, at: Time },
}

/// What the outside asks of a step.
#[derive(Clone, Debug)]
pub enum Input {
    Submit {
        spec: Arc<JobSpec>,
        owner: Identity,
        key: Option<String>,
        ended: Vec<(JobId, JobState)>,
    },
    Cancel {
        job: JobId,
        by: Identity,
        kill: bool,
    },
    Join {
        machine: Arc<Machine>,
    },
    /// A machine that will not come back. Refused while its node talks to this core.
    Leave {
        machine: String,
        by: Identity,
    },
    Queues {
        queues: Vec<Queue>,
    },
    Observe {
        report: Report,
    },
    /// Jobs, by number, that ended so long ago that they need not be remembered. Those that are still needed stay.
    Forget {
        numbers: Vec<u64>,
    },
    /// Nothing new, but time has passed.
    Tick,
}

/// What became of one input, valid once the batch is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The job was accepted (or is the one accepted earlier under the same key).
    Accepted(JobId),
    Done,
    Refused(Refusal),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no job {0}")]
    NoSuchJob(JobId),
    #[error("job {job} already ended: {state}")]
    AlreadyEnded { job: JobId, state: &'static str },
    #[error("there is no queue named '{name}'; there are: {known}")]
    NoSuchQueue { name: String, known: String },
    #[error("'{user}' may not submit to queue '{queue}'")]
    NotYourQueue { user: String, queue: String },
    #[error("queue '{queue}' holds no jobs itself; the queues below it do: {below}")]
    QueueAbove { queue: String, below: String },
    #[error("the key '{key}' was used before, for job {job}, which asks for something else")]
    KeyUsed { key: String, job: JobId },
    #[error("job {0} named under 'after' does not exist")]
    NoSuchDependency(JobId),
    #[error("there is no machine '{name}'; there are: {known}")]
    NoSuchMachine { name: String, known: String },
    #[error("machine '{0}' is there: its node talks to us")]
    MachineThere(String),
    #[error("queue '{queue}' still has {jobs} {} and cannot be removed", if *jobs == 1 { "job" } else { "jobs" })]
    QueueInUse { queue: String, jobs: usize },
    #[error("queue '{queue}' has {jobs} {} and cannot have queues below it", if *jobs == 1 { "job" } else { "jobs" })]
    QueueHasJobs { queue: String, jobs: usize },
    #[error("{whose} {live} unfinished jobs, {asked} more would be above the {most} allowed")]
    TooManyJobs { whose: String, live: u64, asked: u64, most: u64 },
    #[error("the plan was made for generation {based_on}, the state is at {now}")]
    Stale { based_on: u64, now: u64 },
    #[error("{0}")]
    Inconsistent(String),
}

/// The outcome of one step. `records` go to disk first, in one transaction with `archived`; only then are the
/// answers given and the assignments sent.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Batch {
    pub records: Vec<Command>,
    /// One for each input, in order.
    pub answers: Vec<Answer>,
    /// Machines whose assignment changed, whole.
    pub assignments: Vec<Assignment>,
    /// Jobs that ended in this step and have left the state.
    pub archived: Vec<Job>,
    /// Numbers of jobs that leave the archive with these records.
    pub forgotten: Vec<u64>,
    pub notices: Vec<Notice>,
}

/// A job reached a state its owner wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub job: JobId,
    pub name: String,
    pub state: JobState,
    pub exit_code: Option<i32>,
    pub owner: Identity,
    pub command: Vec<String>,
}
