"""What `casemate inspect --model` says of files that the real libraries wrote."""

import json
import os
import pickle
import subprocess
import zipfile

import numpy as np
import pytest

pytestmark = pytest.mark.skipif("CASEMATE_BIN" not in os.environ, reason="CASEMATE_BIN names no casemate to work with")


@pytest.fixture
def inspect(tmp_path):
    (tmp_path / "pass").write_text("correct horse\n")

    def run(*arguments):
        command = [os.environ["CASEMATE_BIN"], "--home", tmp_path / "home", "--passphrase-file", tmp_path / "pass"]
        return subprocess.run([*command, *arguments], check=True, capture_output=True, cwd=tmp_path).stdout

    run("keys", "init")
    run("keys", "generate", "--name", "me", "--kind", "kem")

    def inspect(path):
        run("seal", path, "--to", "me", "--force")
        model = json.loads(run("inspect", f"{path}.sealed", "--model", "--json"))["model"]
        tensors = {t["name"]: (t["dtype"], t["shape"], t["bytes"]) for t in model["tensors"]}
        run("inspect", f"{path}.sealed", "--model")
        return model, tensors

    return inspect


def test_safetensors(tmp_path, inspect):
    import safetensors.numpy

    tensors = {"w": np.zeros((3, 4), np.float16), "b": np.zeros(5, np.int64)}
    safetensors.numpy.save_file(tensors, tmp_path / "m", metadata={"format": "pt"})
    model, found = inspect(tmp_path / "m")
    assert model["format"] == "safetensors" and model["metadata"] == [["format", "pt"]]
    assert found == {"w": ("F16", [3, 4], 24), "b": ("I64", [5], 40)}


def test_onnx(tmp_path, inspect):
    onnx = pytest.importorskip("onnx")
    weights = [
        onnx.numpy_helper.from_array(np.zeros((2, 3), np.float32), "w"),
        onnx.helper.make_tensor("d", onnx.TensorProto.INT64, [2], [1, 2]),
    ]
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 3])
    node = onnx.helper.make_node("Identity", ["w"], ["y"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [y], weights))
    onnx.save(model, tmp_path / "m")
    model, found = inspect(tmp_path / "m")
    assert model["format"] == "onnx"
    assert found["w"] == ("FLOAT", [2, 3], 24) and found["d"][:2] == ("INT64", [2])


def test_torch_and_pickles(tmp_path, inspect):
    torch = pytest.importorskip("torch")
    state = {"w": torch.zeros(3, 4), "b": torch.zeros(5, dtype=torch.bfloat16), "n": torch.nn.Parameter(torch.ones(2))}
    torch.save(state, tmp_path / "m")
    model, found = inspect(tmp_path / "m")
    assert model["format"] == "pytorch"
    assert sorted(row[2] for row in found.values()) == [8, 10, 48]
    assert not any(one["dangerous"] for one in model["pickles"]), model["pickles"]

    class Attack:
        def __reduce__(self):
            return (os.system, ("true",))

    torch.save({"w": torch.zeros(3), "x": Attack()}, tmp_path / "bad")
    model, _ = inspect(tmp_path / "bad")
    assert any("system" in name for one in model["pickles"] for name in one["suspicious"])
    torch.save({"x": Attack()}, tmp_path / "old", _use_new_zipfile_serialization=False)
    model, _ = inspect(tmp_path / "old")
    assert all(one["dangerous"] for one in model["pickles"])
    with zipfile.ZipFile(tmp_path / "m") as before, zipfile.ZipFile(tmp_path / "z", "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            after.writestr(name, before.read(name))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        inspect(tmp_path / "z")
    assert b"not as `torch.save` writes it" in refused.value.stderr
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "p").write_bytes(pickle.dumps(Attack(), protocol))
        model, _ = inspect(tmp_path / "p")
        (one,) = model["pickles"]
        assert one["dangerous"] and one["suspicious"], protocol
