//! What the kernel of a machine offers; rules and isolation read it.

use serde::{Deserialize, Serialize};

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
}
