"""Seals files, arrays and folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from . import _casemate, _keys
from ._files import Folder

SEGMENT_BYTES = 1 << 20
#: A path, or content in memory: bytes, an array, or several of these to concatenate.
Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, "npt.NDArray[Any]", Iterable["Source"]]


class SealedFolder(NamedTuple):
    """The result of sealing a folder: its id, its revision, the number of files, how many of them were unchanged and reused from the previous version, and the
    root that identifies this version."""

    id: str
    revision: int
    files: int
    unchanged: int
    root: str


def seal(
    source: Source,
    destination: str | os.PathLike[str],
    *,
    to: _keys.Recipients = None,
    sign: _keys.Signing = None,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
    content_type: str = "application/octet-stream",
    revision: int | None = None,
    segment_size: int = SEGMENT_BYTES,
    policy: _keys.PathLike | None = None,
    force: bool = False,
) -> str:
    """Seal ``source`` to the recipients ``to``, signed with ``sign``. Returns the artifact's id (32 hex digits).

    ``source`` is a path, or content in memory: bytes, an array, or a list of these to concatenate. ``destination`` appears complete or not at all, and is
    replaced only with ``force``. Only recipients can read ``name`` and ``metadata``. ``revision`` is a number from 1, by which readers can refuse older
    versions. ``segment_size`` is a power of two from 65,536 to 16,777,216.

    Raises :class:`CasemateError`, :class:`OSError`, and :class:`TypeError` for keys of the wrong kind.
    """
    if isinstance(source, (str, os.PathLike)):
        given: str | list[npt.NDArray[np.uint8]] = os.fspath(source)
        if os.path.isdir(given):
            raise IsADirectoryError(f"{given} is a folder; seal it with casemate.seal_folder")
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


def _parts(source: Source) -> Iterator[npt.NDArray[np.uint8]]:
    if isinstance(source, np.ndarray):
        yield np.ascontiguousarray(source).reshape(-1).view(np.uint8)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield np.frombuffer(source, dtype=np.uint8)
    elif isinstance(source, Iterable):
        for part in source:
            yield from _parts(part)
    else:
        raise TypeError(f"cannot seal {type(source).__name__}; pass a path, bytes, an array or a list of these")


def seal_folder(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    to: _keys.Recipients = None,
    sign: _keys.Signing = None,
    segment_size: int = SEGMENT_BYTES,
    policy: _keys.PathLike | None = None,
    follow_links: bool = False,
    exclude: Iterable[str] | Callable[[str, bool], bool] = (),
    since: Folder | None = None,
    force: bool = False,
) -> SealedFolder:
    """Seal a folder as a unit.

    ``since`` is the previous version, opened with :func:`casemate.open_folder`. Unchanged artifacts by the same publisher are reused, and the revision
    is incremented.

    ``exclude`` is a list of patterns as in ``.gitignore``, or a function that takes a path and whether it is a folder. A ``.casemateignore`` file in the
    folder is read too. ``follow_links`` seals the targets of symbolic links, as in the Hugging Face cache.
    """
    if since is not None and not isinstance(since, Folder):
        raise TypeError("since= must be the previous version, opened with casemate.open_folder, not a path")
    sealed = _casemate.seal_folder(
        os.fspath(source),
        os.fspath(destination),
        _keys.recipients(to),
        _keys.signing_key(sign),
        segment_size=segment_size,
        policy=_keys.policy_name(policy),
        follow_links=follow_links,
        patterns=[] if callable(exclude) else list(exclude),
        exclude=exclude if callable(exclude) else None,
        since=None if since is None else since._folder,
        force=force,
    )
    return SealedFolder(*sealed)
