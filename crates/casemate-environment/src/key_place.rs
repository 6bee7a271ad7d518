//! Where the keys of a home folder are.

use std::path::{Path, PathBuf};

use crate::{EnvironmentError, EtcdPlace, KeyService, etcd_path, key_service_path, store_path};

/// Where the keys of a home folder are.
#[derive(Clone, Debug)]
pub enum KeyPlace {
    /// In a key store in this file, which may not exist yet.
    File(PathBuf),
    /// In a key store in etcd.
    Etcd(EtcdPlace),
    /// In a key service.
    Service(KeyService),
}

impl KeyPlace {
    /// Finds out where the keys of a home folder are.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError::TwoKeyStores`] if they may be in two places, and the errors of reading a
    /// file.
    pub fn of(home: &Path) -> Result<Self, EnvironmentError> {
        let file = store_path(home);
        let places = [file.clone(), etcd_path(home), key_service_path(home)];
        let mut exist = [false; 3];
        for (path, exists) in places.iter().zip(&mut exist) {
            // A folder that cannot be read may have any of them.
            *exists = path.try_exists().map_err(|source| EnvironmentError::Io {
                path: path.clone(),
                source,
            })?;
        }
        match exist {
            [false, true, false] => EtcdPlace::read(home).map(Self::Etcd),
            [false, false, true] => KeyService::read(home).map(Self::Service),
            [_, false, false] => Ok(Self::File(file)),
            _ => Err(EnvironmentError::TwoKeyStores(home.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_home_are_in_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        assert!(matches!(KeyPlace::of(home), Ok(KeyPlace::File(_))));
        let service = "url = 'https://keys.example'\ncertificate = 'c.pem'\nkey = 'k.pem'\n";
        std::fs::write(key_service_path(home), service).unwrap();
        assert!(matches!(KeyPlace::of(home), Ok(KeyPlace::Service(_))));
        std::fs::write(store_path(home), "").unwrap();
        let refused = KeyPlace::of(home).unwrap_err();
        assert!(matches!(refused, EnvironmentError::TwoKeyStores(_)));
        std::fs::remove_file(store_path(home)).unwrap();
        std::fs::write(key_service_path(home), format!("{service}other = 1")).unwrap();
        let refused = KeyPlace::of(home).unwrap_err();
        assert!(matches!(refused, EnvironmentError::Toml { .. }));
        std::fs::remove_file(key_service_path(home)).unwrap();
        std::fs::write(etcd_path(home), "endpoints = ['http://localhost:2379']").unwrap();
        let Ok(KeyPlace::Etcd(place)) = KeyPlace::of(home) else {
            panic!("not in etcd");
        };
        assert_eq!(place.prefix, "casemate/");
    }
}
