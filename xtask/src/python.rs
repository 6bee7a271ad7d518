//! Installs the Python package as users do, and tests it with the libraries that it supports.

use crate::{
    interop::virtual_environment,
    step::{Outcome, command, has, pytest, succeed, target},
    tools::program,
};

/// Installs the package with pip, and the test requirements from PyPI, and runs the tests.
pub(crate) fn run() -> Outcome {
    if let Outcome::Failed(reason) = program() {
        return Outcome::Failed(reason);
    }
    if !has("python3", &["-m", "venv", "--help"]) {
        let reason =
            "python3 with venv is not installed (Debian: python3-venv): skipped the Python package";
        return Outcome::Skipped(vec![reason.to_owned()]);
    }
    let work = target().join("python");
    let venv = work.join("venv");
    let requirements = ["bindings/python/tests/requirements.txt"];
    if let Err(reason) = virtual_environment(&work, &venv, &requirements) {
        return Outcome::Failed(reason);
    }
    let program = |name: &str| venv.join("bin").join(name).to_string_lossy().into_owned();
    // The package's own dependencies are pinned among the requirements.
    let install = [
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "--force-reinstall",
        "./bindings/python",
    ];
    let mut install = command(&program("pip"), &install);
    // Reuses what the other steps have compiled.
    install.env("CARGO_TARGET_DIR", target());
    if let Outcome::Failed(reason) = succeed(&mut install) {
        return Outcome::Failed(reason);
    }
    succeed(pytest(&venv, &["bindings/python/tests"]).env("HF_HUB_OFFLINE", "1"))
}
