//! `SecP384r1MLKEM1024`, which rustls lacks: P-384 and ML-KEM-1024, with shares concatenated in
//! that order (RFC 10024).

use aws_lc_rs::{
    agreement::{self, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey},
    kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_1024},
    rand::SystemRandom,
};
use rustls::{
    Error, NamedGroup, PeerMisbehaved, ProtocolVersion,
    crypto::{
        ActiveKeyExchange, CompletedKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup,
    },
};

const GROUP: NamedGroup = NamedGroup::Unknown(0x11ed);
const POINT_BYTES: usize = 97;
const INVALID_SHARE: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

/// The group, for the list of a provider.
pub(super) static SECP384R1_MLKEM1024: &dyn SupportedKxGroup = &SecP384r1MlKem1024;

#[derive(Debug)]
struct SecP384r1MlKem1024;

fn failed<E>(_: E) -> Error {
    GetRandomFailed.into()
}

fn invalid<E>(_: E) -> Error {
    INVALID_SHARE
}

/// Returns `ECDH secret || ML-KEM secret`.
fn combine(
    private: EphemeralPrivateKey,
    point: &[u8],
    kem_secret: &[u8],
) -> Result<SharedSecret, Error> {
    agreement::agree_ephemeral(
        private,
        UnparsedPublicKey::new(&ECDH_P384, point),
        INVALID_SHARE,
        |ecdh| Ok(SharedSecret::from([ecdh, kem_secret].concat())),
    )
}

impl SupportedKxGroup for SecP384r1MlKem1024 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let ecdh =
            EphemeralPrivateKey::generate(&ECDH_P384, &SystemRandom::new()).map_err(failed)?;
        let kem = DecapsulationKey::generate(&ML_KEM_1024).map_err(failed)?;
        let point = ecdh.compute_public_key().map_err(failed)?;
        let ek = kem
            .encapsulation_key()
            .and_then(|key| key.key_bytes())
            .map_err(failed)?;
        let share = [point.as_ref(), ek.as_ref()].concat();
        Ok(Box::new(Client { ecdh, kem, share }))
    }

    fn start_and_complete(&self, client_share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (point, ek) = client_share
            .split_at_checked(POINT_BYTES)
            .ok_or(INVALID_SHARE)?;
        let ek = EncapsulationKey::new(&ML_KEM_1024, ek).map_err(invalid)?;
        // Performs the modulus check of FIPS 203.
        let (ct, kem_secret) = ek.encapsulate().map_err(invalid)?;
        let ecdh =
            EphemeralPrivateKey::generate(&ECDH_P384, &SystemRandom::new()).map_err(failed)?;
        let own_point = ecdh.compute_public_key().map_err(failed)?;
        let pub_key = [own_point.as_ref(), ct.as_ref()].concat();
        let secret = combine(ecdh, point, kem_secret.as_ref())?;
        Ok(CompletedKeyExchange {
            group: GROUP,
            pub_key,
            secret,
        })
    }

    fn name(&self) -> NamedGroup {
        GROUP
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

struct Client {
    ecdh: EphemeralPrivateKey,
    kem: DecapsulationKey,
    share: Vec<u8>,
}

impl ActiveKeyExchange for Client {
    fn complete(self: Box<Self>, server_share: &[u8]) -> Result<SharedSecret, Error> {
        let (point, ct) = server_share
            .split_at_checked(POINT_BYTES)
            .ok_or(INVALID_SHARE)?;
        let kem_secret = self
            .kem
            .decapsulate(Ciphertext::from(ct))
            .map_err(invalid)?;
        combine(self.ecdh, point, kem_secret.as_ref())
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn group(&self) -> NamedGroup {
        GROUP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_agree_and_shares_have_the_lengths_of_the_standard() {
        let client = SECP384R1_MLKEM1024.start().unwrap();
        assert_eq!(client.pub_key().len(), 1665);
        let server = SECP384R1_MLKEM1024
            .start_and_complete(client.pub_key())
            .unwrap();
        assert_eq!(
            (server.pub_key.len(), u16::from(server.group)),
            (1665, 0x11ed)
        );
        let secret = client.complete(&server.pub_key).unwrap();
        assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
        assert_eq!(secret.secret_bytes().len(), 80);
    }

    #[test]
    fn truncated_and_invalid_shares_are_refused() {
        let client = SECP384R1_MLKEM1024.start().unwrap();
        let share = client.pub_key().to_vec();
        let mut off_curve = share.clone();
        off_curve[50] ^= 1;
        let mut unreduced = share.clone();
        unreduced[97] = 0xff;
        unreduced[98] = 0xff;
        for bad in [&share[..96], &share[..1664], &off_curve, &unreduced] {
            let refused = SECP384R1_MLKEM1024.start_and_complete(bad).err();
            assert_eq!(refused, Some(INVALID_SHARE));
        }
    }
}
