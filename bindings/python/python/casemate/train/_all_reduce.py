"""Masked all-reduce over ``torch.distributed``: gradients are summed by a library that neither encrypts nor authenticates, and that sees masks only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from .. import _keys
from .._casemate import CasemateError, MaskedReduction, MaskedRing, PreparedMasks, RingRendezvous, Roster
from ._channel import GradientChannel
from ._process_group import ProcessGroupLink

_NAME_BYTES = 64
#: Options of DistributedDataParallel with which it would send values in the clear, and why.
_REFUSED = {
    "init_sync": "the weights are sent through channels",
    "broadcast_buffers": "they would be sent in the clear",
    "forward_sync_buffers": "they would be sent in the clear",
    "delay_all_reduce_named_params": "their gradients would be sent in the clear",
    "param_to_hook_all_reduce": "its gradients would be sent in the clear",
    "process_group": "the ranks are those of connect()",
}


class MaskedAllReduce:
    """Averages tensors over all ranks of ``torch.distributed``, so that the network learns nothing and a changed byte stops the step.

    Every rank calls :meth:`connect`, and then wraps its model::

        reduce = MaskedAllReduce.connect(roster, me="rank-0", key="rank-0.pem")
        model = reduce.wrap(model)                   # in place of DistributedDataParallel(model)

    A session lives as long as this object. After an error it is over: ranks restart, and connect again. ``spec/masked-all-reduce.md`` specifies it.
    """

    def __init__(self, ring: MaskedRing, beside: tuple[GradientChannel, GradientChannel], groups: tuple[Any, Any]) -> None:
        self._ring = ring
        self._before, self._after = beside
        self._control, self._data = groups
        self._rank, self._size = dist.get_rank(), dist.get_world_size()
        self._turn = threading.Lock()
        # Reductions run in the order in which they were asked for, beside the backward pass.
        self._worker = ThreadPoolExecutor(1, "casemate-all-reduce")
        self._ahead = ThreadPoolExecutor(1, "casemate-masks")
        self._prepared: Future[PreparedMasks] | None = None
        self._words: dict[int, int] = {}
        self._error: str | None = None

    @classmethod
    def connect(
        cls, roster: Roster, *, me: str, key: _keys.Signing, pairs: bool = True, timeout: float = 300.0, now: int | None = None
    ) -> MaskedAllReduce:
        """Begin a session with all ranks of the default process group, each of which calls this, as the member ``me`` of ``roster`` with its private key.

        With ``pairs``, other ranks learn the sum only; without, a rank that records the network learns every rank's values. ``timeout`` is how many seconds
        to wait for another rank.

        Raises :class:`casemate.VerificationError` if a rank does not prove who it is.
        """
        rank, size = dist.get_rank(), dist.get_world_size()
        if size < 2:
            raise CasemateError("a masked all-reduce needs 2 or more ranks; use the model without it")
        wait = timedelta(seconds=timeout)
        control: Any = dist.new_group(backend="gloo", timeout=wait)
        data: Any = dist.new_group(timeout=wait)
        names = _names(me, size, control)
        if len(set(names)) != size:
            raise CasemateError(f"two ranks have the same name: {', '.join(sorted(names))}; give each rank its own member of the roster")
        previous, following = (rank - 1) % size, (rank + 1) % size

        def connect() -> GradientChannel:
            # Each edge of the ring has a tag of its own: two ranks have two edges.
            link = ProcessGroupLink(following, group=control, tag=following + 1)
            return GradientChannel.connect(link, roster, me=me, key=key, peer=names[following], now=now)

        def accept() -> GradientChannel:
            link = ProcessGroupLink(previous, group=control, tag=rank + 1)
            return GradientChannel.accept(link, roster, me=me, key=key, peer=names[previous], now=now)

        before, after = _in_turn(rank, accept, connect)
        rendezvous = RingRendezvous(roster, names, rank, pairs)
        for _ in range(size - 1):
            message = rendezvous.message(after.raw)
            receive, send = partial(before.link.receive, len(message)), partial(after.link.send, memoryview(message))
            received, _sent = _in_turn(rank, receive, send)
            rendezvous.receive(before.raw, bytes(received))
        return cls(rendezvous.finish(before.raw, after.raw), (before, after), (control, data))

    @property
    def names(self) -> list[str]:
        """The members, in the order of ranks."""
        return self._ring.names

    def wrap(self, module: torch.nn.Module, **options: Any) -> DistributedDataParallel:
        """Give every rank the weights of rank 0, through channels, and return the model for training, whose gradients are averaged by :meth:`average`.

        ``options`` are those of :class:`torch.nn.parallel.DistributedDataParallel`. Buffers, such as the statistics of a batch normalisation, stay those of
        each rank.
        """
        for name, reason in _REFUSED.items():
            if name in options:
                raise TypeError(f"{name} cannot be set: {reason}")
        self.synchronise(module)
        model = DistributedDataParallel(module, init_sync=False, broadcast_buffers=False, **options)
        # Without annotations, which torch compares with its own.
        model.register_comm_hook(self, lambda state, bucket: state._average_bucket(bucket))
        return model

    @torch.no_grad()
    def synchronise(self, module: torch.nn.Module) -> None:
        """Give every rank the parameters and buffers of rank 0."""
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            value = tensor.detach().to("cpu", copy=self._rank > 0).contiguous()
            if self._rank > 0:
                self._before.receive(value, name)
            if self._rank + 1 < self._size:
                self._after.send(value, name)
            if self._rank > 0:
                tensor.copy_(value)

    def average(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replace the elements of ``tensor`` by their means over all ranks, each of which calls this for a tensor of the same type and size. Returns ``tensor``.

        Elements are 32-bit floating point, or 16-bit, which is summed in 21 bits. Before it is rounded to its type, a mean differs from the exact one by at
        most 2**-31 (2**-20 for 16 bits) of the largest absolute value, times the number of ranks rounded up to a power of two.

        Raises :class:`casemate.VerificationError` on every rank if the sum was changed.
        """
        self._worker.submit(self._average, tensor, 0, 0).result()
        return tensor

    def close(self) -> None:
        """End the session, and forget its keys."""
        self._error = self._error or "it was closed"
        self._worker.shutdown()
        self._ahead.shutdown()

    def _average_bucket(self, bucket: Any) -> torch.futures.Future[torch.Tensor]:
        """Average one bucket of gradients beside the backward pass."""
        buffer, index = bucket.buffer(), bucket.index()
        following = 0 if bucket.is_last() else index + 1
        on_device = buffer.device.type != "cpu"
        found: torch.futures.Future[torch.Tensor] = torch.futures.Future(devices=[buffer.device] if on_device else None)
        ready = None
        if on_device:
            ready = torch.Event(buffer.device)
            ready.record()

        def work() -> None:
            try:
                if ready is not None:
                    ready.synchronize()
                self._average(buffer, index, following)
                found.set_result(buffer)
            except Exception as error:  # noqa: BLE001 - the backward pass raises it
                found.set_exception(error)  # type: ignore[arg-type]

        self._worker.submit(work)
        return found

    def _average(self, tensor: torch.Tensor, index: int, following: int) -> None:
        if self._error is not None:
            raise CasemateError(f"the session is over: {self._error}; restart the ranks, and connect again")
        try:
            self._reduce(tensor, index, following)
        except BaseException as error:
            self._error = f"{type(error).__name__}: {error}"
            raise

    def _reduce(self, tensor: torch.Tensor, index: int, following: int) -> None:
        lanes = _lanes_of(tensor)
        values = tensor.detach().reshape(-1).to("cpu", torch.float32)
        array = values.numpy()
        reduction, announcement = self._ring.begin(array, lanes)
        everywhere = reduction.agree(self._exchange(announcement))
        if everywhere is not None:
            tensor.detach().fill_(everywhere)
            return
        words = torch.empty(reduction.words, dtype=torch.int64)
        masked = words.numpy().view(np.uint64)
        tags = reduction.mask(array, self._take_prepared(), masked)
        on_device = words if dist.get_backend(self._data) == "gloo" else words.to(tensor.device)
        work = dist.all_reduce(on_device, group=self._data, async_op=True)
        self._words[index] = reduction.words
        self._prepare(self._words.get(following))
        assert work is not None
        work.wait()
        if on_device is not words:
            words.copy_(on_device)
        self._confirm(reduction, self._exchange(tags), masked, array)
        if array.ctypes.data != tensor.data_ptr():
            tensor.detach().copy_(values.reshape(tensor.shape))

    def _confirm(self, reduction: MaskedReduction, tags: list[bytes], masked: Any, out: Any) -> None:
        result = reduction.unmask(tags, masked, out)
        reduction.confirm(self._exchange(result))

    def _exchange(self, message: bytes) -> list[bytes]:
        """Send a message to all ranks. Returns those of all ranks, in their order."""
        own = torch.frombuffer(bytearray(message), dtype=torch.uint8)
        found = [torch.empty_like(own) for _ in range(self._size)]
        dist.all_gather(found, own, group=self._control)
        return [one.numpy().tobytes() for one in found]

    def _prepare(self, words: int | None) -> None:
        """Make the masks of the next reduction while the network is busy with this one."""
        if words is not None:
            self._prepared = self._ahead.submit(self._ring.prepare, self._ring.next_number, words)

    def _take_prepared(self) -> PreparedMasks | None:
        prepared, self._prepared = self._prepared, None
        return None if prepared is None else prepared.result()


def _lanes_of(tensor: torch.Tensor) -> int:
    if not tensor.is_contiguous() or tensor.layout is not torch.strided:
        raise CasemateError("the tensor is not contiguous; call .contiguous() first")
    lanes = {torch.float32: 2, torch.bfloat16: 3, torch.float16: 3}.get(tensor.dtype)
    if lanes is None:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CasemateError(f"tensors of type {kind} would lose precision; convert them to float32")
    return lanes


def _names(me: str, size: int, group: Any) -> list[str]:
    """Return the names that the ranks claim, which their handshakes then prove."""
    name = me.encode()
    if not 0 < len(name) <= _NAME_BYTES:
        raise CasemateError(f"a member's name has 1 to {_NAME_BYTES} characters, me= has {len(name)}")
    own = torch.frombuffer(bytearray(name.ljust(_NAME_BYTES, b"\0")), dtype=torch.uint8)
    found = [torch.empty_like(own) for _ in range(size)]
    dist.all_gather(found, own, group=group)
    return [bytes(one.numpy()).rstrip(b"\0").decode("ascii", "replace") for one in found]


def _in_turn(rank: int, before: Callable[[], Any], after: Callable[[], Any]) -> tuple[Any, Any]:
    """Act towards both neighbours in an order that does not have all ranks wait for each other."""
    if rank % 2:
        first = before()
        return first, after()
    second = after()
    return before(), second
