"""Answers of the program that several attacks expect. The wording is the program's; the specification defines only classes of errors."""

from __future__ import annotations

from sealed_writer import KeyFile

NOT_SEALED_BY = "malformed artifact: the header names publisher {}, but the signature is by {}"
OTHER_VERSION = "{} is not the version in the manifest: its {} differs"
TOO_OLD = "revision {} is older than the minimum {}"
NO_REVISION = "the artifact has no revision; the minimum is {}"
IS_A_LINK = "{} is a symbolic link"
IS_SPECIAL = "{} is neither a regular file nor a folder"
DANGEROUS, DANGEROUS_JSON = "run arbitrary code if loaded without weights_only", '"dangerous": true'


def hex_id(key: KeyFile | bytes) -> str:
    """Return a key id as the program shows it."""
    return (key if isinstance(key, bytes) else key.key_id).hex()


def sealed_by(publisher: KeyFile | None, signer: KeyFile | bytes) -> str:
    """Return the refusal of a signature by a key other than the one in the header."""
    return NOT_SEALED_BY.format(hex_id(publisher) if publisher else "none", hex_id(signer))
