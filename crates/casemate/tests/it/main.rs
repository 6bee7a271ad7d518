//! The binary as a user sees it: arguments, exit code, standard output, standard error, files.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a failed expectation fails the test"
)]

mod age;
mod artifacts;
mod audit;
mod bench;
mod folders;
mod gateway;
mod keys;
mod kill;
mod lineage;
mod memory;
mod mount;
mod names;
mod other_users;
mod owners;
mod slots;
mod streams;
mod suites;
mod support;
mod trust;
mod versions;
mod withdrawal;
