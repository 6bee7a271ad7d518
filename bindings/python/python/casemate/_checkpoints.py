"""Sealed checkpoints of a training: one sealed folder for each step, each of which names the one before."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import _casemate, _keys, _seal, lineage
from ._casemate import CasemateError, VerificationError
from ._files import Folder, open_folder

_NAME = re.compile("step-([0-9]{12})\\.sealed")
_STEP_MAX = 10**12 - 1
_log = logging.getLogger("casemate")


class CheckpointFolder:
    """A folder of sealed checkpoints, named ``step-000000001200.sealed``.

    To save, pass ``to`` and ``sign``; to resume, ``keys`` and ``signer``. Each checkpoint states its step, the checkpoint before it, and the ``sources`` that
    the model is trained on (:mod:`casemate.lineage`). With keys that open the one before, files that did not change are reused from it. ``keep`` is how
    many to keep, all by default; older ones are removed.

    A folder is for one training: go on with the newest checkpoint in it, or use another folder. Whoever can write to the folder can remove checkpoints, or put
    those of another training by the same signer in their place: pass ``min_step`` to refuse older ones than you know of.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        to: _keys.Recipients = None,
        sign: _keys.Signing = None,
        keys: _keys.Keys = None,
        signer: _keys.Signers = None,
        sources: Iterable[lineage.Source] = (),
        min_step: int = 0,
        keep: int | None = None,
        policy: _keys.PathLike | None = None,
    ) -> None:
        if keep is not None and keep < 1:
            raise ValueError(f"keep must be 1 or more, got {keep}")
        super().__init__()
        self._path = Path(path)
        self._writing = {"to": to, "sign": sign, "policy": policy}
        self._reading = {"keys": keys, "signer": signer, "policy": policy}
        self._sources = list(sources)
        self._min_step = min_step
        self._keep = keep
        #: The step and the reference of the checkpoint that was saved or resumed last.
        self._last: tuple[int, dict[str, object]] | None = None

    def steps(self) -> list[int]:
        """The steps of the checkpoints that are there, in ascending order. Nothing of them is verified."""
        if not self._path.is_dir():
            return []
        matches = (_NAME.fullmatch(entry.name) for entry in os.scandir(self._path))
        return sorted(int(match[1]) for match in matches if match)

    def place(self, step: int) -> Path:
        """Return the path of a step's checkpoint."""
        return self._path / f"step-{step:012}.sealed"

    def open(self, step: int | None = None) -> Folder | None:
        """Open the checkpoint of a step, or the newest; None if there is none.

        Raises :class:`casemate.VerificationError` for one that states another step than its name, or one below ``min_step``.
        """
        steps = self.steps()
        if step is None:
            if not steps:
                if self._min_step > 0:
                    raise VerificationError(f"{self._path} has no checkpoint; expected step {self._min_step} or later")
                return None
            step = steps[-1]
        folder = open_folder(self.place(step), **self._reading)  # type: ignore[arg-type]
        stated = lineage.read(folder)
        if stated is None or stated.step != step:
            found = "no step" if stated is None or stated.step is None else f"step {stated.step}"
            raise VerificationError(f"{self.place(step)} states {found}; it was renamed")
        if step < self._min_step:
            raise VerificationError(f"{self.place(step)} is older than step {self._min_step}, the least that is accepted")
        return folder

    @contextlib.contextmanager
    def saving(self, step: int) -> Iterator[Path]:
        """Yield an empty folder in memory, to write a checkpoint to, and seal it. It appears complete or not at all."""
        self.require_newer(step)
        with _casemate.MemoryFolder(0) as folder:
            yield folder
            self.seal(folder, step)

    @contextlib.contextmanager
    def loading(self, step: int | None = None) -> Iterator[tuple[int, Path] | None]:
        """Yield the step and a folder in memory with the checkpoint's files, by default of the newest; None if there is none."""
        folder = self.open(step)
        if folder is None:
            yield None
            return
        with folder, _casemate.MemoryFolder(sum(folder.size(name) for name in folder.files)) as memory:
            stated = lineage.read(folder)
            assert stated is not None
            assert stated.step is not None
            folder.extract(memory / "checkpoint")
            self._last = (stated.step, lineage.reference_of(folder))
            yield stated.step, memory / "checkpoint"

    def require_newer(self, step: int) -> None:
        """Refuse a step that is not later than every checkpoint in the folder, or a checkpoint that nobody could load."""
        if _keys.signing_key(self._writing["sign"]) is None:  # type: ignore[arg-type]
            raise CasemateError("no key to sign checkpoints with, and unsigned ones cannot be loaded; pass sign=")
        if not 0 <= step <= _STEP_MAX:
            raise CasemateError(f"step {step} must be from 0 to {_STEP_MAX}")
        if self._last is not None and step <= self._last[0]:
            raise CasemateError(f"step {step} is not later than step {self._last[0]}, which was saved or resumed last")
        last = -1 if self._last is None else self._last[0]
        others = [one for one in self.steps() if one > last]
        if others:
            raise CasemateError(
                f"{self._path} has a checkpoint of step {others[-1]}, from which this training did not go on; "
                "resume it, remove it, or use another folder"
            )

    def seal(self, folder: str | os.PathLike[str], step: int) -> None:
        """Seal a plaintext folder as the checkpoint of a step, which must be higher than the last one's."""
        self.require_newer(step)
        if not os.listdir(folder):
            raise CasemateError(f"{folder} is empty: nothing was written to it")
        before = self._before()
        parent = self._last[1] if self._last is not None else None
        lineage.write(folder, sources=self._sources, step=step, parent=parent)
        self._path.mkdir(parents=True, exist_ok=True)
        sealed = _seal.seal_folder(folder, self.place(step), since=before, **self._writing)  # type: ignore[arg-type]
        self._last = (step, {"folder": sealed.id, "revision": sealed.revision, "root": sealed.root})
        self._remove_old(step)

    def _before(self) -> Folder | None:
        """Return the checkpoint before this one, if it can be opened."""
        if self._last is None or self._reading["keys"] is None or not self.place(self._last[0]).is_dir():
            return None
        try:
            folder = self.open(self._last[0])
            if folder is None or lineage.reference_of(folder) == self._last[1]:
                return folder
            reason = "another checkpoint is in its place"
        except (CasemateError, OSError) as error:
            reason = str(error)
        # The new checkpoint does not need it.
        _log.warning("nothing is reused from the checkpoint of step %d: %s", self._last[0], reason)
        return None

    def _remove_old(self, newest: int) -> None:
        if self._keep is None:
            return
        older = [step for step in self.steps() if step <= newest]
        for step in older[: -self._keep]:
            shutil.rmtree(self.place(step), ignore_errors=True)
