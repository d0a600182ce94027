//! The one type in which anything wrong is said.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How much a finding matters, least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing; nothing has to be done.
    #[default]
    Info,
    /// Works, but not as well as it could, or somebody asked for it to stop.
    Warning,
    /// Something asked for did not happen.
    Error,
    /// A promise of the system itself is broken, or work of several people is at risk.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Critical => "critical",
        })
    }
}

/// One thing that is wrong (or, with [`Severity::Info`], one that is right), why we think so and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable name of the rule, such as `run.out-of-memory`: what scripts and silences refer to.
    pub id: String,
    pub severity: Severity,
    /// What happened, in a few words and without a full stop.
    pub title: String,
    /// Why, in a sentence; empty when the title says it all.
    pub detail: String,
    /// The values the rule looked at, one a line.
    pub evidence: Vec<String>,
    /// What a person can do next.
    pub hint: Option<String>,
    /// Where the rule comes from: a manual page, a standard, or our own contract.
    pub source: String,
    /// What it is about, where that is a part of the machine: `nvme0n1`, `0000:3b:00.0`, `vm.swappiness`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What should be there instead of what was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// What it costs to leave it as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// The one command that puts it right, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Finding {
    /// Title and detail as one sentence, for places with room for one line.
    pub fn sentence(&self) -> String {
        if self.detail.is_empty() { self.title.clone() } else { format!("{}: {}", self.title, self.detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_ordered_and_named() {
        let all = [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical];
        assert!(all.is_sorted());
        assert_eq!(all.map(|s| s.to_string()), ["info", "warning", "error", "critical"]);
    }
}
