//! The binary as a user sees it: arguments, exit code, standard output, standard error, files.

#![expect(clippy::unwrap_used, reason = "a failed expectation fails the test")]

mod age;
mod artifacts;
mod bench;
mod folders;
mod keys;
mod kill;
mod mount;
mod suites;
mod support;
