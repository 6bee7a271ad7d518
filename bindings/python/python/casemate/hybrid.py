"""Shared keys and signatures for data of your own format, with the keys of Casemate.

For gradients, messages and files that are not Casemate's. Both halves count: an attacker has to break the classical algorithm *and* the post-quantum one to
learn a key, and to forge a signature. ``spec/hybrid.md`` has the bytes.

``context`` names the use, such as ``b"example.com/gradients"``, in up to 255 bytes. Give every use its own: a key or a signature made under one is worthless under another.
"""

from __future__ import annotations

from . import _casemate, _keys
from ._casemate import PrivateKey, PublicKey

__all__ = ["decapsulate", "encapsulate", "sign", "verify"]


def encapsulate(
    to: PublicKey, context: bytes, *, length: int = 32, policy: str | None = None
) -> tuple[bytes, bytes]:
    """Make a fresh key for the owner of ``to``: ``(key, ciphertext)``. They get the same key from the ciphertext by :func:`decapsulate`.

    ``length`` is 16 to 1024 bytes. Use the key with an AEAD such as AES-256-GCM; nothing says who sent the ciphertext. Python cannot wipe the key.

    Raises :class:`CasemateError` for a key that is not one of recipients, has ended, or that the policy forbids.
    """
    return _casemate.encapsulate(to, context, length, _keys.policy_name(policy))


def decapsulate(
    key: PrivateKey, ciphertext: bytes, context: bytes, *, length: int = 32, policy: str | None = None
) -> bytes:
    """The key of a ciphertext.

    A ciphertext that was changed, one for somebody else, or another context gives **another key and no error**: the tag of the AEAD shows it.
    Raises :class:`CasemateError` for one of another length, or whose classical half is malformed.
    """
    return _casemate.decapsulate(key, ciphertext, context, length, _keys.policy_name(policy))


def sign(key: PrivateKey, message: bytes, context: bytes, *, policy: str | None = None) -> bytes:
    """Sign ``message``. The signature of one message differs each time; never use it as an identity."""
    return _casemate.sign(key, message, context, _keys.policy_name(policy))


def verify(
    key: PublicKey, message: bytes, signature: bytes, context: bytes, *, policy: str | None = None
) -> None:
    """Check a signature: both of its halves must verify.

    Raises :class:`VerificationError` if one does not, and if the key has ended: such a signature has no date, so it may have been made afterwards.
    """
    _casemate.verify(key, message, signature, context, _keys.policy_name(policy))
