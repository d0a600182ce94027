//! Who supervises a run, as the kernel knows it.
//!
//! A POSIX record lock belongs to one process: children that it forks do not inherit it, it goes with the process
//! however that dies, and the kernel names its holder. So the answer to "is the supervisor alive, and which
//! process is it" is never a guess from a number in a file.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Held until the value is dropped, or the process ends. Closing *any* handle this process has on the file gives
/// the lock up, so a supervisor opens the file once.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// What the locked file says. Opened a second time it would be unlocked when that is closed.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut text = vec![];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut text)?;
        Ok(text)
    }
}

fn whole_file() -> libc::flock {
    libc::flock { l_type: libc::F_WRLCK as libc::c_short, l_whence: libc::SEEK_SET as libc::c_short, l_start: 0, l_len: 0, l_pid: 0 }
}

/// `None` when another process holds it. The file must be there.
pub fn take(path: &Path) -> io::Result<Option<Lock>> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    match fcntl(&file, FcntlArg::F_SETLK(&whole_file())) {
        Ok(_) => Ok(Some(Lock { file })),
        Err(Errno::EACCES | Errno::EAGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The process that holds the lock now; `None` when nobody does, or there is no such file. An error says that it
/// cannot be told, which is not the same.
pub fn holder(path: &Path) -> io::Result<Option<i32>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut asked = whole_file();
    asked.l_type = libc::F_RDLCK as libc::c_short;
    fcntl(&file, FcntlArg::F_GETLK(&mut asked))?;
    Ok((asked.l_type != libc::F_UNLCK as libc::c_short && asked.l_pid > 0).then_some(asked.l_pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_holds_a_lock_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(&dir.path().join("lock")).unwrap(), None);
        assert!(take(&dir.path().join("lock")).is_err());
        std::fs::write(dir.path().join("lock"), "said").unwrap();
        let lock = take(&dir.path().join("lock")).unwrap().unwrap();
        assert_eq!(lock.read().unwrap(), b"said");
        // One's own lock is invisible to oneself; what another process sees is tested end to end.
        assert_eq!(holder(&dir.path().join("lock")).unwrap(), None);
    }
}
