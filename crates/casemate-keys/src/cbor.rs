//! CBOR helpers shared by the parts of a key store.

use minicbor::{Decoder, Encoder};

use crate::StoreError;

pub(crate) type CborResult = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

/// Encodes into a vector, which cannot fail.
pub(crate) fn encode(build: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> CborResult) -> Vec<u8> {
    let mut out = Vec::new();
    let encoded = build(&mut Encoder::new(&mut out));
    debug_assert!(encoded.is_ok(), "writing to a vector cannot fail");
    out
}

pub(crate) fn damaged(_: minicbor::decode::Error) -> StoreError {
    StoreError::Header("not the expected CBOR structure")
}

pub(crate) fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], StoreError> {
    let bytes = d.bytes().map_err(damaged)?;
    bytes
        .try_into()
        .map_err(|_| StoreError::Header("a field has the wrong length"))
}
