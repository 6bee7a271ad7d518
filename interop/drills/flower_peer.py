"""Times a client of secure aggregation beside Flower's SecAgg+, in one run on one core.

This is a drill, because it takes minutes. With the packages `casemate` and `flwr` installed, run `python interop/drills/flower_peer.py [COORDINATES]`.
"""

from __future__ import annotations

import base64
import statistics
import sys
import time
from collections.abc import Callable

import casemate
import numpy as np
from casemate import train
from flwr.client.mod.secure_aggregation.secaggplus_mod import SecAggPlusState, _collect_masked_vectors
from flwr.common import ndarrays_to_parameters
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import encrypt
from flwr.common.secure_aggregation.secaggplus_constants import Key
from flwr.common.secure_aggregation.secaggplus_utils import share_keys_plaintext_concat
from flwr.supercore.primitives.asymmetric import generate_key_pairs, private_key_to_bytes, public_key_to_bytes

REPEATS = 3


def processor_time(action: Callable[[], object]) -> tuple[float, object]:
    start = time.process_time()
    result = action()
    return (time.process_time() - start) * 1e3, result


class Ours:
    """A round whose first client is measured."""

    def __init__(self, clients: int, length: int) -> None:
        make = casemate.PrivateKey.generate
        owner, self.aggregator = make("mldsa65-ed25519"), make("mlkem768-x25519")
        keys = {f"client-{at:03}": make("mldsa65-ed25519") for at in range(clients)}
        roster = train.open_roster(train.sign_roster(keys, sign=owner), signer=owner.public_key)
        # Above 40 clients, the recommended graph.
        cohort = (3, clients) if clients <= 40 else (clients * 9 // 10, clients)
        signed = train.sign_policy(
            roster, aggregator=self.aggregator.public_key, sign=owner, length=length, clip=1.0, cohort=cohort
        )
        policy = train.open_policy(signed, roster, signer=owner.public_key)
        self.round = train.AggregationRound(roster, policy, 1, bytes(48))
        self.server = train.AggregationServer(self.round, self.aggregator)
        self.clients = {name: train.AggregationClient(self.round, me=name, key=key) for name, key in keys.items()}

    def deliver(self, messages: dict[str, bytes]) -> dict[str, bytes]:
        for message in messages.values():
            self.server.receive(message)
        sent = self.server.close()
        assert isinstance(sent, dict)
        return sent

    def to_mask(self) -> dict[str, bytes]:
        sent = self.deliver({name: client.advertise() for name, client in self.clients.items()})
        return self.deliver({name: client.share(sent[name]) for name, client in self.clients.items()})


class Theirs:
    """The state of one client of SecAgg+ before it masks."""

    def __init__(self, clients: int) -> None:
        state = SecAggPlusState(
            nid=0, sample_num=clients, share_num=clients, threshold=clients * 2 // 3, clipping_range=1.0
        )
        state.target_range, state.mod_range, state.max_weight = 1 << 20, 1 << 32, 1.0
        private, public = generate_key_pairs()
        state.sk1, state.pk1 = private_key_to_bytes(private), public_key_to_bytes(public)
        state.rd_seed = bytes(range(32))
        state.public_keys_dict, state.ss2_dict = {}, {}
        state.rd_seed_share_dict, state.sk1_share_dict = {}, {}
        self.ciphertexts, self.sources = [], list(range(1, clients))
        for other in self.sources:
            _, their_public = generate_key_pairs()
            state.public_keys_dict[other] = (public_key_to_bytes(their_public), b"")
            state.ss2_dict[other] = base64.urlsafe_b64encode(bytes([other % 256]) * 32)
            plain = share_keys_plaintext_concat(other, 0, bytes(36), bytes(324))
            self.ciphertexts.append(encrypt(state.ss2_dict[other], plain))
        self.state = state

    def mask(self, update: np.ndarray) -> dict[str, object]:
        configs = {Key.CIPHERTEXT_LIST: self.ciphertexts, Key.SOURCE_LIST: self.sources}
        return _collect_masked_vectors(self.state, configs, 1, ndarrays_to_parameters([update]))  # type: ignore[arg-type]


def mask(length: int, clients: int = 10) -> None:
    update = np.random.default_rng(1).normal(size=length).astype(np.float32) / 3
    ours_times, theirs_times = [], []
    for _ in range(REPEATS):
        ours = Ours(clients, length)
        inbox = ours.to_mask()
        name = "client-000"
        spent, message = processor_time(lambda: ours.clients[name].mask(inbox[name], update))  # noqa: B023
        ours_times.append(spent)
        theirs = Theirs(clients)
        spent, reply = processor_time(lambda: theirs.mask(update))  # noqa: B023
        theirs_times.append(spent)
    assert isinstance(message, bytes)
    assert isinstance(reply, dict)
    theirs_bytes = sum(len(part) for part in reply[Key.MASKED_PARAMETERS])
    ours_ms, theirs_ms = statistics.median(ours_times), statistics.median(theirs_times)
    print(f"mask {length} coordinates, {clients} clients: {ours_ms:.0f} ms, SecAgg+ {theirs_ms:.0f} ms: {theirs_ms / ours_ms:.1f}x less")
    plain = update.nbytes
    print(f"  upload {len(message) / plain:.4f} of plain fp32, SecAgg+ {theirs_bytes / plain:.4f}")


def share(clients: int = 100, threshold: int = 67) -> None:
    ours = Ours(clients, 10)
    sent = ours.deliver({name: client.advertise() for name, client in ours.clients.items()})
    times = [processor_time(lambda: ours.clients[name].share(sent[name]))[0] for name in list(ours.clients)[:5]]  # noqa: B023
    private, _ = generate_key_pairs()
    secrets = [bytes(range(32)), private_key_to_bytes(private)]
    spent = [processor_time(lambda: create_shares(secret, threshold, clients)) for secret in secrets]  # noqa: B023
    shares = spent[0][1]
    assert isinstance(shares, list)
    combined = processor_time(lambda: combine_shares(shares[:threshold]))[0]
    print(f"share among {clients} clients, keys and signatures included: {statistics.median(times):.1f} ms")
    print(f"  SecAgg+ splits both secrets, 67 of 100, in {sum(one[0] for one in spent):.0f} ms, and combines a seed in {combined:.0f} ms")


if __name__ == "__main__":
    mask(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
    share()
