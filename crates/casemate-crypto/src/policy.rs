//! Policy profiles: which rows of the registry may protect data.
//!
//! A profile is a TOML file; five are built in (`policies/`). New keys use the first suite of a
//! list.

use std::str::FromStr;

use serde::Deserialize;

use crate::{
    algorithm::{HashAlgorithm, TlsGroup},
    signature::HTTP_SUITE_NAME,
    suite::{KemSuite, SignatureSuite},
};

/// Maximum length of a policy file, in bytes.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;

/// Maximum number of characters from a file that an error quotes.
const SHOWN_MAX: usize = 160;

const BUILT_IN: [&str; 5] = [
    include_str!("../policies/hybrid.toml"),
    include_str!("../policies/cnsa2.toml"),
    include_str!("../policies/bsi.toml"),
    include_str!("../policies/anssi.toml"),
    include_str!("../policies/experimental.toml"),
];

/// Why a policy is not valid, or does not allow something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The file is not a TOML policy.
    #[error("not a policy file: {reason}")]
    Malformed {
        /// The TOML parser's message.
        reason: String,
    },
    /// The file is too long.
    #[error("policy file of {actual} bytes exceeds the limit of {POLICY_BYTES_MAX}")]
    TooLong {
        /// Length given, in bytes.
        actual: usize,
    },
    /// A list names a suite that is not in the registry.
    #[error("unknown suite `{name}` in the policy")]
    UnknownSuite {
        /// The name in the file.
        name: String,
    },
    /// A list names a TLS group that this program does not support.
    #[error("unknown TLS group `{name}` in the policy")]
    UnknownGroup {
        /// The name in the file.
        name: String,
    },
    /// A required list is empty.
    #[error("policy allows no {list}")]
    Empty {
        /// The list.
        list: &'static str,
    },
    /// No built-in profile has this name.
    #[error("there is no built-in policy `{name}`")]
    UnknownProfile {
        /// The name given.
        name: String,
    },
    /// The suite of a key or an artifact is not allowed.
    #[error("policy `{policy}` does not allow the suite {suite}")]
    NotAllowed {
        /// The policy's name.
        policy: String,
        /// The suite's name.
        suite: &'static str,
    },
}

/// What to do when an expired version is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expired {
    /// Warn.
    #[default]
    Warn,
    /// Refuse it.
    Refuse,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    name: String,
    description: String,
    kem: Vec<String>,
    signature: Vec<String>,
    tls: Vec<String>,
    hash: HashAlgorithm,
    /// Signing pairs of requests and responses.
    #[serde(default)]
    http: Vec<String>,
    /// KEM suites under which requests are encrypted.
    #[serde(default)]
    ohttp: Vec<String>,
    #[serde(default)]
    expired: Expired,
}

/// Which suites may be used.
#[derive(Clone, Debug)]
pub struct Policy {
    name: String,
    description: String,
    kem: Vec<&'static KemSuite>,
    signature: Vec<&'static SignatureSuite>,
    tls: Vec<TlsGroup>,
    hash: HashAlgorithm,
    http: bool,
    ohttp: Vec<&'static KemSuite>,
    expired: Expired,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    ///
    /// [`PolicyError`], which says what is wrong. Unknown fields and unknown suites are refused.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong { actual: text.len() });
        }
        let wire: Wire = toml::from_str(text).map_err(|error| PolicyError::Malformed {
            reason: bounded(error.message()),
        })?;
        let kem = find_all(wire.kem, "KEM suite", KemSuite::by_name)?;
        let signature = find_all(wire.signature, "signature suite", SignatureSuite::by_name)?;
        let tls = find_groups(wire.tls)?;
        let http = wire.http.iter().map(|name| {
            let known = name == HTTP_SUITE_NAME;
            known.then_some(()).ok_or_else(|| unknown_suite(name))
        });
        let http = !http.collect::<Result<Vec<_>, _>>()?.is_empty();
        // Both may be empty: a policy may forbid requests altogether.
        let ohttp = find_known(wire.ohttp, KemSuite::by_name)?;
        let Wire {
            name,
            description,
            hash,
            expired,
            ..
        } = wire;
        Ok(Self {
            name,
            description,
            kem,
            signature,
            tls,
            hash,
            http,
            ohttp,
            expired,
        })
    }

    /// Finds a built-in profile.
    ///
    /// # Errors
    ///
    /// [`PolicyError::UnknownProfile`].
    pub fn by_name(name: &str) -> Result<Self, PolicyError> {
        Self::built_in()?
            .into_iter()
            .find(|policy| policy.name == name)
            .ok_or_else(|| PolicyError::UnknownProfile {
                name: name.to_owned(),
            })
    }

    /// Returns every built-in profile, the default first.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if a built-in file is malformed; a test rules this out.
    pub fn built_in() -> Result<Vec<Self>, PolicyError> {
        BUILT_IN.into_iter().map(Self::from_toml).collect()
    }

    /// Returns what to do when an expired version is used.
    pub const fn expired(&self) -> Expired {
        self.expired
    }

    /// Returns the policy's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its one-line description.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns the allowed KEM suites, the preferred one first.
    pub fn kem_suites(&self) -> &[&'static KemSuite] {
        &self.kem
    }

    /// Returns the allowed signature suites, the preferred one first.
    pub fn signature_suites(&self) -> &[&'static SignatureSuite] {
        &self.signature
    }

    /// Returns the allowed TLS groups, the preferred one first.
    pub fn tls_groups(&self) -> &[TlsGroup] {
        &self.tls
    }

    /// Returns the hash for new artifacts.
    pub fn hash(&self) -> HashAlgorithm {
        self.hash
    }

    /// Checks a KEM suite.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotAllowed`].
    pub fn check_kem(&self, suite: &'static KemSuite) -> Result<(), PolicyError> {
        self.check(self.kem.contains(&suite), suite.name)
    }

    /// Checks a signature suite.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotAllowed`].
    pub fn check_signature(&self, suite: &'static SignatureSuite) -> Result<(), PolicyError> {
        self.check(self.signature.contains(&suite), suite.name)
    }

    /// Checks the signing pair of requests and responses.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotAllowed`].
    pub fn check_http(&self) -> Result<(), PolicyError> {
        self.check(self.http, HTTP_SUITE_NAME)
    }

    /// Checks the KEM suite under which requests are encrypted.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotAllowed`].
    pub fn check_ohttp(&self, suite: &'static KemSuite) -> Result<(), PolicyError> {
        self.check(self.ohttp.contains(&suite), suite.name)
    }

    fn check(&self, allowed: bool, suite: &'static str) -> Result<(), PolicyError> {
        if allowed {
            return Ok(());
        }
        Err(PolicyError::NotAllowed {
            policy: self.name.clone(),
            suite,
        })
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Self::from_toml(text)
    }
}

/// Truncates untrusted text to the length that an error quotes.
fn bounded(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    first.chars().take(SHOWN_MAX).collect()
}

fn find_all<T>(
    names: Vec<String>,
    list: &'static str,
    find: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, PolicyError> {
    if names.is_empty() {
        return Err(PolicyError::Empty { list });
    }
    find_known(names, find)
}

fn find_known<T>(
    names: Vec<String>,
    find: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, PolicyError> {
    let found = names.into_iter();
    found
        .map(|name| find(&name).ok_or_else(|| unknown_suite(&name)))
        .collect()
}

fn unknown_suite(name: &str) -> PolicyError {
    PolicyError::UnknownSuite {
        name: bounded(name),
    }
}

fn find_groups(names: Vec<String>) -> Result<Vec<TlsGroup>, PolicyError> {
    if names.is_empty() {
        return Err(PolicyError::Empty { list: "TLS group" });
    }
    let unknown = |name: &str| PolicyError::UnknownGroup {
        name: bounded(name),
    };
    let found = names.into_iter();
    found
        .map(|name| TlsGroup::by_name(&name).ok_or_else(|| unknown(&name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_is_read_and_the_first_is_hybrid() {
        let names: Vec<_> = Policy::built_in()
            .unwrap()
            .iter()
            .map(|policy| policy.name.clone())
            .collect();
        assert_eq!(names, ["hybrid", "cnsa2", "bsi", "anssi", "experimental"]);
    }

    #[test]
    fn the_hybrid_profile_refuses_pure_suites_and_cnsa2_refuses_hybrids() {
        let hybrid = Policy::by_name("hybrid").unwrap();
        assert_eq!(hybrid.check_kem(&crate::suite::MLKEM1024_P384), Ok(()));
        assert_eq!(
            hybrid
                .check_kem(&crate::suite::MLKEM1024)
                .unwrap_err()
                .to_string(),
            "policy `hybrid` does not allow the suite mlkem1024"
        );
        let cnsa2 = Policy::by_name("cnsa2").unwrap();
        assert_eq!(cnsa2.check_signature(&crate::suite::MLDSA87), Ok(()));
        let refused = cnsa2
            .check_signature(&crate::suite::MLDSA87_P384)
            .unwrap_err();
        assert!(matches!(
            refused,
            PolicyError::NotAllowed {
                suite: "mldsa87-p384",
                ..
            }
        ));
    }

    #[test]
    fn unknown_fields_and_suites_and_empty_lists_are_refused() {
        let good = BUILT_IN[0];
        let unknown = Policy::from_toml(&good.replace("mlkem768-p256", "kyber768")).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "unknown suite `kyber768` in the policy"
        );
        let extra = Policy::from_toml(&format!("allow_classical = true\n{good}")).unwrap_err();
        assert!(matches!(extra, PolicyError::Malformed { .. }));
        let empty = good.replace(
            r#"["X25519MLKEM768", "SecP384r1MLKEM1024", "SecP256r1MLKEM768"]"#,
            "[]",
        );
        assert_eq!(
            Policy::from_toml(&empty).unwrap_err(),
            PolicyError::Empty { list: "TLS group" }
        );
    }

    #[test]
    fn a_file_at_the_limit_is_read_and_one_byte_more_is_refused() {
        let good = BUILT_IN[0];
        let padded = |len| {
            let mut text = format!("{good}#{}", "x".repeat(65_538));
            text.truncate(len);
            text
        };
        assert_eq!(Policy::from_toml(&padded(65_536)).unwrap().name(), "hybrid");
        let refused = [65_537, 65_538].map(|len| Policy::from_toml(&padded(len)).unwrap_err());
        let expected = [65_537, 65_538].map(|actual| PolicyError::TooLong { actual });
        assert_eq!(refused, expected);
    }

    #[test]
    fn what_a_file_says_beside_its_suites_is_given_back() {
        let text = r#"
            name = "ours"
            description = "one of each"
            kem = ["mlkem1024", "mlkem768-p256"]
            signature = ["mldsa87"]
            tls = ["SecP384r1MLKEM1024", "X25519MLKEM768"]
            hash = "sha384"
            http = ["http-ed25519-mldsa65"]
            ohttp = ["mlkem768-x25519"]
        "#;
        let policy: Policy = text.parse().unwrap();
        assert_eq!(policy.name(), "ours");
        assert_eq!(policy.description(), "one of each");
        let kem = policy.kem_suites().iter().map(|suite| suite.name);
        assert_eq!(kem.collect::<Vec<_>>(), ["mlkem1024", "mlkem768-p256"]);
        let signature = policy.signature_suites().iter().map(|suite| suite.name);
        assert_eq!(signature.collect::<Vec<_>>(), ["mldsa87"]);
        let groups = [TlsGroup::SecP384r1MlKem1024, TlsGroup::X25519MlKem768];
        assert_eq!(policy.tls_groups(), groups);
        assert_eq!(policy.check_http(), Ok(()));
        let xwing = KemSuite::by_name("mlkem768-x25519").unwrap();
        assert_eq!(policy.check_ohttp(xwing), Ok(()));
        for (line, list) in [
            ("http", "http-ed25519-mldsa65"),
            ("ohttp", "mlkem768-x25519"),
        ] {
            let whole = format!("{line} = [\"{list}\"]");
            let without: Policy = text.replace(&whole, "").parse().unwrap();
            assert_eq!(without.check_http().is_ok(), line != "http");
            assert_eq!(without.check_ohttp(xwing).is_ok(), line != "ohttp");
            let other = text.replace(&whole, &format!("{line} = [\"x25519\"]"));
            let refused = other.parse::<Policy>().unwrap_err();
            assert!(matches!(refused, PolicyError::UnknownSuite { name } if name == "x25519"));
        }
        // An unusable group is an error in the file, not at the first connection.
        for group in ["X25519", "MLKEM1024", "x25519mlkem768"] {
            let other = text.replace("SecP384r1MLKEM1024", group);
            let refused = other.parse::<Policy>().unwrap_err();
            assert!(matches!(refused, PolicyError::UnknownGroup { name } if name == group));
        }
        assert_eq!(policy.hash(), HashAlgorithm::Sha384);
        let other = text.replace("sha384", "blake3").parse::<Policy>().unwrap();
        assert_eq!(other.hash(), HashAlgorithm::Blake3);
        let unknown = text.replace("sha384", "md5").parse::<Policy>();
        assert!(matches!(unknown, Err(PolicyError::Malformed { .. })));
    }
}
