//! Folders sealed as a unit: what comes back, what is refused, and what the next version takes
//! over.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use casemate_crypto::{kem::KemPrivateKey, signature::SigningKey};
use casemate_seal::{
    Artifact, Origin,
    file::Existing,
    folder::{
        FolderError, Links, LocalFolder, Manifest, SealedFiles, SealedFolder, Since, list_source,
        read_manifest, rewrap_folder, seal_folder, unfinished_rewrap,
    },
};
use tempfile::TempDir;

use crate::support::{KEM, OTHER_KEM, OTHER_SIGNER, SIGNER, content, folder_options};

/// A model in the Hugging Face layout, small.
pub(crate) struct Model {
    home: TempDir,
}

impl Model {
    pub(crate) fn new() -> Self {
        let model = Self {
            home: TempDir::new().unwrap(),
        };
        model.write("config.json", b"{}");
        model.write("model-00001-of-00002.safetensors", &content(150_000));
        model.write("model-00002-of-00002.safetensors", &content(70_000));
        model.write("tokenizer/vocab.txt", b"");
        model
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let place = self.at("model").join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }

    pub(crate) fn seal(&self, to: &str) -> SealedFiles {
        self.seal_since(to, None, &[&KEM]).unwrap()
    }

    fn seal_since(
        &self,
        to: &str,
        since: Option<&SealedFolder>,
        recipients: &[&KemPrivateKey],
    ) -> Result<SealedFiles, FolderError> {
        let files = list_source(&self.at("model"), Links::Refuse, &|_, _| true)?;
        let keys = [&*KEM];
        let recipients: Vec<_> = recipients.iter().map(|key| key.public_key()).collect();
        let since = since.map(|folder| Since {
            folder,
            keys: &keys,
        });
        let options = folder_options(&recipients, &SIGNER, since);
        seal_folder(&files, &self.at(to), Existing::Keep, &options, &|_| ())
    }

    pub(crate) fn open(&self, name: &str) -> Result<SealedFolder, FolderError> {
        let root = self.at(name);
        let artifact = read_manifest(&LocalFolder::open(&root).unwrap())?;
        let origin = Origin::SignedBy(SIGNER.verifying_key());
        SealedFolder::open(
            Box::new(LocalFolder::open(&root).unwrap()),
            artifact,
            &[&*KEM],
            origin,
        )
    }

    /// Opens, decrypts everything and says what came out.
    pub(crate) fn extract(&self, name: &str) -> Result<BTreeMap<PathBuf, Vec<u8>>, FolderError> {
        let out = self.at("out");
        self.open(name)?
            .copy_to(&out, Existing::Keep, &[&*KEM], &|_| ())?;
        let files = tree(&out);
        fs::remove_dir_all(&out).unwrap();
        Ok(files)
    }

    pub(crate) fn refused(&self, name: &str) -> String {
        let refused = self.extract(name).expect_err("the change was not noticed");
        assert!(!self.at("out").exists());
        refused.to_string()
    }
}

pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let below = path.strip_prefix(root).unwrap().to_owned();
                files.insert(below, fs::read(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_folder_comes_back_as_it_was_for_the_owner_only() {
    let model = Model::new();
    let sealed = model.seal("sealed");
    assert_eq!((sealed.manifest.revision, sealed.unchanged), (1, 0));
    assert_eq!(model.extract("sealed").unwrap(), tree(&model.at("model")));

    let names: Vec<_> = tree(&model.at("sealed")).into_keys().collect();
    assert_eq!(names.len(), 5, "{names:?}");
    let total: u64 = names
        .iter()
        .map(|name| fs::metadata(model.at("sealed").join(name)).unwrap().len())
        .sum();
    assert_eq!(total, sealed.artifact_len);

    let out = model.at("private");
    let opened = model.open("sealed").unwrap();
    opened
        .copy_to(&out, Existing::Keep, &[&*KEM], &|_| ())
        .unwrap();
    for path in [out.clone(), out.join("config.json")] {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path:?}: {mode:o}");
    }
}

#[test]
fn what_another_publisher_sealed_is_not_taken_over() {
    let home = Model::new();
    home.seal("v1");
    let before = home.open("v1").unwrap();
    let files = list_source(&home.at("model"), Links::Refuse, &|_, _| true).unwrap();
    let keys = [&*KEM];
    let recipients = [KEM.public_key()];
    let seal = |signer: &SigningKey, to: &str| {
        let since = Since {
            folder: &before,
            keys: &keys,
        };
        let options = folder_options(&recipients, signer, Some(since));
        seal_folder(&files, &home.at(to), Existing::Keep, &options, &|_| ()).unwrap()
    };
    assert_eq!(seal(&SIGNER, "v2").unchanged, files.len());
    assert_eq!(seal(&OTHER_SIGNER, "v3").unchanged, 0);
    let folder = LocalFolder::open(home.at("v3")).unwrap();
    let artifact = read_manifest(&folder).unwrap();
    let origin = Origin::SignedBy(OTHER_SIGNER.verifying_key());
    let opened = SealedFolder::open(Box::new(folder), artifact, &keys, origin).unwrap();
    opened.verify_files(&keys, &|_| ()).unwrap();
}

#[test]
fn mixing_versions_adding_dropping_and_renaming_are_refused() {
    let model = Model::new();
    model.seal("one");
    model.write("config.json", b"{\"changed\": true}");
    let old = model.open("one").unwrap();
    let two = model.seal_since("two", Some(&old), &[&KEM]).unwrap();
    drop(old);
    assert_eq!((two.manifest.revision, two.unchanged), (2, 3));
    let (one, two) = (model.at("one"), model.at("two"));
    let config = "config.json.sealed";
    let change = |act: &dyn Fn()| {
        let before = model.at("before");
        fs::create_dir(&before).unwrap();
        for (path, bytes) in tree(&two) {
            let place = before.join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, bytes).unwrap();
        }
        act();
        let message = model.refused("two");
        fs::remove_dir_all(&two).unwrap();
        fs::rename(&before, &two).unwrap();
        model.extract("two").unwrap();
        message
    };

    let mixed = change(&|| _ = fs::copy(one.join(config), two.join(config)).unwrap());
    assert!(
        mixed.contains("config.json is not the version in the manifest"),
        "{mixed}"
    );
    let added = change(&|| fs::write(two.join("run.py"), b"x").unwrap());
    assert!(added.contains("run.py does not belong"), "{added}");
    let added = change(&|| {
        fs::copy(two.join(config), two.join("tokenizer/more.json.sealed")).unwrap();
    });
    assert!(added.contains("tokenizer/more.json.sealed does not belong"));
    let dropped = change(&|| fs::remove_file(two.join(config)).unwrap());
    assert!(dropped.contains("config.json is missing"), "{dropped}");
    let renamed = change(&|| {
        fs::rename(two.join(config), two.join("settings.json.sealed")).unwrap();
    });
    assert!(renamed.contains("settings.json.sealed does not belong"));
    let shard = |n: u8| two.join(format!("model-0000{n}-of-00002.safetensors.sealed"));
    let swapped = change(&|| {
        fs::rename(shard(1), two.join("x")).unwrap();
        fs::rename(shard(2), shard(1)).unwrap();
        fs::rename(two.join("x"), shard(2)).unwrap();
    });
    assert!(
        swapped.contains("is not the version in the manifest"),
        "{swapped}"
    );
    let linked = change(&|| {
        fs::remove_file(two.join(config)).unwrap();
        symlink(one.join(config), two.join(config)).unwrap();
    });
    assert!(linked.contains("is a symbolic link"), "{linked}");
    let rolled_back = change(&|| {
        let name = "manifest.casemate";
        fs::copy(one.join(name), two.join(name)).unwrap();
    });
    assert!(
        rolled_back.contains("is not the version in the manifest"),
        "{rolled_back}"
    );
    let damaged = change(&|| {
        let mut bytes = fs::read(shard(1)).unwrap();
        bytes[100_000] ^= 1;
        fs::write(shard(1), bytes).unwrap();
    });
    assert!(damaged.contains("model-00001"), "{damaged}");
}

#[test]
fn an_older_version_as_a_whole_is_refused_by_its_revision() {
    let model = Model::new();
    model.seal("one");
    let old = model.open("one").unwrap();
    old.require_revision(1).unwrap();
    let refused = old.require_revision(2).unwrap_err();
    assert!(matches!(
        refused,
        FolderError::Revision {
            found: 1,
            minimum: 2
        }
    ));
}

#[test]
fn a_manifest_of_another_signer_or_for_another_key_is_refused() {
    let model = Model::new();
    model.seal("sealed");
    let root = model.at("sealed");
    let open = |keys: &[&KemPrivateKey], origin| {
        SealedFolder::open(
            Box::new(LocalFolder::open(&root).unwrap()),
            read_manifest(&LocalFolder::open(&root).unwrap()).unwrap(),
            keys,
            origin,
        )
        .map(|_| ())
        .unwrap_err()
    };
    let origin = Origin::SignedBy(OTHER_SIGNER.verifying_key());
    let refused = open(&[&*KEM], origin);
    assert!(matches!(
        refused,
        FolderError::Open {
            source: casemate_seal::OpenError::OtherSigner { .. },
            ..
        }
    ));
    let refused = open(&[&*OTHER_KEM], Origin::Unchecked);
    assert!(matches!(
        refused,
        FolderError::Open {
            source: casemate_seal::OpenError::NotARecipient { .. },
            ..
        }
    ));
    // A file of the folder in the place of the manifest.
    fs::copy(
        root.join("config.json.sealed"),
        root.join("manifest.casemate"),
    )
    .unwrap();
    let refused = open(&[&*KEM], Origin::Unchecked);
    assert_eq!(refused.to_string(), "invalid manifest: wrong content type");
}

#[test]
fn unchanged_files_are_taken_over_and_get_the_new_recipients() {
    let model = Model::new();
    let first = model.seal("one");
    model.write("tokenizer/vocab.txt", b"now with words");
    model.write("model-00002-of-00002.safetensors", &{
        let mut changed = content(70_000);
        changed[69_999] ^= 1;
        changed
    });
    model.write("new.bin", b"new");
    fs::remove_file(model.at("model/config.json")).unwrap();
    let old = model.open("one").unwrap();
    let second = model
        .seal_since("two", Some(&old), &[&KEM, &OTHER_KEM])
        .unwrap();
    assert_eq!(second.unchanged, 1);
    assert_eq!(second.manifest.id, first.manifest.id);
    let kept = "model-00001-of-00002.safetensors";
    let entry = |files: &SealedFiles, path| files.manifest.find(path).unwrap().clone();
    assert_eq!(entry(&second, kept).root, entry(&first, kept).root);
    // The second recipient has its key from now on.
    assert_eq!(entry(&first, kept).sealed_to.len(), 1);
    assert_eq!(entry(&second, kept).sealed_to.len(), 2);
    for path in ["model-00002-of-00002.safetensors", "tokenizer/vocab.txt"] {
        assert_ne!(entry(&second, path).root, entry(&first, path).root);
    }
    assert_eq!(model.extract("two").unwrap(), tree(&model.at("model")));
    // The copy has two recipients, the version before still one.
    for (folder, recipients) in [("one", 1), ("two", 2)] {
        let file = fs::File::open(model.at(folder).join(format!("{kept}.sealed"))).unwrap();
        let artifact = Artifact::read(&file).unwrap();
        assert_eq!(artifact.recipients().len(), recipients, "{folder}");
    }
}

#[test]
fn links_special_files_and_bad_names_are_refused_by_name() {
    let model = Model::new();
    let root = model.at("model");
    let list = |links| list_source(&root, links, &|_, _| true).map(|files| files.len());
    assert_eq!(list(Links::Refuse).unwrap(), 4);
    symlink(model.at("model/config.json"), root.join("link.json")).unwrap();
    let refused = list(Links::Refuse).unwrap_err().to_string();
    assert!(
        refused.contains("link.json is a symbolic link"),
        "{refused}"
    );
    assert_eq!(list(Links::Follow).unwrap(), 5);
    symlink("..", root.join("up")).unwrap();
    assert!(matches!(
        list(Links::Follow).unwrap_err(),
        FolderError::FolderLink(_)
    ));
    fs::remove_file(root.join("up")).unwrap();
    fs::write(root.join("a\\b"), b"").unwrap();
    let refused = list(Links::Follow).unwrap_err().to_string();
    assert!(refused.contains("backslash"), "{refused}");
    fs::remove_file(root.join("a\\b")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    assert!(matches!(
        list(Links::Follow).unwrap_err(),
        FolderError::Special(_)
    ));
    drop(socket);
    let kept = list_source(&root, Links::Follow, &|path, is_dir| {
        is_dir || path.extension().is_some_and(|ext| ext == "safetensors")
    });
    assert_eq!(kept.unwrap().len(), 2);
    let none = list_source(&root, Links::Follow, &|_, _| false);
    assert!(matches!(none.unwrap_err(), FolderError::Empty));
}

#[test]
fn recipients_change_everywhere_and_again_after_an_interruption() {
    let model = Model::new();
    model.seal("sealed");
    let root = model.at("sealed");
    let keep = KEM.public_key().id().unwrap();
    let open = || model.open("sealed").unwrap();
    // A crash after two of five artifacts: a copy of the later ones comes back.
    let body = |path: &str| {
        let bytes = fs::read(root.join(path)).unwrap();
        bytes[..70_000].to_vec()
    };
    let shard = "model-00001-of-00002.safetensors.sealed";
    let late = ["manifest.casemate", "tokenizer/vocab.txt.sealed"];
    let old: Vec<_> = late
        .iter()
        .map(|path| fs::read(root.join(path)).unwrap())
        .collect();
    let (before, inode) = (body(shard), fs::metadata(root.join(shard)).unwrap().ino());
    let added = [OTHER_KEM.public_key()];
    let rewrap = |keep: &[_], added: &[_]| {
        rewrap_folder(open(), &[&*KEM], keep, added, None, &|| ()).unwrap()
    };
    let done = rewrap(&[keep], &added);
    assert_eq!((done.changed, done.skipped), (5, 0));
    for (path, bytes) in late.iter().zip(&old) {
        fs::write(root.join(path), bytes).unwrap();
    }
    fs::write(root.join(".casemate-rewrap"), "casemate-rewrap 1\n").unwrap();
    assert_eq!(
        unfinished_rewrap(&LocalFolder::open(&root).unwrap()).unwrap(),
        Some(Vec::new())
    );
    model.extract("sealed").unwrap();
    let done = rewrap(&[keep], &added);
    assert_eq!((done.changed, done.skipped), (2, 3));
    assert_eq!(
        unfinished_rewrap(&LocalFolder::open(&root).unwrap()).unwrap(),
        None
    );
    assert_eq!(body(shard), before, "the content was touched");
    assert_eq!(fs::metadata(root.join(shard)).unwrap().ino(), inode);

    let other = [&*OTHER_KEM];
    let origin = Origin::SignedBy(SIGNER.verifying_key());
    let opened = SealedFolder::open(
        Box::new(LocalFolder::open(&root).unwrap()),
        read_manifest(&LocalFolder::open(&root).unwrap()).unwrap(),
        &other,
        origin,
    )
    .unwrap();
    let out = model.at("other");
    opened
        .copy_to(&out, Existing::Keep, &other, &|_| ())
        .unwrap();
    assert_eq!(tree(&out), tree(&model.at("model")));
    drop(opened);

    rewrap(&[], &added);
    let refused = model.open("sealed").map(|_| ()).unwrap_err();
    assert!(matches!(refused, FolderError::Open { .. }));
}

#[test]
fn a_planted_artifact_is_not_rewrapped_to_anyone() {
    let model = Model::new();
    model.seal("sealed");
    model.seal("other");
    let name = "config.json.sealed";
    fs::copy(model.at("other").join(name), model.at("sealed").join(name)).unwrap();
    let folder = model.open("sealed").unwrap();
    let added = [OTHER_KEM.public_key()];
    let refused = rewrap_folder(folder, &[&*KEM], &[], &added, None, &|| ());
    assert!(matches!(
        refused.unwrap_err(),
        FolderError::OtherVersion { .. }
    ));
}

#[test]
fn an_interrupted_seal_leaves_nothing_that_stays() {
    let model = Model::new();
    let left = model.at(".sealed.00112233445566aa.part");
    fs::DirBuilder::new().mode(0o700).create(&left).unwrap();
    fs::write(left.join("half"), b"half").unwrap();
    let foreign = model.at(".sealed.notours.part");
    fs::create_dir(&foreign).unwrap();
    // A suite that cannot be made: no recipient at all.
    let refused = model.seal_since("sealed", None, &[]);
    assert!(matches!(refused, Err(FolderError::Seal { .. })));
    assert!(!model.at("sealed").exists() && !left.exists() && foreign.exists());
    let names = fs::read_dir(model.home.path()).unwrap().count();
    assert_eq!(names, 2, "the model and the folder that is not ours");
}

#[test]
fn a_manifest_with_a_dangerous_path_or_in_another_encoding_is_refused() {
    let model = Model::new();
    let manifest = model.seal("sealed").manifest;
    let good = manifest.encode();
    assert_eq!(Manifest::decode(&good).unwrap(), manifest);
    let swap = |from: &str, to: &str| {
        let at = good
            .windows(from.len())
            .position(|window| window == from.as_bytes())
            .unwrap();
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        Manifest::decode(&bytes).unwrap_err().to_string()
    };
    assert!(swap("config.json", "../ssh_keys").contains("`..`"));
    assert!(swap("config.json", "/etc/passwd").contains("absolute"));
    assert!(swap("config.json", "zonfig.json").contains("ascending"));
    for len in 0..good.len() {
        Manifest::decode(&good[..len]).unwrap_err();
    }
    let longer = [good.as_slice(), &[0]].concat();
    assert!(
        Manifest::decode(&longer)
            .unwrap_err()
            .to_string()
            .contains("deterministic")
    );
    // One more file than is there, and more than any memory holds.
    let at = good
        .windows(3)
        .position(|w| w == [0x03, 0x84, 0x86])
        .unwrap()
        + 1;
    for count in [&[0x85][..], &[0x9b, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]] {
        let bytes = [&good[..at], count, &good[at + 1..]].concat();
        Manifest::decode(&bytes).unwrap_err();
    }
}

#[test]
fn a_version_before_that_holds_something_else_is_not_taken_over() {
    let model = Model::new();
    model.seal("one");
    let shard = model.at("one/model-00001-of-00002.safetensors.sealed");
    let whole = fs::read(&shard).unwrap();
    let mut damaged = whole.clone();
    damaged[100_000] ^= 1;
    fs::write(&shard, damaged).unwrap();
    let old = model.open("one").unwrap();
    let refused = model.seal_since("two", Some(&old), &[&KEM]).unwrap_err();
    assert!(matches!(
        refused,
        FolderError::Seal { .. } | FolderError::Open { .. }
    ));
    assert!(!model.at("two").exists());
    fs::write(&shard, whole).unwrap();
    model.seal_since("two", Some(&old), &[&KEM]).unwrap();
}

#[test]
fn a_recipient_that_one_file_lost_is_named_before_anything_changes() {
    let model = Model::new();
    model.seal("sealed");
    let root = model.at("sealed");
    let late = root.join("tokenizer/vocab.txt.sealed");
    let before = fs::read(&late).unwrap();
    let (kem, other) = (KEM.public_key(), OTHER_KEM.public_key());
    let ids = [kem.id().unwrap(), other.id().unwrap()];
    let rewrap = |keep: &[_], added: &[_]| {
        rewrap_folder(
            model.open("sealed").unwrap(),
            &[&*KEM],
            keep,
            added,
            None,
            &|| (),
        )
    };
    rewrap(&ids[..1], &[other]).unwrap();
    // An older tail of one file comes back.
    fs::write(&late, before).unwrap();
    let untouched = tree(&root);
    let refused = rewrap(&ids, &[]).unwrap_err();
    assert!(matches!(refused, FolderError::LostRecipient { key, .. } if key == ids[1]));
    assert_eq!(tree(&root), untouched);
    rewrap(&[], &[kem, other]).unwrap();
    rewrap(&ids, &[]).unwrap();
}

#[test]
fn an_empty_folder_that_was_added_is_refused() {
    let model = Model::new();
    model.seal("sealed");
    fs::create_dir_all(model.at("sealed/extra/deep")).unwrap();
    assert!(matches!(model.open("sealed"), Err(FolderError::Extra(_))));
}
