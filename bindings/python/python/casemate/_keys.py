"""Which keys open, and whose signature counts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Union

from . import _casemate
from ._casemate import CasemateError, KeyStore, PrivateKey, PublicKey, TrustList, VerificationError

PathLike = Union[str, "os.PathLike[str]"]
#: A private key, a PEM file of one (a :class:`pathlib.Path`, or text with a ``/``), a name or full id of a key in a key store that is given as well, a key store, a function from the recipients' key ids to one of these, or several of all that.
Keys = Union[PrivateKey, PathLike, KeyStore, Callable[[list[str]], object], Iterable[object], None]
#: A public key, a PEM file of one (a :class:`pathlib.Path`, or text with a ``/``), a name or full id of a key in the key store given by ``keys``, a trust
#: file (:class:`TrustList`), or several of these.
Signers = Union[PublicKey, TrustList, PathLike, Iterable[object], None]

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


def policy_name(given: str | os.PathLike[str] | None) -> str | None:
    """The policy asked for: the argument or :func:`configure`. ``None`` lets the environment decide, as the command does: ``CASEMATE_POLICY``, what
    ``PQC_KEY_MANAGEMENT`` says, or ``hybrid``. Text with a ``/`` and a :class:`pathlib.Path` name a policy file, a bare word a built-in policy."""
    chosen = given or _defaults.get("policy")
    if chosen is None or isinstance(chosen, str):
        return chosen
    return _path(chosen)


def _path(path: os.PathLike[str]) -> str:
    """A path object as text that cannot be taken for a name."""
    return os.path.join(os.curdir, os.fspath(path))


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
        secret = _casemate.read_passphrase(passphrase)
    return KeyStore.unlock(os.fspath(home), secret)


def opening_keys(keys: Keys, recipients: list[str], *, all_of_store: bool = False) -> list[PrivateKey]:
    """The private keys among ``keys`` that are worth trying for an artifact sealed to ``recipients``.

    With ``all_of_store`` a key store gives every key that opens: while recipients of a folder are being changed, its files have different ones.
    """
    keys = default("keys", keys)
    if keys is None:
        raise CasemateError("no key to open with: pass keys=, or call casemate.configure(keys=...)")
    return list(_flatten(keys, recipients, all_of_store, _store_in(keys)))


def _store_in(keys: object) -> KeyStore | None:
    """The key store among ``keys``, in which names are looked up."""
    if isinstance(keys, KeyStore):
        return keys
    if isinstance(keys, (list, tuple, set, frozenset)):
        return next((key for key in keys if isinstance(key, KeyStore)), None)
    return None


def _flatten(keys: object, recipients: list[str], all_of_store: bool, store: KeyStore | None):
    if isinstance(keys, PrivateKey):
        yield keys
    elif isinstance(keys, KeyStore):
        for _name, key_id, kind, _suite, private in keys.list():
            if private and kind == "kem" and (all_of_store or key_id in recipients):
                yield keys.private(key_id)
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
    """The public key that must have signed, for an artifact that names ``found`` as its signer."""
    if allow_unknown_signer:
        if signer is not None:
            raise ValueError("signer= and allow_unknown_signer=True contradict each other")
        return None
    candidates = _trusted(signer, keys)
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
    raise VerificationError(f"the artifact names key {found} as its signer, which is not trusted here")


def trusted_model_signers(signer: Signers, keys: Keys, found: list[str]) -> list[PublicKey]:
    """The public keys of which one must have signed a model, for a signature that names the keys ``found``, in its order."""
    candidates = _trusted(signer, keys)
    if not candidates:
        raise CasemateError("nobody to trust: pass signer= with the publisher's public key")
    trusted = [key for named in found for key in candidates if key.id == named]
    if trusted:
        return trusted
    named = f"key {', '.join(found)}" if found else "a classical key only"
    raise VerificationError(f"the model is signed by {named}, which is not trusted here")


def _trusted(signer: Signers, keys: Keys) -> list[PublicKey]:
    signer = default("signer", signer)
    keys = default("keys", keys)
    return list(_public(signer, _store_in(keys))) if signer is not None else _signers_of_store(keys)


def _signers_of_store(keys: object) -> list[PublicKey]:
    if isinstance(keys, KeyStore):
        return [keys.public(row[1]) for row in keys.list() if row[2] == "sign"]
    return []


def _public(keys: object, store: KeyStore | None):
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


def public_keys(keys: object) -> list[PublicKey]:
    """Public keys, files of them, and names in the configured key store."""
    return list(_public(keys, _store_in(default("keys", None))))


def recipients(to: object) -> list[PublicKey]:
    """The public keys to seal to."""
    to = default("to", to)
    if to is None:
        raise CasemateError("no recipient: pass to=, or call casemate.configure(to=...)")
    return public_keys(to)


def signing_key(sign: object) -> PrivateKey | None:
    """The key that signs, if there is one."""
    sign = default("sign", sign)
    if sign is None or isinstance(sign, PrivateKey):
        return sign
    if isinstance(sign, str):
        return PrivateKey.named(sign, _store_in(default("keys", None)))
    return PrivateKey.from_file(sign)
