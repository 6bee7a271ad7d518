//! Runs the commands of the README and the guides: every `sh` block of each document, in order, in
//! an empty folder.

use std::{env, fs, path::Path};

use crate::{
    step::{Outcome, command, root, succeed, target},
    tools::program,
};

/// Documents whose `sh` blocks must work. The guide about object stores needs a server and runs
/// with the object store tests. The first block of the README runs this command and the
/// demonstration.
const DOCUMENTS: [&str; 8] = [
    "README.md",
    "docs/guides/seal-and-serve.md",
    "docs/guides/folders-and-mounts.md",
    "docs/guides/sign-models.md",
    "docs/guides/key-store-slots.md",
    "docs/guides/rotate-keys.md",
    "docs/guides/audit-log.md",
    "docs/guides/key-service.md",
];

pub(crate) fn run() -> Outcome {
    if let Outcome::Failed(reason) = program() {
        return Outcome::Failed(reason);
    }
    let program = target().join("release/casemate");
    let program = program.to_string_lossy();
    if let Outcome::Failed(reason) = succeed(&mut command(&program, &["demo", "--exit"])) {
        return Outcome::Failed(reason);
    }
    for document in DOCUMENTS {
        let script = match script_of(&root().join(document)) {
            Ok(script) => script,
            Err(error) => return Outcome::Failed(format!("{document}: {error}")),
        };
        let outcome = in_empty_folder(document, &script);
        if let Outcome::Failed(reason) = outcome {
            return Outcome::Failed(reason);
        }
    }
    Outcome::Passed
}

/// Returns the `sh` blocks of a document as one script.
fn script_of(path: &Path) -> std::io::Result<String> {
    let text = fs::read_to_string(path)?;
    let mut script = String::from("set -eu\n");
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    Ok(script)
}

fn in_empty_folder(document: &str, script: &str) -> Outcome {
    let name = document.replace(['/', '.'], "-");
    let folder = env::temp_dir().join(format!("casemate-readme-{}-{name}", std::process::id()));
    if let Err(error) = fs::create_dir_all(&folder) {
        return Outcome::Failed(format!("{}: {error}", folder.display()));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut paths = vec![target().join("release")];
    paths.extend(env::split_paths(&path));
    let Ok(path) = env::join_paths(paths) else {
        return Outcome::Failed("cannot extend PATH".to_owned());
    };
    println!("running the commands of {document}");
    let mut shell = command("bash", &["-c", script]);
    shell
        .current_dir(&folder)
        .env("PATH", path)
        .env("HOME", &folder);
    shell
        .env_remove("CASEMATE_HOME")
        .env_remove("XDG_DATA_HOME");
    let outcome = succeed(&mut shell);
    // If this fails, the files stay in the system's temporary folder.
    _ = fs::remove_dir_all(&folder);
    match outcome {
        Outcome::Failed(_) => Outcome::Failed(format!("a command of {document} failed")),
        other => other,
    }
}
