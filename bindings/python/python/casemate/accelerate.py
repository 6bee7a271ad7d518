"""Sealed checkpoints for Hugging Face Accelerate.

::

    checkpoints = casemate.accelerate.SealedCheckpoints("checkpoints", to=..., sign=..., keys=..., signer=...)
    step = checkpoints.load(accelerator) or 0         # in place of accelerator.load_state()
    checkpoints.save(accelerator, step)               # in place of accelerator.save_state()
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]

from ._casemate import CasemateError
from ._checkpoints import CheckpointFolder

__all__ = ["SealedCheckpoints"]


class SealedCheckpoints(CheckpointFolder):
    __doc__ = CheckpointFolder.__doc__

    def save(self, accelerator: Any, step: int) -> None:
        """Seal the state of the training as the checkpoint of a step. Every process calls this; all are on one machine."""
        if getattr(accelerator.project_configuration, "automatic_checkpoint_naming", False):
            raise CasemateError("automatic_checkpoint_naming makes save_state() write plaintext elsewhere; leave it off")
        with contextlib.ExitStack() as stack:
            folder = _from_main(accelerator, lambda: stack.enter_context(self.saving(step)))
            # Sealed when the main process leaves, after all have written.
            accelerator.save_state(str(folder))
            accelerator.wait_for_everyone()
            _from_main(accelerator, stack.close)

    def load(self, accelerator: Any, step: int | None = None) -> int | None:
        """Load the newest checkpoint, or that of a step, after it was verified. Returns its step; None if there is none. Every process calls this."""
        with contextlib.ExitStack() as stack:
            found = _from_main(accelerator, lambda: stack.enter_context(self.loading(step)))
            if found is not None:
                accelerator.load_state(str(found[1]))
            accelerator.wait_for_everyone()
        return None if found is None else int(found[0])


def _from_main(accelerator: Any, action: Callable[[], Any]) -> Any:
    """Do something in the main process. Returns its result to all of them, or raises its error in all of them."""
    shared: list[Any] = [None, None]
    error: Exception | None = None
    if accelerator.is_main_process:
        try:
            shared[0] = action()
        except Exception as raised:  # noqa: BLE001 - raised below, after the others know
            error, shared[1] = raised, f"{type(raised).__name__}: {raised}"
    broadcast_object_list(shared)
    if error is not None:
        raise error
    if shared[1] is not None:
        raise CasemateError(f"the main process failed: {shared[1]}")
    return shared[0]
