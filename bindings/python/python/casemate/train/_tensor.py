"""Views of tensors as bytes, without a copy."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

#: Bytes of the associated data of a tensor besides its name, type and shape.
_LABEL = b"casemate/v1/tensor\0"


class View(NamedTuple):
    """The elements of a tensor as bytes, and what the other end must take them for."""

    content: npt.NDArray[np.uint8]
    dtype: str
    shape: tuple[int, ...]

    def associated(self, name: str) -> bytes:
        """Return the associated data: ``spec/training.md``, section 3.5."""
        if "\0" in name:
            raise ValueError("the name of a tensor must not contain the character NUL")
        shape = "x".join(map(str, self.shape))
        return _LABEL + f"{name}\0{self.dtype}\0{shape}".encode()


def readable(tensor: Any) -> View:
    """Return a view of a NumPy array, a torch, JAX or TensorFlow tensor, or anything with the buffer protocol or DLPack."""
    return _view(tensor, may_copy=True)


def _view(tensor: Any, *, may_copy: bool) -> View:
    if sys.byteorder != "little":
        raise NotImplementedError("tensors are sent in little-endian order, which this machine does not have")
    if _is_torch(tensor):
        return _torch_view(tensor)
    return _numpy_view(_array(tensor, may_copy=may_copy))


def writable(tensor: Any) -> View:
    """Like :func:`readable`, for a tensor that can be written to."""
    # What is written to a copy never reaches the tensor.
    view = _view(tensor, may_copy=False)
    if not view.content.flags.writeable:
        raise TypeError(f"{type(tensor).__name__} cannot be written; receive into a NumPy array, and convert it")
    return view


def _is_torch(tensor: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(tensor, torch.Tensor)


def _torch_view(tensor: Any) -> View:
    import torch

    if tensor.device.type != "cpu":
        raise TypeError(f"the tensor is on {tensor.device}; copy it to the CPU first")
    if tensor.layout is not torch.strided or not tensor.is_contiguous():
        raise TypeError("the tensor is not contiguous; call .contiguous() first")
    dtype = str(tensor.dtype).removeprefix("torch.")
    content = tensor.detach().reshape(-1).view(torch.uint8).numpy()
    return View(content, dtype, tuple(tensor.shape))


def _array(tensor: Any, *, may_copy: bool) -> npt.NDArray[Any]:
    if isinstance(tensor, np.ndarray):
        return tensor
    try:
        return np.asarray(memoryview(tensor))
    except (TypeError, ValueError, BufferError):
        pass  # No buffer protocol, or a type that it has no letter for.
    if hasattr(tensor, "__dlpack__"):
        try:
            return np.from_dlpack(tensor)
        except (BufferError, RuntimeError, TypeError):
            pass  # A type that NumPy's DLPack does not have, such as bfloat16.
    if may_copy and hasattr(tensor, "__array__"):
        return np.asarray(tensor)
    if may_copy:
        raise TypeError(f"{type(tensor).__name__} has neither the buffer protocol nor DLPack nor __array__")
    raise TypeError(f"{type(tensor).__name__} cannot be written; receive into a NumPy array, and convert it")


def _numpy_view(array: npt.NDArray[Any]) -> View:
    if array.dtype.hasobject or array.dtype.names or array.dtype.kind in "SUMm":
        raise TypeError(f"elements of type {array.dtype} cannot be sent; convert them to numbers")
    if array.dtype.byteorder == ">":
        raise TypeError("the array is big-endian; convert it with .astype(array.dtype.newbyteorder('<'))")
    if not array.flags.c_contiguous:
        raise TypeError("the array is not contiguous; call numpy.ascontiguousarray first")
    return View(array.reshape(-1).view(np.uint8), array.dtype.name, array.shape)
