"""Models that are signed but not sealed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Union

from . import _casemate, _files, _keys

#: One or several paths.
_Paths = Union[str, "os.PathLike[str]", Iterable[Union[str, "os.PathLike[str]"]]]


def sign(
    model: str | os.PathLike[str],
    signature: str | os.PathLike[str] | None = None,
    *,
    sign: _keys.Signing = None,
    ignore: _Paths = (),
    follow_links: bool = False,
    policy: _keys.PathLike | None = None,
    force: bool = False,
) -> str:
    """Sign a model, a file or a folder, without sealing it. Returns the path of the signature, by default ``MODEL.sig``.

    ``sign`` is the publisher's private key. ``ignore`` lists files and folders in the model to leave out; git's own files are always left out.
    Symbolic links are refused, unless ``follow_links`` is set; then their targets are signed, as in the Hugging Face cache.
    The commands ``casemate verify``, ``mount`` and ``run`` accept the signature with ``--signature``.

    Raises :class:`CasemateError` or :class:`OSError`.
    """
    key = _keys.signing_key(sign)
    if key is None:
        raise _casemate.CasemateError("no key to sign with; pass sign=, or call casemate.configure(sign=...)")
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
        raise ValueError(f"the path {os.fspath(model)!r} has no file name; pass signature= with the path of the signature")
    return plain + ".sig"


def open_signed(
    model: str | os.PathLike[str],
    signature: str | os.PathLike[str] | None = None,
    *,
    signer: _keys.Signers = None,
    keys: _keys.Keys = None,
    ignore: _Paths = (),
    policy: _keys.PathLike | None = None,
) -> SignedModel:
    """Open a model, a file or a folder, that is signed but not sealed. Each part is checked before it is returned; opening does not hash the files.

    ``signature`` is the file from ``casemate sign``, by default ``MODEL.sig``. Its composite signature is verified, and the folder must contain exactly
    the signed files. Paths in ``ignore`` may contain other files, such as the cache of a download tool. ``signer`` is the expected signer; a key store in
    ``keys`` resolves names.

    Raises :class:`VerificationError`, :class:`CasemateError` or :class:`OSError`.
    """
    found = _casemate.ModelSignature.read(_signature_of(model, signature))
    named = _keys.policy_name(policy)
    refused: Exception | None = None
    # Use the first that verifies: anybody can add a signature with the id of any key.
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
    """An open signed model. Its files are read in place; a changed part is refused when it is read."""

    def __init__(self, model: _casemate.SignedModel) -> None:
        self._model = model
        self._sizes = dict(model.files)

    @property
    def name(self) -> str:
        """The publisher's name for the model; never use it as a path."""
        return self._model.name

    @property
    def files(self) -> list[str]:
        """Paths of the files, with ``/`` between components; ``.`` if the model is one file."""
        return list(self._sizes)

    def size(self, path: str = ".") -> int:
        """Length of one file, in bytes."""
        return self._sizes[path]

    def open(self, path: str = ".") -> _files.SignedFile:
        """Open one file. Raises :class:`KeyError` if there is no file with this path."""
        return _files.SignedFile(self.content(path))

    def content(self, path: str = ".") -> _casemate.SignedContent:
        """Open one file for reads at an offset."""
        return self._model.open_file(path)

    def __contains__(self, path: object) -> bool:
        return path in self._sizes

    def __repr__(self) -> str:
        return f"<casemate.SignedModel {len(self._sizes)} files>"
