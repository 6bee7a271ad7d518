"""Sealed ``torch.save`` and ``torch.load``.

The plaintext stays in memory. Loading verifies the publisher before it unpickles anything, and unpickles only weights by default.
"""

from __future__ import annotations

import io
import os
from typing import Any

from . import _files, _keys, _seal
from ._casemate import PickleScan, scan_pickle

__all__ = ["PickleScan", "load", "save", "scan_pickle"]

CONTENT_TYPE = "application/vnd.pytorch"


def save(
    obj: Any,
    f: str | os.PathLike[str],
    *,
    to: _keys.Recipients = None,
    sign: _keys.Signing = None,
    policy: _keys.PathLike | None = None,
    force: bool = False,
    **arguments: Any,
) -> str:
    """Seal ``torch.save(obj)`` to the file ``f``. Returns the artifact's id. ``arguments`` are passed to :func:`torch.save`."""
    import torch

    buffer = io.BytesIO()
    torch.save(obj, buffer, **arguments)
    return _seal.seal(
        buffer.getbuffer(),
        f,
        to=to,
        sign=sign,
        name=os.path.basename(os.fspath(f)).removesuffix(".sealed"),
        content_type=CONTENT_TYPE,
        policy=policy,
        force=force,
    )


def load(
    f: Any,
    map_location: Any = None,
    *,
    weights_only: bool = True,
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    policy: _keys.PathLike | None = None,
    **arguments: Any,
) -> Any:
    """Load a sealed file, or an open file (:func:`casemate.open_signed`), with ``torch.load``.

    With ``weights_only=False``, the file can run code from its publisher, so its signature must be verified.

    Raises the errors of :func:`casemate.open_artifact` and :func:`torch.load`.
    """
    import torch

    file = f
    if isinstance(f, _files.CheckedFile):
        _files.refuse_terms(keys=keys, signer=signer, allow_unknown_signer=allow_unknown_signer, policy=policy)
        file.failure = None
    else:
        file = _files.open(
            f, keys=keys, signer=signer, allow_unknown_signer=allow_unknown_signer, policy=policy
        )
    if not weights_only and not file.origin_checked:
        raise ValueError("weights_only=False can run code from the publisher; pass signer= to verify who that is")
    # torch reads zip entries piece by piece. Whole segments are decrypted, and the last one is cached.
    try:
        return torch.load(file, map_location=map_location, weights_only=weights_only, **arguments)
    except Exception:
        # torch.load replaces the file's exceptions with its own.
        if file.failure is not None:
            raise file.failure from None
        raise
