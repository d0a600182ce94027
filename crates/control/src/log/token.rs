//! Tokens of the TCP port: whom each stands for. Only a hash of the secret is kept.

use super::{Log, LogError, Reader};
use rusqlite::{OptionalExtension, Row, params};
use spec::Time;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub id: String,
    pub hash: [u8; 32],
    pub uid: u32,
    pub user: String,
    pub note: String,
    pub created: Time,
    pub expires: Time,
}

const COLUMNS: &str = "id, hash, uid, user, note, created, expires";

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: row.get(0)?,
        hash: row.get(1)?,
        uid: row.get(2)?,
        user: row.get(3)?,
        note: row.get(4)?,
        created: Time(row.get::<_, i64>(5)? as u64),
        expires: Time(row.get::<_, i64>(6)? as u64),
    })
}

impl Log {
    /// False, and nothing is done, when its person has `most` others that have not expired when it is made.
    pub fn put_token(&mut self, token: &Token, most: u32) -> Result<bool, LogError> {
        let Token { id, hash, uid, user, note, created, expires } = token;
        self.db
            .execute(
                "INSERT INTO token (id, hash, uid, user, note, created, expires) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
                 WHERE (SELECT count(*) FROM token WHERE uid = ?3 AND expires > ?6) < ?8",
                params![id, hash, uid, user, note, created.0 as i64, expires.0 as i64, most],
            )
            .map(|rows| rows > 0)
            .map_err(|error| LogError::sqlite(&self.path, error))
    }

    /// Nothing happens where there is no such token.
    pub fn drop_token(&mut self, id: &str) -> Result<(), LogError> {
        self.db.execute("DELETE FROM token WHERE id = ?1", params![id]).map(drop).map_err(|error| LogError::sqlite(&self.path, error))
    }
}

impl Reader {
    pub fn token(&self, id: &str) -> Result<Option<Token>, LogError> {
        self.with(|db| db.prepare_cached(&format!("SELECT {COLUMNS} FROM token WHERE id = ?1"))?.query_row(params![id], token).optional())
    }

    pub fn tokens(&self) -> Result<Vec<Token>, LogError> {
        self.with(|db| {
            let mut found = db.prepare_cached(&format!("SELECT {COLUMNS} FROM token ORDER BY created, id"))?;
            found.query_map([], token)?.collect()
        })
    }
}
