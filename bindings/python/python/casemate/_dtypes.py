"""Types of tensors: the names that safetensors has for them, in NumPy and in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "F64": 8, "I64": 8, "U64": 8, "C64": 8,
}  # fmt: skip
_NUMPY = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "F16": "float16", "I32": "int32",
    "U32": "uint32", "F32": "float32", "F64": "float64", "I64": "int64", "U64": "uint64", "C64": "complex64",
}  # fmt: skip
#: Types that NumPy has through the package ml_dtypes.
_ML_DTYPES = {"BF16": "bfloat16", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn"}
_TORCH = {
    **_NUMPY, "BOOL": "bool", "BF16": "bfloat16", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn",
}  # fmt: skip


def type_bytes(name: str) -> int | None:
    """Bytes of an element, or ``None`` for a type that is not known here."""
    return _BYTES.get(name)


def numpy_dtype(name: str) -> Any:
    if name in _NUMPY:
        return np.dtype(_NUMPY[name])
    try:
        import ml_dtypes
    except ImportError:
        raise TypeError(
            f"NumPy has no type {name}: install the package ml_dtypes, or load with framework='pt'"
        ) from None
    return np.dtype(getattr(ml_dtypes, _ML_DTYPES[name]))


def numpy_name(dtype: Any) -> str:
    for name, known in {**_NUMPY, **_ML_DTYPES}.items():
        if dtype.name == known:
            return name
    raise TypeError(f"safetensors has no type for {dtype}")


def torch_dtype(name: str) -> Any:
    import torch

    return getattr(torch, _TORCH[name])


def torch_name(dtype: Any) -> str:
    wanted = str(dtype).removeprefix("torch.")
    for name, known in _TORCH.items():
        if wanted == known:
            return name
    raise TypeError(f"safetensors has no type for {dtype}")
