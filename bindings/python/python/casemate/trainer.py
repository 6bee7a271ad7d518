"""Sealed checkpoints for the Hugging Face ``Trainer``.

::

    checkpoints = casemate.trainer.SealedCheckpoints("checkpoints", to=..., sign=..., keys=..., signer=...)
    Trainer(..., callbacks=[checkpoints]).train(resume_from_checkpoint=checkpoints.resume())
"""

from __future__ import annotations

import atexit
import contextlib
import shutil
from pathlib import Path
from typing import Any

import torch.distributed as dist
from transformers import TrainerCallback

from ._casemate import CasemateError
from ._checkpoints import CheckpointFolder

__all__ = ["SealedCheckpoints"]


class SealedCheckpoints(CheckpointFolder, TrainerCallback):
    """A callback that seals each checkpoint of a ``Trainer`` to a folder, and removes the plaintext. Takes the arguments of
    :class:`casemate.accelerate.SealedCheckpoints`.

    The ``Trainer`` writes plaintext to its ``output_dir`` first: let that be in memory, such as a folder below ``/dev/shm``. Its ``save_total_limit`` has no
    effect on sealed checkpoints; pass ``keep``. ``load_best_model_at_end`` is refused, because it reads plaintext checkpoints later, and ``push_to_hub``, because
    it uploads them.
    """

    _resumed: contextlib.ExitStack | None = None

    def resume(self, step: int | None = None) -> str | None:
        """Return what to pass to ``Trainer.train`` as ``resume_from_checkpoint``: the newest checkpoint, or that of a step; None if there is none.

        It is verified before anything of it is unpickled, and stays in memory until the first step of the training is done.
        """
        self._forget()
        if step is None and dist.is_available() and dist.is_initialized():
            # All ranks resume the same, whatever appears meanwhile.
            newest: list[int | None] = [max(self.steps(), default=None)]
            dist.broadcast_object_list(newest)
            step = newest[0]
        resumed = contextlib.ExitStack()
        found = resumed.enter_context(self.loading(step))
        if found is None:
            resumed.close()
            return None
        self._resumed = resumed
        atexit.register(self._forget)
        return str(found[1])

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.load_best_model_at_end:
            raise CasemateError("load_best_model_at_end reads plaintext checkpoints, which are removed; resume(step) returns a sealed one")
        if args.push_to_hub:
            raise CasemateError("push_to_hub uploads plaintext checkpoints; leave it off")
        # Now, not after the steps up to the first checkpoint.
        self.require_newer(state.global_step + 1)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        plain = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        # Each rank writes files of its own.
        _wait()
        if args.should_save:
            self.seal(plain, state.global_step)
            shutil.rmtree(plain)
        _wait()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._forget()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._forget()

    def _forget(self) -> None:
        """Remove the plaintext of the checkpoint that was resumed."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.close()
            atexit.unregister(self._forget)


def _wait() -> None:
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
