//! A sandbox of one's own for each test: folder, passphrase, key store.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

pub(crate) struct Sandbox {
    pub(crate) folder: tempfile::TempDir,
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Sandbox {
    /// An empty sandbox with a passphrase file.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = Self { folder };
        sandbox.write("passphrase", b"correct horse\n");
        sandbox
    }

    /// A sandbox with keys `alice`, `bob` (KEM) and `publisher` (signing).
    pub(crate) fn with_keys() -> Self {
        let sandbox = Self::empty();
        sandbox.ok(&["keys", "init"]);
        for name in ["alice", "bob"] {
            sandbox.ok(&["keys", "generate", "--name", name, "--kind", "kem"]);
        }
        sandbox.ok(&["keys", "generate", "--name", "publisher", "--kind", "sign"]);
        sandbox
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only its owner can read, as it must be for a passphrase or a private key.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let mut options = fs::File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(self.path(name)).unwrap();
        file.write_all(bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Names in the sandbox's folder, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        casemate_testkit::names(self.folder.path())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_casemate"));
        if !arguments.contains(&"--passphrase-file") {
            command.args(["--passphrase-file", "passphrase"]);
        }
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("CASEMATE_HOME", self.path("home"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, &[])
    }

    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Run {
        self.command(arguments)
            .envs(environment.iter().copied())
            .output()
            .unwrap()
            .into()
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said.out
    }

    /// Runs a command that must fail with this code, one `error:` line, and these words.
    pub(crate) fn refused(&self, arguments: &[&str], code: i32, words: &str) {
        let said = self.run(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        assert!(said.err.contains(words), "{arguments:?}: {said:?}");
        let errors = said
            .err
            .lines()
            .filter(|line| line.starts_with("error:"))
            .count();
        assert_eq!(errors, 1, "{arguments:?}: {said:?}");
        assert!(!said.err.contains("panicked"), "{said:?}");
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}
