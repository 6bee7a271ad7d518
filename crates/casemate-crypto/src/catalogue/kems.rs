//! Key encapsulation, key agreement and encryption.
//!
//! Sizes of algorithms outside the registry come from their specifications. For schemes that still
//! change, they come from the implementations that are measured.

use super::{Algorithm, BLANK, Classical, Entry, Scheme, Status, Usage, kem_suite, oid, tls};
use crate::suite::{MLKEM768_P256, MLKEM768_X25519, MLKEM1024, MLKEM1024_P384, MLKEM1024_X25519};

const CLASSICAL: &str = "classical alone: a quantum computer will decrypt traffic recorded today";
const HALF: &str = "classical alone: used as one half of hybrids; \
                    classical TLS peers can connect only with FALLBACK_CRYPTO=enabled";
const NO_STANDARD: &str = "has no NIST standard; catalogued for comparison only";
const SUPERSEDED: &str = "superseded by FIPS 203 and incompatible with it; never accepted";
const JOSE_KDF: Option<&str> =
    Some("the JOSE name is the same KEM with SHAKE256 as its KDF (0x0011) and AES-256-GCM");

const CONCRETE: &str = "draft-irtf-cfrg-concrete-hybrid-kems-04";
const HPKE_PQ: &str = "draft-ietf-hpke-pq-05";
const COMPOSITE_KEM: &str = "draft-ietf-lamps-pq-composite-kem-14";
const JOSE_HPKE: &str = "draft-ietf-jose-hpke-pq-pqt-01";
const TLS_HYBRIDS: &str = "RFC 10024";

pub(super) static ROWS: &[Algorithm] = &[
    Algorithm {
        title: "ML-KEM-1024 with P-384",
        standards: &[CONCRETE, HPKE_PQ, COMPOSITE_KEM, JOSE_HPKE, TLS_HYBRIDS],
        status: Status::Draft,
        tls: Some(tls("SecP384r1MLKEM1024", 0x11ed)),
        jose: Some("HPKE-10"),
        note: JOSE_KDF,
        ..kem_suite(&MLKEM1024_P384)
    },
    Algorithm {
        title: "ML-KEM-768 with X25519 (X-Wing)",
        standards: &[
            CONCRETE,
            "draft-connolly-cfrg-xwing-kem-11",
            HPKE_PQ,
            COMPOSITE_KEM,
            JOSE_HPKE,
            TLS_HYBRIDS,
        ],
        status: Status::Draft,
        tls: Some(tls("X25519MLKEM768", 0x11ec)),
        jose: Some("HPKE-9"),
        note: JOSE_KDF,
        ..kem_suite(&MLKEM768_X25519)
    },
    Algorithm {
        title: "ML-KEM-768 with P-256",
        standards: &[CONCRETE, HPKE_PQ, COMPOSITE_KEM, JOSE_HPKE, TLS_HYBRIDS],
        status: Status::Draft,
        tls: Some(tls("SecP256r1MLKEM768", 0x11eb)),
        jose: Some("HPKE-8"),
        note: JOSE_KDF,
        ..kem_suite(&MLKEM768_P256)
    },
    Algorithm {
        title: "ML-KEM-1024",
        standards: &[
            "FIPS 203",
            HPKE_PQ,
            "RFC 9935",
            JOSE_HPKE,
            "draft-ietf-tls-mlkem-11",
        ],
        tls: Some(tls("MLKEM1024", 0x0202)),
        jose: Some("HPKE-13"),
        note: JOSE_KDF,
        ..kem_suite(&MLKEM1024)
    },
    Algorithm {
        title: "ML-KEM-1024 with X25519",
        status: Status::Experiment,
        note: Some("both identifiers are private to Casemate and may change"),
        ..kem_suite(&MLKEM1024_X25519)
    },
    Algorithm {
        name: "mlkem768",
        title: "ML-KEM-768",
        post_quantum: Some(Scheme::MlKem),
        level: Some(3),
        standards: &[
            "FIPS 203",
            HPKE_PQ,
            "RFC 9935",
            JOSE_HPKE,
            "draft-ietf-tls-mlkem-11",
        ],
        public_key_bytes: 1184,
        private_key_bytes: Some(64),
        output_bytes: 1088,
        hpke_kem: Some(0x0041),
        oid: Some(oid("2.16.840.1.101.3.4.4.2")),
        tls: Some(tls("MLKEM768", 0x0201)),
        jose: Some("HPKE-12"),
        entry: Entry::Never(
            "lattice alone: used as one half of hybrids; where hybrids are ruled out, mlkem1024 is used",
        ),
        ..BLANK
    },
    Algorithm {
        name: "mlkem512",
        title: "ML-KEM-512",
        post_quantum: Some(Scheme::MlKem),
        level: Some(1),
        standards: &["FIPS 203", HPKE_PQ, "RFC 9935", "draft-ietf-tls-mlkem-11"],
        public_key_bytes: 800,
        private_key_bytes: Some(64),
        output_bytes: 768,
        hpke_kem: Some(0x0040),
        oid: Some(oid("2.16.840.1.101.3.4.4.1")),
        tls: Some(tls("MLKEM512", 0x0200)),
        entry: Entry::Never("category 1; suites begin at category 3"),
        ..BLANK
    },
    Algorithm {
        name: "hqc-128",
        title: "HQC-128",
        post_quantum: Some(Scheme::Hqc),
        level: Some(1),
        standards: &["NIST IR 8545"],
        status: Status::Selected,
        public_key_bytes: 2249,
        private_key_bytes: Some(2305),
        output_bytes: 4433,
        entry: Entry::Never("selected by NIST; the standard is not yet published"),
        note: HQC_NOTE,
        ..BLANK
    },
    Algorithm {
        name: "hqc-256",
        title: "HQC-256",
        post_quantum: Some(Scheme::Hqc),
        level: Some(5),
        standards: &["NIST IR 8545"],
        status: Status::Selected,
        public_key_bytes: 7245,
        private_key_bytes: Some(7317),
        output_bytes: 14_421,
        entry: Entry::Never("selected by NIST; the standard is not yet published"),
        note: HQC_NOTE,
        ..BLANK
    },
    Algorithm {
        name: "mceliece348864",
        title: "Classic McEliece 348864",
        post_quantum: Some(Scheme::ClassicMcEliece),
        level: Some(1),
        standards: &["NIST IR 8545"],
        status: Status::NotChosen,
        public_key_bytes: 261_120,
        private_key_bytes: Some(6492),
        output_bytes: 96,
        entry: Entry::Never(NO_STANDARD),
        ..BLANK
    },
    Algorithm {
        name: "mceliece6688128",
        title: "Classic McEliece 6688128",
        post_quantum: Some(Scheme::ClassicMcEliece),
        level: Some(5),
        standards: &["NIST IR 8545"],
        status: Status::NotChosen,
        public_key_bytes: 1_044_992,
        private_key_bytes: Some(13_932),
        output_bytes: 208,
        entry: Entry::Never(NO_STANDARD),
        ..BLANK
    },
    Algorithm {
        name: "frodokem-640",
        title: "FrodoKEM-640",
        post_quantum: Some(Scheme::FrodoKem),
        level: Some(1),
        standards: &["NIST IR 8413"],
        status: Status::NotChosen,
        public_key_bytes: 9616,
        private_key_bytes: Some(19_888),
        output_bytes: 9720,
        entry: Entry::Never(NO_STANDARD),
        ..BLANK
    },
    Algorithm {
        name: "frodokem-976",
        title: "FrodoKEM-976",
        post_quantum: Some(Scheme::FrodoKem),
        level: Some(3),
        standards: &["NIST IR 8413"],
        status: Status::NotChosen,
        public_key_bytes: 15_632,
        private_key_bytes: Some(31_296),
        output_bytes: 15_744,
        entry: Entry::Never(NO_STANDARD),
        ..BLANK
    },
    Algorithm {
        name: "bike-l1",
        title: "BIKE-L1",
        post_quantum: Some(Scheme::Bike),
        level: Some(1),
        standards: &["NIST IR 8545"],
        status: Status::NotChosen,
        public_key_bytes: 1541,
        private_key_bytes: Some(5223),
        output_bytes: 1573,
        entry: Entry::Never(NO_STANDARD),
        ..BLANK
    },
    Algorithm {
        name: "x25519",
        title: "X25519",
        usage: Usage::KeyAgreement,
        classical: Some(Classical::X25519),
        standards: &["RFC 7748", "RFC 9180"],
        public_key_bytes: 32,
        private_key_bytes: Some(32),
        output_bytes: 32,
        hpke_kem: Some(0x0020),
        oid: Some(oid("1.3.101.110")),
        tls: Some(tls("x25519", 0x001d)),
        jose: Some("ECDH-ES"),
        entry: Entry::Never(HALF),
        ..BLANK
    },
    Algorithm {
        name: "ecdh-p256",
        title: "ECDH P-256",
        usage: Usage::KeyAgreement,
        classical: Some(Classical::P256),
        standards: &["SP 800-56A", "RFC 9180"],
        public_key_bytes: 65,
        private_key_bytes: Some(32),
        output_bytes: 65,
        hpke_kem: Some(0x0010),
        oid: Some(oid("1.2.840.10045.3.1.7")),
        tls: Some(tls("secp256r1", 0x0017)),
        jose: Some("ECDH-ES"),
        entry: Entry::Never(HALF),
        ..BLANK
    },
    Algorithm {
        name: "ecdh-p384",
        title: "ECDH P-384",
        usage: Usage::KeyAgreement,
        classical: Some(Classical::P384),
        standards: &["SP 800-56A", "RFC 9180"],
        public_key_bytes: 97,
        private_key_bytes: Some(48),
        output_bytes: 97,
        hpke_kem: Some(0x0011),
        oid: Some(oid("1.3.132.0.34")),
        tls: Some(tls("secp384r1", 0x0018)),
        jose: Some("ECDH-ES"),
        entry: Entry::Never(HALF),
        ..BLANK
    },
    Algorithm {
        name: "rsa-2048-oaep",
        title: "RSA-2048 OAEP",
        usage: Usage::Encryption,
        classical: Some(Classical::Rsa2048),
        standards: &["RFC 8017"],
        public_key_bytes: 270,
        output_bytes: 256,
        oid: Some(oid("1.2.840.113549.1.1.7")),
        jose: Some("RSA-OAEP-256"),
        entry: Entry::Never(CLASSICAL),
        ..BLANK
    },
    Algorithm {
        name: "rsa-3072-oaep",
        title: "RSA-3072 OAEP",
        usage: Usage::Encryption,
        classical: Some(Classical::Rsa3072),
        standards: &["RFC 8017"],
        public_key_bytes: 398,
        output_bytes: 384,
        oid: Some(oid("1.2.840.113549.1.1.7")),
        jose: Some("RSA-OAEP-256"),
        entry: Entry::Never(CLASSICAL),
        ..BLANK
    },
    Algorithm {
        name: "kyber1024-round3",
        title: "Kyber-1024, round 3",
        post_quantum: Some(Scheme::KyberRound3),
        level: Some(5),
        standards: &["NIST round 3"],
        status: Status::Superseded,
        public_key_bytes: 1568,
        private_key_bytes: Some(3168),
        output_bytes: 1568,
        entry: Entry::Never(SUPERSEDED),
        ..BLANK
    },
    Algorithm {
        name: "x25519kyber768-draft00",
        title: "X25519Kyber768Draft00",
        post_quantum: Some(Scheme::KyberRound3),
        classical: Some(Classical::X25519),
        level: Some(3),
        standards: &["draft-tls-westerbaan-xyber768d00"],
        status: Status::Superseded,
        public_key_bytes: 1216,
        output_bytes: 1120,
        tls: Some(tls("X25519Kyber768Draft00", 0x6399)),
        entry: Entry::Never(SUPERSEDED),
        ..BLANK
    },
];

const HQC_NOTE: Option<&str> =
    Some("sizes of the fourth-round submission; the standard will differ");
