//! The commands, one module each.

pub(crate) mod age;
pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod connect;
pub(crate) mod copy;
mod directory;
pub(crate) mod gateway;
pub(crate) mod inspect;
pub(crate) mod keys;
mod model;
pub(crate) mod mount;
pub(crate) mod open;
mod owner;
mod public;
pub(crate) mod rewrap;
pub(crate) mod seal;
pub(crate) mod sign;
pub(crate) mod suites;
pub(crate) mod verify;
