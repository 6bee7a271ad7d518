//! Checks house rules that no other tool covers.

use std::{collections::BTreeMap, fs, path::Path};

use crate::step::{Outcome, command, root};

/// Files and folders that belong at the root.
const ROOT: [&str; 30] = [
    ".cargo",
    ".ci",
    ".config",
    ".editorconfig",
    ".gitattributes",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "STYLE.md",
    "assets",
    "attacks",
    "bindings",
    "clippy.toml",
    "crates",
    "deny.toml",
    "docs",
    "fuzz",
    "interop",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "spec",
    "vectors",
    "xtask",
];

/// Longest line of a comment in Rust and of Markdown. Tables and code have no limit.
const COMMENT_COLUMNS: usize = 100;
const MARKDOWN_COLUMNS: usize = 120;

/// Maximum length of a source file, in lines.
const LINES_MAX: usize = 600;

/// Words that mark unfinished work or marketing, each split in two so that this file does not
/// contain them.
const BANNED: [(&str, &str); 8] = [
    ("for ", "now,"),
    ("simpl", "ified"),
    ("in a real ", "system"),
    ("place", "holder"),
    ("to", "do!("),
    ("unimple", "mented!("),
    ("enterprise-", "grade"),
    ("FIX", "ME"),
];

/// Rank of each crate. A crate may depend only on crates of a lower rank.
const RANKS: [(&str, u8); 32] = [
    ("casemate-awslc", 0),
    ("casemate-beneath", 0),
    ("casemate-cbor", 0),
    ("casemate-memory", 0),
    ("casemate-parallel", 0),
    ("casemate-testkit", 0),
    ("casemate-crypto", 1),
    ("casemate-onnx", 1),
    ("xtask", 1),
    ("casemate-age", 2),
    ("casemate-audit", 2),
    ("casemate-message", 2),
    ("casemate-oms", 2),
    ("casemate-seal", 2),
    ("casemate-statement", 2),
    ("casemate-tls", 2),
    ("casemate-train", 2),
    ("casemate-keys", 3),
    ("casemate-models", 3),
    ("casemate-mount", 3),
    ("casemate-server", 3),
    ("casemate-store", 3),
    ("casemate-ct", 4),
    ("casemate-client", 4),
    ("casemate-gateway", 4),
    ("casemate-etcd", 5),
    ("casemate-service", 5),
    ("casemate-environment", 6),
    ("casemate-bench", 7),
    ("casemate-fuzzing", 7),
    ("casemate", 8),
    ("casemate-python", 8),
];

/// Crates without network access. A lint ensures that they read neither clock nor environment
/// (`clippy.toml`).
const PURE: [&str; 9] = [
    "casemate-age",
    "casemate-awslc",
    "casemate-cbor",
    "casemate-crypto",
    "casemate-seal",
    "casemate-keys",
    "casemate-message",
    "casemate-models",
    "casemate-train",
];
const IMPURE: [&str; 3] = ["tokio::", "hyper::", "std::net"];

pub(crate) fn run() -> Outcome {
    let mut findings = Vec::new();
    let listed = command(
        "git",
        &["ls-files", "--cached", "--others", "--exclude-standard"],
    )
    .output();
    let Ok(listed) = listed else {
        return Outcome::Failed("cannot run git".to_owned());
    };
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let files: Vec<_> = listed
        .lines()
        .filter(|file| root().join(file).exists())
        .collect();
    for file in &files {
        check_root(file, &mut findings);
        check_text(file, &mut findings);
    }
    check_directions(&mut findings);
    check_map(&mut findings);
    findings.sort();
    findings.dedup();
    findings.iter().for_each(|finding| println!("{finding}"));
    if findings.is_empty() {
        return Outcome::Passed;
    }
    Outcome::Failed(format!("{} findings", findings.len()))
}

fn check_root(file: &str, findings: &mut Vec<String>) {
    let top = file.split('/').next().unwrap_or(file);
    if !ROOT.contains(&top) {
        findings.push(format!("{top}: does not belong at the root"));
    }
}

fn check_text(file: &str, findings: &mut Vec<String>) {
    let path = Path::new(file);
    let source = path
        .extension()
        .is_some_and(|ext| ["rs", "py", "js", "md"].iter().any(|e| ext == *e));
    let Ok(text) = fs::read_to_string(root().join(file)) else {
        return;
    };
    if !source {
        return;
    }
    let lines = text.lines().count();
    if lines > LINES_MAX && path.extension().is_none_or(|ext| ext != "md") {
        findings.push(format!(
            "{file}: {lines} lines exceed the limit of {LINES_MAX}"
        ));
    }
    check_commands(file, &text, findings);
    check_widths(file, &text, findings);
    for (first, second) in BANNED {
        if text.contains(&format!("{first}{second}")) {
            findings.push(format!(
                "{file}: contains the banned word `{first}{second}`"
            ));
        }
    }
    let pure = PURE
        .iter()
        .any(|name| file.starts_with(&format!("crates/{name}/src/")));
    for word in IMPURE.iter().filter(|word| pure && text.contains(**word)) {
        findings.push(format!(
            "{file}: uses `{word}`, which is not allowed in this crate"
        ));
    }
}

fn check_widths(file: &str, text: &str, findings: &mut Vec<String>) {
    let extension = Path::new(file).extension().unwrap_or_default();
    let is_markdown = extension == "md" && !file.starts_with("vectors/public/");
    if !is_markdown && extension != "rs" {
        return;
    }
    let mut in_code = false;
    for (number, line) in text.lines().enumerate() {
        let plain = line.trim_start();
        let prose = if is_markdown {
            plain
        } else if let Some(comment) = plain.strip_prefix("//") {
            comment.trim_start_matches(['/', '!']).trim_start()
        } else {
            continue;
        };
        if prose.starts_with("```") {
            in_code = !in_code;
        }
        let limit = if is_markdown {
            MARKDOWN_COLUMNS
        } else {
            COMMENT_COLUMNS
        };
        if !in_code && !prose.starts_with('|') && line.chars().count() > limit {
            let number = number.saturating_add(1);
            findings.push(format!("{file}:{number}: wider than {limit} columns"));
        }
    }
}

/// Checks that no command of the program imports another.
fn check_commands(file: &str, text: &str, findings: &mut Vec<String>) {
    let Some(below) = file.strip_prefix("crates/casemate/src/commands/") else {
        return;
    };
    let own = below.split(['/', '.']).next().unwrap_or_default();
    let imports = text.split("commands::").skip(1);
    let is_name = |next: char| next == '_' || next.is_alphanumeric();
    let others = imports.filter(|rest| rest.split(|next| !is_name(next)).next() != Some(own));
    if others.count() > 0 || !below.contains('/') && text.contains("use super::") {
        findings.push(format!("{file}: imports another command"));
    }
}

/// Checks that the paths in the "Where to start" table of `ARCHITECTURE.md` exist.
fn check_map(findings: &mut Vec<String>) {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap_or_default();
    let section = text
        .split("\n## ")
        .find(|part| part.starts_with("Where to start"));
    let rows = section
        .unwrap_or_default()
        .lines()
        .filter(|line| line.starts_with("| "));
    let mut paths = 0_usize;
    for row in rows {
        // A path may be relative to the folder of the last whole one.
        let mut folder = root();
        for path in row.split('`').skip(1).step_by(2) {
            if !path.contains(['/', '.']) || path.contains(['*', '=']) {
                continue;
            }
            paths = paths.saturating_add(1);
            let whole = root().join(path);
            if whole.exists() {
                folder = whole.parent().map(Path::to_owned).unwrap_or_default();
            } else if !folder.join(path).exists() {
                findings.push(format!("ARCHITECTURE.md: `{path}` does not exist"));
            }
        }
    }
    if paths == 0 {
        findings.push("ARCHITECTURE.md: has no table under \"Where to start\"".to_owned());
    }
}

/// Reads the dependencies of every manifest and compares ranks.
fn check_directions(findings: &mut Vec<String>) {
    let ranks = BTreeMap::from(RANKS);
    for (name, rank) in RANKS.iter().filter(|(name, _)| *name != "xtask") {
        let folder = match *name {
            "casemate-python" => "bindings/python".to_owned(),
            name => format!("crates/{name}"),
        };
        let manifest = root().join(folder).join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&manifest) else {
            findings.push(format!("{}: missing", manifest.display()));
            continue;
        };
        let after = text.split("\n[dependencies]").nth(1).unwrap_or_default();
        let dependencies = after.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if ranks.get(dependency).is_some_and(|below| below >= rank) {
                findings.push(format!(
                    "{name}: depends on {dependency}, which does not have a lower rank"
                ));
            }
        }
    }
}
