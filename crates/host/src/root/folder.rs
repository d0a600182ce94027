//! One folder of the machine's files, opened once for many reads.

use super::{AtFlags, LARGEST_FILE, MOST_NAMES, Root, text};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::str::FromStr;

/// See [`Root::folder`]. Names given to its methods are entries of the folder, or paths below it.
#[derive(Debug)]
pub struct Folder<'r> {
    root: &'r Root,
    path: String,
    fd: OwnedFd,
}

/// See [`Folder::file`].
#[derive(Debug)]
pub struct Parts(OwnedFd);

impl Parts {
    /// Up to `count` bytes from a place; fewer where the file ends or may not be read any further.
    pub fn bytes_at(&self, at: usize, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let filled = rustix::io::pread(&self.0, &mut bytes, at as u64).unwrap_or(0);
        bytes.truncate(filled);
        bytes
    }
}

impl<'r> Folder<'r> {
    pub(super) fn new(root: &'r Root, path: &str, fd: OwnedFd) -> Folder<'r> {
        Folder { root, path: path.trim_matches('/').to_owned(), fd }
    }

    /// Its path below the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    fn look(&self, name: &str) {
        if self.root.reads.is_some() {
            self.root.looked(&self.at(name));
        }
    }

    /// Entries of this very folder are opened by name, which costs no walk; whatever may lead elsewhere is opened from
    /// the root, which keeps it inside the tree.
    fn open(&self, name: &str) -> Result<OwnedFd, Errno> {
        if name.contains('/') {
            return self.root.open(&self.at(name), OFlags::empty());
        }
        self.look(name);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::LOOP) => self.root.open(&self.at(name), OFlags::empty()),
            answer => answer,
        }
    }

    /// A file that is to be read in parts.
    pub fn file(&self, name: &str) -> Option<Parts> {
        let fd = self.open(name).map_err(|errno| self.root.failed(&self.at(name), errno)).ok()?;
        let plain = || rustix::fs::fstat(&fd).is_ok_and(|about| rustix::fs::FileType::from_raw_mode(about.st_mode).is_file());
        (self.root.live || plain()).then_some(Parts(fd))
    }

    /// The first `most` bytes of a file.
    pub fn bytes(&self, name: &str, most: usize) -> Option<Vec<u8>> {
        let file = self.open(name).map_err(|errno| self.root.failed(&self.at(name), errno)).ok()?;
        if !self.root.live && !rustix::fs::fstat(&file).is_ok_and(|about| rustix::fs::FileType::from_raw_mode(about.st_mode).is_file()) {
            return None;
        }
        let mut bytes = vec![0; most];
        let mut filled = 0;
        while filled < most {
            match rustix::io::read(&file, &mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                // What was read so far counts: a configuration space may end early.
                Err(_) => break,
            }
        }
        bytes.truncate(filled);
        Some(bytes)
    }

    /// See [`Root::text`].
    pub fn text(&self, name: &str) -> Option<String> {
        let path = || self.at(name);
        let file = self.open(name).map_err(|errno| self.root.failed(&path(), errno)).ok()?;
        let bytes = self.root.read_whole(file.as_fd(), &path(), LARGEST_FILE).ok()?;
        Some(self.root.trimmed(&bytes, &path()))
    }

    /// See [`Root::value`].
    pub fn value<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    /// See [`Root::hex`].
    pub fn hex(&self, name: &str) -> Option<u32> {
        let text = self.text(name)?;
        u32::from_str_radix(text.strip_prefix("0x").unwrap_or(&text), 16).ok()
    }

    /// See [`Root::names`].
    pub fn names(&self) -> Vec<String> {
        if let Some(reads) = &self.root.reads {
            reads.list(&self.path);
        }
        let Ok(entries) = rustix::fs::Dir::read_from(&self.fd) else { return Vec::new() };
        let name =
            |entry: rustix::fs::DirEntry| entry.file_name().to_str().ok().filter(|name| !matches!(*name, "." | "..")).map(str::to_owned);
        // An error ends the list: a folder that fails for ever must not be asked for ever.
        let mut names: Vec<String> = entries.map_while(Result::ok).take(MOST_NAMES).filter_map(name).collect();
        names.sort_by_cached_key(|name| text::natural(name));
        names
    }

    /// Whether a path below the folder is there, links followed.
    pub fn root_has(&self, path: &str) -> bool {
        self.root.exists(&self.at(path))
    }

    /// Whether the folder has an entry of this name.
    pub fn exists(&self, name: &str) -> bool {
        self.look(name);
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// What a symbolic link points to, as it is written.
    pub fn link(&self, name: &str) -> Option<String> {
        self.look(name);
        rustix::fs::readlinkat(&self.fd, name, Vec::new()).ok()?.into_string().ok()
    }

    /// See [`Root::link_name`].
    pub fn link_name(&self, name: &str) -> Option<String> {
        let target = self.link(name)?;
        Some(Path::new(&target).file_name()?.to_str()?.to_owned())
    }

    /// A folder below this one.
    pub fn folder(&self, name: &str) -> Option<Folder<'r>> {
        self.root.folder(&self.at(name))
    }
}
