//! The kernel's own log, record by record as `/dev/kmsg` gives it (Documentation/ABI/testing/dev-kmsg).

use crate::Root;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Where a capture keeps it.
pub const LOG: &str = "ashlar/kernel.log";
/// A record of the kernel is shorter than this (CONSOLE_EXT_LOG_MAX of linux/printk.h).
const RECORD: usize = 16 << 10;
/// A log that grows faster than it is read is left for the next time: more than any kernel's buffer holds.
const MOST_RECORDS: usize = 1 << 20;

/// Reads the log from its beginning on, and later what was added to it.
pub struct KernelLog {
    source: Source,
}

enum Source {
    Running(OwnedFd),
    /// Read once.
    Captured(Option<String>),
}

impl KernelLog {
    /// # Errors
    /// Why there is none for this person: "Operation not permitted" where only root may read it.
    pub fn open(root: &Root) -> Result<KernelLog, String> {
        if !root.is_live() {
            let text = root.text(LOG).ok_or_else(|| "the capture holds none".to_owned())?;
            return Ok(KernelLog { source: Source::Captured(Some(text)) });
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open("/dev/kmsg", flags, Mode::empty()).map_err(|errno| std::io::Error::from(errno).to_string())?;
        Ok(KernelLog { source: Source::Running(file) })
    }

    /// Gives every line that is new. Never waits for one.
    ///
    /// # Errors
    /// When the kernel refuses to read on.
    pub fn read(&mut self, mut line: impl FnMut(&str)) -> Result<(), String> {
        let file = match &mut self.source {
            Source::Captured(text) => {
                text.take().iter().flat_map(|text| text.lines()).for_each(line);
                return Ok(());
            }
            Source::Running(file) => file,
        };
        let mut record = [0u8; RECORD];
        for _ in 0..MOST_RECORDS {
            match rustix::io::read(&*file, &mut record) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(count) => String::from_utf8_lossy(&record[..count]).lines().for_each(&mut line),
                // Records were overwritten while we read, or we were interrupted.
                Err(Errno::PIPE | Errno::INTR) => {}
                Err(errno) => return Err(std::io::Error::from(errno).to_string()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_log_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert!(KernelLog::open(&root).is_err());
        std::fs::create_dir(dir.path().join("ashlar")).unwrap();
        std::fs::write(dir.path().join(LOG), "6,1,0,-;one\n6,2,0,-;two\n more\n").unwrap();
        let mut log = KernelLog::open(&root).unwrap();
        let mut lines = Vec::new();
        log.read(|line| lines.push(line.to_owned())).unwrap();
        log.read(|line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["6,1,0,-;one", "6,2,0,-;two", " more"]);
    }

    #[test]
    fn what_is_added_to_the_running_log_is_read_without_the_rest() {
        let Ok(mut log) = KernelLog::open(&Root::live()) else { return eprintln!("skipped: this user may not read the kernel's log") };
        log.read(|_| {}).unwrap();
        // Without the end of the line the kernel keeps the record open for more.
        let mark = format!("ashlar test {}", std::process::id());
        if std::fs::write("/dev/kmsg", format!("{mark}\n")).is_err() {
            return eprintln!("skipped: this user may not write to the kernel's log");
        }
        let mut lines = Vec::new();
        log.read(|line| lines.push(line.to_owned())).unwrap();
        assert!(lines.iter().any(|line| line.ends_with(&mark)), "{lines:?}");
    }
}
