//! Requests and replies beside the views: what the routes take and give.

use crate::{JobRow, JobView, ReasonView};
use serde::{Deserialize, Serialize};
use spec::{JobId, JobSpec, RunId, Supposition, Time};

/// Grows when a change to the wire makes old clients wrong. Sent by both sides in [`API_HEADER`].
pub const API_VERSION: u32 = 1;
/// Header with [`API_VERSION`] in every request and reply.
pub const API_HEADER: &str = "ashlar-api";
/// Header with the version of the program in every reply.
pub const VERSION_HEADER: &str = "ashlar-version";
/// Headers of the reply of `GET /v1/jobs/{id}/logs`, whose body is the output itself.
pub const LOG_OFFSET_HEADER: &str = "ashlar-log-offset";
pub const LOG_ENDED_HEADER: &str = "ashlar-log-ended";
/// The run the output is of; missing while the job has no run yet.
pub const LOG_RUN_HEADER: &str = "ashlar-log-run";
/// The socket below the state folder.
pub const SOCKET_NAME: &str = "ashlar.sock";
/// The longest a request may ask to wait, in milliseconds; longer waits are asked again.
pub const WAIT_MAX_MS: u64 = 60_000;
/// Jobs in one `POST /v1/jobs` at most.
pub const SUBMIT_MAX_JOBS: usize = 1000;
/// Bytes of one request at most.
pub const BODY_MAX_BYTES: usize = 16 << 20;
/// Bytes of output in one reply at most.
pub const LOG_MAX_BYTES: u32 = 4 << 20;

/// `GET /v1/jobs`: which jobs, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobQuery {
    /// One state by its name, or `live` (not ended) or `ended`.
    pub state: Option<String>,
    /// By login name.
    pub user: Option<String>,
    pub queue: Option<String>,
    /// 100 unless told, 1000 at most.
    pub limit: Option<u32>,
    /// Only jobs older than this one: [`crate::JobsPage::next`] of the page before.
    pub before: Option<JobId>,
    /// Everybody's jobs instead of one's own; needs root or the admin group.
    #[serde(default)]
    pub all: bool,
}

/// `POST /v1/jobs/{id}/cancel`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct CancelRequest {
    /// Skip the signal and the grace.
    #[serde(default)]
    pub kill: bool,
}

/// `POST /v1/plan`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanRequest {
    pub spec: JobSpec,
    /// Changes to the cluster that are supposed.
    #[serde(default)]
    pub suppose: Vec<Supposition>,
}

/// `GET /v1/jobs/{id}/wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitReply {
    /// False when the time to wait ran out first; ask again.
    pub ended: bool,
    /// For an array, all its tasks taken together.
    pub job: JobRow,
}

/// `GET /v1/jobs/{id}/follow`: comes when the job is no longer what `seen` stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowReply {
    /// Pass it as `seen` to be told of the next change. Opaque.
    pub mark: String,
    /// False when the time to wait ran out first.
    pub changed: bool,
    pub job: JobView,
}

/// `GET /v1/jobs/{id}/why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyView {
    pub id: JobId,
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elastic: Option<crate::ElasticView>,
    /// Most important first; empty when the job does not wait.
    pub reasons: Vec<ReasonView>,
    pub planned_start: Option<Time>,
    /// How the job ended, where it did.
    pub outcome: Option<String>,
    /// What its owner can do about the end of its newest run.
    #[serde(default)]
    pub hint: Option<String>,
}

/// `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    pub version: String,
    pub api: u32,
    pub pid: u32,
    pub state_dir: String,
    /// Of the last state on disk.
    pub generation: u64,
    /// The node's clock, which never goes back.
    pub now: Time,
    pub started: Time,
    /// Jobs that have not ended.
    pub live_jobs: u64,
    /// Machines that have joined.
    pub machines: u64,
    /// False while nothing can be accepted, for the reason among the alarms.
    pub accepting: bool,
    pub alarms: Vec<Alarm>,
    /// Every machine that has joined and was not taken out.
    #[serde(default)]
    pub known_machines: Vec<KnownMachine>,
}

/// How a machine stands with the node that decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownMachine {
    pub id: String,
    pub hostname: String,
    /// Its own node has joined since the node that decides was started.
    pub connected: bool,
    /// Something new may start there.
    pub accepts: bool,
    /// When the machine, as it is now, was first seen.
    pub joined: Time,
    /// Runs that hold a grant there, whoever's.
    pub runs: u64,
}

/// The reply of `POST /v1/machines/{id}/remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedMachine {
    /// Runs that were granted there.
    pub lost: Vec<RunId>,
}

/// Something an administrator should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Stable name: `unavailable`, `damaged-record`, `integrity`, `clock`, `plan.unsound`.
    pub kind: String,
    pub text: String,
    pub hint: Option<String>,
    pub since: Time,
}

/// `POST /v1/tokens`: a secret that stands for a person on the TCP port.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TokenRequest {
    /// Login name; one's own unless told. Another's needs root or the admin group.
    pub user: Option<String>,
    /// What it is for, in the person's words.
    pub note: String,
    /// Valid for so many days; 90 unless told, 3650 at most.
    pub days: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenReply {
    pub id: String,
    /// Shown once; only a hash of it is kept.
    pub token: String,
    pub user: String,
    pub expires: Time,
    /// Of the certificate of the TCP port, where one is open: `sha256:...`.
    pub fingerprint: Option<String>,
}

/// One line of `GET /v1/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    pub id: String,
    pub user: String,
    pub note: String,
    pub created: Time,
    pub expires: Time,
}

/// A piece of output and the run it is of.
#[derive(Clone, Debug, Default)]
pub struct LogPiece {
    pub run: Option<RunId>,
    pub chunk: crate::LogChunk,
}

/// What [`crate::Client::logs`] asks for.
#[derive(Clone, Copy, Debug)]
pub struct LogRequest {
    pub job: JobId,
    /// Attempt, from 1; the newest unless told.
    pub attempt: Option<u32>,
    pub rank: u32,
    /// Bytes from the start of the output.
    pub offset: u64,
    /// Bytes at most, up to [`LOG_MAX_BYTES`].
    pub max: u32,
    /// Wait so long for output that is not there yet.
    pub wait_ms: u64,
}
