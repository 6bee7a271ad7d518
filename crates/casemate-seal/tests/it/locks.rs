//! Readers and writers of one file keep out of each other's way.

use std::{fs, io::ErrorKind};

use casemate_seal::file::{open_exclusive, open_shared};
use tempfile::TempDir;

#[test]
fn an_artifact_that_is_being_read_is_not_changed_and_nobody_waits_for_ever() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("m.sealed");
    fs::write(&path, "whatever").unwrap();
    let (reader, other) = (open_shared(&path).unwrap(), open_shared(&path).unwrap());
    let refused = open_exclusive(&path).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceBusy);
    drop((reader, other));
    open_exclusive(&path).unwrap();
}
