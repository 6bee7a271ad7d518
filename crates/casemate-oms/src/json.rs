//! Strict JSON, as the specification requires: objects must be objects, and lists have a limit.
//!
//! Derived readers also accept a list in place of an object, so two readers could see different
//! content.

use std::{fmt, marker::PhantomData};

use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess,
    Visitor, value::MapAccessDeserializer,
};

/// Reads a text that must be one object.
pub(crate) fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = object(&mut json)?;
    json.end()?;
    Ok(value)
}

/// Reads a member that must be an object.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    json: D,
) -> Result<T, D::Error> {
    Object(PhantomData).deserialize(json)
}

/// Reads a member that must be an object or `null`.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    json: D,
) -> Result<Option<T>, D::Error> {
    struct Nullable<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Nullable<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object or null")
        }

        fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<Option<T>, D::Error> {
            object(json).map(Some)
        }
    }
    json.deserialize_option(Nullable(PhantomData))
}

/// Reads a member that must be a list of at most `MOST` objects.
pub(crate) fn objects<'de, const MOST: usize, D: Deserializer<'de>, T: Deserialize<'de>>(
    json: D,
) -> Result<Vec<T>, D::Error> {
    json.deserialize_seq(List::<MOST, _>(Object(PhantomData)))
}

/// Reads a member that must be a list of at most `MOST` strings.
pub(crate) fn texts<'de, const MOST: usize, D: Deserializer<'de>>(
    json: D,
) -> Result<Vec<String>, D::Error> {
    json.deserialize_seq(List::<MOST, _>(PhantomData::<String>))
}

struct Object<T>(PhantomData<T>);

impl<T> Clone for Object<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Object<T> {}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Object<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<T, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

/// A list whose elements the seed reads.
struct List<const MOST: usize, S>(S);

impl<'de, const MOST: usize, S: DeserializeSeed<'de> + Copy> Visitor<'de> for List<MOST, S> {
    type Value = Vec<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.0)? {
            if list.len() == MOST {
                return Err(A::Error::custom(TooMany(MOST)));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// The text that identifies an error about the length of a list.
const TOO_MANY: &str = "a list has more than";

struct TooMany(usize);

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TOO_MANY} {} entries", self.0)
    }
}

/// Returns whether the error is that a list was too long.
pub(crate) fn is_too_many(error: &serde_json::Error) -> bool {
    error.is_data() && error.to_string().starts_with(TOO_MANY)
}
