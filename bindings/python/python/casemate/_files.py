"""Opening."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from typing import Any, Union

import numpy as np

from . import _casemate, _keys

Source = Union[str, "os.PathLike[str]", Any]
#: Bytes that are read at once where lines are wanted.
LINE_BLOCK_BYTES = 256 << 10
#: What is checked as it is read, at any offset.
Content = Union[_casemate.Opened, _casemate.SignedContent]


def _read(source: Source) -> _casemate.Artifact:
    if isinstance(source, _casemate.Artifact):
        return source
    if isinstance(source, (str, os.PathLike)) and os.path.isdir(source):
        raise IsADirectoryError(f"{os.fspath(source)} is a folder: use casemate.open_directory")
    return _casemate.Artifact.read(os.fspath(source) if isinstance(source, (str, os.PathLike)) else source)


def inspect(source: Source) -> _casemate.Artifact:
    """What anyone can see of an artifact, without a key: id, size, content type, recipients and signer, none of it verified."""
    return _read(source)


def open_artifact(
    source: Source,
    *,
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    min_revision: int | None = None,
    policy: str | None = None,
) -> _casemate.Opened:
    """Open an artifact for reads at any offset: ``read_at(offset, length)`` and ``readinto(offset, uint8_array)``, from any number of threads.

    ``source`` is a path, an object with ``size`` and ``read_at(offset, length) -> bytes``, or what :func:`inspect` gave, so that what was looked at is
    what is opened. The publisher's signature is verified first; each read decrypts and checks the segments that it needs. ``min_revision`` refuses an
    older version, and one that was sealed without a revision.

    Raises :class:`VerificationError`, :class:`NotARecipientError`, :class:`CasemateError` or :class:`OSError`.
    """
    artifact = _read(source)
    trusted = _keys.trusted_signer(signer, keys, artifact.signer, allow_unknown_signer)
    private = _keys.opening_keys(keys, artifact.recipients)
    return artifact.open(private, trusted, _keys.policy_name(policy), min_revision)


def open(  # noqa: A001 - the name that people expect, as in gzip.open
    source: Source,
    *,
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    min_revision: int | None = None,
    policy: str | None = None,
) -> SealedFile:
    """Open an artifact as a read-only binary file. Arguments and errors are those of :func:`open_artifact`."""
    opened = open_artifact(
        source,
        keys=keys,
        signer=signer,
        allow_unknown_signer=allow_unknown_signer,
        min_revision=min_revision,
        policy=policy,
    )
    return SealedFile(opened)


def content_of(source: Any, keys: Any, signer: Any, unknown: bool, policy: str | None) -> Content:
    """The content of what is open already, or of an artifact that is opened now."""
    if isinstance(source, (_casemate.Opened, _casemate.SignedContent)):
        refuse_terms(keys=keys, signer=signer, allow_unknown_signer=unknown, policy=policy)
        return source
    if isinstance(source, CheckedFile):
        refuse_terms(keys=keys, signer=signer, allow_unknown_signer=unknown, policy=policy)
        return source._opened
    return open_artifact(source, keys=keys, signer=signer, allow_unknown_signer=unknown, policy=policy)


def refuse_terms(**terms: Any) -> None:
    """Refuse to be told how to open what is open already: it would look checked and was not."""
    given = [f"{name}=" for name, value in terms.items() if value not in (None, False)]
    if given:
        raise TypeError(f"it is open already, so {', '.join(given)} would have no effect: give it where it is opened")


def still_open(what: Any) -> Any:
    """What was opened, unless it was closed."""
    if what is None:
        raise ValueError("I/O operation on closed file")
    return what


class CheckedFile(io.RawIOBase):
    """Content that is checked as it is read, as a seekable, read-only binary file. Threads share its position; :meth:`read_at` needs none."""

    def __init__(self, opened: Content) -> None:
        super().__init__()
        self._content: Content | None = opened
        self._position = 0
        self._block = (0, b"")
        self._lock = threading.Lock()
        #: The last error of a read, for callers behind libraries that replace it by one of their own.
        self.failure: Exception | None = None

    @property
    def _opened(self) -> Any:
        return still_open(self._content)

    def close(self) -> None:
        """Give up the file, and with a sealed one its keys and its lock."""
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
                raise OSError(22, "a position before the start")
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
        """Read up to the end of a line; lines are cut from blocks, so reading a file line by line costs no more than reading it."""
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
        """A block of the content, and where in it a position is."""
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
        raise io.UnsupportedOperation("the file is read-only; casemate.seal() writes sealed ones")

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
        """Name of the file that was sealed; never use it as a path."""
        return self._opened.name

    @property
    def metadata(self) -> dict[str, str]:
        """What the sealer wrote beside the content."""
        return self._opened.metadata

    @property
    def artifact_id(self) -> str:
        """The artifact's id: 32 hex digits."""
        return self._opened.id


class SignedFile(CheckedFile):
    """A file of a signed model as a seekable, read-only binary file."""


def open_directory(
    root: str | os.PathLike[str],
    *,
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    min_revision: int = 1,
    policy: str | None = None,
) -> Directory:
    """Open a sealed folder: its manifest is verified, and the folder must hold exactly what it says.

    A revision below ``min_revision`` is refused. A version that has expired is one with a warning, or an error if the policy says so. Raises as
    :func:`open_artifact`.
    """
    root = os.fspath(root)
    recipients, found = _casemate.Directory.recipients(root)
    trusted = _keys.trusted_signer(signer, keys, found, allow_unknown_signer)
    private = _keys.opening_keys(keys, recipients, all_of_store=True)
    return Directory(_casemate.Directory.open(root, private, trusted, _keys.policy_name(policy), min_revision))


class Directory:
    """A sealed folder, opened. While it is, and while files of it are, nobody can change its recipients; :meth:`close` or ``with`` gives it up."""

    def __init__(self, directory: _casemate.Directory) -> None:
        self._sealed: _casemate.Directory | None = directory
        self._sizes = dict(directory.files)

    @property
    def _directory(self) -> _casemate.Directory:
        return still_open(self._sealed)

    def close(self) -> None:
        """Give up the folder, its keys and its lock. Files of it that are open stay so."""
        self._sealed = None

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def files(self) -> list[str]:
        """Paths of the files, with ``/`` between components."""
        return list(self._sizes)

    @property
    def revision(self) -> int:
        """The version's number."""
        return self._directory.revision

    @property
    def expires(self) -> int | None:
        """When this version expires, in seconds since 1970 UTC; ``None`` if it does not."""
        return self._directory.expires

    @property
    def id(self) -> str:
        """The directory's id, the same in every version."""
        return self._directory.id

    def size(self, path: str) -> int:
        """Length of one file's content, in bytes."""
        return self._sizes[path]

    def open(self, path: str) -> SealedFile:
        """Open one file; :class:`KeyError` if there is none of this path."""
        return SealedFile(self._directory.open_file(path))

    def open_artifact(self, path: str) -> _casemate.Opened:
        """Open one file for reads at an offset."""
        return self._directory.open_file(path)

    content = open_artifact

    def extract(self, destination: str | os.PathLike[str]) -> None:
        """Write every file in the clear below ``destination``, a new folder for the owner only."""
        self._directory.extract(os.fspath(destination))

    def __contains__(self, path: object) -> bool:
        return path in self._sizes

    def __repr__(self) -> str:
        return f"<casemate.Directory {len(self._sizes)} files>"
