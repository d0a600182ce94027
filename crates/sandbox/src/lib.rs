//! One run, kept apart from everything else on the machine.
//!
//! [`start`] is called by the supervisor of a run, a small process with one thread. It sets the limits on a
//! control group, forks the run's first process into new namespaces, which arranges the file tree and becomes the run's
//! init, and returns a [`Started`]: events and output to read, signals and kills to send, counters to ask for, and
//! [`Started::finish`] to leave nothing behind. All ranks of a run share one container, whose process 1 is our
//! own init ([`init`]); a run never outlives its supervisor unwatched.
//!
//! What the kernel or the user cannot give is told in the isolation report, mark by mark, or refused when the
//! job demands it. How it works and why is in `docs/concepts/isolation.md`.
#![allow(unsafe_code)]

mod builder;
mod cgroup;
mod child;
mod errand;
mod error;
mod init;
mod latency;
mod leftovers;
mod memory;
mod person;
mod privileges;
mod probe;
mod rank;
mod removal;
mod report;
mod rootfs;
mod scratch;
mod seccomp;
mod start;
mod started;
mod sys;
mod wire;
mod workload;

pub use child::{Side, fork_apart, prepare};
pub use errand::{Errand, cleanup_errands, run_errand};
pub use error::SandboxError;
pub use leftovers::{cleanup_leftovers, has_leftovers};
pub use memory::shed;
pub use person::{Bounds, PersonEnd, PersonProcess, as_person};
pub use probe::{Capabilities, capabilities};
pub use removal::remove_tree;
pub use rootfs::HOSTS_FILE;
pub use start::start;
pub use started::{RankEvent, Started};
pub use workload::{RankProcess, Workload};
