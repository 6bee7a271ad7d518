"""Channels that carry tensors between two members of a job."""

from __future__ import annotations

import threading
import time
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .. import _keys
from .._casemate import CasemateError, Channel, Initiator, PrivateKey, Responder, Roster, VerificationError
from ._links import Link
from ._tensor import readable, writable

#: Maximum length of a handshake message, in bytes.
_HANDSHAKE_MAX = 36_864
#: Bytes that a message is longer than its content.
OVERHEAD = 24

T = TypeVar("T")


class GradientChannel:
    """An encrypted channel to another member of a job, over any :class:`Link`.

    One end calls :meth:`connect`, the other :meth:`accept`. Then both send and receive tensors: NumPy arrays, torch, JAX and TensorFlow tensors in the
    machine's memory, without a copy and without the interpreter lock.

    Messages must arrive in order, each once. With ``window=`` (1 to 65,536), for links that lose or reorder messages, each is accepted once, if it is less
    than that many behind the newest.

    One thread may send while another receives.
    """

    def __init__(self, channel: Channel, link: Link | None = None) -> None:
        self._channel = channel
        self._link = link
        self._message = bytearray()
        self._sending = threading.Lock()

    @classmethod
    def connect(
        cls,
        link: Link,
        roster: Roster,
        *,
        me: str,
        key: _keys.Signing,
        peer: str,
        window: int | None = None,
        now: int | None = None,
    ) -> GradientChannel:
        """Establish a channel with the member ``peer``, which calls :meth:`accept` at its end of ``link``.

        ``me`` is this member's name in the roster, and ``key`` the private key that the roster gives it.

        Raises :class:`casemate.VerificationError` if the other end does not prove that it is ``peer``.
        """
        own = _own(key)
        initiator, hello = Initiator.start(roster, me, own, peer, _time(now))
        link.send(memoryview(hello))
        channel, finish = initiator.finish(roster, own, bytes(link.receive(_HANDSHAKE_MAX)), window)
        link.send(memoryview(finish))
        return cls(channel, link)

    @classmethod
    def accept(
        cls,
        link: Link,
        roster: Roster,
        *,
        me: str,
        key: _keys.Signing,
        peer: str | None = None,
        window: int | None = None,
        now: int | None = None,
    ) -> GradientChannel:
        """Establish a channel with the member that calls :meth:`connect` at the other end of ``link``: any member of the roster, or only ``peer``.

        Raises :class:`casemate.VerificationError` if the other end does not prove who it is, or is another member.
        """
        hello = bytes(link.receive(_HANDSHAKE_MAX))
        responder, answer = Responder.answer(roster, me, _own(key), hello, _time(now))
        link.send(memoryview(answer))
        channel = responder.finish(roster, bytes(link.receive(_HANDSHAKE_MAX)), window)
        if peer is not None and channel.peer != peer:
            raise VerificationError(f"expected {peer!r} at the other end, found {channel.peer!r}")
        return cls(channel, link)

    @property
    def peer(self) -> str:
        """The name of the member at the other end."""
        return self._channel.peer

    @property
    def id(self) -> bytes:
        """The channel's id, the same at both ends: 32 bytes."""
        return self._channel.id

    def send(self, tensor: Any, name: str = "") -> None:
        """Encrypt ``tensor`` and send it over the link. The receiver must expect the same ``name``, type and shape.

        Do not change the tensor during the call.
        """
        link = self.link
        view = readable(tensor)
        length = view.content.size + OVERHEAD
        with self._sending:
            if len(self._message) < length:
                self._message = bytearray(length)
            message = np.frombuffer(self._message, np.uint8, length)
            self._channel.seal_into(view.content, view.associated(name), message)
            link.send(memoryview(self._message)[:length])

    def receive(self, out: T, name: str = "") -> T:
        """Receive the next tensor from the link into ``out``, and return ``out``.

        Raises :class:`casemate.VerificationError` for a message that is not the next one, was changed, or holds a tensor of another name, type or shape;
        ``out`` then holds none of its content.
        """
        link = self.link
        length = writable(out).content.size + OVERHEAD
        self.open(link.receive(length), out, name)
        return out

    def seal(self, tensor: Any, name: str = "", out: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
        """Encrypt ``tensor`` and return the message, 24 bytes longer, to send it yourself. ``out`` is an array of that length to use."""
        view = readable(tensor)
        if out is None:
            out = np.empty(view.content.size + OVERHEAD, np.uint8)
        self._channel.seal_into(view.content, view.associated(name), out)
        return out

    def open(self, message: Any, out: T, name: str = "") -> T:
        """Decrypt a message that you received yourself into ``out``, and return ``out``. Raises the errors of :meth:`receive`."""
        view = writable(out)
        content = readable(message).content
        if content.size != view.content.size + OVERHEAD:
            raise VerificationError(
                f"{self.peer!r} sent a message of {content.size} bytes; "
                f"a tensor {view.dtype}{list(view.shape)} has {view.content.size + OVERHEAD}"
            )
        self._channel.open_into(content, view.associated(name), view.content)
        return out

    @property
    def link(self) -> Link:
        """The link that carries the messages."""
        if self._link is None:
            raise CasemateError("this channel has no link; use seal() and open()")
        return self._link

    def __repr__(self) -> str:
        return f"<GradientChannel with {self.peer}>"


def _own(key: _keys.Signing) -> PrivateKey:
    own = _keys.signing_key(key)
    if own is None:
        raise CasemateError("no key was given; pass key= with the private key that the roster gives this member")
    return own


def _time(now: int | None) -> int:
    return int(time.time()) if now is None else now
