//! Jobs and their runs as the state remembers them.

use machine::Grant;
use placement::Evicted;
use serde::{Deserialize, Serialize};
use spec::{Dependency, EndCause, Identity, IsolationReport, JobId, JobSpec, RankReport, RunId, StageTime, StopOrder, Time, Usage};
use std::sync::Arc;

/// One job (or one task of an array) with everything that ever happened to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    pub spec: Arc<JobSpec>,
    pub owner: Identity,
    pub queue: String,
    pub state: JobState,
    pub submitted: Time,
    /// First instruction of the first run that got so far.
    pub started: Option<Time>,
    pub ended: Option<Time>,
    /// Set with the end: 0, the code of the first failing rank, 128 + signal, 124 at the limit, 137 out of memory,
    /// 130 when cancelled, 125 when nothing could be started or the run was lost.
    pub exit_code: Option<i32>,
    /// One sentence on how it ended.
    pub outcome: Option<String>,
    /// Dependencies not met yet.
    pub after: Vec<Dependency>,
    /// The next attempt is not placed before this.
    pub not_before: Option<Time>,
    /// Who asked for the cancellation.
    pub cancelled_by: Option<Identity>,
    /// What runs were evicted for, or where the job goes on at another size; nobody else may have it. Gone once the job holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Grant>,
    /// Newest last. At most [`spec::Retry::attempts`], those not counted that ended by eviction.
    pub runs: Vec<Run>,
}

impl Job {
    /// Runs that count as attempts: all but those that were ended for the sake of another job.
    pub fn attempts(&self) -> u32 {
        u32::try_from(self.runs.iter().filter(|run| !run.gave_way()).count()).unwrap_or(u32::MAX)
    }

    /// The run that holds a grant: the newest, unless its end has been observed.
    pub fn live_run(&self) -> Option<&Run> {
        self.runs.last().filter(|run| !run.state.is_ended())
    }

    pub(crate) fn live_run_mut(&mut self) -> Option<&mut Run> {
        self.runs.last_mut().filter(|run| !run.state.is_ended())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    Waiting,
    Starting,
    Running,
    Stopping,
    Succeeded,
    Failed,
    Cancelled,
}

impl JobState {
    pub fn is_terminal(self) -> bool {
        matches!(self, JobState::Succeeded | JobState::Failed | JobState::Cancelled)
    }

    pub fn name(self) -> &'static str {
        match self {
            JobState::Waiting => "waiting",
            JobState::Starting => "starting",
            JobState::Running => "running",
            JobState::Stopping => "stopping",
            JobState::Succeeded => "succeeded",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
        }
    }
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub grant: Grant,
    pub adopted: Time,
    /// The assignment generation that first listed the run.
    pub ordered_in: u64,
    pub state: RunState,
    pub stop: Option<StopOrder>,
    /// For whom it was told to end, if nobody cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted: Option<Evicted>,
    pub started: Option<Time>,
    pub ended: Option<Time>,
    pub ranks: Vec<RankReport>,
    pub isolation: Option<IsolationReport>,
    pub stages: Vec<StageTime>,
    pub usage: Option<Usage>,
    /// It held more of a device than its part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overstep: Option<spec::Overstep>,
}

impl Run {
    /// It ended because it was evicted, and not by itself before the order reached it.
    pub fn gave_way(&self) -> bool {
        self.evicted.is_some() && matches!(self.state, RunState::Ended(EndCause::Stopped | EndCause::Lost { .. }))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "cause")]
pub enum RunState {
    Starting,
    Running,
    Stopping,
    Ended(EndCause),
}

impl RunState {
    pub fn is_ended(&self) -> bool {
        matches!(self, RunState::Ended(_))
    }
}
