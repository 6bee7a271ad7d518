//! The embedded engine: one SQLite database.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, params};

use crate::engine::{Change, Engine, EngineError, Snapshot};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS records (id BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT;
";
/// How long one process waits for another's change.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A key store in one SQLite file.
#[derive(Debug)]
pub struct SqliteEngine {
    connection: Connection,
}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl SqliteEngine {
    /// Opens the database at `path`, and makes it, readable by its owner only, if `create` is set.
    ///
    /// Where nothing can be written, as on a mounted secret or in an image, it is opened for reading.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    pub fn open(path: &Path, create: bool) -> Result<Self, EngineError> {
        match Self::open_for_writing(path, create) {
            Err(EngineError::Storage(error)) if !create && is_read_only(&*error) => {
                Self::open_for_reading(path)
            }
            done => done,
        }
    }

    /// Without a lock, which would have to be written. If somebody who may write does so just now, what is read does not fit its index, and is refused.
    fn open_for_reading(path: &Path) -> Result<Self, EngineError> {
        let storage = |text: &str| EngineError::Storage(text.into());
        let mut journal = path.as_os_str().to_owned();
        journal.push("-wal");
        if fs::metadata(&journal).is_ok_and(|found| found.len() > 0) {
            return Err(storage(
                "a change is under way or was not completed, and nothing can be written here: open it once where it can be",
            ));
        }
        let path = fs::canonicalize(path).map_err(|error| EngineError::Storage(error.into()))?;
        let path = path
            .to_str()
            .ok_or_else(|| storage("its path is not UTF-8"))?;
        let escaped = path
            .replace('%', "%25")
            .replace('?', "%3f")
            .replace('#', "%23");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?;
        Ok(Self { connection })
    }

    fn open_for_writing(path: &Path, create: bool) -> Result<Self, EngineError> {
        let storage = |error: std::io::Error| EngineError::Storage(Box::new(error));
        if !create {
            fs::metadata(path).map_err(storage)?;
        }
        let connection = Connection::open(path)?;
        if create {
            fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(storage)?;
        }
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection })
    }
}

/// Whether SQLite failed because it could not write.
fn is_read_only(error: &(dyn std::error::Error + 'static)) -> bool {
    let code = error
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

fn meta(connection: &Connection, key: &str) -> Result<Option<Vec<u8>>, rusqlite::Error> {
    connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
            row.get(0)
        })
        .optional()
}

fn generation(connection: &Connection) -> Result<u64, rusqlite::Error> {
    let bytes = meta(connection, "generation")?;
    let bytes = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    Ok(bytes.map_or(0, u64::from_be_bytes))
}

impl Engine for SqliteEngine {
    fn load(&self) -> Result<Option<Snapshot>, EngineError> {
        let read = self.connection.unchecked_transaction()?;
        let Some(header) = meta(&read, "header")? else {
            return Ok(None);
        };
        let index = meta(&read, "index")?.unwrap_or_default();
        let generation = generation(&read)?;
        let mut rows = read.prepare("SELECT id, value FROM records")?;
        let records = rows
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, rusqlite::Error>>()?;
        Ok(Some(Snapshot {
            header,
            index,
            records,
            generation,
        }))
    }

    fn commit(&mut self, expected: u64, change: &Change) -> Result<(), EngineError> {
        let write = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if generation(&write)? != expected {
            return Err(EngineError::Conflict);
        }
        let next = expected.saturating_add(1).to_be_bytes();
        let set = "INSERT INTO meta (key, value) VALUES (?1, ?2)
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        if let Some(header) = &change.header {
            write.execute(set, params!["header", header])?;
        }
        write.execute(set, params!["index", change.index])?;
        write.execute(set, params!["generation", next.as_slice()])?;
        for id in &change.delete {
            write.execute("DELETE FROM records WHERE id = ?1", [id])?;
        }
        for (id, value) in &change.put {
            write.execute(
                "INSERT OR REPLACE INTO records (id, value) VALUES (?1, ?2)",
                [id, value],
            )?;
        }
        Ok(write.commit()?)
    }
}
