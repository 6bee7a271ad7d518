"""What the client and the server read in Flower's messages in the same way."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict

from .. import train
from .._casemate import CasemateError

#: Key of our records in messages and in a client's context.
KEY = "casemate"
_VECTOR = "casemate-vector"
log = logging.getLogger("flwr")


def floats(arrays: ArrayRecord) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that are aggregated, in the order of their names: all of floating point."""
    found = {name: np.asarray(array.numpy()) for name, array in sorted(arrays.items())}
    for name, array in found.items():
        if array.dtype.kind not in "fiub":
            raise CasemateError(f"array {name!r} has elements of type {array.dtype}; convert them to float32")
    return {name: array for name, array in found.items() if array.dtype.kind == "f"}


def require_length(arrays: Mapping[str, npt.NDArray[Any]], policy: Mapping[str, Any]) -> None:
    """Refuse a model that the policy is not for."""
    count = sum(array.size for array in arrays.values())
    if count != policy["length"]:
        raise CasemateError(f"the model has {count} numbers of floating point, and the policy is for {policy['length']}")


def model_digest(message: Message, context: Context) -> bytes:
    """Return the digest of everything that the training depends on: the model, and the settings in the message and of the run.

    Order is part of it: apps load arrays by position, and a server could give one client its arrays in another order.
    """
    arrays: ArrayRecord = only(message.content.array_records, "array record")
    settings = {
        "type": message.metadata.message_type,
        "group": message.metadata.group_id,
        "run": [context.run_id, sorted(_plain(context.run_config))],
        "arrays": [next(iter(message.content.array_records)), list(arrays)],
        "configs": _records(message.content.config_records),
        "metrics": _records(message.content.metric_records),
    }
    text = json.dumps(settings, separators=(",", ":"))
    return train.model_digest({name: array.numpy() for name, array in arrays.items()}, text.encode())


def _records(records: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    return [[name, _plain(record)] for name, record in records.items() if name != KEY]


def _plain(values: Mapping[str, Any]) -> list[Any]:
    """Return settings as JSON values, each with its type: 1, 1.0 and true are different settings."""

    def one(value: Any) -> Any:
        if isinstance(value, list):
            return [one(item) for item in value]
        return [type(value).__name__, value.hex() if isinstance(value, (bytes, float)) else value]

    return [[name, one(value)] for name, value in values.items()]


def only(records: Mapping[str, Any], what: str) -> Any:
    """Return the only record of its kind."""
    if len(records) != 1:
        raise CasemateError(f"secure aggregation needs one {what} in a message, found {len(records)}")
    return next(iter(records.values()))


def pack(reply: bytes, message: Message) -> Message:
    """Return the reply to a message. A masked update is as large as the model, and Flower transfers arrays in pieces."""
    vector = ArrayRecord({"message": Array(np.frombuffer(reply, np.uint8))})
    return Message(RecordDict({_VECTOR: vector}), reply_to=message)


def unpack(reply: Message) -> bytes:
    """Return what :func:`pack` was given."""
    found: bytes = only(reply.content.array_records, "array record")["message"].numpy().tobytes()
    return found
