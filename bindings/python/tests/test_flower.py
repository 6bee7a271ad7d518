"""Secure aggregation in a real Flower deployment: a SuperLink, SuperNodes, and an app that they run."""

import contextlib
import copy
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import casemate
import numpy as np
import pytest
from casemate import train

pytest.importorskip("flwr")
pytest.importorskip("sklearn")

from casemate import flower
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

APP = Path(__file__).parents[1] / "examples/flower_digits"
sys.path.insert(0, str(APP))
from digits import task


def ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return found


class Deployment:
    """A SuperLink and its SuperNodes, which end with the test."""

    def __init__(self, folder, clients):
        self.folder, self.processes = folder, []
        (folder / "home").mkdir()
        self.environment = os.environ | {
            "FLWR_HOME": str(folder / "home"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OPENBLAS_NUM_THREADS": "1",
        }
        link, *nodes = ports(1 + clients)
        self.start(
            "superlink",
            ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(link)]
            + ["--disable-runtime-dependency-installation"],
        )
        self.wait_for(link)
        (folder / "home/config.toml").write_text(
            f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{link}"\ninsecure = true\n'
        )
        for number, port in enumerate(nodes):
            files = {"key": f"{number}.pem", "roster": "roster", "policy": "policy", "signer": "owner.pub"}
            files["state"] = f"used-{number}"
            settings = [f'casemate-{name}="{folder / file}"' for name, file in files.items()]
            node = " ".join([f'casemate-name="clinic-{number}"', f"partition-id={number}", *settings])
            self.start(
                f"node{number}",
                ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{link}", "--port", str(port)]
                + ["--host", "127.0.0.1", "--node-config", node],
            )

    def wait_for(self, port):
        for _ in range(300):
            assert self.processes[0].poll() is None, self.logs()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.2)
        raise AssertionError("the SuperLink does not listen" + self.logs())

    def start(self, name, command):
        with open(self.folder / f"{name}.log", "wb") as log:
            self.processes.append(
                subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
            )

    def run(self, app, **config):
        values = " ".join(f'{name}="{value}"' if isinstance(value, Path) else f"{name}={value}" for name, value in config.items())
        return subprocess.run(
            ["flwr", "run", str(app), "here", "--stream", "--run-config", values],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=180,
        )

    def logs(self):
        return "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.folder.glob("*.log")))

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, 15)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)


def write_job(folder, members, **terms):
    """Write the keys, the roster and the policy of a job."""
    make = casemate.PrivateKey.generate
    owner, aggregator = make("mldsa65-ed25519"), make("mlkem768-x25519")
    keys = {f"clinic-{number}": make("mldsa65-ed25519") for number in range(members)}
    for number, key in enumerate(keys.values()):
        key.to_file(folder / f"{number}.pem")
    aggregator.to_file(folder / "aggregator.pem")
    (folder / "owner.pub").write_text(owner.public_key.to_pem())
    signed = train.sign_roster(keys, sign=owner)
    (folder / "roster").write_bytes(signed)
    roster = train.open_roster(signed, signer=owner.public_key)
    policy = train.sign_policy(roster, aggregator=aggregator.public_key, sign=owner, clip=1.0, **terms)
    (folder / "policy").write_bytes(policy)


@pytest.fixture
def deployment(tmp_path):
    write_job(tmp_path, 3, length=650, cohort=(3, 3), weight_max=1000)
    deployed = Deployment(tmp_path, 3)
    yield deployed
    deployed.stop()


def test_a_federation_trains_without_showing_updates(deployment):
    folder = deployment.folder
    done = deployment.run(APP, rounds=1, folder=folder, result=folder / "result.json")
    shown = done.stdout + done.stderr
    result = folder / "result.json"
    assert result.exists(), shown + deployment.logs()
    found = json.loads(result.read_text())
    assert [entry["clients"] for entry in found["rounds"].values()] == [3], shown + deployment.logs()
    trained = [task.train(np.zeros((65, 10), np.float32), part) for part in range(3)]
    examples = sum(count for _, count in trained)
    assert found["rounds"]["1"]["weight"] == examples
    plain = task.accuracy(sum(count * weights for weights, count in trained) / examples)
    assert abs(found["accuracy"]["1"] - plain) <= 0.005


@pytest.fixture(autouse=True)
def identity():
    """What Flower sets in the process of a ServerApp."""
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


class Node:
    """A SuperNode in memory, with a context of its own."""

    def __init__(self, folder, number, update):
        files = {"key": f"{number}.pem", "roster": "roster", "policy": "policy", "signer": "owner.pub"}
        config = {f"casemate-{name}": str(folder / file) for name, file in {**files, "state": f"used-{number}"}.items()}
        self.context = Context(1, number, {"casemate-name": f"clinic-{number}", **config}, RecordDict(), {})
        self.mod = flower.SecureAggregation()
        self.number, self.update, self.trainings = number, update, 0
        self.log = []

    def train(self, message, _context):
        self.trainings += 1
        assert "casemate" not in message.content
        found = {name: array.numpy() for name, array in message.content["arrays"].items()}
        steps = {n: self.update if array.dtype.kind == "f" else 1 for n, array in found.items()}
        arrays = {n: Array(np.asarray(array + steps[n], array.dtype)) for n, array in found.items()}
        metrics = MetricRecord({"num-examples": 10 * (self.number + 1)})
        return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)

    def answer(self, message):
        self.log.append(message)
        return self.mod(message, self.context, self.train)


class MemoryGrid:
    """A grid over nodes in memory. `lost(node, step)` says whose reply does not arrive."""

    def __init__(self, nodes, lost=lambda _node, _step: False):
        self.nodes, self.lost = nodes, lost

    def get_node_ids(self):
        return range(len(self.nodes))

    def send_and_receive(self, messages, *, timeout=None):
        del timeout
        replies = []
        for message in messages:
            # As over the network: nobody shares objects.
            sent = copy.deepcopy(message)
            step = sent.content["casemate"]["step"] if "casemate" in sent.content else "plain"
            reply = self.nodes[sent.metadata.dst_node_id].answer(sent)
            if not self.lost(sent.metadata.dst_node_id, step):
                replies.append(reply)
        return replies


def strategy_of(folder, **options):
    files = {"roster": folder / "roster", "policy": folder / "policy", "signer": folder / "owner.pub"}
    return flower.SecureFedAvg(Context(1, 0, {}, RecordDict(), {}), key=folder / "aggregator.pem", **files, **options)


def start(folder, lost=lambda _node, _step: False, *, members=5, rounds=1, model=None, **terms):
    write_job(folder, members, **{"length": 6, "cohort": (3, members), "weight_max": 100, **terms})
    nodes = [Node(folder, number, (number + 1) / 20) for number in range(members)]
    model = model or {"a": np.zeros((2, 2), np.float32), "b": np.ones(2, np.float64)}
    strategy = strategy_of(folder)
    result = strategy.start(MemoryGrid(nodes, lost), ArrayRecord({n: Array(a) for n, a in model.items()}), num_rounds=rounds)
    return result, nodes


def test_clients_that_drop_out_are_left_out_of_the_mean(tmp_path):
    lost = {(1, "share"), (2, "mask"), (0, "reveal")}
    result, nodes = start(tmp_path, lambda node, step: (node, step) in lost, members=12, weight_max=1000)
    metrics = dict(result.train_metrics_clientapp[1])
    assert metrics == {"clients": 10, "dropped": 1, "weight": 10 * sum(range(1, 13)) - 50}
    left = [0, *range(3, 12)]
    mean = sum(10 * (number + 1) * (number + 1) / 20 for number in left) / metrics["weight"]
    arrays = {name: array.numpy() for name, array in result.arrays.items()}
    np.testing.assert_allclose(arrays["a"], np.full((2, 2), mean), atol=1e-5)
    np.testing.assert_allclose(arrays["b"], np.full(2, 1 + mean), atol=1e-5)
    assert arrays["b"].dtype == np.float64
    # Secrets are gone from the contexts of those who answered.
    assert "state" not in nodes[3].context.state["casemate"]


def test_too_few_clients_leave_the_model_as_it_is(tmp_path):
    result, _ = start(tmp_path, lambda node, step: step == "mask" and node > 1, members=4)
    assert result.train_metrics_clientapp == {}
    assert result.arrays is None or len(result.arrays) == 0


def test_arrays_that_are_no_floats_keep_the_servers_values(tmp_path):
    model = {"counter": np.arange(3), "weights": np.zeros(6, np.float32)}
    result, _ = start(tmp_path, members=3, model=model)
    arrays = {name: array.numpy() for name, array in result.arrays.items()}
    assert arrays["counter"].tolist() == [0, 1, 2]
    assert arrays["weights"].any()


def test_noise_is_reported_each_round(tmp_path):
    result, _ = start(tmp_path, members=4, rounds=2, weight_max=1, bits=16, noise=(1.0, 2.0))
    first, second = (dict(result.train_metrics_clientapp[number]) for number in (1, 2))
    assert 0 < first["epsilon"] < second["epsilon"]


def request(arrays, **record):
    content = RecordDict({"arrays": ArrayRecord({"w": Array(arrays)}), "casemate": ConfigRecord(record)})
    return Message(content, dst_node_id=0, message_type="train")


def refused(node, message):
    reply = node.answer(message)
    assert reply.has_error(), reply
    return reply.error.reason


def test_a_server_cannot_turn_secure_aggregation_off_or_repeat_a_round(tmp_path):
    result, nodes = start(tmp_path, members=3, rounds=2)
    node, zeros = nodes[0], np.zeros(6, np.float32)
    for kind in ("train", "train.other"):
        plain = Message(RecordDict({"arrays": ArrayRecord({"w": Array(zeros)})}), dst_node_id=0, message_type=kind)
        assert "trains with secure aggregation only" in refused(node, plain)
    assert node.trainings == 2
    for number in (1, 2):
        assert f"does not take part in round {number}" in refused(node, request(zeros, step="train", round=number))
    assert len(list((tmp_path / "used-0").iterdir())) == 2 * 4
    assert "is not in round 2" in refused(node, request(zeros, step="reveal", round=2, message=b""))
    assert "is not in round 3" in refused(node, request(zeros, step="share", round=3, message=b""))
    # A new round goes on only from the step it is in, and ends with the first error.
    assert not node.answer(request(zeros, step="train", round=3)).has_error()
    assert "expected the cohort, got the agreements" in refused(
        node, request(zeros, step="reveal", round=3, message=b"")
    )
    assert "is not in round 3" in refused(node, request(zeros, step="share", round=3, message=b""))
    assert result.train_metrics_clientapp[2]["clients"] == 3


def test_requests_of_other_types_and_arguments_without_use_are_refused(tmp_path):
    write_job(tmp_path, 3, length=6, cohort=(3, 3))
    node, zeros = Node(tmp_path, 0, 0.1), np.zeros(6, np.float32)
    for record in [{"round": 1}, {"step": "train"}, {"step": "train", "round": 1.5}, {"step": "share", "round": 1, "message": 9}]:
        assert "the server's request has no step" in refused(node, request(zeros, **record))
    for argument in ({"weighted_by_key": "n"}, {"train_metrics_aggr_fn": sum}):
        with pytest.raises(TypeError, match="has no use here"):
            strategy_of(tmp_path, **argument)
    other = casemate.PrivateKey.generate("mlkem768-x25519")
    other.to_file(tmp_path / "other.pem")
    files = {"roster": tmp_path / "roster", "policy": tmp_path / "policy", "signer": tmp_path / "owner.pub"}
    strategy = flower.SecureFedAvg(Context(1, 0, {}, RecordDict(), {}), key=tmp_path / "other.pem", **files)
    nodes = [Node(tmp_path, number, 0.1) for number in range(3)]
    with pytest.raises(casemate.CasemateError, match="names another aggregator's key"):
        strategy.start(MemoryGrid(nodes), ArrayRecord({"a": Array(zeros)}), num_rounds=1)


def test_settings_that_are_missing_or_wrong_are_named(tmp_path):
    write_job(tmp_path, 3, length=6, cohort=(3, 3))
    node, zeros = Node(tmp_path, 0, 0.1), np.zeros(6, np.float32)
    del node.context.node_config["casemate-policy"]
    assert "no policy was given; set casemate-policy" in refused(node, request(zeros, step="train", round=1))
    other = Node(tmp_path, 1, 0.1)
    other.context.node_config["casemate-name"] = "clinic-2"
    assert "`clinic-2` has another key in the roster" in refused(other, request(zeros, step="train", round=1))
    short = Node(tmp_path, 2, 0.1)
    assert not short.answer(request(np.zeros(5, np.float32), step="train", round=1)).has_error()
    query = Message(RecordDict({"arrays": ArrayRecord({"w": Array(zeros)})}), dst_node_id=0, message_type="query")
    assert not node.answer(query).has_error()


class Interfering(MemoryGrid):
    """A server that changes the request of one client."""

    def __init__(self, nodes, change):
        super().__init__(nodes)
        self.change = change

    def send_and_receive(self, messages, *, timeout=None):
        messages = [copy.deepcopy(message) for message in messages]
        for message in messages:
            if message.metadata.dst_node_id == 1 and message.content["casemate"]["step"] == "train":
                self.change(message)
        return super().send_and_receive(messages, timeout=timeout)


@pytest.mark.parametrize(
    "change",
    [
        lambda message: message.content["config"].__setitem__("lr", 0.0),
        lambda message: message.content["arrays"].__setitem__("a", Array(np.ones((2, 2), np.float32))),
        lambda message: message.content.__setitem__("more", ConfigRecord({"epochs": 0})),
    ],
)
def test_a_client_with_other_settings_or_another_model_is_not_singled_out(tmp_path, change):
    write_job(tmp_path, 4, length=6, cohort=(3, 4), weight_max=1)
    nodes = [Node(tmp_path, number, 0.1) for number in range(4)]
    arrays = ArrayRecord({"a": Array(np.zeros((2, 2), np.float32)), "b": Array(np.zeros(2, np.float32))})
    result = strategy_of(tmp_path).start(Interfering(nodes, change), arrays, num_rounds=1)
    # The others go on without it: its advertisement is of another round.
    assert dict(result.train_metrics_clientapp[1])["clients"] == 3


def test_replies_that_are_no_messages_leave_the_server_running(tmp_path):
    write_job(tmp_path, 4, length=6, cohort=(3, 4), weight_max=1)
    nodes = [Node(tmp_path, number, 0.1) for number in range(4)]
    junk = [
        RecordDict({}),
        RecordDict({"a": ArrayRecord({"message": Array(dtype="uint8", shape=(3,), stype="numpy.ndarray", data=b"")})}),
        RecordDict({"a": ArrayRecord({"other": Array(np.zeros(3, np.uint8))})}),
        RecordDict({"a": ArrayRecord({"message": Array(np.zeros(3))})}),
    ]
    for content in junk:
        nodes[3].answer = lambda message, content=content: Message(content, reply_to=message)
        arrays = ArrayRecord({"a": Array(np.zeros(6, np.float32))})
        result = strategy_of(tmp_path).start(MemoryGrid(nodes), arrays, num_rounds=1)
        assert dict(result.train_metrics_clientapp[1])["clients"] == 3
        for node in nodes:
            node.context.state = RecordDict()


def test_a_context_that_was_not_kept_does_not_mask_twice(tmp_path):
    write_job(tmp_path, 3, length=6, cohort=(3, 3), weight_max=1)
    nodes = [Node(tmp_path, number, 0.1) for number in range(3)]
    before = {}

    class Losing(MemoryGrid):
        def send_and_receive(self, messages, *, timeout=None):
            for message in messages[:1]:
                before[message.content["casemate"]["step"]] = copy.deepcopy((nodes[0].context, message))
            return super().send_and_receive(messages, timeout=timeout)

    arrays = ArrayRecord({"a": Array(np.zeros(6, np.float32))})
    strategy_of(tmp_path).start(Losing(nodes), arrays, num_rounds=1)
    for step in ("share", "mask", "agree", "reveal"):
        nodes[0].context, message = before[step]
        assert "this step of the round was already taken" in refused(nodes[0], message)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_training_that_diverged_is_left_out(tmp_path, bad):
    write_job(tmp_path, 4, length=6, cohort=(3, 4), weight_max=1)
    nodes = [Node(tmp_path, number, bad if number == 2 else 0.1) for number in range(4)]
    arrays = ArrayRecord({"a": Array(np.zeros(5, np.float32)), "scalar": Array(np.array(0.5, np.float64))})
    result = strategy_of(tmp_path).start(MemoryGrid(nodes), arrays, num_rounds=1)
    assert dict(result.train_metrics_clientapp[1])["clients"] == 3
    scalar = result.arrays["scalar"].numpy()
    assert scalar.dtype == np.float64
    assert abs(scalar - 0.6) < 1e-5
