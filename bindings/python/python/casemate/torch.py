"""Sealed ``torch.save`` and ``torch.load``.

The plaintext is in memory only. Loading verifies the publisher before anything is unpickled, and unpickles weights only unless told otherwise.
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
    to: object = None,
    sign: object = None,
    policy: str | None = None,
    force: bool = False,
    **arguments: Any,
) -> str:
    """``torch.save(obj)``, sealed to the file ``f``. Returns the artifact's id. ``arguments`` go to :func:`torch.save`."""
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
    policy: str | None = None,
    **arguments: Any,
) -> Any:
    """``torch.load`` of a sealed file, or of one that is open (:func:`casemate.open_signed`). With ``weights_only=False`` the publisher can run code here, so the signature must be checked.

    Raises as :func:`casemate.open_artifact`, and as :func:`torch.load`.
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
        raise ValueError("weights_only=False runs the publisher's code: say whose it is with signer=")
    # torch reads zip entries piece by piece; whole segments are decrypted and the last one is kept.
    try:
        return torch.load(file, map_location=map_location, weights_only=weights_only, **arguments)
    except Exception:
        # torch.load replaces the file's exceptions with its own.
        if file.failure is not None:
            raise file.failure from None
        raise
