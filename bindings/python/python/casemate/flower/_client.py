"""The mod of a client app."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flwr.app import ConfigRecord, Context, Error, Message, MessageType

from .. import _keys, train
from .._casemate import AggregationFloors, AggregationPolicy, AggregationRound, CasemateError, Roster
from ..train import AggregationClient
from . import _messages
from ._ledger import Ledger, default_folder
from ._messages import KEY, log

_MOD_FAILED_PRECONDITION = 6
_PATHS = ("key", "roster", "policy", "signer", "state")


class _Refused(Exception):
    """A refusal that says nothing about the client, so that the server may read it."""


class _Job(NamedTuple):
    """What a client trains for."""

    name: str
    roster: Roster
    policy: AggregationPolicy

    @property
    def terms(self) -> dict[str, Any]:
        return self.policy.parameters()


class SecureAggregation:
    """A mod for a ``ClientApp`` that masks the updates of its training.

    Arguments that are not given come from the SuperNode's node config: ``casemate-name`` (the member's name in the roster), ``casemate-key`` (its private
    key), ``casemate-roster``, ``casemate-policy``, ``casemate-signer`` (the public key of whoever signed both), and ``casemate-state``; the last five are
    absolute paths. ``floors`` is the weakest policy that this client takes part in (:func:`casemate.train.floors`).

    A request to train without secure aggregation is refused, and so is a round whose number is not higher than the last one that the client took part in.
    Clients that were sent different models or settings refuse each other. Metrics of the training stay on the client, except for its weight
    (``weighted_by_key``, at most the policy's largest), which is only revealed as part of the sum. Messages of other types, such as ``evaluate`` and
    ``query``, are passed on: whatever an app returns for them, the server sees.

    In ``state``, by default ``casemate/used-states`` in the user's state directory, a file is kept for each step that was taken, so that none is taken twice,
    and for each roster, so that no older one is accepted. The folder must outlive the client, and must not be restored from a backup.

    Reasons of errors stay in the client's log. The server is told only what it has sent itself.
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
        request = message.content.config_records.get(KEY) if message.has_content() else None
        if request is None:
            if message.metadata.message_type.split(".")[0] == MessageType.TRAIN:
                return _error(message, "this client trains with secure aggregation only; use casemate.flower.SecureFedAvg on the server")
            return call_next(message, context)
        try:
            return self._answer(message, request, context, call_next)
        except _Refused as refusal:
            _forget(context)
            log.warning("secure aggregation: %s", refusal)
            return _error(message, str(refusal))
        except Exception as error:  # noqa: BLE001 - the text of an error may say where files are, or what is in them
            _forget(context)
            log.error("secure aggregation: %s: %s", type(error).__name__, error, exc_info=not isinstance(error, (CasemateError, OSError)))
            return _error(message, "this client cannot take the step; its log says why")

    def _setting(self, name: str, context: Context, default: Path | None = None) -> Any:
        found = self._given[name]
        if found is None:
            configured = context.node_config.get(f"casemate-{name}")
            if configured is not None:
                found = str(configured)
                if name in _PATHS and not os.path.isabs(found):
                    raise CasemateError(f"casemate-{name} is {found!r}; give an absolute path in the SuperNode's node config")
        if found is None:
            if default is None:
                raise CasemateError(
                    f"no {name} was given; set casemate-{name} in the SuperNode's node config, or pass {name}= to SecureAggregation"
                )
            return default
        return Path(found) if name in _PATHS and isinstance(found, str) else found

    def _ledger(self, context: Context) -> Ledger:
        folder = Path(self._setting("state", context, default_folder()))
        if not folder.is_absolute():
            raise CasemateError(f"state={str(folder)!r} depends on the working directory; give an absolute path")
        return Ledger(folder)

    def _job(self, context: Context, ledger: Ledger) -> _Job:
        signer = self._setting("signer", context)
        roster = train.open_roster(Path(self._setting("roster", context)), signer=signer, now=int(self._now()))
        ledger.accept(roster)
        policy = train.open_policy(Path(self._setting("policy", context)), roster, signer=signer)
        return _Job(self._setting("name", context), roster, policy)

    def _client(self, job: _Job, context: Context, number: int, model: bytes) -> AggregationClient:
        round_ = AggregationRound(job.roster, job.policy, number, model)
        return AggregationClient(round_, me=job.name, key=self._setting("key", context), floors=self._floors)

    def _answer(
        self, message: Message, request: ConfigRecord, context: Context, call_next: Callable[[Message, Context], Message]
    ) -> Message:
        step, number, received = request.get("step"), request.get("round"), request.get("message", b"")
        if not isinstance(step, str) or type(number) is not int or number < 1 or not isinstance(received, bytes):
            raise _Refused("the request has no step, no round from 1 on, or a message that is not bytes")
        with self._ledger(context) as ledger:
            job = self._job(context, ledger)
            if step == "train":
                ledger.prune(self._now())
                return self._train(message, number, context, job, ledger, call_next)
            return self._step(message, (step, number, received), context, job, ledger)

    def _train(  # noqa: PLR0913 - a message with all that it is answered from
        self,
        message: Message,
        number: int,
        context: Context,
        job: _Job,
        ledger: Ledger,
        call_next: Callable[[Message, Context], Message],
    ) -> Message:
        last = int(context.state.config_records[KEY]["round"]) if KEY in context.state.config_records else 0  # type: ignore[arg-type]
        if number <= last:
            raise _Refused(f"this client took part in round {last} and does not take part in round {number}")
        model = _messages.model_digest(message, context)
        before = _messages.floats(_messages.only(message.content.array_records, "array record"))
        _messages.require_length(before, job.terms)
        # The context is gone if the SuperNode restarts; the record of the round is not.
        ledger.take(json.dumps(["round", job.roster.job.hex(), job.name, context.run_id, number]).encode())
        client = self._client(job, context, number, model)
        # Before the training, which may take hours: a policy below the floors is refused here.
        advertisement = client.advertise(now=int(self._now()))
        del message.content[KEY]
        reply = call_next(message, context)
        if reply.has_error():
            raise CasemateError(f"the training failed: {reply.error.reason}")
        update = _update(before, _messages.floats(_messages.only(reply.content.array_records, "array record")))
        context.state[KEY] = ConfigRecord(
            {
                "round": number,
                "model": model,
                "weight": self._weight(reply, job.terms["weight_max"]),
                "update": update.tobytes(),
                "state": client.state(),
            }
        )
        return _messages.pack(advertisement, message)

    def _step(self, message: Message, request: tuple[str, int, bytes], context: Context, job: _Job, ledger: Ledger) -> Message:
        step, number, received = request
        state = context.state.config_records.get(KEY)
        if state is None or "state" not in state or state["round"] != number:
            raise _Refused(f"this client is not in round {number}")
        client = self._client(job, context, number, bytes(state["model"]))  # type: ignore[arg-type]
        stored = bytes(state["state"])  # type: ignore[arg-type]
        del state["state"]
        # SuperNode sends a reply before it keeps the context, so the context alone cannot say that a state was used.
        ledger.take(stored)
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
            return _messages.pack(client.reveal(received, lambda: None), message)
        else:
            raise _Refused(f"there is no step {step!r} in a round")
        state["state"] = client.state()
        return _messages.pack(reply, message)

    def _weight(self, reply: Message, most: int) -> int:
        if most == 1:
            return 1
        for metrics in reply.content.metric_records.values():
            if self._weighted_by_key in metrics:
                return max(1, min(most, round(metrics[self._weighted_by_key])))  # type: ignore[arg-type]
        raise CasemateError(f"the training reported no {self._weighted_by_key!r}, which the policy weights by")


def _update(before: dict[str, Any], after: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return what the training added to the model, as one vector."""
    if {name: array.shape for name, array in before.items()} != {name: array.shape for name, array in after.items()}:
        raise CasemateError("the trained arrays have other names or shapes than those of the message")
    parts = [(after[name] - before[name]).astype(np.float32, copy=False).reshape(-1) for name in before]
    update = np.concatenate(parts)
    if not np.isfinite(update).all():
        raise CasemateError("the trained arrays contain numbers that are not finite")
    return update


def _forget(context: Context) -> None:
    """End the round for this client. Its secrets are not needed again."""
    state = context.state.config_records.get(KEY)
    for name in ("state", "update"):
        if state is not None and name in state:
            del state[name]


def _error(message: Message, reason: str) -> Message:
    return Message(Error(_MOD_FAILED_PRECONDITION, reason), reply_to=message)
