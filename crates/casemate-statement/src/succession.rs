//! Successions (`spec/key-statements.md`, section 3).

use casemate_crypto::{
    encoding::PublicKey,
    signature::{SigningKey, VerifyingKey},
};
use serde::{Deserialize, Serialize};

use crate::{
    StatementError,
    envelope::{self, Unverified, check_number, key_id},
};

const KIND: &str = "urn:casemate:key-succession:1";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Predicate {
    previous: String,
    next: String,
    public_key: String,
    from: u64,
}

/// A statement, signed by both keys, that one succeeds the other.
#[derive(Debug)]
pub struct Succession {
    name: String,
    next: VerifyingKey,
    from: u64,
}

impl Succession {
    /// Signs that `next` succeeds `previous` from this time on, in seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    ///
    /// [`StatementError::Rule`] if they are the same key.
    pub fn sign(
        previous: &SigningKey,
        next: &SigningKey,
        name: &str,
        from: u64,
    ) -> Result<Vec<u8>, StatementError> {
        let (old, new) = (previous.verifying_key().id()?, next.verifying_key().id()?);
        if old == new {
            return Err(StatementError::Rule("a key cannot succeed itself"));
        }
        let key = VerifyingKey::new(
            next.verifying_key().suite(),
            next.verifying_key().as_bytes(),
        )?;
        let predicate = Predicate {
            previous: old.to_hex(),
            next: new.to_hex(),
            public_key: PublicKey::Sign(key).to_pem()?,
            from: check_number(from)?,
        };
        envelope::sign(KIND, (name, new), predicate, &[previous, next])
    }

    /// Verifies a statement by which `previous` names its successor.
    ///
    /// # Errors
    ///
    /// [`StatementError`].
    pub fn verify(file: &[u8], previous: &VerifyingKey) -> Result<Self, StatementError> {
        let unverified = Unverified::read(file)?;
        unverified.check(previous)?;
        let statement = unverified.statement::<Predicate>(KIND)?;
        let Predicate {
            previous: old,
            next,
            public_key,
            from,
        } = statement.predicate;
        if key_id(&old)? != previous.id()? {
            return Err(StatementError::Rule("it names another previous key"));
        }
        let PublicKey::Sign(key) = PublicKey::from_pem(public_key.as_bytes())? else {
            return Err(StatementError::Rule("its key does not sign artifacts"));
        };
        let id = key.id()?;
        if id != key_id(&next)? || id != statement.key {
            return Err(StatementError::Rule("its key is not the one that it names"));
        }
        if id == previous.id()? {
            return Err(StatementError::Rule("a key cannot succeed itself"));
        }
        unverified.check(&key)?;
        Ok(Self {
            name: statement.name,
            next: key,
            from: check_number(from)?,
        })
    }

    /// Returns the name of the key, as its holder wrote it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the new key.
    pub const fn next(&self) -> &VerifyingKey {
        &self.next
    }

    /// Returns when it takes over, in seconds since 1970-01-01 UTC.
    pub const fn from(&self) -> u64 {
        self.from
    }
}

#[cfg(test)]
mod tests {
    use casemate_crypto::suite::{MLDSA65_ED25519, MLDSA87_P384};
    use serde_json::Value;

    use super::*;

    fn keys() -> [SigningKey; 3] {
        [
            SigningKey::generate(&MLDSA65_ED25519).unwrap(),
            SigningKey::generate(&MLDSA87_P384).unwrap(),
            SigningKey::generate(&MLDSA65_ED25519).unwrap(),
        ]
    }

    fn json(file: &[u8]) -> Value {
        serde_json::from_slice(file).unwrap()
    }

    fn refused(file: &[u8], previous: &SigningKey) -> String {
        let refused = Succession::verify(file, previous.verifying_key());
        refused.unwrap_err().to_string()
    }

    #[test]
    fn both_keys_sign_and_the_new_one_is_returned() {
        let [old, new, _] = keys();
        let file = Succession::sign(&old, &new, "publisher", 7).unwrap();
        let read = Succession::verify(&file, old.verifying_key()).unwrap();
        assert_eq!((read.name(), read.from()), ("publisher", 7));
        let (found, expected) = (read.next().id().unwrap(), new.verifying_key().id().unwrap());
        assert_eq!(found, expected);
        assert_eq!(json(&file)["signatures"].as_array().unwrap().len(), 2);
        Succession::sign(&old, &old, "publisher", 7).unwrap_err();
        Succession::sign(&old, &new, "publisher", 1 << 53).unwrap_err();
        Succession::sign(&old, &new, "a\nb", 7).unwrap_err();
    }

    #[test]
    fn a_missing_or_wrong_signature_of_either_key_is_refused() {
        let [old, new, other] = keys();
        let file = Succession::sign(&old, &new, "publisher", 7).unwrap();
        assert!(refused(&file, &other).contains("not signed by key"));
        for missing in [0, 1] {
            let mut changed = json(&file);
            changed["signatures"]
                .as_array_mut()
                .unwrap()
                .remove(missing);
            let text = refused(changed.to_string().as_bytes(), &old);
            assert!(text.contains("not signed by key"), "{text}");
        }
        for changed_one in [0, 1] {
            let mut changed = json(&file);
            let other_one = changed["signatures"][1 - changed_one]["sig"].clone();
            changed["signatures"][changed_one]["sig"] = other_one;
            let text = refused(changed.to_string().as_bytes(), &old);
            assert!(text.contains("does not verify"), "{text}");
        }
        // A payload of a third party under both names.
        let foreign = Succession::sign(&other, &new, "publisher", 7).unwrap();
        let mut changed = json(&file);
        changed["payload"] = json(&foreign)["payload"].clone();
        let text = refused(changed.to_string().as_bytes(), &old);
        assert!(text.contains("does not verify"), "{text}");
    }

    #[test]
    fn a_successor_signed_by_the_old_key_alone_is_refused() {
        // The holder of the old key claims somebody else's key.
        let [old, new, _] = keys();
        let id = new.verifying_key().id().unwrap();
        let predicate = |previous: String, from: u64| Predicate {
            previous,
            next: id.to_hex(),
            public_key: PublicKey::Sign(
                VerifyingKey::new(&MLDSA87_P384, new.verifying_key().as_bytes()).unwrap(),
            )
            .to_pem()
            .unwrap(),
            from,
        };
        let old_id = old.verifying_key().id().unwrap();
        let file = |predicate, signers: &[&SigningKey], key| {
            envelope::sign(KIND, ("publisher", key), predicate, signers).unwrap()
        };
        let alone = file(predicate(old_id.to_hex(), 7), &[&old], id);
        assert!(refused(&alone, &old).contains("not signed by key"));
        let both: &[&SigningKey] = &[&old, &new];
        Succession::verify(
            &file(predicate(old_id.to_hex(), 7), both, id),
            old.verifying_key(),
        )
        .unwrap();
        for (words, bad) in [
            (
                "another previous key",
                file(predicate(id.to_hex(), 7), both, id),
            ),
            (
                "not the one that it names",
                file(predicate(old_id.to_hex(), 7), both, old_id),
            ),
            (
                "64 lower-case",
                file(predicate(old_id.to_hex().to_uppercase(), 7), both, id),
            ),
            ("2^53", file(predicate(old_id.to_hex(), 1 << 53), both, id)),
        ] {
            let text = refused(&bad, &old);
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn other_json_is_refused() {
        let [old, new, _] = keys();
        let file = Succession::sign(&old, &new, "publisher", 7).unwrap();
        let with = |name: &str, value: Value| {
            let mut changed = json(&file);
            changed[name] = value;
            changed.to_string().into_bytes()
        };
        let text = str::from_utf8(&file).unwrap();
        for bad in [
            b"".to_vec(),
            b"[]".to_vec(),
            vec![b' '; (1 << 20) + 1],
            with("payloadType", "text/plain".into()),
            with("signatures", Value::Array(Vec::new())),
            with(
                "signatures",
                vec![json(&file)["signatures"][0].clone(); 5].into(),
            ),
            with("payload", "*".into()),
            with("more", 1.into()),
            text.replacen('{', "{\"payload\": \"\",", 1).into_bytes(),
            format!("{text}x").into_bytes(),
        ] {
            Succession::verify(&bad, old.verifying_key()).unwrap_err();
        }
        let other = envelope::sign(
            "urn:casemate:other:1",
            ("publisher", new.verifying_key().id().unwrap()),
            serde_json::json!({}),
            &[&old, &new],
        );
        assert!(refused(&other.unwrap(), &old).contains("another kind of statement"));
    }
}
