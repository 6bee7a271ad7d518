//! Identities of algorithms: names, numbers and lengths. Nothing here computes.
//!
//! Suites, keys, policies and TLS refer to these identities. To add an algorithm, add a variant;
//! the compiler then reports every `match` that needs a new arm.

pub use casemate_awslc::{MlDsa, MlKem};
use serde::Deserialize;

/// A Diffie-Hellman group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// X25519 (RFC 7748).
    X25519,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}

impl Curve {
    /// Returns the length of a private scalar, in bytes.
    pub const fn scalar_bytes(self) -> usize {
        match self {
            Self::X25519 | Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// Returns the length of a public key, in bytes: the u-coordinate or the uncompressed point.
    pub const fn point_bytes(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::P256 => 65,
            Self::P384 => 97,
        }
    }

    /// Returns the length of the uniform seed that a scalar is derived from, in bytes.
    pub const fn seed_bytes(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::P256 => 128,
            Self::P384 => 48,
        }
    }
}

/// The classical half of a composite signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TradSignature {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA over P-384 with SHA-384, DER signatures.
    EcdsaP384,
}

impl TradSignature {
    /// Returns the length of a public key (the Ed25519 point, or the uncompressed P-384 point), in
    /// bytes.
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::EcdsaP384 => Curve::P384.point_bytes(),
        }
    }

    /// Returns the length of a private key (the Ed25519 seed, or the P-384 scalar), in bytes.
    pub const fn private_key_bytes(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::EcdsaP384 => Curve::P384.scalar_bytes(),
        }
    }
}

/// A parameter set of SLH-DSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlhDsa {
    /// SLH-DSA-SHA2-128s, NIST security category 1. For measurement only; no suite uses it.
    Sha2_128s,
    /// SLH-DSA-SHA2-128f, NIST security category 1. For measurement only; no suite uses it.
    Sha2_128f,
    /// SLH-DSA-SHA2-192s, NIST security category 3.
    Sha2_192s,
    /// SLH-DSA-SHA2-256s, NIST security category 5.
    Sha2_256s,
    /// SLH-DSA-SHAKE-128f, NIST security category 1. For measurement only; no suite uses it.
    Shake128f,
}

impl SlhDsa {
    /// Maximum length of a context string, in bytes.
    pub const CONTEXT_BYTES_MAX: usize = 255;

    /// Returns the standard's name for the parameter set.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha2_128s => "SLH-DSA-SHA2-128s",
            Self::Sha2_128f => "SLH-DSA-SHA2-128f",
            Self::Sha2_192s => "SLH-DSA-SHA2-192s",
            Self::Sha2_256s => "SLH-DSA-SHA2-256s",
            Self::Shake128f => "SLH-DSA-SHAKE-128f",
        }
    }

    /// Returns the security parameter `n`, in bytes.
    pub(crate) const fn n(self) -> usize {
        match self {
            Self::Sha2_128s | Self::Sha2_128f | Self::Shake128f => 16,
            Self::Sha2_192s => 24,
            Self::Sha2_256s => 32,
        }
    }

    /// Returns the length of `SK.seed || SK.prf || PK.seed`, in bytes.
    pub(crate) const fn seeds_bytes(self) -> usize {
        self.n().saturating_mul(3)
    }

    /// Returns the length of a public key, `PK.seed || PK.root`, in bytes.
    pub const fn public_key_bytes(self) -> usize {
        self.n().saturating_mul(2)
    }

    /// Returns the length of a private key, `SK.seed || SK.prf || PK.seed || PK.root`, in bytes.
    pub const fn private_key_bytes(self) -> usize {
        self.n().saturating_mul(4)
    }

    /// Returns the length of a signature, in bytes.
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::Sha2_128s => 7_856,
            Self::Sha2_128f | Self::Shake128f => 17_088,
            Self::Sha2_192s => 16_224,
            Self::Sha2_256s => 29_792,
        }
    }
}

/// A TLS 1.3 key exchange with a post-quantum half (RFC 10024).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsGroup {
    /// X25519 and ML-KEM-768, 0x11ec.
    X25519MlKem768,
    /// P-384 and ML-KEM-1024, 0x11ed.
    SecP384r1MlKem1024,
    /// P-256 and ML-KEM-768, 0x11eb.
    SecP256r1MlKem768,
}

impl TlsGroup {
    /// Every group.
    pub const ALL: [Self; 3] = [
        Self::X25519MlKem768,
        Self::SecP384r1MlKem1024,
        Self::SecP256r1MlKem768,
    ];

    /// Returns its IANA name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X25519MlKem768 => "X25519MLKEM768",
            Self::SecP384r1MlKem1024 => "SecP384r1MLKEM1024",
            Self::SecP256r1MlKem768 => "SecP256r1MLKEM768",
        }
    }

    /// Returns its number in the IANA registry of TLS supported groups.
    pub const fn code(self) -> u16 {
        match self {
            Self::X25519MlKem768 => 0x11ec,
            Self::SecP384r1MlKem1024 => 0x11ed,
            Self::SecP256r1MlKem768 => 0x11eb,
        }
    }

    /// Finds a group by its IANA name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
}

/// A hash over segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashAlgorithm {
    /// BLAKE3, 32 bytes, about ten times as fast as SHA-384.
    #[default]
    Blake3,
    /// SHA-384, 48 bytes, for profiles that allow FIPS algorithms only.
    Sha384,
}

impl HashAlgorithm {
    /// Finds a hash by its number in an artifact (`spec/sealed-artifact.md`, section 5).
    pub const fn by_id(id: u64) -> Option<Self> {
        match id {
            1 => Some(Self::Blake3),
            2 => Some(Self::Sha384),
            _ => None,
        }
    }

    /// Returns its number in an artifact.
    pub const fn id(self) -> u8 {
        match self {
            Self::Blake3 => 1,
            Self::Sha384 => 2,
        }
    }

    /// Returns its name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Sha384 => "sha384",
        }
    }

    /// Returns the length of one hash, in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Blake3 => 32,
            Self::Sha384 => 48,
        }
    }
}
