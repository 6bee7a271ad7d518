"""The signed list of a job's members."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from .. import _casemate, _keys
from .._casemate import CasemateError, PublicKey, Roster

_DAY = 24 * 60 * 60
_BYTES_MAX = 1 << 24


def sign_roster(
    members: Mapping[str, _keys.Recipients],
    *,
    sign: _keys.Signing = None,
    job: bytes | None = None,
    epoch: int = 1,
    lifetime: int = 30 * _DAY,
    now: int | None = None,
) -> bytes:
    """Sign a roster of 2 to 4,096 members, and return it. Every member needs it, and the public key that verifies it.

    ``members`` maps names (``a-z 0-9 . _ -``) to public signing keys; ``sign`` is the roster signer's private key. ``job`` is 16 bytes that are the same in
    every roster of a job, random by default; pass the old roster's ``job`` and a higher ``epoch`` to replace it. The roster is valid for ``lifetime``
    seconds.
    """
    created = int(time.time()) if now is None else now
    signer = _keys.signing_key(sign)
    if signer is None:
        raise CasemateError("no key to sign the roster with; pass sign=, or call casemate.configure(sign=...)")
    keys = [(name, one_key(key, f"member {name!r}")) for name, key in members.items()]
    return _casemate.sign_roster(os.urandom(16) if job is None else job, epoch, (created, created + lifetime), keys, signer)


def open_roster(
    signed: bytes | os.PathLike[str],
    *,
    signer: _keys.Recipients,
    job: bytes | None = None,
    epoch_min: int = 1,
    policy: _keys.PathLike | None = None,
    now: int | None = None,
) -> Roster:
    """Verify a signed roster, given as bytes or as a file (:class:`pathlib.Path`).

    ``signer`` is the roster signer's public key, from a source that you trust. Keep the roster's ``job`` and the highest ``epoch`` that you have accepted, and
    pass them the next time, so that nobody can give you an old roster.

    Raises :class:`casemate.VerificationError` for another signer, job or epoch, and :class:`casemate.CasemateError` for a roster that is not valid now.
    """
    if not isinstance(signed, bytes):
        with open(signed, "rb") as file:
            signed = file.read(_BYTES_MAX + 1)
    at = int(time.time()) if now is None else now
    return Roster.verify(signed, one_key(signer, "signer="), at, job, epoch_min, _keys.policy_name(policy))


def one_key(given: _keys.Recipients, what: str) -> PublicKey:
    keys = _keys.public_keys(given)
    if len(keys) != 1:
        raise CasemateError(f"{what} needs exactly one public key, got {len(keys)}")
    return keys[0]
