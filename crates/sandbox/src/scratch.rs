//! Room on disk for one run.

use crate::sys;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Scratch directories of the run on disk, made by the supervisor, seen as `/tmp` and `/var/tmp`.
pub(crate) struct Scratch {
    pub tmp: PathBuf,
    pub var_tmp: PathBuf,
}

impl Scratch {
    pub fn below(dir: &Path) -> Scratch {
        Scratch { tmp: dir.join("scratch/tmp"), var_tmp: dir.join("scratch/var-tmp") }
    }

    /// Makes them, for the person alone: whatever a program leaves there is nobody else's to read.
    pub fn make(dir: &Path, uid: u32, gid: u32) -> io::Result<Scratch> {
        let scratch = Scratch::below(dir);
        for (path, mode) in [(&dir.join("scratch"), 0o700), (&scratch.tmp, 0o1777), (&scratch.var_tmp, 0o1777)] {
            match fs::DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            if sys::effective_uid() == 0 {
                std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
            }
        }
        Ok(scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn scratch_belongs_to_one_person() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(dir.path(), sys::effective_uid(), sys::effective_gid()).unwrap();
        assert_eq!(fs::metadata(&scratch.tmp).unwrap().mode() & 0o7777, 0o1777);
        assert_eq!(fs::metadata(dir.path().join("scratch")).unwrap().mode() & 0o7777, 0o700);
        assert!(Scratch::make(dir.path(), sys::effective_uid(), sys::effective_gid()).is_ok());
    }
}
