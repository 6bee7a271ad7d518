"""Channels between ranks of ``torch.distributed``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._casemate import CasemateError

if TYPE_CHECKING:
    import torch.distributed


class ProcessGroupLink:
    """Messages to and from another rank, with ``send`` and ``recv`` of a process group that carries CPU tensors, such as gloo.

    ``rank`` is global. ``tag`` must be one that nothing else uses between the two ranks. Waits end with the process group's timeout.
    """

    def __init__(self, rank: int, *, group: torch.distributed.ProcessGroup | None = None, tag: int = 0) -> None:
        self._rank = rank
        self._group = group
        self._tag = tag

    def send(self, message: memoryview) -> None:
        import torch
        import torch.distributed as dist

        dist.send(torch.tensor([len(message)]), self._rank, self._group, self._tag)
        if len(message):
            dist.send(torch.frombuffer(_writable(message), dtype=torch.uint8), self._rank, self._group, self._tag)

    def receive(self, limit: int) -> memoryview:
        import torch
        import torch.distributed as dist

        length = torch.zeros(1, dtype=torch.int64)
        dist.recv(length, self._rank, self._group, self._tag)
        count = int(length)
        if not 0 <= count <= limit:
            raise CasemateError(
                f"rank {self._rank} announced a message of {count} bytes, more than the {limit} that were expected"
            )
        message = torch.empty(count, dtype=torch.uint8)
        if count:
            dist.recv(message, self._rank, self._group, self._tag)
        return message.numpy().data


def _writable(message: memoryview) -> memoryview:
    # torch takes memory that can be written only, which it does not do here. Handshake messages are small.
    return memoryview(bytearray(message)) if message.readonly else message
