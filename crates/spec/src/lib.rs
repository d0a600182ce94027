//! What is asked for, and what is said about it.
//!
//! One type carries a job from its file to the plan: [`JobSpec`]. It is parsed and validated here, with the
//! line and column of every complaint, and never mirrored elsewhere. The two messages between the decider and
//! a machine live here too, because both sides know `spec` and neither knows the other: the
//! [`Assignment`] goes down, the [`Report`] comes up.

mod assignment;
mod build;
mod field_error;
mod grammar;
mod ids;
mod job;
pub mod limits;
mod parse;
mod problem;
mod report;
mod rules;
mod sbatch;
mod supposition;
mod tenant;
mod time;
mod words;

pub use assignment::{Assignment, Identity, RunOrder, StopOrder};
pub use field_error::FieldError;
pub use grammar::{
    Ranks, parse_array, parse_bytes, parse_cpus, parse_dependency, parse_devices, parse_enforcement, parse_mount, parse_percent,
    parse_ranks, parse_share, parse_span, split_command, write_bytes, write_cpus, write_percent, write_ranks, write_span,
};
pub use ids::{IdError, JobId, RunId};
pub use job::{
    Array, Checkpoint, CpuRequest, Dependency, DependencyCondition, DeviceRequest, Environment, Framework, Isolation, JobSpec, Latency,
    Launch, Mount, Network, Notify, NotifyOn, Packages, Retry, RetryOn, ShareRequest, Signal, SignalTo, Work,
};
pub use machine::{Bytes, IsolationLevel};
pub use parse::{ParseContext, job_reference, job_schema, parse_job, parse_queues};
pub use problem::{Problem, Problems};
pub use report::{
    EndCause, Enforced, IsolationMark, IsolationReport, Overstep, RankReport, RankState, Report, RunPhase, RunReport, StageTime, Usage,
};
pub use sbatch::{
    Sbatch, SbatchContext, ScriptPlace, Step, find_script, is_batch_script, job_id_of_slurm, read_sbatch, read_srun, slurm_time,
};
pub use supposition::{Supposition, suppose};
pub use tenant::{Limits, Queue, QueueTree, TreeError, check_tree};
pub use time::{Span, Time};
pub use words::parse_signal;
