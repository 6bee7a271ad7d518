//! Reads JSON numbers directly into tensors.
//!
//! A tree of JSON values takes about twenty times as much memory as the text. Here each number is
//! converted to the model's type as it is read, and memory is reserved before it is used.

use std::fmt;

use casemate_onnx::{Data, ElementType};
use serde::{
    Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::inference::{Overloaded, Turn};

/// Maximum nesting of a tensor's data.
pub(super) const NESTING_MAX: usize = 16;
/// Number of elements to allocate first.
const ROOM_FIRST: usize = 1024;

/// A description of the data to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct What<'a> {
    /// The name of the data in errors.
    pub(super) name: &'a str,
    /// Maximum number of items in the outermost list.
    pub(super) items_max: usize,
}

/// Why numbers were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NumbersError {
    /// The numbers are not valid; the message says why.
    Content(String),
    /// There is no memory for them.
    Overloaded,
}

impl From<Overloaded> for NumbersError {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

/// An element type to which JSON numbers are converted without silent wrapping.
trait Element: Sized {
    fn of_float(value: f64) -> Option<Self>;
    fn of_integer(value: i128) -> Option<Self>;
}

macro_rules! integers {
    ($($rust:ty),*) => {$(
        impl Element for $rust {
            fn of_float(_: f64) -> Option<Self> {
                None
            }

            fn of_integer(value: i128) -> Option<Self> {
                value.try_into().ok()
            }
        }
    )*};
}

integers!(i8, i16, i32, i64, u8);

impl Element for f64 {
    fn of_float(value: f64) -> Option<Self> {
        Some(value)
    }

    #[expect(clippy::cast_precision_loss, reason = "FP64 rounds")]
    fn of_integer(value: i128) -> Option<Self> {
        Some(value as Self)
    }
}

impl Element for f32 {
    /// Returns the nearest FP32; `None` for a number that would round to infinity.
    #[expect(clippy::cast_possible_truncation, reason = "FP32 rounds")]
    fn of_float(value: f64) -> Option<Self> {
        Some(value as Self).filter(|value| value.is_finite())
    }

    fn of_integer(value: i128) -> Option<Self> {
        f64::of_integer(value).and_then(Self::of_float)
    }
}

/// Reads nested lists of numbers and returns the elements in row-major order, and the shape.
///
/// `what` is the name of the data in errors, and the maximum number of items.
pub(super) fn read(
    text: &RawValue,
    element: ElementType,
    what: What<'_>,
    turn: &mut Turn,
) -> Result<(Data, Vec<usize>), NumbersError> {
    Ok(match element {
        ElementType::Fp32 => read_as(text, element, what, turn, Data::Fp32)?,
        ElementType::Fp64 => read_as(text, element, what, turn, Data::Fp64)?,
        ElementType::Int8 => read_as(text, element, what, turn, Data::Int8)?,
        ElementType::Int16 => read_as(text, element, what, turn, Data::Int16)?,
        ElementType::Int32 => read_as(text, element, what, turn, Data::Int32)?,
        ElementType::Int64 => read_as(text, element, what, turn, Data::Int64)?,
        ElementType::Uint8 => read_as(text, element, what, turn, Data::Uint8)?,
    })
}

fn read_as<T: Element>(
    text: &RawValue,
    element: ElementType,
    what: What<'_>,
    turn: &mut Turn,
    data: fn(Vec<T>) -> Data,
) -> Result<(Data, Vec<usize>), NumbersError> {
    let mut sink = Sink {
        elements: Vec::new(),
        turn,
        type_name: element.name(),
        items_max: what.items_max,
        full: false,
    };
    let node = Node {
        sink: &mut sink,
        depth: 0,
    };
    let mut json = serde_json::Deserializer::from_str(text.get());
    match node.deserialize(&mut json) {
        // Innermost first.
        Ok(mut shape) => {
            shape.reverse();
            Ok((data(sink.elements), shape))
        }
        Err(_) if sink.full => Err(NumbersError::Overloaded),
        Err(error) => {
            // Line and column numbers relative to a part of the text would mislead.
            let error = error.to_string();
            let said = error.split(" at line ").next().unwrap_or_default();
            Err(NumbersError::Content(format!("{}: {said}", what.name)))
        }
    }
}

/// Collects the elements.
struct Sink<'a, T> {
    elements: Vec<T>,
    turn: &'a mut Turn,
    type_name: &'static str,
    items_max: usize,
    full: bool,
}

impl<T: Element> Sink<'_, T> {
    fn push(&mut self, element: T) -> Result<(), Overloaded> {
        if self.elements.len() == self.elements.capacity() {
            let more = self.elements.len().max(ROOM_FIRST);
            let bytes = more.saturating_mul(size_of::<T>());
            self.turn.take(bytes).inspect_err(|_| self.full = true)?;
            self.elements.reserve_exact(more);
        }
        self.elements.push(element);
        Ok(())
    }

    fn number<E: serde::de::Error>(&mut self, element: Option<T>) -> Result<Vec<usize>, E> {
        let name = self.type_name;
        let element =
            element.ok_or_else(|| E::custom(format!("a number is out of range for {name}")))?;
        self.push(element).map_err(E::custom)?;
        Ok(Vec::new())
    }
}

/// A number, or a list of nodes of equal shape.
struct Node<'s, 'a, T> {
    sink: &'s mut Sink<'a, T>,
    depth: usize,
}

impl<'de, T: Element> DeserializeSeed<'de> for Node<'_, '_, T> {
    /// The shape, innermost dimension first.
    type Value = Vec<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, T: Element> Visitor<'de> for Node<'_, '_, T> {
    type Value = Vec<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers or lists of numbers")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.sink.number(T::of_float(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.sink.number(T::of_integer(value.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.sink.number(T::of_integer(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let Node { sink, depth } = self;
        if depth == NESTING_MAX {
            return Err(A::Error::custom("lists are nested too deeply"));
        }
        let depth = depth.saturating_add(1);
        let mut shape: Option<Vec<usize>> = None;
        let mut count = 0usize;
        while let Some(found) = items.next_element_seed(Node { sink, depth })? {
            if depth == 1 && count == sink.items_max {
                let most = sink.items_max;
                return Err(A::Error::custom(format!(
                    "there are more than {most} items"
                )));
            }
            let expected = shape.get_or_insert_with(|| found.clone());
            if *expected != found {
                return Err(A::Error::custom(Ragged::of(count, expected, &found)));
            }
            count = count.saturating_add(1);
        }
        let mut shape = shape.unwrap_or_default();
        shape.push(count);
        Ok(shape)
    }
}

/// The message that an item has another shape than earlier ones.
struct Ragged {
    at: usize,
    expected: Vec<usize>,
    found: Vec<usize>,
}

impl Ragged {
    fn of(at: usize, expected: &[usize], found: &[usize]) -> Self {
        let outer_first = |shape: &[usize]| shape.iter().rev().copied().collect();
        Self {
            at,
            expected: outer_first(expected),
            found: outer_first(found),
        }
    }
}

impl fmt::Display for Ragged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            expected,
            found,
        } = self;
        write!(
            f,
            "item {at} has shape {found:?}, but earlier items have {expected:?}"
        )
    }
}

/// A tensor's elements, serialized as JSON without an intermediate tree.
pub(super) struct Numbers<'a>(pub(super) &'a Data);

impl Serialize for Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Data::Fp32(data) => data.serialize(serializer),
            Data::Fp64(data) => data.serialize(serializer),
            Data::Int8(data) => data.serialize(serializer),
            Data::Int16(data) => data.serialize(serializer),
            Data::Int32(data) => data.serialize(serializer),
            Data::Int64(data) => data.serialize(serializer),
            Data::Uint8(data) => data.serialize(serializer),
        }
    }
}

/// Returns the first element that JSON cannot represent.
pub(super) fn not_finite(data: &Data) -> Option<usize> {
    match data {
        Data::Fp32(data) => data.iter().position(|value| !value.is_finite()),
        Data::Fp64(data) => data.iter().position(|value| !value.is_finite()),
        Data::Int8(_) | Data::Int16(_) | Data::Int32(_) | Data::Int64(_) | Data::Uint8(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::inference::Inference;

    async fn read_text(
        text: &str,
        element: ElementType,
    ) -> Result<(Data, Vec<usize>), NumbersError> {
        read_items(text, element, 1_000_000).await
    }

    async fn read_items(
        text: &str,
        element: ElementType,
        items_max: usize,
    ) -> Result<(Data, Vec<usize>), NumbersError> {
        let mut turn = Inference::test_turn(1 << 20).await;
        let text: Box<RawValue> = serde_json::from_str(text).unwrap();
        let what = What {
            name: "data",
            items_max,
        };
        read(&text, element, what, &mut turn)
    }

    #[tokio::test]
    async fn the_outermost_list_has_a_limit() {
        let list = |rows: usize| format!("[{}]", vec!["[1]"; rows].join(","));
        let (_, shape) = read_items(&list(1000), ElementType::Fp32, 1000)
            .await
            .unwrap();
        assert_eq!(shape, [1000, 1]);
        let refused = read_items(&list(1001), ElementType::Fp32, 1000)
            .await
            .unwrap_err();
        let said = "data: there are more than 1000 items".to_owned();
        assert_eq!(refused, NumbersError::Content(said));
    }

    #[tokio::test]
    async fn numbers_keep_their_order_shape_and_type() {
        let (data, shape) = read_text("[[1, 2.5, -3], [4, 5, 6e1]]", ElementType::Fp32)
            .await
            .unwrap();
        assert_eq!(data, Data::Fp32(vec![1.0, 2.5, -3.0, 4.0, 5.0, 60.0]));
        assert_eq!(shape, [2, 3]);
        let (data, shape) = read_text("[9007199254740993]", ElementType::Int64)
            .await
            .unwrap();
        assert_eq!(
            (data, shape),
            (Data::Int64(vec![9_007_199_254_740_993]), vec![1])
        );
        let (data, shape) = read_text("[[], []]", ElementType::Uint8).await.unwrap();
        assert_eq!((data, shape), (Data::Uint8(Vec::new()), vec![2, 0]));
        let (data, shape) = read_text("7", ElementType::Int8).await.unwrap();
        assert_eq!((data, shape), (Data::Int8(vec![7]), Vec::new()));
    }

    #[tokio::test]
    async fn invalid_numbers_are_named() {
        for (text, element, said) in [
            (
                "[[1, 2], [3]]",
                ElementType::Fp32,
                "data: item 1 has shape [1], but earlier items have [2]",
            ),
            (
                "[1, [2]]",
                ElementType::Fp32,
                "data: item 1 has shape [1], but earlier items have []",
            ),
            (
                "[[[1], [2]], [[3, 4]]]",
                ElementType::Fp32,
                "data: item 1 has shape [1, 2], but earlier items have [2, 1]",
            ),
            (
                "[300]",
                ElementType::Uint8,
                "data: a number is out of range for UINT8",
            ),
            (
                "[1.5]",
                ElementType::Int32,
                "data: a number is out of range for INT32",
            ),
            (
                "[1e39]",
                ElementType::Fp32,
                "data: a number is out of range for FP32",
            ),
            (
                "[\"x\"]",
                ElementType::Fp32,
                "data: invalid type: string \"x\", expected numbers or lists of numbers",
            ),
            (
                "[null]",
                ElementType::Fp64,
                "data: invalid type: null, expected numbers or lists of numbers",
            ),
        ] {
            let refused = read_text(text, element).await.unwrap_err();
            assert_eq!(refused, NumbersError::Content(said.to_owned()), "{text}");
        }
        let deep = [&*"[".repeat(17), "1", &*"]".repeat(17)].concat();
        read_text(&deep, ElementType::Fp32).await.unwrap_err();
    }

    #[tokio::test]
    async fn data_that_expands_beyond_the_memory_is_refused() {
        let text = format!("[{}0]", "0,".repeat(300_000));
        let refused = read_text(&text, ElementType::Fp64).await.unwrap_err();
        assert_eq!(refused, NumbersError::Overloaded);
        read_text(&text, ElementType::Uint8).await.unwrap();
    }
}
