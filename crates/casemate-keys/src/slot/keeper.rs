//! Slot keys that are wrapped elsewhere (`spec/key-store.md`, section 2.4).

use std::fmt;

use casemate_crypto::Secret;

/// A kind of place that wraps slot keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeeperKind {
    /// An age file.
    Age,
    /// A PKCS#11 token.
    Pkcs11,
    /// AWS KMS.
    AwsKms,
    /// Google Cloud KMS.
    GoogleKms,
    /// Azure Key Vault.
    AzureKeyVault,
    /// A transit engine with Vault's API.
    Transit,
}

impl KeeperKind {
    const ALL: [Self; 6] = [
        Self::Age,
        Self::Pkcs11,
        Self::AwsKms,
        Self::GoogleKms,
        Self::AzureKeyVault,
        Self::Transit,
    ];

    pub(crate) const fn number(self) -> u64 {
        match self {
            Self::Age => 4,
            Self::Pkcs11 => 5,
            Self::AwsKms => 6,
            Self::GoogleKms => 7,
            Self::AzureKeyVault => 8,
            Self::Transit => 9,
        }
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Returns the name that people know it by.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Pkcs11 => "PKCS#11",
            Self::AwsKms => "AWS KMS",
            Self::GoogleKms => "Google Cloud KMS",
            Self::AzureKeyVault => "Azure Key Vault",
            Self::Transit => "transit",
        }
    }

    /// Returns whether the slot opens without a token, an account or a service that can be lost.
    pub const fn is_offline(self) -> bool {
        matches!(self, Self::Age)
    }
}

impl fmt::Display for KeeperKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a keeper did not wrap or unwrap.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// It has nothing that could open this slot, such as an age identity.
    #[error("no secret for it was given")]
    NotMine,
    /// It was asked and failed.
    #[error(transparent)]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// Wraps slot keys in a token, a service or a file format.
pub trait SlotKeeper {
    /// Returns the kind of slots that it opens.
    fn kind(&self) -> KeeperKind;

    /// Wraps the key of a slot. Authenticates `context` if it can.
    ///
    /// # Errors
    ///
    /// [`KeeperError`].
    fn wrap(
        &self,
        location: &str,
        context: &[u8],
        key: &Secret<32>,
    ) -> Result<Vec<u8>, KeeperError>;

    /// Unwraps the key of a slot. The key store checks whether it is the right one.
    ///
    /// # Errors
    ///
    /// [`KeeperError`].
    fn unwrap(
        &self,
        location: &str,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<Secret<32>, KeeperError>;
}
