//! The rules as data.

use super::{Date, Evidence, Field, OutsidePolicy, Rule, Ruling, Step, Subject};
use crate::catalogue::{Classical, Scheme};

const fn date(year: u16, month: u8, day: u8) -> Date {
    Date { year, month, day }
}

/// A rule without a day holds already.
const NOW: Option<Date> = None;

/// Casemate's block list goes before every policy.
pub(super) const BLOCKED: Step = Step {
    ruling: Ruling::Blocked,
    after: NOW,
    note: "superseded by a standard that it is incompatible with",
    source: "Casemate's block list",
    evidence: Evidence::Own,
};

/// Every policy that is known here.
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
            note: "ML-KEM-1024 is the suite's only key establishment",
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
            note: "of ML-KEM the suite has category 5 only",
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
            note: "hybrids are not required, and tolerated where a protocol needs them",
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
            note: "new acquisitions comply from 2027-01-01; classes of equipment become exclusive in 2030 and 2033",
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
            note: "ML-DSA-87; LMS and XMSS for firmware and software as well",
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
            note: "of ML-DSA the suite has category 5 only, and it has no SLH-DSA",
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
            note: "new acquisitions comply from 2027-01-01; software and firmware signing exclusive in 2030",
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
            note: "a standard to migrate to: FIPS 203, 204 or 205",
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
            note: "one approved half is enough, in any position",
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
            note: "every classical algorithm; those of 128 bits and more are not deprecated first",
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
            note: "post-quantum cryptography of a FIPS is what the order asks for",
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
            note: "high-value assets and high-impact systems; contractors by way of the FAR",
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

/// Key establishment that BSI accepts in hybrids; of Classic McEliece only the set of category 5 that is catalogued.
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
            note: "hybrid; combined as in SP 800-227 or by CatKDF",
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
            note: "together with a classical algorithm",
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
            note: "of ML-KEM categories 3 and 5 only",
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
            note: "after 2030-12-31 where protection must be very high",
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
            note: "together with a classical algorithm",
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
            note: "hash-based signatures may stand alone",
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
            note: "classical alone until the end of 2035",
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
            note: "hybrid is expected; the highest category is recommended",
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
            note: "hybrid is expected of lattices; the highest category is recommended",
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
            note: "hash-based signatures may stand alone; the highest category is recommended",
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
            note: "classified systems of the state",
            source: "ANSSI, dates for the state",
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
            note: "uses of high risk",
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
            note: "uses of medium risk, as far as feasible",
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
            note: "the default of its kind",
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
            note: "migrations of the highest priority are done",
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
