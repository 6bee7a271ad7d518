"""Refusals, and a reader of core deterministic CBOR (spec section 5)."""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    "not-an-artifact", "version", "malformed", "limit", "suite", "no-recipient",
    "unsigned", "other-signer", "signature", "revision", "segment", "rejected", "owner",
]


class SealedError(Exception):
    """A refusal; `kind` is its class in section 9, or `revision` for a revision that section 5.1 refuses."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind: Kind = kind


def need(condition: bool, text: str, kind: Kind = "malformed") -> None:
    """Refuse unless `condition` is true."""
    if not condition:
        raise SealedError(kind, text)


class Cursor:
    """Reads core deterministic CBOR (section 5), only the types in the format, and checks each limit first."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, length: int) -> bytes:
        """Read the next `length` bytes."""
        need(length <= len(self.data) - self.at, "CBOR item is truncated")
        self.at += length
        return self.data[self.at - length : self.at]

    def argument(self, major: int) -> int:
        """Read the argument of an item of this major type, which must be definite and in its shortest form."""
        first = self.take(1)[0]
        need(first >> 5 == major, f"CBOR type {first >> 5} instead of {major}")
        info = first & 31
        if info < 24:
            return info
        need(info < 28, "indefinite or reserved CBOR length")
        width = 1 << (info - 24)
        value = int.from_bytes(self.take(width))
        need(value >= (24 if width == 1 else 1 << (4 * width)), "CBOR argument is not in its shortest form")
        return value

    def uint(self) -> int:
        """Read an unsigned integer."""
        return self.argument(0)

    def count(self, major: int, limit: int, what: str) -> int:
        """Read a length or number of elements within its limit."""
        value = self.argument(major)
        need(value <= limit, f"{what}: {value} is past {limit}", "limit")
        return value

    def bytes(self, limit: int, what: str, exact: bool = False) -> bytes:
        """Read a byte string of at most, or of exactly, `limit` bytes."""
        value = self.take(self.argument(2) if exact else self.count(2, limit, what))
        need(not exact or len(value) == limit, f"{what} has {len(value)} bytes, not {limit}")
        return value

    def text(self, limit: int, what: str) -> str:
        """Read a UTF-8 text string."""
        try:
            return self.take(self.count(3, limit, what)).decode("utf-8")
        except UnicodeDecodeError:
            raise SealedError("malformed", f"{what} is not UTF-8") from None

    def array(self, length: int, what: str) -> None:
        """Read the head of an array of exactly `length` elements."""
        need(self.argument(4) == length, f"{what} is not an array of {length}")

    def map(self, length: int, what: str) -> None:
        """Read the head of a map of exactly `length` entries."""
        need(self.argument(5) == length, f"{what} is not a map of {length}")

    def optional(self, number: int) -> bool:
        """Consume a map key if it is the next item; otherwise the caller must handle the next item."""
        found = self.data[self.at : self.at + 1] == bytes([number])  # below 24, so one byte is its only form
        self.at += found
        return found

    def scalar(self) -> None:
        """Skip an ignored value: an unsigned integer, a byte string or text."""
        major = self.data[self.at] >> 5 if self.at < len(self.data) else 0
        if major == 2:
            self.bytes(len(self.data), "ignored value")
        elif major == 3:
            self.text(len(self.data), "ignored value")
        else:
            self.uint()

    def key(self, number: int) -> None:
        """Read the map key that must be next, so that no key is missing, unknown, repeated or out of order."""
        need(self.uint() == number, f"map key {number} is not where it belongs")

    def null(self) -> bool:
        """Consume a null if it is the next item."""
        found = self.data[self.at : self.at + 1] == b"\xf6"
        self.at += found
        return found

    def end(self, what: str) -> None:
        """Refuse trailing bytes."""
        need(self.at == len(self.data), f"bytes after the {what}")
