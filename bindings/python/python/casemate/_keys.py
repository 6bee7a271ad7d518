"""Resolves the keys to open with and the expected signers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Union

from . import _casemate
from ._casemate import CasemateError, KeyStore, PrivateKey, PublicKey, TrustList, VerificationError

PathLike = Union[str, "os.PathLike[str]"]
#: A private key, its PEM file (a :class:`pathlib.Path`, or a ``str`` with a ``/``), a key store, the name or full id of a key in a key store that is also
#: passed, a function that returns one of these for the recipients' key ids, or several of these.
Keys = Union[PrivateKey, PathLike, KeyStore, Callable[[list[str]], "Keys"], Iterable["Keys"], None]
#: A public key, its PEM file (a :class:`pathlib.Path`, or a ``str`` with a ``/``), the name or full id of a key in the key store in ``keys``, a trust file
#: (:class:`TrustList`), or several of these.
Signers = Union[PublicKey, PrivateKey, TrustList, PathLike, Iterable["Signers"], None]
#: A public key, its PEM file (a :class:`pathlib.Path`, or a ``str`` with a ``/``), the name or full id of a key in the configured key store, an age
#: recipient, a private key of which the public half is meant, or several of these.
Recipients = Union[PublicKey, PrivateKey, TrustList, PathLike, Iterable["Recipients"], None]
#: A private key, its PEM file (a :class:`pathlib.Path`, or a ``str`` with a ``/``), or the name or full id of a key in the configured key store.
Signing = Union[PrivateKey, PathLike, None]
#: What opens a slot of a key store: bytes, a file (a :class:`pathlib.Path`), or a function that returns the bytes.
Passphrase = Union[bytes, "os.PathLike[str]", Callable[[], bytes]]


class _Defaults(NamedTuple):
    keys: Keys = None
    signer: Signers = None
    to: Recipients = None
    sign: Signing = None
    policy: PathLike | None = None


_defaults = _Defaults()


def configure(
    *,
    keys: Keys = None,
    signer: Signers = None,
    to: Recipients = None,
    sign: Signing = None,
    policy: PathLike | None = None,
) -> None:
    """Set defaults for later calls: ``keys`` and ``signer`` to open, ``to`` and ``sign`` to seal, and ``policy``.

    Every call replaces all defaults; ``configure()`` removes them.
    """
    global _defaults
    _defaults = _Defaults(keys, signer, to, sign, policy)


def policy_name(given: PathLike | None) -> str | None:
    """Return the policy from the argument or :func:`configure`. With ``None``, the environment decides, as for the command: ``CASEMATE_POLICY``,
    ``PQC_KEY_MANAGEMENT``, or else ``hybrid``. A :class:`pathlib.Path`, or a ``str`` with a ``/``, is a policy file; a bare word is a built-in policy."""
    chosen = given or _defaults.policy
    if chosen is None or isinstance(chosen, str):
        return chosen
    return _path(chosen)


def _path(path: os.PathLike[str]) -> str:
    """Return a path object as text that cannot be mistaken for a name."""
    return os.path.join(os.curdir, os.fspath(path))


def open_store(home: PathLike | None = None, *, passphrase: Passphrase | list[Passphrase] | None = None) -> KeyStore:
    """Unlock the key store of ``casemate keys``, or use the key service that ``casemate keys connect`` named.

    ``passphrase`` is what opens a slot of the key store: a passphrase, a random key, or a private key that a slot is sealed to; as bytes, a file (a
    :class:`pathlib.Path`) or a function. It is never read from the environment. If several slots must open together, pass a list. A key service needs none.

    ``home`` is the folder of the key store, by default ``$CASEMATE_HOME`` or ``casemate`` in the user's data directory.
    """
    if home is None:
        data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
        home = os.environ.get("CASEMATE_HOME") or str(Path(data) / "casemate")
    given = [] if passphrase is None else passphrase if isinstance(passphrase, list) else [passphrase]
    return KeyStore.unlock(os.fspath(home), [_secret(one) for one in given])


def _secret(passphrase: Passphrase) -> bytes:
    if callable(passphrase):
        return passphrase()
    if isinstance(passphrase, bytes):
        return passphrase
    if isinstance(passphrase, str):
        # It may be the passphrase, and the error for a missing file would show it.
        raise TypeError("passphrase must not be a str, which could be a passphrase or a path; pass bytes, a pathlib.Path or a function")
    return _casemate.read_passphrase(passphrase)


def opening_keys(keys: Keys, recipients: list[str], *, all_of_store: bool = False) -> list[PrivateKey]:
    """Return the private keys among ``keys`` to try for an artifact sealed to ``recipients``.

    With ``all_of_store``, a key store returns all keys that can open: while recipients of a folder are being changed, its files have different recipients.
    """
    keys = _defaults.keys if keys is None else keys
    if keys is None:
        raise CasemateError("no key to open with; pass keys=, or call casemate.configure(keys=...)")
    return list(_flatten(keys, recipients, all_of_store, _store_in(keys)))


def _store_in(keys: Keys) -> KeyStore | None:
    """Return the key store among ``keys``, which resolves names."""
    if isinstance(keys, KeyStore):
        return keys
    if isinstance(keys, (list, tuple, set, frozenset)):
        return next((key for key in keys if isinstance(key, KeyStore)), None)
    return None


def _flatten(keys: Keys, recipients: list[str], all_of_store: bool, store: KeyStore | None) -> Iterator[PrivateKey]:
    if isinstance(keys, PrivateKey):
        yield keys
    elif isinstance(keys, KeyStore):
        yield from keys.opening(None if all_of_store else recipients)
    elif isinstance(keys, str):
        yield PrivateKey.named(keys, store)
    elif isinstance(keys, os.PathLike):
        yield PrivateKey.from_file(keys)
    elif callable(keys):
        found = keys(list(recipients))
        if found is not None:
            yield from _flatten(found, recipients, all_of_store, store or _store_in(found))
    elif isinstance(keys, Iterable):
        for key in keys:
            yield from _flatten(key, recipients, all_of_store, store)
    else:
        raise TypeError(f"{type(keys).__name__} is not a private key, a file, a key store or a function")


def trusted_signer(
    signer: Signers, keys: Keys, found: str | None, allow_unknown_signer: bool
) -> PublicKey | None:
    """Return the expected signer, for an artifact that names ``found`` as its signer."""
    if allow_unknown_signer:
        if signer is not None:
            raise ValueError("signer= and allow_unknown_signer=True cannot be combined")
        return None
    candidates = _trusted(signer, keys)
    if not candidates:
        raise CasemateError(
            "no expected signer was given; pass signer= with the publisher's public key, "
            "or allow_unknown_signer=True to accept content from anyone"
        )
    if found is None:
        raise VerificationError("the artifact is not signed")
    for key in candidates:
        if key.id == found:
            return key
    raise VerificationError(f"the artifact names key {found} as its signer, which is not an expected signer")


def trusted_model_signers(signer: Signers, keys: Keys, found: list[str]) -> list[PublicKey]:
    """Return the expected signers among the keys ``found`` that a model's signature names, in the same order."""
    candidates = _trusted(signer, keys)
    if not candidates:
        raise CasemateError("no expected signer was given; pass signer= with the publisher's public key")
    trusted = [key for named in found for key in candidates if key.id == named]
    if trusted:
        return trusted
    named = f"key {', '.join(found)}" if found else "only a classical key"
    raise VerificationError(f"the model is signed by {named}, which is not an expected signer")


def _trusted(signer: Signers, keys: Keys) -> list[PublicKey]:
    signer = _defaults.signer if signer is None else signer
    keys = _defaults.keys if keys is None else keys
    return list(_public(signer, _store_in(keys))) if signer is not None else _signers_of_store(keys)


def _signers_of_store(keys: Keys) -> list[PublicKey]:
    if isinstance(keys, KeyStore):
        return [keys.public(row[1]) for row in keys.list() if row[2] == "sign"]
    return []


def _public(keys: Signers | Recipients, store: KeyStore | None) -> Iterator[PublicKey]:
    if isinstance(keys, PublicKey):
        yield keys
    elif isinstance(keys, TrustList):
        yield from keys.keys()
    elif isinstance(keys, PrivateKey):
        yield keys.public_key
    elif isinstance(keys, str):
        yield PublicKey.named(keys, store)
    elif isinstance(keys, os.PathLike):
        yield PublicKey.from_file(keys)
    elif isinstance(keys, Iterable):
        for key in keys:
            yield from _public(key, store)
    else:
        raise TypeError(f"{type(keys).__name__} is not a public key or a file of one")


def public_keys(keys: Recipients) -> list[PublicKey]:
    """Resolve public keys, their files, and names in the configured key store."""
    return list(_public(keys, _store_in(_defaults.keys)))


def recipients(to: Recipients) -> list[PublicKey]:
    """Return the public keys to seal to."""
    to = _defaults.to if to is None else to
    if to is None:
        raise CasemateError("no recipient was given; pass to=, or call casemate.configure(to=...)")
    return public_keys(to)


def signing_key(sign: Signing) -> PrivateKey | None:
    """Return the key to sign with, if one is given."""
    sign = _defaults.sign if sign is None else sign
    if sign is None or isinstance(sign, PrivateKey):
        return sign
    if isinstance(sign, str):
        return PrivateKey.named(sign, _store_in(_defaults.keys))
    return PrivateKey.from_file(sign)
