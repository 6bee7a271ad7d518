//! Outputs appear complete or not at all, where they were meant to, and for whom.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
    thread,
};

use casemate_seal::{
    WriteAt as _,
    file::{self, Access, AtomicFile, Existing},
};
use casemate_testkit::names;

fn create(path: &Path, existing: Existing) -> io::Result<AtomicFile> {
    AtomicFile::create(path, Access::Umask, existing)
}

#[test]
fn nothing_is_there_before_the_commit_and_nothing_after_a_drop() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let output = create(&path, Existing::Keep).unwrap();
    output.write_all_at(b"half", 0).unwrap();
    assert!(!path.exists());
    drop(output);
    assert_eq!(names(home.path()), [""; 0]);
    let output = create(&path, Existing::Keep).unwrap();
    output.write_all_at(b"lo", 3).unwrap();
    output.write_all_at(b"hel", 0).unwrap();
    output.commit(Existing::Keep).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    assert_eq!(names(home.path()), ["model"]);
}

#[test]
fn what_exists_is_kept_or_replaced_as_a_whole() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    fs::write(&path, "old").unwrap();
    let refused = create(&path, Existing::Keep).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    // It can also appear while the output is written.
    let late = home.path().join("late");
    let output = create(&late, Existing::Keep).unwrap();
    fs::write(&late, "first").unwrap();
    let refused = output.commit(Existing::Keep).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&late).unwrap(), b"first");
    let output = create(&path, Existing::Replace).unwrap();
    output.write_all_at(b"new", 0).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    output.commit(Existing::Replace).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(names(home.path()), ["late", "model"]);
}

#[test]
fn a_replacement_is_another_file_and_changes_no_other_name_of_the_old_one() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::write(at("precious"), "years").unwrap();
    fs::hard_link(at("precious"), at("model")).unwrap();
    file::write(&at("model"), b"new", Access::Umask, Existing::Replace).unwrap();
    assert_eq!(fs::read(at("precious")).unwrap(), b"years");
    assert_eq!(fs::metadata(at("precious")).unwrap().nlink(), 1);
    // A link is replaced, not followed.
    symlink("precious", at("link")).unwrap();
    file::write(&at("link"), b"own", Access::Umask, Existing::Replace).unwrap();
    assert!(!at("link").is_symlink());
    assert_eq!(fs::read(at("precious")).unwrap(), b"years");
    symlink("nowhere", at("dangling")).unwrap();
    let refused = create(&at("dangling"), Existing::Keep).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("folder");
    fs::create_dir(&folder).unwrap();
    symlink("/dev/null", home.path().join("device")).unwrap();
    for name in ["folder", "device"] {
        let refused = create(&home.path().join(name), Existing::Replace).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{name}");
    }
    for path in [Path::new("/"), Path::new(""), Path::new("..")] {
        assert!(
            create(path, Existing::Replace).is_err(),
            "{}",
            path.display()
        );
    }
    let refused = create(&home.path().join("none/model"), Existing::Replace).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::NotFound);
}

#[test]
fn plaintext_is_for_its_owner_only() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("plain");
    file::write(&path, b"secret", Access::Owner, Existing::Keep).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // A replacement does not take over what the old file allowed.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    file::write(&path, b"secret", Access::Owner, Existing::Replace).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn of_many_writers_of_one_name_one_wins() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model");
    let wins: usize = thread::scope(|scope| {
        let writers: Vec<_> = (0..16_u8)
            .map(|number| {
                let path = &path;
                scope.spawn(move || {
                    let content = vec![number; 4096];
                    let done = file::write(path, &content, Access::Umask, Existing::Keep);
                    usize::from(done.is_ok())
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum()
    });
    assert_eq!(wins, 1);
    let content = fs::read(&path).unwrap();
    assert!(content.len() == 4096 && content.iter().all(|byte| *byte == content[0]));
    assert_eq!(names(home.path()), ["model"]);
}
