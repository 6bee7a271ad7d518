"""Secure aggregation in Flower: a client mod and a strategy, for Flower's message API (tested with flwr 1.42).

The server learns the mean of the clients' updates and nothing else about any of them. Two lines change::

    app = ClientApp(mods=[casemate.flower.SecureAggregation()])                           # in the client app
    strategy = casemate.flower.SecureFedAvg(context, key="aggregator.pem", roster=...)    # in the server app

Each SuperNode names its member of the roster in its node config: ``casemate-name``, ``casemate-key``, ``casemate-roster``, ``casemate-policy`` and
``casemate-signer``, the last four being paths.

The app that a SuperNode runs comes from the SuperLink: start SuperNodes with ``--trusted-entities``, so that they run apps of publishers that you trust only.
An app of the server's choice could send whatever it reads.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from . import _keys, train
from ._casemate import (
    Aggregate,
    AggregationFloors,
    AggregationPolicy,
    AggregationRound,
    AggregationServer,
    CasemateError,
    PrivateKey,
    Roster,
)
from .train import AggregationClient

__all__ = ["SecureAggregation", "SecureFedAvg"]

#: Key of our records in messages and in a client's context.
_KEY = "casemate"
_VECTOR = "casemate-vector"
_MOD_FAILED_PRECONDITION = 6
#: How long it is kept on record that a state was used. Rounds take minutes.
_KEPT_SECONDS = 90 * 24 * 60 * 60
_log = logging.getLogger("flwr")


def _floats(arrays: ArrayRecord) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that are aggregated, in the order of their names: all of floating point."""
    found = {name: np.asarray(array.numpy()) for name, array in sorted(arrays.items())}
    for name, array in found.items():
        if array.dtype.kind not in "fiub":
            raise CasemateError(f"array {name!r} has elements of type {array.dtype}; convert them to float32")
    return {name: array for name, array in found.items() if array.dtype.kind == "f"}


def _flat(arrays: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    parts = [array.astype(np.float32, copy=False).reshape(-1) for array in arrays.values()]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _digest(content: RecordDict, message_type: str, context: Context) -> bytes:
    """Return the digest of everything that the training depends on: the model, and the settings in the message and of the run."""
    arrays: ArrayRecord = _only(content.array_records, "array record")
    records: dict[str, Any] = {**content.config_records, **content.metric_records}
    settings = {
        "type": message_type,
        "run": [context.run_id, _plain(context.run_config)],
        "message": {name: _plain(record) for name, record in records.items() if name != _KEY},
    }
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return train.model_digest({name: array.numpy() for name, array in arrays.items()}, text.encode())


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as JSON values, each with its type: 1, 1.0 and true are different settings."""

    def one(value: Any) -> Any:
        if isinstance(value, list):
            return [one(item) for item in value]
        return [type(value).__name__, value.hex() if isinstance(value, (bytes, float)) else value]

    return {name: one(value) for name, value in values.items()}


def _only(records: Mapping[str, Any], what: str) -> Any:
    if len(records) != 1:
        raise CasemateError(f"secure aggregation needs one {what} in a message, found {len(records)}")
    return next(iter(records.values()))


class SecureAggregation:
    """A mod for a ``ClientApp`` that masks the updates of its training.

    Arguments that are not given come from the SuperNode's node config: ``casemate-name`` (the member's name in the roster), ``casemate-key`` (its private
    key), ``casemate-roster``, ``casemate-policy``, and ``casemate-signer`` (the public key of whoever signed both); the last four are paths. ``floors`` is
    the weakest policy that this client takes part in (:func:`casemate.train.floors`).

    A request to train without secure aggregation is refused, and so is a round whose number is not higher than the last one that the client took part in.
    Clients that were sent different models or settings refuse each other. Metrics of the training stay on the client, except for its weight
    (``weighted_by_key``, at most the policy's largest), which is only revealed as part of the sum. Evaluation is passed on: metrics that an app returns from
    it are seen by the server.

    In ``state``, by default ``casemate/used-states`` in the user's state directory, a file is kept for each step that was taken, so that none is taken twice.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        key: _keys.Signing = None,
        roster: str | os.PathLike[str] | None = None,
        policy: str | os.PathLike[str] | None = None,
        signer: str | os.PathLike[str] | None = None,
        state: str | os.PathLike[str] | None = None,
        floors: AggregationFloors | None = None,
        weighted_by_key: str = "num-examples",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._given = {"name": name, "key": key, "roster": roster, "policy": policy, "signer": signer, "state": state}
        self._floors = floors
        self._weighted_by_key = weighted_by_key
        self._now = now

    def __call__(self, message: Message, context: Context, call_next: Callable[[Message, Context], Message]) -> Message:
        """Handle a message: train and mask, or pass it on if it is not about training."""
        request = message.content.config_records.get(_KEY) if message.has_content() else None
        if request is None:
            if message.metadata.message_type.split(".")[0] == MessageType.TRAIN:
                reason = "this client trains with secure aggregation only; use casemate.flower.SecureFedAvg on the server"
                return Message(Error(_MOD_FAILED_PRECONDITION, reason), reply_to=message)
            return call_next(message, context)
        try:
            return self._answer(message, request, context, call_next)
        except Exception as error:
            # The round is over for this client, and its secrets are not needed again.
            state = context.state.config_records.get(_KEY)
            for name in ("state", "update"):
                if state is not None and name in state:
                    del state[name]
            if not isinstance(error, (CasemateError, OSError)):
                raise
            return Message(Error(_MOD_FAILED_PRECONDITION, str(error)), reply_to=message)

    def _setting(self, name: str, context: Context) -> Any:
        given = self._given[name]
        if given is not None:
            return given
        found = context.node_config.get(f"casemate-{name}")
        if found is None:
            raise CasemateError(
                f"no {name} was given; set casemate-{name} in the SuperNode's node config, or pass {name}= to SecureAggregation"
            )
        return found if name == "name" else Path(str(found))

    def _job(self, context: Context) -> tuple[Roster, AggregationPolicy]:
        signer = self._setting("signer", context)
        roster = train.open_roster(Path(self._setting("roster", context)), signer=signer, now=int(self._now()))
        return roster, train.open_policy(Path(self._setting("policy", context)), roster, signer=signer)

    def _client(self, context: Context, number: int, model: bytes) -> AggregationClient:
        roster, policy = self._job(context)
        round_ = AggregationRound(roster, policy, number, model)
        key = self._setting("key", context)
        return AggregationClient(round_, me=self._setting("name", context), key=key, floors=self._floors)

    def _answer(
        self, message: Message, request: ConfigRecord, context: Context, call_next: Callable[[Message, Context], Message]
    ) -> Message:
        step, number, received = request.get("step"), request.get("round"), request.get("message", b"")
        if not isinstance(step, str) or not isinstance(number, int) or not isinstance(received, bytes):
            raise CasemateError("the server's request has no step, no round, or a message that is not bytes")
        if step == "train":
            return self._train(message, number, context, call_next)
        state = context.state.config_records.get(_KEY)
        if state is None or "state" not in state or state["round"] != number:
            raise CasemateError(f"this client is not in round {number}")
        client = self._client(context, number, bytes(state["model"]))  # type: ignore[arg-type]
        stored = bytes(state["state"])  # type: ignore[arg-type]
        del state["state"]
        # SuperNode sends a reply before it keeps the context, so the context alone cannot say that a state was used.
        self._use_once(stored, context)
        client.resume(stored)
        if step == "share":
            reply = client.share(received)
        elif step == "mask":
            update = np.frombuffer(bytes(state["update"]), np.float32)  # type: ignore[arg-type]
            reply = client.mask(received, update, int(state["weight"]))  # type: ignore[arg-type]
            del state["update"]
        elif step == "agree":
            reply = client.agree(received)
        elif step == "reveal":
            # That the state was used is recorded.
            reply = client.reveal(received, lambda: None)
            return _reply(message, reply)
        else:
            raise CasemateError(f"there is no step {step!r} in a round")
        state["state"] = client.state()
        return _reply(message, reply)

    def _train(
        self, message: Message, number: int, context: Context, call_next: Callable[[Message, Context], Message]
    ) -> Message:
        state = context.state.config_records.get(_KEY)
        last = int(state["round"]) if state is not None else 0  # type: ignore[arg-type]
        if number <= last:
            raise CasemateError(f"this client took part in round {last} and does not take part in round {number}")
        model = _digest(message.content, message.metadata.message_type, context)
        before = _floats(_only(message.content.array_records, "array record"))
        client = self._client(context, number, model)
        del message.content[_KEY]
        reply = call_next(message, context)
        if reply.has_error():
            return reply
        after = _floats(_only(reply.content.array_records, "array record"))
        if {name: array.shape for name, array in before.items()} != {name: array.shape for name, array in after.items()}:
            raise CasemateError("the trained arrays have other names or shapes than those of the message")
        update = _flat({name: after[name] - before[name] for name in before})
        if not np.isfinite(update).all():
            raise CasemateError("the trained arrays contain numbers that are not finite")
        context.state[_KEY] = ConfigRecord(
            {
                "round": number,
                "model": model,
                "weight": self._weight(reply, context),
                "update": update.tobytes(),
            }
        )
        advertisement = client.advertise(now=int(self._now()))
        context.state.config_records[_KEY]["state"] = client.state()
        return _reply(message, advertisement)

    def _use_once(self, state: bytes, context: Context) -> None:
        """Record durably that a state is used. Two uses would mask two updates alike, or answer twice."""
        chosen = self._given["state"] or context.node_config.get("casemate-state")
        default = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "casemate/used-states"
        folder = Path(str(chosen)) if chosen else default
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        oldest = self._now() - _KEPT_SECONDS
        for entry in os.scandir(folder):
            if entry.stat(follow_symlinks=False).st_mtime < oldest:
                os.unlink(entry)
        path = folder / hashlib.sha256(state).hexdigest()
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise CasemateError("this step of the round was already taken") from None
        holder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(holder)
        finally:
            os.close(holder)

    def _weight(self, reply: Message, context: Context) -> int:
        most = self._job(context)[1].parameters()["weight_max"]
        assert isinstance(most, int)
        if most == 1:
            return 1
        for metrics in reply.content.metric_records.values():
            if self._weighted_by_key in metrics:
                return max(1, min(most, round(metrics[self._weighted_by_key])))  # type: ignore[arg-type]
        raise CasemateError(f"the training reported no {self._weighted_by_key!r}, which the policy weights by")


def _reply(message: Message, reply: bytes) -> Message:
    # A masked update is as large as the model, and Flower transfers arrays in pieces.
    vector = ArrayRecord({"message": Array(np.frombuffer(reply, np.uint8))})
    return Message(RecordDict({_VECTOR: vector}), reply_to=message)


class SecureFedAvg(FedAvg):
    """``FedAvg`` over updates that the server cannot see: it receives their mean.

    ``context`` is that of the server app. ``key`` is the private key of the policy's aggregator, ``roster`` and ``policy`` are the signed files, and ``signer`` is the public key of whoever signed
    them. Every step after the training ends after ``step_timeout`` seconds, and clients that have not answered by then are left out. Arrays that are not of
    floating point, such as counters, keep the server's values. With noise in the policy, ``epsilon`` of the run so far, for ``delta``, is part of every round's
    metrics.

    The other arguments are those of :class:`flwr.serverapp.strategy.FedAvg`. Metrics of single clients are not received, and clients are not asked to evaluate
    unless ``fraction_evaluate`` is given: losses of models that the server chooses say much about the data.
    """

    def __init__(
        self,
        context: Context,
        *,
        key: _keys.Signing,
        roster: str | os.PathLike[str],
        policy: str | os.PathLike[str],
        signer: str | os.PathLike[str],
        step_timeout: float = 120.0,
        delta: float = 1e-5,
        **arguments: Any,
    ) -> None:
        public = Path(signer)
        self._roster = train.open_roster(Path(roster), signer=public)
        self._policy = train.open_policy(Path(policy), self._roster, signer=public)
        self._parameters: dict[str, Any] = self._policy.parameters()
        own = _keys.signing_key(key)
        if not isinstance(own, PrivateKey):
            raise CasemateError("no key was given; pass key= with the aggregator's private key")
        self._key = own
        self._context = context
        self._step_timeout = step_timeout
        self._delta = delta
        self._accountant = train.Accountant(self._policy) if self._parameters["noise"] else None
        self._grid: Grid | None = None
        self._arrays: ArrayRecord | None = None
        self._model = b""
        for name in ("weighted_by_key", "train_metrics_aggr_fn"):
            if name in arguments:
                raise TypeError(f"{name} has no use here: the server receives no metrics of single clients")
        for name in ("min_train_nodes", "min_available_nodes"):
            arguments.setdefault(name, self._parameters["cohort_min"])
        arguments.setdefault("fraction_evaluate", 0.0)
        super().__init__(**arguments)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask the clients to train and to advertise keys."""
        self._grid, self._arrays = grid, arrays
        messages = list(super().configure_train(server_round, arrays, config, grid))[: self._parameters["cohort_max"]]
        self._model = b""
        for message in messages:
            # All of them are sent the same.
            self._model = self._model or _digest(message.content, message.metadata.message_type, self._context)
            message.content[_KEY] = ConfigRecord({"step": "train", "round": server_round})
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Go through the steps of secure aggregation with the clients that have trained."""
        assert self._arrays is not None
        assert self._grid is not None
        if not self._model:
            return None, None
        round_ = AggregationRound(self._roster, self._policy, server_round, self._model)
        server = AggregationServer(round_, self._key)
        step = "train"
        try:
            nodes = self._collect(server, replies, {})
            for step in ("share", "mask", "agree", "reveal"):
                sent = server.close()
                assert isinstance(sent, dict)
                messages = [
                    self._request(nodes[name], step, server_round, message) for name, message in sent.items() if name in nodes
                ]
                answers = self._grid.send_and_receive(messages, timeout=self._step_timeout)
                self._collect(server, answers, nodes)
            aggregate = server.close()
        except CasemateError as error:
            _log.warning("secure aggregation of round %d failed: %s", server_round, error)
            if step == "reveal" and self._accountant is not None:
                # Shares were revealed, so the round counts.
                self._accountant.add_round(round_.noisy_clients(self._parameters["cohort_min"]))
            return None, None
        assert isinstance(aggregate, Aggregate)
        return self._add(aggregate), self._metrics(aggregate, round_)

    def _request(self, node: int, step: str, server_round: int, message: bytes) -> Message:
        record = ConfigRecord({"step": step, "round": server_round, "message": message})
        return Message(RecordDict({_KEY: record}), dst_node_id=node, message_type=MessageType.TRAIN)

    def _collect(self, server: AggregationServer, replies: Iterable[Message], nodes: dict[str, int]) -> dict[str, int]:
        """Hand replies to the server. Returns the nodes of the clients that answered, by name."""
        for reply in replies:
            node = reply.metadata.src_node_id
            if reply.has_error():
                _log.info("node %d is left out: %s", node, reply.error.reason)
                continue
            try:
                record = _only(reply.content.array_records, "array record")
                name = server.receive(record["message"].numpy().tobytes())
            except Exception as error:  # noqa: BLE001 - whatever a client sends, the others go on
                _log.warning("refused the message of node %d: %s: %s", node, type(error).__name__, error)
                continue
            nodes[name] = node
        return nodes

    def _add(self, aggregate: Aggregate) -> ArrayRecord:
        """Add the mean update to the model."""
        assert self._arrays is not None
        means, at = {}, 0
        for name, array in _floats(self._arrays).items():
            means[name] = aggregate.mean[at : at + array.size].reshape(array.shape).astype(array.dtype)
            at += array.size
        found = {name: array.numpy() for name, array in self._arrays.items()}
        sums = {name: array + means[name] if name in means else array for name, array in found.items()}
        return ArrayRecord({name: Array(np.asarray(array)) for name, array in sums.items()})

    def _metrics(self, aggregate: Aggregate, round_: AggregationRound) -> MetricRecord:
        clients = len(aggregate.survivors)
        metrics: dict[str, Any] = {"clients": clients, "dropped": len(aggregate.dropped), "weight": aggregate.weight}
        for name, of in aggregate.blamed:
            _log.warning("%s revealed a wrong share of %s", name, of)
        if self._accountant is not None:
            self._accountant.add_round(round_.noisy_clients(clients))
            metrics["epsilon"] = self._accountant.epsilon(self._delta)
        return MetricRecord(metrics)
