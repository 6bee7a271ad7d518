"""Tensor types: their names in safetensors, NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Number of elements per byte for packed types, as NumPy and PyTorch store them.
_PACKED = {"F4": 2}
_NUMPY = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "F16": "float16", "I32": "int32",
    "U32": "uint32", "F32": "float32", "F64": "float64", "I64": "int64", "U64": "uint64", "C64": "complex64",
}  # fmt: skip
#: Types that the package ml_dtypes adds to NumPy.
_ML_DTYPES = {
    "BF16": "bfloat16", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_TORCH = {**_NUMPY, **_ML_DTYPES, "F4": "float4_e2m1fn_x2"}


def stored_shape(name: str, shape: list[int]) -> list[int]:
    """Return the shape of a tensor in NumPy and PyTorch: for packed types, the last dimension counts bytes."""
    each = _PACKED.get(name, 1)
    if each == 1:
        return shape
    if not shape or shape[-1] % each:
        raise TypeError(f"the last dimension of a {name} tensor must be a multiple of {each}, got shape {shape}")
    return [*shape[:-1], shape[-1] // each]


def logical_shape(name: str, shape: list[int]) -> list[int]:
    """Return the shape of a tensor in safetensors, which counts the elements of packed types individually."""
    each = _PACKED.get(name, 1)
    if each == 1:
        return shape
    if not shape:
        raise TypeError(f"a {name} tensor needs at least one dimension")
    return [*shape[:-1], shape[-1] * each]


def numpy_dtype(name: str) -> Any:
    if name in _NUMPY:
        return np.dtype(_NUMPY[name])
    if name not in _ML_DTYPES:
        how = "; load with framework='pt'" if name in _TORCH else ""
        raise TypeError(f"NumPy has no type {name}{how}")
    try:
        import ml_dtypes
    except ImportError:
        raise TypeError(
            f"NumPy has no type {name}; install the package ml_dtypes, or load with framework='pt'"
        ) from None
    return np.dtype(getattr(ml_dtypes, _ML_DTYPES[name]))


def numpy_name(dtype: Any) -> str:
    for name, known in {**_NUMPY, **_ML_DTYPES}.items():
        if dtype.name == known:
            return name
    raise TypeError(f"safetensors has no type for {dtype}")


def torch_dtype(name: str) -> Any:
    import torch

    dtype = getattr(torch, _TORCH.get(name, ""), None)
    if dtype is None:
        raise TypeError(f"PyTorch {torch.__version__} has no type {name}")
    return dtype


def torch_name(dtype: Any) -> str:
    wanted = str(dtype).removeprefix("torch.")
    for name, known in _TORCH.items():
        if wanted == known:
            return name
    raise TypeError(f"safetensors has no type for {dtype}")
