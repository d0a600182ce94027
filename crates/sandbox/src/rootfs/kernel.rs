//! The kernel's own file systems in a run's tree: `/proc`, `/sys` and `/dev`.
//!
//! They are made by the run's init, in the run's namespaces, while the machine's are still there to be seen: the kernel
//! shows a user namespace a new `/proc` or `/sys` only where it could see an old one.

use super::{READ_ONLY, Tree, clone, empty_directory, file_system, node_kind};
use crate::error::{Failure, failed};
use machine::DeviceNode;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::mount::OpenTreeFlags;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const NO_PROGRAMS: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
const NO_NODES: u64 = NO_PROGRAMS | libc::MOUNT_ATTR_NODEV;

/// Writable by uid 0 even without capabilities, or telling of the kernel's memory: for runs of root only. The
/// permissions of the files do the same for everybody else.
const SHUT: [&str; 7] = ["/proc/bus", "/proc/dynamic_debug", "/proc/fs", "/proc/irq", "/proc/mtrr", "/proc/sys", "/proc/sysrq-trigger"];
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/scsi",
    "/proc/interrupts",
    "/sys/firmware",
];

/// Nodes that every program may expect, with their numbers.
const NODES: [(&str, u32, u32); 6] = [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

impl Tree<'_> {
    /// `/proc` of the run's pid namespace.
    pub fn proc(&self) -> Result<(), Failure> {
        let tree = file_system("proc", &[]).map_err(|error| self.maybe_unavailable(failed("mounting /proc")(error)))?;
        self.put(&tree, Path::new("/proc"), NO_NODES, false)
    }

    /// What a user namespace may not do is a lower level's business; for root it is an error.
    fn maybe_unavailable(&self, failure: Failure) -> Failure {
        Failure { unavailable: failure.unavailable || !self.privileged, ..failure }
    }

    /// `/sys` read-only, with the run's control groups where programs look for their limits. `views` are directories
    /// with their places below `/sys/fs/cgroup`.
    pub fn sys(&self, own_network: bool, views: &[(String, PathBuf)]) -> Result<(), Failure> {
        match file_system("sysfs", &[]) {
            Ok(tree) => self.put(&tree, Path::new("/sys"), READ_ONLY | libc::MOUNT_ATTR_NOEXEC, false)?,
            // The machine's network namespace does not belong to our user namespace, so no new one can be mounted.
            Err(_) if !self.privileged && !own_network => return self.sys_parts(),
            Err(error) => return Err(failed("mounting /sys")(error)),
        }
        if views.is_empty() || !self.privileged {
            return Ok(());
        }
        let place = Path::new("/sys/fs/cgroup");
        let doing = "preparing /sys/fs/cgroup";
        if views.iter().all(|(name, _)| !name.is_empty()) {
            let directory = empty_directory().map_err(failed(doing))?;
            for (name, _) in views {
                rustix::fs::mkdirat(&directory, name.trim_start_matches('/'), Mode::from_raw_mode(0o755)).map_err(failed(doing))?;
            }
            self.put(&directory, place, READ_ONLY | libc::MOUNT_ATTR_NOEXEC, false)?;
        }
        for (name, source) in views {
            let tree = clone(source, false).map_err(failed(format!("showing {}", source.display())))?;
            let target = PathBuf::from(format!("{}{name}", place.display()));
            self.put(&tree, &target, READ_ONLY | libc::MOUNT_ATTR_NOEXEC, false)?;
        }
        Ok(())
    }

    /// The machine's `/sys` piece by piece, all but the control groups below `/sys/fs`.
    fn sys_parts(&self) -> Result<(), Failure> {
        for entry in fs::read_dir("/sys").map_err(failed("reading /sys"))?.flatten() {
            let (source, target) = (entry.path(), self.root.join("sys").join(entry.file_name()));
            fs::create_dir(&target).map_err(failed(format!("making {}", source.display())))?;
            if entry.file_name() != "fs"
                && let Ok(tree) = clone(&source, true)
            {
                self.put(&tree, &source, READ_ONLY | libc::MOUNT_ATTR_NOEXEC, true)?;
            }
        }
        Ok(())
    }

    /// `/dev` with the nodes that every program expects, the granted ones, and nothing else. Granted nodes belong to
    /// the person, because the grant is what lets them be used; the groups that own the nodes on the machine do not
    /// matter. In a user namespace the machine's node is bound instead, with its owner.
    pub fn dev(&self) -> Result<(), Failure> {
        let doing = "preparing /dev";
        let dev = file_system("tmpfs", &[("size", "65536k"), ("mode", "0755")]).map_err(failed(doing))?;
        self.put(&dev, Path::new("/dev"), libc::MOUNT_ATTR_NOSUID, false)?;
        for name in ["pts", "shm", "mqueue"] {
            rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(0o755)).map_err(failed(doing))?;
        }
        for (name, aim) in LINKS {
            rustix::fs::symlinkat(aim, &dev, name).map_err(failed(doing))?;
        }
        for (name, major, minor) in NODES {
            let path = format!("/dev/{name}");
            self.node(&dev, &DeviceNode { path, major, minor, shared: true }, FileType::CharacterDevice, 0o666, None)?;
        }
        let owner = (self.workload.identity.uid, self.workload.identity.gid);
        for node in &self.workload.devices {
            let (block, mode) = node_kind(&node.path).map_err(failed(format!("the granted device node {}", node.path)))?;
            let kind = if block { FileType::BlockDevice } else { FileType::CharacterDevice };
            self.node(&dev, node, kind, mode | 0o600, Some(owner))?;
        }
        let group: &[(&str, &str)] = if self.privileged { &[("gid", "5")] } else { &[] };
        let pts = [&[("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")][..], group].concat();
        self.own("devpts", &pts, "/dev/pts", NO_PROGRAMS)?;
        let size = self.workload.grant.shm.0.max(4096).to_string();
        self.own("tmpfs", &[("size", &size), ("mode", "1777")], "/dev/shm", NO_NODES)?;
        self.own("mqueue", &[], "/dev/mqueue", NO_NODES)
    }

    fn own(&self, kind: &str, options: &[(&str, &str)], path: &str, attributes: u64) -> Result<(), Failure> {
        let tree = file_system(kind, options).map_err(|error| self.maybe_unavailable(failed(format!("mounting {path}"))(error)))?;
        self.put(&tree, Path::new(path), attributes, false)
    }

    fn node(&self, dev: &OwnedFd, node: &DeviceNode, kind: FileType, mode: u32, owner: Option<(u32, u32)>) -> Result<(), Failure> {
        let doing = format!("making the device node {}", node.path);
        let inside = node.path_inside();
        let name =
            inside.strip_prefix("/dev/").ok_or_else(|| Failure::order(format!("the device node {} is not below /dev", node.path)))?;
        for (at, _) in name.match_indices('/') {
            match rustix::fs::mkdirat(dev, &name[..at], Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(failed(&doing)(error)),
            }
        }
        if !self.privileged {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(dev, name, flags, Mode::from_raw_mode(0o600)).map_err(failed(&doing))?;
            let tree = clone(Path::new(&node.path), false).map_err(failed(&doing))?;
            return self.put(&tree, Path::new(&inside), NO_PROGRAMS, false);
        }
        match rustix::fs::mknodat(dev, name, kind, Mode::from_raw_mode(mode), rustix::fs::makedev(node.major, node.minor)) {
            // Granted, and there for everybody.
            Err(rustix::io::Errno::EXIST) => return Ok(()),
            result => result.map_err(failed(&doing))?,
        }
        match owner {
            Some((uid, gid)) => {
                rustix::fs::chownat(dev, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(failed(&doing))
            }
            None => Ok(()),
        }
    }

    /// Closes what only the permissions of uid 0 would keep from being written or read.
    pub fn shut(&mut self) -> Result<(), Failure> {
        if self.workload.identity.uid != 0 || !self.privileged {
            return Ok(());
        }
        for path in MASKED {
            self.hide(Path::new(path))?;
        }
        for path in SHUT {
            let Ok(place) = self.inside(Path::new(path)) else { continue };
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH
                | OpenTreeFlags::AT_RECURSIVE;
            let tree = rustix::mount::open_tree(&place, "", flags).map_err(failed(format!("closing {path}")))?;
            self.put(&tree, Path::new(path), READ_ONLY | libc::MOUNT_ATTR_NOEXEC, true)?;
        }
        Ok(())
    }
}
