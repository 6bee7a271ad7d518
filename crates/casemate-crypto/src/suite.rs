//! The suite registry: every algorithm choice is a row of a table.
//!
//! Users type the names. On the wire, a KEM suite is identified by its HPKE triple and a signature
//! suite by its object identifier. Nothing is negotiated: a key belongs to one suite.

use spki::ObjectIdentifier;

use crate::algorithm::{Curve, MlDsa, MlKem, SlhDsa, TradSignature};

/// How a KEM suite derives its shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KemConstruction {
    /// `SHA3-256(ssM || ssT || ctT || ekT || label)` over ML-KEM and a Diffie-Hellman group
    /// (draft-irtf-cfrg-concrete-hybrid-kems, draft-ietf-lamps-pq-composite-kem).
    Hybrid {
        /// Post-quantum half.
        pq: MlKem,
        /// Classical half.
        trad: Curve,
        /// Domain separator of the combiner.
        label: &'static [u8],
    },
    /// ML-KEM alone.
    Pure(MlKem),
}

/// HPKE identifiers (RFC 9180, section 7; draft-ietf-hpke-pq).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpkeTriple {
    /// KEM identifier.
    pub kem: u16,
    /// KDF identifier.
    pub kdf: u16,
    /// AEAD identifier.
    pub aead: u16,
}

/// A row of the KEM registry.
#[derive(Debug, PartialEq, Eq)]
pub struct KemSuite {
    /// The name that users type.
    pub name: &'static str,
    /// How the shared secret is derived.
    pub construction: KemConstruction,
    /// The triple that identifies the suite on the wire, for example in a sealed artifact.
    pub hpke: HpkeTriple,
    /// PKIX algorithm identifier.
    pub oid: ObjectIdentifier,
    /// NIST security category of the post-quantum half.
    pub level: u8,
    /// Length of an encapsulation key, in bytes.
    pub public_key_bytes: usize,
    /// Length of an encapsulated secret (HPKE `enc`), in bytes.
    pub ciphertext_bytes: usize,
    /// Length of the private key in HPKE's serialisation, a seed, in bytes.
    pub seed_bytes: usize,
    /// Length of the randomness that one encapsulation consumes, in bytes.
    pub randomness_bytes: usize,
}

/// How a signature suite signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureConstruction {
    /// Both halves over one labelled message (draft-ietf-lamps-pq-composite-sigs).
    Composite {
        /// Post-quantum half.
        pq: MlDsa,
        /// Classical half.
        trad: TradSignature,
        /// Label of the composite, also the ML-DSA context.
        label: &'static [u8],
    },
    /// ML-DSA alone, with the purpose as its context.
    Pure(MlDsa),
    /// SLH-DSA alone, with the purpose as its context. It relies on its hash function only.
    HashBased(SlhDsa),
}

/// A row of the signature registry.
#[derive(Debug, PartialEq, Eq)]
pub struct SignatureSuite {
    /// The name that users type.
    pub name: &'static str,
    /// How it signs.
    pub construction: SignatureConstruction,
    /// PKIX algorithm identifier, also the identity on the wire.
    pub oid: ObjectIdentifier,
    /// NIST security category; in a composite, that of the post-quantum half.
    pub level: u8,
    /// Length of a public key, in bytes.
    pub public_key_bytes: usize,
    /// Maximum length of a signature, in bytes; an ECDSA half varies by a few.
    pub signature_bytes_max: usize,
}

/// The default for data at rest: artifacts and wrapped keys.
pub static MLKEM1024_P384: KemSuite = KemSuite {
    name: "mlkem1024-p384",
    construction: KemConstruction::Hybrid {
        pq: MlKem::MlKem1024,
        trad: Curve::P384,
        label: b"MLKEM1024-P384",
    },
    hpke: HpkeTriple {
        kem: 0x0051,
        kdf: 0x0002,
        aead: 0x0002,
    },
    oid: ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.6.63"),
    level: 5,
    public_key_bytes: 1665,
    ciphertext_bytes: 1665,
    seed_bytes: 32,
    randomness_bytes: 80,
};

/// The default for data in transit; the same KEM as X-Wing.
pub static MLKEM768_X25519: KemSuite = KemSuite {
    name: "mlkem768-x25519",
    construction: KemConstruction::Hybrid {
        pq: MlKem::MlKem768,
        trad: Curve::X25519,
        label: b"\\.//^\\",
    },
    hpke: HpkeTriple {
        kem: 0x647a,
        kdf: 0x0001,
        aead: 0x0002,
    },
    oid: ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.6.58"),
    level: 3,
    public_key_bytes: 1216,
    ciphertext_bytes: 1120,
    seed_bytes: 32,
    randomness_bytes: 64,
};

/// For deployments limited to NIST curves.
pub static MLKEM768_P256: KemSuite = KemSuite {
    name: "mlkem768-p256",
    construction: KemConstruction::Hybrid {
        pq: MlKem::MlKem768,
        trad: Curve::P256,
        label: b"MLKEM768-P256",
    },
    hpke: HpkeTriple {
        kem: 0x0050,
        kdf: 0x0001,
        aead: 0x0002,
    },
    oid: ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.6.59"),
    level: 3,
    public_key_bytes: 1249,
    ciphertext_bytes: 1153,
    seed_bytes: 32,
    randomness_bytes: 160,
};

/// For CNSA 2.0: no classical half.
pub static MLKEM1024: KemSuite = KemSuite {
    name: "mlkem1024",
    construction: KemConstruction::Pure(MlKem::MlKem1024),
    hpke: HpkeTriple {
        kem: 0x0042,
        kdf: 0x0002,
        aead: 0x0002,
    },
    oid: ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.4.3"),
    level: 5,
    public_key_bytes: 1568,
    ciphertext_bytes: 1568,
    seed_bytes: 64,
    randomness_bytes: 32,
};

/// ML-KEM-1024 with X25519: an experiment that no standard registers, used only if a policy names
/// it.
///
/// The combiner is that of the other hybrids. The HPKE identifier is unassigned, and the object
/// identifier is in the arc that RFC 5612 reserves for examples. Both are private to Casemate and
/// may change.
pub static MLKEM1024_X25519: KemSuite = KemSuite {
    name: "mlkem1024-x25519",
    construction: KemConstruction::Hybrid {
        pq: MlKem::MlKem1024,
        trad: Curve::X25519,
        label: b"MLKEM1024-X25519",
    },
    hpke: HpkeTriple {
        kem: 0xfe51,
        kdf: 0x0002,
        aead: 0x0002,
    },
    oid: ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.1"),
    level: 5,
    public_key_bytes: 1600,
    ciphertext_bytes: 1600,
    seed_bytes: 32,
    randomness_bytes: 64,
};

/// Every KEM suite, defaults first.
pub static KEM_SUITES: [&KemSuite; 5] = [
    &MLKEM1024_P384,
    &MLKEM768_X25519,
    &MLKEM768_P256,
    &MLKEM1024,
    &MLKEM1024_X25519,
];

/// The default for artifacts, rosters and roots.
pub static MLDSA87_P384: SignatureSuite = SignatureSuite {
    name: "mldsa87-p384",
    construction: SignatureConstruction::Composite {
        pq: MlDsa::MlDsa87,
        trad: TradSignature::EcdsaP384,
        label: b"COMPSIG-MLDSA87-ECDSA-P384-SHA512",
    },
    oid: ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.6.49"),
    level: 5,
    public_key_bytes: 2689,
    signature_bytes_max: 4731,
};

/// Smaller and faster, for frequent signatures.
pub static MLDSA65_ED25519: SignatureSuite = SignatureSuite {
    name: "mldsa65-ed25519",
    construction: SignatureConstruction::Composite {
        pq: MlDsa::MlDsa65,
        trad: TradSignature::Ed25519,
        label: b"COMPSIG-MLDSA65-Ed25519-SHA512",
    },
    oid: ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.6.48"),
    level: 3,
    public_key_bytes: 1984,
    signature_bytes_max: 3373,
};

/// For deployments limited to NIST curves.
pub static MLDSA65_P384: SignatureSuite = SignatureSuite {
    name: "mldsa65-p384",
    construction: SignatureConstruction::Composite {
        pq: MlDsa::MlDsa65,
        trad: TradSignature::EcdsaP384,
        label: b"COMPSIG-MLDSA65-ECDSA-P384-SHA512",
    },
    oid: ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.6.46"),
    level: 3,
    public_key_bytes: 2049,
    signature_bytes_max: 3413,
};

/// For CNSA 2.0: no classical half.
pub static MLDSA87: SignatureSuite = SignatureSuite {
    name: "mldsa87",
    construction: SignatureConstruction::Pure(MlDsa::MlDsa87),
    oid: ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19"),
    level: 5,
    public_key_bytes: 2592,
    signature_bytes_max: 4627,
};

/// Hash-based, for offline roots.
pub static SLHDSA_SHA2_192S: SignatureSuite = SignatureSuite {
    name: "slhdsa-sha2-192s",
    construction: SignatureConstruction::HashBased(SlhDsa::Sha2_192s),
    oid: ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.22"),
    level: 3,
    public_key_bytes: 48,
    signature_bytes_max: 16_224,
};

/// Hash-based, for offline roots.
pub static SLHDSA_SHA2_256S: SignatureSuite = SignatureSuite {
    name: "slhdsa-sha2-256s",
    construction: SignatureConstruction::HashBased(SlhDsa::Sha2_256s),
    oid: ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.24"),
    level: 5,
    public_key_bytes: 64,
    signature_bytes_max: 29_792,
};

/// Every signature suite, defaults first.
pub static SIGNATURE_SUITES: [&SignatureSuite; 6] = [
    &MLDSA87_P384,
    &MLDSA65_ED25519,
    &MLDSA65_P384,
    &MLDSA87,
    &SLHDSA_SHA2_192S,
    &SLHDSA_SHA2_256S,
];

impl KemSuite {
    /// Finds a suite by the name a user types.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        KEM_SUITES.into_iter().find(|suite| suite.name == name)
    }

    /// Finds a suite by its PKIX algorithm identifier.
    pub fn by_oid(oid: ObjectIdentifier) -> Option<&'static Self> {
        KEM_SUITES.into_iter().find(|suite| suite.oid == oid)
    }

    /// Finds a suite by the triple that identifies it on the wire.
    pub fn by_hpke(triple: HpkeTriple) -> Option<&'static Self> {
        KEM_SUITES.into_iter().find(|suite| suite.hpke == triple)
    }

    /// Returns whether the suite has a classical half beside the post-quantum one.
    pub const fn is_hybrid(&self) -> bool {
        matches!(self.construction, KemConstruction::Hybrid { .. })
    }
}

impl SignatureSuite {
    /// Finds a suite by the name a user types.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        SIGNATURE_SUITES
            .into_iter()
            .find(|suite| suite.name == name)
    }

    /// Finds a suite by its PKIX algorithm identifier.
    pub fn by_oid(oid: ObjectIdentifier) -> Option<&'static Self> {
        SIGNATURE_SUITES.into_iter().find(|suite| suite.oid == oid)
    }

    /// Returns whether the suite has a classical half beside the post-quantum one.
    pub const fn is_hybrid(&self) -> bool {
        matches!(self.construction, SignatureConstruction::Composite { .. })
    }
}
