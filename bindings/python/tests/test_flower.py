"""Secure aggregation in a real Flower deployment: a SuperLink, SuperNodes, and an app that they run."""

import contextlib
import copy
import json
import logging
import os
import socket
import subprocess
import sys
import time
import types
from pathlib import Path

import casemate
import numpy as np
import pytest
from casemate import train

pytest.importorskip("flwr")
pytest.importorskip("sklearn")

from casemate import flower
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
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

    def __init__(self, folder, number, update, run=1, **options):
        files = {"key": f"{number}.pem", "roster": "roster", "policy": "policy", "signer": "owner.pub"}
        config = {f"casemate-{name}": str(folder / file) for name, file in {**files, "state": f"used-{number}"}.items()}
        self.context = Context(run, number, {"casemate-name": f"clinic-{number}", **config}, RecordDict(), {})
        self.mod = flower.SecureAggregation(**options)
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


def strategy_of(folder, run=1, **options):
    files = {"roster": folder / "roster", "policy": folder / "policy", "signer": folder / "owner.pub"}
    context = Context(run, 0, {}, RecordDict(), {})
    return flower.SecureFedAvg(context, **{"key": folder / "aggregator.pem", **files, **options})


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


TOLD = "this client cannot take the step; its log says why"


@pytest.fixture(autouse=True)
def logged():
    """What clients and the server log."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("flwr").addHandler(handler)
    yield lines
    logging.getLogger("flwr").removeHandler(handler)


def refused(node, message, logged=None):
    """Return what the server is told, or what is only in the client's log."""
    reply = node.answer(message)
    assert reply.has_error(), reply
    if logged is None:
        return reply.error.reason
    assert reply.error.reason == TOLD
    return logged[-1]


def test_a_server_cannot_turn_secure_aggregation_off_or_repeat_a_round(tmp_path, logged):
    result, nodes = start(tmp_path, members=3, rounds=2)
    node, zeros = nodes[0], np.zeros(6, np.float32)
    for kind in ("train", "train.other"):
        plain = Message(RecordDict({"arrays": ArrayRecord({"w": Array(zeros)})}), dst_node_id=0, message_type=kind)
        assert "trains with secure aggregation only" in refused(node, plain)
    assert node.trainings == 2
    for number in (1, 2):
        assert f"does not take part in round {number}" in refused(node, request(zeros, step="train", round=number))
    assert "is not in round 2" in refused(node, request(zeros, step="reveal", round=2, message=b""))
    assert "is not in round 3" in refused(node, request(zeros, step="share", round=3, message=b""))
    # A new round goes on only from the step it is in, and ends with the first error.
    assert not node.answer(request(zeros, step="train", round=3)).has_error()
    out_of_turn = refused(node, request(zeros, step="reveal", round=3, message=b""), logged)
    assert "expected the cohort, got the agreements" in out_of_turn
    assert "update" not in node.context.state["casemate"]
    assert "is not in round 3" in refused(node, request(zeros, step="share", round=3, message=b""))
    assert result.train_metrics_clientapp[2]["clients"] == 3
    # Nor does it train again after a restart that lost its context.
    node.context.state = RecordDict()
    for number in (1, 2, 3):
        assert "was already taken" in refused(node, request(zeros, step="train", round=number), logged)
    assert node.trainings == 3
    assert not node.answer(request(zeros, step="train", round=4)).has_error()


def test_requests_of_other_types_and_arguments_without_use_are_refused(tmp_path):
    write_job(tmp_path, 3, length=6, cohort=(3, 3))
    node, zeros = Node(tmp_path, 0, 0.1), np.zeros(6, np.float32)
    train_step = {"step": "train"}
    for record in [
        {"round": 1},
        train_step,
        {**train_step, "round": 1.5},
        {**train_step, "round": True},
        {**train_step, "round": 0},
        {"step": "share", "round": 1, "message": 9},
    ]:
        assert "the request has no step" in refused(node, request(zeros, **record))
    for argument in ({"weighted_by_key": "n"}, {"train_metrics_aggr_fn": sum}):
        with pytest.raises(TypeError, match="has no use here"):
            strategy_of(tmp_path, **argument)
    other = casemate.PrivateKey.generate("mlkem768-x25519")
    other.to_file(tmp_path / "other.pem")
    with pytest.raises(casemate.CasemateError, match="names another aggregator's key"):
        strategy_of(tmp_path, key=tmp_path / "other.pem")
    nodes = [Node(tmp_path, number, 0.1) for number in range(3)]
    with pytest.raises(casemate.CasemateError, match="the model has 5 numbers of floating point, and the policy is for 6"):
        strategy_of(tmp_path).start(MemoryGrid(nodes), ArrayRecord({"a": Array(zeros[:5])}), num_rounds=1)
    assert not any(node.trainings for node in nodes)


def test_settings_that_are_missing_or_wrong_are_named_in_the_clients_log(tmp_path, logged, monkeypatch):
    write_job(tmp_path, 3, length=6, cohort=(3, 3))
    first = lambda: request(np.zeros(6, np.float32), step="train", round=1)  # noqa: E731

    def wrong(**settings):
        node = Node(tmp_path, 0, 0.1)
        for name, value in settings.items():
            node.context.node_config[f"casemate-{name}"] = value
            if value is None:
                del node.context.node_config[f"casemate-{name}"]
        told = refused(node, first(), logged)
        assert node.trainings == 0
        return told

    assert "no policy was given; set casemate-policy" in wrong(policy=None)
    assert "`clinic-2` has another key in the roster" in wrong(name="clinic-2")
    assert f"{tmp_path}/nowhere" in wrong(roster=f"{tmp_path}/nowhere")
    monkeypatch.chdir(tmp_path)
    for name in ("key", "roster", "policy", "signer", "state"):
        assert f"casemate-{name} is 'policy'; give an absolute path" in wrong(**{name: "policy"})
    assert "depends on the working directory" in refused(Node(tmp_path, 0, 0.1, state="here"), first(), logged)
    other = Node(tmp_path, 1, 0.1)
    assert "has 5 numbers of floating point" in refused(other, request(np.zeros(5, np.float32), step="train", round=1), logged)
    assert other.trainings == 0
    strict = Node(tmp_path, 2, 0.1, floors=train.floors(bits=21))
    assert "the number of bits is 20, must be at least 21" in refused(strict, first(), logged)
    assert strict.trainings == 0
    query = Message(RecordDict({"arrays": ArrayRecord({"w": Array(np.zeros(6))})}), dst_node_id=0, message_type="query")
    assert not other.answer(query).has_error()


def test_errors_of_the_app_stay_on_the_client(tmp_path, logged):
    write_job(tmp_path, 3, length=6, cohort=(3, 3))
    node = Node(tmp_path, 0, 0.1)
    node.train = lambda message, _context: Message(Error(0, "/home/clinic/patients.csv: row 17"), reply_to=message)
    assert "row 17" in refused(node, request(np.zeros(6, np.float32), step="train", round=1), logged)


@pytest.mark.parametrize("error", [TypeError, ValueError, MemoryError, OverflowError, KeyError, RuntimeError])
def test_what_goes_wrong_in_a_training_stays_on_the_client(tmp_path, logged, error):
    write_job(tmp_path, 3, length=6, cohort=(3, 3))
    node = Node(tmp_path, 0, 0.1)

    def fail(_message, _context):
        raise error("/home/clinic/patients.csv: row 17")

    node.train = fail
    assert "row 17" in refused(node, request(np.zeros(6, np.float32), step="train", round=1), logged)


def test_the_clients_clock_is_an_argument(tmp_path, logged):
    write_job(tmp_path, 3, length=6, cohort=(3, 3))
    late = Node(tmp_path, 0, 0.1, now=lambda: time.time() + 31 * 24 * 60 * 60)
    assert "expired" in refused(late, request(np.zeros(6, np.float32), step="train", round=1), logged)


def test_an_old_roster_is_refused(tmp_path, logged):
    make = casemate.PrivateKey.generate
    write_job(tmp_path, 3, length=6, cohort=(3, 3))
    node = Node(tmp_path, 0, 0.1)
    assert not node.answer(request(np.zeros(6, np.float32), step="train", round=1)).has_error()
    # The same job goes on with another roster, and then the old one comes back.
    owner, aggregator = make("mldsa65-ed25519"), make("mlkem768-x25519")
    keys = {f"clinic-{number}": tmp_path / f"{number}.pem" for number in range(3)}
    members = {name: casemate.PrivateKey.from_file(path).public_key for name, path in keys.items()}
    (tmp_path / "owner.pub").write_text(owner.public_key.to_pem())
    for epoch, error in [(2, None), (12, None), (3, "the roster has epoch 3, and this client has seen epoch 12")]:
        signed = train.sign_roster(members, sign=owner, job=bytes(16), epoch=epoch)
        (tmp_path / "roster").write_bytes(signed)
        roster = train.open_roster(signed, signer=owner.public_key)
        terms = {"length": 6, "clip": 1.0, "cohort": (3, 3)}
        (tmp_path / "policy").write_bytes(train.sign_policy(roster, aggregator=aggregator.public_key, sign=owner, **terms))
        message = request(np.zeros(6, np.float32), step="train", round=epoch)
        if error is None:
            assert not node.answer(message).has_error()
        else:
            assert error in refused(node, message, logged)


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


def reorder(record):
    for name in sorted(record, reverse=True):
        record[name] = record.pop(name)


@pytest.mark.parametrize(
    "change",
    [
        lambda message: message.content["config"].__setitem__("lr", 0.0),
        lambda message: message.content["arrays"].__setitem__("a", Array(np.ones((2, 2), np.float32))),
        lambda message: message.content["config"].__setitem__("server-round", 1.0),
        lambda message: message.content["config"].__setitem__("server-round", True),
        lambda message: message.content.__setitem__("more", ConfigRecord({"epochs": 0})),
        lambda message: message.content.__setitem__("more", MetricRecord({"loss": 0.5})),
        lambda message: reorder(message.content["arrays"]),
        lambda message: message.content.__setitem__("weights", message.content.pop("arrays")),
        lambda message: setattr(message.metadata, "_group_id", "other"),
        lambda message: setattr(message.metadata, "_message_type", "train.other"),
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
    junk = [
        RecordDict({}),
        RecordDict({"a": ArrayRecord({"message": Array(dtype="uint8", shape=(3,), stype="numpy.ndarray", data=b"")})}),
        RecordDict({"a": ArrayRecord({"other": Array(np.zeros(3, np.uint8))})}),
        RecordDict({"a": ArrayRecord({"message": Array(np.zeros(3))})}),
    ]
    for run, content in enumerate(junk, 1):
        nodes = [Node(tmp_path, number, 0.1, run) for number in range(4)]
        nodes[3].answer = lambda message, content=content: Message(content, reply_to=message)
        arrays = ArrayRecord({"a": Array(np.zeros(6, np.float32))})
        result = strategy_of(tmp_path, run).start(MemoryGrid(nodes), arrays, num_rounds=1)
        assert dict(result.train_metrics_clientapp[1])["clients"] == 3


def test_a_context_that_was_not_kept_does_not_mask_twice(tmp_path, logged):
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
        assert "this step of the round was already taken" in refused(nodes[0], message, logged)


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


def test_a_run_is_another_training(tmp_path):
    write_job(tmp_path, 4, length=6, cohort=(3, 4), weight_max=1)
    nodes = [Node(tmp_path, number, 0.1, run=1 if number else 2) for number in range(4)]
    result = strategy_of(tmp_path).start(MemoryGrid(nodes), ArrayRecord({"a": Array(np.zeros(6))}), num_rounds=1)
    assert dict(result.train_metrics_clientapp[1])["clients"] == 3


def test_a_client_that_reveals_a_wrong_share_is_left_out_from_then_on(tmp_path, logged, monkeypatch):
    write_job(tmp_path, 7, length=6, cohort=(3, 7), weight_max=1)
    nodes = [Node(tmp_path, number, 0.1) for number in range(7)]
    close = flower._server.AggregationServer.close

    class Blaming:
        def __init__(self, round_, key):
            self.server = casemate.train.AggregationServer(round_, key)

        def __getattr__(self, name):
            return getattr(self.server, name)

        def close(self):
            found = close(self.server)
            if isinstance(found, dict):
                return found
            names = ("mean", "weight", "survivors", "dropped")
            blamed = [("clinic-2", "clinic-4")] if "clinic-2" in found.survivors else []
            return Blamed(**{name: getattr(found, name) for name in names}, blamed=blamed)

    class Blamed(types.SimpleNamespace):
        pass

    monkeypatch.setattr(flower._server, "AggregationServer", Blaming)
    monkeypatch.setattr(flower._server, "Aggregate", Blamed)
    result = strategy_of(tmp_path).start(MemoryGrid(nodes), ArrayRecord({"a": Array(np.zeros(6))}), num_rounds=2)
    assert [dict(result.train_metrics_clientapp[number])["clients"] for number in (1, 2)] == [7, 6]
    assert [node.trainings for node in nodes] == [2, 2, 1, 2, 2, 2, 2]
    assert "clinic-2 revealed a wrong share of clinic-4, and is left out from now on" in logged


def test_a_round_whose_reveal_failed_costs_epsilon(tmp_path):
    lost = lambda _node, step: step == "reveal" and strategy.rounds == 1  # noqa: E731
    write_job(tmp_path, 4, length=6, cohort=(4, 4), weight_max=1, bits=16, noise=(1.0, 2.0))
    epsilons = {}
    for fails in (False, True):
        nodes = [Node(tmp_path, number, 0.1, run=1 + fails) for number in range(4)]
        strategy = strategy_of(tmp_path, 1 + fails)
        strategy.rounds = 0 if fails else 2
        configure = strategy.configure_train

        def counted(*arguments, strategy=strategy, configure=configure):
            strategy.rounds += 1
            return configure(*arguments)

        strategy.configure_train = counted
        arrays = ArrayRecord({"a": Array(np.zeros(6))})
        result = strategy.start(MemoryGrid(nodes, lost), arrays, num_rounds=2)
        epsilons[fails] = {n: dict(m)["epsilon"] for n, m in result.train_metrics_clientapp.items()}
    assert set(epsilons[False]) == {1, 2}
    assert set(epsilons[True]) == {2}
    assert epsilons[True][2] == pytest.approx(epsilons[False][2])


def test_no_more_clients_are_asked_than_a_cohort_has(tmp_path):
    write_job(tmp_path, 5, length=6, cohort=(3, 4), weight_max=1)
    nodes = [Node(tmp_path, number, 0.1) for number in range(5)]
    result = strategy_of(tmp_path).start(MemoryGrid(nodes), ArrayRecord({"a": Array(np.zeros(6))}), num_rounds=1)
    assert dict(result.train_metrics_clientapp[1])["clients"] == 4
    assert sum(node.trainings for node in nodes) == 4
