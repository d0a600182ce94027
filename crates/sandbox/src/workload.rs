//! What is to run, and the limits that follow from its grant.

use crate::SandboxError;
use machine::{CgroupMode, CpuSet, DeviceNode, Grant};
use serde::{Deserialize, Serialize};
use spec::{Identity, IsolationLevel, Latency, Mount, Network, RunId};
use std::path::PathBuf;

/// One run, ready to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Workload {
    pub run: RunId,
    /// The run's own directory: exists, is on disk, belongs to the node. Scratch space is made below it.
    pub dir: PathBuf,
    pub identity: Identity,
    pub grant: Grant,
    /// The nodes of the granted devices; no other device is visible.
    pub devices: Vec<DeviceNode>,
    /// One for each rank of the grant, in the same order.
    pub processes: Vec<RankProcess>,
    pub mounts: Vec<Mount>,
    pub network: Network,
    /// How soon the ranks want to run when something wakes them.
    pub latency: Latency,
    /// The least level that must be reached; `None` takes what there is.
    pub demand: Option<IsolationLevel>,
    /// Directories and files the ranks must not see, such as the node's state directory.
    pub hidden: Vec<PathBuf>,
    /// Directories shown read-only even where they lie below a hidden one: environments.
    pub visible: Vec<PathBuf>,
    pub cgroup: CgroupMode,
    /// Where emptied scratch space waits for the next run of the same person: on the file system of `dir`, closed to
    /// everybody but the node. `None` makes and removes it each time.
    pub spare: Option<PathBuf>,
}

/// One rank: a program with everything it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RankProcess {
    pub rank: u32,
    /// A name without a slash is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment, nothing is added.
    pub env: Vec<(String, String)>,
    /// Absolute path.
    pub workdir: String,
}

/// The smallest memory limit a container can be made in.
pub const LEAST_MEMORY: u64 = 16 << 20;

/// `pids.max` for a run: room for a few thousand helper threads on each CPU, but never so much that a fork
/// bomb could use up the machine's process numbers.
pub fn pids_limit(cpus: usize, pid_max: u64) -> u64 {
    (4096 + 2048 * cpus as u64).min(32_768).min(pid_max / 2).max(64)
}

impl Workload {
    pub(crate) fn validate(&self) -> Result<(), SandboxError> {
        let wrong = |text: String| Err(SandboxError::Workload(text));
        if self.processes.is_empty() || self.processes.len() != self.grant.ranks.len() {
            return wrong(format!("{} processes for a grant of {} ranks", self.processes.len(), self.grant.ranks.len()));
        }
        if !self.dir.is_absolute() {
            return wrong(format!("the run directory '{}' is not absolute", self.dir.display()));
        }
        for process in &self.processes {
            if process.argv.first().is_none_or(String::is_empty) {
                return wrong(format!("rank {} has no command", process.rank));
            }
            let texts = process.argv.iter().chain(process.env.iter().flat_map(|(name, value)| [name, value])).chain([&process.workdir]);
            if texts.into_iter().any(|text| text.contains('\0')) {
                return wrong(format!("rank {} has a NUL byte in its command, environment or directory", process.rank));
            }
            if let Some((name, _)) = process.env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
                return wrong(format!("rank {} has an environment variable with the impossible name '{name}'", process.rank));
            }
            if !process.workdir.starts_with('/') {
                return wrong(format!("the working directory '{}' is not absolute", process.workdir));
            }
        }
        for path in self.mounts.iter().flat_map(|mount| [&mount.source, &mount.target]) {
            let plain = path.starts_with('/') && !path.split('/').any(|part| part == "..") && !path.contains('\0');
            if !plain {
                return wrong(format!("the mount path '{path}' is not an absolute path without '..'"));
            }
        }
        if self.grant.memory.0 != 0 && self.grant.memory.0 < LEAST_MEMORY {
            return wrong(format!("a memory limit of {} is too small to start in; the least is 16 MiB", self.grant.memory));
        }
        Ok(())
    }

    pub(crate) fn cpus(&self) -> CpuSet {
        self.grant.cpus()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use machine::{Bytes, CpuShare, RankGrant};
    use spec::JobId;

    pub(crate) fn workload() -> Workload {
        Workload {
            run: RunId { job: JobId::new(7), attempt: 1 },
            dir: "/state/runs/7-1".into(),
            identity: Identity { uid: 1000, gid: 1000, groups: vec![], user: "ann".into(), home: "/home/ann".into() },
            grant: Grant {
                machine: "m".into(),
                ranks: vec![RankGrant { cpus: [0].into_iter().collect(), devices: vec![] }],
                cpu_share: CpuShare::ONE,
                memory: Bytes::mib(64),
                shm: Bytes::mib(32),
                mem_nodes: CpuSet::new(),
                ports: None,
                share: None,
            },
            devices: vec![],
            processes: vec![RankProcess { rank: 0, argv: vec!["true".into()], env: vec![], workdir: "/".into() }],
            mounts: vec![],
            network: Network::Host,
            latency: Latency::Ordinary,
            demand: None,
            hidden: vec![],
            visible: vec![],
            cgroup: CgroupMode::Hybrid,
            spare: None,
        }
    }

    #[test]
    fn impossible_workloads_are_refused() {
        assert!(workload().validate().is_ok());
        let cases: [fn(&mut Workload); 8] = [
            |w| w.processes.clear(),
            |w| w.processes[0].argv.clear(),
            |w| w.processes[0].argv[0] = "a\0b".into(),
            |w| w.processes[0].env.push(("A=B".into(), String::new())),
            |w| w.processes[0].workdir = "x".into(),
            |w| w.dir = "runs".into(),
            |w| w.mounts.push(Mount { source: "/a".into(), target: "/b/../../etc".into(), read_only: true }),
            |w| w.grant.memory = Bytes::mib(1),
        ];
        for (number, case) in cases.iter().enumerate() {
            let mut wrong = workload();
            case(&mut wrong);
            assert!(wrong.validate().is_err(), "case {number}");
        }
    }

    #[test]
    fn process_limits_leave_the_machine_room() {
        assert_eq!(pids_limit(1, 4_194_304), 6144);
        assert_eq!(pids_limit(64, 4_194_304), 32_768);
        assert_eq!(pids_limit(64, 32_768), 16_384);
    }
}
