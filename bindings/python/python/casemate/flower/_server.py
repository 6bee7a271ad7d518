"""The strategy of a server app."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from .. import _keys, train
from .._casemate import Aggregate, AggregationRound, AggregationServer, CasemateError, PrivateKey
from . import _messages
from ._messages import KEY, log


class _Without:
    """A grid without some of its nodes."""

    def __init__(self, grid: Grid, nodes: set[int]) -> None:
        self._grid = grid
        self._nodes = nodes

    def get_node_ids(self) -> list[int]:
        return [node for node in self._grid.get_node_ids() if node not in self._nodes]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grid, name)


class SecureFedAvg(FedAvg):
    """``FedAvg`` over updates that the server cannot see: it receives their mean.

    ``context`` is that of the server app. ``key`` is the private key of the policy's aggregator, ``roster`` and ``policy`` are the signed files, and ``signer``
    is the public key of whoever signed them. Every step after the training ends after ``step_timeout`` seconds, and clients that have not answered by then are
    left out. A client that revealed a wrong share is left out of later rounds, and a warning names it. Arrays that are not of floating point, such as counters,
    keep the server's values. With noise in the policy, ``epsilon`` of the run so far, for ``delta``, is part of every round's metrics.

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
        self._left_out: set[int] = set()
        # Fails now, not after the first training, if the key is another one.
        AggregationServer(AggregationRound(self._roster, self._policy, 1, bytes(48)), own)
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
        _messages.require_length(_messages.floats(arrays), self._parameters)
        others: Grid = _Without(grid, self._left_out)  # type: ignore[assignment]
        messages = list(super().configure_train(server_round, arrays, config, others))[: self._parameters["cohort_max"]]
        self._model = b""
        for message in messages:
            # All of them are sent the same.
            self._model = self._model or _messages.model_digest(message, self._context)
            message.content[KEY] = ConfigRecord({"step": "train", "round": server_round})
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
            log.warning("secure aggregation of round %d failed: %s", server_round, error)
            if step == "reveal" and self._accountant is not None:
                # Shares were revealed, so the round counts.
                self._accountant.add_round(round_.noisy_clients(self._parameters["cohort_min"]))
            return None, None
        assert isinstance(aggregate, Aggregate)
        for name, of in aggregate.blamed:
            log.warning("%s revealed a wrong share of %s, and is left out from now on", name, of)
            self._left_out.add(nodes[name])
        return self._add(aggregate), self._metrics(aggregate, round_)

    def _request(self, node: int, step: str, server_round: int, message: bytes) -> Message:
        record = ConfigRecord({"step": step, "round": server_round, "message": message})
        return Message(RecordDict({KEY: record}), dst_node_id=node, message_type=MessageType.TRAIN)

    def _collect(self, server: AggregationServer, replies: Iterable[Message], nodes: dict[str, int]) -> dict[str, int]:
        """Hand replies to the server. Returns the nodes of the clients that answered, by name."""
        for reply in replies:
            node = reply.metadata.src_node_id
            if reply.has_error():
                log.info("node %d is left out: %s", node, reply.error.reason)
                continue
            try:
                name = server.receive(_messages.unpack(reply))
            except Exception as error:  # noqa: BLE001 - whatever a client sends, the others go on
                log.warning("refused the message of node %d: %s: %s", node, type(error).__name__, error)
                continue
            nodes[name] = node
        return nodes

    def _add(self, aggregate: Aggregate) -> ArrayRecord:
        """Add the mean update to the model."""
        assert self._arrays is not None
        means, at = {}, 0
        for name, array in _messages.floats(self._arrays).items():
            means[name] = aggregate.mean[at : at + array.size].reshape(array.shape).astype(array.dtype)
            at += array.size
        found = {name: array.numpy() for name, array in self._arrays.items()}
        sums = {name: array + means[name] if name in means else array for name, array in found.items()}
        return ArrayRecord({name: Array(np.asarray(array)) for name, array in sums.items()})

    def _metrics(self, aggregate: Aggregate, round_: AggregationRound) -> MetricRecord:
        clients = len(aggregate.survivors)
        metrics: dict[str, Any] = {"clients": clients, "dropped": len(aggregate.dropped), "weight": aggregate.weight}
        if self._accountant is not None:
            self._accountant.add_round(round_.noisy_clients(clients))
            metrics["epsilon"] = self._accountant.epsilon(self._delta)
        return MetricRecord(metrics)
