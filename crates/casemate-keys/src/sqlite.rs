//! The embedded engine: one SQLite database.
//!
//! The file may be hostile: a schema is code that runs when tables are read. So the database is
//! opened defensively, and must have exactly the expected tables.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior,
    config::DbConfig, ffi, limits::Limit, params,
};

use crate::engine::{Change, Engine, EngineError, Head, Page, Table, View, each};

type Schema = &'static [(&'static str, &'static str)];

const META: (&str, &str) = (
    "meta",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT",
);
const SCHEMA: Schema = &[
    META,
    (
        "rows",
        "CREATE TABLE rows (id BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT",
    ),
    (
        "nodes",
        "CREATE TABLE nodes (path BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT",
    ),
    (
        "entries",
        "CREATE TABLE entries (seq BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT",
    ),
];
const SCHEMA_1: Schema = &[
    META,
    (
        "records",
        "CREATE TABLE records (id BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT",
    ),
];
/// How long a process waits for the change of another.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum length of a value in `meta`. The index of a key store of version 1 is the longest.
const VALUE_BYTES_MAX: i32 = 32 << 20;
/// Maximum length of any other value. Many rows can share the pages of one long value, so their sum
/// is not bounded by the length of the file.
const ROW_BYTES_MAX: i64 = 64 * 1024;
/// A value that is too long to be one of ours is not read. It is empty in its place, which no rule
/// admits, so that it is named like any other damage.
const BOUNDED: &str = "CASE WHEN length(value) > 65536 THEN x'' ELSE value END";
/// Longest key: the path of a node. Longer ones are not ours.
const KEY_BYTES_MAX: usize = 66;
/// Most records of a key store of version 1.
const RECORDS_1_MAX: u64 = 65_536;

/// A storage engine in one SQLite file.
#[derive(Debug)]
pub struct SqliteEngine {
    connection: Connection,
    path: PathBuf,
    /// Device and number of the file when it was opened.
    file: (u64, u64),
}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign("the file is not a database"),
            Some(ErrorCode::DatabaseCorrupt) => Self::Foreign("the file is damaged or cut off"),
            Some(ErrorCode::DiskFull) => Self::Full,
            // Even reading needs a few pages of shared memory beside the database.
            _ if extended_code(&error) == Some(ffi::SQLITE_IOERR_SHMSIZE) => Self::Full,
            _ => Self::Storage(Box::new(error)),
        }
    }
}

fn extended_code(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}

fn storage(error: io::Error) -> EngineError {
    EngineError::Storage(Box::new(error))
}

impl SqliteEngine {
    /// Opens the database at `path`.
    ///
    /// With `create`, a missing or empty database is created, readable only by its owner. Without
    /// it, nothing is written before the first change.
    ///
    /// On read-only storage, such as a mounted secret or an image, it is opened for reading.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`]; [`EngineError::Foreign`] if the database is not a key store.
    pub fn open(path: &Path, create: bool) -> Result<Self, EngineError> {
        match Self::open_for_writing(path, create) {
            Err(EngineError::Storage(error)) if !create && is_read_only(&*error) => {
                Self::open_for_reading(path)
            }
            done => done,
        }
    }

    /// Opens the database without a lock, which would have to be written. If another process writes
    /// at the same time, the records do not match the index and are refused.
    fn open_for_reading(path: &Path) -> Result<Self, EngineError> {
        let storage_text = |text: &str| EngineError::Storage(text.into());
        let mut journal = path.as_os_str().to_owned();
        journal.push("-wal");
        if fs::metadata(&journal).is_ok_and(|found| found.len() > 0) {
            return Err(storage_text(
                "a change is in progress or unfinished, and the key store is read-only here; open it once where it is writable",
            ));
        }
        let absolute = fs::canonicalize(path).map_err(storage)?;
        let text = absolute
            .to_str()
            .ok_or_else(|| storage_text("its path is not UTF-8"))?;
        let escaped = text
            .replace('%', "%25")
            .replace('?', "%3f")
            .replace('#', "%23");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?;
        harden(&connection)?;
        check_schema(&connection)?;
        Self::of(connection, path)
    }

    fn of(connection: Connection, path: &Path) -> Result<Self, EngineError> {
        let found = fs::metadata(path).map_err(storage)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            file: (found.dev(), found.ino()),
        })
    }

    /// Refuses to go on with a file that is not at its path any longer: what others change is in
    /// another one.
    fn check_file(&self) -> Result<(), EngineError> {
        match fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.file => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(storage(error)),
            _ => Err(EngineError::Moved),
        }
    }

    fn open_for_writing(path: &Path, create: bool) -> Result<Self, EngineError> {
        if create {
            let mut options = File::options();
            options.write(true).create(true).truncate(false).mode(0o600);
            options.open(path).map_err(storage)?;
        }
        let is_empty = fs::metadata(path).map_err(storage)?.len() == 0;
        // Never SQLITE_OPEN_CREATE: a database that is deleted now must not be recreated empty.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        harden(&connection)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Replaced records may be sealed with a key that has leaked since.
        connection.pragma_update(None, "secure_delete", "ON")?;
        if create {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            make_schema(&mut connection)?;
        } else if is_empty {
            return Self::of(connection, path);
        }
        check_schema(&connection)?;
        Self::of(connection, path)
    }
}

/// Restricts the database to rows of bounded length, without triggers and views.
fn harden(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_VDBE_OP, 100_000)?;
    connection.pragma_update(None, "cell_size_check", "ON")
}

fn make_schema(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    let write = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if count(&write, "SELECT count(*) FROM sqlite_schema")? == 0 {
        for (_, sql) in SCHEMA {
            write.execute(sql, [])?;
        }
    }
    write.commit()
}

/// Refuses a database that has anything but the tables of a key store. Returns whether it has
/// version 1.
fn check_schema(connection: &Connection) -> Result<bool, EngineError> {
    let mut rows = connection.prepare(
        "SELECT type, name, coalesce(sql, '') FROM sqlite_schema
         WHERE NOT (type = 'index' AND sql IS NULL AND substr(name, 1, 17) = 'sqlite_autoindex_')
         LIMIT 5",
    )?;
    let found: Vec<(String, String, String)> = rows
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let has = |table: &str| found.iter().any(|(_, name, _)| name == table);
    let is_version_1 = has("records") && !has("rows");
    let schema = if is_version_1 { SCHEMA_1 } else { SCHEMA };
    for (table, sql) in schema {
        if !has(table) {
            return Err(EngineError::Foreign(match *table {
                "meta" => "its table `meta` is missing",
                "rows" => "its table `rows` is missing",
                "nodes" => "its table `nodes` is missing",
                _ => "its table `entries` is missing",
            }));
        }
        let is_ours = |(kind, name, text): &(String, String, String)| {
            kind == "table" && name == table && text == sql
        };
        if !found.iter().any(is_ours) {
            return Err(EngineError::Foreign("a table has the wrong schema"));
        }
    }
    if found.len() > schema.len() {
        return Err(EngineError::Foreign("it has objects besides its tables"));
    }
    Ok(is_version_1)
}

/// Returns whether SQLite failed because the database is read-only.
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

fn count(connection: &Connection, sql: &str) -> Result<u64, rusqlite::Error> {
    let found: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(u64::try_from(found).unwrap_or_default())
}

/// One state of the database: a transaction that reads.
struct SqliteView<'a>(Transaction<'a>);

impl View for SqliteView<'_> {
    fn head(&self) -> Result<Option<Head>, EngineError> {
        let read = &self.0;
        if count(read, "SELECT count(*) FROM sqlite_schema")? == 0 {
            return Ok(None);
        }
        let Some(header) = meta(read, "header")? else {
            if count(read, "SELECT count(*) FROM meta")? > 0 || self.has_rows()? {
                return Err(EngineError::Foreign("its header is missing"));
            }
            return Ok(None);
        };
        Ok(Some(Head {
            header,
            index: meta(read, "index")?.unwrap_or_default(),
            generation: generation(read)?,
        }))
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let (name, column) = columns(table);
        let sql = format!("SELECT {BOUNDED} FROM {name} WHERE {column} = ?1");
        let mut statement = self.0.prepare_cached(&sql)?;
        let value = statement.query_row([key], |row| row.get(0)).optional()?;
        Ok(value)
    }

    fn scan(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Page, EngineError> {
        let (name, column) = columns(table);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rest = format!("length({column}) <= {KEY_BYTES_MAX} ORDER BY {column} LIMIT ?1");
        let select = format!("SELECT {column}, {BOUNDED} FROM {name} WHERE");
        let mut statement;
        let mut rows = match after {
            None => {
                statement = self.0.prepare_cached(&format!("{select} {rest}"))?;
                statement.query(params![limit])?
            }
            Some(after) => {
                let sql = format!("{select} {column} > ?2 AND {rest}");
                statement = self.0.prepare_cached(&sql)?;
                statement.query(params![limit, after])?
            }
        };
        let mut page = Page::new();
        while let Some(row) = rows.next()? {
            page.push((row.get(0)?, row.get(1)?));
        }
        Ok(page)
    }
}

/// Returns the name of a table and the column of its keys.
const fn columns(table: Table) -> (&'static str, &'static str) {
    match table {
        Table::Rows => ("rows", "id"),
        Table::Nodes => ("nodes", "path"),
        Table::Entries => ("entries", "seq"),
    }
}

/// Returns a value that is followed by its length, if it is not too long to be read.
fn bounded(row: &Row<'_>, at: usize) -> Result<Vec<u8>, EngineError> {
    let length: i64 = row.get(at.saturating_add(1))?;
    if length > ROW_BYTES_MAX {
        return Err(EngineError::Foreign("a row is longer than 64 KiB"));
    }
    Ok(row.get(at)?)
}

impl SqliteView<'_> {
    /// Returns whether a table besides `meta` has a row.
    fn has_rows(&self) -> Result<bool, EngineError> {
        let sql = if check_schema(&self.0)? {
            "SELECT count(*) FROM records"
        } else {
            "SELECT (SELECT count(*) FROM rows) + (SELECT count(*) FROM nodes) + (SELECT count(*) FROM entries)"
        };
        Ok(count(&self.0, sql)? > 0)
    }
}

impl Engine for SqliteEngine {
    fn view(&self) -> Result<Box<dyn View + '_>, EngineError> {
        self.check_file()?;
        Ok(Box::new(SqliteView(
            self.connection.unchecked_transaction()?,
        )))
    }

    fn commit(&self, expected: u64, change: &Change) -> Result<(), EngineError> {
        let done = self.write(expected, change);
        if let Err(EngineError::Storage(error)) = &done
            && is_read_only(&**error)
        {
            return Err(EngineError::ReadOnly);
        }
        done
    }

    fn fill(&self, view: &dyn View) -> Result<(), EngineError> {
        let write = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        if count(&write, "SELECT count(*) FROM meta")? > 0 {
            return Err(EngineError::Conflict);
        }
        let head = view
            .head()?
            .ok_or(EngineError::Foreign("its header is missing"))?;
        let set = "INSERT INTO meta (key, value) VALUES (?1, ?2)";
        write.execute(set, params!["header", head.header])?;
        write.execute(set, params!["index", head.index])?;
        let generation = head.generation.to_be_bytes();
        write.execute(set, params!["generation", generation.as_slice()])?;
        for table in Table::ALL {
            let (name, column) = columns(table);
            let sql = format!("INSERT INTO {name} ({column}, value) VALUES (?1, ?2)");
            let mut insert = write.prepare(&sql)?;
            each(view, table, &mut |key, value| {
                insert.execute(params![key, value])?;
                Ok::<(), EngineError>(())
            })?;
        }
        write.commit()?;
        self.empty_log();
        Ok(())
    }

    fn version_1(&self) -> Result<Option<Page>, EngineError> {
        let read = self.connection.unchecked_transaction()?;
        if !check_schema(&read)? {
            return Ok(None);
        }
        if count(&read, "SELECT count(*) FROM records")? > RECORDS_1_MAX {
            return Err(EngineError::Foreign(
                "it has more records than a key store can hold",
            ));
        }
        let mut statement = read.prepare("SELECT id, value, length(value) FROM records")?;
        let mut rows = statement.query([])?;
        let mut records = Page::new();
        while let Some(row) = rows.next()? {
            records.push((row.get(0)?, bounded(row, 1)?));
        }
        Ok(Some(records))
    }
}

impl SqliteEngine {
    /// Empties the write-ahead log, which still holds what was replaced. If another process is
    /// reading now, it empties the log later.
    fn empty_log(&self) {
        _ = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }

    fn write(&self, expected: u64, change: &Change) -> Result<(), EngineError> {
        self.check_file()?;
        let write = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        if generation(&write)? != expected {
            return Err(EngineError::Conflict);
        }
        if check_schema(&write)? {
            write.execute("DROP TABLE records", [])?;
            for (table, sql) in SCHEMA {
                if *table != META.0 {
                    write.execute(sql, [])?;
                }
            }
        }
        let next = expected.saturating_add(1).to_be_bytes();
        let set = "INSERT INTO meta (key, value) VALUES (?1, ?2)
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        if let Some(header) = &change.header {
            write.execute(set, params!["header", header])?;
        }
        write.execute(set, params!["index", change.index])?;
        write.execute(set, params!["generation", next.as_slice()])?;
        for (table, key, value) in &change.put {
            let (name, column) = columns(*table);
            let sql = match value {
                Some(_) => {
                    format!("INSERT OR REPLACE INTO {name} ({column}, value) VALUES (?1, ?2)")
                }
                None => format!("DELETE FROM {name} WHERE {column} = ?1"),
            };
            let mut statement = write.prepare_cached(&sql)?;
            match value {
                Some(value) => statement.execute(params![key, value])?,
                None => statement.execute(params![key])?,
            };
        }
        write.commit()?;
        // What went into a file that others no longer see was not made.
        self.check_file()?;
        if change.removes() {
            self.empty_log();
        }
        Ok(())
    }
}
