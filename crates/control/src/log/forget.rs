//! What leaves the database again: jobs that are remembered no longer, records that only they needed, and the pages
//! that held them.

use super::{Log, LogError, Reader, archive};
use rusqlite::{Connection, OptionalExtension, params};
use spec::Time;

/// Pages given back to the file system at a time, so that nobody waits for it: a page has 4 KiB.
const PAGES: u32 = 2000;

/// Takes jobs out of the archive, in the transaction of the record that says so.
pub(super) fn remove(db: &Connection, numbers: &[u64]) -> rusqlite::Result<()> {
    for number in numbers {
        for table in ["archive", "archive_record", "archive_spec"] {
            let sql = format!("DELETE FROM {table} WHERE number = ?1");
            db.prepare_cached(&sql)?.execute(params![*number as i64])?;
        }
    }
    Ok(())
}

impl Log {
    /// Drops records that were accepted before `before` and that no saved state needs, oldest first and `most` at
    /// most. Gives how many went; the newest record always stays.
    pub fn trim(&mut self, before: Time, most: usize) -> Result<usize, LogError> {
        let trimmed = trim(&self.db, before, most).map_err(|error| LogError::sqlite(&self.path, error))?;
        Ok(trimmed)
    }

    /// Gives unused pages back to the file system, some of them. A database of an earlier release keeps its size.
    pub fn shrink(&mut self) -> Result<(), LogError> {
        let shrunk = || -> rusqlite::Result<()> {
            let mut freed = self.db.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
            let mut rows = freed.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        };
        shrunk().map_err(|error| LogError::sqlite(&self.path, error))
    }
}

fn trim(db: &Connection, before: Time, most: usize) -> rusqlite::Result<usize> {
    // A start goes on from one of the saved states, at worst from the oldest.
    let needed: Option<i64> = db.query_row("SELECT MIN(seq) FROM checkpoint", [], |row| row.get(0))?;
    let newest: Option<i64> = db.query_row("SELECT MAX(seq) FROM log", [], |row| row.get(0))?;
    let (Some(needed), Some(newest)) = (needed, newest) else { return Ok(0) };
    let mut last = None;
    let mut rows = db.prepare_cached("SELECT seq, at FROM log ORDER BY seq LIMIT ?1")?;
    let mut rows = rows.query(params![most as i64])?;
    while let Some(row) = rows.next()? {
        let (seq, at): (i64, i64) = (row.get(0)?, row.get(1)?);
        if at as u64 >= before.0 || seq > needed || seq >= newest {
            break;
        }
        last = Some(seq);
    }
    drop(rows);
    match last {
        Some(last) => db.prepare_cached("DELETE FROM log WHERE seq <= ?1")?.execute(params![last]),
        None => Ok(0),
    }
}

impl Reader {
    /// When the job ended that is the `place`-th by its end, newest first and from 1; `None` with fewer.
    pub fn end_of_newest(&self, place: u64) -> Result<Option<Time>, LogError> {
        self.with(|db| {
            let mut found = db.prepare_cached("SELECT ended FROM archive ORDER BY ended DESC LIMIT 1 OFFSET ?1")?;
            let at: Option<i64> = found.query_row(params![place.saturating_sub(1) as i64], |row| row.get(0)).optional()?;
            Ok(at.map(|at| Time(at as u64)))
        })
    }

    /// Numbers above `after` of jobs that ended before `before`, arrays with all that is archived of them; in order.
    pub fn ended_before(&self, before: Time, after: u64, most: usize) -> Result<Vec<u64>, LogError> {
        self.with(|db| {
            let sql = "SELECT number FROM archive WHERE number > ?1 GROUP BY number HAVING MAX(ended) < ?2 ORDER BY number LIMIT ?3";
            let mut found = db.prepare_cached(sql)?;
            let rows = found.query_map(params![after as i64, before.0 as i64, most as i64], |row| row.get::<_, i64>(0))?;
            rows.map(|number| number.map(|number| number as u64)).collect()
        })
    }

    /// Whether a job with this number, or a task of it, is in the archive.
    pub fn remembers(&self, number: u64) -> Result<bool, LogError> {
        self.with(|db| Ok(!archive::states(db, number)?.is_empty()))
    }
}
