"""Channels between two members of a job: what arrives, and what is refused."""

import array
import multiprocessing
import queue
import socket
import ssl
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


class Copying:
    """An array that shows others a copy of itself."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        del dtype, copy
        return self.array.copy()


def test_nothing_is_decrypted_into_a_copy(job):
    worker, server = pair(job, queues())
    # To send a copy is fine.
    message = worker.seal(Copying(np.ones(8, np.uint8)))
    with pytest.raises(TypeError, match="Copying cannot be written; receive into a NumPy array"):
        server.open(message, Copying(np.zeros(8, np.uint8)))
    assert server.open(message, np.zeros(8, np.uint8)).all()


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), None, "1", 86_401])
def test_links_wait_for_a_time_that_ends(timeout):
    one, two = socket.socketpair()
    with one, two:
        for make in (lambda: train.SocketLink(one, timeout=timeout), lambda: train.QueueLink(queue.Queue(), queue.Queue(), timeout=timeout)):
            with pytest.raises(ValueError, match="timeout must be a number of seconds"):
                make()


def test_a_link_that_lost_half_a_message_is_not_used_again():
    near, far = socket.socketpair()
    with near, far:
        link, other = train.SocketLink(near, timeout=0.2), train.SocketLink(far, timeout=0.2)
        # Nothing has come: the next message may be whole.
        with pytest.raises(TimeoutError):
            link.receive(10)
        other.send(memoryview(b"whole"))
        assert link.receive(10) == b"whole"
        far.sendall((4).to_bytes(4, "big") + b"ha")
        with pytest.raises(TimeoutError):
            link.receive(10)
        far.sendall(b"lf")
        with pytest.raises(ConnectionError, match="an earlier message failed half-way"):
            link.receive(10)
        # The other direction works, until nobody reads.
        with pytest.raises(TimeoutError):
            link.send(memoryview(bytes(1 << 24)))
        with pytest.raises(ConnectionError, match="an earlier message failed half-way"):
            link.send(memoryview(b"next"))


def test_links_that_cannot_work_are_refused():
    one, two = socket.socketpair()
    with one, two, pytest.raises(TypeError, match="pass a plain socket"):
        train.SocketLink(ssl.create_default_context().wrap_socket(one, server_hostname="x", do_handshake_on_connect=False))
    with pytest.raises(TypeError, match=r"multiprocessing.queues.Queue is no queue.Queue; use a SocketLink"):
        train.QueueLink(multiprocessing.Queue(), queue.Queue())


def test_a_queue_holds_bytes_of_a_bounded_number_and_length():
    full = queue.Queue(maxsize=1)
    link = train.QueueLink(full, full, timeout=0.2)
    link.send(memoryview(b"12345"))
    with pytest.raises(TimeoutError, match="no room"):
        link.send(memoryview(b"6"))
    with pytest.raises(casemate.CasemateError, match="a message of 5 bytes, more than the 4"):
        link.receive(4)
    with pytest.raises(TimeoutError, match="no message came"):
        link.receive(4)
    full.put(["not bytes"])
    with pytest.raises(casemate.CasemateError, match="an object of type list into the queue; expected bytes"):
        link.receive(4)


def test_threads_that_send_at_once_do_not_mix_their_messages(job, sockets):
    (near_link, far_link), _ = sockets
    worker, server = pair(job, (near_link, far_link))
    threads = [threading.Thread(target=lambda at=at: [worker.send(np.full(100_000, at, np.uint8)) for _ in range(20)]) for at in range(4)]
    for thread in threads:
        thread.start()
    out = np.zeros(100_000, np.uint8)
    found = [int(server.receive(out)[0]) for _ in range(80) if (out == out[0]).all()]
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(list(range(4)) * 20)


class StreamLink:
    """Messages over a gRPC stream in both directions: an example of a link of one's own."""

    def __init__(self, send, received):
        self._send, self._received = send, received

    def send(self, message):
        self._send(bytes(message))

    def receive(self, limit):
        message = next(self._received)
        assert len(message) <= limit
        return message


def test_a_channel_over_grpc(job):
    grpc = pytest.importorskip("grpc")
    sums = []

    def serve(requests, _context):
        """Answer a client's stream: what the link sends goes out as the stream's responses."""
        outgoing = queue.Queue()

        def work():
            link = StreamLink(outgoing.put, requests)
            channel = train.GradientChannel.accept(link, job.roster, me="server", key=job.server, now=NOW)
            gradient = channel.receive(np.empty((300, 400), np.float32), "layer")
            sums.append(float(gradient.sum()))
            channel.send(gradient * 2, "doubled")
            outgoing.put(None)

        threading.Thread(target=work).start()
        return iter(outgoing.get, None)

    handler = grpc.stream_stream_rpc_method_handler(serve)
    server = grpc.server(ThreadPoolExecutor(2), handlers=[grpc.method_handlers_generic_handler("train", {"exchange": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as connection:
        outgoing = queue.Queue()
        responses = connection.stream_stream("/train/exchange")(iter(outgoing.get, None), timeout=30)
        link = StreamLink(outgoing.put, responses)
        channel = train.GradientChannel.connect(link, job.roster, me="worker", key=job.worker, peer="server", now=NOW)
        channel.send(np.ones((300, 400), np.float32), "layer")
        assert (channel.receive(np.empty((300, 400), np.float32), "doubled") == 2).all()
        outgoing.put(None)
    server.stop(None)
    assert sums == [120_000]
