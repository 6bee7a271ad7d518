"""The fsspec protocol ``casemate``: reads sealed files on any fsspec file system as plaintext.

``fsspec.open("casemate::s3://bucket/model.safetensors.sealed", casemate={"keys": ..., "signer": ...})`` reads only the ranges it needs.
Names and listings are those of the underlying file system.
"""

from __future__ import annotations

import contextlib
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import register_implementation

from . import _casemate, _files, _keys


#: Fields of a listing that change with the file, for various file systems.
VERSION = ("size", "ETag", "etag", "LastModified", "mtime", "created", "updated")


class _Ranges:
    """Reads at an offset, as an artifact needs."""

    def __init__(self, fs: AbstractFileSystem, path: str, size: int | None = None) -> None:
        self._fs, self._path = fs, path
        self.size = int(fs.info(path)["size"] if size is None else size)

    def read_at(self, offset: int, length: int) -> bytes:
        return self._fs.cat_file(self._path, start=offset, end=offset + length)


class CasemateFileSystem(AbstractFileSystem):
    """Reads artifacts from ``fs``, or from ``target_protocol`` with ``target_options``. Read-only; to write, use :func:`casemate.seal`."""

    protocol = "casemate"
    # Each instance has its own keys and signers, so instances must not be cached.
    cachable = False

    def __init__(
        self,
        fs: AbstractFileSystem | None = None,
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        *,
        fo: str | None = None,
        keys: _keys.Keys = None,
        signer: _keys.Signers = None,
        allow_unknown_signer: bool = False,
        policy: _keys.PathLike | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        if fs is None and target_protocol:
            import fsspec

            fs = fsspec.filesystem(target_protocol, **(target_options or {}))
        self.fs = fs or LocalFileSystem()
        self._target = fo
        self._known: dict[str, Any] = {}
        self._sizes: dict[str, tuple[Any, int]] = {}
        self._trust = {
            "keys": keys,
            "signer": signer,
            "allow_unknown_signer": allow_unknown_signer,
            "policy": policy,
        }

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return str(path).removeprefix("casemate::").removeprefix("casemate://")

    def _opened(self, path: str) -> Any:
        # In a chain with nothing before `::`, the path is in `fo`.
        # All reads through one instance see one version of a file until `invalidate_cache`.
        path = self.fs._strip_protocol(path or self._target or "")
        if path not in self._known:
            self._known[path] = _files.open_artifact(_Ranges(self.fs, path), **self._trust)
        return self._known[path]

    def invalidate_cache(self, path: str | None = None) -> None:
        if path is None:
            self._known.clear()
            self._sizes.clear()
        else:
            self._known.pop(self.fs._strip_protocol(path), None)
            self._sizes.pop(self.fs._strip_protocol(path), None)
        self.fs.invalidate_cache(path)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> _files.SealedFile:
        if mode != "rb":
            raise ValueError("sealed files are read-only here; to write one, call casemate.seal()")
        return _files.SealedFile(self._opened(path))

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        opened = self._opened(path)
        first, last, _step = slice(start, end).indices(opened.size)
        return opened.read_at(first, max(last - first, 0))

    def info(self, path: str, **arguments: Any) -> dict[str, Any]:
        path = self.fs._strip_protocol(path or self._target or "")
        return self._sized(dict(self.fs.info(path, **arguments)))

    def ls(self, path: str, detail: bool = True, **arguments: Any) -> list[Any]:
        """List a folder. For names that end in ``.sealed``, the size is that of the content, which needs a read of each file."""
        found = self.fs.ls(self.fs._strip_protocol(path), detail=detail, **arguments)
        if not detail:
            return found
        return [self._sized(dict(one)) if one["name"].endswith(".sealed") else one for one in found]

    def _sized(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Replace the size with that of the content if the entry is an artifact."""
        if entry["type"] == "file":
            with contextlib.suppress(_casemate.CasemateError):
                entry["size"], entry["sealed_size"] = self._content_size(entry), entry["size"]
        return entry

    def _content_size(self, entry: dict[str, Any]) -> int:
        path, version = entry["name"], tuple(entry.get(name) for name in VERSION)
        known = self._sizes.get(path)
        if known is None or known[0] != version:
            known = (version, _files.inspect(_Ranges(self.fs, path, entry["size"])).size)
            self._sizes[path] = known
        return known[1]


class FolderFileSystem(AbstractFileSystem):
    """The plaintext of a sealed folder, which was verified as a unit: its files, and none besides. Read-only. Made by
    :attr:`casemate.data.SealedData.filesystem`, or from an open folder."""

    protocol = "casemate-folder"
    cachable = False

    def __init__(self, folder: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._folder = folder
        self._known: tuple[Any, dict[str, int], set[str]] = (None, {}, set())

    @property
    def _listed(self) -> tuple[dict[str, int], set[str]]:
        """The sizes of all files, and the folders that they are in."""
        folder = getattr(self._folder, "folder", self._folder)
        if self._known[0] is not folder:
            sizes = {name: folder.size(name) for name in folder.files}
            above = {name[:at] for name in sizes for at, char in enumerate(name) if char == "/"}
            self._known = (folder, sizes, above)
        return self._known[1:]

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return str(path).removeprefix("casemate-folder://").strip("/")

    def _open(self, path: str, mode: str = "rb", **_: Any) -> _files.SealedFile:
        if mode != "rb":
            raise ValueError("sealed files are read-only here; to write a folder, call casemate.seal_folder()")
        path = self._strip_protocol(path)
        if path not in self._listed[0]:
            raise FileNotFoundError(path)
        return self._folder.open(path)  # type: ignore[no-any-return]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        sizes, folders = self._listed
        if path in sizes:
            return {"name": path, "size": sizes[path], "type": "file"}
        if not path or path in folders:
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path)
        sizes, _ = self._listed
        if path in sizes:
            found = {path}
        else:
            prefix = f"{path}/" if path else ""
            below = (name.removeprefix(prefix) for name in sizes if name.startswith(prefix))
            found = {prefix + name.split("/", 1)[0] for name in below}
            if not found:
                raise FileNotFoundError(path)
        names = sorted(found)
        return [self.info(name) for name in names] if detail else names


class FolderPlace:
    """A folder on a file system of fsspec, as :func:`casemate.open_folder` reads it."""

    def __init__(self, fs: AbstractFileSystem, root: str) -> None:
        self._fs = fs
        self._root = fs._strip_protocol(root).rstrip("/")
        self.name = self._root

    def listing(self) -> list[str]:
        self._fs.invalidate_cache(self._root)
        return [name.removeprefix(f"{self._root}/") for name in self._fs.find(self._root)]

    def open(self, path: str) -> _Ranges:
        return _Ranges(self._fs, f"{self._root}/{path}")


register_implementation("casemate", CasemateFileSystem, clobber=True)
