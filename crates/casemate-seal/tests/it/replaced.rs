//! Folders that replace others: what was there goes only if nothing is lost with it.

use std::{fs, path::Path};

use casemate_seal::{
    Progress,
    file::Existing,
    folder::{FolderError, Links, SealedFiles, list_source, seal_folder},
};
use casemate_testkit::names;

use crate::{
    folder::Model,
    support::{KEM, SIGNER, folder_options},
};

fn seal_again(
    model: &Model,
    to: &Path,
    progress: Progress<'_>,
) -> Result<SealedFiles, FolderError> {
    let files = list_source(&model.at("model"), Links::Refuse, &|_, _| true).unwrap();
    let recipients = [KEM.public_key()];
    let options = folder_options(&recipients, &SIGNER, None);
    seal_folder(&files, to, Existing::Replace, &options, progress)
}

#[test]
fn a_sealed_folder_that_holds_other_things_is_not_replaced() {
    let home = Model::new();
    home.seal("v1");
    let notes = home.at("v1/thesis/notes.txt");
    fs::create_dir(notes.parent().unwrap()).unwrap();
    fs::write(&notes, "years").unwrap();
    let replace = || seal_again(&home, &home.at("v1"), &|_| ());
    let refused = replace().unwrap_err();
    assert!(matches!(refused, FolderError::NotReplaced(_)), "{refused}");
    assert_eq!(fs::read_to_string(&notes).unwrap(), "years");
    fs::remove_file(&notes).unwrap();
    replace().unwrap();
}

#[test]
fn a_folder_in_the_way_is_replaced_only_if_it_holds_nothing_else() {
    let model = Model::new();
    model.seal("sealed");
    let opened = model.open("sealed").unwrap();
    let out = model.at("out");
    let copy = || opened.copy_to(&out, Existing::Replace, &[&*KEM], &|_| ());
    copy().unwrap();
    copy().unwrap();
    fs::write(out.join("notes.txt"), b"mine").unwrap();
    assert!(matches!(copy(), Err(FolderError::NotReplaced(_))));
    assert_eq!(fs::read(out.join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn what_comes_into_a_folder_while_its_replacement_is_made_is_kept() {
    let model = Model::new();
    model.seal("sealed");
    let before = names(&model.at(""));
    let notes = model.at("sealed/notes.txt");
    let write = |_| fs::write(&notes, b"mine").unwrap();
    let refused = seal_again(&model, &model.at("sealed"), &write).unwrap_err();
    assert!(
        matches!(refused, FolderError::NotReplaced(ref path) if *path == notes),
        "{refused}"
    );
    assert_eq!(fs::read(&notes).unwrap(), b"mine");
    fs::remove_file(&notes).unwrap();
    assert_eq!(names(&model.at("")), before);
    seal_again(&model, &model.at("sealed"), &|_| ()).unwrap();

    let (opened, out) = (model.open("sealed").unwrap(), model.at("out"));
    let copy = |progress: Progress<'_>| opened.copy_to(&out, Existing::Replace, &[&*KEM], progress);
    copy(&|_| ()).unwrap();
    let notes = out.join("tokenizer/notes.txt");
    let write = |_| fs::write(&notes, b"mine").unwrap();
    assert!(matches!(copy(&write), Err(FolderError::NotReplaced(_))));
    assert_eq!(fs::read(&notes).unwrap(), b"mine");
    fs::remove_file(&notes).unwrap();
    copy(&|_| ()).unwrap();
}
