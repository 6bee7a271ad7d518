"""Answers of the program that several attacks expect. Their words are the program's own: the specification names classes only."""

from __future__ import annotations

from sealed_writer import KeyFile

NOT_SEALED_BY = "malformed artifact: it was sealed by {} and is signed by {}"
OTHER_VERSION = "{} is another version than the manifest says: its {} differs"
TOO_OLD = "revision {} is older than the least acceptable {}"
NO_REVISION = "a version without a revision is older than the least acceptable {}"
IS_A_LINK = "{} is a symbolic link"
IS_SPECIAL = "{} is neither a regular file nor a folder"
DANGEROUS, DANGEROUS_JSON = "run arbitrary code if loaded without weights_only", '"dangerous": true'


def hex_id(key: KeyFile | bytes) -> str:
    """A key id as the program shows it."""
    return (key if isinstance(key, bytes) else key.key_id).hex()


def sealed_by(publisher: KeyFile | None, signer: KeyFile | bytes) -> str:
    """The refusal of a signature by another key than the one that the header names."""
    return NOT_SEALED_BY.format(hex_id(publisher) if publisher else "nobody", hex_id(signer))
