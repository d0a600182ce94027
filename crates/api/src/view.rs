//! What goes over the wire: requests, replies and views of the state.

use machine::{Bytes, DeviceId, Grant, LastSeen, Machine};
use serde::{Deserialize, Serialize};
use spec::{EndCause, IsolationReport, JobId, JobSpec, Queue, RankReport, RunId, StageTime, Time, Usage};
use std::collections::BTreeMap;

/// `POST /v1/jobs`: several jobs become durable with one write to disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubmitRequest {
    pub jobs: Vec<SubmitItem>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubmitItem {
    pub spec: JobSpec,
    /// A repeated submission with the same key is the same job.
    #[serde(default)]
    pub key: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubmitReply {
    /// One for each job of the request, in order.
    pub results: Vec<SubmitResult>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubmitResult {
    Accepted(JobId),
    Refused(ErrorBody),
}

/// The body of every reply that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ErrorBody {
    pub kind: ErrorKind,
    pub message: String,
    #[serde(default)]
    pub hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request is wrong (HTTP 400, exit code 2).
    Input,
    /// There is no such thing, or it is not yours to see (404, exit code 1).
    NotFound,
    /// The asked thing cannot be done in this state (409, exit code 1; 2 for a key that names another job).
    Conflict,
    /// Not allowed (403, exit code 3).
    Denied,
    /// No node, or it cannot serve now: disk full, shutting down (503, exit code 3).
    Unavailable,
    /// Our fault (500, exit code 4).
    Internal,
}

impl ErrorKind {
    /// The HTTP status that carries it.
    pub fn status(self) -> u16 {
        match self {
            ErrorKind::Input => 400,
            ErrorKind::NotFound => 404,
            ErrorKind::Conflict => 409,
            ErrorKind::Denied => 403,
            ErrorKind::Unavailable => 503,
            ErrorKind::Internal => 500,
        }
    }

    /// The kind of a reply whose body is not ours, such as one of a proxy.
    pub fn of_status(status: u16) -> ErrorKind {
        match status {
            401 | 403 | 407 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Conflict,
            400..=499 => ErrorKind::Input,
            502..=504 => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        }
    }
}

/// One line of `ashlar jobs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    pub id: JobId,
    pub name: String,
    /// `waiting, starting, running, stopping, succeeded, failed, cancelled`.
    pub state: String,
    pub exit_code: Option<i32>,
    pub user: String,
    pub queue: String,
    /// Of an elastic job the most.
    pub ranks: u32,
    /// Of an elastic job that has not left for the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elastic: Option<ElasticView>,
    pub submitted: Time,
    pub started: Option<Time>,
    pub ended: Option<Time>,
    /// For a waiting job the first reason, for an ended one how it ended.
    pub note: Option<String>,
}

/// With how many ranks an elastic job may run, and runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElasticView {
    /// As in its file: `2..8`, `2,4,8`.
    pub range: String,
    /// Of the newest run, once there is one.
    pub ranks: Option<u32>,
}

/// `GET /v1/jobs`: newest first. `next` is passed as `before` to get the page after this one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobsPage {
    pub jobs: Vec<JobRow>,
    pub next: Option<JobId>,
}

/// `GET /v1/jobs/{id}`: everything about one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    #[serde(flatten)]
    pub row: JobRow,
    pub spec: JobSpec,
    /// Why it waits, most important first; empty when it does not.
    pub reasons: Vec<ReasonView>,
    pub planned_start: Option<Time>,
    pub outcome: Option<String>,
    /// What its owner can do about the end of its newest run.
    #[serde(default)]
    pub hint: Option<String>,
    /// Newest last.
    pub runs: Vec<RunView>,
    /// For an array as a whole, its tasks by index; `row` then sums them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<JobRow>,
}

/// How far a run has got, as its program tells by what it prints or appends to `$ASHLAR_METRICS`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgressView {
    pub step: Option<u64>,
    pub steps: Option<u64>,
    pub epoch: Option<f64>,
    pub epochs: Option<u64>,
    /// Part done, 0 to 1.
    pub fraction: Option<f64>,
    pub loss: Option<f64>,
    /// As the program says, or in proportion to the time so far.
    pub seconds_left: Option<u64>,
    /// Step and loss, in order of steps; at most 512.
    pub curve: Vec<(u64, f64)>,
    /// `metrics` or `output of rank 0`.
    pub source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    pub run: RunId,
    /// `starting, running, stopping, ended`.
    pub state: String,
    pub cause: Option<EndCause>,
    /// The job that gets its place, when it was told to end for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted_for: Option<JobId>,
    /// The number of ranks that its job goes on with, when it was told to end for that; `evicted_for` is its own job when it grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_on_with: Option<u32>,
    pub grant: Grant,
    pub granted: Time,
    pub started: Option<Time>,
    pub ended: Option<Time>,
    pub ranks: Vec<RankReport>,
    pub isolation: Option<IsolationReport>,
    pub stages: Vec<StageTime>,
    pub usage: Option<Usage>,
    /// It held more of a device than its part, when that was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overstep: Option<spec::Overstep>,
}

/// One blocking constraint, as data and as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonView {
    /// `cpus, memory, devices, enforcement, ports, queue-limit, reservation, behind, after, array-limit, backoff, evicting, no-machine`.
    pub kind: String,
    pub text: String,
    /// Runs that hold what is missing, where the asker may see them: "12-1 (train, ada)".
    pub held_by: Vec<String>,
    /// The nearest change that would start the job now.
    pub change: Option<String>,
    pub until: Option<Time>,
    pub never: bool,
}

/// `POST /v1/plan`: what a submission would lead to now. Nothing is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanView {
    pub verdict: PlanVerdict,
    pub grant: Option<Grant>,
    /// Of an elastic job; how many ranks it would have is in the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    pub planned_start: Option<Time>,
    pub reasons: Vec<ReasonView>,
    /// What the job names that is not there. Filled in by a command on the node's machine, which looks with its user's rights.
    #[serde(default)]
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanVerdict {
    StartsNow,
    Waits,
    Never,
}

/// `GET /v1/machine`: the machine and who holds what of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MachineView {
    pub machine: Machine,
    /// Current holders the asker may see by name; others appear without user and name.
    pub held: Vec<Held>,
    pub now: Time,
    /// What each device did when the node last looked, which is once a second where its driver or library answers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<DeviceId, LastSeen>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    pub run: Option<RunId>,
    pub user: Option<String>,
    pub name: Option<String>,
    pub grant: Grant,
}

/// One line of `ashlar queues`. What runs, waits and is held in a queue includes the queues below it, and its guarantee
/// what they are guaranteed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueueView {
    #[serde(flatten)]
    pub queue: Queue,
    /// How many queues are above it.
    #[serde(default)]
    pub depth: u32,
    /// Its part of the whole when all have work: of the weights beside it, of its parent's part, in thousandths.
    pub share_permille: u32,
    pub running: u64,
    pub waiting: u64,
    /// Thousandths of a CPU.
    pub held_cpu_milli: u64,
    pub held_memory: Bytes,
    /// Whole devices, rounded up.
    pub held_devices: u64,
    /// Thousandths of a device.
    #[serde(default)]
    pub held_device_milli: u64,
}

/// `GET /v1/jobs/{id}/logs`: a piece of the merged output of one rank.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogQuery {
    pub run: RunId,
    pub rank: u32,
    /// Bytes from the start of the output.
    pub offset: u64,
    pub max: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogChunk {
    /// Where `data` begins; larger than asked when older output was dropped.
    pub offset: u64,
    pub data: Vec<u8>,
    /// No more output will come.
    pub ended: bool,
}
