//! Where the machine's files are.

use crate::{HostError, text};
use machine::CpuSet;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

mod folder;
mod reads;
mod write;

pub use folder::Folder;
pub use reads::Reads;

/// The largest file read whole. `/proc/cpuinfo` of the largest machines is the longest one and stays below it.
const LARGEST_FILE: u64 = 16 << 20;
/// Files of sysfs are at most a page; only what is longer is read in steps.
const PAGE: usize = 4096;
/// As the kernel's own limit.
const MOST_LINKS: usize = 40;
/// Tries of a path that others keep moving under us, before it is followed by hand.
const MOST_TRIES: usize = 64;
/// Entries of one folder that are looked at: more than any kernel folder has.
const MOST_NAMES: usize = 65_536;
/// Where a capture keeps answers of system calls.
pub(crate) const ASKED: &str = "ashlar/asked";
/// Unreadable files that are remembered by name; the rest is counted.
const MOST_UNREAD: usize = 64;

/// A path prefix: `/` for the running machine, else a captured tree. All paths given to its methods are below it,
/// with or without a leading `/`. In a captured tree symbolic links are followed as the captured machine would have
/// followed them, so none leads out of the tree.
///
/// Files that are there and cannot be read are remembered (by all clones together), for [`Root::unread`].
#[derive(Clone, Debug)]
pub struct Root {
    dir: PathBuf,
    live: bool,
    /// The opened folder, for kernels (5.6 and later) that resolve paths below one folder by themselves.
    handle: Arc<OnceLock<Option<OwnedFd>>>,
    unread: Arc<Mutex<Unread>>,
    reads: Option<Reads>,
    /// Where the tree is an unpacked archive: its folder, which goes away with the last clone.
    _unpacked: Option<Arc<tempfile::TempDir>>,
}

/// Files and folders that are there and could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Path and reason, at most 64.
    pub files: Vec<(String, String)>,
    /// How many there were in all.
    pub count: usize,
}

impl PartialEq for Root {
    fn eq(&self, other: &Root) -> bool {
        (&self.dir, self.live) == (&other.dir, other.live)
    }
}

impl Eq for Root {}

impl Root {
    /// The machine this process runs on.
    pub fn live() -> Root {
        Root::new("/".into(), true)
    }

    /// A captured tree.
    pub fn at(dir: impl Into<PathBuf>) -> Root {
        Root::new(dir.into(), false)
    }

    fn new(dir: PathBuf, live: bool) -> Root {
        Root { dir, live, handle: Arc::default(), unread: Arc::default(), reads: None, _unpacked: None }
    }

    /// A captured tree in a folder that lives as long as this value and its clones.
    pub(crate) fn unpacked(dir: PathBuf, folder: tempfile::TempDir) -> Root {
        Root { _unpacked: Some(Arc::new(folder)), ..Root::at(dir) }
    }

    /// The same tree, keeping a list of what is looked at.
    pub fn recorded(&self) -> (Root, Reads) {
        let reads = Reads::default();
        (Root { reads: Some(reads.clone()), ..self.clone() }, reads)
    }

    /// What a system call said on the machine that was captured, which no file of its kernel tells.
    pub fn asked(&self, question: &str) -> Option<String> {
        (!self.live).then(|| self.text(&format!("{ASKED}/{question}"))).flatten()
    }

    fn looked(&self, path: &str) {
        if let Some(reads) = &self.reads {
            reads.look(path);
        }
    }

    /// Whether system calls tell about the same machine as the files do.
    pub fn is_live(&self) -> bool {
        self.live
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What was there and could not be read, since this value or its first clone was made.
    pub fn unread(&self) -> Unread {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, path: &str, why: &str) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.count += 1;
        if unread.files.len() < MOST_UNREAD && !unread.files.iter().any(|(known, _)| known == path) {
            unread.files.push((path.to_owned(), why.to_owned()));
        }
    }

    /// A file or folder that is not there is an ordinary answer of a kernel, as is a driver that refuses a read; anything
    /// else is worth telling.
    fn failed(&self, path: &str, errno: Errno) -> HostError {
        let ordinary = [Errno::NOENT, Errno::NOTDIR, Errno::INVAL, Errno::NODEV, Errno::NXIO, Errno::OPNOTSUPP, Errno::AGAIN, Errno::ISDIR];
        if !ordinary.contains(&errno) {
            self.note(path, &std::io::Error::from(errno).to_string());
        }
        let path = self.dir.join(path.trim_start_matches('/'));
        match errno {
            Errno::LOOP => HostError::LinkLoop { path },
            Errno::ISDIR => HostError::NotAFile { path },
            _ => HostError::Read { path, source: errno.into() },
        }
    }

    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.looked(path);
        // Never waits for the other end of a pipe, never becomes this process's terminal. A bare place has no such flags.
        let reading = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK | OFlags::NOCTTY };
        let flags = flags | reading | OFlags::RDONLY | OFlags::CLOEXEC;
        let below = path.trim_start_matches('/');
        let below = if below.is_empty() { "." } else { below };
        if !self.live
            && let Some(handle) = self.handle()
        {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            for _ in 0..MOST_TRIES {
                match rustix::fs::openat2(handle, below, flags, Mode::empty(), resolve) {
                    // Somebody renamed a folder somewhere while a `..` was followed, so the kernel cannot vouch for it.
                    Err(Errno::AGAIN | Errno::INTR) => continue,
                    // Older kernels, and filters of system calls that do not know this one.
                    Err(Errno::NOSYS | Errno::PERM) => break,
                    answer => return answer,
                }
            }
        }
        let at = if self.live { self.dir.join(below) } else { self.resolve(path).map_err(|_| Errno::LOOP)? };
        rustix::fs::open(&at, flags, Mode::empty())
    }

    fn handle(&self) -> Option<BorrowedFd<'_>> {
        let open = || rustix::fs::open(&self.dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok();
        self.handle.get_or_init(open).as_ref().map(AsFd::as_fd)
    }

    /// The file as bytes.
    ///
    /// # Errors
    /// When it is missing, unreadable, not a plain file, or longer than 16 MiB.
    pub fn bytes(&self, path: &str) -> Result<Vec<u8>, HostError> {
        let file = self.open(path, OFlags::empty()).map_err(|errno| self.failed(path, errno))?;
        self.read_whole(file.as_fd(), path, LARGEST_FILE)
    }

    fn read_whole(&self, file: BorrowedFd<'_>, path: &str, limit: u64) -> Result<Vec<u8>, HostError> {
        let failed = |errno| self.failed(path, errno);
        // Devices and pipes do not belong into a captured tree; in a live one the names are the kernel's own.
        if !self.live && FileType::from_raw_mode(rustix::fs::fstat(file).map_err(failed)?.st_mode) != FileType::RegularFile {
            return Err(failed(Errno::ISDIR));
        }
        let mut page = [0u8; PAGE];
        let mut bytes = Vec::new();
        loop {
            match rustix::io::read(file, &mut page) {
                Ok(0) => return Ok(bytes),
                Ok(count) => bytes.extend_from_slice(&page[..count]),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(failed(errno)),
            }
            if bytes.len() as u64 > limit {
                self.note(path, "longer than any file of a kernel");
                return Err(HostError::TooLarge { path: self.dir.join(path.trim_start_matches('/')), limit });
            }
        }
    }

    /// A folder whose files are to be read one after the other: its path is looked up once.
    pub fn folder(&self, path: &str) -> Option<Folder<'_>> {
        let fd = self.open(path, OFlags::DIRECTORY).map_err(|errno| self.failed(path, errno)).ok()?;
        Some(Folder::new(self, path, fd))
    }

    /// The file as text without white space or NULs around it; bytes that are no UTF-8 are replaced. `None` when
    /// [`Root::bytes`] fails, which for a kernel file means that this kernel does not tell.
    pub fn text(&self, path: &str) -> Option<String> {
        let bytes = self.bytes(path).ok()?;
        Some(self.trimmed(&bytes, path))
    }

    fn trimmed(&self, bytes: &[u8], path: &str) -> String {
        let text = String::from_utf8_lossy(bytes);
        if matches!(text, std::borrow::Cow::Owned(_)) {
            self.note(path, "holds bytes that are no text");
        }
        text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned()
    }

    /// A file that holds one number or word.
    pub fn value<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// A file that holds one number such as `0x10de`.
    pub fn hex(&self, path: &str) -> Option<u32> {
        let text = self.text(path)?;
        u32::from_str_radix(text.strip_prefix("0x").unwrap_or(&text), 16).ok()
    }

    /// A kernel list such as `0-3,8`.
    pub fn list(&self, path: &str) -> Option<CpuSet> {
        self.text(path)?.parse().ok()
    }

    /// A set of CPUs in a pair of files, of which kernels before 2.6.26 have only the second: `<path><list>` with a
    /// list, or `<path><mask>` with a mask such as `00000000,0000ffff`.
    pub fn list_or_mask(&self, path: &str, list: &str, mask: &str) -> Option<CpuSet> {
        self.list(&format!("{path}{list}")).or_else(|| text::mask(&self.text(&format!("{path}{mask}"))?))
    }

    /// Names in a folder, numbers within names in numeric order; empty when there is no such folder.
    pub fn names(&self, path: &str) -> Vec<String> {
        self.folder(path).map(|folder| folder.names()).unwrap_or_default()
    }

    /// Names in a folder that are `prefix` and a number, by number.
    pub fn numbered(&self, path: &str, prefix: &str) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.names(path).iter().filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    pub fn exists(&self, path: &str) -> bool {
        self.open(path, OFlags::PATH).is_ok()
    }

    /// What a symbolic link points to, as it is written.
    pub fn link(&self, path: &str) -> Option<String> {
        self.looked(path);
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.open(folder, OFlags::PATH | OFlags::DIRECTORY).ok()?;
        rustix::fs::readlinkat(&folder, name, Vec::new()).ok()?.into_string().ok()
    }

    /// The last part of what a symbolic link points to: the name of a driver or subsystem in sysfs.
    pub fn link_name(&self, path: &str) -> Option<String> {
        let target = self.link(path)?;
        Some(Path::new(&target).file_name()?.to_str()?.to_owned())
    }

    /// Major and minor number of a character device node. A capture made by [`crate::capture`] keeps them in plain files.
    pub fn char_device(&self, path: &str) -> Option<(u32, u32)> {
        let found = fs::metadata(self.resolve(path).ok()?).ok().filter(|about| about.file_type().is_char_device());
        let numbers = match found {
            Some(about) => (rustix::fs::major(about.rdev()), rustix::fs::minor(about.rdev())),
            None => {
                let kept = self.asked(&format!("nodes/{}", path.trim_start_matches('/')))?;
                let (major, minor) = kept.split_once(':')?;
                (major.parse().ok()?, minor.parse().ok()?)
            }
        };
        if let Some(reads) = &self.reads {
            reads.node(path, numbers);
        }
        Some(numbers)
    }

    /// For kernels without openat2(2): follows links by hand.
    fn resolve(&self, path: &str) -> Result<PathBuf, HostError> {
        if self.live {
            return Ok(self.dir.join(path.trim_start_matches('/')));
        }
        let mut done: Vec<OsString> = Vec::new();
        let mut todo: VecDeque<OsString> = VecDeque::new();
        prepend(&mut todo, Path::new(path));
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                done.pop();
                continue;
            }
            let here = done.iter().fold(self.dir.clone(), |at, part| at.join(part)).join(&part);
            match fs::read_link(&here) {
                Ok(_) if links == MOST_LINKS => return Err(HostError::LinkLoop { path: here }),
                Ok(target) => {
                    links += 1;
                    if target.is_absolute() {
                        done.clear();
                    }
                    prepend(&mut todo, &target);
                }
                Err(_) => done.push(part),
            }
        }
        Ok(done.iter().fold(self.dir.clone(), |at, part| at.join(part)))
    }
}

fn prepend(todo: &mut VecDeque<OsString>, path: &Path) {
    for part in path.components().rev() {
        match part {
            Component::Normal(name) => todo.push_front(name.to_owned()),
            Component::ParentDir => todo.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_never_leave_a_captured_tree() {
        let outside = tempfile::tempdir().unwrap();
        let dir = outside.path().join("root");
        fs::create_dir_all(dir.join("sys/class")).unwrap();
        fs::write(outside.path().join("secret"), "outside").unwrap();
        fs::write(dir.join("secret"), "inside").unwrap();
        symlink("../../../../../../secret", dir.join("sys/class/up")).unwrap();
        symlink("/secret", dir.join("sys/class/absolute")).unwrap();
        symlink(outside.path().join("secret"), dir.join("sys/class/real")).unwrap();
        symlink("loop", dir.join("sys/class/loop")).unwrap();
        let root = Root::at(&dir);
        assert_eq!(root.text("/sys/class/up").unwrap(), "inside");
        assert_eq!(root.text("sys/class/absolute").unwrap(), "inside");
        assert_eq!(root.text("sys/../../../secret").unwrap(), "inside");
        assert_eq!(root.text("sys/class/real"), None);
        assert!(matches!(root.bytes("sys/class/loop"), Err(HostError::LinkLoop { .. })));
        assert_eq!((root.unread().count, root.unread().files[0].0.as_str()), (1, "sys/class/loop"));
        assert_eq!(root.link_name("sys/class/up").unwrap(), "secret");
    }

    #[test]
    fn what_is_no_file_is_an_error_and_not_a_wait() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o600), 0)
            .unwrap();
        let file = fs::File::create(dir.path().join("large")).unwrap();
        file.set_len(LARGEST_FILE + 1).unwrap();
        let root = Root::at(dir.path());
        assert!(matches!(root.bytes("pipe"), Err(HostError::NotAFile { .. })));
        assert!(matches!(root.bytes("large"), Err(HostError::TooLarge { .. })));
        assert!(matches!(root.bytes("nothing"), Err(HostError::Read { .. })));
        assert_eq!(root.names("nothing"), Vec::<String>::new());
    }

    #[test]
    fn values_read_as_the_kernel_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("vendor", "0x10de\n");
        write("numa", "-1\n");
        write("cpulist", "0-3,8\n");
        write("oldmask", "00000001,0000000f\n");
        write("model", "Board\0");
        for name in ["node10", "node2", "nodes", "node"] {
            write(name, "");
        }
        let root = Root::at(dir.path());
        assert_eq!(root.hex("vendor"), Some(0x10de));
        assert_eq!(root.value::<i32>("numa"), Some(-1));
        assert_eq!(root.value::<u32>("numa"), None);
        assert_eq!(root.list("cpulist").unwrap().to_string(), "0-3,8");
        assert_eq!(root.list_or_mask("old", "list", "mask").unwrap().to_string(), "0-3,32");
        assert_eq!(root.text("model").unwrap(), "Board");
        assert_eq!(root.numbered("", "node"), [2, 10]);
        assert_eq!(root.names("")[1..5], ["model", "node", "node2", "node10"]);
    }
}
