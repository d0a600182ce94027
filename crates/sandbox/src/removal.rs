//! Removing what a run left, whatever shape it gave it.

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Directories that are open at once. Deeper ones are moved up first: a person may nest them far deeper than a stack or
/// a table of descriptors goes.
const DEPTH: usize = 32;

/// Removes a directory and all below it, following no links. What is not there counts as removed.
///
/// # Errors
/// The first thing that cannot be removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let root = match open(rustix::fs::CWD, path) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut moved = 0u64;
    // Each pass empties all that lies at most DEPTH deep and brings up what is deeper.
    while empty(&root, &mut moved)? {}
    Ok(rustix::fs::unlinkat(rustix::fs::CWD, path, AtFlags::REMOVEDIR)?)
}

fn open<P: rustix::path::Arg>(parent: impl AsFd, name: P) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Whether something was moved up to `root` and is still there.
fn empty(root: &OwnedFd, moved: &mut u64) -> io::Result<bool> {
    let mut brought_up = false;
    let mut stack: Vec<(OwnedFd, CString, Vec<CString>)> = vec![(root.try_clone()?, CString::default(), names(root)?)];
    while let Some((directory, _, left)) = stack.last_mut() {
        let Some(name) = left.pop() else {
            let Some((_, name, _)) = stack.pop() else { break };
            if let Some((parent, ..)) = stack.last() {
                rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR)?;
            }
            continue;
        };
        match rustix::fs::unlinkat(&*directory, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            // Linux says the first of a directory, other file systems the second.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        if stack.len() < DEPTH {
            let (directory, ..) = &stack[stack.len() - 1];
            let child = open(directory, &name)?;
            let inside = names(&child)?;
            stack.push((child, name, inside));
        } else {
            let (directory, ..) = &stack[stack.len() - 1];
            *moved += 1;
            rustix::fs::renameat(directory, &name, root, format!(".deep-{moved}"))?;
            brought_up = true;
        }
    }
    Ok(brought_up)
}

fn names(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let entries = Dir::read_from(directory)?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    Ok(names.filter(|name| !matches!(name.as_ref().map(|name| name.to_bytes()), Ok(b"." | b".."))).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_directories_deeper_than_any_stack_goes() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("left");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(place.path().join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(place.path().join("kept"), root.join("link")).unwrap();
        let mut here = open(rustix::fs::CWD, &root).unwrap();
        for depth in 0..5000 {
            if depth % 100 == 0 {
                rustix::fs::mkdirat(&here, "beside", Mode::from_raw_mode(0o755)).unwrap();
            }
            rustix::fs::mkdirat(&here, "a", Mode::from_raw_mode(0o755)).unwrap();
            here = open(&here, "a").unwrap();
        }
        remove_tree(&root).unwrap();
        assert!(!root.exists() && place.path().join("kept").exists());
        remove_tree(&root).unwrap();
    }
}
