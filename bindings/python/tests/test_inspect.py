"""`casemate inspect --model` on files written by the real libraries."""

import itertools
import json
import os
import pickle
import subprocess
import zipfile

import numpy as np
import pytest

pytestmark = pytest.mark.skipif("CASEMATE_BIN" not in os.environ, reason="CASEMATE_BIN is not set to the casemate program")


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
    """Yield the tensors in a nested value by their key path, as PyTorch loads them."""
    import torch

    if isinstance(value, torch.Tensor):
        return {name: (str(value.dtype).removeprefix("torch."), list(value.shape), value.numel() * value.element_size())}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return {
        inner: row for key, child in pairs for inner, row in leaves(child, f"{name}.{key}" if name else str(key)).items()
    }


def test_tensors_match_those_that_torch_loads(tmp_path, inspect):
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
        for protocol, zipped in itertools.product([2, 3, pickle.HIGHEST_PROTOCOL], [True, False]):
            torch.save(state, tmp_path / "m", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
            model_file, found = inspect(tmp_path / "m")
            assert model_file["format"] == "pytorch"
            # PyTorch cannot load newer types from files that it wrote without a zip.
            loaded = torch.load(tmp_path / "m", weights_only=False) if zipped else state
            assert found == leaves(loaded), protocol
            assert not any(one["dangerous"] for one in model_file["pickles"])
            assert not model_file["tensors_are_partial"]
    # Loading a whole module runs code; its tensors are listed by attribute path.
    torch.save(model, tmp_path / "m")
    _, found = inspect(tmp_path / "m")
    assert found["_modules.0._parameters.weight"] == ("float32", [3, 4], 48)
    # Tensors that are not followed are reported as missing.
    torch.save({"d": torch.zeros(2), "s": torch.nested.nested_tensor([torch.ones(2)])}, tmp_path / "m")
    model_file, found = inspect(tmp_path / "m")
    assert found == {"d": ("float32", [2], 8)} and model_file["tensors_are_partial"]


def test_a_file_without_checksums_is_read_as_torch_reads_it(tmp_path, inspect):
    torch = pytest.importorskip("torch")
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(3)}, tmp_path / "m")
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.load(tmp_path / "m")["w"].tolist() == [1, 1, 1]
    _, found = inspect(tmp_path / "m")
    assert found == {"w": ("float32", [3], 12)}


def test_what_weights_only_loads_is_not_called_dangerous(tmp_path, inspect):
    torch = pytest.importorskip("torch")
    eye = torch.eye(4)
    state = {
        **{layout: getattr(eye, f"to_sparse_{layout}")() for layout in ["coo", "csr", "csc"]},
        **{layout: getattr(eye, f"to_sparse_{layout}")((2, 2)) for layout in ["bsr", "bsc"]},
        "q": torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8),
        "u": torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.quint8),
        "c": torch.quantize_per_channel(torch.ones(2, 3), torch.ones(2), torch.zeros(2), 0, torch.qint32),
        "d": eye,
    }
    for zipped in [True, False]:
        torch.save(state, tmp_path / "m", _use_new_zipfile_serialization=zipped)
        loaded = torch.load(tmp_path / "m", weights_only=True)
        model, found = inspect(tmp_path / "m")
        assert not model["tensors_are_partial"] and not model["pickles"][0]["dangerous"], model["pickles"]
        assert {name: shape for name, (_, shape, _) in found.items()} == {k: list(v.shape) for k, v in loaded.items()}
        # Four values and eight or nine numbers of 64 bits.
        assert found["coo"] == ("float32 (sparse_coo)", [4, 4], 4 * 4 + 8 * 8)
        assert found["csr"] == ("float32 (sparse_csr)", [4, 4], 4 * 4 + 9 * 8)
        assert (found["q"], found["u"], found["c"]) == (
            ("qint8", [2, 3], 6), ("quint8", [2, 3], 6), ("qint32", [2, 3], 24),
        )  # fmt: skip
    # Storage that is missing, or larger than its tensors.
    whole = (tmp_path / "m").read_bytes()
    for content in [whole[:-1], whole + b"\0", whole + pickle.dumps(os.system)]:
        (tmp_path / "m").write_bytes(content)
        model, _ = inspect(tmp_path / "m")
        assert model["pickles"][0]["unread"] and model["pickles"][0]["dangerous"]


def test_the_allowed_names_match_torch(tmp_path, inspect):
    pytest.importorskip("torch")
    from torch._weights_only_unpickler import _get_allowed_globals

    names = [name.rpartition(".")[::2] for name in _get_allowed_globals()]
    names += [("__builtin__", name) for name in ["set", "bytearray", "complex"]]
    others = [("torch", "load"), ("torch", "nn.FloatStorage"), ("torch.cuda", "QInt8Storage"), ("builtins", "eval")]
    program = b"\x80\x02" + b"".join(f"c{module}\n{name}\n0".encode() for module, name in names + others) + b"N."
    (tmp_path / "m").write_bytes(program)
    model, _ = inspect(tmp_path / "m")
    assert set(model["pickles"][0]["suspicious"]) == {" ".join(name) for name in others}
    assert len(model["pickles"][0]["imports"]) == len(set(names + others)) > 150


def test_torchscript(tmp_path, inspect):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    for script in [torch.jit.script(model), torch.jit.trace(model, torch.ones(1, 4))]:
        torch.jit.save(script, tmp_path / "m")
        header, found = inspect(tmp_path / "m")
        assert header["format"] == "torchscript" and header["byte_order"] == "little"
        assert found == {"0.weight": ("float32", [3, 4], 48), "0.bias": ("float32", [3], 12)}
        names = zipfile.ZipFile(tmp_path / "m").namelist()
        assert header["code"] == [name for name in names if name.startswith("m/code/")] != []
        assert not any(one["dangerous"] for one in header["pickles"]), header["pickles"]
    # A compressed pickle is refused, and constants in another folder do not make a file TorchScript.
    with zipfile.ZipFile(tmp_path / "m") as before, zipfile.ZipFile(tmp_path / "z", "w") as after:
        for name in before.namelist():
            after.writestr(name, before.read(name))
        after.writestr("m/code/more.pkl", pickle.dumps(1), zipfile.ZIP_DEFLATED)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        inspect(tmp_path / "z")
    assert b"an entry is compressed" in refused.value.stderr
    with zipfile.ZipFile(tmp_path / "m") as before, zipfile.ZipFile(tmp_path / "z", "w") as after:
        for name in before.namelist():
            after.writestr(name.replace("m/constants.pkl", "other/constants.pkl"), before.read(name))
    header, _ = inspect(tmp_path / "z")
    assert header["format"] == "pytorch" and any("__torch__" in s for s in header["pickles"][0]["suspicious"])
    # Without the constants, nothing shows that its classes are defined in its code.
    with zipfile.ZipFile(tmp_path / "m") as before, zipfile.ZipFile(tmp_path / "z", "w") as after:
        for name in before.namelist():
            if name != "m/constants.pkl":
                after.writestr(name, before.read(name))
    header, _ = inspect(tmp_path / "z")
    assert header["format"] == "pytorch" and any("__torch__" in s for s in header["pickles"][0]["suspicious"])


def test_gguf(tmp_path, inspect):
    gguf = pytest.importorskip("gguf")
    types = gguf.GGMLQuantizationType
    for order, name in [(gguf.GGUFEndian.LITTLE, "little"), (gguf.GGUFEndian.BIG, "big")]:
        writer = gguf.GGUFWriter(tmp_path / "m", "llama", endianess=order)
        writer.add_block_count(2)
        writer.add_array("tokens", ["a", "bc"])
        for kind in types:
            elements, size = gguf.GGML_QUANT_SIZES[kind]
            # The row length is in bytes.
            writer.add_tensor(kind.name, np.zeros((3, 2 * size), np.uint8), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        model, found = inspect(tmp_path / "m")
        assert (model["format"], model["byte_order"]) == ("gguf", name)
        assert ["llama.block_count", "2"] in model["metadata"] and ["tokens", "[2 values]"] in model["metadata"]
        reader = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "m").tensors}
        assert found == {
            name: (kind.tensor_type.name, [int(side) for side in reversed(kind.shape)], int(kind.n_bytes))
            for name, kind in reader.items()
        }
        assert set(found) == {kind.name for kind in types}
    (tmp_path / "m").write_bytes(b"GGUF" + (9).to_bytes(4, "little") + bytes(32))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        inspect(tmp_path / "m")
    assert b"not well-formed gguf: its version is neither 2 nor 3" in refused.value.stderr
    assert b"hostile" not in refused.value.stderr


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
    assert b"an entry is compressed" in refused.value.stderr
    # Entries in a different order than their data are refused: reading them would reread the file many times.
    data = (tmp_path / "m").read_bytes()
    end = data.rindex(b"PK\x05\x06")
    size, start = (int.from_bytes(data[end + at : end + at + 4], "little") for at in (12, 16))
    entries = [b"PK\x01\x02" + entry for entry in data[start : start + size].split(b"PK\x01\x02")[1:]]
    (tmp_path / "z").write_bytes(data[:start] + b"".join(reversed(entries)) + data[start + size :])
    assert zipfile.ZipFile(tmp_path / "z").namelist() == zipfile.ZipFile(tmp_path / "m").namelist()[::-1]
    with pytest.raises(subprocess.CalledProcessError) as refused:
        inspect(tmp_path / "z")
    assert b"its entries are not in the order of their data" in refused.value.stderr
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "p").write_bytes(pickle.dumps(Attack(), protocol))
        model, _ = inspect(tmp_path / "p")
        (one,) = model["pickles"]
        assert one["dangerous"] and one["suspicious"], protocol
