//! How SQLite's errors are told.

use rusqlite::{Error, ffi};

use crate::EngineError;

fn told(code: i32) -> EngineError {
    Error::SqliteFailure(ffi::Error::new(code), None).into()
}

#[test]
fn a_full_disk_is_told_from_other_failures() {
    // `SQLITE_IOERR_SHMSIZE` is what opening a database on a full disk ends with.
    for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
        assert!(matches!(told(code), EngineError::Full), "{code}");
    }
    for code in [ffi::SQLITE_IOERR, ffi::SQLITE_IOERR_READ, ffi::SQLITE_BUSY] {
        assert!(matches!(told(code), EngineError::Storage(_)), "{code}");
    }
}
