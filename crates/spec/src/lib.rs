//! What is asked for, and what is said about it.
//!
//! One type carries a job from its file to the plan: [`JobSpec`]. It is parsed and validated here, with the
//! line and column of every complaint, and never mirrored elsewhere. The two messages between the decider and
//! a machine live here too, because both sides know `spec` and neither knows the other: the
//! [`Assignment`] goes down, the [`Report`] comes up.

mod assignment;
mod ids;
mod job;
mod report;
mod tenant;
mod time;

pub use assignment::{Assignment, Identity, RunOrder, StopOrder};
pub use ids::{IdError, JobId, RunId};
pub use job::{
    Array, Checkpoint, CpuRequest, Dependency, DependencyCondition, DeviceRequest, Environment, Isolation, JobSpec, Launch, Mount, Network,
    Notify, NotifyOn, Packages, Retry, RetryOn, Signal, Work,
};
pub use machine::Bytes;
pub use report::{
    EndCause, Enforced, IsolationLevel, IsolationMark, IsolationReport, RankReport, RankState, Report, RunPhase, RunReport, StageTime,
    Usage,
};
pub use tenant::{Limits, Queue};
pub use time::{Span, Time};
