//! The one way in which a tree is written to: for [`crate::tune`].

use super::Root;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

impl Root {
    /// A file with this text, or none, at once and on disk: whoever looks finds the old or the new one. A folder that is missing
    /// is made. In a captured tree no link leads out of it.
    ///
    /// # Errors
    /// As the kernel says.
    pub(crate) fn replace(&self, path: &str, text: Option<&str>) -> io::Result<()> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Some(text) = text else {
            let Ok(folder) = self.open(folder, OFlags::DIRECTORY) else { return Ok(()) };
            return match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
                Ok(()) => Ok(rustix::fs::fsync(&folder)?),
                Err(Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            };
        };
        let folder = self.folder_to_write(folder)?;
        // No reader of these folders takes names that begin with a dot for its own.
        let beside = format!(".{name}.ashlar");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = std::fs::File::from(rustix::fs::openat(&folder, &*beside, flags, Mode::from_raw_mode(0o644))?);
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        rustix::fs::renameat(&folder, &*beside, &folder, name)?;
        Ok(rustix::fs::fsync(&folder)?)
    }

    fn folder_to_write(&self, folder: &str) -> io::Result<OwnedFd> {
        match self.open(folder, OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {
                let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
                let above = self.open(above, OFlags::DIRECTORY)?;
                match rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => Ok(self.open(folder, OFlags::DIRECTORY)?),
                    Err(error) => Err(error.into()),
                }
            }
            answer => Ok(answer?),
        }
    }
}
