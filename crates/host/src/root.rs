//! Where the machine's files are.

use crate::{HostError, text};
use machine::CpuSet;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// The largest file read whole. `/proc/cpuinfo` of the largest machines is the longest one and stays below it.
const LARGEST_FILE: u64 = 16 << 20;
/// As the kernel's own limit.
const MOST_LINKS: usize = 40;

/// A path prefix: `/` for the running machine, else a captured tree. All paths given to its methods are below it,
/// with or without a leading `/`. In a captured tree symbolic links are followed as the captured machine would have
/// followed them, so none leads out of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    dir: PathBuf,
    live: bool,
}

impl Root {
    /// The machine this process runs on.
    pub fn live() -> Root {
        Root { dir: PathBuf::from("/"), live: true }
    }

    /// A captured tree.
    pub fn at(dir: impl Into<PathBuf>) -> Root {
        Root { dir: dir.into(), live: false }
    }

    /// Whether system calls tell about the same machine as the files do.
    pub fn is_live(&self) -> bool {
        self.live
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file as bytes.
    ///
    /// # Errors
    /// When it is missing, unreadable, not a plain file, or longer than 16 MiB.
    pub fn bytes(&self, path: &str) -> Result<Vec<u8>, HostError> {
        let at = self.resolve(path)?;
        let read = |source| HostError::Read { path: at.clone(), source };
        // A pipe in a captured tree would block the open.
        if !self.live && !fs::metadata(&at).map_err(read)?.is_file() {
            return Err(HostError::NotAFile { path: at });
        }
        let mut bytes = Vec::new();
        fs::File::open(&at).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)).map_err(read)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(HostError::TooLarge { path: at, limit: LARGEST_FILE });
        }
        Ok(bytes)
    }

    /// The file as text without white space or NULs around it; bytes that are no UTF-8 are replaced. `None` when
    /// [`Root::bytes`] fails, which for a kernel file means that this kernel does not tell.
    pub fn text(&self, path: &str) -> Option<String> {
        let bytes = self.bytes(path).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        Some(text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
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
        let entries = self.resolve(path).ok().and_then(|at| fs::read_dir(at).ok());
        let mut names: Vec<String> = entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_by_cached_key(|name| text::natural(name));
        names
    }

    /// Names in a folder that are `prefix` and a number, by number.
    pub fn numbered(&self, path: &str, prefix: &str) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.names(path).iter().filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    pub fn exists(&self, path: &str) -> bool {
        self.resolve(path).is_ok_and(|at| at.exists())
    }

    /// The last part of what a symbolic link points to: the name of a driver or subsystem in sysfs.
    pub fn link_name(&self, path: &str) -> Option<String> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let target = fs::read_link(self.resolve(folder).ok()?.join(name)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// Major and minor number of a character device node.
    pub fn char_device(&self, path: &str) -> Option<(u32, u32)> {
        let about = fs::metadata(self.resolve(path).ok()?).ok()?;
        about.file_type().is_char_device().then(|| (rustix::fs::major(about.rdev()), rustix::fs::minor(about.rdev())))
    }

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
