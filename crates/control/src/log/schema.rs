//! Tables of the database, and the steps from each older layout to this one.

use super::LogError;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

struct Migration {
    /// The version of the layout after this step.
    to: u32,
    sql: &'static str,
}

/// Steps in order. A step that has been released is never edited: add another.
const MIGRATIONS: &[Migration] = &[
    Migration {
        to: 1,
        sql: "
    CREATE TABLE log (
        seq    INTEGER PRIMARY KEY,
        at     INTEGER NOT NULL,
        kind   TEXT NOT NULL,
        record TEXT NOT NULL,
        sum    BLOB NOT NULL
    );
    CREATE TABLE checkpoint (
        seq   INTEGER PRIMARY KEY,
        chain BLOB NOT NULL,
        state TEXT NOT NULL,
        sum   BLOB NOT NULL
    );
    CREATE TABLE damaged (
        seq    INTEGER NOT NULL,
        at     INTEGER,
        kind   TEXT,
        record BLOB,
        sum    BLOB,
        found  TEXT NOT NULL
    );
    CREATE TABLE archive (
        number    INTEGER NOT NULL,
        task      INTEGER NOT NULL,
        uid       INTEGER NOT NULL,
        user      TEXT NOT NULL,
        name      TEXT NOT NULL,
        state     TEXT NOT NULL,
        queue     TEXT NOT NULL,
        ranks     INTEGER NOT NULL,
        exit_code INTEGER,
        submitted INTEGER NOT NULL,
        started   INTEGER,
        ended     INTEGER,
        note      TEXT,
        PRIMARY KEY (number, task)
    ) WITHOUT ROWID;
    CREATE INDEX archive_by_owner ON archive (uid, number, task);
    CREATE INDEX archive_by_owner_and_state ON archive (uid, state, number, task);
    CREATE INDEX archive_by_state ON archive (state, number, task);
    -- Apart from the rows, so that a listing reads few pages.
    CREATE TABLE archive_record (
        number INTEGER NOT NULL,
        task   INTEGER NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (number, task)
    );
    CREATE TABLE token (
        id      TEXT PRIMARY KEY,
        hash    BLOB NOT NULL,
        uid     INTEGER NOT NULL,
        user    TEXT NOT NULL,
        note    TEXT NOT NULL,
        created INTEGER NOT NULL,
        expires INTEGER NOT NULL
    ) WITHOUT ROWID;
    ",
    },
    // For what is kept by age or by number: see `forget.rs`.
    Migration { to: 2, sql: "CREATE INDEX archive_by_end ON archive (ended)" },
    // What all tasks of an array have in common. Tasks archived before this step have it in their own record.
    Migration { to: 3, sql: "CREATE TABLE archive_spec (number INTEGER PRIMARY KEY, spec TEXT NOT NULL)" },
];

/// The layout this program writes.
pub fn newest() -> u32 {
    MIGRATIONS.last().map_or(0, |step| step.to)
}

/// Brings the layout up to [`newest`], each step in a transaction of its own.
pub fn migrate(db: &mut Connection, path: &Path) -> Result<(), LogError> {
    let fail = |error| LogError::sqlite(path, error);
    db.execute_batch("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID").map_err(fail)?;
    let text: Option<String> =
        db.query_row("SELECT value FROM meta WHERE key = 'schema_version'", [], |row| row.get(0)).optional().map_err(fail)?;
    let found: u32 = match text {
        None => 0,
        Some(text) => text.parse().map_err(|_| LogError::Version { path: path.to_owned(), found: text, ours: newest() })?,
    };
    if found > newest() {
        return Err(LogError::Version { path: path.to_owned(), found: found.to_string(), ours: newest() });
    }
    for step in MIGRATIONS.iter().filter(|step| step.to > found) {
        let change = db.transaction().map_err(fail)?;
        change.execute_batch(step.sql).map_err(fail)?;
        change
            .execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('schema_version', ?1)", params![step.to.to_string()])
            .map_err(fail)?;
        change.commit().map_err(fail)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_numbered_without_a_gap() {
        for (index, step) in MIGRATIONS.iter().enumerate() {
            assert_eq!(step.to as usize, index + 1);
        }
    }

    #[test]
    fn a_newer_layout_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, Path::new("x")).unwrap();
        migrate(&mut db, Path::new("x")).unwrap();
        db.execute("UPDATE meta SET value = ?1 WHERE key = 'schema_version'", params![(newest() + 1).to_string()]).unwrap();
        let refused = migrate(&mut db, Path::new("x")).unwrap_err();
        assert!(matches!(refused, LogError::Version { .. }));
        assert!(refused.hint().unwrap().contains("newer"), "{refused}");
    }
}
