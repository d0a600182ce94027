//! Where things lie below the state directory.
//!
//! ```text
//! <state>/
//!   node.sock                  datagrams "look at run X again" from supervisors
//!   runs/<run>/order.json      what the supervisor was told; locked by the living supervisor
//!              stop.json       present once the run shall end
//!              journal         what happened, one JSON object a line, and what the supervisor has to say
//!              setup.log       output of building the environment
//!              launch/         files that the launch recipe needs, such as a host file; the ranks see them read-only
//!              rank-0.log.0    output of a rank, in segments named by their first byte
//!              metrics.jsonl   the end of what the run appended to $ASHLAR_METRICS, once it is over
//!              scratch/        the run's private /tmp and /var/tmp, gone with the run
//!   spare/<uid>-<gid>/         emptied scratch space, for the next run of the same person
//!   logs/<run>/                the same folder once the run is over and recorded, for reading back
//!   environments/<uid>/        built environments of one person, and what builds them
//! ```

use machine::{CgroupMode, Device};
use serde::{Deserialize, Serialize};
use spec::{Overstep, RunId, RunOrder, StopOrder};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Paths below one state directory.
#[derive(Clone, Debug)]
pub struct StateFiles {
    root: PathBuf,
}

impl StateFiles {
    pub fn at(root: impl Into<PathBuf>) -> StateFiles {
        StateFiles { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub fn environments(&self) -> PathBuf {
        self.root.join("environments")
    }

    /// Emptied scratch space.
    pub fn spare(&self) -> PathBuf {
        self.root.join("spare")
    }

    /// Datagram socket of the node.
    pub fn wake_socket(&self) -> PathBuf {
        self.root.join("node.sock")
    }

    pub fn run(&self, run: RunId) -> RunFiles {
        RunFiles { dir: self.runs().join(run.to_string()) }
    }

    /// The folder of a run wherever it is now: still on the machine, or kept for its output.
    pub fn run_or_logs(&self, run: RunId) -> RunFiles {
        let live = self.run(run);
        if live.dir.is_dir() { live } else { RunFiles { dir: self.logs().join(run.to_string()) } }
    }

    /// Removes the folders of ended runs that `remembered` says no to; gives what could not be removed, as sentences.
    pub fn remove_outputs(&self, remembered: &dyn Fn(RunId) -> bool) -> Vec<String> {
        let folders = std::fs::read_dir(self.logs()).into_iter().flatten().flatten();
        let run = |name: &std::ffi::OsStr| name.to_str().and_then(|name| name.parse::<RunId>().ok());
        let gone = folders.filter(|folder| run(&folder.file_name()).is_some_and(|run| !remembered(run))).map(|folder| folder.path());
        gone.filter_map(|path| Some(format!("cannot remove {}: {}", path.display(), sandbox::remove_tree(&path).err()?))).collect()
    }

    /// Makes the folders. Others may pass through to reach their environments, but not look around.
    pub fn create(&self) -> io::Result<()> {
        make_dir(&self.root, 0o711)?;
        for dir in [self.runs(), self.logs(), self.environments()] {
            make_dir(&dir, 0o711)?;
        }
        make_dir(&self.spare(), 0o700)
    }
}

pub(crate) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).recursive(true).create(path) {
        Ok(()) => {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
        }
        Err(error) => Err(error),
    }
}

/// Paths below the folder of one run.
#[derive(Clone, Debug)]
pub struct RunFiles {
    pub dir: PathBuf,
}

impl RunFiles {
    pub fn order(&self) -> PathBuf {
        self.dir.join("order.json")
    }

    pub fn stop(&self) -> PathBuf {
        self.dir.join("stop.json")
    }

    /// What the node saw of a run that holds more than its part.
    pub fn overstep(&self) -> PathBuf {
        self.dir.join("overstep.json")
    }

    pub fn write_overstep(&self, overstep: &Overstep) -> io::Result<()> {
        write_whole(&self.overstep(), &serde_json::to_vec(overstep)?)
    }

    /// `None` when there is none, or it is damaged: the next reading says it again.
    pub fn read_overstep(&self) -> Option<Overstep> {
        serde_json::from_slice(&fs::read(self.overstep()).ok()?).ok()
    }

    /// The file whose lock the living supervisor holds.
    pub fn lock(&self) -> PathBuf {
        self.order()
    }

    pub fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// Files that belong to the launch recipe.
    pub fn launch(&self) -> PathBuf {
        self.dir.join("launch")
    }

    /// The end of what the run has appended to `$ASHLAR_METRICS`, once it is over.
    pub fn metrics(&self) -> PathBuf {
        self.dir.join("metrics.jsonl")
    }

    /// What the run sees as `/tmp`, where it has one of its own.
    pub fn scratch_tmp(&self) -> PathBuf {
        self.dir.join("scratch").join("tmp")
    }

    pub fn setup_log(&self) -> PathBuf {
        self.dir.join("setup.log")
    }

    /// Writes the order, unless one that reads is there: it says the same, as an attempt is ordered once, and a
    /// supervisor that was started before may hold the lock on it.
    pub fn write_order(&self, file: &RunFile) -> io::Result<()> {
        make_dir(&self.dir, 0o711)?;
        if self.read_order().is_ok() {
            return Ok(());
        }
        write_whole(&self.order(), &serde_json::to_vec(file)?)
    }

    pub fn read_order(&self) -> io::Result<RunFile> {
        Ok(serde_json::from_slice(&fs::read(self.order())?)?)
    }

    pub fn write_stop(&self, stop: &StopOrder) -> io::Result<()> {
        write_whole(&self.stop(), &serde_json::to_vec(stop)?)
    }

    /// `None` when no stop was ordered; a damaged file counts as an order to stop.
    pub fn read_stop(&self) -> Option<StopOrder> {
        let text = fs::read(self.stop()).ok()?;
        Some(serde_json::from_slice(&text).unwrap_or(StopOrder { kill: false }))
    }
}

/// Everything a supervisor needs, written once before it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    pub order: RunOrder,
    pub hostname: String,
    /// All devices of the machine: masks of vendors not granted are emptied.
    pub devices: Vec<Device>,
    pub cgroup: CgroupMode,
    /// The state directory, hidden from the run.
    pub state: PathBuf,
}

/// Replaces a file so that a reader sees the old or the new content, never half of one.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    drop(file);
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_output_of_runs_that_nobody_remembers_goes() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateFiles::at(dir.path());
        state.create().unwrap();
        for name in ["1-1", "1-2", "2.3-1", "notes"] {
            std::fs::create_dir(state.logs().join(name)).unwrap();
            std::fs::write(state.logs().join(name).join("output"), "x").unwrap();
        }
        std::fs::create_dir(state.runs().join("1-3")).unwrap();
        assert!(state.remove_outputs(&|run| run.job.number == 2).is_empty());
        let left = |dir: PathBuf| {
            let mut names: Vec<_> =
                std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(left(state.logs()), ["2.3-1", "notes"]);
        assert_eq!(left(state.runs()), ["1-3"], "what has not ended is not output");
    }
}
