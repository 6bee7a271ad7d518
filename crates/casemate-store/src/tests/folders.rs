//! Sealed folders and listings in a store in memory.

use std::{io, path::Path, sync::Arc};

use casemate_seal::{
    WriteAt as _,
    file::Existing,
    folder::{FolderError, FolderSource as _, RelativePath, SealTarget as _},
};
use object_store::ObjectStoreExt as _;

use super::{
    RUNTIME, artifact,
    faulty::{Faulty, Listing},
    object,
};
use crate::{RemoteFolder, list, list_sealed};

fn store(names: &[&str]) -> Arc<Faulty> {
    let store = Arc::new(Faulty::new());
    for name in names {
        let path = object_store::path::Path::from(*name);
        let put = store.inner.put(&path, b"x".to_vec().into());
        RUNTIME.block_on(put).unwrap();
    }
    store
}

fn paths(names: &[&str]) -> Vec<RelativePath> {
    names
        .iter()
        .map(|name| RelativePath::new(name).unwrap())
        .collect()
}

#[test]
fn a_listing_has_everything_below_the_prefix_and_nothing_else() {
    let store = store(&[
        "models/a",
        "models/b/c",
        "models2/d",
        "model",
        "other/models/e",
    ]);
    let mut found = list(&object(&store, "models"), 10).unwrap();
    found.sort();
    assert_eq!(found, ["a", "b/c"]);
    assert_eq!(list(&object(&store, "models/b"), 10).unwrap(), ["c"]);
    assert!(list(&object(&store, "nothing"), 10).unwrap().is_empty());
}

#[test]
fn a_listing_has_the_callers_limit() {
    let store = store(&["m/a", "m/b", "m/c"]);
    assert_eq!(list(&object(&store, "m"), 3).unwrap().len(), 3);
    let refused = list(&object(&store, "m"), 2).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
    let said = refused.to_string();
    assert_eq!(said, "there are more than 2 objects below memory://test/m");
}

#[test]
fn a_listing_without_progress_is_given_up() {
    for listing in [Listing::Stuck, Listing::Empty] {
        let store = Arc::new(Faulty::listing(listing));
        let refused = list(&object(&store, "m"), 10).unwrap_err();
        assert_eq!(refused.to_string(), "the store's listing makes no progress");
    }
}

#[test]
fn sealed_objects_are_listed_with_manifests_last() {
    let store = store(&[
        "m/manifest.casemate",
        "m/z.sealed",
        "m/v/manifest.casemate",
        "m/v/a.sealed",
        "m/plain.txt",
    ]);
    let found = list_sealed(&object(&store, "m"), 10).unwrap();
    let mut names: Vec<_> = found
        .iter()
        .map(|at| at.address().trim_start_matches("memory://test/m/"))
        .collect();
    let manifests = names.split_off(2);
    assert!(
        manifests
            .iter()
            .all(|name| name.ends_with("manifest.casemate")),
        "{manifests:?}"
    );
    names.sort_unstable();
    assert_eq!(names, ["v/a.sealed", "z.sealed"]);
    assert_eq!(manifests.len(), 2);
}

#[test]
fn a_folder_holds_exactly_the_artifacts_of_its_manifest() {
    let store = store(&["m/a.sealed", "m/b/c.sealed", "m/manifest.casemate"]);
    let folder = RemoteFolder::new(object(&store, "m"), Existing::Keep);
    assert!(folder.has_manifest().unwrap());
    let check = |names: &[&str]| {
        let paths = paths(names);
        folder.check(&paths.iter().collect::<Vec<_>>())
    };
    check(&["a", "b/c"]).unwrap();
    let missing = check(&["a", "b/c", "d"]).unwrap_err();
    assert!(
        matches!(&missing, FolderError::Missing(name) if name == "d"),
        "{missing}"
    );
    let extra = check(&["a"]).unwrap_err();
    assert!(
        matches!(&extra, FolderError::Extra(name) if name == "b/c.sealed"),
        "{extra}"
    );
    assert_eq!(
        folder.shown(Path::new("a.sealed")),
        Path::new("memory://test/m/a.sealed")
    );
    let other = RemoteFolder::new(object(&store, "n"), Existing::Keep);
    assert!(!other.has_manifest().unwrap());
    let gone = other.open(Path::new("a.sealed")).map(drop).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
}

#[test]
fn an_object_is_written_once_and_replaced_only_if_asked() {
    let store = store(&[]);
    let bytes = artifact(3 << 20);
    let write = |existing: Existing| {
        let folder = RemoteFolder::new(object(&store, "m"), existing);
        let upload = folder.create(Path::new("a.sealed"), bytes.len() as u64)?;
        // Out of order, as threads write.
        let (first, second) = bytes.split_at(1 << 20);
        upload.write_all_at(second, 1 << 20)?;
        upload.write_all_at(first, 0)?;
        folder.commit(upload)
    };
    write(Existing::Keep).unwrap();
    let folder = RemoteFolder::new(object(&store, "m"), Existing::Keep);
    let source = folder.open(Path::new("a.sealed")).unwrap();
    let mut read = vec![0; bytes.len()];
    source.read_exact_at(&mut read, 0).unwrap();
    assert!(read == bytes);
    assert_eq!(source.byte_len().unwrap(), bytes.len() as u64);
    let refused = write(Existing::Keep).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    write(Existing::Replace).unwrap();
}

#[test]
fn a_name_that_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let store = store(&[]);
    let folder = RemoteFolder::new(object(&store, "m"), Existing::Keep);
    let name = Path::new(std::ffi::OsStr::from_bytes(b"\xff"));
    let refused = folder.open(name).map(drop).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    let refused = folder.create(name, 1).map(drop).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
}
