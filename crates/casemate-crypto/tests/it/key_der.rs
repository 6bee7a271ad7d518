//! Hostile key files: well-formed PEM and DER around a key that is not one of ours.

use casemate_crypto::{
    Error,
    encoding::{EncodingError, PrivateKey, PublicKey},
    suite::{MLDSA65_P384, MLKEM1024_P384},
};
use der::{
    Decode, Encode,
    asn1::{AnyRef, BitStringRef, OctetString, OctetStringRef},
};
use pkcs8::PrivateKeyInfoRef;
use sec1::{EcParameters, EcPrivateKey};
use spki::{AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfo};

use crate::key_text::{
    PRIVATE, PUBLIC, der, files_of, pem, refused_private, refused_public, single_suites,
};

type Spki<'a> = SubjectPublicKeyInfo<AnyRef<'a>, BitStringRef<'a>>;

#[test]
fn an_algorithm_with_parameters_is_refused() {
    let null = Some(AnyRef::NULL);
    for suite in single_suites() {
        let (private, public) = files_of(suite);
        let whole = der(&private);
        let mut info = PrivateKeyInfoRef::from_der(&whole).unwrap();
        assert_eq!(pem(PRIVATE, &info.to_der().unwrap()), private);
        info.algorithm.parameters = null;
        let refused = refused_private(&pem(PRIVATE, &info.to_der().unwrap()));
        assert_eq!(refused.to_string(), "malformed PKCS#8", "{suite}");

        let whole = der(&public);
        let mut info = Spki::from_der(&whole).unwrap();
        assert_eq!(pem(PUBLIC, &info.to_der().unwrap()), public);
        info.algorithm.parameters = null;
        let refused = refused_public(&pem(PUBLIC, &info.to_der().unwrap()));
        assert_eq!(
            refused.to_string(),
            "malformed SubjectPublicKeyInfo",
            "{suite}"
        );
    }
}

#[test]
fn a_key_inside_its_structure_that_is_cut_or_grown_is_refused() {
    for suite in single_suites() {
        let (private, public) = files_of(suite);
        let whole = der(&private);
        let info = PrivateKeyInfoRef::from_der(&whole).unwrap();
        let key = info.private_key.as_bytes();
        for changed in [&key[..key.len() - 1], &[key, &[0]].concat(), &[]] {
            let private_key = OctetStringRef::new(changed).unwrap();
            let info = PrivateKeyInfoRef::new(info.algorithm, private_key);
            let refused = refused_private(&pem(PRIVATE, &info.to_der().unwrap()));
            let what = matches!(
                refused,
                EncodingError::Der { .. } | EncodingError::Key(Error::InvalidPrivateKey { .. })
            );
            assert!(what, "{suite}: {refused}");
        }

        let whole = der(&public);
        let info = Spki::from_der(&whole).unwrap();
        let key = info.subject_public_key.as_bytes().unwrap();
        for changed in [&key[..key.len() - 1], &[key, &[0]].concat(), &[]] {
            let subject_public_key = BitStringRef::from_bytes(changed).unwrap();
            let info = Spki {
                subject_public_key,
                ..info
            };
            let refused = refused_public(&pem(PUBLIC, &info.to_der().unwrap()));
            assert_eq!(
                refused.to_string(),
                format!("not a valid {suite} public key")
            );
        }
    }
}

/// RFC 5958 lets a file carry the public key beside the private one.
#[test]
fn a_public_key_in_the_file_that_is_not_the_private_keys_own_is_refused() {
    for suite in single_suites() {
        let (private, public) = files_of(suite);
        let (_, other) = files_of(suite);
        let (whole, own) = (der(&private), der(&public));
        let read = |spki: &[u8]| {
            let mut info = PrivateKeyInfoRef::from_der(&whole).unwrap();
            info.public_key = Some(Spki::from_der(spki).unwrap().subject_public_key);
            PrivateKey::from_pem(&pem(PRIVATE, &info.to_der().unwrap()))
        };
        if let Ok(key) = read(&own) {
            assert_eq!(key.to_pem().unwrap().expose(), private, "{suite}");
        }
        let refused = matches!(
            read(&der(&other)),
            Err(EncodingError::Der { .. } | EncodingError::SeedMismatch | EncodingError::Key(_))
        );
        assert!(refused, "{suite} reads a key that contradicts itself");
    }
}

/// A key outside the registry: `id-ecPublicKey`.
#[test]
fn an_algorithm_outside_the_registry_is_named() {
    let (private, public) = files_of("mlkem1024");
    let oid = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    let expected = "algorithm 1.2.840.10045.2.1 is not supported";
    let whole = der(&private);
    let mut info = PrivateKeyInfoRef::from_der(&whole).unwrap();
    info.algorithm.oid = oid;
    assert_eq!(
        refused_private(&pem(PRIVATE, &info.to_der().unwrap())).to_string(),
        expected
    );
    let whole = der(&public);
    let mut info = Spki::from_der(&whole).unwrap();
    info.algorithm.oid = oid;
    assert_eq!(
        refused_public(&pem(PUBLIC, &info.to_der().unwrap())).to_string(),
        expected
    );
}

/// A composite KEM and a composite signature of one length each must not read each other's keys.
#[test]
fn a_key_under_the_identifier_of_another_suite_is_not_that_suites_key() {
    let (_, public) = files_of("mldsa87-p384");
    let whole = der(&public);
    let mut info = Spki::from_der(&whole).unwrap();
    info.algorithm.oid = MLKEM1024_P384.oid;
    let refused = refused_public(&pem(PUBLIC, &info.to_der().unwrap()));
    assert_eq!(refused.to_string(), "not a valid mlkem1024-p384 public key");
    let read = PublicKey::from_pem(&public).unwrap();
    assert_eq!(read.suite_name(), "mldsa87-p384");
}

/// `mldsa65-p384` with an `ECPrivateKey` of the given optional fields.
fn with_ec_fields(parameters: Option<&str>, public_key: Option<&[u8]>) -> Vec<u8> {
    let curve = |oid| EcParameters::NamedCurve(ObjectIdentifier::new_unwrap(oid));
    let parameters = parameters.map(curve);
    let ec = EcPrivateKey {
        private_key: &[0x22; 48],
        parameters,
        public_key,
    };
    let key = [vec![0x11; 32], ec.to_der().unwrap()].concat();
    let algorithm = AlgorithmIdentifierRef {
        oid: MLDSA65_P384.oid,
        parameters: None,
    };
    let info = PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(&key).unwrap());
    pem(PRIVATE, &info.to_der().unwrap())
}

#[test]
fn an_ec_private_key_names_its_curve_and_holds_no_public_key() {
    let p384 = Some("1.3.132.0.34");
    let good = with_ec_fields(p384, None);
    let key = PrivateKey::from_pem(&good).unwrap();
    assert_eq!(key.to_pem().unwrap().expose(), good);
    for wrong in [
        with_ec_fields(None, None),
        with_ec_fields(Some("1.2.840.10045.3.1.7"), None),
        with_ec_fields(p384, Some(&[4; 97])),
    ] {
        let refused = refused_private(&wrong);
        assert!(
            matches!(
                refused,
                EncodingError::Der {
                    what: "ECPrivateKey"
                }
            ),
            "{refused}"
        );
    }
}

#[test]
fn a_scalar_of_zero_or_of_the_order_is_refused() {
    let whole = der(&files_of("mlkem1024-p384").0);
    let octets = hex::decode("0430").unwrap();
    let at = whole
        .windows(2)
        .rposition(|window| window == octets)
        .unwrap()
        + 2;
    let order = "ffffffffffffffffffffffffffffffffffffffffffffffff\
                 c7634d81f4372ddf581a0db248b0a77aecec196accc52973";
    for scalar in [vec![0; 48], hex::decode(order).unwrap()] {
        let mut changed = whole.clone();
        changed[at..at + 48].copy_from_slice(&scalar);
        let refused = refused_private(&pem(PRIVATE, &changed));
        let expected = Error::InvalidPrivateKey {
            suite: "mlkem1024-p384",
        };
        assert!(matches!(refused, EncodingError::Key(error) if error == expected));
    }
}

/// The expanded forms of RFC 9881, written here and expanded by another implementation.
#[test]
fn an_expanded_key_must_be_the_one_its_seed_gives_and_is_refused_alone() {
    let (private, _) = files_of("mldsa87");
    let whole = der(&private);
    let info = PrivateKeyInfoRef::from_der(&whole).unwrap();
    // [0] IMPLICIT OCTET STRING of the seed.
    let seed: [u8; 32] = info.private_key.as_bytes()[2..].try_into().unwrap();
    #[expect(deprecated, reason = "the expanded form is what is tested")]
    let expand = |seed: [u8; 32]| {
        let key = ml_dsa::SigningKey::<ml_dsa::MlDsa87>::from_seed(&seed.into());
        OctetString::new(key.expanded_key().to_expanded().to_vec()).unwrap()
    };
    let file = |choice: Vec<u8>| {
        let private_key = OctetStringRef::new(&choice).unwrap();
        let info = PrivateKeyInfoRef::new(info.algorithm, private_key);
        pem(PRIVATE, &info.to_der().unwrap())
    };
    let both = |expanded| {
        let seed = OctetString::new(seed.to_vec()).unwrap();
        file(vec![seed, expanded].to_der().unwrap())
    };
    let read = PrivateKey::from_pem(&both(expand(seed))).unwrap();
    assert_eq!(read.to_pem().unwrap().expose(), private.as_slice());

    let mut other = seed;
    other[0] ^= 1;
    let refused = refused_private(&both(expand(other)));
    assert!(
        matches!(refused, EncodingError::SeedMismatch),
        "{refused:?}"
    );
    let refused = refused_private(&file(expand(seed).to_der().unwrap()));
    assert!(
        matches!(refused, EncodingError::ExpandedOnly),
        "{refused:?}"
    );
}
