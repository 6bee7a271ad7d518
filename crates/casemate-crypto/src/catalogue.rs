//! The catalogue: every algorithm that Casemate knows, with its hardness assumption, its
//! identifiers and the policies that allow it.
//!
//! Rows of the suite registry take their sizes and identifiers from it, so nothing is written
//! twice. The other rows exist for comparison and explanation only. Nothing in this module can
//! encrypt or sign.

use spki::ObjectIdentifier;

use crate::{
    algorithm::{Curve, TradSignature},
    policy::Policy,
    suite::{HpkeTriple, KemConstruction, KemSuite, SignatureConstruction, SignatureSuite},
};

mod kems;
mod outside;
mod signatures;

pub use outside::{
    Date, Evidence, OUTSIDE_POLICIES, OutsidePolicy, OutsideVerdict, Ruling, Step, Subject,
};

/// What an algorithm is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Key encapsulation.
    Kem,
    /// Diffie-Hellman.
    KeyAgreement,
    /// Public-key encryption of short messages.
    Encryption,
    /// Signatures.
    Signature,
}

impl Usage {
    /// Returns its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kem => "kem",
            Self::KeyAgreement => "key agreement",
            Self::Encryption => "encryption",
            Self::Signature => "signature",
        }
    }
}

/// The mathematics behind an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A classical and a post-quantum algorithm together.
    Hybrid,
    /// Lattices.
    Lattice,
    /// Error-correcting codes.
    CodeBased,
    /// Hash functions.
    HashBased,
    /// Multivariate quadratic equations.
    Multivariate,
    /// Factoring and discrete logarithms, which a quantum computer solves.
    Classical,
}

impl Family {
    /// Returns its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::Lattice => "lattice",
            Self::CodeBased => "code-based",
            Self::HashBased => "hash-based",
            Self::Multivariate => "multivariate",
            Self::Classical => "classical",
        }
    }
}

/// A post-quantum scheme. A scheme and a security category make one parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// FIPS 203.
    MlKem,
    /// FIPS 204.
    MlDsa,
    /// FIPS 205.
    SlhDsa,
    /// Falcon, which will be FIPS 206.
    FnDsa,
    /// Classic McEliece.
    ClassicMcEliece,
    /// HQC.
    Hqc,
    /// FrodoKEM.
    FrodoKem,
    /// BIKE.
    Bike,
    /// MAYO.
    Mayo,
    /// Unbalanced oil and vinegar.
    Uov,
    /// SNOVA.
    Snova,
    /// CROSS.
    Cross,
    /// Kyber, before FIPS 203.
    KyberRound3,
    /// Dilithium, before FIPS 204.
    DilithiumRound3,
}

impl Scheme {
    /// Returns its family.
    pub const fn family(self) -> Family {
        match self {
            Self::MlKem
            | Self::MlDsa
            | Self::FnDsa
            | Self::FrodoKem
            | Self::KyberRound3
            | Self::DilithiumRound3 => Family::Lattice,
            Self::SlhDsa => Family::HashBased,
            Self::ClassicMcEliece | Self::Hqc | Self::Bike | Self::Cross => Family::CodeBased,
            Self::Mayo | Self::Uov | Self::Snova => Family::Multivariate,
        }
    }

    /// Returns the problem that must be hard.
    pub const fn assumption(self) -> &'static str {
        match self {
            Self::MlKem | Self::KyberRound3 => "module-LWE",
            Self::MlDsa | Self::DilithiumRound3 => "module-LWE and module-SIS",
            Self::SlhDsa => "second preimages and pseudorandomness of the hash function",
            Self::FnDsa => "SIS over NTRU lattices",
            Self::ClassicMcEliece => "decoding binary Goppa codes",
            Self::Hqc => "decoding quasi-cyclic codes",
            Self::FrodoKem => "LWE without structure",
            Self::Bike => "decoding quasi-cyclic MDPC codes",
            Self::Mayo => "multivariate quadratic equations (whipped oil and vinegar)",
            Self::Uov => "multivariate quadratic equations (oil and vinegar)",
            Self::Snova => "multivariate quadratic equations (oil and vinegar over a matrix ring)",
            Self::Cross => "restricted syndrome decoding",
        }
    }

    /// Returns whether it is refused under every policy.
    pub const fn is_blocked(self) -> bool {
        matches!(self, Self::KyberRound3 | Self::DilithiumRound3)
    }
}

/// A classical primitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classical {
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// X25519.
    X25519,
    /// Ed25519.
    Ed25519,
}

impl Classical {
    /// Returns the problem that must be hard.
    pub const fn assumption(self) -> &'static str {
        match self {
            Self::Rsa2048 | Self::Rsa3072 => "integer factoring",
            Self::P256 => "discrete logarithms on P-256",
            Self::P384 => "discrete logarithms on P-384",
            Self::X25519 | Self::Ed25519 => "discrete logarithms on Curve25519",
        }
    }
}

/// The maturity of a specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A final standard.
    Standard,
    /// A versioned specification that is not from a standards body.
    Published,
    /// An Internet-Draft; bytes may still change.
    Draft,
    /// Selected by NIST; the standard is not yet published.
    Selected,
    /// In an ongoing competition.
    Candidate,
    /// Dropped from a competition.
    NotChosen,
    /// Replaced by an incompatible standard.
    Superseded,
    /// Casemate's own combination, not registered anywhere.
    Experiment,
}

impl Status {
    /// Returns its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Published => "published",
            Self::Draft => "draft",
            Self::Selected => "selected",
            Self::Candidate => "candidate",
            Self::NotChosen => "not chosen",
            Self::Superseded => "superseded",
            Self::Experiment => "experiment",
        }
    }
}

/// A TLS 1.3 group or signature scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsCode {
    /// IANA name.
    pub name: &'static str,
    /// IANA value.
    pub value: u16,
}

/// The source of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A row of the KEM registry.
    Kem(&'static KemSuite),
    /// A row of the signature registry.
    Signature(&'static SignatureSuite),
    /// The key pair that signs HTTP messages.
    HttpPair,
    /// Catalogued only. Casemate never protects data with it, for this reason.
    Never(&'static str),
}

/// What a policy profile says about an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The choice for a new key.
    Preferred,
    /// Allowed.
    Allowed,
    /// Not allowed.
    NotAllowed,
}

impl Standing {
    /// Returns its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preferred => "preferred",
            Self::Allowed => "allowed",
            Self::NotAllowed => "not allowed",
        }
    }
}

/// Whether Casemate protects data with an algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protects {
    /// Yes, under the current policy.
    Yes,
    /// Only under these other profiles, if any.
    OnlyUnder(Vec<String>),
    /// Never, for this reason.
    No(&'static str),
}

/// A row of the catalogue.
#[derive(Debug)]
pub struct Algorithm {
    /// The name that users type.
    pub name: &'static str,
    /// The name in its specification.
    pub title: &'static str,
    /// What it is for.
    pub usage: Usage,
    /// The post-quantum half, or the whole algorithm.
    pub post_quantum: Option<Scheme>,
    /// The classical half, or the whole algorithm.
    pub classical: Option<Classical>,
    /// The NIST security category of the post-quantum half; `None` for classical algorithms.
    pub level: Option<u8>,
    /// Specifications, the defining one first; empty for an experiment.
    pub standards: &'static [&'static str],
    /// The maturity of the defining specification.
    pub status: Status,
    /// Length of a public key as its specification serialises it, in bytes.
    pub public_key_bytes: usize,
    /// Length of a private key in its shortest standard form (the seed, if there is one), in bytes;
    /// `None` if it varies.
    pub private_key_bytes: Option<usize>,
    /// Length of a ciphertext or of the peer's share, or maximum length of a signature, in bytes.
    pub output_bytes: usize,
    /// HPKE KEM identifier.
    pub hpke_kem: Option<u16>,
    /// PKIX algorithm identifier; for Diffie-Hellman on NIST curves, that of the named curve.
    pub oid: Option<ObjectIdentifier>,
    /// TLS 1.3 group or signature scheme.
    pub tls: Option<TlsCode>,
    /// JOSE `alg`.
    pub jose: Option<&'static str>,
    /// Algorithm of an HTTP message signature.
    pub http: Option<&'static str>,
    /// Where the row comes from.
    pub entry: Entry,
    /// Further remarks.
    pub note: Option<&'static str>,
}

/// Returns every algorithm; within each kind, suites of the registry come first.
pub fn catalogue() -> impl Iterator<Item = &'static Algorithm> {
    kems::ROWS.iter().chain(signatures::ROWS)
}

impl Algorithm {
    /// Finds an algorithm by name, ignoring case and punctuation.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        let wanted = plain(name);
        catalogue().find(|row| plain(row.name) == wanted)
    }

    /// Returns at most `most` names that the user may have meant, the closest first.
    pub fn near(name: &str, most: usize) -> Vec<&'static str> {
        const SHARED_MIN: usize = 3;
        let wanted = plain(name);
        let mut near: Vec<_> = catalogue()
            .filter_map(|row| {
                let shared = [row.name, row.title]
                    .map(|own| likeness(&plain(own), &wanted))
                    .into_iter()
                    .max()?;
                (shared >= SHARED_MIN).then_some((shared, row.name))
            })
            .collect();
        near.sort_by_key(|(shared, _)| std::cmp::Reverse(*shared));
        near.into_iter().take(most).map(|(_, name)| name).collect()
    }

    /// Returns its family.
    pub const fn family(&self) -> Family {
        match (self.post_quantum, self.classical) {
            (Some(_), Some(_)) => Family::Hybrid,
            (Some(scheme), None) => scheme.family(),
            (None, _) => Family::Classical,
        }
    }

    /// Returns the hardness assumption; for a hybrid, either of two.
    pub fn assumption(&self) -> String {
        match (self.post_quantum, self.classical) {
            (Some(scheme), Some(classical)) => format!(
                "either of: {}; {}",
                scheme.assumption(),
                classical.assumption()
            ),
            (Some(scheme), None) => scheme.assumption().to_owned(),
            (None, Some(classical)) => classical.assumption().to_owned(),
            (None, None) => String::new(),
        }
    }

    /// Returns the triple that identifies a KEM suite on the wire.
    pub const fn hpke(&self) -> Option<HpkeTriple> {
        match self.entry {
            Entry::Kem(suite) => Some(suite.hpke),
            _ => None,
        }
    }

    /// Returns what a policy profile says about it.
    pub fn under(&self, policy: &Policy) -> Standing {
        let place = match self.entry {
            Entry::Kem(suite) => position(policy.kem_suites(), suite),
            Entry::Signature(suite) => position(policy.signature_suites(), suite),
            // Profiles choose among suites, but there is only one pair for requests.
            Entry::HttpPair => return Standing::Allowed,
            Entry::Never(_) => None,
        };
        match place {
            Some(0) => Standing::Preferred,
            Some(_) => Standing::Allowed,
            None => Standing::NotAllowed,
        }
    }

    /// Returns whether a profile offers its TLS group.
    pub fn tls_offered(&self, policy: &Policy) -> bool {
        self.tls.is_some_and(|code| {
            policy
                .tls_groups()
                .iter()
                .any(|group| group.name() == code.name)
        })
    }

    /// Returns whether Casemate protects data with it under `policy`, and if not, which of
    /// `profiles` would allow that.
    pub fn protects(&self, policy: &Policy, profiles: &[Policy]) -> Protects {
        if let Entry::Never(why) = self.entry {
            return Protects::No(why);
        }
        if self.under(policy) != Standing::NotAllowed {
            return Protects::Yes;
        }
        let others = profiles
            .iter()
            .filter(|other| self.under(other) != Standing::NotAllowed)
            .map(|other| other.name().to_owned());
        Protects::OnlyUnder(others.collect())
    }
}

fn position<T: PartialEq>(list: &[&T], wanted: &T) -> Option<usize> {
    list.iter().position(|suite| *suite == wanted)
}

/// Reduces a name to its letters and digits, in lower case.
fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

/// Returns how many letters two plain names share: the length of the shorter if one contains the
/// other, otherwise that of their common prefix.
fn likeness(own: &str, wanted: &str) -> usize {
    if own.contains(wanted) || wanted.contains(own) {
        return own.len().min(wanted.len());
    }
    own.bytes()
        .zip(wanted.bytes())
        .take_while(|(a, b)| a == b)
        .count()
}

/// A blank row, which the tables complete.
const BLANK: Algorithm = Algorithm {
    name: "",
    title: "",
    usage: Usage::Kem,
    post_quantum: None,
    classical: None,
    level: None,
    standards: &[],
    status: Status::Standard,
    public_key_bytes: 0,
    private_key_bytes: None,
    output_bytes: 0,
    hpke_kem: None,
    oid: None,
    tls: None,
    jose: None,
    http: None,
    entry: Entry::Never(""),
    note: None,
};

/// Returns the row of a KEM suite, as far as the registry knows it.
const fn kem_suite(suite: &'static KemSuite) -> Algorithm {
    let classical = match suite.construction {
        KemConstruction::Hybrid { trad, .. } => Some(match trad {
            Curve::X25519 => Classical::X25519,
            Curve::P256 => Classical::P256,
            Curve::P384 => Classical::P384,
        }),
        KemConstruction::Pure(_) => None,
    };
    Algorithm {
        name: suite.name,
        post_quantum: Some(Scheme::MlKem),
        classical,
        level: Some(suite.level),
        public_key_bytes: suite.public_key_bytes,
        private_key_bytes: Some(suite.seed_bytes),
        output_bytes: suite.ciphertext_bytes,
        hpke_kem: Some(suite.hpke.kem),
        oid: Some(suite.oid),
        entry: Entry::Kem(suite),
        ..BLANK
    }
}

/// Returns the row of a signature suite, as far as the registry knows it.
const fn signature_suite(suite: &'static SignatureSuite) -> Algorithm {
    // A 32-byte seed; in a composite, also the raw Ed25519 key or an ECPrivateKey in DER.
    let (scheme, classical, private) = match suite.construction {
        SignatureConstruction::Composite { trad, .. } => match trad {
            TradSignature::Ed25519 => (Scheme::MlDsa, Some(Classical::Ed25519), 64),
            TradSignature::EcdsaP384 => (Scheme::MlDsa, Some(Classical::P384), 96),
        },
        SignatureConstruction::Pure(_) => (Scheme::MlDsa, None, 32),
        SignatureConstruction::HashBased(_) => (
            Scheme::SlhDsa,
            None,
            suite.public_key_bytes.saturating_mul(2),
        ),
    };
    Algorithm {
        name: suite.name,
        usage: Usage::Signature,
        post_quantum: Some(scheme),
        classical,
        level: Some(suite.level),
        public_key_bytes: suite.public_key_bytes,
        private_key_bytes: Some(private),
        output_bytes: suite.signature_bytes_max,
        oid: Some(suite.oid),
        entry: Entry::Signature(suite),
        ..BLANK
    }
}

const fn oid(arcs: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(arcs)
}

const fn tls(name: &'static str, value: u16) -> TlsCode {
    TlsCode { name, value }
}

#[cfg(test)]
mod tests;
