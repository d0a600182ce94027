//! Archives of captured machines, which come from strangers: nothing in one reaches outside its folder, and none is
//! larger in memory or on disk than the limits here.
//!
//! Links are made last, so no file is ever written through one; where they point does not matter, because a captured
//! [`Root`] follows them inside its tree. Device nodes, pipes and hard links are left out.

use crate::Root;
use bzip2::read::BzDecoder;
use flate2::read::MultiGzDecoder;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tar::{Archive, EntryType};

/// What is taken from one archive at most. A captured machine with eight accelerators and two sockets has about 10,000
/// files in 20 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after decompression, headers included.
    pub bytes: u64,
    pub entries: u64,
    /// Bytes of one file.
    pub file: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 512 << 20, entries: 400_000, file: 16 << 20 }
    }
}

/// As the kernel's own limit of a path, and deeper than any tree of a kernel.
const LONGEST_PATH: usize = 4096;
const DEEPEST: usize = 48;

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("cannot read {}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{} is neither a tar archive nor one packed with gzip or bzip2: {source}", path.display())]
    NotAnArchive { path: PathBuf, source: io::Error },
    #[error("the archive holds the path '{path}', which leads out of its folder")]
    Escapes { path: String },
    #[error("the archive holds more than {what}")]
    TooLarge { what: String },
    #[error("cannot write the unpacked archive: {0}")]
    Write(io::Error),
    #[error("there is neither sys/ nor proc/ in it, nor a known piece of them (nodes of KFD, ports of InfiniBand)")]
    NoMachine,
}

impl UnpackError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            UnpackError::NotAnArchive { .. } | UnpackError::NoMachine => {
                Some("`ashlar machine capture FILE` makes such archives; a folder with sys/ and proc/ works too")
            }
            UnpackError::Escapes { .. } | UnpackError::TooLarge { .. } => Some("this is no capture of a machine; do not trust it"),
            UnpackError::Write(_) => Some("TMPDIR names the folder that is used; it needs some 100 MB"),
            UnpackError::Open { .. } => None,
        }
    }
}

/// Unpacks an archive into a folder of its own, which goes away with the last clone of the returned value.
///
/// # Errors
/// When it is no archive, larger than the limits, or holds a path that leads out of its folder.
pub fn open(path: &Path, limits: Limits) -> Result<Root, UnpackError> {
    let failed = |source| UnpackError::Open { path: path.to_owned(), source };
    let file = BufReader::new(File::open(path).map_err(failed)?);
    let folder = tempfile::Builder::new().prefix("ashlar-capture-").tempdir().map_err(UnpackError::Write)?;
    unpack(file, folder.path(), limits).map_err(|error| match error {
        UnpackError::NotAnArchive { source, .. } => UnpackError::NotAnArchive { path: path.to_owned(), source },
        other => other,
    })?;
    let top = match top(folder.path()) {
        Some(top) => top,
        None if super::fragment::settle(folder.path())? => folder.path().to_owned(),
        None => return Err(UnpackError::NoMachine),
    };
    Ok(Root::unpacked(top, folder))
}

/// The folder with `sys` or `proc` in it: that of the archive, or the only one inside it.
fn top(dir: &Path) -> Option<PathBuf> {
    let is_machine = |dir: &Path| dir.join("sys").is_dir() || dir.join("proc").is_dir();
    if is_machine(dir) {
        return Some(dir.to_owned());
    }
    let mut inside = fs::read_dir(dir).ok()?.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let only = inside.next()?.path();
    (inside.next().is_none() && is_machine(&only)).then_some(only)
}

/// Counts what comes out of a decompressor and ends a bomb.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "too large"))?;
        Ok(count)
    }
}

/// Unpacks what `reader` gives below `dir`, which should be empty.
///
/// # Errors
/// As [`open`]; what was written until then stays.
pub fn unpack(mut reader: impl BufRead, dir: &Path, limits: Limits) -> Result<(), UnpackError> {
    let start = reader.fill_buf().map_err(damaged)?;
    let decoder: Box<dyn Read + '_> = match start {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(reader)),
        [b'B', b'Z', b'h', ..] => Box::new(BzDecoder::new(reader)),
        _ => Box::new(reader),
    };
    let mut archive = Archive::new(Limited { inner: decoder, left: limits.bytes });
    let mut writer = Writer { dir, limits, links: Vec::new(), folders: BTreeSet::new(), next: Names::default() };
    // Raw entries: the crate would read the long names of a hostile archive whole.
    for (count, entry) in archive.entries().map_err(damaged)?.raw(true).enumerate() {
        if count as u64 >= limits.entries {
            return Err(UnpackError::TooLarge { what: format!("{} entries", limits.entries) });
        }
        writer.entry(&mut entry.map_err(damaged)?)?;
    }
    writer.links()
}

fn damaged(error: io::Error) -> UnpackError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => UnpackError::TooLarge { what: "the bytes that a captured machine may have".into() },
        // It quotes what it found, which may be anything.
        kind => {
            let text: String = error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(80).collect();
            UnpackError::NotAnArchive { path: PathBuf::new(), source: io::Error::new(kind, text) }
        }
    }
}

/// Names that an entry of its own gives to the entry after it: GNU's `L` and `K`, and pax headers.
#[derive(Default)]
struct Names {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

struct Writer<'d> {
    dir: &'d Path,
    limits: Limits,
    links: Vec<(PathBuf, Vec<u8>)>,
    folders: BTreeSet<PathBuf>,
    next: Names,
}

impl Writer<'_> {
    fn entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => self.next.path = Some(name(entry)?),
            EntryType::GNULongLink => self.next.link = Some(name(entry)?),
            EntryType::XHeader => pax(entry, &mut self.next)?,
            EntryType::XGlobalHeader => {}
            _ => {
                let names = std::mem::take(&mut self.next);
                let path = names.path.unwrap_or_else(|| entry.header().path_bytes().into_owned());
                let Some(path) = below(&path)? else { return Ok(()) };
                match kind {
                    EntryType::Directory => self.folder(&path)?,
                    EntryType::Regular | EntryType::Continuous => self.file(&path, entry)?,
                    EntryType::Symlink => {
                        let target = names.link.or_else(|| entry.header().link_name_bytes().map(|name| name.into_owned()));
                        self.links.extend(target.map(|target| (path, target)));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Folders are made by us, one after the other, so that nothing but a folder is ever walked through.
    fn folder(&mut self, path: &Path) -> Result<(), UnpackError> {
        if path.as_os_str().is_empty() || self.folders.contains(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        match fs::create_dir(self.dir.join(path)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.dir.join(path).is_dir() => {}
            // A file of this name came before: the archive contradicts itself, and the first word counts.
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) => return Ok(()),
            Err(error) => return Err(UnpackError::Write(error)),
        }
        self.folders.insert(path.to_owned());
        Ok(())
    }

    fn file<R: Read>(&mut self, path: &Path, entry: &mut tar::Entry<'_, R>) -> Result<(), UnpackError> {
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        let size = entry.header().size().map_err(damaged)?;
        if size > self.limits.file {
            return Err(UnpackError::TooLarge { what: format!("{} bytes in one file", self.limits.file) });
        }
        let mut file = match File::create(self.dir.join(path)) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory) => return Ok(()),
            Err(error) => return Err(UnpackError::Write(error)),
        };
        let mut piece = [0u8; 16 << 10];
        loop {
            match entry.read(&mut piece).map_err(damaged)? {
                0 => return Ok(()),
                count => file.write_all(&piece[..count]).map_err(UnpackError::Write)?,
            }
        }
    }

    fn links(&mut self) -> Result<(), UnpackError> {
        for (path, target) in std::mem::take(&mut self.links) {
            let safe_target = target.len() <= LONGEST_PATH && !target.is_empty() && !target.contains(&0);
            // Links made before this one must not be walked through either.
            let parent_is_real = path.parent().is_none_or(|parent| parent.as_os_str().is_empty() || self.is_real(parent));
            if !safe_target || !parent_is_real {
                continue;
            }
            if let Some(parent) = path.parent() {
                self.folder(parent)?;
            }
            match std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&target), self.dir.join(&path)) {
                Err(error)
                    if !matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    return Err(UnpackError::Write(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether no part of the path is a link.
    fn is_real(&self, path: &Path) -> bool {
        path.ancestors().filter(|part| !part.as_os_str().is_empty()).all(|part| !self.dir.join(part).is_symlink())
    }
}

/// The path as plain names; `None` for the archive's own folder.
fn below(path: &[u8]) -> Result<Option<PathBuf>, UnpackError> {
    let escapes = || UnpackError::Escapes { path: String::from_utf8_lossy(path).chars().take(200).collect() };
    if path.len() > LONGEST_PATH || path.contains(&0) {
        return Err(escapes());
    }
    let mut clean = PathBuf::new();
    for part in Path::new(std::ffi::OsStr::from_bytes(path)).components() {
        match part {
            Component::Normal(name) if name.len() <= 255 => clean.push(name),
            Component::CurDir => {}
            _ => return Err(escapes()),
        }
    }
    if clean.components().count() > DEEPEST {
        return Err(escapes());
    }
    Ok((!clean.as_os_str().is_empty()).then_some(clean))
}

/// The content of an entry that names the next one.
fn name<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    let mut bytes = small(entry)?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn small<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, UnpackError> {
    const MOST: u64 = 64 << 10;
    let mut bytes = Vec::new();
    entry.take(MOST + 1).read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() as u64 > MOST {
        return Err(UnpackError::TooLarge { what: format!("{MOST} bytes in a name") });
    }
    Ok(bytes)
}

/// Records of a pax header (POSIX.1-2001): `length key=value\n`.
fn pax<R: Read>(entry: &mut tar::Entry<'_, R>, names: &mut Names) -> Result<(), UnpackError> {
    let bytes = small(entry)?;
    let mut rest = &bytes[..];
    while let Some(space) = rest.iter().position(|b| *b == b' ') {
        let length = std::str::from_utf8(&rest[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let Some(record) = length.filter(|length| *length > space + 1).and_then(|length| rest.get(space + 1..length)) else { break };
        let record_ = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(path) = record_.strip_prefix(b"path=") {
            names.path = Some(path.to_owned());
        } else if let Some(link) = record_.strip_prefix(b"linkpath=") {
            names.link = Some(link.to_owned());
        }
        rest = &rest[space + 1 + record.len()..];
    }
    Ok(())
}

#[cfg(test)]
mod tests;
