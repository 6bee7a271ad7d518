"""Which keys open, and whose signature counts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Union

from ._casemate import CasemateError, KeyStore, PrivateKey, PublicKey, VerificationError

PathLike = Union[str, "os.PathLike[str]"]
#: A private key, a PEM file of one, a key store, a function from the recipients' key ids to one of these, or several of all that.
Keys = Union[PrivateKey, PathLike, KeyStore, Callable[[list[str]], object], Iterable[object], None]
#: A public key, a PEM file of one, or several of these.
Signers = Union[PublicKey, PathLike, Iterable[object], None]

_defaults: dict[str, object] = {}


def configure(
    *,
    keys: Keys = None,
    signer: Signers = None,
    to: object = None,
    sign: object = None,
    policy: str | None = None,
) -> None:
    """Set what later calls use where they are given nothing: ``keys`` and ``signer`` to open, ``to`` and ``sign`` to seal.

    Every call replaces all defaults; ``configure()`` removes them.
    """
    _defaults.clear()
    _defaults.update(keys=keys, signer=signer, to=to, sign=sign, policy=policy)


def default(name: str, given: object) -> object:
    return given if given is not None else _defaults.get(name)


def policy_name(given: str | None) -> str:
    """The policy: the argument, :func:`configure`, ``CASEMATE_POLICY``, what ``PQC_KEY_MANAGEMENT`` says, or ``hybrid``, as the command has it."""
    chosen = given or _defaults.get("policy") or os.environ.get("CASEMATE_POLICY")
    if chosen:
        return str(chosen)
    management = os.environ.get("PQC_KEY_MANAGEMENT") or "hybrid"
    policies = {"hybrid": "hybrid", "pq": "cnsa2"}
    if management not in policies:
        raise CasemateError(f"PQC_KEY_MANAGEMENT is {management!r}: set it to 'hybrid' or 'pq'")
    return policies[management]


def open_store(home: PathLike | None = None, *, passphrase: bytes | os.PathLike[str] | Callable[[], bytes]) -> KeyStore:
    """Unlock the key store of ``casemate keys``. The passphrase, or the random key of ``keys init --random-key``, comes as bytes, from a
    file (a :class:`pathlib.Path`), or from a function; never from the environment.

    ``home`` is the store's folder, by default ``$CASEMATE_HOME`` or ``casemate`` in the user's data directory.
    """
    if home is None:
        data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
        home = os.environ.get("CASEMATE_HOME") or str(Path(data) / "casemate")
    if callable(passphrase):
        secret = passphrase()
    elif isinstance(passphrase, bytes):
        secret = passphrase
    elif isinstance(passphrase, str):
        # It would be shown in the error if there is no such file, and it may be the passphrase.
        raise TypeError("a str may be a passphrase or a path: pass bytes, a pathlib.Path or a function")
    else:
        secret = Path(passphrase).read_bytes().removesuffix(b"\n").removesuffix(b"\r")
    return KeyStore.unlock(os.fspath(home), secret)


def opening_keys(keys: Keys, recipients: list[str], *, all_of_store: bool = False) -> list[PrivateKey]:
    """The private keys among ``keys`` that are worth trying for an artifact sealed to ``recipients``.

    With ``all_of_store`` a key store gives every key that opens: while recipients of a folder are being changed, its files have different ones.
    """
    keys = default("keys", keys)
    if keys is None:
        raise CasemateError("no key to open with: pass keys=, or call casemate.configure(keys=...)")
    return list(_flatten(keys, recipients, all_of_store))


def _flatten(keys: object, recipients: list[str], all_of_store: bool):
    if isinstance(keys, PrivateKey):
        yield keys
    elif isinstance(keys, KeyStore):
        for _name, key_id, kind, _suite, private in keys.list():
            if private and kind == "kem" and (all_of_store or key_id in recipients):
                yield keys.private(key_id)
    elif isinstance(keys, (str, os.PathLike)):
        yield PrivateKey.from_file(os.fspath(keys))
    elif callable(keys):
        found = keys(list(recipients))
        if found is not None:
            yield from _flatten(found, recipients, all_of_store)
    elif isinstance(keys, Iterable):
        for key in keys:
            yield from _flatten(key, recipients, all_of_store)
    else:
        raise TypeError(f"{type(keys).__name__} is not a private key, a file, a key store or a function")


def trusted_signer(
    signer: Signers, keys: Keys, found: str | None, allow_unknown_signer: bool
) -> PublicKey | None:
    """The public key that must have signed, for an artifact that names ``found`` as its signer."""
    if allow_unknown_signer:
        if signer is not None:
            raise ValueError("signer= and allow_unknown_signer=True contradict each other")
        return None
    signer = default("signer", signer)
    candidates = list(_public(signer)) if signer is not None else _signers_of_store(default("keys", keys))
    if not candidates:
        raise CasemateError(
            "nobody to trust: pass signer= with the publisher's public key, "
            "or allow_unknown_signer=True to open it without knowing who made it"
        )
    if found is None:
        raise VerificationError("the artifact is not signed")
    for key in candidates:
        if key.id == found:
            return key
    raise VerificationError(f"the artifact is signed by key {found[:16]}, which is not trusted here")


def _signers_of_store(keys: object) -> list[PublicKey]:
    if isinstance(keys, KeyStore):
        return [keys.public(row[1]) for row in keys.list() if row[2] == "sign"]
    return []


def _public(keys: object):
    if isinstance(keys, PublicKey):
        yield keys
    elif isinstance(keys, PrivateKey):
        yield keys.public_key
    elif isinstance(keys, (str, os.PathLike)):
        yield PublicKey.from_file(os.fspath(keys))
    elif isinstance(keys, Iterable):
        for key in keys:
            yield from _public(key)
    else:
        raise TypeError(f"{type(keys).__name__} is not a public key or a file of one")


def recipients(to: object) -> list[PublicKey]:
    """The public keys to seal to."""
    to = default("to", to)
    if to is None:
        raise CasemateError("no recipient: pass to=, or call casemate.configure(to=...)")
    return list(_public(to))


def signing_key(sign: object) -> PrivateKey | None:
    """The key that signs, if there is one."""
    sign = default("sign", sign)
    if sign is None or isinstance(sign, PrivateKey):
        return sign
    return PrivateKey.from_file(os.fspath(sign))
