//! Reading and writing private keys as PKCS#8 in PEM, for every suite of the registry and the HTTP
//! signing pair.

use casemate_crypto::{
    SecretBytes,
    encoding::{PrivateKey, file_secrets},
    signature::HTTP_SUITE_NAME,
    suite::{KEM_SUITES, SIGNATURE_SUITES},
};

use crate::{
    case::{Case, Outcome, same},
    mark::{self, reveal_in_place},
};

pub(super) fn cases() -> Vec<Case> {
    let kems = KEM_SUITES.iter().map(|suite| suite.name);
    let signatures = SIGNATURE_SUITES.iter().map(|suite| suite.name);
    kems.chain(signatures)
        .chain([HTTP_SUITE_NAME])
        .flat_map(|name| {
            [
                Case::clean(format!("key file read {name}"), move || read(name)),
                Case::clean(format!("key file written {name}"), move || write(name)),
            ]
        })
        .collect()
}

fn generate(suite: &str) -> Result<PrivateKey, Box<dyn std::error::Error>> {
    PrivateKey::generate(suite)?.ok_or_else(|| format!("no suite is named `{suite}`").into())
}

/// Reads a file in which every character that encodes only secret bits is marked.
fn read(suite: &str) -> Outcome {
    let key = generate(suite)?;
    let text = key.to_pem()?;
    for at in secret_characters(text.expose(), &key.secret_parts())? {
        mark::secret_in_place(text.expose().get(at..=at).unwrap_or_default());
    }
    let found = file_secrets(text.expose())?;
    for (found, expected) in found
        .iter()
        .map(SecretBytes::expose)
        .zip(key.secret_parts())
    {
        // The first and last byte may share a character with bits that are not marked.
        let inner = found.get(2..found.len() - 2).unwrap_or_default();
        reveal_in_place("the secret read from the file", inner)?;
        mark::public_in_place(found);
        same("the secret read from the file", found, expected)?;
    }
    Ok(())
}

/// Writes a key whose secrets are marked in place.
fn write(suite: &str) -> Outcome {
    let key = generate(suite)?;
    let expected = key.to_pem()?;
    for part in key.secret_parts() {
        mark::secret_in_place(part);
    }
    let text = key.to_pem()?;
    for part in key.secret_parts() {
        mark::public_in_place(part);
    }
    for at in secret_characters(expected.expose(), &key.secret_parts())? {
        let character = text.expose().get(at..=at).unwrap_or_default();
        reveal_in_place("the key file", character)?;
    }
    // Some characters encode both secret bits and bits of the framing.
    mark::public_in_place(text.expose());
    same("the key file", text.expose(), expected.expose())
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----\n";
const END: &str = "-----END";

/// Returns the positions of the PEM characters whose six bits are all secret.
fn secret_characters(
    pem: &[u8],
    secrets: &[&[u8]],
) -> Result<Vec<usize>, Box<dyn std::error::Error>> {
    let text = str::from_utf8(pem)?;
    let (mut found, mut seen) = (Vec::new(), 0);
    for (begin, _) in text.match_indices(BEGIN) {
        let start = begin + BEGIN.len();
        let body = text.get(start..).unwrap_or_default();
        let body = body
            .get(..body.find(END).ok_or("no end")?)
            .unwrap_or_default();
        let mut places: Vec<_> = body
            .char_indices()
            .filter(|(_, c)| !c.is_whitespace())
            .map(|(at, _)| start + at)
            .collect();
        // The last two are not marked, because the decoder checks whether they are padding.
        places.truncate(places.len().saturating_sub(2));
        let der = decode_base64(body)?;
        for secret in secrets {
            let Some(at) = der
                .windows(secret.len())
                .position(|window| window == *secret)
            else {
                continue;
            };
            seen += 1;
            let first = (at * 8).div_ceil(6);
            let end = (at + secret.len()) * 8 / 6;
            found.extend(places.iter().take(end).skip(first));
        }
    }
    if seen == secrets.len() {
        Ok(found)
    } else {
        Err("a secret is not at the expected position in the key file".into())
    }
}

/// Decodes Base64 in variable time; the key is not secret yet.
fn decode_base64(body: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let body: String = body.split_whitespace().collect();
    Ok(STANDARD.decode(body)?)
}
