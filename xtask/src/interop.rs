//! Tests with third-party implementations and clients: Python, Node, curl.

use std::{env, fs, path::Path};

use crate::{
    step::{Outcome, command, has, install_with, pytest, root, succeed, target},
    tools::program,
};

/// Installs what the tests under `interop/` need, by name from PyPI and npm, and runs them.
pub(crate) fn run() -> Outcome {
    if let Outcome::Failed(reason) = program() {
        return Outcome::Failed(reason);
    }
    if !has("python3", &["-m", "venv", "--help"]) {
        let reason = "python3 with venv is not installed (Debian: python3-venv): skipped the interoperability tests";
        return Outcome::Skipped(vec![reason.to_owned()]);
    }
    let work = target().join("interop");
    let venv = work.join("venv");
    match prepare(&work, &venv) {
        Ok(mut skipped) => {
            let mut tests = pytest(&venv, &["--ignore=interop/page", "interop", "attacks"]);
            tests.env("CASEMATE_INTEROP_DIR", &work);
            match succeed(&mut tests) {
                Outcome::Passed if skipped.is_empty() => Outcome::Passed,
                Outcome::Passed => Outcome::Skipped(std::mem::take(&mut skipped)),
                other => other,
            }
        }
        Err(reason) => Outcome::Failed(reason),
    }
}

/// Creates the virtual environment and installs the Node binary; both are kept for the next run.
fn prepare(work: &Path, venv: &Path) -> Result<Vec<String>, String> {
    fs::create_dir_all(work).map_err(|error| format!("{}: {error}", work.display()))?;
    virtual_environment(
        work,
        venv,
        &[
            "interop/requirements.txt",
            "interop/clients/requirements.txt",
            "interop/engines/requirements.txt",
            "interop/oms/requirements.txt",
            "interop/service/requirements.txt",
            "interop/stores/requirements.txt",
        ],
    )?;
    let mut skipped = Vec::new();
    if has("npm", &["--version"]) {
        npm_packages("interop/clients/package.json", work, &[])?;
        // The llama.cpp package has prebuilt binaries for other systems and GPUs too; those are
        // optional.
        let optional = ["--omit=optional", "--ignore-scripts"];
        npm_packages(
            "interop/engines/package.json",
            &work.join("engines"),
            &optional,
        )?;
    } else {
        skipped.push(
            "npm is not installed: skipped the Node client, age-encryption, SLH-DSA, Azure and llama.cpp"
                .to_owned(),
        );
    }
    let go = ["golang-go", "golang-golang-x-mod-dev"];
    if !install_with("go", &["version"], &go) {
        skipped.push(
            "Go is not installed (Debian: golang-go, golang-golang-x-mod-dev): skipped its check of audit logs"
                .to_owned(),
        );
    }
    let etcd = ["etcd-server", "etcd-client"];
    if !install_with("etcd", &["--version"], &etcd) {
        skipped.push(
            "etcd is not installed (Debian: etcd-server, etcd-client): skipped key stores in etcd"
                .to_owned(),
        );
    }
    if !has("curl", &["--version"]) && env::var_os("CI").is_none() {
        skipped.push("curl is not installed: skipped the classical client".to_owned());
    }
    Ok(skipped)
}

/// Installs the dependencies of a `package.json` into `folder`.
fn npm_packages(manifest: &str, folder: &Path, options: &[&str]) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    fs::copy(root().join(manifest), folder.join("package.json"))
        .map_err(|error| format!("{manifest}: {error}"))?;
    let mut npm = command("npm", &["install", "--silent", "--no-audit", "--no-fund"]);
    match succeed(npm.arg("--prefix").arg(folder).args(options)) {
        Outcome::Failed(reason) => Err(reason),
        _ => Ok(()),
    }
}

/// Creates a virtual environment if there is none, and installs the listed requirements.
pub(crate) fn virtual_environment(
    work: &Path,
    venv: &Path,
    requirements: &[&str],
) -> Result<(), String> {
    fs::create_dir_all(work).map_err(|error| format!("{}: {error}", work.display()))?;
    let must = |outcome| match outcome {
        Outcome::Failed(reason) => Err(reason),
        _ => Ok(()),
    };
    if !venv.join("bin/python").exists() {
        let path = venv.to_string_lossy();
        must(succeed(&mut command("python3", &["-m", "venv", &path])))?;
    }
    let pip = venv.join("bin/pip");
    let mut arguments = vec!["install", "-q", "--disable-pip-version-check"];
    for file in requirements {
        arguments.extend(["-r", file]);
    }
    must(succeed(&mut command(&pip.to_string_lossy(), &arguments)))
}
