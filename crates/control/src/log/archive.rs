//! Jobs that ended: written with the record of their end, read by listings.

use super::{FILE_NAME, LogError};
use crate::views;
use api::JobRow;
use cluster::{Job, JobState};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, ToSql, params};
use spec::{JobId, Time};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A job of its own is stored as task -1, so that ids order by two numbers.
fn task(id: JobId) -> i64 {
    id.task.map_or(-1, i64::from)
}

fn id(number: i64, task: i64) -> JobId {
    JobId { number: number as u64, task: u32::try_from(task).ok() }
}

pub(super) fn insert(db: &Connection, job: &Job) -> rusqlite::Result<()> {
    let row = views::job_row(job, None);
    let record = record(db, job)?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO archive
         (number, task, uid, user, name, state, queue, ranks, exit_code, submitted, started, ended, note)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        job.id.number as i64,
        task(job.id),
        job.owner.uid,
        row.user,
        row.name,
        row.state,
        row.queue,
        row.ranks,
        row.exit_code,
        row.submitted.0 as i64,
        row.started.map(|at| at.0 as i64),
        row.ended.map(|at| at.0 as i64),
        row.note,
    ])?;
    db.prepare_cached("INSERT OR REPLACE INTO archive_record (number, task, record) VALUES (?1, ?2, ?3)")?.execute(params![
        job.id.number as i64,
        task(job.id),
        record
    ])?;
    Ok(())
}

/// The job as text. What was asked for is the same for all tasks of an array, and is kept once: there may be a hundred thousand.
fn record(db: &Connection, job: &Job) -> rusqlite::Result<String> {
    let unwritable = |error: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(error.into());
    if job.id.task.is_none() {
        return serde_json::to_string(job).map_err(unwritable);
    }
    let number = job.id.number as i64;
    if !db.prepare_cached("SELECT 1 FROM archive_spec WHERE number = ?1")?.exists(params![number])? {
        let spec = serde_json::to_string(&job.spec).map_err(unwritable)?;
        db.prepare_cached("INSERT INTO archive_spec (number, spec) VALUES (?1, ?2)")?.execute(params![number, spec])?;
    }
    let mut own = serde_json::to_value(job).map_err(unwritable)?;
    own.as_object_mut().and_then(|fields| fields.remove(SPEC));
    serde_json::to_string(&own).map_err(unwritable)
}

/// The field of [`Job`] that tasks share.
const SPEC: &str = "spec";

fn job_of(db: &Connection, number: u64, text: &str) -> rusqlite::Result<Job> {
    let unreadable = |error: serde_json::Error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into());
    let mut record: serde_json::Value = serde_json::from_str(text).map_err(unreadable)?;
    if let Some(fields) = record.as_object_mut().filter(|fields| !fields.contains_key(SPEC)) {
        let mut shared = db.prepare_cached("SELECT spec FROM archive_spec WHERE number = ?1")?;
        let spec: Option<String> = shared.query_row(params![number as i64], |row| row.get(0)).optional()?;
        if let Some(spec) = spec {
            fields.insert(SPEC.into(), serde_json::from_str(&spec).map_err(unreadable)?);
        }
    }
    serde_json::from_value(record).map_err(unreadable)
}

pub(super) fn states(db: &Connection, number: u64) -> rusqlite::Result<Vec<(JobId, JobState)>> {
    let mut rows = db.prepare_cached("SELECT number, task, state FROM archive WHERE number = ?1 ORDER BY task")?;
    let found = rows.query_map(params![number as i64], |row| {
        let state = match row.get_ref(2)?.as_str()? {
            "succeeded" => JobState::Succeeded,
            "cancelled" => JobState::Cancelled,
            _ => JobState::Failed,
        };
        Ok((id(row.get(0)?, row.get(1)?), state))
    })?;
    found.collect()
}

/// Writes nothing, and needs no room, when none of them is there.
pub(super) fn remove(db: &mut Connection, jobs: impl Iterator<Item = JobId>) -> rusqlite::Result<()> {
    let mut there = vec![];
    {
        let mut find = db.prepare_cached("SELECT 1 FROM archive WHERE number = ?1 AND task = ?2")?;
        for job in jobs {
            if find.exists(params![job.number as i64, task(job)])? {
                there.push(job);
            }
        }
    }
    if there.is_empty() {
        return Ok(());
    }
    let change = db.transaction()?;
    for job in there {
        for sql in ["DELETE FROM archive WHERE number = ?1 AND task = ?2", "DELETE FROM archive_record WHERE number = ?1 AND task = ?2"] {
            change.prepare_cached(sql)?.execute(params![job.number as i64, task(job)])?;
        }
    }
    change.commit()
}

/// Which jobs a listing shows; `None` lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only jobs of this user id.
    pub uid: Option<u32>,
    pub user: Option<String>,
    pub queue: Option<String>,
    pub state: Option<JobState>,
    /// Only jobs older than this one.
    pub before: Option<JobId>,
    pub limit: usize,
}

/// Reads committed data beside the writer; any thread may use it.
pub struct Reader {
    db: Mutex<Connection>,
    path: PathBuf,
}

impl Reader {
    pub fn open(dir: &Path) -> Result<Reader, LogError> {
        let path = dir.join(FILE_NAME);
        let fail = |error| LogError::sqlite(&path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&path, flags).map_err(fail)?;
        db.busy_timeout(std::time::Duration::from_secs(5)).map_err(fail)?;
        db.pragma_update(None, "cache_size", -4096).map_err(fail)?;
        Ok(Reader { db: Mutex::new(db), path })
    }

    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LogError> {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        read(&db).map_err(|error| LogError::sqlite(&self.path, error))
    }

    /// Newest first.
    pub fn rows(&self, filter: &Filter) -> Result<Vec<JobRow>, LogError> {
        self.with(|db| rows(db, filter))
    }

    /// One job with everything that happened to it.
    pub fn job(&self, job: JobId) -> Result<Option<Job>, LogError> {
        self.with(|db| {
            let mut found = db.prepare_cached("SELECT record FROM archive_record WHERE number = ?1 AND task = ?2")?;
            let text: Option<String> = found.query_row(params![job.number as i64, task(job)], |row| row.get(0)).optional()?;
            text.map(|text| job_of(db, job.number, &text)).transpose()
        })
    }

    /// The tasks of an array that ended, by index, for their owner's user id or for everybody.
    pub fn tasks(&self, number: u64) -> Result<Vec<(u32, JobRow)>, LogError> {
        self.with(|db| {
            let sql = format!("SELECT {COLUMNS}, uid FROM archive WHERE number = ?1 AND task >= 0 ORDER BY task");
            let mut found = db.prepare_cached(&sql)?;
            let rows = found.query_map(params![number as i64], |row| Ok((row.get(12)?, job_row(row)?)))?;
            rows.collect()
        })
    }
}

const COLUMNS: &str = "number, task, user, name, state, queue, ranks, exit_code, submitted, started, ended, note";

fn rows(db: &Connection, filter: &Filter) -> rusqlite::Result<Vec<JobRow>> {
    let mut clauses = Vec::new();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut add = |clause: &str, value: Box<dyn ToSql>| {
        values.push(value);
        clauses.push(clause.replace('?', &format!("?{}", values.len())));
    };
    if let Some(uid) = filter.uid {
        add("uid = ?", Box::new(uid));
    }
    if let Some(user) = &filter.user {
        add("user = ?", Box::new(user.clone()));
    }
    if let Some(queue) = &filter.queue {
        add("queue = ?", Box::new(queue.clone()));
    }
    if let Some(state) = filter.state {
        add("state = ?", Box::new(state.name()));
    }
    if let Some(before) = filter.before {
        add("(number, task) < (?, ", Box::new(before.number as i64));
        add("?)", Box::new(task(before)));
        let second = clauses.pop().unwrap_or_default();
        if let Some(first) = clauses.last_mut() {
            first.push_str(&second);
        }
    }
    let condition = if clauses.is_empty() { String::new() } else { format!("WHERE {}", clauses.join(" AND ")) };
    let sql = format!("SELECT {COLUMNS} FROM archive {condition} ORDER BY number DESC, task DESC LIMIT {}", filter.limit);
    let mut found = db.prepare_cached(&sql)?;
    let rows = found.query_map(rusqlite::params_from_iter(values), job_row)?;
    rows.collect()
}

fn job_row(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    let time = |index| row.get::<_, Option<i64>>(index).map(|at| at.map(|at| Time(at as u64)));
    Ok(JobRow {
        id: id(row.get(0)?, row.get(1)?),
        user: row.get(2)?,
        name: row.get(3)?,
        state: row.get(4)?,
        queue: row.get(5)?,
        ranks: row.get(6)?,
        elastic: None,
        exit_code: row.get(7)?,
        submitted: time(8)?.unwrap_or_default(),
        started: time(9)?,
        ended: time(10)?,
        note: row.get(11)?,
    })
}
