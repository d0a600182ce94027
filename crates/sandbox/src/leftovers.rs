//! Cleaning up after a supervisor that was killed.

use crate::cgroup::Cgroup;
use crate::init::kill_descendants;
use crate::scratch::Scratch;
use crate::started::remove_files;
use serde::{Deserialize, Serialize};
use spec::RunId;
use std::fs;
use std::path::{Path, PathBuf};

/// What a start leaves in the run's directory, so that somebody else can clean up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub run: RunId,
    pub cgroup: Option<Cgroup>,
    /// Init, where no control group holds the run's processes.
    pub init: Option<Process>,
}

/// A process that is only trusted to be the same one if it was born at the same moment of the same boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    pub born: u64,
    pub boot: String,
}

/// Where a run's directory says what was made for it, if that cannot be known from its name.
pub(crate) fn record_path(dir: &Path) -> PathBuf {
    dir.join("sandbox.json")
}

/// Whether something was made for the run in `dir` that nobody has cleaned up.
pub fn has_leftovers(dir: &Path) -> bool {
    Scratch::below(dir).closed.exists() || record_path(dir).exists()
}

impl Record {
    pub fn write(&self, dir: &Path) -> std::io::Result<()> {
        fs::write(record_path(dir), serde_json::to_vec(self)?)
    }
}

impl Process {
    pub fn of(pid: i32) -> Option<Process> {
        Some(Process { pid, born: born(pid)?, boot: boot()? })
    }

    /// Kills the process and all below it, if it is still the one recorded. The descriptor is taken first: what
    /// it stands for cannot change any more while the birth is compared. A run's init may be busy ending its run
    /// by itself; it is stopped, not killed, while the others are looked for, because it is what orphans of the
    /// run become children of.
    fn kill(&self) -> bool {
        use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
        let Some(pid) = rustix::process::Pid::from_raw(self.pid) else { return false };
        let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        if Process::of(self.pid).as_ref() != Some(self) || pidfd_send_signal(&descriptor, Signal::STOP).is_err() {
            return false;
        }
        kill_descendants(self.pid);
        pidfd_send_signal(&descriptor, Signal::KILL).is_ok()
    }
}

fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_string())
}

fn born(pid: i32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // After the name in parentheses come the state (field 3) and the others.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// Kills what is left of a run whose supervisor is gone and removes what was made for it. Safe to call at any
/// time and again: a run that left nothing is a success. Only plain file operations and kills, so any thread may
/// call it. Returns what could not be done.
pub fn cleanup_leftovers(dir: &Path, run: RunId) -> Vec<String> {
    let record: Option<Record> = fs::read(record_path(dir)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let recorded = record.filter(|record| record.run == run);
    let mut errors = Vec::new();
    if let Some(init) = recorded.as_ref().and_then(|record| record.init.as_ref()) {
        init.kill();
    }
    let groups = recorded.and_then(|record| record.cgroup).unwrap_or_default();
    for cgroup in [groups, Cgroup::of(run, dir)] {
        if !cgroup.pids().is_empty() {
            cgroup.kill();
        }
        errors.extend(cgroup.remove());
    }
    errors.extend(remove_files(dir));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::JobId;

    const RUN: RunId = RunId { job: JobId::new(4_000_000_001), attempt: 1 };

    #[test]
    fn a_process_is_known_by_its_birth() {
        let own = Process::of(std::process::id() as i32).unwrap();
        assert_eq!(Process::of(own.pid), Some(own.clone()));
        // Another birth is another process: it is not killed (this test lives on).
        assert!(!Process { born: own.born + 1, ..own.clone() }.kill());
        assert!(!Process { boot: "another".into(), ..own }.kill());
    }

    #[test]
    fn cleaning_nothing_is_a_success() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(cleanup_leftovers(dir.path(), RUN), Vec::<String>::new());
        fs::write(record_path(dir.path()), "{ damaged").unwrap();
        fs::create_dir_all(dir.path().join("scratch/tmp")).unwrap();
        assert_eq!(cleanup_leftovers(dir.path(), RUN), Vec::<String>::new());
        assert_eq!(cleanup_leftovers(dir.path(), RUN), Vec::<String>::new());
        assert!(!record_path(dir.path()).exists() && !dir.path().join("scratch").exists());
    }
}
