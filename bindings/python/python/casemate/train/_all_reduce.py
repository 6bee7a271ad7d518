"""Masked all-reduce over ``torch.distributed``: gradients are summed by a library that neither encrypts nor authenticates, and that sees masks only."""

from __future__ import annotations

import inspect
import json
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from .. import _keys
from .._casemate import CasemateError, MaskedRing, RingRendezvous, RingUnmasker, Roster
from ._channel import GradientChannel
from ._process_group import ProcessGroupLink

_NAME_BYTES = 64
#: Words that are handed to the library at once, a multiple of 1,024.
_PIECE_WORDS = 1 << 18
#: Elements of a weight that are sent at once.
_SENT_AT_ONCE = 1 << 22
#: Tensors that are on their way at once.
_AT_ONCE = 2
#: Options of DistributedDataParallel with which it would send values in the clear, and why.
_REFUSED = {
    "init_sync": "the weights are sent through channels",
    "broadcast_buffers": "they would be sent in the clear",
    "forward_sync_buffers": "they would be sent in the clear",
    "delay_all_reduce_named_params": "their gradients would be sent in the clear",
    "param_to_hook_all_reduce": "its gradients would be sent in the clear",
    "find_unused_parameters": "which parameters were used would be sent in the clear, and could be changed",
    "skip_all_reduce_unused_params": "which parameters were used would be sent in the clear, and could be changed",
    "process_group": "the ranks are those of connect()",
    "device_mesh": "the ranks are those of connect()",
}


class _Parallel(DistributedDataParallel):
    """``DistributedDataParallel`` without what sends values in the clear."""

    def join(self, *_: Any, **__: Any) -> Any:
        raise CasemateError("join() sends weights in the clear; give every rank the same number of batches")

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> Any:
        # DistributedDataParallel asks a module for this before it sends anything.
        raise CasemateError(
            "this model is wrapped by MaskedAllReduce, and another DistributedDataParallel around it would send weights in the clear; "
            "Trainer and Accelerate add one: use a training loop of your own"
        )


class MaskedAllReduce:
    """Averages tensors over all ranks of ``torch.distributed``, so that the network learns nothing and a changed byte stops the step.

    Every rank calls :meth:`connect`, and then wraps its model::

        reduce = MaskedAllReduce.connect(roster, me="rank-0", key="./rank-0.pem")
        model = reduce.wrap(model)                   # in place of DistributedDataParallel(model)

    A session lives as long as this object. After an error it is over: ranks restart, and connect again. ``spec/masked-all-reduce.md`` specifies it.
    """

    def __init__(self, ring: MaskedRing, beside: tuple[GradientChannel, GradientChannel], groups: tuple[Any, Any, Any]) -> None:
        self._ring = ring
        self._before, self._after = beside
        # Two threads, each of which uses a group of its own for its messages, in the same order on all ranks.
        self._announcements, self._results, self._data = groups
        self._rank, self._size = dist.get_rank(), dist.get_world_size()
        self._masking = ThreadPoolExecutor(1, "casemate-mask")
        self._unmasking = ThreadPoolExecutor(1, "casemate-unmask")
        self._room = threading.Semaphore(_AT_ONCE)
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
        results: Any = dist.new_group(backend="gloo", timeout=wait)
        data = dist.new_group(timeout=wait)
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
        channels = before._channel, after._channel
        rendezvous = RingRendezvous(roster, names, rank, pairs)
        for _ in range(size - 1):
            message = rendezvous.message(channels[1])
            receive, send = partial(before.link.receive, len(message)), partial(after.link.send, memoryview(message))
            received, _sent = _in_turn(rank, receive, send)
            rendezvous.receive(channels[0], bytes(received))
        return cls(rendezvous.finish(*channels), (before, after), (control, results, data))

    @property
    def names(self) -> list[str]:
        """The members, in the order of ranks."""
        return self._ring.names

    def wrap(self, module: torch.nn.Module, **options: Any) -> DistributedDataParallel:
        """Give every rank the weights of rank 0, through channels, and return the model for training, whose gradients are averaged as by :meth:`average`.

        ``options`` are those of :class:`torch.nn.parallel.DistributedDataParallel`. Buffers, such as the statistics of a batch normalisation, stay those of
        each rank.
        """
        if any(isinstance(part, DistributedDataParallel) for part in module.modules()):
            raise TypeError("the model contains a DistributedDataParallel, which sends in the clear or is wrapped already; pass the plain model")
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                _check_type(parameter, f"parameter {name}")
        for name, reason in _REFUSED.items():
            if name in options:
                raise TypeError(f"{name} cannot be set: {reason}")
        for name, part in module.named_modules():
            if isinstance(part, torch.nn.SyncBatchNorm):
                raise TypeError(f"{name} is a SyncBatchNorm, which sends values in the clear; use BatchNorm")
        self.synchronise(module)
        # The name of the option that replaces broadcast_buffers in newer versions of torch.
        known = inspect.signature(DistributedDataParallel).parameters
        options["forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"] = False
        model = _Parallel(module, init_sync=False, **options)
        names = {id(parameter): name for name, parameter in module.named_parameters()}

        def average(state: Any, bucket: Any) -> Any:
            parts = [[names[id(parameter)], list(parameter.shape)] for parameter in bucket.parameters()]
            return state._average_bucket(bucket, ["bucket", bucket.index(), parts])

        # torch compares annotations with its own.
        average.__annotations__ = {}
        model.register_comm_hook(self, average)
        return model

    @torch.no_grad()
    def synchronise(self, module: torch.nn.Module) -> None:
        """Give every rank the parameters and buffers of rank 0."""
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            value = tensor.detach().to("cpu", copy=self._rank > 0).contiguous()
            # In parts: a message of a channel has a limit, and a rank sends on what it has received.
            for at, part in enumerate(torch.split(value.reshape(-1), _SENT_AT_ONCE)):
                label = f"{name} {list(value.shape)} {at}"
                if self._rank > 0:
                    self._before.receive(part, label)
                if self._rank + 1 < self._size:
                    self._after.send(part, label)
            if self._rank > 0:
                tensor.copy_(value)

    def average(self, tensor: torch.Tensor, name: str = "") -> torch.Tensor:
        """Replace the elements of ``tensor`` with their means over all ranks, each of which calls this for a tensor of the same name, type and shape. Returns
        ``tensor``.

        Elements are 32-bit floating point, or 16-bit, which is summed in 21 bits. Before it is rounded to its type, a mean differs from the exact one by at
        most 2**-31 (2**-20 for 16 bits) of the largest absolute value, times the number of ranks rounded up to a power of two.

        Raises :class:`casemate.VerificationError` on every rank if the sum was changed; the tensor then holds no numbers.
        """
        _lanes_of(tensor)
        self._start(tensor, ["tensor", name, list(tensor.shape)]).result()
        return tensor

    def close(self) -> None:
        """End the session, and forget its keys."""
        self._error = self._error or "it was closed"
        for pool in (self._masking, self._unmasking):
            pool.shutdown()
        del self._ring, self._before, self._after
        for group in (self._announcements, self._results, self._data):
            dist.destroy_process_group(group)

    def _average_bucket(self, bucket: Any, label: list[Any]) -> torch.futures.Future[torch.Tensor]:
        """Average one bucket of gradients while the backward pass goes on."""
        buffer = bucket.buffer()
        on_device = buffer.device.type != "cpu"
        found: torch.futures.Future[torch.Tensor] = torch.futures.Future(devices=[buffer.device] if on_device else None)

        def done(finished: Future[None]) -> None:
            error = finished.exception()
            if error is None:
                found.set_result(buffer)
            else:
                # torch takes nothing else.
                failed = error if isinstance(error, Exception) else RuntimeError(str(error))
                found.set_exception(failed)  # type: ignore[arg-type]

        try:
            self._start(buffer, label).add_done_callback(done)
        except Exception as error:  # noqa: BLE001 - the backward pass raises it
            found.set_exception(error)  # type: ignore[arg-type]
        return found

    def _start(self, tensor: torch.Tensor, label: list[Any]) -> Future[None]:
        lanes = _lanes_of(tensor)
        self._require_session()
        job = _Job(tensor, lanes, json.dumps(label, separators=(",", ":")).encode())
        self._masking.submit(self._step, job, self._mask)
        return job.finished

    def _require_session(self) -> None:
        if self._error is not None:
            raise CasemateError(f"the session is over: {self._error}; restart the ranks, and connect again")

    def _step(self, job: _Job, step: Callable[[_Job], None]) -> None:
        """Take a step of a job. After an error, the session is over, and every later job gets an error."""
        try:
            self._require_session()
            step(job)
        except BaseException as error:  # noqa: BLE001 - whoever waits for the job raises it
            self._error = self._error or f"{type(error).__name__}: {error}"
            try:
                # Whatever was written by then must not pass for a mean.
                job.tensor.detach().fill_(math.nan)
            finally:
                job.finish(error)

    def _mask(self, job: _Job) -> None:
        """Announce a vector, and hand it to the library piece by piece, while the pieces before are on their way."""
        self._room.acquire()
        job.at_end = self._room.release
        values = job.load()
        reduction, announcement = self._ring.begin(values, job.lanes, job.label)
        agreed = reduction.agree(self._exchange(announcement, self._announcements))
        if not isinstance(agreed, tuple):
            job.tensor.detach().fill_(agreed)
            job.finish()
            return
        masker, job.unmasker = agreed
        words = torch.empty(reduction.words, dtype=torch.int64)
        for at in range(0, reduction.words, _PIECE_WORDS):
            piece = words[at : at + _PIECE_WORDS]
            covered = values[at * job.lanes : (at + _PIECE_WORDS) * job.lanes]
            masker.next(covered, _unsigned(piece))
            moved = piece if dist.get_backend(self._data) == "gloo" else piece.to(job.tensor.device)
            work = dist.all_reduce(moved, group=self._data, async_op=True)
            job.pieces.append((work, moved, piece, covered))
        tags = masker.finish()
        self._unmasking.submit(self._step, job, self._unmask)
        # While the sums are on their way. The thread that unmasks them has the job now, and raises what goes wrong.
        try:
            job.tags.set_result(self._exchange(tags, self._announcements))
        except BaseException as error:  # noqa: BLE001
            job.tags.set_exception(error)

    def _unmask(self, job: _Job) -> None:
        """Wait for the sums, check them, and tell the other ranks."""
        assert job.unmasker is not None
        for work, moved, piece, covered in job.pieces:
            work.wait()
            if moved is not piece:
                piece.copy_(moved)
            job.unmasker.next(_unsigned(piece), covered)
        confirmation, result = job.unmasker.finish(job.tags.result())
        confirmation.confirm(self._exchange(result, self._results))
        job.store()
        job.finish()

    def _exchange(self, message: bytes, group: Any) -> list[bytes]:
        """Send a message to all ranks. Returns those of all ranks, in their order."""
        own = torch.frombuffer(bytearray(message), dtype=torch.uint8)
        found = [torch.empty_like(own) for _ in range(self._size)]
        dist.all_gather(found, own, group=group)
        return [one.numpy().tobytes() for one in found]


class _Job:
    """A tensor on its way."""

    def __init__(self, tensor: torch.Tensor, lanes: int, label: bytes) -> None:
        self.tensor, self.lanes, self.label = tensor, lanes, label
        self.finished: Future[None] = Future()
        self.unmasker: RingUnmasker | None = None
        #: The messages of all ranks.
        self.tags: Future[list[bytes]] = Future()
        #: What waits for each piece, its words where the library has them and here, and its values.
        self.pieces: list[tuple[Any, torch.Tensor, torch.Tensor, npt.NDArray[np.float32]]] = []
        self.at_end: Callable[[], None] = lambda: None
        self._values = torch.empty(0)
        self._ready: torch.Event | None = None
        if tensor.device.type != "cpu":
            # Recorded where the tensor is computed, awaited by the thread that masks it.
            self._ready = torch.Event(tensor.device)
            self._ready.record()

    def load(self) -> npt.NDArray[np.float32]:
        """Return the elements as an array, which is the tensor itself if it is of that type and here."""
        if self._ready is not None:
            self._ready.synchronize()
        self._values = self.tensor.detach().reshape(-1).to("cpu", torch.float32)
        return self._values.numpy()

    def store(self) -> None:
        """Write the array's elements to the tensor."""
        if self._values.data_ptr() != self.tensor.data_ptr():
            self.tensor.detach().copy_(self._values.reshape(self.tensor.shape))

    def finish(self, error: BaseException | None = None) -> None:
        self.at_end()
        self.pieces.clear()
        if error is None:
            self.finished.set_result(None)
        else:
            self.finished.set_exception(error)


def _unsigned(words: torch.Tensor) -> npt.NDArray[np.uint64]:
    return words.numpy().view(np.uint64)


def _lanes_of(tensor: torch.Tensor) -> int:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"expected a torch tensor, got {type(tensor).__name__}")
    if tensor.layout is not torch.strided or not tensor.is_contiguous():
        raise CasemateError("the tensor is not contiguous; call .contiguous() first")
    if not tensor.numel():
        raise CasemateError("the tensor has no elements")
    return _check_type(tensor, "the tensor")


def _check_type(tensor: torch.Tensor, what: str) -> int:
    """Return the lanes for a tensor's type."""
    lanes = {torch.float32: 2, torch.bfloat16: 3, torch.float16: 3}.get(tensor.dtype)
    if lanes is None:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CasemateError(f"{what} has the type {kind}, which would lose precision; convert it to float32")
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
