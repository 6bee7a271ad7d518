//! Makes a key store of version 2 of one of version 1.

use std::collections::BTreeMap;

use super::session::{Edit, change_of};
use crate::{
    State, StoreError, Versions,
    engine::{Engine, EngineError, Head},
    log::Actor,
    root::RootKey,
    row::{Role, RowId},
    slot::Openers,
    tree::Tree,
    version_1::{Header1, read_records},
    versions::Version,
};

/// Migrates a key store in one change, and returns its root key.
pub(super) fn migrate(
    engine: &impl Engine,
    head: &Head,
    openers: Openers<'_>,
) -> Result<RootKey, StoreError> {
    let (root, header) = Header1::decode(&head.header)?.unlock(openers)?;
    let stored = engine
        .version_1()?
        // Another process migrated it since the head was read.
        .ok_or(EngineError::Conflict)?;
    let records = read_records(&root, &head.header, &head.index, head.generation, stored)?;
    let mut rows = BTreeMap::new();
    for (id, record) in records {
        let record = record.migrated(id)?;
        let mut versions = Versions::new(record.name.clone());
        versions.push(Version {
            number: 1,
            key: id.key(),
            role: Role::of(id.kind()).ok_or(StoreError::DamagedRow(id))?,
            state: State::Active,
            since: record.created,
        })?;
        let name: RowId = root.name_row(&record.name)?;
        rows.insert(name, Some(versions.encode()));
        rows.insert(id, Some(record.encode()));
    }
    let edit = Edit {
        header: Some(header),
        rows,
        ..Edit::default()
    };
    let (expected, change) = {
        let view = engine.view()?;
        let nobody = (None, &Actor::default());
        change_of(edit, Tree::new(&*view, None), &root, head, nobody)?
    };
    match engine.commit(expected, &change) {
        Ok(()) => Ok(root),
        Err(EngineError::ReadOnly) => Err(StoreError::NotMigrated),
        Err(error) => Err(error.into()),
    }
}
