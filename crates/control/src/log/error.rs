//! What can go wrong with the database, in words for a person.

use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the disk of {} is full", path.display())]
    DiskFull { path: PathBuf },
    #[error("{} cannot be written: {why}", path.display())]
    ReadOnly { path: PathBuf, why: String },
    #[error("{} is damaged: {why}", path.display())]
    Corrupt { path: PathBuf, why: String },
    #[error("record {seq} of {} is damaged, and there are good ones after it", path.display())]
    DamagedMiddle { path: PathBuf, seq: u64 },
    #[error("record {seq} of {} cannot be applied: {why}", path.display())]
    Replay { path: PathBuf, seq: u64, why: String },
    #[error("{} has layout {found}, this program knows {ours}", path.display())]
    Version { path: PathBuf, found: String, ours: u32 },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
}

impl LogError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            LogError::DiskFull { .. } => Some("make room; the node goes on by itself, and running jobs are not touched".into()),
            LogError::ReadOnly { .. } => {
                Some("remount the file system writable, give the folder to the user of the node, or choose another with --state DIR".into())
            }
            LogError::Corrupt { path, .. } => Some(format!(
                "check the disk; keep a copy of {0}*, then try `sqlite3 {0} .recover`, or restore it from a backup",
                path.display()
            )),
            LogError::DamagedMiddle { path, seq } => Some(format!(
                "what followed cannot be trusted without it. Keep a copy of {0}*, check the disk, and restore a backup; \
                 or give up everything from record {seq} on: sqlite3 {0} 'DELETE FROM log WHERE seq >= {seq}'",
                path.display()
            )),
            LogError::Replay { .. } => {
                Some("this is our fault; please report it with a copy of the file, and start the release before".into())
            }
            LogError::Version { .. } => Some("a newer release has written it; start that release, or another state folder".into()),
            LogError::Io { .. } | LogError::Sqlite { .. } => None,
        }
    }

    /// Sorts SQLite's errors by what a person has to do.
    pub fn sqlite(path: &Path, source: rusqlite::Error) -> LogError {
        let path = path.to_owned();
        let why = || source.to_string();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => LogError::DiskFull { path },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => LogError::ReadOnly { path, why: why() },
            Some(ErrorCode::CannotOpen) => LogError::ReadOnly { path, why: why() },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => LogError::Corrupt { path, why: why() },
            _ => LogError::Sqlite { path, source },
        }
    }

    /// Whether waiting (for space, for a remount) may help.
    pub fn may_pass(&self) -> bool {
        matches!(self, LogError::DiskFull { .. } | LogError::ReadOnly { .. } | LogError::Io { .. } | LogError::Sqlite { .. })
    }
}
