//! What the kernel of a machine offers; rules and isolation read it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which control groups the kernel mounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CgroupMode {
    V2,
    V1,
    /// v1 controllers with a v2 tree beside them.
    Hybrid,
    #[default]
    None,
}

/// How strongly a run is kept apart, weakest first. Ordered: a job may demand a least level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IsolationLevel {
    /// A process of its own with the person's identity and resource limits; it sees the machine.
    Process,
    /// Namespaces, private `/tmp`, seccomp; no limits by control group.
    Namespaces,
    /// Namespaces and control groups: memory, processes, CPUs and devices are limited by the kernel.
    Container,
}

impl IsolationLevel {
    /// Weakest first.
    pub const ALL: &'static [IsolationLevel] = &[IsolationLevel::Process, IsolationLevel::Namespaces, IsolationLevel::Container];

    /// The word in job files, listings and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            IsolationLevel::Process => "process",
            IsolationLevel::Namespaces => "namespaces",
            IsolationLevel::Container => "container",
        }
    }
}

impl fmt::Display for IsolationLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How strongly the node of a machine can keep runs apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationOffer {
    pub level: IsolationLevel,
    /// What is missing for a higher one, a sentence each.
    pub missing: Vec<String>,
}

/// Facts of the running kernel. Every field says "unknown" by its default when the source was missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `uname -r`.
    pub kernel: String,
    /// `/proc/cmdline`.
    pub command_line: String,
    pub os: String,
    pub cgroup: CgroupMode,
    /// Controllers usable for limits: names as in `/proc/cgroups`.
    pub cgroup_controllers: Vec<String>,
    pub resctrl: bool,
    pub user_namespaces: bool,
    pub landlock: bool,
    /// `/proc/sys/kernel/sched_autogroup_enabled`: nice has no effect across sessions when on.
    pub autogroup: Option<bool>,
    /// `always`, `madvise` or `never`.
    pub transparent_hugepages: Option<String>,
    pub swap_bytes: u64,
    /// Hypervisor name where one is seen.
    pub virtualised: Option<String>,
    /// What the node that runs there can do; unknown of a machine that is only looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<IsolationOffer>,
    /// The node that runs there measures what runs hold of devices' memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub measures_devices: bool,
}
