//! The rules as data.

use super::{Date, Evidence, Field, OutsidePolicy, Rule, Ruling, Step, Subject};
use crate::catalogue::{Classical, Scheme};

const fn date(year: u16, month: u8, day: u8) -> Date {
    Date { year, month, day }
}

/// A rule without a date applies already.
const NOW: Option<Date> = None;

/// Casemate's block list, which overrides every policy.
pub(super) const BLOCKED: Step = Step {
    ruling: Ruling::Blocked,
    after: NOW,
    note: "superseded by an incompatible standard",
    source: "Casemate's block list",
    evidence: Evidence::Own,
};

/// Every known policy.
pub static OUTSIDE_POLICIES: &[OutsidePolicy] = &[
    OutsidePolicy {
        id: "cnsa2",
        title: "CNSA 2.0",
        document: "NSA, CNSA 2.0 advisory (September 2022) and FAQ 2.1 (December 2024)",
        rules: CNSA2,
    },
    OutsidePolicy {
        id: "nist-ir-8547",
        title: "NIST IR 8547",
        document: "NIST IR 8547, initial public draft (November 2024)",
        rules: IR_8547,
    },
    OutsidePolicy {
        id: "us-eo-2026",
        title: "US order 2026",
        document: "Executive Order \"Securing the Nation Against Advanced Cryptographic Attacks\" (2026-06-22)",
        rules: US_ORDER,
    },
    OutsidePolicy {
        id: "bsi-tr-02102-1",
        title: "BSI TR-02102-1",
        document: "BSI TR-02102-1, version 2026-01 (2026-01-23)",
        rules: BSI,
    },
    OutsidePolicy {
        id: "anssi",
        title: "ANSSI",
        document: "ANSSI views on the post-quantum transition, and its dates for security visas",
        rules: ANSSI,
    },
    OutsidePolicy {
        id: "eu-roadmap",
        title: "EU roadmap 1.1",
        document: "EU coordinated implementation roadmap, version 1.1 (2025-06-11)",
        rules: EU,
    },
    OutsidePolicy {
        id: "uk-ncsc",
        title: "UK NCSC",
        document: "NCSC, timelines for migration to post-quantum cryptography (2025-03-20)",
        rules: NCSC,
    },
];

const CNSA2: &[Rule] = &[
    Rule {
        field: Field::Keys,
        subject: Subject::Alone(&[(Scheme::MlKem, &[5])]),
        step: Step {
            ruling: Ruling::Acceptable,
            after: NOW,
            note: "ML-KEM-1024 is the only key establishment in the suite",
            source: "CNSA 2.0 algorithm list",
            evidence: Evidence::General,
        },
    },
    Rule {
        field: Field::Keys,
        subject: Subject::Any(&[(Scheme::MlKem, &[1, 3])]),
        step: Step {
            ruling: Ruling::Disallowed,
            after: NOW,
            note: "the suite has ML-KEM at category 5 only",
            source: "CNSA 2.0 algorithm list",
            evidence: Evidence::General,
        },
    },
    Rule {
        field: Field::Keys,
        subject: Subject::Hybrid(&[(Scheme::MlKem, &[5])]),
        step: Step {
            ruling: Ruling::WhereNeeded,
            after: NOW,
            note: "hybrids are not required, but tolerated where a protocol needs them",
            source: "CNSA 2.0 FAQ 2.1",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Keys,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Disallowed,
            after: Some(date(2031, 12, 31)),
            note: "new acquisitions must comply from 2027-01-01; equipment classes become exclusive in 2030 and 2033",
            source: "CNSA 2.0 FAQ 2.1",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Signatures,
        subject: Subject::Alone(&[(Scheme::MlDsa, &[5])]),
        step: Step {
            ruling: Ruling::Acceptable,
            after: NOW,
            note: "ML-DSA-87; also LMS and XMSS for firmware and software",
            source: "CNSA 2.0 algorithm list",
            evidence: Evidence::General,
        },
    },
    Rule {
        field: Field::Signatures,
        subject: Subject::Any(&[(Scheme::MlDsa, &[2, 3]), (Scheme::SlhDsa, &[1, 3, 5])]),
        step: Step {
            ruling: Ruling::Disallowed,
            after: NOW,
            note: "the suite has ML-DSA at category 5 only, and no SLH-DSA",
            source: "CNSA 2.0 algorithm list",
            evidence: Evidence::General,
        },
    },
    Rule {
        field: Field::Signatures,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Disallowed,
            after: Some(date(2031, 12, 31)),
            note: "new acquisitions must comply from 2027-01-01; software and firmware signing becomes exclusive in 2030",
            source: "CNSA 2.0 FAQ 2.1",
            evidence: Evidence::Secondary,
        },
    },
];

const IR_8547: &[Rule] = &[
    Rule {
        field: Field::Both,
        subject: Subject::Alone(&[
            (Scheme::MlKem, &[1, 3, 5]),
            (Scheme::MlDsa, &[2, 3, 5]),
            (Scheme::SlhDsa, &[1, 3, 5]),
        ]),
        step: Step {
            ruling: Ruling::Acceptable,
            after: NOW,
            note: "a standard to migrate to: FIPS 203, FIPS 204 or FIPS 205",
            source: "NIST IR 8547 ipd, tables of post-quantum standards",
            evidence: Evidence::General,
        },
    },
    Rule {
        field: Field::Keys,
        subject: Subject::Hybrid(&[(Scheme::MlKem, &[1, 3, 5])]),
        step: Step {
            ruling: Ruling::Acceptable,
            after: NOW,
            note: "one approved half, in either position, is enough",
            source: "NIST SP 800-227 (2025-09-18), key combiners",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Both,
        subject: Subject::Classical(&[Classical::Rsa2048]),
        step: Step {
            ruling: Ruling::Deprecated,
            after: Some(date(2030, 12, 31)),
            note: "112 bits of security",
            source: "NIST IR 8547 ipd",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Both,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Disallowed,
            after: Some(date(2035, 12, 31)),
            note: "every classical algorithm; those of 128 bits or more are not deprecated first",
            source: "NIST IR 8547 ipd",
            evidence: Evidence::Secondary,
        },
    },
];

const US_ORDER: &[Rule] = &[
    Rule {
        field: Field::Both,
        subject: Subject::Alone(&[
            (Scheme::MlKem, &[1, 3, 5]),
            (Scheme::MlDsa, &[2, 3, 5]),
            (Scheme::SlhDsa, &[1, 3, 5]),
        ]),
        step: Step {
            ruling: Ruling::Acceptable,
            after: NOW,
            note: "the order requires post-quantum cryptography from a FIPS",
            source: "coverage of the order",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Keys,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Disallowed,
            after: Some(date(2030, 12, 31)),
            note: "high-value assets and high-impact systems; contractors through the FAR",
            source: "coverage of the order",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Signatures,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Disallowed,
            after: Some(date(2031, 12, 31)),
            note: "high-value assets and high-impact systems",
            source: "coverage of the order",
            evidence: Evidence::Secondary,
        },
    },
];

/// Key establishment that BSI accepts in hybrids; for Classic McEliece, only the catalogued
/// category 5 set.
const BSI_KEMS: &[(Scheme, &[u8])] = &[
    (Scheme::MlKem, &[3, 5]),
    (Scheme::FrodoKem, &[3]),
    (Scheme::ClassicMcEliece, &[5]),
];

const BSI: &[Rule] = &[
    Rule {
        field: Field::Keys,
        subject: Subject::Hybrid(BSI_KEMS),
        step: Step {
            ruling: Ruling::Acceptable,
            after: NOW,
            note: "hybrid; combined as in SP 800-227 or with CatKDF",
            source: "BSI TR-02102-1 2026-01, key agreement",
            evidence: Evidence::General,
        },
    },
    Rule {
        field: Field::Keys,
        subject: Subject::Alone(BSI_KEMS),
        step: Step {
            ruling: Ruling::HybridOnly,
            after: NOW,
            note: "only with a classical algorithm",
            source: "BSI TR-02102-1 2026-01, key agreement",
            evidence: Evidence::General,
        },
    },
    Rule {
        field: Field::Keys,
        subject: Subject::Any(&[(Scheme::MlKem, &[1])]),
        step: Step {
            ruling: Ruling::Disallowed,
            after: NOW,
            note: "ML-KEM at categories 3 and 5 only",
            source: "BSI TR-02102-1 2026-01, key agreement",
            evidence: Evidence::General,
        },
    },
    Rule {
        field: Field::Both,
        subject: Subject::Classical(&[Classical::Rsa2048]),
        step: Step {
            ruling: Ruling::Disallowed,
            after: NOW,
            note: "RSA needs 3000 bits",
            source: "BSI TR-02102-1 2026-01, RSA",
            evidence: Evidence::General,
        },
    },
    Rule {
        field: Field::Keys,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Disallowed,
            after: Some(date(2031, 12, 31)),
            note: "already after 2030-12-31 for very high protection needs",
            source: "BSI TR-02102-1 2026-01",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Signatures,
        subject: Subject::Hybrid(&[(Scheme::MlDsa, &[3, 5])]),
        step: Step {
            ruling: Ruling::Acceptable,
            after: NOW,
            note: "hybrid",
            source: "BSI TR-02102-1 2026-01, signatures",
            evidence: Evidence::General,
        },
    },
    Rule {
        field: Field::Signatures,
        subject: Subject::Alone(&[(Scheme::MlDsa, &[3, 5])]),
        step: Step {
            ruling: Ruling::HybridOnly,
            after: NOW,
            note: "only with a classical algorithm",
            source: "BSI TR-02102-1 2026-01, signatures",
            evidence: Evidence::General,
        },
    },
    Rule {
        field: Field::Signatures,
        subject: Subject::Alone(&[(Scheme::SlhDsa, &[3, 5])]),
        step: Step {
            ruling: Ruling::Acceptable,
            after: NOW,
            note: "hash-based signatures may be used alone",
            source: "BSI TR-02102-1 2026-01, signatures",
            evidence: Evidence::General,
        },
    },
    Rule {
        field: Field::Signatures,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Disallowed,
            after: Some(date(2035, 12, 31)),
            note: "classical algorithms alone are allowed until the end of 2035",
            source: "BSI TR-02102-1 2026-01",
            evidence: Evidence::Secondary,
        },
    },
];

const ANSSI: &[Rule] = &[
    Rule {
        field: Field::Both,
        subject: Subject::Hybrid(&[(Scheme::MlKem, &[3, 5]), (Scheme::MlDsa, &[3, 5])]),
        step: Step {
            ruling: Ruling::Acceptable,
            after: NOW,
            note: "hybrids are expected; the highest category is recommended",
            source: "ANSSI views on the post-quantum transition",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Both,
        subject: Subject::Alone(&[(Scheme::MlKem, &[1, 3, 5]), (Scheme::MlDsa, &[2, 3, 5])]),
        step: Step {
            ruling: Ruling::HybridOnly,
            after: NOW,
            note: "lattices are expected to be hybrid; the highest category is recommended",
            source: "ANSSI views on the post-quantum transition",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Signatures,
        subject: Subject::Alone(&[(Scheme::SlhDsa, &[1, 3, 5])]),
        step: Step {
            ruling: Ruling::Acceptable,
            after: NOW,
            note: "hash-based signatures may be used alone; the highest category is recommended",
            source: "ANSSI views on the post-quantum transition",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Both,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Disallowed,
            after: Some(date(2026, 12, 31)),
            note: "products that apply for a security visa",
            source: "ANSSI, dates for security visas",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Both,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Disallowed,
            after: Some(date(2030, 12, 31)),
            note: "classified government systems",
            source: "ANSSI, dates for government systems",
            evidence: Evidence::Secondary,
        },
    },
];

const EU: &[Rule] = &[
    Rule {
        field: Field::Both,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Disallowed,
            after: Some(date(2030, 12, 31)),
            note: "high-risk uses",
            source: "EU roadmap 1.1",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Both,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Disallowed,
            after: Some(date(2035, 12, 31)),
            note: "medium-risk uses, as far as feasible",
            source: "EU roadmap 1.1",
            evidence: Evidence::Secondary,
        },
    },
];

const NCSC: &[Rule] = &[
    Rule {
        field: Field::Both,
        subject: Subject::Alone(&[(Scheme::MlKem, &[3]), (Scheme::MlDsa, &[3])]),
        step: Step {
            ruling: Ruling::Acceptable,
            after: NOW,
            note: "the default for its purpose",
            source: "NCSC guidance on choosing algorithms",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Both,
        subject: Subject::EveryHybrid,
        step: Step {
            ruling: Ruling::Acceptable,
            after: NOW,
            note: "as an interim measure",
            source: "NCSC guidance on hybrids",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Both,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Deprecated,
            after: Some(date(2031, 12, 31)),
            note: "highest-priority migrations are complete",
            source: "NCSC timelines (2025-03-20)",
            evidence: Evidence::Secondary,
        },
    },
    Rule {
        field: Field::Both,
        subject: Subject::EveryClassical,
        step: Step {
            ruling: Ruling::Disallowed,
            after: Some(date(2035, 12, 31)),
            note: "migration is complete",
            source: "NCSC timelines (2025-03-20)",
            evidence: Evidence::Secondary,
        },
    },
];
