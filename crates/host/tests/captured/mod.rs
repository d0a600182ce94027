//! Archives of captured machines, unpacked for a test.

#![allow(dead_code, reason = "each test takes what it needs")]

use bzip2::read::BzDecoder;
use flate2::read::GzDecoder;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

pub fn data() -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("ASHLAR_TEST_DATA").map_or_else(default, PathBuf::from).join("hwloc-dumps");
    if !folder.is_dir() {
        eprintln!("skipped: no captured machines in {} (set ASHLAR_TEST_DATA)", folder.display());
        return None;
    }
    Some(folder)
}

/// An unpacked archive; the folder goes away with the value.
pub struct Capture {
    pub name: String,
    dir: tempfile::TempDir,
}

impl Capture {
    pub fn unpack(archive: &Path) -> Capture {
        Capture::unpack_only(archive, |_| true)
    }

    /// Leaves what a test does not look at packed, which makes it many times faster.
    pub fn unpack_only(archive: &Path, wanted: impl Fn(&str) -> bool) -> Capture {
        // Tens of thousands of small files: in memory where there is room for that.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let file = fs::File::open(archive).unwrap();
        let name = archive.file_name().unwrap().to_str().unwrap();
        let reader: Box<dyn Read> = if name.ends_with(".bz2") { Box::new(BzDecoder::new(file)) } else { Box::new(GzDecoder::new(file)) };
        for entry in tar::Archive::new(reader).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            // Folders are made as their files come, writable whatever the captured mode.
            if !entry.header().entry_type().is_dir() && wanted(&path) {
                entry.unpack_in(dir.path()).unwrap_or_else(|error| panic!("{name}: {path}: {error}"));
            }
        }
        Capture { name: name.trim_end_matches(".tar.bz2").trim_end_matches(".tar.gz").to_owned(), dir }
    }

    /// Folders that have a `sys` of their own: an archive may hold several machines.
    pub fn roots(&self) -> Vec<PathBuf> {
        fn search(at: &Path, depth: usize, found: &mut Vec<PathBuf>) {
            if at.join("sys").is_dir() {
                return found.push(at.to_owned());
            }
            let Some(entries) = fs::read_dir(at).ok().filter(|_| depth > 0) else { return };
            let folders = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir() && !path.is_symlink());
            folders.for_each(|folder| search(&folder, depth - 1, found));
        }
        let mut found = Vec::new();
        search(self.dir.path(), 3, &mut found);
        found.sort();
        found
    }
}
