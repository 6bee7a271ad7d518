//! Folders of many small files, on which all cores work side by side.

use std::fs;

use casemate_seal::folder::rewrap_folder;

use crate::{
    folder::{Model, tree},
    support::{KEM, OTHER_KEM, content},
};

#[test]
fn many_files_come_back_in_their_order_or_not_at_all() {
    let model = Model::new();
    for number in 0..200 {
        let content = content(number * 7);
        model.write(&format!("many/{number:03}/f"), &content);
    }
    let sealed = model.seal("sealed");
    let paths: Vec<_> = sealed
        .manifest
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    assert!(paths.len() == 204 && paths.is_sorted());
    assert_eq!(model.extract("sealed").unwrap(), tree(&model.at("model")));
    let folder = model.open("sealed").unwrap();
    let keep = [KEM.public_key().id().unwrap()];
    let done = rewrap_folder(
        folder,
        &[&*KEM],
        &keep,
        &[OTHER_KEM.public_key()],
        None,
        &|| (),
    );
    assert_eq!(
        (done.as_ref().unwrap().changed, done.unwrap().skipped),
        (205, 0)
    );
    assert_eq!(model.extract("sealed").unwrap(), tree(&model.at("model")));
    // One file in the middle: nothing is left of the others.
    let place = model.at("sealed/many/100/f.sealed");
    let mut bytes = fs::read(&place).unwrap();
    bytes[10] ^= 1;
    fs::write(&place, bytes).unwrap();
    let said = model.refused("sealed");
    assert!(said.contains("many/100/f"), "{said}");
    let refused = model
        .open("sealed")
        .unwrap()
        .verify_files(&[&*KEM], &|_| ());
    assert!(refused.unwrap_err().to_string().contains("many/100/f"));
}
