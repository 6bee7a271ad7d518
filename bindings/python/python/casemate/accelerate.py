"""Sealed checkpoints for Hugging Face Accelerate.

::

    checkpoints = casemate.accelerate.SealedCheckpoints("checkpoints", to=..., sign=..., keys=..., signer=...)
    step = checkpoints.load(accelerator) or 0         # in place of accelerator.load_state()
    checkpoints.save(accelerator, step)               # in place of accelerator.save_state()
"""

from __future__ import annotations

import contextlib
from typing import Any

from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]

from ._checkpoints import CheckpointFolder

__all__ = ["SealedCheckpoints"]


class SealedCheckpoints(CheckpointFolder):
    __doc__ = CheckpointFolder.__doc__

    def save(self, accelerator: Any, step: int) -> None:
        """Seal the state of the training as the checkpoint of a step. Every process calls this; all are on one machine."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(self.saving(step)) if accelerator.is_main_process else None
            # Sealed when the main process leaves, after all have written.
            accelerator.save_state(str(_shared(folder)))
            accelerator.wait_for_everyone()
        accelerator.wait_for_everyone()

    def load(self, accelerator: Any, step: int | None = None) -> int | None:
        """Load the newest checkpoint, or that of a step, after it was verified. Returns its step; None if there is none. Every process calls this."""
        with contextlib.ExitStack() as stack:
            found = stack.enter_context(self.loading(step)) if accelerator.is_main_process else None
            found = _shared(found)
            if found is not None:
                accelerator.load_state(str(found[1]))
            accelerator.wait_for_everyone()
        return None if found is None else int(found[0])


def _shared(value: Any) -> Any:
    """Return what the main process has."""
    shared: list[Any] = [value]
    broadcast_object_list(shared)
    return shared[0]
