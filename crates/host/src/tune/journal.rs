//! The journal of transactions: one file each, one JSON record a line, every record on disk before the next step.

use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Transactions that are remembered; the oldest that are over are forgotten.
const MOST_KEPT: usize = 200;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the journal {} cannot be read: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("another `ashlar tune` is at work")]
    Busy,
}

impl JournalError {
    pub fn hint(&self) -> Option<String> {
        match self {
            JournalError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run it as root, or name another folder with --state".into())
            }
            JournalError::Damaged { path, .. } => Some(format!("look into it; when it is of no use, move {} away", path.display())),
            _ => None,
        }
    }
}

/// One file and what is written to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Who wants it: the name of a rule.
    pub rule: String,
    /// Below the root, without a leading `/`.
    pub path: String,
    /// `None`: the file is not there.
    pub old: Option<String>,
    pub new: Option<String>,
    pub target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A value of the kernel, gone at the next start.
    Kernel,
    /// An ordinary file, which stays.
    File,
}

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    Begin {
        about: String,
        boot: String,
        writes: Vec<Write>,
    },
    /// The write of this place in the list comes next.
    Writing {
        write: usize,
    },
    Kept,
    Undoing,
    Undone {
        why: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Cut off: what was written has to be put back.
    Open,
    Kept,
    /// Cut off while it was put back.
    Undoing,
    Undone,
}

/// One transaction as its journal tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub id: u32,
    pub about: String,
    pub boot: String,
    pub writes: Vec<Write>,
    pub state: State,
    begun: Vec<usize>,
}

impl Transaction {
    /// Places in the list whose write was begun, in order.
    pub fn begun(&self) -> Vec<usize> {
        if self.state == State::Undoing { (0..self.writes.len()).collect() } else { self.begun.clone() }
    }
}

/// A folder of journals, held by one process at a time.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    _lock: File,
}

impl Journal {
    /// Makes the folder where it is not there.
    ///
    /// # Errors
    /// When it cannot be made, or another process holds it.
    pub fn open(dir: &Path) -> Result<Journal, JournalError> {
        let io = |source| JournalError::Io { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(io)?;
        let lock = OpenOptions::new().create(true).append(true).open(dir.join("lock")).map_err(io)?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Journal { dir: dir.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::Busy),
            Err(error) => Err(io(error.into())),
        }
    }

    fn path(&self, id: u32) -> PathBuf {
        self.dir.join(format!("{id}.jsonl"))
    }

    fn ids(&self) -> Result<Vec<u32>, JournalError> {
        let entries = fs::read_dir(&self.dir).map_err(|source| JournalError::Io { path: self.dir.clone(), source })?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut ids: Vec<u32> = names.filter_map(|name| name.strip_suffix(".jsonl")?.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// A new transaction; gives its number.
    ///
    /// # Errors
    /// When it cannot be forced to disk.
    pub fn begin(&self, record: &Record) -> Result<u32, JournalError> {
        let ids = self.ids()?;
        for old in ids.iter().rev().skip(MOST_KEPT) {
            if self.transaction(*old)?.is_some_and(|one| one.state == State::Undone) {
                let _ = fs::remove_file(self.path(*old));
            }
        }
        let id = ids.last().copied().unwrap_or(0) + 1;
        self.append(id, record)?;
        let dir = File::open(&self.dir).and_then(|dir| dir.sync_all());
        dir.map_err(|source| JournalError::Io { path: self.dir.clone(), source })?;
        Ok(id)
    }

    /// One more record, on disk when this comes back.
    ///
    /// # Errors
    /// When it cannot be forced to disk.
    pub fn append(&self, id: u32, record: &Record) -> Result<(), JournalError> {
        let path = self.path(id);
        let line = serde_json::to_string(record).map_err(|error| JournalError::Damaged { path: path.clone(), why: error.to_string() })?;
        let write = || {
            let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path)?;
            // A line that was cut off is taken away, or the next one would hang on it.
            let mut text = vec![];
            file.read_to_end(&mut text)?;
            if !text.is_empty() && !text.ends_with(b"\n") {
                let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                file.set_len(whole as u64)?;
            }
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| JournalError::Io { path: path.clone(), source })
    }

    /// Every transaction, by number.
    ///
    /// # Errors
    /// When a journal cannot be read, or has a line in its middle that is none of ours.
    pub fn read(&self) -> Result<Vec<Transaction>, JournalError> {
        let mut all = vec![];
        for id in self.ids()? {
            all.extend(self.transaction(id)?);
        }
        Ok(all)
    }

    /// `None` for one that was cut off before its first record was whole: it has written nothing.
    fn transaction(&self, id: u32) -> Result<Option<Transaction>, JournalError> {
        let path = self.path(id);
        let text = fs::read(&path).map_err(|source| JournalError::Io { path: path.clone(), source })?;
        let text = String::from_utf8_lossy(&text);
        // A last line without its end was cut off, and the step it announces was not taken.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut found: Option<Transaction> = None;
        for line in whole.lines() {
            let record =
                serde_json::from_str(line).map_err(|error| JournalError::Damaged { path: path.clone(), why: error.to_string() })?;
            match (record, &mut found) {
                (Record::Begin { about, boot, writes }, None) => {
                    found = Some(Transaction { id, about, boot, writes, state: State::Open, begun: vec![] });
                }
                (Record::Writing { write }, Some(one)) => one.begun.push(write),
                (Record::Kept, Some(one)) => one.state = State::Kept,
                (Record::Undoing, Some(one)) => one.state = State::Undoing,
                (Record::Undone { .. }, Some(one)) => one.state = State::Undone,
                _ => return Err(JournalError::Damaged { path, why: format!("'{line}' is out of place") }),
            }
        }
        Ok(found)
    }
}
