"""Protected training: channels for gradients, and sums of updates that nobody else sees.

=====================================  ===========================================================
name the members of a job              :func:`sign_roster`, :func:`open_roster`
send tensors to another member         :class:`GradientChannel`
over a socket or queues                :class:`SocketLink`, :class:`QueueLink`
over ``torch.distributed``             :class:`casemate.train.torch.ProcessGroupLink`
fix the terms of secure aggregation    :func:`sign_policy`, :func:`open_policy`, :func:`floors`
take part in a round                   :class:`AggregationRound`, :class:`AggregationClient`
collect a round                        :class:`AggregationServer`
the same with Flower                   :mod:`casemate.flower`
=====================================  ===========================================================

Keys are agreed on with hybrid cryptography, and each member proves its identity with a signature. ``spec/training.md`` and ``spec/secure-aggregation.md`` specify the
bytes.
"""

from .._casemate import (
    Accountant,
    Aggregate,
    AggregationFloors,
    AggregationPolicy,
    AggregationRound,
    AggregationServer,
    Roster,
)
from ._aggregation import AggregationClient, floors, model_digest, open_policy, sign_policy
from ._channel import GradientChannel
from ._links import Link, QueueLink, SocketLink
from ._roster import open_roster, sign_roster

__all__ = [
    "Accountant",
    "Aggregate",
    "AggregationClient",
    "AggregationFloors",
    "AggregationPolicy",
    "AggregationRound",
    "AggregationServer",
    "GradientChannel",
    "Link",
    "QueueLink",
    "Roster",
    "SocketLink",
    "floors",
    "model_digest",
    "open_policy",
    "open_roster",
    "sign_policy",
    "sign_roster",
]
