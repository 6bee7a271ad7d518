"""Opens artifacts and sealed folders."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from typing import Any, Protocol, Union

import numpy as np

from . import _casemate, _keys


class ReadAt(Protocol):
    """Anything that reads at an offset, such as an object in a bucket."""

    @property
    def size(self) -> int:
        """The length in bytes."""

    def read_at(self, offset: int, length: int, /) -> bytes:
        """Return exactly ``length`` bytes."""


#: A path, anything that reads at an offset, or the result of :func:`inspect`.
Source = Union[str, "os.PathLike[str]", ReadAt, _casemate.Artifact]
#: Bytes to read at a time for lines.
LINE_BLOCK_BYTES = 256 << 10
#: Content that is checked as it is read, at any offset.
Content = Union[_casemate.Opened, _casemate.SignedContent]


def _read(source: Source) -> _casemate.Artifact:
    if isinstance(source, _casemate.Artifact):
        return source
    if isinstance(source, (str, os.PathLike)) and os.path.isdir(source):
        raise IsADirectoryError(f"{os.fspath(source)} is a folder; open it with casemate.open_folder")
    return _casemate.Artifact.read(os.fspath(source) if isinstance(source, (str, os.PathLike)) else source)


def inspect(source: Source) -> _casemate.Artifact:
    """Read the public part of an artifact, without a key: id, size, content type, recipients and signer. None of it is verified."""
    return _read(source)


def open_artifact(
    source: Source,
    *,
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    min_revision: int | None = None,
    policy: _keys.PathLike | None = None,
) -> _casemate.Opened:
    """Open an artifact for reads at any offset, from any number of threads: ``read_at(offset, length)`` and ``readinto(offset, uint8_array)``.

    ``source`` is a path, an object with ``size`` and ``read_at(offset, length) -> bytes``, or the result of :func:`inspect`, to open exactly the
    artifact that was inspected. The publisher's signature is verified first. Each read decrypts and checks the segments it needs. ``min_revision``
    refuses an older version, and one without a revision.

    Raises :class:`VerificationError`, :class:`NotARecipientError`, :class:`CasemateError` or :class:`OSError`.
    """
    artifact = _read(source)
    trusted = _keys.trusted_signer(signer, keys, artifact.signer, allow_unknown_signer)
    private = _keys.opening_keys(keys, artifact.recipients)
    return artifact.open(private, trusted, _keys.policy_name(policy), min_revision)


def open(  # noqa: A001 - the expected name, as in gzip.open
    source: Source,
    *,
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    min_revision: int | None = None,
    policy: _keys.PathLike | None = None,
) -> SealedFile:
    """Open an artifact as a read-only binary file. Takes the arguments and raises the errors of :func:`open_artifact`."""
    opened = open_artifact(
        source,
        keys=keys,
        signer=signer,
        allow_unknown_signer=allow_unknown_signer,
        min_revision=min_revision,
        policy=policy,
    )
    return SealedFile(opened)


def content_of(source: Any, keys: _keys.Keys, signer: _keys.Signers, unknown: bool, policy: _keys.PathLike | None) -> Content:
    """Return the content of a file that is already open, or open an artifact."""
    if isinstance(source, (_casemate.Opened, _casemate.SignedContent)):
        refuse_terms(keys=keys, signer=signer, allow_unknown_signer=unknown, policy=policy)
        return source
    if isinstance(source, CheckedFile):
        refuse_terms(keys=keys, signer=signer, allow_unknown_signer=unknown, policy=policy)
        return source._opened
    return open_artifact(source, keys=keys, signer=signer, allow_unknown_signer=unknown, policy=policy)


def refuse_terms(**terms: Any) -> None:
    """Refuse options that would have no effect on an open file; they would appear to be checked."""
    given = [f"{name}=" for name, value in terms.items() if value not in (None, False)]
    if given:
        raise TypeError(f"the file is already open, so {', '.join(given)} would have no effect; pass it when opening the file")


def still_open(what: Any) -> Any:
    """Return the opened object unless it was closed."""
    if what is None:
        raise ValueError("I/O operation on closed file")
    return what


class CheckedFile(io.RawIOBase):
    """Content that is checked as it is read, as a seekable, read-only binary file. Threads share its position; :meth:`read_at` does not use it."""

    def __init__(self, opened: Content) -> None:
        super().__init__()
        self._content: Content | None = opened
        self._position = 0
        self._block = (0, b"")
        self._lock = threading.Lock()
        #: The last error of a read, for callers of libraries that replace it with their own error.
        self.failure: Exception | None = None

    @property
    def _opened(self) -> Any:
        return still_open(self._content)

    def close(self) -> None:
        """Close the file. A sealed file also releases its keys and its lock."""
        super().close()
        self._content = None
        self._block = (0, b"")

    @property
    def size(self) -> int:
        """Length of the content, in bytes."""
        return self._opened.size

    @property
    def origin_checked(self) -> bool:
        """Whether the publisher's signature was verified."""
        return self._opened.origin_checked

    def read_at(self, offset: int, length: int) -> bytes:
        """Read up to ``length`` bytes from ``offset`` without moving the position."""
        self._check()
        return self._opened.read_at(offset, length)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check()
        with self._lock:
            base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}
            if whence not in base:
                raise ValueError(f"whence {whence} is not 0, 1 or 2")
            position = base[whence] + offset
            if position < 0:
                raise OSError(22, f"position {position} is before the start")
            self._position = position
            return position

    def read(self, size: int | None = -1, /) -> bytes:
        self._check()
        with self._lock:
            rest = max(self.size - self._position, 0)
            length = rest if size is None or size < 0 else min(size, rest)
            with self._noting_failure():
                data = self._opened.read_at(self._position, length)
            self._position += len(data)
            return data

    def readall(self) -> bytes:
        return self.read(-1)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read up to the end of a line. Lines are cut from blocks, so reading line by line is as fast as reading the whole file."""
        self._check()
        with self._lock:
            limit = self.size - self._position if size is None or size < 0 else size
            found: list[bytes] = []
            while limit > 0:
                block, start = self._block_at(self._position)
                end = block.find(b"\n", start, start + limit) + 1
                part = block[start : end or start + limit]
                if not part:
                    break
                found.append(part)
                self._position += len(part)
                limit -= len(part)
                if end:
                    break
            return b"".join(found)

    def _block_at(self, position: int) -> tuple[bytes, int]:
        """Return a block of the content, and the index of ``position`` in it."""
        offset, block = self._block
        if not offset <= position < offset + len(block):
            with self._noting_failure():
                block = self._opened.read_at(position, LINE_BLOCK_BYTES)
            offset = position
            self._block = (offset, block)
        return block, position - offset

    def readinto(self, buffer: Any, /) -> int:
        self._check()
        out = np.frombuffer(buffer, dtype=np.uint8)
        with self._lock:
            length = min(len(out), max(self.size - self._position, 0))
            if length:
                with self._noting_failure():
                    self._opened.readinto(self._position, out[:length])
            self._position += length
            return length

    @contextlib.contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except (_casemate.CasemateError, OSError) as error:
            self.failure = error
            raise

    def write(self, _data: Any, /) -> int:
        raise io.UnsupportedOperation("the file is read-only; to write a sealed file, call casemate.seal()")

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<casemate.{name} closed>" if self.closed else f"<casemate.{name} {self.size} bytes>"


class SealedFile(CheckedFile):
    """The content of an artifact as a seekable, read-only binary file."""

    @property
    def sealed_name(self) -> str:
        """Name of the original file; never use it as a path."""
        return self._opened.name

    @property
    def metadata(self) -> dict[str, str]:
        """The publisher's metadata for the content."""
        return self._opened.metadata

    @property
    def artifact_id(self) -> str:
        """The artifact's id: 32 hex digits."""
        return self._opened.id


class SignedFile(CheckedFile):
    """A file of a signed model as a seekable, read-only binary file."""


def open_folder(
    root: str | os.PathLike[str],
    *,
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    min_revision: int = 1,
    policy: _keys.PathLike | None = None,
    fs: Any = None,
) -> Folder:
    """Open a sealed folder. Verifies its manifest, and that the folder contains exactly the files in it. ``fs`` is a file system of fsspec that has the
    folder, such as a bucket's.

    A revision below ``min_revision`` is refused. An expired version causes a warning, or an error if the policy requires it. Raises the errors of
    :func:`open_artifact`.
    """
    place: Any = os.fspath(root)
    if fs is not None:
        from .fsspec import FolderPlace

        place = FolderPlace(fs, place)
    recipients, found = _casemate.Folder.recipients(place)
    trusted = _keys.trusted_signer(signer, keys, found, allow_unknown_signer)
    private = _keys.opening_keys(keys, recipients, all_of_store=True)
    return Folder(_casemate.Folder.open(place, private, trusted, _keys.policy_name(policy), min_revision))


class Folder:
    """An open sealed folder. Its recipients cannot be changed while it or one of its files is open; :meth:`close` or ``with`` closes it."""

    def __init__(self, folder: _casemate.Folder) -> None:
        self._sealed: _casemate.Folder | None = folder
        self._sizes = dict(folder.files)

    @property
    def _folder(self) -> _casemate.Folder:
        return still_open(self._sealed)

    def close(self) -> None:
        """Close the folder and release its keys and its lock. Its open files stay open."""
        self._sealed = None

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def files(self) -> list[str]:
        """Paths of the files, with ``/`` between components."""
        return list(self._sizes)

    @property
    def revision(self) -> int:
        """The revision number."""
        return self._folder.revision

    @property
    def expires(self) -> int | None:
        """When this version expires, in seconds since 1970 UTC; ``None`` if it does not."""
        return self._folder.expires

    @property
    def id(self) -> str:
        """The folder's id, which is the same in every version."""
        return self._folder.id

    @property
    def root(self) -> str:
        """Root of the manifest's artifact in hexadecimal, which identifies this version (:mod:`casemate.lineage`)."""
        return self._folder.root

    def size(self, path: str) -> int:
        """Length of one file's content, in bytes."""
        return self._sizes[path]

    def open(self, path: str) -> SealedFile:
        """Open one file. Raises :class:`KeyError` if there is no file with this path."""
        return SealedFile(self._folder.open_file(path))

    def open_artifact(self, path: str) -> _casemate.Opened:
        """Open one file for reads at an offset."""
        return self._folder.open_file(path)

    content = open_artifact

    def extract(self, destination: str | os.PathLike[str]) -> None:
        """Write every file as plaintext below ``destination``, a new folder that only its owner can read."""
        self._folder.extract(os.fspath(destination))

    def __contains__(self, path: object) -> bool:
        return path in self._sizes

    def __repr__(self) -> str:
        return f"<casemate.Folder {len(self._sizes)} files>"
