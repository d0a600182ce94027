//! What can go wrong before a rank runs.

use serde::{Deserialize, Serialize};
use spec::IsolationLevel;
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The job demands more than this machine, or this user on it, can enforce.
    #[error("isolation level '{}' is demanded, but only '{}' can be had here: {reason}", .demanded.name(), .possible.name())]
    Demand { demanded: IsolationLevel, possible: IsolationLevel, reason: String },
    /// The workload itself cannot be right: a bug of the caller or of the job file.
    #[error("{0}")]
    Workload(String),
    /// The process that wants to start a run has threads, so it must not fork.
    #[error("a run must be started from a process with one thread; this one has {0}")]
    Threads(usize),
    /// The caller no longer wants it.
    #[error("stopped while the container was made")]
    Stopped,
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
    /// The container could not be made as ordered.
    #[error("{message}")]
    Start {
        message: String,
        hint: Option<String>,
        /// What the job names is not there or may not be used: another try would fail as well.
        missing: bool,
    },
}

impl SandboxError {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> SandboxError {
        let doing = doing.into();
        move |source| SandboxError::Io { doing, source }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            SandboxError::Demand { .. } => {
                Some("lower 'isolation: level' in the job, or run the node as root on a kernel with control groups".into())
            }
            SandboxError::Start { hint, .. } => hint.clone(),
            SandboxError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("the disk that holds the state directory is full".into())
            }
            SandboxError::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Some("the state directory is on a read-only file system".into())
            }
            SandboxError::Workload(_) | SandboxError::Threads(_) | SandboxError::Stopped | SandboxError::Io { .. } => None,
        }
    }
}

/// Why a forked helper gave up, sent to the supervisor as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub message: String,
    pub hint: Option<String>,
    /// This level of isolation cannot be had here at all: the next lower one may be tried. False: the order
    /// itself cannot be carried out, and a lower level would only hide that.
    pub unavailable: bool,
    /// What the job names is not there or may not be used.
    #[serde(default)]
    pub missing: bool,
}

impl Failure {
    pub fn order(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None, unavailable: false, missing: false }
    }

    pub fn unavailable(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None, unavailable: true, missing: false }
    }

    /// What the job names is not there, and will not be there the next time either.
    pub fn missing(message: impl Into<String>) -> Failure {
        Failure { missing: true, ..Failure::order(message) }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }
}

/// "doing X: why" for errors of system calls in a helper.
pub(crate) fn failed<E: std::fmt::Display>(doing: impl Into<String>) -> impl FnOnce(E) -> Failure {
    let doing = doing.into();
    move |error| Failure::order(format!("{doing}: {error}"))
}
