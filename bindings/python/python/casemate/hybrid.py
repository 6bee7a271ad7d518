"""Shared keys and signatures for data in other formats, with Casemate keys.

For gradients, messages and files in your own format. Both halves protect: to learn a key or to forge a signature, an attacker must break the classical
*and* the post-quantum algorithm. ``spec/hybrid.md`` specifies the bytes.

``context`` identifies the purpose in up to 255 bytes, such as ``b"example.com/gradients"``. Use a different one for each purpose: a key or signature made
with one context is not valid with another.
"""

from __future__ import annotations

from . import _casemate, _keys
from ._casemate import PrivateKey, PublicKey

__all__ = ["decapsulate", "encapsulate", "sign", "verify"]


def encapsulate(
    to: PublicKey, context: bytes, *, length: int = 32, policy: _keys.PathLike | None = None
) -> tuple[bytes, bytes]:
    """Create a fresh key to share with the owner of ``to``. Returns ``(key, ciphertext)``; the owner passes the ciphertext to :func:`decapsulate`.

    ``length`` is 16 to 1024 bytes. Use the key with an AEAD such as AES-256-GCM. The ciphertext does not authenticate its sender. Python cannot wipe the key.

    Raises :class:`CasemateError` for a key that is not a recipient key, has ended, or that the policy forbids.
    """
    return _casemate.encapsulate(to, context, length, _keys.policy_name(policy))


def decapsulate(
    key: PrivateKey, ciphertext: bytes, context: bytes, *, length: int = 32, policy: _keys.PathLike | None = None
) -> bytes:
    """Return the key of a ciphertext.

    A changed ciphertext, one for another recipient, or another context returns **a different key and no error**; the tag of the AEAD then fails.
    Raises :class:`CasemateError` for a ciphertext of the wrong length, or with a malformed classical half.
    """
    return _casemate.decapsulate(key, ciphertext, context, length, _keys.policy_name(policy))


def sign(key: PrivateKey, message: bytes, context: bytes, *, policy: _keys.PathLike | None = None) -> bytes:
    """Sign ``message``. Each signature of the same message is different; never use a signature as an identifier."""
    return _casemate.sign(key, message, context, _keys.policy_name(policy))


def verify(
    key: PublicKey, message: bytes, signature: bytes, context: bytes, *, policy: _keys.PathLike | None = None
) -> None:
    """Verify a signature: both halves must be valid.

    Raises :class:`VerificationError` if a half is not valid, or if the key has ended: these signatures have no date, so it may have been made afterwards.
    """
    _casemate.verify(key, message, signature, context, _keys.policy_name(policy))
