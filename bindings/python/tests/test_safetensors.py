"""Sealed safetensors compared with the package safetensors."""

import json
import os
import re

import casemate
import casemate.safetensors as sealed_tensors
import numpy as np
import pytest
import safetensors.numpy

TENSORS = {
    "embed": np.random.default_rng(1).standard_normal((1000, 64)).astype(np.float32),
    "half": np.arange(12, dtype=np.float16).reshape(3, 4),
    "flags": np.array([True, False, True]),
    "count": np.array(7, dtype=np.int64),
    "none": np.empty((0, 5), dtype=np.float32),
    "byte": np.arange(5, dtype=np.uint8),
}


def same(found, expected):
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape, name
        np.testing.assert_array_equal(found[name], tensor)


@pytest.fixture
def path(tmp_path, to):
    path = tmp_path / "model.safetensors.sealed"
    sealed_tensors.save_file(TENSORS, path, metadata={"format": "np"}, **to)
    return path


def test_files_are_interchangeable_with_safetensors(path, tmp_path, to, trust):
    content = casemate.open(path, **trust).read()
    same(safetensors.numpy.load(content), TENSORS)
    same(sealed_tensors.load_file(path, **trust), TENSORS)
    safetensors.numpy.save_file(TENSORS, tmp_path / "plain", metadata={"a": "b"})
    casemate.seal(tmp_path / "plain", tmp_path / "sealed", **to)
    same(sealed_tensors.load_file(tmp_path / "sealed", **trust), TENSORS)
    with sealed_tensors.safe_open(tmp_path / "sealed", **trust) as file:
        assert file.metadata() == {"a": "b"}


def test_single_tensors_and_slices_read_only_what_they_need(path, trust):
    with sealed_tensors.safe_open(path, **trust) as file:
        assert sorted(file.keys()) == sorted(TENSORS)
        same({name: file.get_tensor(name) for name in file.keys()}, TENSORS)
        part = file.get_slice("embed")
        assert (part.get_shape(), part.get_dtype()) == ([1000, 64], "F32")
        whole = TENSORS["embed"]
        for index in [
            np.s_[3], np.s_[-1], np.s_[10:20], np.s_[10:20, 5:9], np.s_[::7], np.s_[::-3], np.s_[5:5], np.s_[:, 3],
            np.s_[..., 1], np.s_[999:2000], np.s_[-20:-10:2, ::2], np.s_[7, 9], np.s_[()],
        ]:  # fmt: skip
            np.testing.assert_array_equal(part[index], whole[index], err_msg=str(index))
        for index in [1000, -1001]:
            with pytest.raises(IndexError):
                part[index]
        with pytest.raises(KeyError, match="no tensor"):
            file.get_tensor("missing")
        assert file.get_slice("count")[()] == 7


def test_a_tensor_of_a_large_file_reads_only_its_own_segments(tmp_path, to, trust):
    tensors = {f"layer.{n}": np.full(2_000_000, n, np.float32) for n in range(8)}
    path = tmp_path / "large"
    sealed_tensors.save_file(tensors, path, **to)

    class Counting:
        def __init__(self):
            self.file, self.size, self.count = open(path, "rb"), os.path.getsize(path), 0

        def read_at(self, offset, length):
            self.count += length
            return os.pread(self.file.fileno(), length, offset)

    counting = Counting()
    with sealed_tensors.safe_open(counting, **trust) as file:
        opened = counting.count
        rows = file.get_slice("layer.5")[1000:1016]
        assert (rows == 5).all()
    assert opened < 1_200_000, "reads only the footer, the tail and the segment with the header"
    assert counting.count - opened <= 2 * (1 << 20) + 64


def header(entries, data=b"", pad=0):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return (len(text) + pad).to_bytes(8, "little") + text + data


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bytes is impossible"),
        (b"\xff" * 8, "bytes is impossible"),
        (header({}, pad=9), "bytes is impossible"),
        (header(b"{"), "EOF while parsing"),
        (header(b"[" * 100_000), "expected an object"),
        (header([]), "expected an object"),
        (header({"a": F32}), "does not end where the file ends"),
        (header({"a": F32}, b"x" * 9), "does not end where the file ends"),
        (header({"a": {**F32, "data_offsets": [1, 9]}}, b"x" * 9), "gap or overlap"),
        (header({"a": F32, "b": {**F32, "data_offsets": [4, 12]}}, b"x" * 12), "gap or overlap"),
        (header({"a": {**F32, "shape": [3]}}, b"x" * 8), "does not match its shape"),
        (header({"a": {**F32, "shape": [-1]}}, b"x" * 8), "expected u64"),
        (header({"a": {**F32, "shape": [2.0]}}, b"x" * 8), "expected u64"),
        (header({"a": {**F32, "dtype": "F4"}}, b"x" * 8), "does not match its shape"),
        (header({"a": {**F32, "more": 1}}, b"x" * 8), "unknown field `more`"),
        (header({"a": {**F32, "shape": [0, 1 << 70]}}, b"x" * 8), "expected u64"),
        (header({"a": {**F32, "shape": [1] * 65}}, b"x" * 8), "invalid shape or invalid offsets"),
        (header(b'{"a":' + b"1" * 5000 + b"}"), "number out of range"),
        (header(json.dumps({"a": F32}).encode()[:-1] + b',"a":1}', b"x" * 8), "occurs twice"),
        (header({"__metadata__": {"a": 1}}), "expected a string"),
    ],
)
def test_content_that_is_not_safetensors_is_refused_for_its_reason(tmp_path, to, trust, content, message):
    casemate.seal(content, tmp_path / "x", **to)
    with pytest.raises(ValueError, match=message):
        sealed_tensors.load_file(tmp_path / "x", **trust)


def test_bfloat16_goes_through_ml_dtypes(tmp_path, to, trust):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    tensor = np.arange(8).astype(ml_dtypes.bfloat16)
    sealed_tensors.save_file({"x": tensor}, tmp_path / "x", **to)
    same(sealed_tensors.load_file(tmp_path / "x", **trust), {"x": tensor})


def test_every_type_is_read_and_written_as_by_safetensors(tmp_path, to, trust):
    torch = pytest.importorskip("torch")
    import safetensors.torch

    (tmp_path / "x").write_bytes(header({"a": {**F32, "dtype": "F33"}}, b"x" * 8))
    with pytest.raises(safetensors.SafetensorError) as refused:
        safetensors.torch.load_file(tmp_path / "x")
    # The error of safetensors lists every type that it supports.
    every = re.findall("`([A-Z0-9_]+)`", str(refused.value).split("expected")[1])
    assert len(every) >= 21, every
    for name in every:
        (tmp_path / "x").write_bytes(header({"a": {"dtype": name, "shape": [2, 8], "data_offsets": [0, 0]}}))
        with pytest.raises(safetensors.SafetensorError):
            safetensors.torch.load_file(tmp_path / "x")
        bits = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8}.get(name) or int(re.search(r"\d+", name)[0])
        size = 2 * 8 * bits // 8
        data = bytes([1, 0] * (size // 2))
        content = header({"a": {"dtype": name, "shape": [2, 8], "data_offsets": [0, size]}}, data)
        (tmp_path / "x").write_bytes(content)
        casemate.seal(tmp_path / "x", tmp_path / "y", force=True, **to)
        try:
            expected = safetensors.torch.load_file(tmp_path / "x")["a"]
        except safetensors.SafetensorError:
            with pytest.raises(TypeError, match=f"tensor 'a': PyTorch .* has no type {name}"):
                sealed_tensors.load_file(tmp_path / "y", framework="pt", **trust)
            continue
        found = sealed_tensors.load_file(tmp_path / "y", framework="pt", **trust)["a"]
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), name
        assert torch.equal(found.view(torch.uint8), expected.view(torch.uint8)), name
        with sealed_tensors.safe_open(tmp_path / "y", framework="pt", **trust) as file:
            part = file.get_slice("a")
            assert (part.get_shape(), part.get_dtype()) == ([2, 8], name)
            assert torch.equal(part[1:].view(torch.uint8), expected.view(torch.uint8)[1:]), name
        safetensors.torch.save_file({"a": expected}, tmp_path / "x")
        assert b"".join(sealed_tensors.serialize({"a": expected})) == (tmp_path / "x").read_bytes(), name


def test_a_type_without_a_counterpart_leaves_the_other_tensors_readable(tmp_path, to, trust):
    tensors = {
        "new": {"dtype": "F12_E7M4", "shape": [2], "data_offsets": [0, 3]},
        "odd": {"dtype": "F4", "shape": [2], "data_offsets": [3, 4]},
        "norm": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
    }
    casemate.seal(header(tensors, bytes(12)), tmp_path / "x", **to)
    with sealed_tensors.safe_open(tmp_path / "x", **trust) as file:
        assert file.keys() == ["new", "odd", "norm"]
        np.testing.assert_array_equal(file.get_tensor("norm"), np.zeros(2, np.float32))
        for name, message in [
            ("new", "tensor 'new': NumPy has no type F12_E7M4"),
            ("odd", "tensor 'odd': NumPy has no type F4; load with framework='pt'"),
        ]:
            for ask in [file.get_tensor, file.get_slice]:
                with pytest.raises(TypeError, match=f"^{message}$"):
                    ask(name)
    with pytest.raises(TypeError, match="tensor 'new'"):
        sealed_tensors.load_file(tmp_path / "x", **trust)


def test_unsupported_names_and_types_are_refused(tmp_path, to):
    for tensors, error in [
        ({"__metadata__": TENSORS["byte"]}, ValueError),
        ({"x": np.array(["text"])}, TypeError),
    ]:
        with pytest.raises(error):
            sealed_tensors.save_file(tensors, tmp_path / "x", **to)
    assert not (tmp_path / "x").exists()
