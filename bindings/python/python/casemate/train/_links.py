"""What carries messages between the two ends of a channel."""

from __future__ import annotations

import queue
import select
import socket
import struct
import time
from typing import Protocol

from .._casemate import CasemateError

_LENGTH = struct.Struct(">I")


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

    A message must be sent or received within ``timeout`` seconds, as a whole. The socket remains the caller's, who closes it.
    """

    def __init__(self, sock: socket.socket, *, timeout: float = 300.0) -> None:
        self._socket = sock
        self._timeout = timeout

    def send(self, message: memoryview) -> None:
        deadline = time.monotonic() + self._timeout
        # One call for both: two small packets in a row would wait for an acknowledgement.
        parts = [memoryview(_LENGTH.pack(len(message))), message]
        while parts:
            self._wait(select.POLLOUT, deadline)
            try:
                sent = self._socket.sendmsg(parts, [], socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][sent:]

    def receive(self, limit: int) -> bytearray:
        deadline = time.monotonic() + self._timeout
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline))
        if length > limit:
            raise CasemateError(f"the other end announced a message of {length} bytes, more than the {limit} that were expected")
        return self._read(length, deadline)

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
    """Messages over two queues with ``put`` and ``get``, such as :class:`queue.Queue` or :class:`multiprocessing.Queue`."""

    def __init__(self, outgoing: queue.Queue[bytes], incoming: queue.Queue[bytes], *, timeout: float = 300.0) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._timeout = timeout

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
        if len(message) > limit:
            raise CasemateError(f"the other end sent a message of {len(message)} bytes, more than the {limit} that were expected")
        return message
