use std::collections::BTreeSet;

use super::*;
use crate::suite::{KEM_SUITES, SIGNATURE_SUITES};

fn row(name: &str) -> &'static Algorithm {
    Algorithm::by_name(name).unwrap()
}

fn verdict(policy: &str, name: &str) -> OutsideVerdict {
    let policy = OUTSIDE_POLICIES.iter().find(|one| one.id == policy);
    policy.unwrap().verdict(row(name))
}

/// Returns the ruling and day of the headline.
fn headline(policy: &str, name: &str) -> (Ruling, Option<String>) {
    let verdict = verdict(policy, name);
    (verdict.ruling, verdict.after.map(|date| date.to_string()))
}

/// Returns a ruling that applies after a day.
fn after(date: &str, ruling: Ruling) -> (Ruling, Option<String>) {
    (ruling, Some(date.to_owned()))
}

#[test]
fn names_are_unique_also_without_punctuation() {
    let mut seen = BTreeSet::new();
    for row in catalogue() {
        assert!(seen.insert(plain(row.name)), "{}", row.name);
    }
}

#[test]
fn each_suite_is_there_once_and_protects_and_nothing_else_does() {
    let profiles = Policy::built_in().unwrap();
    for suite in KEM_SUITES {
        let entries = catalogue().filter(|row| row.entry == Entry::Kem(suite));
        assert_eq!(entries.count(), 1, "{}", suite.name);
    }
    for suite in SIGNATURE_SUITES {
        let entries = catalogue().filter(|row| row.entry == Entry::Signature(suite));
        assert_eq!(entries.count(), 1, "{}", suite.name);
    }
    let protecting = catalogue()
        .filter(|row| !matches!(row.protects(&profiles[0], &profiles), Protects::No(_)))
        .count();
    assert_eq!(protecting, KEM_SUITES.len() + SIGNATURE_SUITES.len() + 1);
    for row in catalogue() {
        let registered = !matches!(row.entry, Entry::Never(_));
        let allowed = profiles
            .iter()
            .any(|policy| row.under(policy) != Standing::NotAllowed);
        assert_eq!(registered, allowed, "{}", row.name);
    }
}

/// Scripts match on these words in `casemate suites --json`.
#[test]
fn words_of_the_report_stay() {
    use {Evidence as E, Family as F, Ruling as R, Standing as G, Status as S, Usage as U};
    let usages = [U::Kem, U::KeyAgreement, U::Encryption, U::Signature].map(U::as_str);
    assert_eq!(usages, ["kem", "key agreement", "encryption", "signature"]);
    let families = [
        F::Hybrid,
        F::Lattice,
        F::CodeBased,
        F::HashBased,
        F::Multivariate,
        F::Classical,
    ];
    let words = [
        "hybrid",
        "lattice",
        "code-based",
        "hash-based",
        "multivariate",
        "classical",
    ];
    assert_eq!(families.map(F::as_str), words);
    let decided = [S::Standard, S::Published, S::Draft, S::Selected].map(S::as_str);
    assert_eq!(decided, ["standard", "published", "draft", "selected"]);
    let open = [S::Candidate, S::NotChosen, S::Superseded, S::Experiment].map(S::as_str);
    assert_eq!(
        open,
        ["candidate", "not chosen", "superseded", "experiment"]
    );
    let standings = [G::Preferred, G::Allowed, G::NotAllowed].map(G::as_str);
    assert_eq!(standings, ["preferred", "allowed", "not allowed"]);
    let mild = [
        R::NotAddressed,
        R::Acceptable,
        R::WhereNeeded,
        R::HybridOnly,
    ]
    .map(R::as_str);
    let words = [
        "not addressed",
        "acceptable",
        "only where a protocol needs it",
        "hybrid only",
    ];
    assert_eq!(mild, words);
    let strict = [R::Deprecated, R::Disallowed, R::Blocked].map(R::as_str);
    assert_eq!(strict, ["deprecated", "disallowed", "blocked"]);
    let evidence = [E::Secondary, E::General, E::Own].map(E::as_str);
    assert_eq!(
        evidence,
        ["secondary source", "general knowledge", "Casemate"]
    );
}

#[test]
fn sizes_of_suites_are_those_of_their_keys() {
    for suite in KEM_SUITES {
        let key = crate::kem::KemPrivateKey::generate(suite).unwrap();
        let row = row(suite.name);
        assert_eq!(
            row.public_key_bytes,
            key.public_key().as_bytes().len(),
            "{}",
            suite.name
        );
        let (seed, scalar) = key.secrets().unwrap();
        let secret = seed.expose().len() + scalar.map_or(0, |scalar| scalar.expose().len());
        let stored = row.private_key_bytes.unwrap();
        assert!(
            stored == secret || stored == suite.seed_bytes,
            "{}",
            suite.name
        );
    }
}

#[test]
fn no_row_is_left_blank() {
    for row in catalogue() {
        let Algorithm { name, title, .. } = row;
        assert!(!name.is_empty() && !title.is_empty(), "{name}");
        assert!(row.public_key_bytes > 0 && row.output_bytes > 0, "{name}");
        assert!(!row.assumption().is_empty(), "{name}");
        assert_eq!(row.level.is_none(), row.post_quantum.is_none(), "{name}");
        assert_eq!(
            row.standards.is_empty(),
            row.status == Status::Experiment,
            "{name}"
        );
        assert_ne!(row.entry, Entry::Never(""), "{name}");
        if row.status == Status::Superseded {
            assert!(row.post_quantum.unwrap().is_blocked(), "{name}");
        }
    }
}

#[test]
fn identifiers_are_those_of_the_standards() {
    let tls = |name| row(name).tls.unwrap();
    assert_eq!(tls("mlkem768-x25519").name, "X25519MLKEM768");
    assert_eq!(tls("mlkem768-x25519").value, 0x11ec);
    assert_eq!(tls("mlkem1024-p384").value, 0x11ed);
    assert_eq!(tls("mlkem768-p256").value, 0x11eb);
    assert_eq!(tls("mlkem1024").value, 0x0202);
    assert_eq!(tls("mldsa87").value, 0x0906);
    assert_eq!(row("mlkem768-x25519").hpke_kem, Some(0x647a));
    assert_eq!(row("mlkem768").hpke_kem, Some(0x0041));
    let triple = row("mlkem1024-p384").hpke().unwrap();
    assert_eq!((triple.kem, triple.kdf, triple.aead), (0x0051, 2, 2));
    let oid = |name| row(name).oid.unwrap().to_string();
    assert_eq!(oid("mlkem1024-p384"), "1.3.6.1.5.5.7.6.63");
    assert_eq!(oid("mldsa87-p384"), "1.3.6.1.5.5.7.6.49");
    assert_eq!(oid("mlkem512"), "2.16.840.1.101.3.4.4.1");
    assert_eq!(oid("mldsa65"), "2.16.840.1.101.3.4.3.18");
    assert_eq!(oid("slhdsa-shake-128f"), "2.16.840.1.101.3.4.3.27");
    let jose = |name| row(name).jose;
    assert_eq!(jose("mlkem768-x25519"), Some("HPKE-9"));
    assert_eq!(jose("mlkem1024-p384"), Some("HPKE-10"));
    assert_eq!(jose("mldsa65-ed25519"), Some("ML-DSA-65-Ed25519"));
    assert_eq!(jose("mldsa65-p384"), None, "no name is registered");
    let experiment = row("mlkem1024-x25519");
    assert_eq!((experiment.tls, experiment.jose), (None, None));
}

#[test]
fn sizes_family_and_assumption_follow_from_the_halves() {
    let hybrid = row("mldsa87-p384");
    assert_eq!(hybrid.family(), Family::Hybrid);
    assert_eq!(hybrid.private_key_bytes, Some(96));
    assert_eq!(
        hybrid.assumption(),
        "either of: module-LWE and module-SIS; discrete logarithms on P-384"
    );
    assert_eq!(row("slhdsa-sha2-256s").private_key_bytes, Some(128));
    assert_eq!(row("slhdsa-sha2-256s").family(), Family::HashBased);
    assert_eq!(row("mlkem1024").family(), Family::Lattice);
    assert_eq!(row("x25519").family(), Family::Classical);
    let pair = row("http-ed25519-mldsa65");
    let halves = [row("ed25519"), row("mldsa65")];
    let sum = |bytes: fn(&Algorithm) -> usize| halves.map(bytes).iter().sum::<usize>();
    assert_eq!(pair.public_key_bytes, sum(|half| half.public_key_bytes));
    assert_eq!(pair.output_bytes, sum(|half| half.output_bytes));
}

#[test]
fn names_are_found_without_punctuation_and_near_ones_are_offered() {
    assert_eq!(row("ML-KEM-768").name, "mlkem768");
    assert!(Algorithm::by_name("").is_none());
    assert_eq!(Algorithm::near("falcon512", 4), ["fndsa-512"]);
    assert_eq!(Algorithm::near("kyber1024", 1), ["kyber1024-round3"]);
    assert!(Algorithm::near("mlkem", 9).contains(&"mlkem1024"));
    assert!(Algorithm::near("", 4).is_empty());
    assert!(Algorithm::near("zzz", 4).is_empty());
}

#[test]
fn casemates_profiles_decide_who_protects() {
    let profiles = Policy::built_in().unwrap();
    let cnsa2 = Policy::by_name("cnsa2").unwrap();
    let protects = |name, policy| row(name).protects(policy, &profiles);
    let only =
        |names: &[&str]| Protects::OnlyUnder(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(protects("mlkem1024-p384", &profiles[0]), Protects::Yes);
    assert_eq!(
        protects("mlkem1024", &profiles[0]),
        only(&["cnsa2", "experimental"])
    );
    assert_eq!(protects("mlkem1024", &cnsa2), Protects::Yes);
    assert_eq!(
        protects("mlkem1024-x25519", &cnsa2),
        only(&["experimental"])
    );
    assert!(matches!(
        protects("mlkem768", &profiles[0]),
        Protects::No(_)
    ));
    assert_eq!(row("mlkem1024").under(&cnsa2), Standing::Preferred);
    assert_eq!(row("mlkem1024-p384").under(&cnsa2), Standing::NotAllowed);
    assert!(row("mlkem1024-p384").tls_offered(&cnsa2));
    assert!(!row("mlkem768-x25519").tls_offered(&cnsa2));
}

#[test]
fn cnsa2_accepts_category_5_alone_and_nothing_smaller() {
    assert_eq!(headline("cnsa2", "mlkem1024"), (Ruling::Acceptable, None));
    for refused in ["mlkem768", "mlkem512", "mlkem768-x25519", "mldsa65-ed25519"] {
        assert_eq!(headline("cnsa2", refused), (Ruling::Disallowed, None));
    }
    assert_eq!(headline("cnsa2", "mldsa87"), (Ruling::Acceptable, None));
    let refused = (Ruling::Disallowed, None);
    assert_eq!(headline("cnsa2", "slhdsa-sha2-256s"), refused);
    let hybrid = headline("cnsa2", "mlkem1024-p384");
    assert_eq!(hybrid, (Ruling::WhereNeeded, None));
    let classical = headline("cnsa2", "ecdsa-p384");
    assert_eq!(classical, after("2031-12-31", Ruling::Disallowed));
}

#[test]
fn ir_8547_deprecates_rsa_2048_but_not_p256() {
    for name in ["rsa-2048-pss", "rsa-2048-oaep"] {
        let steps = verdict("nist-ir-8547", name).steps;
        let said: Vec<_> = steps.iter().map(|step| step.ruling).collect();
        assert_eq!(said, [Ruling::Deprecated, Ruling::Disallowed]);
        assert_eq!(steps[0].after.unwrap().to_string(), "2030-12-31");
    }
    for name in ["ecdh-p256", "ecdsa-p256", "rsa-3072-pss", "ed25519"] {
        let verdict = verdict("nist-ir-8547", name);
        let disallowed = after("2035-12-31", Ruling::Disallowed);
        assert_eq!(headline("nist-ir-8547", name), disallowed);
        assert_eq!(verdict.steps.len(), 1, "{name} is not deprecated first");
    }
    let composite = headline("nist-ir-8547", "mldsa87-p384");
    assert_eq!(composite, (Ruling::NotAddressed, None));
}

#[test]
fn bsi_and_anssi_want_hybrids_except_of_hash_based_signatures() {
    for policy in ["bsi-tr-02102-1", "anssi"] {
        for name in ["mlkem1024-p384", "mldsa87-p384", "slhdsa-sha2-256s"] {
            assert_eq!(headline(policy, name), (Ruling::Acceptable, None), "{name}");
        }
        for name in ["mlkem1024", "mldsa87"] {
            assert_eq!(headline(policy, name), (Ruling::HybridOnly, None), "{name}");
        }
    }
    let bsi = |name| headline("bsi-tr-02102-1", name);
    assert_eq!(bsi("x25519"), after("2031-12-31", Ruling::Disallowed));
    assert_eq!(bsi("ed25519"), after("2035-12-31", Ruling::Disallowed));
    assert_eq!(bsi("rsa-2048-pss"), (Ruling::Disallowed, None));
    assert_eq!(bsi("rsa-3072-pss"), after("2035-12-31", Ruling::Disallowed));
    assert_eq!(bsi("mlkem512"), (Ruling::Disallowed, None));
    assert_eq!(bsi("frodokem-976"), (Ruling::HybridOnly, None));
    assert_eq!(bsi("frodokem-640"), (Ruling::NotAddressed, None));
    let visas = headline("anssi", "ecdsa-p256");
    assert_eq!(visas, after("2026-12-31", Ruling::Disallowed));
    assert_eq!(verdict("anssi", "ecdsa-p256").steps.len(), 2);
}

#[test]
fn the_other_policies_end_classical_algorithms_on_their_days() {
    let order = |name| headline("us-eo-2026", name);
    assert_eq!(order("x25519"), after("2030-12-31", Ruling::Disallowed));
    assert_eq!(order("ed25519"), after("2031-12-31", Ruling::Disallowed));
    assert_eq!(order("mlkem768"), (Ruling::Acceptable, None));
    let eu = headline("eu-roadmap", "ecdh-p384");
    assert_eq!(eu, after("2030-12-31", Ruling::Disallowed));
    let steps = verdict("uk-ncsc", "ecdsa-p384").steps;
    let said: Vec<_> = steps.iter().map(|step| step.ruling).collect();
    assert_eq!(said, [Ruling::Deprecated, Ruling::Disallowed]);
    let default = headline("uk-ncsc", "mlkem768");
    assert_eq!(default, (Ruling::Acceptable, None));
}

#[test]
fn what_no_policy_names_is_never_acceptable_and_the_block_list_goes_first() {
    for policy in OUTSIDE_POLICIES {
        for name in ["mayo-2", "hqc-128", "bike-l1", "mlkem1024-x25519"] {
            let verdict = policy.verdict(row(name));
            assert_eq!(verdict.ruling, Ruling::NotAddressed, "{name}");
            assert!(verdict.steps.is_empty());
        }
        // By its rule on hybrids, the NCSC would accept the last one.
        for name in [
            "kyber1024-round3",
            "dilithium5-round3",
            "x25519kyber768-draft00",
        ] {
            assert_eq!(policy.verdict(row(name)).ruling, Ruling::Blocked, "{name}");
        }
        for row in catalogue() {
            for step in policy.verdict(row).steps {
                assert!(!step.source.is_empty() && !step.note.is_empty());
            }
        }
    }
}
