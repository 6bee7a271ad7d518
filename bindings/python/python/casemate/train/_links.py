"""What carries messages between the two ends of a channel."""

from __future__ import annotations

import math
import queue
import select
import socket
import ssl
import struct
import time
from typing import Protocol

from .._casemate import CasemateError

_LENGTH = struct.Struct(">I")
#: A day. Links do not wait for ever.
_TIMEOUT_MAX = 24 * 60 * 60


class Link(Protocol):
    """Carries whole messages to the other end, in any way: write one for gRPC, MPI or a message broker."""

    def send(self, message: memoryview) -> None:
        """Send a message. The memory is used again after the call."""
        ...

    def receive(self, limit: int) -> bytes | bytearray | memoryview:
        """Return the next message. Raise an error for one of more than ``limit`` bytes, before allocating memory for it."""
        ...


class SocketLink:
    """Messages over a connected stream socket, each with its length in front of it.

    A message must be sent or received within ``timeout`` seconds, as a whole; after a failure in the middle of one, that direction cannot be used again. The
    socket remains the caller's, who closes it. Between processes, use :func:`socket.socketpair`.
    """

    def __init__(self, sock: socket.socket, *, timeout: float = 300.0) -> None:
        if isinstance(sock, ssl.SSLSocket):
            raise TypeError("a TLS socket cannot send and receive at once; pass a plain socket, the channel encrypts")
        self._socket = sock
        self._timeout = _seconds(timeout)
        self._partial = {select.POLLIN: False, select.POLLOUT: False}

    def send(self, message: memoryview) -> None:
        self._require_whole(select.POLLOUT)
        deadline = time.monotonic() + self._timeout
        # One call for both: two small packets in a row would wait for an acknowledgement.
        parts = [memoryview(_LENGTH.pack(len(message))), message]
        while parts:
            self._wait(select.POLLOUT, deadline)
            try:
                sent = self._socket.sendmsg(parts, [], socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            self._partial[select.POLLOUT] = True
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][sent:]
        self._partial[select.POLLOUT] = False

    def receive(self, limit: int) -> bytearray:
        self._require_whole(select.POLLIN)
        deadline = time.monotonic() + self._timeout
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline))
        if length > limit:
            raise CasemateError(f"the other end announced a message of {length} bytes, more than the {limit} that were expected")
        message = self._read(length, deadline)
        self._partial[select.POLLIN] = False
        return message

    def _require_whole(self, event: int) -> None:
        """Refuse to go on after half a message: the other end, or this one, would take what follows for its rest."""
        if self._partial[event]:
            raise ConnectionError("an earlier message failed half-way; make a new connection and a new channel")

    def _read(self, length: int, deadline: float) -> bytearray:
        message = bytearray(length)
        rest = memoryview(message)
        while rest:
            self._wait(select.POLLIN, deadline)
            try:
                count = self._socket.recv_into(rest, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            if count == 0:
                raise ConnectionError(f"the connection closed {len(rest)} bytes before the end of a message")
            self._partial[select.POLLIN] = True
            rest = rest[count:]
        return message

    def _wait(self, event: int, deadline: float) -> None:
        """Wait for one direction of the socket, whose own timeout the other direction may need."""
        poll = select.poll()
        poll.register(self._socket, event)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError(f"a message was not transferred within {self._timeout} seconds")


class QueueLink:
    """Messages over two queues between threads; ``queue.Queue(maxsize=...)`` bounds what waits in them.

    Do not use :class:`multiprocessing.Queue`: it unpickles whatever the other process sends. Use :class:`SocketLink` over :func:`socket.socketpair`.
    """

    def __init__(self, outgoing: queue.Queue[bytes], incoming: queue.Queue[bytes], *, timeout: float = 300.0) -> None:
        for one in (outgoing, incoming):
            if not isinstance(one, (queue.Queue, queue.SimpleQueue)):
                raise TypeError(f"{type(one).__module__}.{type(one).__name__} is no queue.Queue; use a SocketLink between processes")
        self._outgoing = outgoing
        self._incoming = incoming
        self._timeout = _seconds(timeout)

    def send(self, message: memoryview) -> None:
        try:
            self._outgoing.put(bytes(message), timeout=self._timeout)
        except queue.Full:
            raise TimeoutError(f"the queue had no room for a message for {self._timeout} seconds") from None

    def receive(self, limit: int) -> bytes:
        try:
            message = self._incoming.get(timeout=self._timeout)
        except queue.Empty:
            raise TimeoutError(f"no message came within {self._timeout} seconds") from None
        if not isinstance(message, bytes):
            raise CasemateError(f"the other end put an object of type {type(message).__name__} into the queue; expected bytes")
        if len(message) > limit:
            raise CasemateError(f"the other end sent a message of {len(message)} bytes, more than the {limit} that were expected")
        return message


def _seconds(timeout: float) -> float:
    if not isinstance(timeout, (int, float)) or not math.isfinite(timeout) or not 0 < timeout <= _TIMEOUT_MAX:
        raise ValueError(f"timeout must be a number of seconds, more than 0 and at most {_TIMEOUT_MAX}; got {timeout!r}")
    return timeout
