//! The control group of one run: `/ashlar/<run>-<where>` in every hierarchy that limits, measures or kills.
//!
//! The files are written here, not through a library, for three reasons. Joining a v1 group by pid, as they do, makes
//! the kernel wait out an RCU grace period (6 to 7 ms); a process that writes `0` to `tasks`, and one that is forked
//! into a v2 group, does not wait. Their v2 part cannot limit devices without a C library. And on a hybrid machine they
//! leave the v2 tree unused, whose `cgroup.kill` ends a fork bomb in one write.

mod device_filter;
mod v1;
mod v2;

pub(crate) use device_filter::DeviceRule;
pub(crate) use v2::parent as delegated_parent;

use crate::sys;
use machine::{CgroupMode, CpuSet};
use serde::{Deserialize, Serialize};
use spec::RunId;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Name of the group that holds all runs.
const PARENT: &str = "ashlar";

/// Where this kernel mounts which controllers.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    /// v1: controller to mount point. Several controllers may share one.
    pub v1: BTreeMap<String, PathBuf>,
    pub v2: Option<PathBuf>,
}

/// The directories of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cgroup {
    /// v1 controllers with the run's directory.
    pub v1: BTreeMap<String, PathBuf>,
    /// The run's directory in the v2 tree: it limits where `v1` is empty, and is there for killing where not.
    pub v2: Option<PathBuf>,
}

/// What the grant allows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// Bytes.
    pub memory: u64,
    pub pids: u64,
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Also cap the processor time, because the CPUs are shared with other runs.
    pub cap_cpu: bool,
    pub cpus: CpuSet,
    pub mems: CpuSet,
    pub devices: Vec<DeviceRule>,
}

/// One limit: its name in the isolation report, and the value set or why it could not be.
pub(crate) type Applied = (&'static str, Result<String, String>);

/// What the run's groups counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub memory_peak: Option<u64>,
    pub memory_limit: Option<u64>,
    pub cpu_micros: Option<u64>,
    /// Processes the kernel killed because the run's memory was used up.
    pub oom_kills: u64,
}

impl Mounts {
    /// From `/proc/self/mounts`, read once in a process and those forked from it: where control groups are mounted
    /// does not change while a machine runs.
    pub fn discover() -> &'static Mounts {
        static MOUNTS: OnceLock<Mounts> = OnceLock::new();
        MOUNTS.get_or_init(|| Mounts::parse(&fs::read_to_string("/proc/self/mounts").unwrap_or_default()))
    }

    fn parse(text: &str) -> Mounts {
        const CONTROLLERS: [&str; 6] = ["cpu", "cpuacct", "cpuset", "memory", "devices", "pids"];
        let mut mounts = Mounts::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, point, kind, options, ..] = fields[..] else { continue };
            match kind {
                "cgroup2" if mounts.v2.is_none() => mounts.v2 = Some(point.into()),
                "cgroup" => {
                    for controller in options.split(',').filter(|option| CONTROLLERS.contains(option) || *option == "freezer") {
                        mounts.v1.entry(controller.into()).or_insert_with(|| point.into());
                    }
                }
                _ => {}
            }
        }
        mounts
    }

    /// Whether v1 hierarchies do the limiting.
    pub fn limits_by_v1(&self) -> bool {
        self.v1.contains_key("memory")
    }
}

impl Cgroup {
    /// Makes the run's groups, without any limit yet. The error says why this process cannot have groups.
    pub fn create(run: RunId, dir: &Path, mode: CgroupMode) -> Result<Cgroup, String> {
        if mode == CgroupMode::None {
            return Err("the machine has no control groups".into());
        }
        Cgroup::named(&group_name(run, dir))
    }

    /// Makes groups of a name that nobody else uses.
    pub fn named(name: &str) -> Result<Cgroup, String> {
        let mounts = Mounts::discover();
        if mounts.limits_by_v1() {
            return v1::create(mounts, name);
        }
        let root = mounts.v2.as_deref().ok_or("no control group file system is mounted")?;
        let parent = v2::parent(root)?;
        Ok(Cgroup { v1: BTreeMap::new(), v2: Some(v2::create(&parent, name)?) })
    }

    /// Sets the limits; what could not be set is told, not fatal.
    pub fn apply(&self, limits: &Limits) -> Vec<Applied> {
        match (&self.v2, self.v1.is_empty()) {
            (Some(directory), true) => v2::apply(directory, limits),
            _ => v1::apply(&self.v1, limits),
        }
    }

    /// The v2 directory to fork into, if any.
    pub fn entrance(&self) -> Option<OwnedFd> {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open(self.v2.as_ref()?, flags, rustix::fs::Mode::empty()).ok()
    }

    /// Moves the calling, single-threaded process into all groups it is not in yet.
    pub fn join(&self, already_in_v2: bool) -> Result<(), String> {
        for directory in self.directories_v1() {
            // A thread that moves itself needs no lock on its thread group: this is the cheap way in.
            write(&directory.join("tasks"), "0")?;
        }
        match &self.v2 {
            Some(directory) if !already_in_v2 => write(&directory.join("cgroup.procs"), "0"),
            _ => Ok(()),
        }
    }

    /// The distinct v1 directories: controllers that are mounted together share one.
    fn directories_v1(&self) -> Vec<&Path> {
        let mut directories: Vec<&Path> = self.v1.values().map(PathBuf::as_path).collect();
        directories.sort();
        directories.dedup();
        directories
    }

    fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories_v1().into_iter().chain(self.v2.as_deref())
    }

    /// The directories a program looks for its own limits in, as (place below `/sys/fs/cgroup`, directory).
    pub fn views(&self) -> Vec<(String, PathBuf)> {
        if self.v1.is_empty() {
            return self.v2.iter().map(|directory| (String::new(), directory.clone())).collect();
        }
        let shown = ["memory", "cpu", "cpuset"];
        shown.iter().filter_map(|name| Some((format!("/{name}"), self.v1.get(*name)?.clone()))).collect()
    }

    pub fn counters(&self) -> Counters {
        match (&self.v2, self.v1.is_empty()) {
            (Some(directory), true) => v2::counters(directory),
            _ => v1::counters(&self.v1),
        }
    }

    /// Kills every process in the groups. Returns once the kills are sent, not once they are carried out.
    pub fn kill(&self) {
        if let Some(directory) = &self.v2
            && write(&directory.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        let freezer = self.v1.get("freezer");
        let freeze = |state: &str| freezer.map(|directory| write(&directory.join("freezer.state"), state));
        freeze("FROZEN");
        for pid in self.pids() {
            let _ = sys::kill(pid, libc::SIGKILL);
        }
        freeze("THAWED");
    }

    /// Processes in any of the groups.
    pub fn pids(&self) -> Vec<libc::pid_t> {
        let mut pids: Vec<libc::pid_t> = self
            .directories()
            .filter_map(|directory| fs::read_to_string(directory.join("cgroup.procs")).ok())
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Kills what is left and removes the groups. Waits up to five seconds for the kernel to let go of them.
    pub fn remove(&self) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(5);
        self.directories().filter_map(|directory| self.remove_one(directory, end).err()).collect()
    }

    fn remove_one(&self, directory: &Path, end: Instant) -> Result<(), String> {
        let mut pause = Duration::from_micros(100);
        loop {
            match fs::remove_dir(directory) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < end => {
                    if fs::read_to_string(directory.join("cgroup.procs")).is_ok_and(|text| !text.trim().is_empty()) {
                        self.kill();
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(20));
                }
                Err(error) => return Err(format!("removing the control group {}: {error}", directory.display())),
            }
        }
    }

    /// Every group a run of this name can have on this machine, whoever made it.
    pub fn of(run: RunId, dir: &Path) -> Cgroup {
        Cgroup::existing(&group_name(run, dir))
    }

    /// Every group of that name on this machine.
    pub fn existing(name: &str) -> Cgroup {
        let mounts = Mounts::discover();
        let existing = |root: &Path| Some(root.join(PARENT).join(name)).filter(|directory| directory.is_dir());
        Cgroup {
            v1: mounts.v1.iter().filter_map(|(controller, root)| Some((controller.clone(), existing(root)?))).collect(),
            v2: mounts.v2.as_deref().and_then(|root| existing(root).or_else(|| existing(&v2::parent(root).ok()?))),
        }
    }

    /// Names of all groups beside those of the runs, and theirs.
    pub fn names() -> BTreeSet<String> {
        let mounts = Mounts::discover();
        let delegated = mounts.v2.as_deref().and_then(|root| v2::parent(root).ok());
        let roots = mounts.v1.values().chain(&mounts.v2).chain(&delegated);
        let entries = roots.filter_map(|root| fs::read_dir(root.join(PARENT)).ok()).flat_map(|entries| entries.flatten());
        entries.filter(|entry| entry.path().is_dir()).filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

/// Writes one value to a control file; the error names file and value.
fn write(path: &Path, value: &str) -> Result<(), String> {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|error| format!("writing '{value}' to {}: {error}", path.display()))
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number behind `key` in a file of "key number" lines.
fn read_keyed(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn make(directory: &Path) -> Result<(), String> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(format!("making {}: {error}", directory.display())),
        _ => Ok(()),
    }
}

/// Run numbers begin at 1 in every state directory, so the name also says which directory the run belongs to:
/// one node must never take, let alone kill, the group of another's run.
fn group_name(run: RunId, dir: &Path) -> String {
    // FNV-1a, 32 bits: names need to differ, not to be secret.
    let hash =
        dir.as_os_str().as_encoded_bytes().iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("{run}-{hash:08x}")
}

/// Makes a directory for a run that must be new: an old one of the same name may still have processes.
fn make_new(directory: &Path) -> Result<(), String> {
    if directory.exists() && fs::remove_dir(directory).is_err() {
        return Err(format!("the control group {} of an earlier start is still in use", directory.display()));
    }
    make(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_wherever_they_are() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
             cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
             cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0\n\
             cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
             cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0\n";
        let mounts = Mounts::parse(hybrid);
        assert!(mounts.limits_by_v1());
        assert_eq!(mounts.v1["cpu"], mounts.v1["cpuacct"]);
        assert_eq!(mounts.v1.len(), 3);
        assert_eq!(mounts.v2.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        let unified = Mounts::parse("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0\n");
        assert!(!unified.limits_by_v1() && unified.v2.is_some());
        assert!(Mounts::parse("garbage\n\n x y").v2.is_none());
    }

    #[test]
    fn keyed_numbers_need_the_whole_key() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("memory.events");
        fs::write(&file, "oom 3\noom_kill 2\noom_group_kill 0\n").unwrap();
        assert_eq!(read_keyed(&file, "oom_kill"), Some(2));
        assert_eq!(read_keyed(&file, "oom"), Some(3));
        assert_eq!(read_keyed(&file, "oo"), None);
    }
}
