"""What a sealed model came from: the checkpoint before it, and the data sets and code that it was trained on.

::

    digits = casemate.open_folder("digits.sealed", keys=..., signer=...)
    sources = [casemate.lineage.of(digits, role="data", name="digits"), casemate.lineage.of_files("src", role="code", name="trainer")]
    casemate.lineage.write("model", sources=sources, step=1200)
    casemate.seal_folder("model", "model.sealed", to=..., sign=...)

``casemate verify model.sealed --lineage --source digits.sealed`` then checks that the model was trained on this data, and :func:`read` returns the statement.
``spec/lineage.md`` specifies the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _casemate
from ._casemate import CasemateError
from ._files import Folder, SealedFile

__all__ = ["NAME", "Lineage", "Source", "of", "of_files", "read", "write"]

#: Path of the statement in a folder.
NAME = "casemate-lineage.json"
_BYTES_MAX = 1 << 20
_SOURCES_MAX = 1024
_BLOCK_BYTES = 1 << 20
_NUMBER_MAX = 2**53 - 1
_ROLE = re.compile("[a-z0-9-]{1,32}")
_FORMS: dict[tuple[str, ...], dict[str, int | tuple[int, int]]] = {
    ("folder", "revision", "root"): {"folder": 32, "root": (64, 96)},
    ("artifact", "root"): {"artifact": 32, "root": (64, 96)},
    ("sha384",): {"sha384": 96},
}


@dataclass(frozen=True)
class Source:
    """A data set, code, or whatever else a model came from. ``reference`` identifies it as :func:`of` and :func:`of_files` return it."""

    role: str
    name: str
    reference: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not _ROLE.fullmatch(self.role):
            raise CasemateError(f"role {self.role!r} must be a word of 1 to 32 characters from a-z, 0-9 and -, such as 'data'")
        if not 0 < len(self.name) <= 256 or any(unicodedata.category(char) == "Cc" for char in self.name):
            raise CasemateError("the name of a source has 1 to 256 characters, none of them a control character")
        _check_reference(self.reference)


@dataclass(frozen=True)
class Lineage:
    """What a sealed model says it came from."""

    sources: list[Source]
    step: int | None = None
    #: The checkpoint from which the training went on: its folder's id, revision and root.
    parent: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.step is not None and (type(self.step) is not int or not 0 <= self.step <= _NUMBER_MAX):
            raise CasemateError(f"step {self.step!r} must be an integer from 0 to 2**53 - 1")
        if len(self.sources) > _SOURCES_MAX:
            raise CasemateError(f"a model has at most {_SOURCES_MAX} sources, got {len(self.sources)}")
        if self.parent is not None:
            if set(self.parent) != {"folder", "revision", "root"}:
                raise CasemateError("a parent is a version of a sealed folder")
            _check_reference(self.parent)


def _check_reference(reference: Mapping[str, Any]) -> None:
    lengths = _FORMS.get(tuple(sorted(reference)))
    if lengths is None:
        raise CasemateError(f"a source is a sealed folder, a sealed file or plaintext files, not one with {sorted(reference)}")
    for name, length in lengths.items():
        value = reference[name]
        allowed = length if isinstance(length, tuple) else (length,)
        if not isinstance(value, str) or len(value) not in allowed or not re.fullmatch("[0-9a-f]+", value):
            raise CasemateError(f"the {name} of a source must have {' or '.join(map(str, allowed))} hexadecimal digits")
    revision = reference.get("revision", 1)
    if type(revision) is not int or not 1 <= revision <= _NUMBER_MAX:
        raise CasemateError(f"revision {revision!r} of a source must be an integer from 1 to 2**53 - 1")


def of(opened: Folder | _casemate.Artifact, *, role: str, name: str) -> Source:
    """Return the source that a sealed folder is, or a sealed file that was read with :func:`casemate.inspect`."""
    if isinstance(opened, Folder):
        return Source(role, name, reference_of(opened))
    if isinstance(opened, _casemate.Artifact):
        return Source(role, name, {"artifact": opened.id, "root": opened.root})
    if isinstance(opened, SealedFile):
        raise TypeError("pass what casemate.inspect returns for the file")
    raise TypeError("pass a folder from casemate.open_folder, or what casemate.inspect returns for a file")


def reference_of(folder: Folder) -> dict[str, Any]:
    """Return what identifies a version of a sealed folder."""
    return {"folder": folder.id, "revision": folder.revision, "root": folder.root}


def of_files(path: str | os.PathLike[str], *, role: str, name: str) -> Source:
    """Return the source that a plaintext file is, or all files of a folder, such as code."""
    return Source(role, name, {"sha384": _digest(Path(path))})


def _digest(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISREG(mode):
        return _file_digest(path)
    if not stat.S_ISDIR(mode):
        raise CasemateError(f"{path}: it is a link or a special file, which has no digest")
    found = sorted(_list(path), key=lambda one: one.encode())
    lines = "".join(f"{_file_digest(path / below)}  {below}\n" for below in found)
    return hashlib.sha384(lines.encode()).hexdigest()


def _file_digest(path: Path) -> str:
    digest = hashlib.sha384()
    # What was listed as a file may be something else by now.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise CasemateError(f"{path}: it is a link or a special file, which has no digest")
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _list(folder: Path, prefix: str = "") -> Iterable[str]:
    for entry in os.scandir(folder):
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            raise CasemateError(f"{entry.path!r}: the name is not UTF-8") from None
        if "\\" in entry.name or any(unicodedata.category(char) == "Cc" for char in entry.name):
            raise CasemateError(f"{entry.path!r}: the name has a control character or a backslash")
        if entry.is_dir(follow_symlinks=False):
            yield from _list(Path(entry.path), f"{prefix}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            yield prefix + entry.name
        else:
            raise CasemateError(f"{entry.path}: it is a link or a special file, which has no digest")


def write(
    folder: str | os.PathLike[str], *, sources: Iterable[Source] = (), step: int | None = None, parent: Folder | Mapping[str, Any] | None = None
) -> None:
    """Write the statement to a plaintext folder, to seal it with the folder. ``parent`` is the checkpoint from which the training went on."""
    reference = reference_of(parent) if isinstance(parent, Folder) else parent
    stated = Lineage(list(sources), step, reference)
    fields: dict[str, Any] = {"casemate-lineage": 1}
    if stated.step is not None:
        fields["step"] = stated.step
    if stated.parent is not None:
        fields["parent"] = dict(stated.parent)
    fields["sources"] = [{"role": one.role, "name": one.name, **one.reference} for one in stated.sources]
    text = (json.dumps(fields, indent=1, ensure_ascii=False) + "\n").encode()
    if len(text) > _BYTES_MAX:
        raise CasemateError(f"the statement would have {len(text)} bytes, more than the {_BYTES_MAX} that are allowed; use fewer or shorter names")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(Path(folder, NAME), flags, 0o666), "wb") as file:
        file.write(text)


def read(folder: Folder) -> Lineage | None:
    """Return the statement of a sealed folder, or None if it has none. It is as trustworthy as the signer with which the folder was opened.

    Raises :class:`casemate.CasemateError` for a statement that is not valid.
    """
    if NAME not in folder:
        return None
    if folder.size(NAME) > _BYTES_MAX:
        raise CasemateError(f"{NAME} has {folder.size(NAME)} bytes, more than the {_BYTES_MAX} that are allowed")
    return decode(folder.open(NAME).read())


def decode(content: bytes) -> Lineage:
    """Read a statement under all of its rules."""
    try:
        text = content.decode()
        found = json.loads(text, object_pairs_hook=_once, parse_int=_integer, parse_float=_refuse, parse_constant=_refuse)
        return _fields(found)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CasemateError(f"{NAME} is not valid: {error or type(error).__name__}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _integer(text: str) -> int:
    if text.startswith("-") or len(text) > 20:
        raise ValueError(f"{text[:20]} is out of range")
    return int(text)


def _refuse(text: str) -> None:
    raise ValueError(f"{text[:20]} is not an integer")


def _fields(fields: Any) -> Lineage:
    if type(fields) is not dict:
        raise ValueError("it is not an object")
    version = fields.pop("casemate-lineage")
    if type(version) is not int or version != 1:
        raise ValueError("it has another version than 1; use a newer casemate")
    for name in ("step", "parent"):
        if name in fields and fields[name] is None:
            raise ValueError(f"{name} is null; leave it out")
    sources, step, parent = fields.pop("sources"), fields.pop("step", None), fields.pop("parent", None)
    if fields:
        raise ValueError(f"unknown names {sorted(fields)}")
    if type(sources) is not list or (parent is not None and type(parent) is not dict):
        raise ValueError("sources is not an array, or parent is not an object")
    found = []
    for one in sources:
        if type(one) is not dict:
            raise ValueError("a source is not an object")
        role, name = one.pop("role"), one.pop("name")
        if type(role) is not str or type(name) is not str:
            raise ValueError("a role or a name is not text")
        # JSON can write halves of characters, which no text has.
        name.encode()
        found.append(Source(role, name, one))
    return Lineage(found, step, parent)
