//! The parsers of requests, answers and certificates, for fuzzing.

use casemate_tls::Subject;

use crate::{
    data_key,
    wire::{BindingChange, Key, KeyList, Named, Open, Rewrap, StatusList},
};

/// Reads bytes as everything that a service or its client may receive.
///
/// # Panics
///
/// If what was read is written differently.
pub fn read(bytes: &[u8]) {
    _ = Subject::of(bytes);
    _ = data_key::recipient(bytes);
    if let Ok(key) = serde_json::from_slice::<Key>(bytes)
        && let Some(entry) = key.read()
    {
        let again = Key::of(&entry).and_then(Key::read);
        assert_eq!(again.map(|entry| entry.id), Some(entry.id));
    }
    if let Ok(list) = serde_json::from_slice::<StatusList>(bytes) {
        list.statuses
            .into_iter()
            .for_each(|status| _ = status.read());
    }
    if let Ok(named) = serde_json::from_slice::<Named>(bytes) {
        named.versions.iter().for_each(|version| _ = version.read());
    }
    _ = serde_json::from_slice::<KeyList>(bytes);
    _ = serde_json::from_slice::<Open>(bytes);
    _ = serde_json::from_slice::<Rewrap>(bytes);
    _ = serde_json::from_slice::<BindingChange>(bytes);
}
