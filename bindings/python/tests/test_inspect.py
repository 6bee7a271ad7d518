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


def leaves(value, name=""):
    """Tensors below a value by the keys that lead to them, as PyTorch itself has them."""
    import torch

    if isinstance(value, torch.Tensor):
        return {name: (str(value.dtype).removeprefix("torch."), list(value.shape), value.numel() * value.element_size())}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return {
        inner: row for key, child in pairs for inner, row in leaves(child, f"{name}.{key}" if name else str(key)).items()
    }


def test_tensors_of_torch_are_those_that_torch_loads(tmp_path, inspect):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Embedding(7, 2))
    optimizer = torch.optim.AdamW(model.parameters())
    model[1](model[0](torch.ones(2, 4))).sum().backward()
    optimizer.step()
    whole = torch.arange(24, dtype=torch.float64).reshape(2, 3, 4)
    kinds = "float32 float64 float16 bfloat16 int8 int16 int32 int64 uint8 bool complex64 complex128 uint16 uint32 uint64"
    kinds = f"{kinds} float8_e4m3fn float8_e5m2".split()
    states = [
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 3},
        model.state_dict(),
        {kind: torch.zeros(3, 2, dtype=getattr(torch, kind)) for kind in kinds},
        [whole, {"view": whole[1, :, ::2], "turned": whole.transpose(0, 2), "number": torch.tensor(1.5)}, (torch.empty(0, 5),)],
        {"p": torch.nn.Parameter(torch.ones(2)), "b": torch.nn.Buffer(torch.ones(3)), "tied": [whole, whole], 7: whole},
    ]
    for state in states:
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            torch.save(state, tmp_path / "m", pickle_protocol=protocol)
            model_file, found = inspect(tmp_path / "m")
            assert found == leaves(torch.load(tmp_path / "m", weights_only=False)), protocol
            assert not any(one["dangerous"] for one in model_file["pickles"])
            assert not model_file["tensors_are_partial"]
    # A whole module runs code when it is loaded; what it holds is shown by the attributes that lead to it.
    torch.save(model, tmp_path / "m")
    _, found = inspect(tmp_path / "m")
    assert found["_modules.0._parameters.weight"] == ("float32", [3, 4], 48)
    # What is not followed is said to be missing.
    torch.save({"d": torch.zeros(2), "s": torch.eye(3).to_sparse()}, tmp_path / "m")
    model_file, found = inspect(tmp_path / "m")
    assert found == {"d": ("float32", [2], 8)} and model_file["tensors_are_partial"]


def test_torch_and_pickles(tmp_path, inspect):
    torch = pytest.importorskip("torch")
    state = {"w": torch.zeros(3, 4), "b": torch.zeros(5, dtype=torch.bfloat16), "n": torch.nn.Parameter(torch.ones(2))}
    torch.save(state, tmp_path / "m")
    model, found = inspect(tmp_path / "m")
    assert model["format"] == "pytorch"
    assert found == {"w": ("float32", [3, 4], 48), "b": ("bfloat16", [5], 10), "n": ("float32", [2], 8)}
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
    # Entries in another order than their data: to look at all of them would be to read the file again and again.
    data = (tmp_path / "m").read_bytes()
    end = data.rindex(b"PK\x05\x06")
    size, start = (int.from_bytes(data[end + at : end + at + 4], "little") for at in (12, 16))
    entries = [b"PK\x01\x02" + entry for entry in data[start : start + size].split(b"PK\x01\x02")[1:]]
    (tmp_path / "z").write_bytes(data[:start] + b"".join(reversed(entries)) + data[start + size :])
    assert zipfile.ZipFile(tmp_path / "z").namelist() == zipfile.ZipFile(tmp_path / "m").namelist()[::-1]
    with pytest.raises(subprocess.CalledProcessError) as refused:
        inspect(tmp_path / "z")
    assert b"not as `torch.save` writes it" in refused.value.stderr
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "p").write_bytes(pickle.dumps(Attack(), protocol))
        model, _ = inspect(tmp_path / "p")
        (one,) = model["pickles"]
        assert one["dangerous"] and one["suspicious"], protocol
