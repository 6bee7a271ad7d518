"""Sealed storage for ``torch.distributed.checkpoint``.

::

    torch.distributed.checkpoint.save(state, storage_writer=casemate.checkpoint.StorageWriter("step-100", to=..., sign=...))
    torch.distributed.checkpoint.load(state, storage_reader=casemate.checkpoint.StorageReader("step-100", keys=..., signer=...))

Every file is sealed, including the metadata. PyTorch unpickles the metadata, so its publisher and content type are always verified first: a checkpoint
by an unknown publisher cannot run code. The metadata names the artifact of every file, so a file of another checkpoint by the same publisher is
refused. With ``step=``, a checkpoint states its step, and ``min_step=`` refuses older ones. ``parent=`` is what :attr:`StorageReader.checkpoint` or
:attr:`StorageWriter.checkpoint` returned for the checkpoint from which the training went on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple, Union

from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.filesystem import FileSystem
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlan, SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from . import _files, _keys, _seal
from ._casemate import VerificationError

SUFFIX = ".sealed"
CONTENT_TYPE = "application/vnd.pytorch.checkpoint"
METADATA_TYPE = "application/vnd.pytorch.checkpoint-metadata"
# PyTorch's suffix for metadata files, and the attribute that marks each part of a tensor with its artifact.
METADATA_SUFFIX = ".metadata"
ARTIFACT = "casemate_artifact"
# PyTorch's metadata attribute with what a checkpoint states about itself.
STATED = "casemate_checkpoint"
NO_COLLECTIVES = "a checkpoint without collectives has nothing that binds its files together; set use_collectives=True"
PathLike = Union[str, "os.PathLike[str]"]


class Checkpoint(NamedTuple):
    """One checkpoint: its step, the artifact of its metadata, and that of its parent's."""

    step: int | None
    artifact: str
    parent: str | None = None


class _Buffer(io.BytesIO):
    """A stream that keeps its content after close(), because PyTorch closes the streams that it writes."""

    def close(self) -> None:
        self.flush()


class _SealedFileSystem(FileSystem):
    """The local file system, with artifacts in place of files."""

    def __init__(self, seal: dict[str, Any] | None, trust: dict[str, Any] | None) -> None:
        self._seal, self._trust = seal, trust
        # Artifact ids: those written here and those expected by the metadata, by path, and that of the metadata itself.
        self.written: dict[str, str] = {}
        self.expected: dict[str, str] = {}
        self.metadata: str | None = None

    @contextlib.contextmanager
    def create_stream(self, path: PathLike, mode: str) -> Generator[Any, None, None]:
        if mode == "rb":
            if self._trust is None:
                raise OSError("this file system only writes")
            # Read once, so that the inspected artifact is the one whose signature is verified.
            artifact = _files.inspect(_sealed(path))
            is_metadata = _is_metadata(path)
            if artifact.content_type != (METADATA_TYPE if is_metadata else CONTENT_TYPE):
                raise VerificationError(f"{path} was not sealed as {'the metadata' if is_metadata else 'data'} of a checkpoint")
            if not is_metadata and self.expected.get(os.fspath(path)) != artifact.id:
                raise VerificationError(f"{path} is a file of another checkpoint: the metadata names a different artifact")
            with _files.open(artifact, **self._trust) as file:
                if is_metadata:
                    self.metadata = artifact.id
                # The last segment stays decrypted, so small reads of pickled metadata are cheap.
                yield io.BufferedReader(file, 1 << 16)
        elif mode == "wb":
            if self._seal is None:
                raise OSError("this file system only reads")
            buffer = _Buffer()
            yield buffer
            name = os.path.basename(path)
            self.written[os.fspath(path)] = _seal.seal(
                buffer.getbuffer(),
                _sealed(path),
                name=name,
                content_type=METADATA_TYPE if _is_metadata(path) else CONTENT_TYPE,
                force=True,
                **self._seal,
            )
        else:
            raise ValueError(f"mode {mode!r} is not 'rb' or 'wb'")

    def rename(self, path: PathLike, new_path: PathLike) -> None:
        os.replace(_sealed(path), _sealed(new_path))

    def exists(self, path: PathLike) -> bool:
        return os.path.exists(_sealed(path)) or os.path.isdir(path)

    def rm_file(self, path: PathLike) -> None:
        os.unlink(_sealed(path))


def _is_metadata(path: PathLike) -> bool:
    return os.path.basename(path).removesuffix(".tmp").endswith(METADATA_SUFFIX)


def _sealed(path: PathLike) -> Path:
    return Path(os.fspath(path) + SUFFIX)


class StorageWriter(FileSystemWriter):
    """Writes a sealed checkpoint to a folder. ``arguments`` are passed to :class:`torch.distributed.checkpoint.FileSystemWriter`."""

    def __init__(
        self,
        path: PathLike,
        *,
        to: _keys.Recipients = None,
        sign: _keys.Signing = None,
        policy: _keys.PathLike | None = None,
        step: int | None = None,
        parent: Checkpoint | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(path, **arguments)
        if parent is not None and (step is None or parent.step is None or step <= parent.step):
            raise ValueError(f"step={step} must be later than the parent's, {parent.step}")
        self._step, self._parent = step, parent
        seal = {"to": _keys.recipients(to), "sign": _keys.signing_key(sign), "policy": policy}
        self.fs: _SealedFileSystem = _SealedFileSystem(seal, None)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Refuses a checkpoint whose files would not be bound together.

        Raises :class:`ValueError` for a checkpoint without collectives, in which each rank has separate metadata.
        """
        if not kwargs.get("use_collectives", True):
            raise ValueError(NO_COLLECTIVES)
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Writes this rank's files, and records the artifact of each part."""
        results = super().write_data(plan, planner).wait()
        # PyTorch loses errors of its own threads.
        if len(results) != len(plan.items):
            raise OSError(f"only {len(results)} of {len(plan.items)} parts of the checkpoint were written")
        for result in results:
            place = self.fs.concat_path(self.path, result.storage_data.relative_path)
            # A separate attribute, so that PyTorch alone can read the metadata after it is opened.
            setattr(result.storage_data, ARTIFACT, self.fs.written[os.fspath(place)])
        # A writer lives as long as the training run.
        self.fs.written.clear()
        marked: Future[list[WriteResult]] = Future()
        marked.set_result(results)
        return marked

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Writes the metadata, with the step and the parent's artifact."""
        parent = None if self._parent is None else self._parent.artifact
        setattr(metadata, STATED, {"step": self._step, "parent": parent})
        super().finish(metadata, results)

    @property
    def checkpoint(self) -> Checkpoint:
        """What identifies the checkpoint that was written, as the parent of the next. Only the coordinator, rank 0, knows it."""
        found = [artifact for path, artifact in self.fs.written.items() if _is_metadata(path)]
        if not found:
            raise ValueError("no checkpoint was written by this writer on this rank")
        return Checkpoint(self._step, found[-1])

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: PathLike) -> bool:
        return FileSystem.validate_checkpoint_id(checkpoint_id)


class StorageReader(FileSystemReader):
    """Reads a sealed checkpoint. Nothing is unpickled before its publisher is verified."""

    def __init__(
        self,
        path: PathLike,
        *,
        keys: _keys.Keys = None,
        signer: _keys.Signers = None,
        policy: _keys.PathLike | None = None,
        min_step: int | None = None,
    ) -> None:
        super().__init__(path)
        self._min_step = min_step
        self._stated: dict[str, Any] = {}
        self._failed: Exception | None = None
        trust = {"keys": keys, "signer": signer, "policy": policy}
        self.fs: _SealedFileSystem = _SealedFileSystem(None, trust)

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Reads the metadata of all ranks.

        Raises :class:`ValueError` for the metadata of one rank, to which PyTorch falls back even if the common metadata is damaged.
        """
        if kwargs.get("rank") is not None:
            # PyTorch asks for it after any error with the common metadata, which is the one to tell.
            raise self._failed or ValueError(NO_COLLECTIVES)
        try:
            return self._read_common(*args, **kwargs)
        except Exception as error:
            self._failed = error
            raise

    def _read_common(self, *args: Any, **kwargs: Any) -> Metadata:
        try:
            metadata = super().read_metadata(*args, **kwargs)
        except FileNotFoundError:
            if any(Path(self.path).glob(f"*{SUFFIX}")):
                raise FileNotFoundError(
                    f"{self.path} is an unfinished checkpoint: its metadata, which is written last, is missing"
                ) from None
            raise
        self._stated = getattr(metadata, STATED, None) or {}
        step = self._stated.get("step")
        if self._min_step is not None and (step is None or step < self._min_step):
            found = "states no step" if step is None else f"is of step {step}"
            raise VerificationError(f"{self.path} {found}; expected step {self._min_step} or later")
        return metadata

    @property
    def checkpoint(self) -> Checkpoint:
        """What identifies the checkpoint that was read, as the parent of the next."""
        if self.fs.metadata is None:
            raise ValueError("no checkpoint was read")
        return Checkpoint(self._stated.get("step"), self.fs.metadata, self._stated.get("parent"))

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Takes the expected artifact of each file from the verified metadata.

        Raises :class:`VerificationError` if a part names no artifact, or parts of one file name different artifacts.
        """
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        expected: dict[str, str] = {}
        for info in self.storage_data.values():
            artifact = getattr(info, ARTIFACT, None)
            place = os.fspath(self.fs.concat_path(self.path, info.relative_path))
            is_named = isinstance(artifact, str) and not _is_metadata(info.relative_path)
            if not is_named or expected.setdefault(place, artifact) != artifact:
                raise VerificationError(f"the metadata does not name one artifact for {info.relative_path}")
        self.fs.expected = expected

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Records which metadata this rank read."""
        return dataclasses.replace(super().prepare_local_plan(plan), storage_data=self.fs.metadata)

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Raises :class:`VerificationError` if the ranks read different checkpoints."""
        if len({plan.storage_data for plan in plans}) > 1:
            raise VerificationError(f"{self.path}: ranks read the metadata of different checkpoints")
        return super().prepare_global_plan(plans)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: PathLike) -> bool:
        return FileSystem.validate_checkpoint_id(checkpoint_id)
