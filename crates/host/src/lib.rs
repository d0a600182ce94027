//! The machine as the kernel shows it.
//!
//! Everything is read below a [`Root`]: the running machine, or a captured tree of another one, which is how every
//! reader here is tested. The parsers in [`text`] are pure; nothing but [`tune`] writes to the machine. A source that is
//! missing or damaged costs the fact it would have given, never the whole picture.

pub mod accelerators;
pub mod capture;
pub mod cdi;
mod cgroup;
pub mod child;
mod error;
mod facts;
pub mod health;
mod infiniband;
pub mod kernel_log;
mod nics;
mod paths;
pub mod pci;
mod probe;
pub mod process;
pub mod readiness;
mod root;
mod software;
pub mod survey;
pub mod telemetry;
pub mod text;
mod topology;
pub mod tune;
pub mod watch;

pub use error::HostError;
pub use infiniband::ports as infiniband;
pub use kernel_log::KernelLog;
pub use paths::{links, nccl_text, paths, translation};
pub use probe::{place, probe, probe_piece};
pub use root::{Folder, Reads, Root, Unread};
pub use software::software;
