"""Sealed safetensors, with the interface of the package ``safetensors``.

``framework`` is ``"np"`` or ``"pt"``. Only the needed segments are read and decrypted: to get one tensor of a 100 GB file with :func:`safe_open`,
only that tensor is decrypted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from . import _casemate, _files, _keys, _seal
from ._dtypes import logical_shape, numpy_dtype, numpy_name, stored_shape, torch_dtype, torch_name

#: Maximum length of a header, in bytes, as in the safetensors library.
HEADER_BYTES_MAX = 100_000_000
CONTENT_TYPE = "application/vnd.safetensors"


class FormatError(ValueError):
    """The content is not safetensors."""


class _Entry(NamedTuple):
    dtype: str
    shape: list[int]
    begin: int
    end: int

    @property
    def stored(self) -> list[int]:
        """Shape of the resulting array or tensor."""
        return stored_shape(self.dtype, self.shape)


def _header(opened: _files.Content) -> tuple[dict[str, _Entry], dict[str, str], int]:
    """Return the tensors in the order of their data, the metadata, and the start of the data. Checks every rule of the format."""
    size = opened.size
    length = int.from_bytes(opened.read_at(0, 8), "little")
    if size < 8 or length > HEADER_BYTES_MAX or 8 + length > size:
        raise FormatError(f"not safetensors: a header length of {length} bytes is impossible")
    start = 8 + length
    try:
        rows, metadata = _casemate.safetensors_header(opened.read_at(8, length), size - start)
    except ValueError as error:
        raise FormatError(str(error)) from None
    entries = {name: _Entry(dtype, shape, begin, end) for name, dtype, shape, begin, end in rows}
    return entries, metadata, start


def _checked_type(name: str, dtype: str, framework: str) -> None:
    """Refuse a tensor whose type the framework does not support, before reading it."""
    try:
        (numpy_dtype if framework == "np" else torch_dtype)(dtype)
    except TypeError as error:
        raise TypeError(f"tensor {name!r}: {error}") from None


def _convert(raw: np.ndarray, dtype: str, shape: list[int], framework: str, device: str = "cpu") -> Any:
    if framework == "np":
        return raw.view(numpy_dtype(dtype)).reshape(shape)
    import torch

    if raw.size == 0:
        return torch.empty(shape, dtype=torch_dtype(dtype), device=device)
    tensor = torch.from_numpy(raw).view(torch_dtype(dtype)).reshape(shape)
    return tensor if device == "cpu" else tensor.to(device)


def _framework(framework: str) -> str:
    names = {"np": "np", "numpy": "np", "pt": "pt", "torch": "pt", "pytorch": "pt"}
    if framework not in names:
        raise ValueError(f"framework {framework!r} is not 'np' or 'pt'")
    return names[framework]


def load_file(
    filename: Any,
    device: str = "cpu",
    *,
    framework: str = "np",
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    policy: _keys.PathLike | None = None,
) -> dict[str, Any]:
    """Load every tensor of a sealed safetensors file. It is decrypted on all cores into one block of memory that the tensors share.

    ``filename`` is a path, or an open file of a sealed folder or a signed model (:func:`casemate.open_signed`).
    Raises the errors of :func:`casemate.open_artifact`, and :class:`FormatError`.
    """
    opened = _files.content_of(filename, keys, signer, allow_unknown_signer, policy)
    return load(opened, device, framework=framework)


def load(opened: _files.Content, device: str = "cpu", *, framework: str = "np") -> dict[str, Any]:
    """Like :func:`load_file`, for content that is already open."""
    framework = _framework(framework)
    entries, _, start = _header(opened)
    for name, entry in entries.items():
        _checked_type(name, entry.dtype, framework)
    data = opened.read_array(start, opened.size - start)
    return {
        name: _convert(data[entry.begin : entry.end], entry.dtype, entry.stored, framework, device)
        for name, entry in entries.items()
    }


def save_file(
    tensors: Mapping[str, Any],
    filename: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    *,
    to: _keys.Recipients = None,
    sign: _keys.Signing = None,
    policy: _keys.PathLike | None = None,
    force: bool = False,
) -> str:
    """Seal NumPy or PyTorch tensors as safetensors, without writing plaintext. Returns the artifact's id.

    ``metadata`` is stored in the safetensors header, which is encrypted like the tensors.
    """
    return _seal.seal(
        serialize(tensors, metadata),
        filename,
        to=to,
        sign=sign,
        name=os.path.basename(os.fspath(filename)).removesuffix(".sealed"),
        content_type=CONTENT_TYPE,
        policy=policy,
        force=force,
    )


def serialize(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> list[np.ndarray]:
    """Return the parts of a safetensors file: the header and the tensors, without a copy if they are contiguous."""
    described = []
    for name, tensor in tensors.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(f"{name!r} is not a valid name for a tensor")
        described.append((name, *_raw(tensor)))
    # Large types first, as in the safetensors library, so that every tensor is aligned.
    described.sort(key=lambda row: (-row[1], row[0]))
    header: dict[str, Any] = {}
    if metadata:
        header["__metadata__"] = {str(key): str(value) for key, value in metadata.items()}
    at = 0
    for name, _, dtype, shape, raw in described:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + raw.size]}
        at += raw.size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_BYTES_MAX:
        raise ValueError("the header is longer than safetensors allows")
    prefix = np.frombuffer(len(text).to_bytes(8, "little") + text, dtype=np.uint8)
    return [prefix, *(raw for *_, raw in described)]


def _raw(tensor: Any) -> tuple[int, str, list[int], np.ndarray]:
    """Return the size of an element, the type, the shape and the memory."""
    if isinstance(tensor, np.ndarray) or np.isscalar(tensor):
        array = np.asarray(tensor)
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        flat = np.ascontiguousarray(array).reshape(-1)
        return array.dtype.itemsize, numpy_name(array.dtype), list(array.shape), flat.view(np.uint8)
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{type(tensor).__name__} is not a tensor")
    if tensor.layout != torch.strided:
        raise ValueError("sparse tensors cannot be stored as safetensors")
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    raw = flat.view(torch.uint8).numpy() if flat.numel() else np.empty(0, np.uint8)
    dtype = torch_name(tensor.dtype)
    return tensor.element_size(), dtype, logical_shape(dtype, list(tensor.shape)), raw


class safe_open:  # noqa: N801 - the name in safetensors
    """Lazy access, like ``safetensors.safe_open``: ``keys()``, ``metadata()``, ``get_tensor(name)``, ``get_slice(name)[...]``."""

    def __init__(
        self,
        filename: Any,
        framework: str = "np",
        device: str = "cpu",
        *,
        keys: _keys.Keys = None,
        signer: _keys.Signers = None,
        allow_unknown_signer: bool = False,
        policy: _keys.PathLike | None = None,
    ) -> None:
        self._framework = _framework(framework)
        self._device = device
        self._content: _files.Content | None = _files.content_of(
            filename, keys, signer, allow_unknown_signer, policy
        )
        self._entries, self._metadata, self._start = _header(self._opened)

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *_: object) -> None:
        self._content = None

    @property
    def _opened(self) -> _files.Content:
        return _files.still_open(self._content)

    def keys(self) -> list[str]:
        """Names of the tensors, in the order of their data."""
        return list(self._entries)

    offset_keys = keys

    def metadata(self) -> dict[str, str]:
        """The metadata in the header."""
        return dict(self._metadata)

    def _find(self, name: str) -> _Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise KeyError(f"there is no tensor {name!r}") from None

    def get_tensor(self, name: str) -> Any:
        """Read one tensor."""
        entry = self._find(name)
        _checked_type(name, entry.dtype, self._framework)
        return self._read(entry.dtype, entry.stored, entry.begin, entry.end)

    def get_slice(self, name: str) -> SafeSlice:
        """Return a view of a tensor whose parts are read when indexed."""
        entry = self._find(name)
        _checked_type(name, entry.dtype, self._framework)
        return SafeSlice(self, entry)

    def _read(self, dtype: str, shape: list[int], begin: int, end: int) -> Any:
        raw = self._opened.read_array(self._start + begin, end - begin)
        return _convert(raw, dtype, shape, self._framework, self._device)


class SafeSlice:
    """A tensor that can be read in parts. Only the selected rows of the first dimension are decrypted."""

    def __init__(self, file: safe_open, entry: _Entry) -> None:
        self._file, self._entry, self._shape = file, entry, entry.stored

    def get_shape(self) -> list[int]:
        """Shape of the whole tensor."""
        return list(self._entry.shape)

    def get_dtype(self) -> str:
        """Type of its elements, as named in safetensors."""
        return self._entry.dtype

    def __getitem__(self, index: Any) -> Any:
        entry, shape = self._entry, self._shape
        index = index if isinstance(index, tuple) else (index,)
        first = index[0] if index else slice(None)
        if not shape or first is Ellipsis or first is None or not isinstance(first, (int, slice, np.integer)):
            whole = self._file._read(entry.dtype, shape, entry.begin, entry.end)
            return whole[index]
        rows = shape[0]
        if isinstance(first, slice):
            chosen = range(*first.indices(rows))
        else:
            at = int(first) + (rows if first < 0 else 0)
            if not 0 <= at < rows:
                raise IndexError(f"index {int(first)} is out of range for {rows} rows")
            chosen = range(at, at + 1)
        if not chosen:
            part = self._file._read(entry.dtype, [0, *shape[1:]], entry.begin, entry.begin)
            return part[(slice(None), *index[1:])]
        low, high = min(chosen), max(chosen) + 1
        row_bytes = (entry.end - entry.begin) // rows
        begin, end = entry.begin + low * row_bytes, entry.begin + high * row_bytes
        part = self._file._read(entry.dtype, [high - low, *shape[1:]], begin, end)
        if not isinstance(first, slice):
            return part[(0, *index[1:])]
        if chosen.step < 0 and self._file._framework == "pt":
            raise ValueError("PyTorch does not support slices with a negative step")
        stop = None if chosen.step < 0 else high - low
        return part[(slice(chosen.start - low, stop, chosen.step), *index[1:])]
