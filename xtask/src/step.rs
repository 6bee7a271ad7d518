//! Steps, their outcome and the final table.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::OnceLock,
    time::Instant,
};

/// Names the file in which a step of a lane reports what it found.
pub(crate) const OUTCOME: &str = "CASEMATE_STEP_OUTCOME";

/// Whether a part that cannot run here fails its step.
static STRICT: OnceLock<()> = OnceLock::new();

/// Makes skipped parts fail from here on, including skipped tests.
pub(crate) fn forbid_skips() {
    STRICT.get_or_init(|| ());
}

fn is_strict() -> bool {
    STRICT.get().is_some() || env::var_os("CASEMATE_STRICT").is_some()
}

/// The outcome of a step.
pub(crate) enum Outcome {
    Passed,
    /// Some parts were skipped, for these reasons.
    Skipped(Vec<String>),
    Failed(String),
}

/// One check.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) run: fn() -> Outcome,
}

impl Step {
    pub(crate) const fn new(name: &'static str, run: fn() -> Outcome) -> Self {
        Self { name, run }
    }
}

/// The steps that have run so far.
#[derive(Default)]
pub(crate) struct Report {
    lines: String,
    failed: usize,
    passed: usize,
    skipped: usize,
}

impl Report {
    pub(crate) fn run(&mut self, step: &Step) {
        println!("\n=== {} ===", step.name);
        let started = Instant::now();
        let outcome = (step.run)();
        self.add(step.name, started.elapsed().as_secs(), outcome);
    }

    pub(crate) fn add(&mut self, name: &str, seconds: u64, outcome: Outcome) {
        let (word, count, details) = match outcome {
            Outcome::Passed => ("passed", &mut self.passed, Vec::new()),
            Outcome::Skipped(reasons) if is_strict() => {
                ("FAILED: --strict forbids skips", &mut self.failed, reasons)
            }
            Outcome::Skipped(reasons) => ("passed, parts skipped", &mut self.skipped, reasons),
            Outcome::Failed(reason) => ("FAILED", &mut self.failed, vec![reason]),
        };
        *count = count.saturating_add(1);
        // Writing into a string cannot fail.
        _ = writeln!(self.lines, "{name:<10} {seconds:>5} s  {word}");
        if let Some(path) = env::var_os(OUTCOME) {
            // The exit code still tells whether it failed.
            _ = fs::write(path, details.join("\n"));
        }
        details
            .iter()
            .for_each(|detail| _ = writeln!(self.lines, "                    {detail}"));
        println!("{name}: {word} after {seconds} s");
    }

    pub(crate) fn finish(&self) -> ExitCode {
        println!("\n{}", self.lines);
        let Self {
            passed,
            skipped,
            failed,
            ..
        } = self;
        println!("{passed} passed, {skipped} passed with parts skipped, {failed} failed");
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Returns the root of the checkout.
pub(crate) fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// Returns a command that runs at the root of the checkout.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    // Only the step itself reports to its lane.
    command.env_remove(OUTCOME);
    if is_strict() {
        command.env("CASEMATE_STRICT", "1");
    }
    command
}

/// Returns the folder that cargo builds into.
pub(crate) fn target() -> PathBuf {
    let given = env::var_os("CARGO_TARGET_DIR");
    root().join(given.unwrap_or_else(|| "target".into()))
}

/// Returns a command that runs pytest from a virtual environment against the built program.
pub(crate) fn pytest(venv: &Path, arguments: &[&str]) -> Command {
    let python = venv.join("bin/python");
    let mut command = command(&python.to_string_lossy(), &["-m", "pytest", "-q", "-rs"]);
    command
        .args(["-p", "no:cacheprovider", "-p", "strict_skips"])
        .args(arguments)
        .env("PYTHONPATH", root().join("interop"))
        .env("CASEMATE_BIN", target().join("release/casemate"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a command and shows its output.
pub(crate) fn succeed(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}");
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("{shown}: {status}")),
        Err(error) => Outcome::Failed(format!("{shown}: {error}")),
    }
}

/// Returns whether a program is installed.
pub(crate) fn has(program: &str, arguments: &[&str]) -> bool {
    command(program, arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Returns whether a program is installed, after installing Debian packages if this user is
/// permitted to.
pub(crate) fn install(program: &str, packages: &[&str]) -> bool {
    install_with(program, &["--version"], packages)
}

/// As [`install`], for a program that shows its version in another way.
pub(crate) fn install_with(program: &str, version: &[&str], packages: &[&str]) -> bool {
    if has(program, version) {
        return true;
    }
    let root_user = command("id", &["-u"])
        .output()
        .is_ok_and(|output| output.stdout == b"0\n");
    if !root_user || !has("apt-get", &["--version"]) {
        return false;
    }
    // An outdated package list may still be good enough to install from.
    _ = succeed(&mut command("apt-get", &["-qq", "update"]));
    let mut arguments = vec!["-qq", "install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    _ = succeed(command("apt-get", &arguments).env("DEBIAN_FRONTEND", "noninteractive"));
    has(program, version)
}
