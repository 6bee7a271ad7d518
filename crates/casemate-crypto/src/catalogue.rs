//! The catalogue: every algorithm that Casemate names, what it rests on, how it is identified, and who allows it.
//!
//! A row of the suite registry takes its sizes and identifiers from there, so that nothing is written twice. The other rows are
//! here to be compared and explained; nothing in this module can encrypt or sign.

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
    /// The word for it.
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
    /// The word for it.
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

/// A post-quantum scheme; with its security category it is one parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// FIPS 203.
    MlKem,
    /// FIPS 204.
    MlDsa,
    /// FIPS 205.
    SlhDsa,
    /// Falcon, to become FIPS 206.
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
    /// Kyber as it stood before FIPS 203.
    KyberRound3,
    /// Dilithium as it stood before FIPS 204.
    DilithiumRound3,
}

impl Scheme {
    /// Its family.
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

    /// The problem that must be hard.
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

    /// Whether it must never be accepted, whatever a policy says.
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
    /// The problem that must be hard.
    pub const fn assumption(self) -> &'static str {
        match self {
            Self::Rsa2048 | Self::Rsa3072 => "integer factoring",
            Self::P256 => "discrete logarithms on P-256",
            Self::P384 => "discrete logarithms on P-384",
            Self::X25519 | Self::Ed25519 => "discrete logarithms on Curve25519",
        }
    }
}

/// How far a specification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A final standard.
    Standard,
    /// A versioned specification, of no standards body.
    Published,
    /// An Internet-Draft; bytes may still change.
    Draft,
    /// Chosen by NIST, the standard not yet published.
    Selected,
    /// In a running competition.
    Candidate,
    /// Left a competition without being chosen.
    NotChosen,
    /// Replaced by an incompatible standard.
    Superseded,
    /// Casemate's own combination, registered nowhere.
    Experiment,
}

impl Status {
    /// The word for it.
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

/// Where a row comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A row of the KEM registry.
    Kem(&'static KemSuite),
    /// A row of the signature registry.
    Signature(&'static SignatureSuite),
    /// The pair of keys that signs HTTP messages.
    HttpPair,
    /// Catalogued only: Casemate never protects data with it, and why.
    Never(&'static str),
}

/// How an algorithm stands under a policy profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What a new key gets.
    Preferred,
    /// Allowed.
    Allowed,
    /// Not allowed.
    NotAllowed,
}

impl Standing {
    /// The words for it.
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
    /// Under the policy in force.
    Yes,
    /// Only under these other profiles; there may be none.
    OnlyUnder(Vec<String>),
    /// Never, and why.
    No(&'static str),
}

/// A row of the catalogue.
#[derive(Debug)]
pub struct Algorithm {
    /// What the user types.
    pub name: &'static str,
    /// The name in its specification.
    pub title: &'static str,
    /// What it is for.
    pub usage: Usage,
    /// Post-quantum half, or the whole.
    pub post_quantum: Option<Scheme>,
    /// Classical half, or the whole.
    pub classical: Option<Classical>,
    /// NIST security category of the post-quantum half; classical algorithms have none.
    pub level: Option<u8>,
    /// Specifications, the defining one first; none for an experiment.
    pub standards: &'static [&'static str],
    /// How far the defining specification has come.
    pub status: Status,
    /// Bytes of a public key as its specification serialises it.
    pub public_key_bytes: usize,
    /// Bytes of a private key in its shortest standard form, a seed where there is one; none where the length varies.
    pub private_key_bytes: Option<usize>,
    /// Bytes of a ciphertext or of the peer's share, or most bytes of a signature.
    pub output_bytes: usize,
    /// HPKE KEM identifier.
    pub hpke_kem: Option<u16>,
    /// PKIX algorithm identifier; of the named curve for Diffie-Hellman on NIST curves.
    pub oid: Option<ObjectIdentifier>,
    /// TLS 1.3 group or signature scheme.
    pub tls: Option<TlsCode>,
    /// JOSE `alg`.
    pub jose: Option<&'static str>,
    /// Algorithm of an HTTP message signature.
    pub http: Option<&'static str>,
    /// Where the row comes from.
    pub entry: Entry,
    /// What else a reader must know.
    pub note: Option<&'static str>,
}

/// Every algorithm, suites of the registry before the others of their kind.
pub fn catalogue() -> impl Iterator<Item = &'static Algorithm> {
    kems::ROWS.iter().chain(signatures::ROWS)
}

impl Algorithm {
    /// Finds an algorithm by name; case and punctuation do not count.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        let wanted = plain(name);
        catalogue().find(|row| plain(row.name) == wanted)
    }

    /// Names that a user may have meant, the nearest first, at most `most`.
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

    /// Its family.
    pub const fn family(&self) -> Family {
        match (self.post_quantum, self.classical) {
            (Some(_), Some(_)) => Family::Hybrid,
            (Some(scheme), None) => scheme.family(),
            (None, _) => Family::Classical,
        }
    }

    /// What must be hard: of a hybrid, either of the two.
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

    /// The triple that stands for a KEM suite on the wire.
    pub const fn hpke(&self) -> Option<HpkeTriple> {
        match self.entry {
            Entry::Kem(suite) => Some(suite.hpke),
            _ => None,
        }
    }

    /// How it stands under a policy profile.
    pub fn under(&self, policy: &Policy) -> Standing {
        let place = match self.entry {
            Entry::Kem(suite) => position(policy.kem_suites(), suite),
            Entry::Signature(suite) => position(policy.signature_suites(), suite),
            // Profiles choose between suites, and requests have one pair only.
            Entry::HttpPair => return Standing::Allowed,
            Entry::Never(_) => None,
        };
        match place {
            Some(0) => Standing::Preferred,
            Some(_) => Standing::Allowed,
            None => Standing::NotAllowed,
        }
    }

    /// Whether a profile offers its TLS group.
    pub fn tls_offered(&self, policy: &Policy) -> bool {
        self.tls.is_some_and(|code| {
            policy
                .tls_groups()
                .iter()
                .any(|group| group.name() == code.name)
        })
    }

    /// Whether Casemate protects data with it under `policy`, and if not, under which of `profiles`.
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

/// Letters and digits only, in lower case.
fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

/// Letters that two plain names share: all of the shorter if one contains the other, else those they begin with.
fn likeness(own: &str, wanted: &str) -> usize {
    if own.contains(wanted) || wanted.contains(own) {
        return own.len().min(wanted.len());
    }
    own.bytes()
        .zip(wanted.bytes())
        .take_while(|(a, b)| a == b)
        .count()
}

/// A row without words or identifiers, for the tables to fill.
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

/// What the registry knows about a KEM suite.
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

/// What the registry knows about a signature suite.
const fn signature_suite(suite: &'static SignatureSuite) -> Algorithm {
    // A seed of 32 bytes, and in a composite the raw Ed25519 key or an ECPrivateKey in DER.
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
