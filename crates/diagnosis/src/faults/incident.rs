//! What a person is told: one incident, however many lines it left.

use super::{Moment, Place};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a fault reaches, and so what has to be done at least. Least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Worth knowing; nothing has to be done.
    Info,
    /// Works, to be watched.
    Degraded,
    /// The work that was hit is lost and can start again at once.
    JobFatal,
    /// The device needs a reset, for which it must be free.
    DeviceReset,
    /// The device takes no more work.
    DeviceIsolate,
    /// The machine takes no more work; what runs may end.
    NodeDrain,
    /// The machine has to start again.
    NodeReboot,
    /// Something has to be replaced.
    Hardware,
}

impl Level {
    pub const ALL: [Level; 8] = [
        Level::Info,
        Level::Degraded,
        Level::JobFatal,
        Level::DeviceReset,
        Level::DeviceIsolate,
        Level::NodeDrain,
        Level::NodeReboot,
        Level::Hardware,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Degraded => "degraded",
            Level::JobFatal => "job-fatal",
            Level::DeviceReset => "device-reset",
            Level::DeviceIsolate => "device-isolate",
            Level::NodeDrain => "node-drain",
            Level::NodeReboot => "node-reboot",
            Level::Hardware => "hardware",
        }
    }

    pub fn parse(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether it is still going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Open,
    /// A later line took it back: the link came up, the device recovered.
    Cancelled,
}

/// How sure we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// No list explains the code, or only a program said it.
    Low,
    /// The form of the log does not tell who wrote the line.
    Medium,
    /// The kernel itself said it.
    High,
}

/// A line that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// In the log, from 1; counts lines of all text that was given.
    pub line: u64,
    /// As it stands in the log, at most [`Evidence::LONGEST`] bytes of it.
    pub text: String,
}

impl Evidence {
    pub const LONGEST: usize = 400;
}

/// Events of one kind at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// From 1, in the order of their first lines.
    pub id: u32,
    /// Class or code: `pcie.fatal`, `nvidia.xid.79`.
    pub kind: String,
    pub level: Level,
    pub title: String,
    pub place: Place,
    pub state: State,
    /// Of the first and the last line, where the log tells the time.
    pub since: Option<Moment>,
    pub until: Option<Moment>,
    /// Lines, all of them.
    pub count: u64,
    /// The incident this one follows from.
    pub cause: Option<u32>,
    /// Incidents that follow from this one.
    pub consequences: Vec<u32>,
    /// The first lines, and the last.
    pub evidence: Vec<Evidence>,
    pub confidence: Confidence,
    pub action: String,
    /// Where the rule comes from.
    pub source: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_is_ordered_and_reads_back() {
        assert!(Level::ALL.is_sorted());
        for level in Level::ALL {
            assert_eq!(Level::parse(level.name()), Some(level));
            assert_eq!(serde_json::to_value(level).unwrap(), level.name());
        }
        assert_eq!(Level::parse("fatal"), None);
    }
}
