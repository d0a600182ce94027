//! The values a decision is made of.

use machine::{Bytes, CpuShare, DeviceId, Enforcement, Grant, IsolationLevel, Machine};
use serde::{Deserialize, Serialize};
use spec::{JobId, JobSpec, Limits, Queue, RunId, Span, Time};
use std::sync::Arc;

/// Everything a decision looks at. Plain data, so that a test, a dry run and the simulator make one as easily
/// as the daemon.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The state this was taken from; a plan based on an older one is refused.
    pub generation: u64,
    pub machines: Vec<MachineSnapshot>,
    pub running: Vec<Running>,
    pub waiting: Vec<Waiting>,
    pub queues: Vec<QueueSnapshot>,
}

#[derive(Clone, Debug)]
pub struct MachineSnapshot {
    pub machine: Arc<Machine>,
    /// Nothing new starts here while false (its node has not reported yet, or is draining).
    pub accepts: bool,
}

/// A run that holds its grant, from the moment it was adopted until its end was observed.
#[derive(Clone, Debug)]
pub struct Running {
    pub run: RunId,
    pub queue: String,
    pub user: String,
    pub name: String,
    pub grant: Grant,
    pub priority: i32,
    /// When the grant was given.
    pub since: Time,
    /// By `expect` or `limit`, whichever is earlier; `None` when the job gave neither.
    pub expected_end: Option<Time>,
    /// How long it may take to save its work when asked to end.
    pub grace: Span,
    /// Set once it was told to end so that another job starts. Its place belongs to that job.
    pub evicted: Option<Evicted>,
    /// It is ending, whoever asked.
    pub stopping: bool,
    /// Of an elastic job whose ranks have begun; `None` of all others.
    pub elastic: Option<Elastic>,
}

/// What is known of a run whose job may have other numbers of ranks.
#[derive(Clone, Debug)]
pub struct Elastic {
    pub spec: Arc<JobSpec>,
    /// Where the job goes on once this run has ended. Nobody else may have it.
    pub next: Option<Grant>,
}

/// Why and since when a run is ending that nobody cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// The job that gets the place; the run's own when it goes on with more ranks.
    pub by: JobId,
    pub at: Time,
    /// The number of ranks that the job goes on with at once; `None` when it waits again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<u32>,
}

/// A job that holds nothing.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub job: JobId,
    pub spec: Arc<JobSpec>,
    pub queue: String,
    pub user: String,
    pub submitted: Time,
    /// What keeps the job from being considered at all; the planner turns each into a reason.
    pub gates: Vec<Gate>,
    /// What was cleared for this job by evictions that were carried out. Nobody else may have it.
    pub claim: Option<Grant>,
}

/// A condition outside the machine that must pass before a job may be placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "gate")]
pub enum Gate {
    /// Another job must end first.
    After { job: JobId, condition: spec::DependencyCondition },
    /// As many tasks of the array as allowed are running.
    ArrayLimit { at_once: u32 },
    /// The next attempt waits for its back-off.
    Backoff { until: Time },
}

#[derive(Clone, Debug)]
pub struct QueueSnapshot {
    pub queue: Queue,
    /// Weighted CPU-and-device time the queue used lately, in CPU-milliseconds, halved every [`Policy::usage_half_life`].
    pub recent_usage: u64,
}

/// Settings of the decision that are no facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Waiting jobs, in order, whose planned start no later job may delay. Jobs behind them start as soon as
    /// they fit beside those reservations.
    pub reservations: usize,
    /// Assumed for a job that gives neither `expect` nor `limit`.
    pub default_expect: spec::Span,
    pub usage_half_life: spec::Span,
    /// Ports leased to gangs: first and one past the last.
    pub ports: (u16, u16),
    pub ports_per_run: u16,
    /// Memory of a machine that is never granted, in thousandths.
    pub memory_reserve_permille: u32,
    /// A run is not evicted before it held its grant this long.
    #[serde(default = "shortest_run")]
    pub shortest_run: spec::Span,
    /// Jobs at a time for which runs are evicted.
    #[serde(default = "claims")]
    pub claims: usize,
    /// Time to start again that a restart at another size costs, beside that to save the work.
    #[serde(default = "restart")]
    pub restart: spec::Span,
    /// A job that waited this long goes before all others of its queue, whatever their priority.
    #[serde(default = "starving_after")]
    pub starving_after: spec::Span,
    /// Reasons in full are computed for this many waiting jobs; those behind get a short one.
    pub explained: usize,
}

fn shortest_run() -> Span {
    Span::minutes(10)
}

fn restart() -> Span {
    Span::seconds(30)
}

fn claims() -> usize {
    8
}

fn starving_after() -> Span {
    Span::hours(7 * 24)
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            reservations: 8,
            default_expect: spec::Span::hours(24),
            usage_half_life: spec::Span::hours(24),
            // Below the kernel's usual ephemeral range (32768 to 60999), above the services of /etc/services.
            ports: (21_000, 31_000),
            ports_per_run: 16,
            memory_reserve_permille: 50,
            shortest_run: shortest_run(),
            claims: claims(),
            restart: restart(),
            starving_after: starving_after(),
            explained: 256,
        }
    }
}

/// The whole decision. Immutable and fully specific: carrying it out makes no choices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct Plan {
    /// [`Snapshot::generation`] of what was decided on.
    pub based_on: u64,
    /// When it was decided; ends of runs and planned starts are reckoned from here.
    #[serde(default)]
    pub at: Time,
    pub starts: Vec<Start>,
    /// Runs to end so that waiting jobs get what their queues are guaranteed, or what their priority lets them take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evictions: Vec<Eviction>,
    /// Runs that end so that their jobs go on at once with another number of ranks: fewer, those that are also victims of an eviction;
    /// more, all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resizes: Vec<Resize>,
    /// Planned starts. The first [`Policy::reservations`] of them are kept: no start of this plan delays them.
    /// Those behind are what the jobs can expect if nothing else is submitted.
    pub reservations: Vec<Reservation>,
    /// For every waiting job that does not start: why, most important first. Never empty for a job that waits.
    pub reasons: Vec<(JobId, Vec<Reason>)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub job: JobId,
    pub grant: Grant,
}

/// Runs that end for one job, and what that job gets once they have: verified to fit beside everything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eviction {
    pub job: JobId,
    pub grant: Grant,
    /// Least lost work first; never empty.
    pub victims: Vec<RunId>,
}

/// A run that ends, and the place, on the same machine, in which its job goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    pub run: RunId,
    pub grant: Grant,
}

/// When a waiting job is planned to start if everything running takes as long as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    pub job: JobId,
    pub at: Time,
}

/// What would become of a job if it were submitted now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatIf {
    /// Present when the job would start at once.
    pub start: Option<Grant>,
    /// When it would start, as far as that can be foreseen: now, or the end of what is in its way.
    pub planned_start: Option<Time>,
    /// Why it would wait; empty when it starts at once.
    pub reasons: Vec<Reason>,
}

/// One thing that keeps one job from starting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub blocker: Blocker,
    /// Runs that hold what is missing, largest share first; at most eight.
    pub held_by: Vec<RunId>,
    /// The smallest change to the job that would start it now, where there is one ("ask for 3 CPUs instead of 4").
    pub change: Option<String>,
    /// When the blocker is planned to go away.
    pub until: Option<Time>,
    /// Waiting alone will never start the job.
    pub never: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Blocker {
    /// Free CPUs on the best machine are too few. Thousandths of a CPU for the whole gang.
    Cpus {
        wanted: CpuShare,
        free: CpuShare,
        total: CpuShare,
    },
    Memory {
        wanted: Bytes,
        free: Bytes,
        total: Bytes,
    },
    /// Devices that fit the request: wanted by the gang, free, and there at all.
    Devices {
        request: String,
        wanted: u32,
        free: u32,
        total: u32,
        busy: Vec<DeviceId>,
        /// A part of each is wanted; free are those that have room for it.
        #[serde(default)]
        part: bool,
    },
    /// Parts of the devices that fit cannot be kept as firmly as demanded. `offered` is how firmly they can.
    Enforcement {
        request: String,
        wanted: Option<Enforcement>,
        offered: Enforcement,
    },
    /// The devices that fit are held whole only; with a `count` they can be shared, but by ranks that hold one of them, and so many are asked
    /// for.
    Sharing {
        request: String,
        count: Option<u32>,
    },
    Ports,
    /// The job demands to be kept apart more strongly than the machine can.
    Isolation {
        wanted: IsolationLevel,
        offered: IsolationLevel,
        /// Why not more, a sentence each.
        missing: Vec<String>,
    },
    /// The limit of the job's queue, or of one above it, named as in its file ("cpus", "memory", "devices", "runs"). `limit` and `held` are
    /// thousandths of a CPU, bytes, thousandths of a device or runs.
    QueueLimit {
        queue: String,
        what: String,
        limit: u64,
        held: u64,
        limits: Limits,
    },
    /// Starting now would delay this job, which comes first and has a planned start.
    Reservation {
        job: JobId,
        at: Time,
    },
    /// Other jobs are ahead in the order and were not all placed.
    Behind {
        jobs: u64,
    },
    Gate(Gate),
    /// Runs are saving their work and ending for this job.
    Evicting {
        runs: u64,
    },
    /// No machine has joined, or none accepts work at the moment.
    NoMachine,
}

/// A broken promise found in a plan by [`crate::check`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {detail}")]
pub struct Violation {
    pub rule: &'static str,
    pub detail: String,
}
