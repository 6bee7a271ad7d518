//! Requests and answers, encrypted end to end with a secret gateway key.

use casemate_crypto::{encoding::KeyId, kem::KemPrivateKey, suite::MLKEM768_X25519};
use casemate_message::ohttp::GatewayKey;

use super::{plain_bytes, secret_bytes};
use crate::{
    case::{Case, Outcome, same},
    mark::{reveal, reveal_in_place},
};

pub(super) fn cases() -> Vec<Case> {
    vec![Case::clean("request opened and answered", open_and_answer)]
}

/// Opens and answers a request. The gateway's key is secret, and so are the request, channel
/// binding and answer key.
fn open_and_answer() -> Outcome {
    let suite = &MLKEM768_X25519;
    let key = KemPrivateKey::from_seed(suite, &secret_bytes(suite.seed_bytes))?;
    reveal_in_place("the public key", key.public_key().as_bytes())?;
    let gateway = GatewayKey::new(1, key)?;
    let signer = KeyId::from_bytes([7; 32]);
    let request = gateway.config()?.start_request(&signer)?;
    let channel = request.channel().as_bytes().to_vec();
    let (sealed, response) = request.seal(&plain_bytes(300))?;

    let mut opened = gateway.open(gateway.receive(sealed)?, &signer)?;
    reveal("the request", &mut opened.request)?;
    same("the request", &opened.request, &plain_bytes(300))?;
    reveal_in_place("the channel binding", opened.channel.as_bytes())?;
    same("the channel binding", opened.channel.as_bytes(), &channel)?;
    let mut answer = opened.sealer.seal(&plain_bytes(300))?;
    reveal("the answer", answer.get_mut(32..).unwrap_or_default())?;
    let answer = response.open(&answer)?;
    same("the answer", &answer, &plain_bytes(300))
}
