//! The names in `torch.save` for element types, storages and everything else that `weights_only`
//! lets a pickle import (`torch/storage.py` and `torch/_weights_only_unpickler.py` in `PyTorch`
//! 2.15).

/// Element types, with the number of bits of one element.
const ELEMENTS: [(&str, u64); 47] = [
    ("bcomplex32", 32),
    ("bfloat16", 16),
    ("bits16", 16),
    ("bits1x8", 8),
    ("bits2x4", 8),
    ("bits4x2", 8),
    ("bits8", 8),
    ("bool", 8),
    ("complex128", 128),
    ("complex32", 32),
    ("complex64", 64),
    ("float16", 16),
    ("float32", 32),
    ("float4_e2m1fn_x2", 8),
    ("float64", 64),
    ("float8_e4m3fn", 8),
    ("float8_e4m3fnuz", 8),
    ("float8_e5m2", 8),
    ("float8_e5m2fnuz", 8),
    ("float8_e8m0fnu", 8),
    ("int1", 8),
    ("int16", 16),
    ("int2", 8),
    ("int3", 8),
    ("int32", 32),
    ("int4", 8),
    ("int5", 8),
    ("int6", 8),
    ("int64", 64),
    ("int7", 8),
    ("int8", 8),
    ("qint32", 32),
    ("qint8", 8),
    ("quint2x4", 2),
    ("quint4x2", 4),
    ("quint8", 8),
    ("uint1", 8),
    ("uint16", 16),
    ("uint2", 8),
    ("uint3", 8),
    ("uint32", 32),
    ("uint4", 8),
    ("uint5", 8),
    ("uint6", 8),
    ("uint64", 64),
    ("uint7", 8),
    ("uint8", 8),
];

/// Storage types, each with its element type.
const STORAGES: [(&str, &str); 17] = [
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
    ("QInt32Storage", "qint32"),
    ("QInt8Storage", "qint8"),
    ("QUInt2x4Storage", "quint2x4"),
    ("QUInt4x2Storage", "quint4x2"),
    ("QUInt8Storage", "quint8"),
    ("ShortStorage", "int16"),
];

/// Tensor classes in `torch` and `torch.cuda` and, except for the first, in their `sparse` modules.
const TENSORS: [&str; 10] = [
    "BoolTensor",
    "BFloat16Tensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
];

/// Other names, each `module name`.
const NAMES: [&str; 33] = [
    "__builtin__ bytearray",
    "__builtin__ complex",
    "__builtin__ set",
    "_codecs encode",
    "builtins bytearray",
    "builtins complex",
    "builtins set",
    "collections Counter",
    "collections OrderedDict",
    "torch Size",
    "torch Tensor",
    "torch device",
    "torch per_channel_affine",
    "torch per_channel_affine_float_qparams",
    "torch per_channel_symmetric",
    "torch per_tensor_affine",
    "torch per_tensor_symmetric",
    "torch._tensor _rebuild_from_type_v2",
    "torch._utils _rebuild_device_tensor_from_cpu_tensor",
    "torch._utils _rebuild_device_tensor_from_numpy",
    "torch._utils _rebuild_meta_tensor_no_storage",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_parameter_with_state",
    "torch._utils _rebuild_qtensor",
    "torch._utils _rebuild_sparse_tensor",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_wrapper_subclass",
    "torch.nn.parameter Parameter",
    "torch.serialization _get_layout",
    "torch.storage TypedStorage",
    "torch.storage UntypedStorage",
];

/// Returns the length of `count` elements, in bytes, if `name` is an element type.
pub(crate) fn elements_bytes(name: &str, count: u64) -> Option<u64> {
    let (_, bits) = ELEMENTS.iter().find(|(element, _)| *element == name)?;
    Some(count.checked_mul(*bits)?.div_ceil(8))
}

/// Returns the element type of a storage type in the module `torch`, or the name itself if it is
/// unknown.
pub(crate) fn element_of_storage(name: &str) -> &str {
    let known = STORAGES.iter().find(|(storage, _)| *storage == name);
    known.map_or(name, |(_, element)| element)
}

/// Returns whether `weights_only` lets a pickle import `import`, which is a module, a space and a
/// name.
pub(crate) fn is_for_weights(import: &str) -> bool {
    if NAMES.contains(&import) {
        return true;
    }
    let Some((module, name)) = import.split_once(' ') else {
        return false;
    };
    let is_storage = STORAGES.iter().any(|(storage, _)| *storage == name);
    let is_tensor = TENSORS.contains(&name);
    match module {
        "torch" => is_storage || is_tensor || ELEMENTS.iter().any(|(element, _)| *element == name),
        // Quantised tensors have no GPU classes.
        "torch.cuda" => is_tensor || is_storage && !name.starts_with('Q'),
        "torch.sparse" | "torch.cuda.sparse" => is_tensor && name != "BoolTensor",
        _ => false,
    }
}
