//! The file tree a run sees: the machine's own, rearranged.
//!
//! There is no image. In the run's own mount namespace an empty tmpfs becomes the root; each top-level directory of the
//! machine is bound into it, system ones read-only. Everything is attached by descriptor ([`libc::open_tree`],
//! `move_mount`), never by a path looked up twice, and nothing is left on the machine to unmount: the tree goes with its
//! namespace.

mod kernel;

use crate::Workload;
use crate::error::{Failure, failed};
use crate::scratch::Scratch;
use crate::sys;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Component, Path, PathBuf};

/// Name of the run's own `/etc/hosts` in its directory, where it has one.
pub const HOSTS_FILE: &str = "hosts";

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const READ_WRITE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// Parts of `/run` that name resolution, accelerator daemons and some distributions need.
const RUN_PARTS: [&str; 9] = [
    "systemd/resolve",
    "resolvconf",
    "NetworkManager",
    "nscd",
    "nvidia-persistenced",
    "opengl-driver",
    "current-system",
    "wrappers",
    "connman",
];

/// Who may write where, for a top-level directory of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    ReadOnly,
    ReadWrite,
    /// Made anew or left out.
    Skip,
}

fn place(name: &str) -> Place {
    match name {
        "proc" | "sys" | "dev" | "run" | "tmp" | "boot" | "efi" | "lost+found" => Place::Skip,
        "usr" | "bin" | "sbin" | "etc" | "opt" | "var" | "snap" | "nix" | "gnu" => Place::ReadOnly,
        _ if name.starts_with("lib") => Place::ReadOnly,
        _ => Place::ReadWrite,
    }
}

/// A place of the machine with all that is mounted below it, to be attached elsewhere.
const BIND: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE
    .union(OpenTreeFlags::OPEN_TREE_CLOEXEC)
    .union(OpenTreeFlags::AT_EMPTY_PATH)
    .union(OpenTreeFlags::AT_RECURSIVE);

/// File systems that are the kernel itself: through the machine's `/proc` a job reaches every process of its person
/// outside. Magic numbers of `linux/magic.h`.
const KERNELS_OWN: [u64; 8] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270, 0x6462_6720, 0x7472_6163, 0x7363_6673, 0xcafe_4a11];

/// Why a place of the machine is never mounted for a job.
fn not_for_jobs(real: &Path, place: &OwnedFd) -> Option<&'static str> {
    if real == Path::new("/") {
        return Some("it is the whole machine, with the processes and temporary files of others");
    }
    let kind = rustix::fs::fstatfs(place).ok()?.f_type;
    let below = ["/proc", "/sys"].iter().any(|top| real.starts_with(top));
    (below || KERNELS_OWN.contains(&u64::from(kind as u32))).then_some("it is a view of the kernel, and the run has its own")
}

/// What the kernel calls the file that a descriptor is open at.
fn path_of(place: &OwnedFd) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(place))).ok()
}

/// The number of the mount that a descriptor lies in.
fn mount_id(place: &OwnedFd) -> Option<u64> {
    const STATX_MNT_ID: u32 = 0x1000;
    let wanted = rustix::fs::StatxFlags::from_bits_retain(STATX_MNT_ID);
    let found = rustix::fs::statx(place, "", rustix::fs::AtFlags::EMPTY_PATH, wanted).ok()?;
    (found.stx_mask & STATX_MNT_ID != 0).then_some(found.stx_mnt_id)
}

/// A tree under construction, in the mount namespace of the run's init.
pub(crate) struct Tree<'a> {
    workload: &'a Workload,
    /// Mounts of the scratch space, taken before the tmpfs covers it.
    scratch: [(&'static str, OwnedFd); 2],
    /// Where the tmpfs is attached until it becomes the root.
    root: PathBuf,
    /// The tmpfs.
    root_fd: OwnedFd,
    /// Paths of the run where missing mount points may be made, because the ground below is ours.
    ours: Vec<PathBuf>,
    /// Mounts of our own that become read-only once everything below them is made.
    covers: Vec<OwnedFd>,
    privileged: bool,
}

impl<'a> Tree<'a> {
    /// Lets go of the machine's mounts, in that no change comes back to them, and puts the tmpfs in place.
    pub fn begin(workload: &'a Workload, privileged: bool) -> Result<Tree<'a>, Failure> {
        rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
            .map_err(|error| Failure::unavailable(format!("mounts cannot be changed: {error}")))?;
        let Scratch { tmp, var_tmp, closed: root } = Scratch::below(&workload.dir);
        let take = |path: &Path, target: &'static str| Ok((target, clone(path, false).map_err(failed(format!("preparing {target}")))?));
        let scratch = [take(&tmp, "/tmp")?, take(&var_tmp, "/var/tmp")?];
        let root_fd = file_system("tmpfs", &[("size", "16m"), ("mode", "0755")])
            .map_err(|error| Failure::unavailable(format!("a file system cannot be mounted: {error}")))?;
        attach(&root_fd, CWD, &root).map_err(|error| Failure::unavailable(format!("a mount cannot be attached: {error}")))?;
        // Directories are bound with all that is mounted below them; this tree is not to come along with them.
        sys::never_bind(&root_fd).map_err(failed("preparing the new root"))?;
        let ours = ["/tmp", "/var/tmp", "/run"].map(PathBuf::from).to_vec();
        Ok(Tree { workload, scratch, root, root_fd, ours, covers: Vec::new(), privileged })
    }

    /// Everything the run sees except `/proc` and `/dev`, which need its pid and ipc namespaces.
    pub fn fill(&mut self) -> Result<(), Failure> {
        self.machine_directories()?;
        for (target, tree) in &self.scratch {
            if self.inside(Path::new(target)).is_err() && *target == "/var/tmp" {
                continue;
            }
            self.put(tree, Path::new(target), READ_WRITE, false)?;
        }
        for part in RUN_PARTS {
            let source = Path::new("/run").join(part);
            if let Ok(tree) = clone(&source, true) {
                self.make_point(&source, tree.as_fd())?;
                self.put(&tree, &source, READ_ONLY, true)?;
            }
        }
        let hidden: Vec<PathBuf> = self.workload.hidden.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
        // Taken before anything is hidden, attached after.
        let visible: Vec<(PathBuf, OwnedFd)> = self
            .workload
            .visible
            .iter()
            .map(|path| {
                let doing = format!("showing the environment {}", path.display());
                let place = open_path(CWD, path).map_err(failed(&doing))?;
                // The folder it lies in is the person's, who may have put a link there to what is another's.
                let owner = rustix::fs::fstat(&place).map_err(failed(&doing))?.st_uid;
                if self.privileged && owner != self.workload.identity.uid {
                    return Err(Failure::order(format!("the environment {} belongs to uid {owner}", path.display())));
                }
                let tree = rustix::mount::open_tree(&place, "", BIND).map_err(failed(&doing))?;
                Ok((path_of(&place).unwrap_or_else(|| path.clone()), tree))
            })
            .collect::<Result<_, Failure>>()?;
        let mounts = self.person_mounts(&hidden)?;
        for path in &hidden {
            self.hide(path)?;
        }
        for (path, tree) in visible {
            self.make_point(&path, tree.as_fd())?;
            self.put(&tree, &path, READ_ONLY, true)?;
        }
        for (source, target, tree, attributes) in mounts {
            self.make_point(&target, tree.as_fd())?;
            self.put(&tree, &target, attributes, true)?;
            // A bind of a directory above a hidden one must not show it under another name.
            for path in hidden.iter().filter_map(|path| path.strip_prefix(&source).ok()) {
                self.hide(&target.join(path))?;
            }
        }
        Ok(())
    }

    fn machine_directories(&self) -> Result<(), Failure> {
        for entry in fs::read_dir("/").map_err(failed("reading /"))?.flatten() {
            let name = entry.file_name();
            let (target, source) = (self.root.join(&name), entry.path());
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_symlink() {
                let aim = fs::read_link(&source).map_err(failed(format!("reading {}", source.display())))?;
                symlink(&aim, &target).map_err(failed(format!("linking {}", target.display())))?;
                continue;
            }
            let attributes = match place(&name.to_string_lossy()) {
                Place::Skip => continue,
                _ if !kind.is_dir() => continue,
                Place::ReadOnly => READ_ONLY,
                Place::ReadWrite => READ_WRITE,
            };
            fs::create_dir(&target).map_err(failed(format!("making {}", target.display())))?;
            // A directory that cannot be bound (a dead network mount) is left out rather than stop every run.
            if let Ok(tree) = clone(&source, true) {
                self.put(&tree, &source, attributes, true)?;
            }
        }
        for name in ["proc", "sys", "dev", "run", "tmp"] {
            fs::create_dir(self.root.join(name)).map_err(failed(format!("making /{name}")))?;
        }
        Ok(())
    }

    /// The mounts of the job, and working directories below `/tmp`, as (source, target, tree, attributes).
    /// Sources are opened with the person's rights.
    fn person_mounts(&self, hidden: &[PathBuf]) -> Result<Vec<(PathBuf, PathBuf, OwnedFd, u64)>, Failure> {
        let mut wanted: Vec<(PathBuf, PathBuf, bool)> = Vec::new();
        for process in &self.workload.processes {
            let directory = PathBuf::from(&process.workdir);
            let private = ["/tmp", "/var/tmp"].iter().any(|top| directory.starts_with(top) && directory != Path::new(top));
            if private && directory.exists() && !wanted.iter().any(|(source, ..)| *source == directory) {
                wanted.push((directory.clone(), directory, false));
            }
        }
        wanted.extend(self.workload.mounts.iter().map(|m| (PathBuf::from(&m.source), PathBuf::from(&m.target), m.read_only)));
        wanted
            .into_iter()
            .map(|(source, target, read_only)| {
                let (source, tree) = self.open_as_person(&source, hidden)?;
                Ok((source, target, tree, if read_only { READ_ONLY } else { READ_WRITE }))
            })
            .collect()
    }

    /// The real path of what was opened, and a copy of its mount.
    fn open_as_person(&self, source: &Path, hidden: &[PathBuf]) -> Result<(PathBuf, OwnedFd), Failure> {
        let identity = &self.workload.identity;
        // Not by the links of /proc that lead into other processes: they are followed with the rights of this process.
        let how = ResolveFlags::NO_MAGICLINKS;
        let open = || rustix::fs::openat2(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), how).map_err(io::Error::from);
        let place = if self.privileged { sys::as_user(identity.uid, identity.gid, open) } else { open() }.map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "it does not exist on this machine".to_string(),
                io::ErrorKind::PermissionDenied => format!("{} may not reach it", identity.user),
                _ if error.raw_os_error() == Some(libc::ELOOP) => "its links go in a circle or through a process in /proc".to_string(),
                _ => error.to_string(),
            };
            let message = format!("cannot mount '{}': {reason}", source.display());
            let theirs = [libc::ENOENT, libc::EACCES, libc::EPERM, libc::ELOOP, libc::ENOTDIR];
            let is_theirs = error.raw_os_error().is_some_and(|number| theirs.contains(&number));
            if is_theirs { Failure::missing(message) } else { Failure::order(message) }
        })?;
        // What was opened, whatever the path has become since.
        let real = path_of(&place).unwrap_or_else(|| source.into());
        if let Some(reason) = not_for_jobs(&real, &place) {
            return Err(Failure::missing(format!("cannot mount '{}': {reason}", source.display()))
                .hint("name the directories of the machine that the job needs"));
        }
        // The supervisor writes one file for the ranks into the run's own directory.
        let hosts = fs::canonicalize(self.workload.dir.join(HOSTS_FILE)).ok();
        let shown = |path: &Path| hosts.as_deref() == Some(path) || self.workload.visible.iter().any(|visible| path.starts_with(visible));
        if hidden.iter().any(|hidden| real.starts_with(hidden)) && !shown(&real) {
            return Err(Failure::missing(format!("cannot mount '{}': it belongs to the node and is hidden from jobs", source.display())));
        }
        let tree = rustix::mount::open_tree(&place, "", BIND);
        Ok((real, tree.map_err(|error| failed(format!("cannot mount '{}'", source.display()))(error))?))
    }

    /// Whether a directory of the run lies in a mount that was made for the run, not in one of the machine's. What
    /// lies at a path is no answer: mounts of the job and links in its scratch space may lead anywhere.
    fn is_ours(&self, directory: &OwnedFd) -> bool {
        let ours = self.scratch.iter().map(|(_, tree)| tree).chain(&self.covers).chain([&self.root_fd]);
        mount_id(directory).is_some_and(|id| ours.into_iter().any(|tree| mount_id(tree) == Some(id)))
    }

    /// Lays an empty read-only directory, or the null device, over a path, if the run would see anything there.
    fn hide(&mut self, path: &Path) -> Result<(), Failure> {
        let Ok(there) = self.inside(path) else { return Ok(()) };
        let directory = rustix::fs::fstat(&there).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
        let hiding = || failed(format!("hiding {}", path.display()));
        if !directory {
            // The null device needs no file to be made and taken away again with every run.
            let null = clone(Path::new("/dev/null"), false).map_err(hiding())?;
            return self.put(&null, path, libc::MOUNT_ATTR_NOSUID, false);
        }
        let cover = empty_directory().map_err(hiding())?;
        self.put(&cover, path, READ_WRITE, false)?;
        self.covers.push(cover);
        self.ours.push(path.to_path_buf());
        Ok(())
    }

    /// A descriptor of what the run will see at `path`, following links as it will.
    fn inside(&self, path: &Path) -> io::Result<OwnedFd> {
        let relative: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        if relative.as_os_str().is_empty() {
            return self.root_fd.try_clone();
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Ok(rustix::fs::openat2(&self.root_fd, &relative, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)?)
    }

    /// Makes sure that something can be mounted at `path`. New directories appear only on ground that is the
    /// run's own; a mount never makes directories on the machine.
    fn make_point(&self, path: &Path, tree: impl AsFd) -> Result<(), Failure> {
        if self.inside(path).is_ok() {
            return Ok(());
        }
        let mut parts: Vec<_> = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let last = parts.pop().ok_or_else(|| Failure::order("nothing can be mounted over the root"))?;
        let mut directory = PathBuf::from("/");
        let directory_wanted = rustix::fs::fstat(tree).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
        for (part, is_last) in parts.into_iter().map(|part| (part, false)).chain([(last, true)]) {
            let here = directory.join(part);
            if self.inside(&here).is_err() {
                let new_top = directory == Path::new("/");
                if !new_top && !self.made_by_us(&here) {
                    return Err(Failure::missing(format!("cannot mount at '{}': '{}' does not exist", path.display(), here.display()))
                        .hint(
                            "no directory is ever made on the machine for a run: mount at one that exists, at a new name directly \
                             below / (such as /data), or anywhere below /tmp",
                        ));
                }
                let parent = self.inside(&directory).map_err(failed(format!("opening {}", directory.display())))?;
                if !self.is_ours(&parent) {
                    return Err(Failure::missing(format!("cannot mount at '{}': '{}' does not exist", path.display(), here.display()))
                        .hint("no directory is ever made below what is mounted from the machine"));
                }
                let made = if is_last && !directory_wanted {
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                    rustix::fs::openat(&parent, part.as_os_str(), flags, Mode::from_raw_mode(0o644)).map(drop)
                } else {
                    rustix::fs::mkdirat(&parent, part.as_os_str(), Mode::from_raw_mode(0o755))
                };
                made.map_err(failed(format!("making the mount point {}", here.display())))?;
            }
            directory = here;
        }
        Ok(())
    }

    /// Below `/tmp`, `/run` or a hidden path, or below a top-level directory that only the run has.
    fn made_by_us(&self, path: &Path) -> bool {
        let top: PathBuf = path.components().take(2).collect();
        self.ours.iter().any(|ours| path.starts_with(ours) && path != ours) || !top.exists()
    }

    /// Attaches a tree at a path of the run, read-only or not.
    fn put(&self, tree: &OwnedFd, path: &Path, attributes: u64, recursive: bool) -> Result<(), Failure> {
        sys::mount_attributes(tree, attributes, recursive).map_err(|error| Failure {
            // Before Linux 5.12 there is no such call.
            unavailable: error.raw_os_error() == Some(libc::ENOSYS),
            ..failed(format!("setting the mount flags of {}", path.display()))(error)
        })?;
        let target = self.inside(path).map_err(failed(format!("opening the mount point {}", path.display())))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(tree, "", &target, "", flags).map_err(|error| failed(format!("mounting {}", path.display()))(error))
    }

    /// Makes the tree the root of this process and forgets the machine's.
    pub fn enter(self) -> Result<(), Failure> {
        for ours in self.covers.iter().chain([&self.root_fd]) {
            sys::mount_attributes(ours, READ_ONLY, false).map_err(failed("making the root read-only"))?;
        }
        rustix::process::chdir(&self.root).map_err(failed("entering the new root"))?;
        rustix::process::pivot_root(".", ".").map_err(|error| Failure::unavailable(format!("the root cannot be changed: {error}")))?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed("letting go of the old root"))?;
        rustix::process::chdir("/").map_err(failed("entering the new root"))
    }
}

/// An empty directory of its own, not attached anywhere yet, in which only what a mount point needs has room.
fn empty_directory() -> io::Result<OwnedFd> {
    file_system("tmpfs", &[("size", "64k"), ("mode", "0755")])
}

/// A new file system, not attached anywhere yet. An option without a value is a flag.
fn file_system(kind: &str, options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match value.is_empty() {
            true => rustix::mount::fsconfig_set_flag(&context, *key)?,
            false => rustix::mount::fsconfig_set_string(&context, *key, *value)?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// A copy of the mount at `path`, with everything mounted below it when `recursive`.
fn clone(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(CWD, path, flags)?)
}

fn attach(tree: &OwnedFd, directory: impl AsFd, path: &Path) -> io::Result<()> {
    Ok(rustix::mount::move_mount(tree, "", directory, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

fn open_path(directory: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether a node of the machine is a block device, and its permission bits.
pub(crate) fn node_kind(path: &str) -> io::Result<(bool, u32)> {
    let meta = fs::metadata(path)?;
    match meta.mode() & libc::S_IFMT {
        libc::S_IFBLK => Ok((true, meta.mode() & 0o777)),
        libc::S_IFCHR => Ok((false, meta.mode() & 0o777)),
        _ => Err(io::Error::other("not a device node")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_directories_are_read_only_and_data_is_not() {
        for (name, expected) in [
            ("usr", Place::ReadOnly),
            ("lib64", Place::ReadOnly),
            ("etc", Place::ReadOnly),
            ("home", Place::ReadWrite),
            ("data", Place::ReadWrite),
            ("root", Place::ReadWrite),
            ("tmp", Place::Skip),
            ("boot", Place::Skip),
        ] {
            assert_eq!(place(name), expected, "{name}");
        }
    }

    #[test]
    fn device_nodes_are_told_from_files() {
        assert!(matches!(node_kind("/dev/null"), Ok((false, _))));
        assert!(node_kind("/etc/passwd").is_err());
        assert!(node_kind("/dev/surely-not").is_err());
    }
}
