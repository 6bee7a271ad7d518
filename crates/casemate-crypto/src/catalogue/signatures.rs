//! Signatures.

use super::{Algorithm, BLANK, Classical, Entry, Scheme, Status, Usage, oid, signature_suite, tls};
use crate::{
    signature::HTTP_SUITE_NAME,
    suite::{
        MLDSA65_ED25519, MLDSA65_P384, MLDSA87, MLDSA87_P384, SLHDSA_SHA2_192S, SLHDSA_SHA2_256S,
    },
};

const CLASSICAL: &str = "classical alone: a quantum computer can forge it";
const HALF: &str = "classical alone: used only beside ML-DSA, where both must verify";
const CATEGORY_1: &str = "category 1; use the suites slhdsa-sha2-192s and slhdsa-sha2-256s";
const CANDIDATE: &str = "a candidate without a standard; its encoding still changes";

const COMPOSITE: &str = "draft-ietf-lamps-pq-composite-sigs-19";
const JOSE_COMPOSITE: &str = "draft-ietf-jose-pq-composite-sigs-05";
const HTTPSIG_PQ: &str = "C2SP httpsig-pq v1.0.0";
const TLS_MLDSA: &str = "draft-ietf-tls-mldsa";

const BASE: Algorithm = Algorithm {
    usage: Usage::Signature,
    ..BLANK
};

/// A candidate in the third round of NIST's additional signatures.
const fn candidate(scheme: Scheme, level: u8, sizes: [usize; 3]) -> Algorithm {
    let [public, private, signature] = sizes;
    Algorithm {
        post_quantum: Some(scheme),
        level: Some(level),
        standards: &["NIST IR 8610"],
        status: Status::Candidate,
        public_key_bytes: public,
        private_key_bytes: Some(private),
        output_bytes: signature,
        entry: Entry::Never(CANDIDATE),
        ..BASE
    }
}

pub(super) static ROWS: &[Algorithm] = &[
    Algorithm {
        title: "ML-DSA-87 with ECDSA P-384",
        standards: &[COMPOSITE, JOSE_COMPOSITE],
        status: Status::Draft,
        jose: Some("ML-DSA-87-ES384"),
        ..signature_suite(&MLDSA87_P384)
    },
    Algorithm {
        title: "ML-DSA-65 with Ed25519",
        standards: &[COMPOSITE, JOSE_COMPOSITE],
        status: Status::Draft,
        jose: Some("ML-DSA-65-Ed25519"),
        ..signature_suite(&MLDSA65_ED25519)
    },
    Algorithm {
        title: "ML-DSA-65 with ECDSA P-384",
        standards: &[COMPOSITE],
        status: Status::Draft,
        ..signature_suite(&MLDSA65_P384)
    },
    Algorithm {
        title: "ML-DSA-87",
        standards: &["FIPS 204", "RFC 9881", "RFC 9964", HTTPSIG_PQ, TLS_MLDSA],
        tls: Some(tls("mldsa87", 0x0906)),
        jose: Some("ML-DSA-87"),
        http: Some("ml-dsa-87"),
        ..signature_suite(&MLDSA87)
    },
    Algorithm {
        title: "SLH-DSA-SHA2-192s",
        standards: &["FIPS 205", "RFC 9909"],
        ..signature_suite(&SLHDSA_SHA2_192S)
    },
    Algorithm {
        title: "SLH-DSA-SHA2-256s",
        standards: &["FIPS 205", "RFC 9909"],
        ..signature_suite(&SLHDSA_SHA2_256S)
    },
    Algorithm {
        name: HTTP_SUITE_NAME,
        title: "Ed25519 and ML-DSA-65, two HTTP message signatures",
        post_quantum: Some(Scheme::MlDsa),
        classical: Some(Classical::Ed25519),
        level: Some(3),
        standards: &[HTTPSIG_PQ, "RFC 9421", "FIPS 204", "RFC 8032"],
        status: Status::Published,
        public_key_bytes: 1984,
        private_key_bytes: Some(64),
        output_bytes: 3373,
        http: Some("ed25519, ml-dsa-65"),
        entry: Entry::HttpPair,
        note: Some("signs requests and responses under every profile; both signatures must verify"),
        ..BASE
    },
    Algorithm {
        name: "mldsa65",
        title: "ML-DSA-65",
        post_quantum: Some(Scheme::MlDsa),
        level: Some(3),
        standards: &["FIPS 204", "RFC 9881", "RFC 9964", HTTPSIG_PQ, TLS_MLDSA],
        public_key_bytes: 1952,
        private_key_bytes: Some(32),
        output_bytes: 3309,
        oid: Some(oid("2.16.840.1.101.3.4.3.18")),
        tls: Some(tls("mldsa65", 0x0905)),
        jose: Some("ML-DSA-65"),
        http: Some("ml-dsa-65"),
        entry: Entry::Never(
            "lattice alone: used beside a classical half; where hybrids are ruled out, mldsa87 is used",
        ),
        ..BASE
    },
    Algorithm {
        name: "mldsa44",
        title: "ML-DSA-44",
        post_quantum: Some(Scheme::MlDsa),
        level: Some(2),
        standards: &["FIPS 204", "RFC 9881", "RFC 9964", HTTPSIG_PQ, TLS_MLDSA],
        public_key_bytes: 1312,
        private_key_bytes: Some(32),
        output_bytes: 2420,
        oid: Some(oid("2.16.840.1.101.3.4.3.17")),
        tls: Some(tls("mldsa44", 0x0904)),
        jose: Some("ML-DSA-44"),
        http: Some("ml-dsa-44"),
        entry: Entry::Never("category 2; suites begin at category 3"),
        ..BASE
    },
    Algorithm {
        name: "slhdsa-sha2-128s",
        title: "SLH-DSA-SHA2-128s",
        output_bytes: 7856,
        oid: Some(oid("2.16.840.1.101.3.4.3.20")),
        ..SLHDSA_128
    },
    Algorithm {
        name: "slhdsa-sha2-128f",
        title: "SLH-DSA-SHA2-128f",
        output_bytes: 17_088,
        oid: Some(oid("2.16.840.1.101.3.4.3.21")),
        ..SLHDSA_128
    },
    Algorithm {
        name: "slhdsa-shake-128f",
        title: "SLH-DSA-SHAKE-128f",
        output_bytes: 17_088,
        oid: Some(oid("2.16.840.1.101.3.4.3.27")),
        ..SLHDSA_128
    },
    Algorithm {
        name: "fndsa-512",
        title: "FN-DSA-512 (Falcon-512)",
        level: Some(1),
        public_key_bytes: 897,
        private_key_bytes: Some(1281),
        output_bytes: 666,
        ..FNDSA
    },
    Algorithm {
        name: "fndsa-1024",
        title: "FN-DSA-1024 (Falcon-1024)",
        level: Some(5),
        public_key_bytes: 1793,
        private_key_bytes: Some(2305),
        output_bytes: 1280,
        ..FNDSA
    },
    Algorithm {
        name: "mayo-1",
        title: "MAYO-1",
        ..candidate(Scheme::Mayo, 1, [1420, 24, 454])
    },
    Algorithm {
        name: "mayo-2",
        title: "MAYO-2",
        ..candidate(Scheme::Mayo, 1, [4912, 24, 186])
    },
    Algorithm {
        name: "mayo-3",
        title: "MAYO-3",
        ..candidate(Scheme::Mayo, 3, [2986, 32, 681])
    },
    Algorithm {
        name: "mayo-5",
        title: "MAYO-5",
        ..candidate(Scheme::Mayo, 5, [5554, 40, 964])
    },
    Algorithm {
        name: "uov-is",
        title: "UOV-Is",
        ..candidate(Scheme::Uov, 1, [412_160, 348_704, 96])
    },
    Algorithm {
        name: "uov-ip",
        title: "UOV-Ip",
        ..candidate(Scheme::Uov, 1, [278_432, 237_896, 128])
    },
    Algorithm {
        name: "uov-v",
        title: "UOV-V",
        ..candidate(Scheme::Uov, 5, [2_869_440, 2_436_704, 260])
    },
    Algorithm {
        name: "snova-24-5-4",
        title: "SNOVA (24, 5, 4)",
        ..candidate(Scheme::Snova, 1, [1016, 48, 248])
    },
    Algorithm {
        name: "cross-rsdp-128-fast",
        title: "CROSS-R-SDP-128, fast",
        status: Status::NotChosen,
        entry: Entry::Never(CROSS),
        ..candidate(Scheme::Cross, 1, [77, 32, 18_432])
    },
    Algorithm {
        name: "cross-rsdpg-128-small",
        title: "CROSS-R-SDP(G)-128, small",
        status: Status::NotChosen,
        entry: Entry::Never(CROSS),
        ..candidate(Scheme::Cross, 1, [54, 32, 8960])
    },
    Algorithm {
        name: "ed25519",
        title: "Ed25519",
        classical: Some(Classical::Ed25519),
        standards: &["FIPS 186-5", "RFC 8032"],
        public_key_bytes: 32,
        private_key_bytes: Some(32),
        output_bytes: 64,
        oid: Some(oid("1.3.101.112")),
        tls: Some(tls("ed25519", 0x0807)),
        jose: Some("Ed25519"),
        http: Some("ed25519"),
        entry: Entry::Never(HALF),
        ..BASE
    },
    Algorithm {
        name: "ecdsa-p256",
        title: "ECDSA P-256",
        classical: Some(Classical::P256),
        standards: &["FIPS 186-5"],
        public_key_bytes: 65,
        private_key_bytes: Some(32),
        output_bytes: 72,
        oid: Some(oid("1.2.840.10045.4.3.2")),
        tls: Some(tls("ecdsa_secp256r1_sha256", 0x0403)),
        jose: Some("ES256"),
        http: Some("ecdsa-p256-sha256"),
        entry: Entry::Never(CLASSICAL),
        ..BASE
    },
    Algorithm {
        name: "ecdsa-p384",
        title: "ECDSA P-384",
        classical: Some(Classical::P384),
        standards: &["FIPS 186-5"],
        public_key_bytes: 97,
        private_key_bytes: Some(48),
        output_bytes: 104,
        oid: Some(oid("1.2.840.10045.4.3.3")),
        tls: Some(tls("ecdsa_secp384r1_sha384", 0x0503)),
        jose: Some("ES384"),
        http: Some("ecdsa-p384-sha384"),
        entry: Entry::Never(HALF),
        ..BASE
    },
    Algorithm {
        name: "rsa-2048-pss",
        title: "RSA-2048 PSS",
        classical: Some(Classical::Rsa2048),
        public_key_bytes: 270,
        output_bytes: 256,
        ..RSA_PSS
    },
    Algorithm {
        name: "rsa-3072-pss",
        title: "RSA-3072 PSS",
        classical: Some(Classical::Rsa3072),
        public_key_bytes: 398,
        output_bytes: 384,
        ..RSA_PSS
    },
    Algorithm {
        name: "dilithium5-round3",
        title: "Dilithium5, round 3",
        post_quantum: Some(Scheme::DilithiumRound3),
        level: Some(5),
        standards: &["NIST round 3"],
        status: Status::Superseded,
        public_key_bytes: 2592,
        private_key_bytes: Some(4864),
        output_bytes: 4595,
        entry: Entry::Never("superseded by FIPS 204 and incompatible with it; never accepted"),
        ..BASE
    },
];

const CROSS: &str = "dropped from NIST's competition in 2026";

const SLHDSA_128: Algorithm = Algorithm {
    post_quantum: Some(Scheme::SlhDsa),
    level: Some(1),
    standards: &["FIPS 205", "RFC 9909"],
    public_key_bytes: 32,
    private_key_bytes: Some(64),
    entry: Entry::Never(CATEGORY_1),
    ..BASE
};

const FNDSA: Algorithm = Algorithm {
    post_quantum: Some(Scheme::FnDsa),
    standards: &["FIPS 206 (unpublished)"],
    status: Status::Selected,
    entry: Entry::Never("selected by NIST; the standard is not yet published"),
    note: Some("sizes of Falcon's third-round submission, with padded signatures"),
    ..BASE
};

const RSA_PSS: Algorithm = Algorithm {
    standards: &["FIPS 186-5", "RFC 8017"],
    oid: Some(oid("1.2.840.113549.1.1.10")),
    tls: Some(tls("rsa_pss_rsae_sha256", 0x0804)),
    jose: Some("PS256"),
    http: Some("rsa-pss-sha512"),
    entry: Entry::Never(CLASSICAL),
    ..BASE
};
