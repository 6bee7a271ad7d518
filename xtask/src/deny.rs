//! `deny.toml`: licences, duplicate versions, sources and banned crates.
//!
//! cargo-deny reads the same file where it is installed. Building it takes longer than all other
//! checks of the workspace together, so the rules that need no database are checked here on what
//! cargo says.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::step::{Outcome, command, root};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    /// Crates that may depend on it; nobody may without this line.
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

pub(crate) fn run() -> Outcome {
    let findings = read().and_then(|(rules, metadata)| check(&rules, &metadata));
    match findings {
        Ok(findings) if findings.is_empty() => Outcome::Passed,
        Ok(findings) => {
            findings.iter().for_each(|finding| println!("{finding}"));
            Outcome::Failed(format!("{} findings", findings.len()))
        }
        Err(error) => Outcome::Failed(error),
    }
}

fn read() -> Result<(Rules, Metadata), String> {
    let text = std::fs::read_to_string(root().join("deny.toml"))
        .map_err(|error| format!("deny.toml: {error}"))?;
    let rules = toml::from_str(&text).map_err(|error| format!("deny.toml: {error}"))?;
    let arguments = ["metadata", "--format-version", "1", "--all-features"];
    let target = ["--filter-platform", env!("XTASK_TARGET")];
    let output = command("cargo", &arguments)
        .args(target)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut metadata: Metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let built = built()?;
    let is_built = |package: &Package| {
        let version = format!("v{}", package.version);
        built.contains(&(package.name.clone(), version))
    };
    metadata.packages.retain(is_built);
    Ok((rules, metadata))
}

/// Names and versions of the packages that are compiled. The metadata also has packages that an
/// optional feature names and nothing turns on.
fn built() -> Result<BTreeSet<(String, String)>, String> {
    let arguments = ["tree", "--workspace", "--all-features", "--prefix", "none"];
    let output = command("cargo", &arguments)
        .output()
        .map_err(|error| format!("cargo tree: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let packages = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    Ok(packages.collect())
}

fn check(rules: &Rules, metadata: &Metadata) -> Result<Vec<String>, String> {
    let packages: BTreeMap<_, _> = metadata
        .packages
        .iter()
        .map(|package| (package.id.as_str(), package))
        .collect();
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for node in &metadata.resolve.nodes {
        let Some(package) = packages.get(node.id.as_str()) else {
            continue;
        };
        let (name, version) = (package.name.as_str(), package.version.as_str());
        versions.entry(name).or_default().insert(version);
        if !is_allowed(package.license.as_deref(), &rules.licenses.allow)? {
            let license = package.license.as_deref().unwrap_or("none");
            findings.push(format!(
                "{name} {version}: licence {license} is not allowed"
            ));
        }
        if package
            .source
            .as_deref()
            .is_some_and(|source| source != REGISTRY)
        {
            findings.push(format!("{name} {version}: is not from crates.io"));
        }
        for dependency in &node.dependencies {
            let Some(dependency) = packages.get(dependency.as_str()) else {
                continue;
            };
            let dependency = dependency.name.as_str();
            let mut bans = rules.bans.deny.iter();
            let ban = bans.find(|ban| ban.name == dependency);
            if ban.is_some_and(|ban| !ban.wrappers.iter().any(|wrapper| wrapper == name)) {
                findings.push(format!("{name} {version}: may not depend on {dependency}"));
            }
        }
    }
    versions.retain(|_, found| found.len() > 1);
    for skip in &rules.bans.skip {
        if !versions.contains_key(skip.name.as_str()) {
            findings.push(format!("{}: skipped, but has one version", skip.name));
        }
    }
    for (name, versions) in versions {
        if !rules.bans.skip.iter().any(|skip| skip.name == name) {
            let versions: Vec<_> = versions.into_iter().collect();
            findings.push(format!("{name}: several versions: {}", versions.join(", ")));
        }
    }
    Ok(findings)
}

/// Whether a licence expression can be met by what is allowed.
fn is_allowed(license: Option<&str>, allowed: &[String]) -> Result<bool, String> {
    let Some(license) = license else {
        return Ok(false);
    };
    let parsed = Expression::parse_mode(license, ParseMode::LAX)
        .map_err(|error| format!("licence {license}: {error}"))?;
    Ok(parsed.evaluate(|requirement| {
        let text = requirement.to_string();
        allowed.contains(&text)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_allowed_if_it_can_be_met() {
        let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for (license, expected) in [
            (Some("MIT"), true),
            (Some("MIT/GPL-3.0-only"), true),
            (Some("MIT OR GPL-3.0-only"), true),
            (Some("MIT AND GPL-3.0-only"), false),
            (Some("Apache-2.0"), false),
            (Some("Apache-2.0 WITH LLVM-exception"), true),
            (None, false),
        ] {
            assert_eq!(
                is_allowed(license, &allowed).unwrap(),
                expected,
                "{license:?}"
            );
        }
    }

    #[test]
    fn only_a_wrapper_may_depend_on_a_banned_crate() {
        let rules = |wrapper: &str| -> Rules {
            toml::from_str(&format!(
                "[licenses]\nallow = [\"MIT\"]\n[bans]\ndeny = [{{ crate = \"b\", wrappers = [\"{wrapper}\"] }}]\nskip = []\n"
            ))
            .unwrap()
        };
        let package = |name: &str| {
            format!(
                r#"{{"id":"{name}","name":"{name}","version":"1.0.0","license":"MIT","source":null}}"#
            )
        };
        let text = format!(
            r#"{{"packages":[{},{}],"resolve":{{"nodes":[{{"id":"a","dependencies":["b"]}},{{"id":"b","dependencies":[]}}]}}}}"#,
            package("a"),
            package("b")
        );
        let metadata: Metadata = serde_json::from_str(&text).unwrap();
        assert!(check(&rules("a"), &metadata).unwrap().is_empty());
        assert_eq!(
            check(&rules("c"), &metadata).unwrap(),
            ["a 1.0.0: may not depend on b"]
        );
    }

    #[test]
    fn several_versions_are_skipped_by_name_and_a_skip_needs_them() {
        let rules = |skipped: &str| -> Rules {
            toml::from_str(&format!(
                "[licenses]\nallow = [\"MIT\"]\n[bans]\ndeny = []\nskip = [{skipped}]\n"
            ))
            .unwrap()
        };
        let package = |id: &str, name: &str, version: &str| {
            format!(
                r#"{{"id":"{id}","name":"{name}","version":"{version}","license":"MIT","source":null}}"#
            )
        };
        let node = |id: &str| format!(r#"{{"id":"{id}","dependencies":[]}}"#);
        let text = format!(
            r#"{{"packages":[{},{},{}],"resolve":{{"nodes":[{},{},{}]}}}}"#,
            package("a1", "a", "1.0.0"),
            package("a2", "a", "2.0.0"),
            package("b", "b", "1.0.0"),
            node("a1"),
            node("a2"),
            node("b"),
        );
        let metadata: Metadata = serde_json::from_str(&text).unwrap();
        for (skipped, expected) in [
            ("{ crate = \"a\" }", None),
            ("", Some("a: several versions: 1.0.0, 2.0.0")),
            (
                "{ crate = \"a\" }, { crate = \"b\" }",
                Some("b: skipped, but has one version"),
            ),
        ] {
            let findings = check(&rules(skipped), &metadata).unwrap();
            assert_eq!(findings, Vec::from_iter(expected), "{skipped}");
        }
    }
}
