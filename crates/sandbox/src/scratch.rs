//! Room on disk for one run.
//!
//! Folders that a run left empty wait below a spare folder for the next run of the same person: making and removing
//! inodes by the hundred a second is what file systems do worst (ext4 steps over every inode that was freed in the last
//! minutes, one by one, for each new one).

use crate::sys;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Scratch directories of the run on disk, made by the supervisor, seen as `/tmp` and `/var/tmp`.
#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    pub tmp: PathBuf,
    pub var_tmp: PathBuf,
    /// Both are in here, where nobody but the node can pass.
    pub closed: PathBuf,
}

impl Scratch {
    pub fn below(dir: &Path) -> Scratch {
        let closed = dir.join("scratch");
        Scratch { tmp: closed.join("tmp"), var_tmp: closed.join("var-tmp"), closed }
    }

    /// Makes them, for the person alone: whatever a program leaves there is nobody else's to read.
    pub fn make(dir: &Path, spare: Option<&Path>, uid: u32, gid: u32) -> io::Result<Scratch> {
        let scratch = Scratch::below(dir);
        if !spare.is_some_and(|spare| scratch.take_spare(&shelf(spare, uid, gid), uid)) {
            scratch.make_new(uid, gid)?;
        }
        Ok(scratch)
    }

    fn make_new(&self, uid: u32, gid: u32) -> io::Result<()> {
        for (path, mode) in [(&self.closed, 0o700), (&self.tmp, OPEN), (&self.var_tmp, OPEN)] {
            match fs::DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if mode == OPEN && sys::effective_uid() == 0 {
                std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
            }
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    /// Several supervisors may reach for the same one; the rename decides.
    fn take_spare(&self, shelf: &Path, uid: u32) -> bool {
        let Ok(waiting) = fs::read_dir(shelf) else { return false };
        waiting.flatten().take(8).any(|entry| {
            if fs::rename(entry.path(), &self.closed).is_err() {
                return false;
            }
            let good = [&self.tmp, &self.var_tmp].into_iter().all(|path| {
                let own = fs::symlink_metadata(path).is_ok_and(|data| data.is_dir() && data.uid() == uid);
                // The person may have changed it from within the run before, or filled it since through a descriptor of it.
                own && is_empty(path) && fs::set_permissions(path, fs::Permissions::from_mode(OPEN)).is_ok()
            });
            good || crate::removal::remove_tree(&self.closed).is_err()
        })
    }

    /// Puts them away for the person's next run, if they are empty.
    pub fn give_back(&self, spare: &Path, name: &str) -> bool {
        let Ok(data) = fs::symlink_metadata(&self.tmp) else { return false };
        if !data.is_dir() || !is_empty(&self.tmp) || !is_empty(&self.var_tmp) {
            return false;
        }
        let shelf = shelf(spare, data.uid(), data.gid());
        let put = || fs::rename(&self.closed, shelf.join(name)).is_ok();
        put() || (fs::DirBuilder::new().mode(0o700).recursive(true).create(&shelf).is_ok() && put())
    }
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// Mode of a directory for temporary files.
const OPEN: u32 = 0o1777;

/// One for each person: a folder may carry what its owner set on it, such as default access lists.
fn shelf(spare: &Path, uid: u32, gid: u32) -> PathBuf {
    spare.join(format!("{uid}-{gid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_belongs_to_one_person() {
        let dir = tempfile::tempdir().unwrap();
        let own = (sys::effective_uid(), sys::effective_gid());
        let scratch = Scratch::make(dir.path(), None, own.0, own.1).unwrap();
        assert_eq!(fs::metadata(&scratch.tmp).unwrap().mode() & 0o7777, 0o1777);
        assert_eq!(fs::metadata(&scratch.closed).unwrap().mode() & 0o7777, 0o700);
        assert!(Scratch::make(dir.path(), None, own.0, own.1).is_ok());
    }

    #[test]
    fn what_was_left_empty_is_used_again_by_the_same_person_only() {
        let place = tempfile::tempdir().unwrap();
        let (uid, gid) = (sys::effective_uid(), sys::effective_gid());
        let spare = place.path().join("spare");
        let run = |name: &str| {
            let dir = place.path().join(name);
            fs::create_dir(&dir).unwrap();
            dir
        };
        let inode = |scratch: &Scratch| fs::metadata(&scratch.tmp).unwrap().ino();
        let first = Scratch::make(&run("1"), Some(&spare), uid, gid).unwrap();
        let made = inode(&first);
        fs::set_permissions(&first.tmp, fs::Permissions::from_mode(0o000)).unwrap();
        assert!(first.give_back(&spare, "1") && !first.closed.exists());
        let second = Scratch::make(&run("2"), Some(&spare), uid, gid).unwrap();
        assert_eq!(inode(&second), made);
        assert_eq!(fs::metadata(&second.tmp).unwrap().mode() & 0o7777, 0o1777);
        fs::write(second.tmp.join("left"), "").unwrap();
        assert!(!second.give_back(&spare, "2") && second.closed.exists());
        assert!(!Scratch::below(&run("3")).take_spare(&shelf(&spare, uid + 1, gid), uid + 1));
        // One that was filled while it waited is not used again, and goes.
        fs::remove_file(second.tmp.join("left")).unwrap();
        assert!(second.give_back(&spare, "2"));
        let waiting = shelf(&spare, uid, gid).join("2");
        fs::write(waiting.join("tmp/x"), "").unwrap();
        let fourth = Scratch::make(&run("4"), Some(&spare), uid, gid).unwrap();
        assert!(is_empty(&fourth.tmp) && !waiting.exists());
    }
}
