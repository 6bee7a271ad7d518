//! The commands, one module each.

#[cfg(feature = "age")]
pub(crate) mod age;
#[cfg(feature = "bench")]
pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod connect;
pub(crate) mod copy;
pub(crate) mod gateway;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod mount;
pub(crate) mod open;
pub(crate) mod rewrap;
pub(crate) mod seal;
pub(crate) mod serve;
pub(crate) mod sign;
pub(crate) mod suites;
pub(crate) mod verify;
