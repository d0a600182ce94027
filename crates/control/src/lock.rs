//! One daemon for one state folder.
//!
//! The kernel's lock on an open file decides, never the pid in it: that is only for the message.

use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Held until dropped, or until the process ends however it ends.
#[derive(Debug)]
pub struct DirLock {
    file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{} is in use by another node{}", dir.display(), holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Held { dir: PathBuf, holder: Option<u32> },
    #[error("cannot write to {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl LockError {
    pub fn hint(&self) -> Option<String> {
        match self {
            LockError::Held { holder: Some(pid), .. } => {
                Some(format!("talk to that node, or stop it first (`kill {pid}`), or give this one its own folder with --state DIR"))
            }
            LockError::Held { holder: None, .. } => Some("give this node its own folder with --state DIR".into()),
            LockError::Io { source, .. } => Some(
                match source.kind() {
                    io::ErrorKind::ReadOnlyFilesystem => {
                        "the file system is mounted read-only; remount it, or choose another with --state DIR"
                    }
                    io::ErrorKind::PermissionDenied => "start the node as the owner of the folder, or choose another with --state DIR",
                    io::ErrorKind::StorageFull => "the disk is full; make room first",
                    _ => "see that the folder exists and can be written",
                }
                .into(),
            ),
        }
    }
}

impl DirLock {
    /// Makes the folder where it is missing.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process has it, [`LockError::Io`] when it cannot be written.
    pub fn take(dir: &Path) -> Result<DirLock, LockError> {
        let path = dir.join("lock");
        let io = |source| LockError::Io { path: path.clone(), source };
        std::fs::create_dir_all(dir).map_err(|source| LockError::Io { path: dir.to_owned(), source })?;
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
        // Whoever may read it could take the lock, and keep a node from starting.
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(io)?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io(error.into()));
            }
            let mut text = String::new();
            let holder = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(LockError::Held { dir: dir.to_owned(), holder });
        }
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
        Ok(DirLock { file })
    }
}

impl Drop for DirLock {
    /// Said, not left to the closing: a child between its fork and its exec has the file open too.
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_go_is_free_while_a_child_still_has_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::take(dir.path()).unwrap();
        let _of_a_child = lock.file.try_clone().unwrap();
        drop(lock);
        DirLock::take(dir.path()).unwrap();
    }

    #[test]
    fn the_second_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("made/below");
        let first = DirLock::take(&state).unwrap();
        let refused = DirLock::take(&state).unwrap_err();
        assert!(refused.to_string().contains(&format!("pid {}", std::process::id())), "{refused}");
        assert!(refused.hint().unwrap().contains("--state"));
        drop(first);
        DirLock::take(&state).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = DirLock::take(&file.path().join("state")).unwrap_err();
        assert!(matches!(refused, LockError::Io { .. }) && refused.to_string().contains("state"), "{refused}");
        assert!(refused.hint().is_some());
    }
}
