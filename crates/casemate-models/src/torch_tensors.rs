//! The tensors that a pickle of `torch.save` would build, by name, determined from its calls
//! (`torch/_utils.py` and `torch/serialization.py` in `PyTorch`).

use std::collections::HashMap;

use crate::{
    DIMENSIONS_MAX, TENSORS_MAX, Tensor,
    pickle_values::{Id, Value, Values, follow},
    torch_types::{element_of_storage, elements_bytes},
};

/// Deepest nesting of containers.
const DEPTH_MAX: usize = 64;
/// Maximum total length of all names, types and shapes, and of all keys that are compared, in
/// bytes.
const BYTES_MAX: usize = 64 << 20;
/// Most nested calls around a tensor.
const WRAPPERS_MAX: usize = 8;

/// The tensors that a pickle of `torch.save` would build.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Table {
    /// The tensors, each named by the keys and indices that lead to it.
    pub tensors: Vec<Tensor>,
    /// Whether there may be more tensors, in values that were not understood.
    pub is_partial: bool,
}

/// Returns the tensors that a pickle of `torch.save` would build.
///
/// Returns `None` if the pickle is malformed, uses unsupported operations, changes a tensor after
/// creating it, or refers to the same values so often that the list would be longer than the
/// pickle.
pub fn tensors_of_pickle(pickle: &[u8]) -> Option<Table> {
    let (values, root) = follow(pickle)?;
    tensors_of(&values, root, pickle.len())
}

/// Returns the tensors in a value of a pickle of `len` bytes.
pub(crate) fn tensors_of(values: &Values, root: Id, len: usize) -> Option<Table> {
    let mut table = Table::default();
    // Every reference to a value takes at least one byte of the pickle.
    let mut visits_left = len.min(TENSORS_MAX);
    let mut entries_left = len.saturating_mul(2);
    let mut bytes_left = BYTES_MAX;
    // The last is visited first, so children are pushed in reverse.
    let mut open = vec![(root, String::new(), 0_usize)];
    while let Some((id, name, depth)) = open.pop() {
        visits_left = visits_left.checked_sub(1)?;
        if let Some(tensor) = tensor(values, id, &name).ok()? {
            let text = tensor.name.len().checked_add(tensor.dtype.len())?;
            let shape = tensor.shape.len().checked_mul(size_of::<u64>())?;
            bytes_left = bytes_left.checked_sub(text)?.checked_sub(shape)?;
            table.tensors.push(tensor);
            continue;
        }
        table.is_partial |= !is_understood(values, id, &mut entries_left)?;
        let Some(container) = container(values, id) else {
            continue;
        };
        // Also count entries that are not children: a container may occur in many places.
        entries_left = entries_left.checked_sub(container.len())?;
        let children = children(values, container, &mut bytes_left)?;
        if depth > DEPTH_MAX || open.len().checked_add(children.named.len())? > visits_left {
            return None;
        }
        table.is_partial |= children.has_others;
        for (key, child) in children.named.into_iter().rev() {
            let name = if name.is_empty() {
                key
            } else {
                format!("{name}.{key}")
            };
            bytes_left = bytes_left.checked_sub(name.len())?;
            open.push((child, name, depth.saturating_add(1)));
        }
    }
    Some(table)
}

/// Returns whether a value cannot contain a tensor.
fn is_leaf(values: &Values, id: Id) -> bool {
    matches!(
        values.get(id),
        Some(Value::Other | Value::Integer(_) | Value::Text(_) | Value::Import(_))
    )
}

/// Returns whether looking into the [`container`] of a value finds every tensor in it; `None` if
/// the limit is exceeded.
fn is_understood(values: &Values, id: Id, entries_left: &mut usize) -> Option<bool> {
    let Some(call) = values.call(id) else {
        return Some(!matches!(values.get(id), Some(Value::Persistent(_))));
    };
    let (Some(function), Some(arguments)) =
        (values.import(call.function), values.tuple(call.arguments))
    else {
        return Some(false);
    };
    Some(match function {
        "collections OrderedDict" => arguments.is_empty(),
        "torch Size" => true,
        name if name.starts_with("torch") && name != "torch device" && call.state.is_none() => {
            false
        }
        // Numbers, strings, and lists of them, such as the elements of a set.
        _ => {
            let mut plain = true;
            for argument in arguments {
                let inner = match values.get(*argument) {
                    Some(Value::Items(items) | Value::Tuple(items)) => items.as_slice(),
                    _ => std::slice::from_ref(argument),
                };
                *entries_left = entries_left.checked_sub(inner.len())?;
                plain &= inner.iter().all(|one| is_leaf(values, *one));
            }
            plain
        }
    })
}

#[derive(Clone, Copy)]
enum Container<'v> {
    Items(&'v [Id]),
    Entries(&'v [(Id, Id)]),
}

impl Container<'_> {
    const fn len(self) -> usize {
        match self {
            Self::Items(items) => items.len(),
            Self::Entries(entries) => entries.len(),
        }
    }
}

fn container(values: &Values, id: Id) -> Option<Container<'_>> {
    match values.get(id)? {
        Value::Items(items) | Value::Tuple(items) => Some(Container::Items(items)),
        Value::Map(entries) => Some(Container::Entries(entries)),
        Value::Called(call) => {
            // The attributes of a dictionary are not content; an object has nothing else.
            let is_map = values.import(call.function) == Some("collections OrderedDict");
            let state = call.state.and_then(|state| values.get(state));
            Some(Container::Entries(match state {
                Some(Value::Map(state)) if !is_map && call.entries.is_empty() => state,
                _ => &call.entries,
            }))
        }
        _ => None,
    }
}

/// The children of a container.
#[derive(Default)]
struct Children {
    /// Children by key or index.
    named: Vec<(String, Id)>,
    /// Whether a value other than a leaf has another kind of key.
    has_others: bool,
}

/// Returns the children of a container; `None` if its keys are too long to compare.
fn children(values: &Values, container: Container<'_>, bytes_left: &mut usize) -> Option<Children> {
    let mut children = Children::default();
    let entries = match container {
        Container::Items(items) => {
            let numbered = items.iter().enumerate();
            children.named = numbered.map(|(at, id)| (at.to_string(), *id)).collect();
            return Some(children);
        }
        Container::Entries(entries) => entries,
    };
    // A key that is set again keeps its position and has its last value.
    let mut places = HashMap::new();
    for (key, value) in entries {
        let Some(key) = Key::of(values, *key) else {
            children.has_others |= !is_leaf(values, *value);
            continue;
        };
        if let Key::Text(text) = key {
            *bytes_left = bytes_left.checked_sub(text.len())?;
        }
        let place = *places.entry(key).or_insert(children.named.len());
        match children.named.get_mut(place) {
            Some((_, last)) => *last = *value,
            None => children.named.push((key.text(), *value)),
        }
    }
    Some(children)
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'v> {
    Text(&'v str),
    Integer(i64),
}

impl<'v> Key<'v> {
    fn of(values: &'v Values, key: Id) -> Option<Self> {
        match values.get(key)? {
            Value::Text(text) => Some(Self::Text(text)),
            Value::Integer(number) => Some(Self::Integer(*number)),
            _ => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Text(text) => text.to_owned(),
            Self::Integer(number) => number.to_string(),
        }
    }
}

/// An error: a tensor is changed after it was created, which can change everything about it.
struct Changed;

/// Returns the tensor that a value represents, if it is understood.
fn tensor(values: &Values, id: Id, name: &str) -> Result<Option<Tensor>, Changed> {
    let Some(mut call) = values.call(id) else {
        return Ok(None);
    };
    for _ in 0..WRAPPERS_MAX {
        let (function, arguments) = (values.import(call.function), values.tuple(call.arguments));
        let (Some(function), Some(arguments)) = (function, arguments) else {
            return Ok(None);
        };
        if !function.starts_with("torch._utils _rebuild_")
            && function != "torch._tensor _rebuild_from_type_v2"
        {
            return Ok(None);
        }
        if call.state.is_some() || !call.entries.is_empty() {
            return Err(Changed);
        }
        let inner = match (function, arguments) {
            ("torch._utils _rebuild_parameter", [inner, ..]) => *inner,
            ("torch._utils _rebuild_parameter_with_state", [inner, _, _, state]) => {
                keeps_data(values, *state)?;
                *inner
            }
            ("torch._tensor _rebuild_from_type_v2", [inner, _class, of_inner, state]) => {
                keeps_data(values, *state)?;
                return Ok(made(values, *inner, *of_inner, name));
            }
            _ => return Ok(made(values, call.function, call.arguments, name)),
        };
        let Some(inner) = values.call(inner) else {
            return Ok(None);
        };
        call = inner;
    }
    Ok(None)
}

/// Returns the tensor that a rebuild function would create.
fn made(values: &Values, function: Id, arguments: Id, name: &str) -> Option<Tensor> {
    if values.import(function)? == "torch._utils _rebuild_sparse_tensor" {
        return sparse(values, values.tuple(arguments)?, name);
    }
    dense(values, function, arguments, name)
}

fn dense(values: &Values, function: Id, arguments: Id, name: &str) -> Option<Tensor> {
    let arguments = values.tuple(arguments)?;
    match values.import(function)? {
        "torch._utils _rebuild_tensor"
        | "torch._utils _rebuild_tensor_v2"
        | "torch._utils _rebuild_qtensor" => rebuilt(values, arguments, None, name),
        "torch._utils _rebuild_tensor_v3" => {
            rebuilt(values, arguments, arguments.get(6).copied(), name)
        }
        _ => None,
    }
}

/// Refuses attributes that may replace the data of a tensor.
fn keeps_data(values: &Values, state: Id) -> Result<(), Changed> {
    let keeps = match values.get(state) {
        Some(Value::Map(entries)) => {
            let is_other = |key: Id| values.text(key).is_some_and(|name| name != "data");
            entries.iter().all(|(key, _)| is_other(*key))
        }
        Some(Value::Items(items) | Value::Tuple(items)) => items.is_empty(),
        Some(Value::Other) => true,
        _ => false,
    };
    if keeps { Ok(()) } else { Err(Changed) }
}

/// Builds a tensor from storage, offset, sizes and strides, and from an element type if it differs
/// from that of the storage.
fn rebuilt(values: &Values, arguments: &[Id], dtype: Option<Id>, name: &str) -> Option<Tensor> {
    let [storage, _offset, sizes, ..] = arguments else {
        return None;
    };
    let dtype = match dtype {
        Some(dtype) => values.import(dtype)?.strip_prefix("torch ")?,
        None => element_of_storage(storage_type(values, *storage)?),
    };
    let shape = shape(values, *sizes)?;
    let count = shape
        .iter()
        .try_fold(1, |count: u64, side| count.checked_mul(*side));
    let bytes = count.and_then(|count| elements_bytes(dtype, count));
    Some(Tensor {
        name: name.to_owned(),
        dtype: dtype.to_owned(),
        shape,
        bytes,
    })
}

/// Reads sizes from a plain tuple or a `torch.Size`.
fn shape(values: &Values, sizes: Id) -> Option<Vec<u64>> {
    let sizes = match values.get(sizes)? {
        Value::Called(call) => *values.tuple(call.arguments)?.first()?,
        _ => sizes,
    };
    let sizes = values.tuple(sizes)?;
    if sizes.len() > DIMENSIONS_MAX {
        return None;
    }
    let side = |id: &Id| match values.get(*id)? {
        Value::Integer(side) => u64::try_from(*side).ok(),
        _ => None,
    };
    sizes.iter().map(side).collect()
}

/// Builds a sparse tensor from its layout and the tensors of its indices and values, whose lengths
/// add up to its length.
fn sparse(values: &Values, arguments: &[Id], name: &str) -> Option<Tensor> {
    let [layout, data] = arguments else {
        return None;
    };
    let layout = values.call(*layout)?;
    if values.import(layout.function)? != "torch.serialization _get_layout" {
        return None;
    }
    let layout = values.text(*values.tuple(layout.arguments)?.first()?)?;
    let (parts, sizes) = match (layout, values.tuple(*data)?) {
        ("torch.sparse_coo", [indices, elements, sizes] | [indices, elements, sizes, _]) => {
            (vec![*indices, *elements], *sizes)
        }
        (
            "torch.sparse_csr" | "torch.sparse_csc" | "torch.sparse_bsr" | "torch.sparse_bsc",
            [compressed, plain, elements, sizes],
        ) => (vec![*compressed, *plain, *elements], *sizes),
        _ => return None,
    };
    let part = |id| {
        let call = values.call(id)?;
        let is_changed = call.state.is_some() || !call.entries.is_empty();
        let part = dense(values, call.function, call.arguments, "")?;
        (!is_changed).then_some(part)
    };
    let parts = parts.into_iter().map(part).collect::<Option<Vec<_>>>()?;
    let bytes = parts
        .iter()
        .map(|part| part.bytes)
        .reduce(|sum, bytes| sum?.checked_add(bytes?));
    let layout = layout.trim_start_matches("torch.");
    Some(Tensor {
        name: name.to_owned(),
        dtype: format!("{} ({layout})", parts.last()?.dtype),
        shape: shape(values, sizes)?,
        bytes: bytes.flatten(),
    })
}

/// Returns the type in `('storage', type, key, location, count)`, without its module.
fn storage_type(values: &Values, storage: Id) -> Option<&str> {
    let Value::Persistent(id) = values.get(storage)? else {
        return None;
    };
    let [kind, of, ..] = values.tuple(*id)? else {
        return None;
    };
    if values.text(*kind) != Some("storage") {
        return None;
    }
    let name = values.import(*of)?;
    Some(name.strip_prefix("torch ").unwrap_or(name))
}

/// Returns the storages that a pickle refers to: their keys, and the length of each in bytes.
pub(crate) fn storages(values: &Values) -> Option<HashMap<&str, u64>> {
    let mut storages = HashMap::new();
    for (id, value) in values.iter() {
        let Value::Persistent(reference) = value else {
            continue;
        };
        let [_, _, key, _, count, ..] = values.tuple(*reference)? else {
            return None;
        };
        let Value::Integer(count) = values.get(*count)? else {
            return None;
        };
        let kind = storage_type(values, id)?;
        let count = u64::try_from(*count).ok()?;
        let bytes = match kind {
            "torch.storage UntypedStorage" => count,
            kind => elements_bytes(element_of_storage(kind), count)?,
        };
        let earlier = storages.insert(values.text(*key)?, bytes);
        if earlier.is_some_and(|earlier| earlier != bytes) {
            return None;
        }
    }
    Some(storages)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes a `_rebuild_tensor_v2` call on a float storage with these sizes.
    fn rebuilt_tensor(sizes: &[u8]) -> Vec<u8> {
        rebuilt_with(&[b"(".as_slice(), sizes, b"t"].concat())
    }

    fn rebuilt_with(sizes: &[u8]) -> Vec<u8> {
        let start = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQK\0";
        [start.as_slice(), sizes, b"(K\x01t\x89NtR"].concat()
    }

    fn found(pickle: &[u8]) -> Vec<Tensor> {
        tensors_of_pickle(pickle).unwrap().tensors
    }

    fn map(entries: &[&[u8]]) -> Vec<u8> {
        [b"\x80\x02}(", entries.concat().as_slice(), b"u."].concat()
    }

    #[test]
    fn a_tensor_has_the_keys_that_lead_to_it() {
        let tensor = rebuilt_tensor(b"K\x02K\x03");
        let inner = [b"(K\x07".as_slice(), &tensor, b"d"].concat();
        let table = tensors_of_pickle(&map(&[b"U\x01a", &tensor, b"U\x01b", &inner])).unwrap();
        let found = table.tensors;
        assert!(!table.is_partial);
        let names: Vec<_> = found.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["a", "b.7"]);
        assert!(found.iter().all(|tensor| tensor.shape == [2, 3]
            && tensor.dtype == "float32"
            && tensor.bytes == Some(24)));
    }

    #[test]
    fn a_key_that_is_set_again_has_its_last_value() {
        let (first, second) = (rebuilt_tensor(b"K\x02"), rebuilt_tensor(b"K\x05"));
        let twice: [&[u8]; 6] = [b"U\x01a", &first, b"U\x01b", b"N", b"U\x01a", &second];
        assert_eq!(found(&map(&twice))[0].shape, [5]);
    }

    #[test]
    fn what_is_set_on_a_tensor_makes_it_another() {
        let tensor = rebuilt_tensor(b"K\x02");
        let built = [tensor.as_slice(), b"}b"].concat();
        assert_eq!(tensors_of_pickle(&map(&[b"U\x01a", &built])), None);
        let parameter = |state: &[u8]| {
            let call = b"ctorch._utils\n_rebuild_parameter_with_state\n(";
            let parameter = [call.as_slice(), &tensor, b"\x88N", state, b"tR"].concat();
            map(&[b"U\x01a", &parameter])
        };
        assert_eq!(found(&parameter(b"}U\x04noteK\x01s"))[0].shape, [2]);
        assert_eq!(tensors_of_pickle(&parameter(b"}U\x04dataNs")), None);
        // On an import, it would change a shared object.
        assert_eq!(tensors_of_pickle(b"ccollections\nCounter\n}b."), None);
    }

    #[test]
    fn what_is_not_understood_is_said_to_be_missing() {
        let tensor = rebuilt_tensor(b"K\x02");
        // Sizes that can grow later, another kind of key, a tensor created in another way,
        // arguments of a dictionary.
        let growing = rebuilt_with(b"](K\x02e");
        let odd = [b"G\0\0\0\0\0\0\0\0".as_slice(), &tensor].concat();
        let other = b"ctorch\nTensor\n(K\x02tR".to_vec();
        let given = [
            b"ccollections\nOrderedDict\n((U\x01b".as_slice(),
            &tensor,
            b"dtR",
        ]
        .concat();
        let entry = |value: &[u8]| [b"U\x01b", value].concat();
        for more in [entry(&growing), odd, entry(&other), entry(&given)] {
            let table = tensors_of_pickle(&map(&[b"U\x01a", &tensor, &more])).unwrap();
            assert_eq!((table.tensors.len(), table.is_partial), (1, true));
        }
        let set = b"c__builtin__\nset\n((K\x01K\x02ltR";
        let table = tensors_of_pickle(&map(&[b"U\x01a", &tensor, &entry(set)])).unwrap();
        assert_eq!((table.tensors.len(), table.is_partial), (1, false));
    }

    #[test]
    fn sizes_that_nothing_can_have_are_not_made_up() {
        let negative = map(&[b"U\x01a", &rebuilt_tensor(b"J\xff\xff\xff\xff")]);
        assert_eq!(found(&negative), []);
        let huge = rebuilt_tensor(&b"J\xff\xff\xff\x7f".repeat(4));
        let found = found(&map(&[b"U\x01a", &huge]));
        assert_eq!((found[0].shape.len(), found[0].bytes), (4, None));
    }

    #[test]
    fn circles_and_repetitions_come_to_an_end() {
        let circle = b"\x80\x02}q\0U\x01ah\0s.";
        assert!(tensors_of_pickle(circle).is_none());
        // Sixty lists, each twice the one before.
        let doubled = b"q\x01h\x01\x86".repeat(60);
        let bomb = [b"\x80\x02K\x01".as_slice(), &doubled, b"."].concat();
        assert!(tensors_of_pickle(&bomb).is_none());
        let wide = [b"\x80\x02](".as_slice(), &b"N".repeat(1 << 21), b"e."].concat();
        assert!(tensors_of_pickle(&wide).is_none());
    }

    #[test]
    fn what_stands_in_many_places_is_not_looked_at_in_each() {
        // A map whose keys are not names, ten thousand times in a list.
        let entries = b"NN".repeat(50_000);
        let map = [b"}q\x01(".as_slice(), &entries, b"u0"].concat();
        let list = [b"](".as_slice(), &b"h\x01".repeat(10_000), b"e."].concat();
        assert!(tensors_of_pickle(&[map, list].concat()).is_none());
        // Arguments of a call, which are also visited.
        let call = [b"cx\ny\n(".as_slice(), &b"N".repeat(100_000), b"tRq\x010"].concat();
        let calls = [b"](".as_slice(), &b"h\x01".repeat(10_000), b"e."].concat();
        assert!(tensors_of_pickle(&[call, calls].concat()).is_none());
        // A tensor with a long description, and a name that is built again and again.
        let long = format!("ctorch\n{}Storage\n", "x".repeat(900));
        let tensor = rebuilt_tensor(&b"K\x01".repeat(DIMENSIONS_MAX));
        let at = tensor
            .windows(19)
            .position(|part| part == b"ctorch\nFloatStorage")
            .unwrap();
        let tensor = [&tensor[..at], long.as_bytes(), &tensor[at + 20..]].concat();
        let list = |each: &[u8]| [b"q\x010](".as_slice(), &each.repeat(100_000), b"e."].concat();
        let once = [b"\x80\x02(".as_slice(), &tensor, b"t."].concat();
        assert_eq!(found(&once)[0].shape.len(), DIMENSIONS_MAX);
        assert!(tensors_of_pickle(&[tensor, list(b"h\x01")].concat()).is_none());
        let text = [b"T\0\x04\0\0".as_slice(), &[b'x'; 1024]].concat();
        assert!(tensors_of_pickle(&[text, list(b"h\x012\x93")].concat()).is_none());
        // Copies on the stack take one byte each, but create no value.
        let copies = [b"N".as_slice(), &b"2".repeat(1 << 22), b"."].concat();
        assert!(tensors_of_pickle(&copies).is_none());
    }

    #[test]
    fn what_is_cut_or_not_known_gives_no_table() {
        let whole = map(&[b"U\x01a", &rebuilt_tensor(b"K\x02")]);
        for end in 0..whole.len() {
            assert!(tensors_of_pickle(whole.get(..end).unwrap()).is_none());
        }
        for pickle in [
            b"\x80\x02\x82\x01.".as_slice(),
            b"(0.",
            b"h\0.",
            b"t.",
            b"\xff.",
        ] {
            assert!(tensors_of_pickle(pickle).is_none());
        }
    }
}
