"""Models that are signed and not sealed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Union

from . import _casemate, _files, _keys

#: One path, or several.
_Paths = Union[str, "os.PathLike[str]", Iterable[Union[str, "os.PathLike[str]"]]]


def sign(
    model: str | os.PathLike[str],
    signature: str | os.PathLike[str] | None = None,
    *,
    sign: object = None,
    ignore: _Paths = (),
    follow_links: bool = False,
    policy: str | None = None,
    force: bool = False,
) -> str:
    """Sign a model that stays readable, a file or a folder. Returns the path of the signature, by default ``MODEL.sig``.

    ``sign`` is the publisher's private key; ``ignore`` names files and folders below the model to leave out, as git's own always are.
    Links are refused, or with ``follow_links`` the files that they lead to are signed, as in the cache of Hugging Face.
    The commands ``casemate verify``, ``mount`` and ``run`` take it with ``--signature``.

    Raises :class:`CasemateError` or :class:`OSError`.
    """
    key = _keys.signing_key(sign)
    if key is None:
        raise _casemate.CasemateError("no key to sign with: pass sign=, or call casemate.configure(sign=...)")
    target = _signature_of(model, signature)
    _casemate.sign_model(
        os.fspath(model), target, key, ignore=_paths(ignore), follow_links=follow_links, policy=_keys.policy_name(policy), force=force
    )
    return target


def _signature_of(model: str | os.PathLike[str], given: str | os.PathLike[str] | None) -> str:
    if given is not None:
        return os.fspath(given)
    plain = os.path.normpath(os.fspath(model))
    if os.path.basename(plain) in ("", ".", ".."):
        raise ValueError(f"the path {os.fspath(model)!r} has no name: say where the signature is")
    return plain + ".sig"


def open_signed(
    model: str | os.PathLike[str],
    signature: str | os.PathLike[str] | None = None,
    *,
    signer: _keys.Signers = None,
    keys: _keys.Keys = None,
    ignore: _Paths = (),
    policy: str | None = None,
) -> SignedModel:
    """Open a model that is signed and not sealed, a file or a folder: nothing is hashed yet, and every part is checked before it is given out.

    ``signature`` is what ``casemate sign`` wrote, by default ``MODEL.sig``. Its composite signature is verified, and the folder must have
    exactly the files that were signed, and below the paths ``ignore`` may have others, such as a download tool's cache. ``signer`` says whom to trust; names are looked up in a key store among ``keys``.

    Raises :class:`VerificationError`, :class:`CasemateError` or :class:`OSError`.
    """
    found = _casemate.ModelSignature.read(_signature_of(model, signature))
    named = _keys.policy_name(policy)
    refused: Exception | None = None
    # The first that did sign: anybody can add a signature with any key's id.
    for trusted in _keys.trusted_model_signers(signer, keys, found.signers):
        try:
            found.verify(trusted, named)
        except _casemate.CasemateError as error:
            refused = error
            continue
        return SignedModel(found.open(os.fspath(model), trusted, _paths(ignore), named))
    assert refused is not None
    raise refused


def _paths(paths: _Paths) -> list[str | os.PathLike[str]]:
    return [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)


class SignedModel:
    """A signed model, opened. Its files are read where they are; what was changed is refused when it is read."""

    def __init__(self, model: _casemate.SignedModel) -> None:
        self._model = model
        self._sizes = dict(model.files)

    @property
    def name(self) -> str:
        """The model's name, as its publisher has it; never use it as a path."""
        return self._model.name

    @property
    def files(self) -> list[str]:
        """Paths of the files, with ``/`` between components; ``.`` if the model is one file."""
        return list(self._sizes)

    def size(self, path: str = ".") -> int:
        """Length of one file, in bytes."""
        return self._sizes[path]

    def open(self, path: str = ".") -> _files.SignedFile:
        """Open one file; :class:`KeyError` if there is none of this path."""
        return _files.SignedFile(self.content(path))

    def content(self, path: str = ".") -> _casemate.SignedContent:
        """Open one file for reads at an offset."""
        return self._model.open_file(path)

    def __contains__(self, path: object) -> bool:
        return path in self._sizes

    def __repr__(self) -> str:
        return f"<casemate.SignedModel {len(self._sizes)} files>"
