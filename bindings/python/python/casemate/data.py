"""Sealed folders as training data, for ``torch.utils.data``, pyarrow and webdataset.

::

    data = casemate.data.SealedData("images.sealed", keys="./trainer.pem", signer="./publisher.pub")
    loader = DataLoader(casemate.data.FileDataset(data, decode), shuffle=True, num_workers=4)            # a sample in each file
    rows = casemate.data.RowDataset(data, {"images": "images-*.npy", "labels": "labels-*.npy"})           # samples are rows of arrays
    table = pyarrow.dataset.dataset("train", filesystem=data.filesystem, format="parquet")                # columns and row groups
    samples = wds.DataPipeline(wds.SimpleShardList(data.names("*.tar")), wds.split_by_worker, data.tar_samples)

What is read is decrypted and checked as it is read, in the worker that reads it. A file that was changed ends the epoch with an error that names it.
"""

from __future__ import annotations

import fnmatch
import io
import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from . import _casemate, _files, _keys
from ._casemate import CasemateError, VerificationError

__all__ = ["FileDataset", "RowDataset", "SealedData"]

#: Files that a process keeps open. Each has a decrypted segment in memory.
_OPEN_FILES_MAX = 64
_BUFFER_BYTES = 1 << 20


class SealedData:
    """A sealed folder that workers open for themselves.

    The arguments are those of :func:`casemate.open_folder`; ``fs`` is a file system of fsspec that has the folder, such as a bucket's. To start workers in
    any way other than fork, give ``keys`` and ``signer`` as paths: keys themselves are not sent to other processes.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        keys: _keys.Keys = None,
        signer: _keys.Signers = None,
        allow_unknown_signer: bool = False,
        min_revision: int = 1,
        policy: _keys.PathLike | None = None,
        fs: Any = None,
    ) -> None:
        # Workers may have another working directory.
        self._root = os.path.abspath(root) if fs is None else os.fspath(root)
        self._terms: dict[str, Any] = {
            "keys": keys,
            "signer": signer,
            "allow_unknown_signer": allow_unknown_signer,
            "min_revision": min_revision,
            "policy": policy,
            "fs": fs,
        }
        self._opened: tuple[int, _files.Folder] | None = None
        self._contents: dict[str, _casemate.Opened] = {}
        self._held: tuple[int, threading.Lock] = (os.getpid(), threading.Lock())
        folder = self.folder
        #: The version that every worker must find.
        self._version = (folder.id, folder.revision, folder.root)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name not in ("_opened", "_contents", "_held")}
        for name in ("keys", "signer"):
            given = self._terms[name]
            for one in given if isinstance(given, (list, tuple)) else [given]:
                if one is not None and not isinstance(one, (str, os.PathLike)):
                    raise TypeError(f"{name}= is not sent to another process; pass paths, or start workers by fork")
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _opened=None, _contents={}, _held=(os.getpid(), threading.Lock()))

    @property
    def _lock(self) -> threading.Lock:
        # A thread of the parent may have held its lock at the time of the fork.
        if self._held[0] != os.getpid():
            self._held = (os.getpid(), threading.Lock())
        return self._held[1]

    @property
    def folder(self) -> _files.Folder:
        """The folder, opened by this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            folder = _files.open_folder(self._root, **self._terms)
            found = (folder.id, folder.revision, folder.root)
            if found != getattr(self, "_version", found):
                raise VerificationError(f"{self._root} was replaced by another version while it was in use; start the epoch again")
            self._opened, self._contents = (os.getpid(), folder), {}
        return self._opened[1]

    def names(self, pattern: str = "*") -> list[str]:
        """The paths of files that match a pattern, in ascending order. A ``*`` stands for any characters, also for ``/``."""
        return sorted(name for name in self.folder.files if fnmatch.fnmatchcase(name, pattern))

    def content(self, name: str) -> _casemate.Opened:
        """Open a file for reads at an offset. It stays open until 64 others were used."""
        with self._lock:
            folder = self.folder
            content = self._contents.pop(name, None)
            if content is None:
                with _naming(name):
                    content = folder.content(name)
            # The least recently used is first.
            self._contents[name] = content
            if len(self._contents) > _OPEN_FILES_MAX:
                del self._contents[next(iter(self._contents))]
            return content

    def read(self, name: str) -> bytes:
        """Return the whole content of a file."""
        with self._lock:
            folder = self.folder
        with _naming(name):
            content = folder.content(name)
            return content.read_at(0, content.size)

    def open(self, name: str) -> _files.SealedFile:
        """Open a file as a binary file."""
        return _NamedFile(self.content(name), name)

    @property
    def filesystem(self) -> Any:
        """A read-only file system of fsspec with the folder's plaintext, for pyarrow, pandas, and other libraries."""
        from .fsspec import FolderFileSystem

        return FolderFileSystem(self)

    def tar_samples(self, shards: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """A stage of a webdataset pipeline, in place of ``tarfile_to_samples()``: reads the samples of tar files that a shard list names."""
        from webdataset import tariterators  # type: ignore[import-untyped]

        # tarfile reads in small pieces.
        opened = ({**shard, "stream": io.BufferedReader(self.open(shard["url"]), _BUFFER_BYTES)} for shard in shards)
        samples: Iterator[dict[str, Any]] = tariterators.group_by_keys(tariterators.tar_file_expander(opened))
        return samples

    def __repr__(self) -> str:
        return f"<casemate.data.SealedData {self._root}>"


class _NamedFile(_files.SealedFile):
    """A file whose errors name it."""

    def __init__(self, opened: _casemate.Opened, name: str) -> None:
        super().__init__(opened)
        self._name = name

    def read(self, size: int | None = -1, /) -> bytes:
        with _naming(self._name):
            return super().read(size)

    def readinto(self, buffer: Any, /) -> int:
        with _naming(self._name):
            return super().readinto(buffer)


class _naming:  # noqa: N801 - used as a statement
    """Adds the file's name to an error about its content."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, CasemateError) and not str(error).startswith(f"{self._name}: "):
            raise type(error)(f"{self._name}: {error}") from error


class FileDataset(Dataset[Any]):
    """A sample in each file. ``decode`` takes a file's path and content, and returns the sample; without it, the sample is the content.

    To open a file takes a fraction of a millisecond: put samples of less than a megabyte into shards.
    """

    def __init__(self, data: SealedData, decode: Callable[[str, bytes], Any] | None = None, *, pattern: str = "*") -> None:
        self._data = data
        self._decode = decode
        self._names = data.names(pattern)
        if not self._names:
            raise FileNotFoundError(f"no file of the folder matches {pattern!r}")

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Any:
        name = self._names[index]
        content = self._data.read(name)
        return content if self._decode is None else self._decode(name, content)


class _Rows(NamedTuple):
    """The rows of one NumPy file."""

    name: str
    offset: int
    rows: int


class _Column:
    """One array in several NumPy files, read by rows."""

    def __init__(self, data: SealedData, pattern: str) -> None:
        self._data = data
        self._files: list[_Rows] = []
        kinds = set()
        for name in data.names(pattern):
            shape, dtype, offset = _npy_header(data, name)
            kinds.add((shape[1:], dtype))
            self._files.append(_Rows(name, offset, shape[0]))
        if not self._files:
            raise FileNotFoundError(f"no file of the folder matches {pattern!r}")
        if len(kinds) > 1:
            raise CasemateError(f"files that match {pattern!r} have rows of different shapes or types")
        self.shape, self.dtype = kinds.pop()
        self._row_bytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        self._ends = np.cumsum([part.rows for part in self._files]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, first: int, count: int) -> npt.NDArray[Any]:
        """Return rows that follow each other in one file."""
        at = bisect_right(self._ends, first)
        part = self._files[at]
        place = first - (self._ends[at] - part.rows)
        out = np.empty(count * self._row_bytes, np.uint8)
        content = self._data.content(part.name)
        with _naming(part.name):
            if out.size:
                content.readinto(part.offset + place * self._row_bytes, out)
        return out.view(self.dtype).reshape(count, *self.shape)

    def runs(self, indices: list[int]) -> Iterator[tuple[int, int]]:
        """Yield what can be read at once: runs of ascending indices, none of which crosses the end of a file."""
        first = before = indices[0]
        for index in indices[1:]:
            if index != before + 1 or before + 1 in self._ends:
                yield first, before - first + 1
                first = index
            before = index
        yield first, before - first + 1


class RowDataset(Dataset[Any]):
    """A sample in each row of NumPy files (``.npy``). ``columns`` gives patterns of files by names; all columns have as many rows.

    A sample is a dict of arrays. Rows are read at random: seal the folder with ``segment_size=65536``, so that less is decrypted for a row.
    """

    def __init__(self, data: SealedData, columns: Mapping[str, str]) -> None:
        if not isinstance(columns, Mapping):
            raise TypeError('columns must give a pattern of files for each name, as in {"image": "images-*.npy"}')
        if not columns:
            raise ValueError("no columns were given")
        self._columns = {name: _Column(data, pattern) for name, pattern in columns.items()}
        lengths = {name: len(column) for name, column in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise CasemateError(f"the columns have different numbers of rows: {lengths}")
        self._length = next(iter(lengths.values()))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, npt.NDArray[Any]]:
        (sample,) = self.__getitems__([index])
        return sample

    def __getitems__(self, indices: list[int]) -> list[dict[str, npt.NDArray[Any]]]:
        """Read a batch: rows that follow each other are read at once."""
        for index in indices:
            if not -self._length <= index < self._length:
                raise IndexError(f"there is no row {index} among {self._length}")
        places = [index % self._length for index in indices]
        ordered = sorted(set(places))
        samples: dict[int, dict[str, npt.NDArray[Any]]] = {place: {} for place in ordered}
        for name, column in self._columns.items():
            for first, count in column.runs(ordered):
                for at, row in enumerate(column.read(first, count)):
                    samples[first + at][name] = row
        return [dict(samples[place]) for place in places]


def _npy_header(data: SealedData, name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return the shape and type of a NumPy file, and where its elements begin."""
    file = io.BufferedReader(data.open(name), 1 << 12)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(file)
    except ValueError as error:
        raise CasemateError(f"{name} is not a NumPy file: {error}") from None
    if is_fortran or dtype.hasobject or not shape:
        raise CasemateError(f"{name} has no rows of numbers; save an array in C order with one dimension or more")
    offset, size = file.tell(), data.content(name).size
    if offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize != size:
        raise CasemateError(f"{name} is not as long as its header says")
    return shape, dtype, offset
