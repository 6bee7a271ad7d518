"""Sealing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Union

import numpy as np

from . import _casemate, _keys
from ._files import Directory

SEGMENT_BYTES = 1 << 20
Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, np.ndarray, Iterable[object]]


class SealedFolder(NamedTuple):
    """What was sealed: the folder's id, its revision, how many files it has, and how many of them were taken over from the version before."""

    id: str
    revision: int
    files: int
    unchanged: int


def seal(
    source: Source,
    destination: str | os.PathLike[str],
    *,
    to: object = None,
    sign: object = None,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
    content_type: str = "application/octet-stream",
    revision: int | None = None,
    segment_size: int = SEGMENT_BYTES,
    policy: str | None = None,
    force: bool = False,
) -> str:
    """Encrypt ``source`` to the recipients ``to``, sign it with ``sign``, and return the artifact's id (32 hex digits).

    ``source`` is a path, or content in memory: bytes, an array, or a list of these that are joined. ``destination`` appears whole or not at all and is
    replaced only with ``force``. ``name`` and ``metadata`` can be read by recipients only. ``revision``, from 1, is
    the number by which readers refuse older versions. ``segment_size`` is a power of two from 65,536 to 16,777,216.

    Raises :class:`CasemateError`, :class:`OSError`, and :class:`TypeError` for keys of another kind.
    """
    if isinstance(source, (str, os.PathLike)):
        given: object = os.fspath(source)
        if os.path.isdir(given):
            raise IsADirectoryError(f"{given} is a folder: use casemate.seal_directory")
        name = os.path.basename(given) if name is None else name
    else:
        given = list(_parts(source))
    return _casemate.seal(
        given,
        os.fspath(destination),
        _keys.recipients(to),
        _keys.signing_key(sign),
        name=name or "",
        metadata=dict(metadata or {}),
        content_type=content_type,
        revision=revision,
        segment_size=segment_size,
        policy=_keys.policy_name(policy),
        force=force,
    )


def _parts(source: object):
    if isinstance(source, np.ndarray):
        yield np.ascontiguousarray(source).reshape(-1).view(np.uint8)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield np.frombuffer(source, dtype=np.uint8)
    elif isinstance(source, Iterable):
        for part in source:
            yield from _parts(part)
    else:
        raise TypeError(f"cannot seal {type(source).__name__}: give a path, bytes, arrays or a list of these")


def seal_directory(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    to: object = None,
    sign: object = None,
    segment_size: int = SEGMENT_BYTES,
    policy: str | None = None,
    follow_links: bool = False,
    exclude: Iterable[str] | Callable[[str, bool], bool] = (),
    since: Directory | None = None,
    force: bool = False,
) -> SealedFolder:
    """Seal a folder as a unit.

    ``since`` is the version before, as :func:`casemate.open_directory` gives it: what did not change and is by the same publisher is taken over, and the
    revision is the next one.

    ``exclude`` is a list of patterns as in ``.gitignore``, or a function of path and whether it is a folder. A file ``.casemateignore`` in the folder
    is read as well. ``follow_links`` seals what symbolic links lead to, as in the Hugging Face cache.
    """
    if since is not None and not isinstance(since, Directory):
        raise TypeError("since= takes the version before as casemate.open_directory gives it, not a path")
    sealed = _casemate.seal_directory(
        os.fspath(source),
        os.fspath(destination),
        _keys.recipients(to),
        _keys.signing_key(sign),
        segment_size=segment_size,
        policy=_keys.policy_name(policy),
        follow_links=follow_links,
        patterns=[] if callable(exclude) else list(exclude),
        exclude=exclude if callable(exclude) else None,
        since=None if since is None else since._directory,
        force=force,
    )
    return SealedFolder(*sealed)
