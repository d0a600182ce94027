//! Pieces of captured machines: people publish what one tool needs, such as `/sys/class/kfd/kfd/topology` of an AMD server or
//! `/sys/class/infiniband`, without the tree around it. A piece is known by what is in it and put where a machine has it.

use super::unpack::{Limits, UnpackError};
use crate::Root;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are looked at, and how deep, before a folder counts as no piece of a machine.
const MOST_FOLDERS: usize = 4096;
const DEEPEST: usize = 10;

/// A piece, and where a machine has it.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    at: PathBuf,
    place: &'static str,
}

const KFD: &str = "sys/class/kfd/kfd/topology";
const INFINIBAND: &str = "sys/class/infiniband";

fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().take(MOST_FOLDERS).filter_map(Result::ok);
    let mut found: Vec<PathBuf> =
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect();
    found.sort();
    found
}

fn place(dir: &Path) -> Option<&'static str> {
    let nodes = folders(&dir.join("nodes"));
    if nodes.iter().any(|node| node.join("properties").is_file()) {
        return Some(KFD);
    }
    let is_port = |port: &PathBuf| port.join("state").is_file() && port.join("rate").is_file();
    let is_device = |device: &PathBuf| folders(&device.join("ports")).iter().any(is_port);
    folders(dir).iter().any(is_device).then_some(INFINIBAND)
}

/// The pieces below a folder, at most one of each kind.
fn pieces(dir: &Path) -> Vec<Piece> {
    let mut found: Vec<Piece> = Vec::new();
    let mut waiting = VecDeque::from([(dir.to_owned(), 0)]);
    for _ in 0..MOST_FOLDERS {
        let Some((folder, depth)) = waiting.pop_front() else { break };
        match place(&folder) {
            Some(place) if !found.iter().any(|known| known.place == place) => found.push(Piece { at: folder, place }),
            Some(_) => {}
            None if depth < DEEPEST => waiting.extend(folders(&folder).into_iter().map(|folder| (folder, depth + 1))),
            None => {}
        }
    }
    found
}

/// Moves the pieces of an unpacked archive to their places below its folder; false where there are none.
pub(super) fn settle(dir: &Path) -> Result<bool, UnpackError> {
    let found = pieces(dir);
    for piece in &found {
        let to = dir.join(piece.place);
        let parent = to.parent().unwrap_or(dir);
        fs::create_dir_all(parent).and_then(|()| fs::rename(&piece.at, &to)).map_err(UnpackError::Write)?;
    }
    Ok(!found.is_empty())
}

/// Whether a folder is a captured machine or holds a piece of one.
pub fn holds_machine(dir: &Path) -> bool {
    dir.join("sys").is_dir() || dir.join("proc").is_dir() || !pieces(dir).is_empty()
}

/// A folder as a captured machine: as it stands where it has `sys` or `proc`, else with copies of the pieces in it where a
/// machine has them.
///
/// # Errors
/// When the folder holds neither, or more than the limits, or the copy cannot be written.
pub fn open_folder(dir: &Path, limits: Limits) -> Result<Root, UnpackError> {
    if dir.join("sys").is_dir() || dir.join("proc").is_dir() {
        return Ok(Root::at(dir));
    }
    let found = pieces(dir);
    if found.is_empty() {
        return Err(UnpackError::NoMachine);
    }
    let folder = tempfile::Builder::new().prefix("ashlar-capture-").tempdir().map_err(UnpackError::Write)?;
    let mut left = limits;
    for piece in found {
        copy(&piece.at, &folder.path().join(piece.place), &mut left, DEEPEST)?;
    }
    Ok(Root::unpacked(folder.path().to_owned(), folder))
}

/// Plain files and folders; what leads elsewhere is left out.
fn copy(from: &Path, to: &Path, left: &mut Limits, depth: usize) -> Result<(), UnpackError> {
    let too_large = |what: &str| UnpackError::TooLarge { what: format!("{what} that a captured machine may have") };
    fs::create_dir_all(to).map_err(UnpackError::Write)?;
    for entry in fs::read_dir(from).into_iter().flatten().filter_map(Result::ok) {
        left.entries = left.entries.checked_sub(1).ok_or_else(|| too_large("the files"))?;
        let (Ok(kind), to) = (entry.file_type(), to.join(entry.file_name())) else { continue };
        if kind.is_dir() && depth > 0 {
            copy(&entry.path(), &to, left, depth - 1)?;
        } else if kind.is_file() {
            let size = entry.metadata().map_or(0, |about| about.len());
            left.bytes = left.bytes.checked_sub(size).filter(|_| size <= left.file).ok_or_else(|| too_large("the bytes"))?;
            // A file that may not be read is one that is missing.
            let _ = fs::copy(entry.path(), &to);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, path: &str, text: &str) {
        let at = dir.join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }

    fn both() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "testdata/mi300/topology/nodes/1/properties", "simd_count 4\n");
        write(dir.path(), "testdata/class/ib/mlx5_0/ports/1/state", "4: ACTIVE\n");
        write(dir.path(), "testdata/class/ib/mlx5_0/ports/1/rate", "400 Gb/sec (4X NDR)\n");
        dir
    }

    #[test]
    fn pieces_are_found_wherever_they_are_and_put_where_a_machine_has_them() {
        let dir = both();
        let root = open_folder(dir.path(), Limits::default()).unwrap();
        assert_eq!(root.text(&format!("{KFD}/nodes/1/properties")).as_deref(), Some("simd_count 4"));
        assert_eq!(crate::infiniband(&root).len(), 1);
        assert!(!dir.path().join("sys").exists(), "what is somebody's stays as it is");
        assert!(settle(dir.path()).unwrap() && dir.path().join(INFINIBAND).join("mlx5_0/ports/1/rate").is_file());
        assert!(dir.path().join(KFD).join("nodes/1/properties").is_file());
    }

    #[test]
    fn the_piece_itself_may_be_named() {
        let dir = both();
        let root = open_folder(&dir.path().join("testdata/mi300/topology"), Limits::default()).unwrap();
        assert!(root.exists(&format!("{KFD}/nodes/1/properties")));
    }

    #[test]
    fn what_is_no_piece_or_too_large_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a/b/readme", "nothing");
        assert!(matches!(open_folder(dir.path(), Limits::default()), Err(UnpackError::NoMachine)));
        let tight = Limits { bytes: 20, ..Limits::default() };
        assert!(matches!(open_folder(both().path(), tight), Err(UnpackError::TooLarge { .. })));
        // A link to the folder above it makes no endless tree.
        std::os::unix::fs::symlink("..", dir.path().join("a/b/up")).unwrap();
        assert!(matches!(open_folder(dir.path(), Limits::default()), Err(UnpackError::NoMachine)));
    }
}
