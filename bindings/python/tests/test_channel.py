"""Channels between two members of a job: what arrives, and what is refused."""

import array
import queue
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import casemate
import numpy as np
import pytest
from casemate import train

NOW = 1_800_000_000
JOB = bytes(range(16))


@pytest.fixture(scope="module")
def job():
    owner, worker, server, stranger = (casemate.PrivateKey.generate("mldsa65-ed25519") for _ in range(4))
    members = {"worker": worker.public_key, "server": server.public_key}
    signed = train.sign_roster(members, sign=owner, job=JOB, now=NOW)
    roster = train.open_roster(signed, signer=owner.public_key, now=NOW)
    return SimpleNamespace(
        owner=owner, worker=worker, server=server, stranger=stranger, members=members, signed=signed, roster=roster
    )


def both(first, second):
    """Run two ends at the same time, and return both results."""
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(first), pool.submit(second)]
        return [end.result(timeout=60) for end in ends]


def pair(job, links, **options):
    connect = lambda: train.GradientChannel.connect(  # noqa: E731
        links[0], job.roster, me="worker", key=job.worker, peer="server", now=NOW, **options
    )
    accept = lambda: train.GradientChannel.accept(  # noqa: E731
        links[1], job.roster, me="server", key=job.server, now=NOW, **options
    )
    return both(connect, accept)


def queues():
    one, two = queue.Queue(4), queue.Queue(4)
    return train.QueueLink(one, two, timeout=20), train.QueueLink(two, one, timeout=20)


@pytest.fixture
def sockets():
    ends = socket.socketpair()
    yield [train.SocketLink(end, timeout=20) for end in ends], ends
    for end in ends:
        end.close()


def test_a_roster_says_what_was_signed(job):
    roster = job.roster
    assert (roster.job, roster.epoch, roster.created) == (JOB, 1, NOW)
    assert roster.members == ["server", "worker"]
    assert roster.expires == NOW + 30 * 24 * 3600
    assert len(roster.digest) == 48


def test_a_roster_is_read_from_a_file(job, tmp_path):
    (tmp_path / "roster").write_bytes(job.signed)
    assert train.open_roster(tmp_path / "roster", signer=job.owner.public_key, now=NOW).digest == job.roster.digest


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"signer": "stranger"}, "not signed by the expected signer"),
        ({"job": bytes(16)}, "of another job"),
        ({"epoch_min": 2}, "epoch 1, but 2 or later"),
        ({"now": NOW - 1}, "in the future"),
        ({"now": NOW + 30 * 24 * 3600}, "expired"),
    ],
)
def test_a_roster_on_other_terms_is_refused(job, change, error):
    terms = {"signer": job.owner.public_key, "now": NOW, "job": JOB, **change}
    if terms["signer"] == "stranger":
        terms["signer"] = job.stranger.public_key
    with pytest.raises(casemate.CasemateError, match=error):
        train.open_roster(job.signed, **terms)


def test_a_changed_roster_is_refused(job):
    for at in (5, len(job.signed) // 2, len(job.signed) - 1):
        bad = bytearray(job.signed)
        bad[at] ^= 1
        with pytest.raises(casemate.CasemateError):
            train.open_roster(bytes(bad), signer=job.owner.public_key, now=NOW)


def test_tensors_cross_in_both_directions_over_queues_and_sockets(job, sockets):
    for links in (queues(), sockets[0]):
        worker, server = pair(job, links)
        assert (worker.peer, server.peer) == ("server", "worker")
        assert worker.id == server.id
        gradient = np.random.default_rng(1).normal(size=(300, 70)).astype(np.float32)
        _, received = both(
            lambda worker=worker: worker.send(gradient, "layer0.weight"),
            lambda server=server: server.receive(np.empty_like(gradient), "layer0.weight"),
        )
        assert np.array_equal(received, gradient)
        _, count = both(
            lambda server=server: server.send(np.int64(7)), lambda worker=worker: worker.receive(np.zeros((), np.int64))
        )
        assert count == 7


@pytest.mark.parametrize(
    ("name", "out"),
    [
        ("layer1", np.zeros(6, np.float32)),
        ("layer0", np.zeros(6, np.int32)),
        ("layer0", np.zeros((2, 3), np.float32)),
        ("layer0", np.zeros(5, np.float32)),
    ],
)
def test_a_tensor_is_not_taken_for_another(job, name, out):
    worker, server = pair(job, queues())
    message = worker.seal(np.ones(6, np.float32), "layer0")
    with pytest.raises(casemate.VerificationError):
        server.open(message, out, name)
    assert not out.any()
    # The message is still the next one.
    assert server.open(message, np.zeros(6, np.float32), "layer0").all()


def test_changed_repeated_lost_and_reordered_messages_are_refused(job):
    worker, server = pair(job, queues())
    first, second, third = (worker.seal(np.full(8, at, np.uint8)) for at in range(3))
    out = np.zeros(8, np.uint8)
    for at in (0, 8, 20, 31):
        bad = first.copy()
        bad[at] ^= 1
        with pytest.raises(casemate.VerificationError):
            server.open(bad, out)
    server.open(first, out)
    with pytest.raises(casemate.VerificationError, match="message 0 of `worker` is out of turn"):
        server.open(first, out)
    with pytest.raises(casemate.VerificationError, match="message 2 of `worker` is out of turn"):
        server.open(third, out)
    server.open(second, out)
    assert server.open(third, out).tolist() == [2] * 8
    # Its own messages do not come back to a member as the other's.
    with pytest.raises(casemate.VerificationError):
        worker.open(worker.seal(out), out)


def test_a_window_accepts_each_message_once_in_any_order(job):
    worker, server = pair(job, queues(), window=4)
    messages = [worker.seal(np.full(8, at, np.uint8)) for at in range(6)]
    out = np.zeros(8, np.uint8)
    for at in (1, 0, 5, 3):
        assert server.open(messages[at], out).tolist() == [at] * 8
    for at in (1, 5, 0):
        with pytest.raises(casemate.VerificationError, match="out of turn"):
            server.open(messages[at], out)
    server.open(messages[4], out)


def test_the_other_end_must_be_a_member_and_the_expected_one(job):
    stranger = lambda link, **options: train.GradientChannel.connect(  # noqa: E731
        link, job.roster, me="worker", key=job.stranger, peer="server", now=NOW, **options
    )
    with pytest.raises(casemate.CasemateError, match="`worker` has another key in the roster"):
        stranger(queues()[0])
    # A stranger's own roster, in which the same names have other keys, has another digest.
    members = {**job.members, "worker": job.stranger.public_key}
    forged = train.open_roster(
        train.sign_roster(members, sign=job.stranger, job=JOB, now=NOW), signer=job.stranger.public_key, now=NOW
    )
    links = queues()

    def attack():
        with pytest.raises(TimeoutError):
            short = train.QueueLink(links[0]._outgoing, links[0]._incoming, timeout=1)
            train.GradientChannel.connect(short, forged, me="worker", key=job.stranger, peer="server", now=NOW)

    def accept():
        with pytest.raises(casemate.VerificationError, match="it uses another roster"):
            train.GradientChannel.accept(links[1], job.roster, me="server", key=job.server, now=NOW)

    both(attack, accept)
    links = queues()

    def other():
        with pytest.raises(casemate.VerificationError, match="expected 'trainer' at the other end, found 'worker'"):
            train.GradientChannel.accept(links[1], job.roster, me="server", key=job.server, peer="trainer", now=NOW)

    both(
        other,
        lambda: train.GradientChannel.connect(
            links[0], job.roster, me="worker", key=job.worker, peer="server", now=NOW
        ),
    )


def test_a_recorded_handshake_cannot_be_repeated(job):
    to_server, to_worker = queue.Queue(), queue.Queue()
    recorded = []

    class Recorder(train.QueueLink):
        def send(self, message):
            recorded.append(bytes(message))
            super().send(message)

    pair(job, (Recorder(to_server, to_worker, timeout=20), train.QueueLink(to_worker, to_server, timeout=20)))
    assert len(recorded) == 2
    link, far = queues()
    for message in recorded:
        link.send(memoryview(message))
    with pytest.raises(casemate.VerificationError, match="finish of `worker`: it does not prove the key"):
        train.GradientChannel.accept(far, job.roster, me="server", key=job.server, now=NOW)


def test_a_hello_that_is_not_one_is_refused_by_phase(job):
    for message, error in [
        (b"", "handshake message has length 0"),
        (b"\x01\x01", "invalid hello"),
        (b"\x02\x01" + bytes(2000), "invalid hello"),
        (b"\x01\x03" + bytes(200), "expected the hello, not the finish"),
        (bytes(5000), "invalid hello"),
    ]:
        link, far = queues()
        link.send(memoryview(message))
        with pytest.raises(casemate.CasemateError, match=error):
            train.GradientChannel.accept(far, job.roster, me="server", key=job.server, now=NOW)


def test_a_silent_a_slow_and_a_talkative_peer_are_bounded(job, sockets):
    _, (near, far) = sockets
    accept = lambda: train.GradientChannel.accept(  # noqa: E731
        train.SocketLink(far, timeout=0.3), job.roster, me="server", key=job.server, now=NOW
    )
    with pytest.raises(TimeoutError):
        accept()
    # A byte at a time does not extend the time.
    done = threading.Event()

    def drip():
        near.sendall((1000).to_bytes(4, "big"))
        while not done.wait(0.05):
            near.sendall(b"\x01")

    drips = threading.Thread(target=drip)
    drips.start()
    with pytest.raises(TimeoutError):
        accept()
    done.set()
    drips.join()
    other = socket.socketpair()
    other[0].sendall((2**32 - 1).to_bytes(4, "big"))
    with pytest.raises(casemate.CasemateError, match="announced a message of 4294967295 bytes, more than the 36864"):
        train.SocketLink(other[1], timeout=5).receive(36_864)
    other[0].close()
    with pytest.raises(ConnectionError):
        train.SocketLink(other[1], timeout=5).receive(36_864)
    other[1].close()


def test_messages_larger_than_the_sockets_buffer_arrive(job, sockets):
    worker, server = pair(job, sockets[0])
    sent = np.arange(3_000_000, dtype=np.int64)
    _, received = both(lambda: worker.send(sent), lambda: server.receive(np.empty_like(sent)))
    assert np.array_equal(received, sent)


def test_every_kind_of_tensor_is_sent_without_a_copy(job):
    torch = pytest.importorskip("torch")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    worker, server = pair(job, queues())
    values = [1.5, -2.0, 0.25, 8.0]
    for sent, out in [
        (torch.tensor(values, requires_grad=True), torch.zeros(4)),
        (torch.tensor(values, dtype=torch.bfloat16), torch.zeros(4, dtype=torch.bfloat16)),
        (torch.tensor(values, dtype=torch.bfloat16), np.zeros(4, ml_dtypes.bfloat16)),
        (np.array(values, np.float16), torch.zeros(4, dtype=torch.float16)),
        (array.array("d", values), np.zeros(4)),
        (torch.tensor([True, False]), np.zeros(2, bool)),
        (np.array(3.5, np.float32), torch.zeros(())),
        (torch.zeros(0, 3), np.zeros((0, 3), np.float32)),
        (b"bytes", np.zeros(5, np.uint8)),
    ]:
        server.open(worker.seal(sent, "t"), out, "t")
        as_floats = lambda tensor: (  # noqa: E731
            tensor.detach().to(torch.float64).tolist()
            if isinstance(tensor, torch.Tensor)
            else (np.frombuffer(tensor, np.uint8) if isinstance(tensor, bytes) else np.asarray(tensor))
            .astype(np.float64)
            .tolist()
        )
        assert as_floats(out) == as_floats(sent)
    from casemate.train._tensor import readable

    for tensor, pointer in [
        (torch.ones(9), lambda tensor: tensor.data_ptr()),
        (np.ones(9), lambda tensor: tensor.ctypes.data),
    ]:
        assert readable(tensor).content.ctypes.data == pointer(tensor)


@pytest.mark.parametrize(
    ("tensor", "error"),
    [
        (np.ones((4, 4))[:, 1], "not contiguous"),
        (np.ones(3, ">f4"), "big-endian"),
        (np.array(["a"]), "cannot be sent"),
        (np.array([None]), "cannot be sent"),
        (object(), "neither the buffer protocol nor DLPack"),
        ([1.0], "neither the buffer protocol nor DLPack"),
    ],
)
def test_what_is_not_a_plain_tensor_is_refused(job, tensor, error):
    worker, _ = pair(job, queues())
    with pytest.raises(TypeError, match=error):
        worker.seal(tensor)


def test_torch_tensors_that_are_not_plain_are_refused(job):
    torch = pytest.importorskip("torch")
    worker, server = pair(job, queues())
    for tensor, error in [
        (torch.ones(4, 4).t()[1:], "not contiguous"),
        (torch.ones(3).to_sparse(), "not contiguous"),
        (torch.empty(3, device="meta"), "copy it to the CPU"),
    ]:
        with pytest.raises(TypeError, match=error):
            worker.seal(tensor)
    read_only = np.ones(3)
    read_only.flags.writeable = False
    with pytest.raises(TypeError, match="cannot be written"):
        server.open(worker.seal(np.ones(3)), read_only)
    with pytest.raises(TypeError, match="cannot be written"):
        server.open(worker.seal(b"123"), b"abc")


def test_secrets_are_not_shown_or_pickled(job):
    import pickle

    worker, _ = pair(job, queues())
    assert repr(worker) == "<GradientChannel with server>"
    with pytest.raises(TypeError):
        pickle.dumps(worker)
