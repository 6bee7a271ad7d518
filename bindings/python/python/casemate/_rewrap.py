"""Changing recipients."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from . import _casemate, _keys


class Rewrapped(NamedTuple):
    """How many recipients there were, and how many there are now."""

    before: int
    after: int


def rewrap(
    path: str | os.PathLike[str],
    *,
    to: object = None,
    add: object = (),
    remove: object = (),
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    policy: str | None = None,
) -> Rewrapped:
    """Change who can open a sealed file or folder, in place; the content is neither read nor written, whatever its length.

    ``to`` are the recipients from now on; or ``add`` and ``remove`` change those that there are. All are public keys or PEM files of them, ``remove`` also
    takes key ids as :func:`inspect` gives them. ``keys`` opens it now. Who opened it before may have kept the key of the content: what must stay closed
    to them is sealed anew. A call that was interrupted is made again.

    Raises as :func:`open_artifact`, and :class:`ValueError` for a key that is no recipient.
    """
    adding, removing = _keys.public_keys(add), list(_ids(remove))
    if to is not None and (adding or removing):
        raise ValueError("give to=, or add= and remove=")
    if to is None and not adding and not removing:
        raise ValueError("nothing to change: give to=, add= or remove=")
    root = os.fspath(path)
    is_folder = os.path.isdir(root)
    if is_folder:
        present, found = _casemate.Directory.recipients(root)
    else:
        artifact = _casemate.Artifact.read(root)
        present, found = artifact.recipients, artifact.signer
        # Gives up the lock, which would keep the change out.
        del artifact
    trusted = _keys.trusted_signer(signer, keys, found, allow_unknown_signer)
    private = _keys.opening_keys(keys, present, all_of_store=is_folder)
    change = _casemate.rewrap_folder if is_folder else _casemate.rewrap_file
    done = change(
        root,
        private,
        trusted,
        add=adding if to is None else _keys.recipients(to),
        remove=removing,
        keep=to is None,
        policy=_keys.policy_name(policy),
    )
    return Rewrapped(*done)


def _ids(keys: object):
    """Key ids of public keys, files of them, and ids."""
    if isinstance(keys, str) and re.fullmatch("[0-9a-f]{64}", keys):
        yield keys
    elif isinstance(keys, Iterable) and not isinstance(keys, (str, Path)):
        for key in keys:
            yield from _ids(key)
    else:
        yield from (key.id for key in _keys.public_keys(keys))
