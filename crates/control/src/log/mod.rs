//! The command log: the audit log, the crash-recovery log and the input of a replay at once.
//!
//! One SQLite file, written by one thread. A batch of records and the jobs that left the state with it go to
//! disk in one transaction; with the write-ahead log and full syncing, what was answered survives a loss of
//! power. Each record carries a sum chained over all records before it, so that a damaged or missing one is found
//! where it is, and not by what it leads to.

mod archive;
mod error;
mod forget;
mod schema;
mod token;

pub use archive::{Filter, Reader};
pub use error::LogError;
pub use token::Token;

use cluster::{Batch, Command};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use sha2::{Digest, Sha256};
use spec::Time;
use std::path::{Path, PathBuf};

/// The file below the state folder.
pub const FILE_NAME: &str = "log.db";

/// A state is written out after so many records, so that a start replays few. With more live jobs than this it
/// waits for as many records as there are jobs: the cost of a record stays the same however long the queue is.
const CHECKPOINT_EVERY: u64 = 1000;

/// States kept: if the newest is damaged, an older one and more records do as well.
const CHECKPOINTS_KEPT: u32 = 3;

type Sum = [u8; 16];

pub struct Log {
    db: Connection,
    path: PathBuf,
    /// Number and chained sum of the newest record; 0 and zeros before the first.
    seq: u64,
    chain: Sum,
    checkpointed: u64,
    /// The newest record when a state could not be saved last: not tried again until as many more are there.
    postponed: u64,
}

/// What is found at a start.
#[derive(Debug)]
pub struct Recovered<S> {
    pub state: S,
    /// Time of the newest record.
    pub last: Time,
    pub replayed: u64,
    /// What was damaged and set aside, in words; nothing is dropped in silence.
    pub damage: Vec<String>,
}

/// Why a saved state is of no use.
#[derive(Debug)]
pub enum Unusable {
    Damaged(String),
    /// A newer release wrote it, in this format; and the newest one that we know.
    TooNew {
        found: u32,
        ours: u32,
    },
}

/// How a state is made from what is on disk.
pub trait Replay: Sized {
    fn fresh() -> Self;
    fn parse(text: &str) -> Result<Self, Unusable>;
    fn replay(&mut self, command: &Command) -> Result<(), String>;
}

impl Log {
    /// Opens or makes the database in the folder and brings its layout up to date.
    ///
    /// # Errors
    /// [`LogError`] for a folder that cannot be written, a full disk, a damaged file or one of a newer release.
    pub fn open(dir: &Path) -> Result<Log, LogError> {
        let path = dir.join(FILE_NAME);
        private(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut db = Connection::open_with_flags(&path, flags).map_err(|error| LogError::sqlite(&path, error))?;
        configure(&db).map_err(|error| LogError::sqlite(&path, error))?;
        schema::migrate(&mut db, &path)?;
        Ok(Log { db, path, seq: 0, chain: [0; 16], checkpointed: 0, postponed: 0 })
    }

    /// Loads the newest good state and applies the records after it. Must come before the first write.
    ///
    /// # Errors
    /// [`LogError::DamagedMiddle`] for a damaged record that others follow. A damaged last one is set aside.
    pub fn recover<S: Replay>(&mut self) -> Result<Recovered<S>, LogError> {
        let mut damage = Vec::new();
        let (mut state, seq, chain) = self.newest_state::<S>(&mut damage)?;
        (self.seq, self.chain, self.checkpointed) = (seq, chain, seq);
        let mut bad = None;
        {
            let fail = |error| LogError::sqlite(&self.path, error);
            let mut rows = self.db.prepare("SELECT seq, at, record, sum FROM log WHERE seq > ?1 ORDER BY seq").map_err(fail)?;
            let mut rows = rows.query(params![seq as i64]).map_err(fail)?;
            while let Some(row) = rows.next().map_err(fail)? {
                let number = row.get::<_, i64>(0).map_err(fail)? as u64;
                if bad.is_some() {
                    return Err(LogError::DamagedMiddle { path: self.path.clone(), seq: self.seq + 1 });
                }
                match verified(row, number, self.seq, &self.chain) {
                    Some((text, sum)) => {
                        let replayed = serde_json::from_str(&text)
                            .map_err(|error| error.to_string())
                            .and_then(|command: Command| state.replay(&command));
                        replayed.map_err(|why| LogError::Replay { path: self.path.clone(), seq: number, why })?;
                        (self.seq, self.chain) = (number, sum);
                    }
                    None => bad = Some(number),
                }
            }
        }
        if let Some(number) = bad {
            if number != self.seq + 1 {
                return Err(LogError::DamagedMiddle { path: self.path.clone(), seq: self.seq + 1 });
            }
            self.set_aside(number)?;
            damage
                .push(format!("record {number}, the last one, was damaged; what it said is lost and it was moved to the table 'damaged'"));
        }
        let last = self.newest_time()?;
        Ok(Recovered { state, last, replayed: self.seq - seq, damage })
    }

    /// Newest good checkpoint, or a fresh state. Damaged checkpoints are named in `damage`.
    fn newest_state<S: Replay>(&self, damage: &mut Vec<String>) -> Result<(S, u64, Sum), LogError> {
        let fail = |error| LogError::sqlite(&self.path, error);
        let mut rows = self.db.prepare("SELECT seq, chain, state, sum FROM checkpoint ORDER BY seq DESC").map_err(fail)?;
        let mut rows = rows.query([]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let seq = row.get::<_, i64>(0).map_err(fail)? as u64;
            let good = match (blob(row, 1), row.get_ref(2).ok().and_then(|text| text.as_str().ok()), blob(row, 3)) {
                (Some(chain), Some(text), Some(sum)) if checkpoint_sum(seq, &chain, text) == sum => {
                    S::parse(text).map(|state| (state, chain))
                }
                _ => Err(Unusable::Damaged("its sum does not match".into())),
            };
            match good {
                Ok((state, chain)) => return Ok((state, seq, chain)),
                // The records after an older one may hold words that we do not know: nothing to fall back to.
                Err(Unusable::TooNew { found, ours }) => {
                    return Err(LogError::Version { path: self.path.clone(), found: format!("{found} of saved states"), ours });
                }
                Err(Unusable::Damaged(why)) => {
                    damage.push(format!("the state saved at record {seq} cannot be used ({why}); an older one and more records were"))
                }
            }
        }
        Ok((S::fresh(), 0, [0; 16]))
    }

    fn set_aside(&mut self, seq: u64) -> Result<(), LogError> {
        let fail = |error| LogError::sqlite(&self.path, error);
        let change = self.db.transaction().map_err(fail)?;
        change
            .execute(
                "INSERT INTO damaged (seq, at, kind, record, sum, found)
                 SELECT seq, at, kind, record, sum, 'sum does not match' FROM log WHERE seq = ?1",
                params![seq as i64],
            )
            .map_err(fail)?;
        change.execute("DELETE FROM log WHERE seq = ?1", params![seq as i64]).map_err(fail)?;
        change.commit().map_err(fail)
    }

    fn newest_time(&self) -> Result<Time, LogError> {
        let at: Option<i64> = self
            .db
            .query_row("SELECT at FROM log ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))
            .optional()
            .map_err(|error| LogError::sqlite(&self.path, error))?;
        Ok(Time(at.unwrap_or(0).max(0) as u64))
    }

    /// Writes the records of the batch, the jobs that ended with them, and takes out those they forget, in one
    /// transaction. When this returns it survives a loss of power; when it fails nothing of it is there, or all: load
    /// again to see.
    pub fn commit_batch(&mut self, batch: &Batch) -> Result<(), LogError> {
        let (seq, chain) = self.write(batch).map_err(|error| LogError::sqlite(&self.path, error))?;
        (self.seq, self.chain) = (seq, chain);
        Ok(())
    }

    #[cfg(test)]
    pub fn commit(&mut self, records: &[Command], ended: &[cluster::Job]) -> Result<(), LogError> {
        self.commit_batch(&Batch { records: records.to_vec(), archived: ended.to_vec(), ..Batch::default() })
    }

    fn write(&mut self, batch: &Batch) -> rusqlite::Result<(u64, Sum)> {
        let (mut seq, mut chain) = (self.seq, self.chain);
        let change = self.db.transaction()?;
        {
            let mut insert = change.prepare_cached("INSERT INTO log (seq, at, kind, record, sum) VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for command in &batch.records {
                let (kind, at) = label(command);
                let text = serde_json::to_string(command).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
                seq += 1;
                chain = record_sum(&chain, seq, at, &text);
                insert.execute(params![seq as i64, at.0 as i64, kind, text, chain])?;
            }
            let given = batch.records.iter().filter_map(|command| match command {
                Command::Submit { number, .. } => Some(*number),
                _ => None,
            });
            let newest = given.max();
            if let Some(newest) = newest {
                change
                    .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('newest_number', ?1)")?
                    .execute(params![newest.to_string()])?;
            }
            for job in &batch.archived {
                archive::insert(&change, job)?;
            }
            forget::remove(&change, &batch.forgotten)?;
        }
        change.commit()?;
        Ok((seq, chain))
    }

    /// Whether a checkpoint is due, with so many live jobs.
    pub fn checkpoint_due(&self, live_jobs: usize) -> bool {
        self.seq - self.checkpointed.max(self.postponed) >= CHECKPOINT_EVERY.max(live_jobs as u64)
    }

    /// Saves the state after the newest record. Skipped when the newest saved one is of the same record.
    pub fn checkpoint(&mut self, state: &impl serde::Serialize) -> Result<(), LogError> {
        if self.seq == self.checkpointed {
            return Ok(());
        }
        self.postponed = self.seq;
        let text =
            serde_json::to_string(state).map_err(|error| LogError::Io { path: self.path.clone(), source: std::io::Error::other(error) })?;
        let fail = |error| LogError::sqlite(&self.path, error);
        let change = self.db.transaction().map_err(fail)?;
        let sum = checkpoint_sum(self.seq, &self.chain, &text);
        change
            .execute(
                "INSERT OR REPLACE INTO checkpoint (seq, chain, state, sum) VALUES (?1, ?2, ?3, ?4)",
                params![self.seq as i64, self.chain, text, sum],
            )
            .map_err(fail)?;
        change
            .execute(
                "DELETE FROM checkpoint WHERE seq NOT IN (SELECT seq FROM checkpoint ORDER BY seq DESC LIMIT ?1)",
                params![CHECKPOINTS_KEPT],
            )
            .map_err(fail)?;
        change.commit().map_err(fail)?;
        self.checkpointed = self.seq;
        Ok(())
    }

    /// Whether a write would succeed now: writes something small and syncs it.
    pub fn probe(&mut self) -> Result<(), LogError> {
        self.db
            .execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('probe', ?1)", params![self.seq.to_string()])
            .map(drop)
            .map_err(|error| LogError::sqlite(&self.path, error))
    }

    /// Jobs of the archive with this number, with how they ended: a job of its own, or tasks of an array.
    pub fn archived_states(&self, number: u64) -> Result<Vec<(spec::JobId, cluster::JobState)>, LogError> {
        archive::states(&self.db, number).map_err(|error| LogError::sqlite(&self.path, error))
    }

    /// The highest job number that was ever given, whatever became of the record of it.
    pub fn newest_number(&self) -> Result<u64, LogError> {
        let fail = |error| LogError::sqlite(&self.path, error);
        let given: Option<String> =
            self.db.query_row("SELECT value FROM meta WHERE key = 'newest_number'", [], |row| row.get(0)).optional().map_err(fail)?;
        let archived: Option<i64> = self.db.query_row("SELECT max(number) FROM archive", [], |row| row.get(0)).map_err(fail)?;
        let given = given.and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(given.max(archived.unwrap_or(0).max(0) as u64))
    }

    /// Takes jobs out of the archive that are live after all, because the record of their end was damaged.
    pub fn unarchive(&mut self, live: impl Iterator<Item = spec::JobId>) -> Result<(), LogError> {
        archive::remove(&mut self.db, live).map_err(|error| LogError::sqlite(&self.path, error))
    }

    /// Number of the newest record.
    #[cfg(test)]
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

/// The log holds everybody's job files: for the daemon's user only.
fn private(path: &Path) -> Result<(), LogError> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let made = match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // Never opened here: closing it would drop every lock this process has on it, those of SQLite too.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => rustix::fs::access(path, rustix::fs::Access::WRITE_OK)
            .map_err(std::io::Error::from)
            .and_then(|()| std::fs::metadata(path))
            .and_then(|found| match found.permissions().mode() & 0o077 {
                0 => Ok(()),
                _ => std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)),
            }),
        made => made.map(drop),
    };
    made.map_err(|source| match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => LogError::DiskFull { path: path.to_owned() },
        std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
            LogError::ReadOnly { path: path.to_owned(), why: source.to_string() }
        }
        _ => LogError::Io { path: path.to_owned(), source },
    })
}

fn configure(db: &Connection) -> rusqlite::Result<()> {
    // Read by the first pragma: waits for a background reader that just ends its check, never for long.
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    // Only a database without tables takes this.
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    db.pragma_update(None, "cache_size", -4096)?;
    Ok(())
}

/// Looks for structural damage in the whole file. Takes about a second per gigabyte, so it belongs in the background.
///
/// # Errors
/// The first problem found.
pub fn quick_check(dir: &Path) -> Result<(), LogError> {
    let path = dir.join(FILE_NAME);
    let fail = |error| LogError::sqlite(&path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(&path, flags).map_err(fail)?;
    db.pragma_update(None, "cache_size", -1024).map_err(fail)?;
    let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(fail)?;
    if found == "ok" { Ok(()) } else { Err(LogError::Corrupt { path, why: found }) }
}

/// The record's text and sum, where number and sum continue the chain.
fn verified(row: &rusqlite::Row<'_>, seq: u64, before: u64, chain: &Sum) -> Option<(String, Sum)> {
    let at = Time(u64::try_from(row.get::<_, i64>(1).ok()?).ok()?);
    let text: String = row.get(2).ok()?;
    let sum = blob(row, 3)?;
    (seq == before + 1 && record_sum(chain, seq, at, &text) == sum).then_some((text, sum))
}

fn blob(row: &rusqlite::Row<'_>, index: usize) -> Option<Sum> {
    row.get_ref(index).ok()?.as_blob().ok()?.try_into().ok()
}

/// The first half of SHA-256: damage is what it must find, and nobody forges against themselves.
fn half(hash: Sha256) -> Sum {
    let whole: [u8; 32] = hash.finalize().into();
    let mut sum = [0; 16];
    sum.copy_from_slice(&whole[..16]);
    sum
}

fn record_sum(chain: &Sum, seq: u64, at: Time, text: &str) -> Sum {
    half(Sha256::new().chain_update(chain).chain_update(seq.to_be_bytes()).chain_update(at.0.to_be_bytes()).chain_update(text))
}

fn checkpoint_sum(seq: u64, chain: &Sum, text: &str) -> Sum {
    half(Sha256::new().chain_update(b"checkpoint").chain_update(seq.to_be_bytes()).chain_update(chain).chain_update(text))
}

/// Kind and time of a record, for people who read the table.
fn label(command: &Command) -> (&'static str, Time) {
    match command {
        Command::Submit { at, .. } => ("submit", *at),
        Command::Cancel { at, .. } => ("cancel", *at),
        Command::Join { at, .. } => ("join", *at),
        Command::Leave { at, .. } => ("leave", *at),
        Command::Queues { at, .. } => ("queues", *at),
        Command::Adopt { at, .. } => ("adopt", *at),
        Command::Observe { at, .. } => ("observe", *at),
        Command::Wake { at } => ("wake", *at),
        Command::Forget { at, .. } => ("forget", *at),
    }
}

#[cfg(test)]
mod tests;
