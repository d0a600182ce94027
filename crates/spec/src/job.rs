//! A job as one validated value.

use crate::{IsolationLevel, JobId, Span};
use machine::{Bytes, CpuShare, DeviceClass, Enforcement, Vendor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a person asked for. Everything per rank says so; everything else is for the job.
///
/// A value of this type has passed the validation of [`crate::parse_job`], or [`JobSpec::validate`] when it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    pub name: String,
    pub work: Work,
    /// Processes that start together or not at all; of an elastic job the most.
    pub ranks: u32,
    /// Numbers of ranks with which an elastic job may run, ascending; the last is `ranks`. Empty for all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<u32>,
    /// Accelerators of each rank.
    pub devices: Option<DeviceRequest>,
    /// Processor time of each rank.
    pub cpus: CpuRequest,
    /// Host memory of each rank; `None` takes the machine's memory in proportion to the CPUs held.
    pub memory: Option<Bytes>,
    /// Size of `/dev/shm`, counted in the memory; `None` is half of the memory.
    pub shm: Option<Bytes>,
    /// Absolute path.
    pub workdir: String,
    pub env: BTreeMap<String, String>,
    pub mounts: Vec<Mount>,
    pub environment: Option<Environment>,
    pub launch: Launch,
    /// How long a run is expected to take: what backfill plans with.
    pub expect: Option<Span>,
    /// How long a run may take before it is asked to end; the grace of its checkpoint comes on top.
    pub limit: Option<Span>,
    /// Higher first, within a queue. -1000 to 1000.
    pub priority: i32,
    /// `None` is the queue named `default`.
    pub queue: Option<String>,
    pub retry: Retry,
    pub checkpoint: Checkpoint,
    pub after: Vec<Dependency>,
    pub array: Option<Array>,
    pub isolation: Isolation,
    #[serde(default, skip_serializing_if = "Latency::is_ordinary")]
    pub latency: Latency,
    pub notify: Option<Notify>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// An argument vector, run without a shell.
    Command(Vec<String>),
    /// Text given to `/bin/sh -e`, or to the interpreter named in its first line.
    Script(String),
}

/// Processor time of one rank. Below one CPU the rank shares a CPU with other small ones.
pub type CpuRequest = CpuShare;

/// Accelerators of one rank, in the grammar `[vendor:][class:][model[,model]:][memory:][share PART:][count]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// `None` is any vendor.
    pub vendor: Option<Vendor>,
    pub class: Option<DeviceClass>,
    /// Model names as typed; a device fits when its model contains one as a word, ignoring case. Empty is any.
    pub models: Vec<String>,
    /// The device must have at least this much memory of its own.
    pub memory_min: Option<Bytes>,
    pub memory_max: Option<Bytes>,
    /// Only this part of each device; `None` takes devices whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<ShareRequest>,
    pub count: u32,
}

/// A part of a device. At least one of memory and compute is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShareRequest {
    /// Device memory; `None` takes it in proportion to the compute.
    pub memory: Option<Bytes>,
    /// Thousandths of the compute units, below 1000; `None` takes what others leave.
    pub compute: Option<u32>,
    /// How firmly the part must be kept, at least.
    pub enforced: Option<Enforcement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path on the machine.
    pub source: String,
    /// Absolute path the ranks see.
    pub target: String,
    pub read_only: bool,
}

/// The software a rank sees beside the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Python version such as `3.12`; `None` takes the `python3` of the machine.
    pub python: Option<String>,
    /// One that its owner made and named before, with `ashlar env create`; it goes with nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A framework in the build that fits the granted devices; the packages come beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<Framework>,
    pub packages: Packages,
}

/// A framework by name; which build of it is for whoever knows the devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Framework {
    /// Name, and versions as for pip: `torch`, `torch>=2.4,<2.6`.
    pub name: String,
    /// The build, such as `cu121` or `cpu`, where the person chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packages {
    /// Requirement specifiers such as `jax>=0.4`, resolved and locked on first use.
    Packages(Vec<String>),
    /// Text of a requirements file, resolved and locked on first use.
    Requirements(String),
    /// Text of a lock file with hashes, installed as it is.
    Lock(String),
}

impl Default for Packages {
    fn default() -> Packages {
        Packages::Packages(vec![])
    }
}

/// Launch recipe: what variables and arguments turn a rank into a member of its framework's gang.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Launch {
    /// The recipe that the command or the packages tell of.
    #[default]
    Auto,
    /// Only Ashlar's own variables.
    Plain,
    Jax,
    Torchrun,
    Deepspeed,
    Accelerate,
    Tensorflow,
    Paddle,
    Mindspore,
    Ray,
    Mpi,
    Horovod,
    Xgboost,
    /// HCCL's rank table.
    Ascend,
    /// Slurm's variables, as its batch scripts expect them.
    Slurm,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Runs in all, the first included; 1 is no retry.
    pub attempts: u32,
    pub on: Vec<RetryOn>,
    /// Wait before the second run; doubles for each further one up to an hour.
    pub backoff: Span,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: 1, on: vec![RetryOn::Lost], backoff: Span::seconds(10) }
    }
}

/// How a run ended, as far as trying again goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// A rank left with a non-zero code or by a signal of its own.
    Error,
    OutOfMemory,
    /// The limit was reached.
    Limit,
    /// The machine restarted, or the supervisor of the run died.
    Lost,
    /// The run could not be started, for a reason that may pass: its environment or a device failed.
    Start,
    /// The run could not be started because the program, folder or mount that the job names is not there.
    Missing,
}

/// How the job saves its work when asked to stop: at its limit, when it is cancelled, and when another rank has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub signal: Signal,
    /// Time between the signal and the kill. It comes on top of the limit, as a pod's grace period does in Kubernetes.
    pub grace: Span,
    #[serde(default)]
    pub to: SignalTo,
    /// The job says by itself that it saves its work and goes on from there: only such a job is restarted at another size.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub declared: bool,
}

/// Which processes of a rank get the signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalTo {
    /// The process that the rank was started as. Its helpers, which know nothing of the signal, would die of it.
    #[default]
    Main,
    /// Its whole process group: for a shell, which does not pass signals on.
    All,
}

impl Default for Checkpoint {
    fn default() -> Checkpoint {
        Checkpoint { signal: Signal::Term, grace: Span::seconds(30), to: SignalTo::Main, declared: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    #[serde(rename = "SIGTERM")]
    Term,
    #[serde(rename = "SIGINT")]
    Int,
    #[serde(rename = "SIGHUP")]
    Hup,
    #[serde(rename = "SIGUSR1")]
    Usr1,
    #[serde(rename = "SIGUSR2")]
    Usr2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub job: JobId,
    pub condition: DependencyCondition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DependencyCondition {
    /// The other job succeeded.
    Ok,
    /// It ended without success.
    NotOk,
    /// It ended.
    Any,
}

/// `0-99%10`: one task for each index, at most `at_once` of them at a time. Stored as ranges, never as the
/// list of indices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Array {
    /// Inclusive ranges in ascending order without overlap.
    pub ranges: Vec<(u32, u32)>,
    pub at_once: Option<u32>,
}

impl Array {
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(low, high)| u64::from(high - low) + 1).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|(low, high)| *low..=*high)
    }
}

/// How soon the ranks want to run again when something wakes them. What is done for it is told with the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Latency {
    /// As every other process.
    #[default]
    Ordinary,
    /// Soon, at the price of more switches, and of more power while the run goes on.
    Low,
}

impl Latency {
    fn is_ordinary(&self) -> bool {
        *self == Latency::Ordinary
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// The least that must be enforced; a machine that cannot is refused with the reason. `None` takes what there is.
    pub level: Option<IsolationLevel>,
    pub network: Network,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The machine's network.
    #[default]
    Host,
    /// A network of its own with nothing but loopback.
    None,
}

/// A command run as the submitting person when the job reaches one of the states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    pub on: Vec<NotifyOn>,
    /// Run with `ASHLAR_JOB_ID`, `ASHLAR_JOB_NAME`, `ASHLAR_JOB_STATE` and `ASHLAR_EXIT_CODE` set.
    pub command: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyOn {
    Running,
    Succeeded,
    Failed,
    Cancelled,
}
