"""Masked all-reduce between real ranks over gloo: what they learn, what the wire shows, and what stops them."""

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import casemate
import numpy as np
import pytest
from casemate import train

pytest.importorskip("torch")

RANK = Path(__file__).with_name("masked_ranks.py")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    make = casemate.PrivateKey.generate
    owner = make("mldsa65-ed25519")
    keys = {f"rank-{number}": make("mldsa65-ed25519") for number in range(3)}
    for name, key in keys.items():
        key.to_file(folder / f"{name}.pem")
    (folder / "owner.pub").write_text(owner.public_key.to_pem())
    (folder / "roster").write_bytes(train.sign_roster(keys, sign=owner))
    return folder


def run(folder, task, ranks=3, gone=()):
    """Run a task on ranks in processes of their own, and return what each found, but for those that are gone in the end."""
    command = lambda rank: [sys.executable, RANK, folder, str(rank), str(ranks), task]  # noqa: E731
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "ATTEMPT": str(time.monotonic_ns())}
    processes = [
        subprocess.Popen(command(rank), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in range(ranks)
    ]
    try:
        outputs = [process.communicate(timeout=150)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    files = [folder / f"{task}-{rank}.json" for rank in range(ranks) if rank not in gone]
    assert all(file.exists() for file in files), "\n".join(outputs)
    return [json.loads(file.read_text()) for file in files]


@pytest.mark.parametrize("mode", ["pairs", "group"])
def test_ranks_train_as_without_masks(job, mode):
    for found in run(job, f"trains-{mode}"):
        assert found["difference"] <= 1e-6
        assert found["moved"] > 0.1
        # Two buckets in most of 20 steps, and a number for each.
        assert found["reductions"] > 30


def test_values_of_each_type_are_averaged(job):
    results = run(job, "types")
    assert all(found == results[0] for found in results)
    found = results[0]
    # The values and the result are rounded to the type: 24, 8 or 11 bits of a number up to 3.
    assert found["float32"] <= 2**-22
    assert found["bfloat16"] <= 2**-6
    assert found["float16"] <= 2**-9
    assert found["nan"]
    assert found["zero"] == 0
    assert found["matrix"] == [[1.0] * 3] * 2
    errors = found["errors"]
    assert "the type float64, which would lose precision; convert it to float32" in errors[0]
    assert "the type int64, which would lose precision" in errors[1]
    assert "not contiguous" in errors[2]
    assert "no elements" in errors[3]
    assert "not contiguous" in errors[4]
    assert found["large"][0] <= 2**-24
    assert found["large"][1] <= 2**-8
    assert len(found["closed"]) == 2
    assert all("the session is over: it was closed" in error for error in found["closed"])


@pytest.mark.parametrize("task", ["labels", "buckets"])
def test_ranks_that_average_other_tensors_of_one_size_stop(job, task):
    zero, one = run(job, task, ranks=2)
    assert "rank 1 (rank-1) reduces something else of the same length" in zero["error"]
    assert "rank 0 (rank-0) reduces something else of the same length" in one["error"]
    assert zero.get("nan", True)


def test_what_would_send_values_in_the_clear_is_refused(job):
    found, _ = run(job, "refused", ranks=2)
    for name in ("find_unused_parameters", "init_sync", "broadcast_buffers", "process_group", "device_mesh"):
        assert f"TypeError: {name} cannot be set: " in found[name]
    assert "1 is a SyncBatchNorm, which sends values in the clear" in found["norm"]
    for name in ("twice", "inside"):
        assert "contains a DistributedDataParallel" in found[name]
    assert "another DistributedDataParallel around it would send weights in the clear" in found["outside"]
    assert "parameter weight has the type float64, which would lose precision" in found["double"]
    assert "expected a torch tensor, got list" in found["array"]
    assert "join() sends weights in the clear" in found["join"]


@pytest.fixture(scope="module")
def private_network():
    works = shutil.which("unshare") and subprocess.run(["unshare", "-rn", "true"], check=False).returncode == 0
    if not works:
        pytest.skip("this machine allows no network namespaces (Linux: kernel.unprivileged_userns_clone)")
    return ["unshare", "-rn", sys.executable, Path(__file__).with_name("masked_wire.py")]


def wire_of(job, private_network, how):
    done = subprocess.run([*private_network, job, f"marked-{how}"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return (job / f"marked-{how}.wire").read_bytes()


def test_the_wire_shows_no_value_and_no_sum(job, private_network):
    mark = np.float32(0.123456789)
    floats = [mark, mark * 2, mark * 3, mark * 3 / 2]
    plain, masked = (wire_of(job, private_network, how) for how in ("plain", "masked"))
    assert len(masked) > 5 * 20_000
    shown = [np.full(4, value, np.float32).tobytes() for value in floats]
    # The recorder sees what is there: without masks, both vectors and the sum.
    assert sum(value in plain for value in shown) >= 2
    assert not any(value in masked for value in shown)
    # Nor as integers: the scale is 2**-2, with 31 bits for two ranks.
    levels = [round(float(value) * 2**32) + 2**30 for value in floats[:2]]
    for number in (levels[0], levels[1], sum(levels)):
        assert struct.pack("<4I", *[number] * 4) not in masked
    # Nor does it show where values repeat.
    assert repeats(plain) > 2000
    assert repeats(masked) < 500


def repeats(wire):
    """How often the most frequent word is on the wire. The library's own headers repeat a little."""
    words = np.frombuffer(wire[: len(wire) // 8 * 8], np.uint64)
    return np.unique(words[words != 0], return_counts=True)[1].max()


@pytest.mark.parametrize("where", ["sent", "received"])
def test_a_changed_byte_stops_every_rank_before_its_step(job, where):
    results = run(job, f"tampered-{where}")
    for rank, found in enumerate(results):
        first, second = found["errors"]
        if where == "sent" or rank == 1:
            assert "the sum was changed on the way" in first
        else:
            assert "rank 1 (rank-1) received a wrong sum" in first
        assert "the session is over" in second
        assert found["same"]


def test_a_wrong_sum_leaves_no_numbers(job):
    for found in run(job, "tampered-tensor"):
        assert "the sum was changed on the way" in found["errors"][0]
        assert found["nan"]


def test_a_rank_with_another_key_is_refused(job, tmp_path):
    shutil.copytree(job, tmp_path / "job")
    results = run(tmp_path / "job", "strangers", ranks=2)
    assert "`rank-1` has another key in the roster" in results[1]["error"]
    assert results[0]["error"]


def test_ranks_stop_when_one_is_killed_and_begin_again(job):
    for found in run(job, "dies", gone=[1]):
        first, second = found["errors"]
        assert "RuntimeError" in first
        assert "the session is over: RuntimeError" in second
    # Restarted, they begin another session.
    assert all(found["difference"] <= 1e-6 for found in run(job, "trains-pairs"))
