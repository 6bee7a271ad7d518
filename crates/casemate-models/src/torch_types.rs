//! The words of `torch.save` for element types and for the memory of tensors (`torch/storage.py` and `torch/_weights_only_unpickler.py` of `PyTorch` 2.15).

/// Element types with the bytes of one element.
const ELEMENTS: [(&str, u64); 25] = [
    ("bcomplex32", 4),
    ("bfloat16", 2),
    ("bits16", 2),
    ("bits8", 1),
    ("bool", 1),
    ("complex128", 16),
    ("complex32", 4),
    ("complex64", 8),
    ("float16", 2),
    ("float32", 4),
    ("float4_e2m1fn_x2", 1),
    ("float64", 8),
    ("float8_e4m3fn", 1),
    ("float8_e4m3fnuz", 1),
    ("float8_e5m2", 1),
    ("float8_e5m2fnuz", 1),
    ("float8_e8m0fnu", 1),
    ("int16", 2),
    ("int32", 4),
    ("int64", 8),
    ("int8", 1),
    ("uint16", 2),
    ("uint32", 4),
    ("uint64", 8),
    ("uint8", 1),
];

/// Types of storage, each with its element type.
const STORAGES: [(&str, &str); 12] = [
    ("BFloat16Storage", "bfloat16"),
    ("BoolStorage", "bool"),
    ("ByteStorage", "uint8"),
    ("CharStorage", "int8"),
    ("ComplexDoubleStorage", "complex128"),
    ("ComplexFloatStorage", "complex64"),
    ("DoubleStorage", "float64"),
    ("FloatStorage", "float32"),
    ("HalfStorage", "float16"),
    ("IntStorage", "int32"),
    ("LongStorage", "int64"),
    ("ShortStorage", "int16"),
];

/// Bytes of one element, if `name` is an element type.
pub(crate) fn element_bytes(name: &str) -> Option<u64> {
    let known = ELEMENTS.iter().find(|(element, _)| *element == name);
    known.map(|(_, bytes)| *bytes)
}

/// The element type of a storage type of the module `torch`; its own name if it has none that is known.
pub(crate) fn element_of_storage(name: &str) -> &str {
    let known = STORAGES.iter().find(|(storage, _)| *storage == name);
    known.map_or(name, |(_, element)| element)
}
