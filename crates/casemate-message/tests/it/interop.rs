//! The `ohttp` crate, which nobody here wrote, on either end.
//!
//! It has no AES-256-GCM, so the two meet on ChaCha20-Poly1305.

use casemate_crypto::{encoding::KeyId, kem::KemPrivateKey, suite::MLKEM768_X25519};
use casemate_message::ohttp::{GatewayKey, KeyConfig};
use ohttp::{
    ClientRequest, Server, SymmetricSuite,
    hpke::{Aead, Kdf, Kem},
};

const SIGNER: KeyId = KeyId::from_bytes([7; 32]);

#[test]
fn their_client_reads_our_key_list_and_our_gateway_answers_it() {
    ohttp::init();
    let gateway = GatewayKey::new(9, KemPrivateKey::generate(&MLKEM768_X25519).unwrap()).unwrap();
    let list = gateway.config().unwrap().encode_list();
    assert_eq!(list.len(), 2 + 1 + 2 + 1216 + 2 + 8);
    let client = ClientRequest::from_encoded_config_list(&list).unwrap();
    let (sealed, opener) = client.encapsulate(b"request").unwrap();

    let opened = gateway
        .open(gateway.receive(sealed).unwrap(), &SIGNER)
        .unwrap();
    assert_eq!(opened.request, b"request");
    let answer = opened.sealer.seal(b"response").unwrap();
    assert_eq!(opener.decapsulate(&answer).unwrap(), b"response");
}

#[test]
fn our_client_reads_their_key_list_and_their_server_answers_it() {
    ohttp::init();
    let symmetric = vec![SymmetricSuite::new(Kdf::HkdfSha256, Aead::ChaCha20Poly1305)];
    let config = ohttp::KeyConfig::new(3, Kem::XWing, symmetric).unwrap();
    let server = Server::new(config).unwrap();
    let list = ohttp::KeyConfig::encode_list(&[server.config()]).unwrap();

    let sealer = KeyConfig::decode_list(&list)
        .unwrap()
        .start_request(&SIGNER)
        .unwrap();
    let (sealed, opener) = sealer.seal(b"request").unwrap();
    let (request, answerer) = server.decapsulate(&sealed).unwrap();
    assert_eq!(request, b"request");
    let answer = answerer.encapsulate(b"response").unwrap();
    assert_eq!(opener.open(&answer).unwrap(), b"response");
}
