"""Changes recipients."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from . import _casemate, _keys


class Rewrapped(NamedTuple):
    """The number of recipients before and after the change."""

    before: int
    after: int


def rewrap(
    path: str | os.PathLike[str],
    *,
    to: _keys.Recipients = None,
    add: _keys.Recipients = (),
    remove: _keys.Recipients = (),
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    policy: _keys.PathLike | None = None,
) -> Rewrapped:
    """Change the recipients of a sealed file or folder in place, without reading or writing its content.

    ``to`` replaces the recipients; ``add`` and ``remove`` change them. All take public keys or their PEM files; ``remove`` also takes key ids, as returned
    by :func:`inspect`. ``keys`` opens the current version. A removed recipient may have kept the artifact key; seal the content again if they must not
    read it. If a call is interrupted, repeat it.

    Raises the errors of :func:`open_artifact`, and :class:`ValueError` for removing a key that is not a recipient.
    """
    adding, removing = _keys.public_keys(add), list(_ids(remove))
    if to is not None and (adding or removing):
        raise ValueError("to= cannot be combined with add= or remove=")
    if to is None and not adding and not removing:
        raise ValueError("nothing to change; pass to=, add= or remove=")
    root = os.fspath(path)
    is_folder = os.path.isdir(root)
    if is_folder:
        present, found = _casemate.Folder.recipients(root)
    else:
        artifact = _casemate.Artifact.read(root)
        present, found = artifact.recipients, artifact.signer
        # Releases the lock, which would block the change.
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


def _ids(keys: _keys.Recipients) -> Iterator[str]:
    """Yield the key ids of public keys and their files, and plain ids."""
    if isinstance(keys, str) and re.fullmatch("[0-9a-f]{64}", keys):
        yield keys
    elif isinstance(keys, Iterable) and not isinstance(keys, (str, Path)):
        for key in keys:
            yield from _ids(key)
    else:
        yield from (key.id for key in _keys.public_keys(keys))
