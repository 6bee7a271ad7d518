//! Clients that deviate from the protocol, for tests.

use casemate_crypto::{Secret, hash::sha384};

use super::{Client, Stage};
use crate::aggregate::round::Position;

impl Client {
    /// Uses another advertisement than was sent.
    pub(crate) fn set_advertisement(&mut self, bytes: &[u8]) {
        if let Stage::Advertised { advertisement, .. } = &mut self.stage {
            *advertisement = sha384(bytes);
        }
    }

    /// Signs other shares with the update than were sent first.
    pub(crate) fn set_shares_hash(&mut self, shares: &[u8]) {
        if let Stage::Shared { message, .. } = &mut self.stage {
            *message = sha384(shares);
        }
    }

    /// Changes a share that the client holds.
    pub(crate) fn spoil_held_share(&mut self, of: Position) {
        if let Stage::Agreed { held, .. } = &mut self.stage {
            for one in held.iter_mut().filter(|one| one.of == of) {
                let mut share = *one.shares.expose();
                share[40] ^= 1;
                one.shares = Secret::take(&mut share);
            }
        }
    }
}
