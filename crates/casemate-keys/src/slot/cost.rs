//! The cost of guessing a passphrase.

use argon2::{Algorithm, Argon2, Params, Version};
use casemate_crypto::{Secret, SecretBytes};

use crate::StoreError;

pub(crate) const SALT_BYTES: usize = 16;
/// Maximum of KiB times passes over all passphrase slots: the cost of the most expensive single
/// slot.
pub(crate) const WORK_MAX: u64 = 1 << 24;

/// The cost of one guess at a passphrase (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    /// Returns the second recommended option of RFC 9106, section 4: 64 MiB, 3 passes, 4 lanes.
    fn default() -> Self {
        Self {
            memory_kib: 65_536,
            passes: 3,
            lanes: 4,
        }
    }
}

impl PassphraseCost {
    const MOST: Self = Self {
        memory_kib: 1 << 20,
        passes: 16,
        lanes: 16,
    };

    /// Refuses a cost that would take hours to compute.
    pub(crate) fn check(self) -> Result<Self, StoreError> {
        let most = Self::MOST;
        let fits = self.memory_kib <= most.memory_kib
            && self.passes <= most.passes
            && self.lanes <= most.lanes;
        if fits {
            Ok(self)
        } else {
            Err(StoreError::Header("passphrase cost exceeds its limit"))
        }
    }

    /// Returns the cost of an attempt, in KiB times passes.
    pub(crate) fn work(self) -> u64 {
        u64::from(self.memory_kib).saturating_mul(u64::from(self.passes))
    }

    /// Derives the slot key of a passphrase.
    pub(crate) fn derive(
        self,
        passphrase: &SecretBytes,
        salt: &[u8; SALT_BYTES],
    ) -> Result<Secret<32>, StoreError> {
        let bad = |_| StoreError::Header("passphrase cost is not valid");
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(bad)?;
        Secret::try_init(|key| {
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(passphrase.expose(), salt, key)
                .map_err(bad)
        })
    }
}
