//! The places that wrap the keys of slots.

#[cfg(feature = "age")]
mod age;

use casemate_keys::{SlotKeeper, StoreSecret};

/// Every keeper that this build has.
pub(crate) struct Keepers<'a> {
    keepers: Vec<Box<dyn SlotKeeper + 'a>>,
}

impl<'a> Keepers<'a> {
    /// Returns the keepers; those that need a private key use these secrets.
    #[cfg_attr(
        not(feature = "age"),
        expect(unused_variables, reason = "only age slots need private keys")
    )]
    pub(crate) fn new(secrets: &'a [StoreSecret]) -> Self {
        Self {
            keepers: vec![
                #[cfg(feature = "age")]
                Box::new(age::AgeKeeper::new(secrets)),
            ],
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &dyn SlotKeeper> {
        self.keepers.iter().map(|keeper| &**keeper)
    }
}
