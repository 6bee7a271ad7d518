"""Secure aggregation: policies and rounds."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import _casemate, _keys
from .._casemate import AggregationFloors, AggregationPolicy, AggregationRound, CasemateError, Roster
from ._channel import _own, _time
from ._roster import one_key
from ._tensor import readable

_POLICY_BYTES_MAX = 64 * 1024
#: Largest clip and norm that a policy can have.
_NUMBER_MAX = 1_000_000


def sign_policy(
    roster: Roster,
    *,
    aggregator: _keys.Recipients,
    length: int,
    clip: float,
    cohort: tuple[int, int],
    weight_max: int = 1,
    bits: int = 20,
    noise: tuple[float, float] | None = None,
    sign: _keys.Signing = None,
) -> bytes:
    """Sign the policy of secure aggregation for the members of ``roster``, and return it. Every client and the server need it.

    ``aggregator`` is the server's public key, of the suite ``mlkem768-x25519``. An update has ``length`` coordinates from ``-clip`` to ``clip``, each rounded
    at random to ``bits`` bits, and a whole weight from 1 to ``weight_max``. ``cohort`` is the smallest and the largest number of clients whose sum may be
    revealed; it decides how many may drop out and work together with the server. ``noise`` is the largest norm of an update, and the noise multiplier
    that the smallest cohort reaches if a tenth of the roster's members are in it and add none.

    Raises :class:`casemate.CasemateError` if no parameters protect such a cohort.
    """
    signer = _keys.signing_key(sign)
    if signer is None:
        raise CasemateError("no key to sign the policy with; pass sign=, or call casemate.configure(sign=...)")
    pair = None
    if noise is not None:
        norm, multiplier = noise
        pair = (_nano(norm, "the norm of noise="), math.ceil(_finite(multiplier, "the multiplier of noise=") * 1000))
    shape = (length, _nano(clip, "clip="), weight_max, bits)
    return AggregationPolicy.sign(roster, one_key(aggregator, "aggregator="), signer, shape, cohort, pair)


def open_policy(
    signed: bytes | os.PathLike[str], roster: Roster, *, signer: _keys.Recipients, policy: _keys.PathLike | None = None
) -> AggregationPolicy:
    """Verify the signed policy for ``roster``, given as bytes or as a file (:class:`pathlib.Path`). ``signer`` is the roster signer's public key."""
    if not isinstance(signed, bytes):
        with open(signed, "rb") as file:
            signed = file.read(_POLICY_BYTES_MAX + 1)
    return AggregationPolicy.verify(signed, roster, one_key(signer, "signer="), _keys.policy_name(policy))


def floors(
    *,
    cohort_min: int = 3,
    threshold: int = 667,
    neighbours: int = 20,
    corrupt: int = 100,
    bits: int = 8,
    clip: tuple[float, float] | None = None,
    noise_multiplier: float = 0.0,
) -> AggregationFloors:
    """Return what a client demands of a policy, whoever signed it.

    ``cohort_min``: smallest cohort. ``threshold``: least threshold of the complete graph, in thousandths. ``neighbours``: fewest neighbours of a sparse graph.
    ``corrupt``: members that may work together with the server, in thousandths of the roster. ``bits``: fewest bits of a coordinate. ``clip``: smallest and
    largest clip. ``noise_multiplier``: least noise of the smallest cohort without its corrupt members, as a multiple of the sensitivity.
    """
    fields: dict[str, Any] = {
        "cohort_min": cohort_min,
        "threshold": threshold,
        "neighbours": neighbours,
        "corrupt": corrupt,
        "bits": bits,
        "noise_multiplier": math.ceil(_finite(noise_multiplier, "noise_multiplier=") * 1000),
    }
    if clip is not None:
        fields["clip_nano"] = (_nano(clip[0], "clip="), _nano(clip[1], "clip="))
    return AggregationFloors(fields)


def _finite(value: float, what: str) -> float:
    if not 0 <= value <= _NUMBER_MAX:
        raise CasemateError(f"{what} is {value}, must be a number from 0 to {_NUMBER_MAX}")
    return value


def _nano(value: float, what: str) -> int:
    return round(_finite(value, what) * 1e9)


def model_digest(arrays: Mapping[str, Any], settings: bytes = b"") -> bytes:
    """Return the digest of what the clients of a round must agree on: the arrays' names, types, shapes and elements, and the settings of the training.

    A server that can give clients different settings, such as a learning rate of zero, can single one of them out.
    """
    digest = hashlib.sha384(b"casemate/v1/model-digest\0")
    for name, array in sorted(arrays.items()):
        view = readable(np.asarray(array, order="C") if isinstance(array, np.ndarray) else array)
        head = view.associated(name)
        digest.update(len(head).to_bytes(4, "big") + head + view.content.size.to_bytes(8, "big"))
        digest.update(view.content.data)
    digest.update(bytes(4) + settings)
    return digest.digest()


class AggregationClient:
    """A client in one round: each method takes the server's message and returns the client's.

    Call :meth:`advertise`, :meth:`share`, :meth:`mask`, :meth:`agree` and :meth:`reveal` in this order. After an error the client has dropped out. Between two
    messages, :meth:`state` is what to store if the program does not stay in memory.
    """

    def __init__(
        self,
        round: AggregationRound,  # noqa: A002
        *,
        me: str,
        key: _keys.Signing,
        floors: AggregationFloors | None = None,
    ) -> None:
        self._client = _casemate.AggregationClient(round, me, _own(key), floors or AggregationFloors({}))

    def advertise(self, *, now: int | None = None) -> bytes:
        """Join the round. Raises :class:`casemate.CasemateError` for a policy below the floors."""
        return self._client.advertise(_time(now))

    def share(self, cohort: bytes) -> bytes:
        """Verify the other clients' keys, and share this client's secrets among them."""
        return self._client.share(cohort)

    def mask(self, inbox: bytes, update: Any, weight: int = 1) -> bytes:
        """Mask the update: a one-dimensional array of 32-bit floats, finite, as long as the policy says."""
        values = np.ascontiguousarray(update, dtype=np.float32)
        return self._client.mask(inbox, values.reshape(-1), weight)

    def agree(self, survivors: bytes) -> bytes:
        """Sign the list of clients whose updates arrived."""
        return self._client.agree(survivors)

    def reveal(self, agreements: bytes, record: Callable[[], object]) -> bytes:
        """Reveal shares for the survivors' sum. ``record`` is called before anything is revealed, and must store durably that the client has answered in this
        round; never let a client answer again."""
        return self._client.reveal(agreements, record)

    def state(self) -> bytes:
        """Return the client's state, with its secrets of the round. Store it in place of the one before, **before** sending a message; never use one twice."""
        return self._client.state()

    def resume(self, state: bytes) -> None:
        """Go on from a state."""
        self._client.resume(state)
