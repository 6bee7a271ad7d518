//! Tests the benchmark page in a browser.

use crate::{
    interop::virtual_environment,
    step::{Outcome, install, pytest, succeed, target},
    tools::program,
};

/// Installs Chromium from Debian, if permitted, and Selenium from PyPI, and checks the page at two
/// widths in two color schemes.
pub(crate) fn run() -> Outcome {
    if let Outcome::Failed(reason) = program() {
        return Outcome::Failed(reason);
    }
    if !install("chromedriver", &["chromium", "chromium-driver"]) {
        let reason = "Chromium is not installed (Debian: chromium, chromium-driver): skipped the benchmark page";
        return Outcome::Skipped(vec![reason.to_owned()]);
    }
    let work = target().join("interop");
    let venv = work.join("venv");
    if let Err(reason) = virtual_environment(&work, &venv, &["interop/page/requirements.txt"]) {
        return Outcome::Failed(reason);
    }
    succeed(pytest(&venv, &["interop/page"]).env("CASEMATE_INTEROP_DIR", &work))
}
