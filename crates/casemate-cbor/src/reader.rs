//! Strict reading.

use std::fmt;

use minicbor::{Decoder, data::Type};

use crate::CborError;

/// A value that a format ignores: of a type whose encoding can be checked like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Uint(u64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
}

/// Reads one item after another. An error leaves it where it is; the bytes are then refused.
pub struct Reader<'a> {
    decoder: Decoder<'a>,
    len: usize,
    what: &'static str,
}

/// Shows no content, which may be secret.
impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `bytes`; `what` is the name of the structure in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self {
            decoder: Decoder::new(bytes),
            len: bytes.len(),
            what,
        }
    }

    /// Reads a part with a name of its own.
    ///
    /// # Errors
    ///
    /// The error of `read`.
    pub fn within<T, E>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let outer = std::mem::replace(&mut self.what, what);
        let done = read(self);
        self.what = outer;
        done
    }

    /// Returns the error that the structure is not the expected one.
    pub const fn refused(&self) -> CborError {
        CborError::Structure(self.what)
    }

    fn some<T, E>(&self, found: Result<T, E>) -> Result<T, CborError> {
        found.map_err(|_| self.refused())
    }

    fn check(&self, is_expected: bool) -> Result<(), CborError> {
        is_expected.then_some(()).ok_or_else(|| self.refused())
    }

    /// Reads the header of a map and returns the number of its entries.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`], also for a map of indefinite length.
    pub fn map(&mut self) -> Result<u64, CborError> {
        let found = self.decoder.map();
        self.some(found)?.ok_or_else(|| self.refused())
    }

    /// Reads the header of a map of `entries` entries.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`].
    pub fn map_of(&mut self, entries: u64) -> Result<(), CborError> {
        let found = self.map()?;
        self.check(found == entries)
    }

    /// Reads the header of an array and returns the number of its elements.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`], also for an array of indefinite length.
    pub fn array(&mut self) -> Result<u64, CborError> {
        let found = self.decoder.array();
        self.some(found)?.ok_or_else(|| self.refused())
    }

    /// Reads the header of an array of `elements` elements.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`].
    pub fn array_of(&mut self, elements: u64) -> Result<(), CborError> {
        let found = self.array()?;
        self.check(found == elements)
    }

    /// Reads a key of a map, which must be `key`.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`].
    pub fn key(&mut self, key: u64) -> Result<(), CborError> {
        let found = self.uint()?;
        self.check(found == key)
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`].
    pub fn uint(&mut self) -> Result<u64, CborError> {
        let found = self.decoder.u64();
        self.some(found)
    }

    /// Reads an unsigned integer of at most 32 bits.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`].
    pub fn uint32(&mut self) -> Result<u32, CborError> {
        let found = self.decoder.u32();
        self.some(found)
    }

    /// Reads a byte string of any length.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`], also for a string in chunks.
    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        let found = self.decoder.bytes();
        self.some(found)
    }

    /// Reads a byte string of `N` bytes; `field` is its name in errors.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`], [`CborError::Length`].
    pub fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CborError> {
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_| CborError::Length {
            field,
            actual: bytes.len(),
            expected: N,
        })
    }

    /// Reads a text string.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`], also for text that is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, CborError> {
        let found = self.decoder.str();
        self.some(found)
    }

    /// Reads `null`, or a value with `read`.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`], or the error of `read`.
    pub fn nullable<T, E: From<CborError>>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let next = self.decoder.datatype();
        if self.some(next)? != Type::Null {
            return read(self).map(Some);
        }
        let null = self.decoder.null();
        self.some(null)?;
        Ok(None)
    }

    /// Reads a value that the format ignores.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`] if it is not a number, bytes or text.
    pub fn ignored(&mut self) -> Result<Value, CborError> {
        let next = self.decoder.datatype();
        match self.some(next)? {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => self.uint().map(Value::Uint),
            Type::Bytes => self.bytes().map(|bytes| Value::Bytes(bytes.to_vec())),
            Type::String => self.text().map(|text| Value::Text(text.to_owned())),
            _ => Err(self.refused()),
        }
    }

    /// Checks that nothing follows, for formats that do not encode again.
    ///
    /// # Errors
    ///
    /// [`CborError::Structure`].
    pub fn end(&self) -> Result<(), CborError> {
        self.check(self.decoder.position() == self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REFUSED: CborError = CborError::Structure("test");

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Reader::new(bytes, "test")
    }

    fn of_hex(text: &str) -> &'static [u8] {
        hex::decode(text).unwrap().leak()
    }

    fn read<T>(
        text: &str,
        with: impl FnOnce(&mut Reader<'static>) -> Result<T, CborError>,
    ) -> Result<T, CborError> {
        with(&mut reader(of_hex(text)))
    }

    /// The examples of RFC 8949, appendix A.
    #[test]
    fn items_are_read_as_the_standard_shows_them() {
        assert_eq!(read("1bffffffffffffffff", Reader::uint), Ok(u64::MAX));
        assert_eq!(read("1a000f4240", Reader::uint), Ok(1_000_000));
        assert_eq!(read("1a000f4240", Reader::uint32), Ok(1_000_000));
        let text = read("6449455446", |r| r.text().map(str::to_owned));
        assert_eq!(text.as_deref(), Ok("IETF"));
        let bytes = read("4401020304", |r| r.bytes().map(<[u8]>::to_vec));
        assert_eq!(bytes, Ok(vec![1, 2, 3, 4]));
        assert_eq!(read("83010203", Reader::array), Ok(3));
        assert_eq!(read("a201020304", Reader::map), Ok(2));
        assert_eq!(read("4401020304", |r| r.fixed("f")), Ok([1, 2, 3, 4]));
        assert_eq!(read("f6", |r| r.nullable(Reader::uint)), Ok(None));
        assert_eq!(read("17", |r| r.nullable(Reader::uint)), Ok(Some(23)));
    }

    #[test]
    fn other_items_than_the_expected_ones_are_refused() {
        for text in ["20", "f4", "f93c00", "c11a514b67b0", "40", "60", ""] {
            assert_eq!(read(text, Reader::uint), Err(REFUSED), "{text}");
        }
        assert_eq!(read("1b0000000100000000", Reader::uint32), Err(REFUSED));
        // Items of indefinite length, and text that is not UTF-8.
        assert_eq!(read("9fff", Reader::array), Err(REFUSED));
        assert_eq!(read("bfff", Reader::map), Err(REFUSED));
        assert_eq!(
            read("5f42010243030405ff", |r| r.bytes().map(drop)),
            Err(REFUSED)
        );
        assert_eq!(read("61ff", |r| r.text().map(drop)), Err(REFUSED));
        // Other counts and keys.
        assert_eq!(read("83010203", |r| r.array_of(2)), Err(REFUSED));
        assert_eq!(read("83010203", |r| r.array_of(3)), Ok(()));
        assert_eq!(read("a10102", |r| r.map_of(2)), Err(REFUSED));
        assert_eq!(read("a10102", |r| r.map_of(1)), Ok(()));
        assert_eq!(read("01", |r| r.key(0)), Err(REFUSED));
        assert_eq!(read("00", |r| r.key(0)), Ok(()));
        let short = CborError::Length {
            field: "f",
            actual: 4,
            expected: 5,
        };
        assert_eq!(read("4401020304", |r| r.fixed::<5>("f")), Err(short));
        assert_eq!(read("f7", |r| r.nullable(Reader::uint)), Err(REFUSED));
    }

    #[test]
    fn ignored_values_are_numbers_bytes_or_text() {
        assert_eq!(read("1864", Reader::ignored), Ok(Value::Uint(100)));
        assert_eq!(read("4101", Reader::ignored), Ok(Value::Bytes(vec![1])));
        let text = Value::Text("a".to_owned());
        assert_eq!(read("6161", Reader::ignored), Ok(text));
        for other in [
            "80",
            "a0",
            "20",
            "f5",
            "f6",
            "c11a514b67b0",
            "fb3ff199999999999a",
        ] {
            assert_eq!(read(other, Reader::ignored), Err(REFUSED), "{other}");
        }
    }

    #[test]
    fn a_part_has_its_own_name_in_errors_and_its_surroundings_theirs() {
        let bytes = [0x20, 0x20];
        let mut reader = reader(&bytes);
        let inner = reader.within("inner", Reader::uint);
        assert_eq!(inner, Err(CborError::Structure("inner")));
        assert_eq!(reader.uint(), Err(REFUSED));
        assert_eq!(reader.refused(), REFUSED);
    }

    #[test]
    fn the_end_is_where_nothing_follows() {
        let bytes = [0x01, 0x02];
        let mut reader = reader(&bytes);
        assert_eq!(reader.uint(), Ok(1));
        assert_eq!(reader.end(), Err(REFUSED));
        assert_eq!(reader.uint(), Ok(2));
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn only_the_same_bytes_are_deterministic() {
        let refused = Err(CborError::NotDeterministic("test"));
        assert_eq!(crate::expect_same(b"ab", b"ab", "test"), Ok(()));
        assert_eq!(crate::expect_same(b"ab", b"abc", "test"), refused);
        assert_eq!(crate::expect_same(b"abc", b"ab", "test"), refused);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, calls in proptest::collection::vec(0..9_u8, 0..20)) {
            let mut reader = reader(&bytes);
            for call in calls {
                _ = match call {
                    0 => reader.map().map(drop),
                    1 => reader.array().map(drop),
                    2 => reader.uint().map(drop),
                    3 => reader.uint32().map(drop),
                    4 => reader.bytes().map(drop),
                    5 => reader.text().map(drop),
                    6 => reader.fixed::<16>("f").map(drop),
                    7 => reader.nullable(Reader::uint).map(drop),
                    _ => reader.ignored().map(drop),
                };
            }
        }

        #[test]
        fn what_was_written_is_read(number: u64, bytes: Vec<u8>, text: String) {
            let encoded = crate::encode(|e| {
                e.array(3)?.u64(number)?.bytes(&bytes)?.str(&text).map(drop)
            });
            let mut reader = reader(&encoded);
            prop_assert_eq!(reader.array(), Ok(3));
            prop_assert_eq!(reader.uint(), Ok(number));
            prop_assert_eq!(reader.bytes(), Ok(bytes.as_slice()));
            prop_assert_eq!(reader.text(), Ok(text.as_str()));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }
}
