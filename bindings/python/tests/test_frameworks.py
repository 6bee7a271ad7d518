"""PyTorch, distributed checkpoints, ONNX Runtime, fsspec."""

import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import casemate
import numpy as np
import pytest
from conftest import flip


class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        self.torch = pytest.importorskip("torch")

    def test_save_and_load(self, tmp_path, to, trust):
        import casemate.torch as sealed

        state = {"w": self.torch.randn(300, 500), "b": self.torch.zeros(7, dtype=self.torch.bfloat16), "step": 3}
        sealed.save(state, tmp_path / "x", **to)
        found = sealed.load(tmp_path / "x", **trust)
        assert found["step"] == 3
        assert self.torch.equal(found["w"], state["w"]) and self.torch.equal(found["b"], state["b"])
        with pytest.raises(casemate.VerificationError):
            sealed.load(tmp_path / "x", keys=trust["keys"], signer=casemate.PrivateKey.generate("mldsa87-p384"))

    def test_damage_is_reported_although_torch_hides_it(self, tmp_path, to, trust):
        import casemate.torch as sealed

        sealed.save({"w": self.torch.arange(1 << 19)}, tmp_path / "x", **to)
        flip(tmp_path / "x", 2 << 20)
        with pytest.raises(casemate.VerificationError):
            sealed.load(tmp_path / "x", **trust)

    def test_code_in_a_pickle_does_not_run(self, tmp_path, to, trust):
        import casemate.torch as sealed

        class Attack:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "owned",))

        sealed.save({"x": Attack()}, tmp_path / "x", **to)
        with pytest.raises(pickle.UnpicklingError):
            sealed.load(tmp_path / "x", **trust)
        assert not (tmp_path / "owned").exists()
        with pytest.raises(ValueError, match="code from the publisher"):
            sealed.load(tmp_path / "x", keys=trust["keys"], weights_only=False, allow_unknown_signer=True)
        unchecked = casemate.open(tmp_path / "x", keys=trust["keys"], allow_unknown_signer=True)
        with pytest.raises(ValueError, match="code from the publisher"):
            sealed.load(unchecked, weights_only=False)
        assert not (tmp_path / "owned").exists()

    def test_safetensors(self, tmp_path, to, trust):
        import casemate.safetensors as sealed

        tensors = {
            "bf16": self.torch.randn(30, 4).to(self.torch.bfloat16),
            "t": self.torch.randn(5, 6).t(),
            "i": self.torch.tensor(3),
            "empty": self.torch.empty(0, 3),
        }
        sealed.save_file(tensors, tmp_path / "x", **to)
        found = sealed.load_file(tmp_path / "x", framework="pt", **trust)
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype and self.torch.equal(found[name], tensor), name
        with sealed.safe_open(tmp_path / "x", framework="pt", **trust) as file:
            assert self.torch.equal(file.get_slice("bf16")[4:9, 1], tensors["bf16"][4:9, 1])
        import safetensors.torch

        original = safetensors.torch.load(casemate.open(tmp_path / "x", **trust).read())
        assert self.torch.equal(original["bf16"], tensors["bf16"])

    def test_distributed_checkpoint(self, tmp_path, to, trust):
        import torch.distributed.checkpoint as dcp
        from casemate.checkpoint import StorageReader, StorageWriter

        state = {"model": {"w": self.torch.randn(64, 32), "b": self.torch.ones(5)}, "step": 41}
        dcp.save(state, storage_writer=StorageWriter(tmp_path / "c", **to), no_dist=True)
        names = sorted(os.listdir(tmp_path / "c"))
        assert names and all(name.endswith(".sealed") for name in names), names
        for name in names:
            assert b"model.w" not in (tmp_path / "c" / name).read_bytes()
        fresh = {"model": {"w": self.torch.zeros(64, 32), "b": self.torch.zeros(5)}, "step": 0}
        dcp.load(fresh, storage_reader=StorageReader(tmp_path / "c", **trust), no_dist=True)
        assert self.torch.equal(fresh["model"]["w"], state["model"]["w"]) and fresh["step"] == 41

    def test_an_unfinished_checkpoint_is_reported(self, tmp_path, to, trust):
        import torch.distributed.checkpoint as dcp
        from casemate.checkpoint import StorageReader, StorageWriter

        state = {"w": self.torch.ones(3)}
        dcp.save(state, storage_writer=StorageWriter(tmp_path / "c", **to), no_dist=True)
        (tmp_path / "c" / ".metadata.sealed").unlink()
        for folder, is_unfinished in [("c", True), ("none", False)]:
            reader = StorageReader(tmp_path / folder, **trust)
            with pytest.raises(FileNotFoundError) as refused:
                reader.read_metadata()
            assert ("is an unfinished checkpoint" in str(refused.value)) == is_unfinished
            # PyTorch wraps the error and keeps its text.
            with pytest.raises(BaseException) as refused:
                dcp.load(state, storage_reader=StorageReader(tmp_path / folder, **trust), no_dist=True)
            assert ("is an unfinished checkpoint" in "".join(traceback.format_exception(refused.value))) == is_unfinished

    def test_checkpoint_metadata_are_verified_before_they_are_unpickled(self, tmp_path, to, trust, keys):
        import torch.distributed.checkpoint as dcp
        from casemate.checkpoint import StorageReader, StorageWriter

        dcp.save({"w": self.torch.ones(3)}, storage_writer=StorageWriter(tmp_path / "c", **to), no_dist=True)

        class Attack:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "owned",))

        place = tmp_path / "c" / ".metadata.sealed"
        kind = casemate.inspect(place).content_type
        attack = {"source": pickle.dumps(Attack()), "destination": place, "content_type": kind, "force": True}
        casemate.seal(**attack, to=to["to"], sign=keys.stranger)
        with pytest.raises(casemate.VerificationError, match="not an expected signer"):
            StorageReader(tmp_path / "c", **trust).read_metadata()
        casemate.seal(pickle.dumps(Attack()), place, force=True, **to)
        with pytest.raises(casemate.VerificationError, match="not sealed as the metadata of a checkpoint"):
            StorageReader(tmp_path / "c", **trust).read_metadata()
        flip(place, 100)
        with pytest.raises(casemate.VerificationError):
            StorageReader(tmp_path / "c", **trust).read_metadata()
        assert not (tmp_path / "owned").exists()

    def test_files_of_two_checkpoints_are_not_mixed(self, tmp_path, to, trust):
        import torch.distributed.checkpoint as dcp
        from casemate.checkpoint import StorageReader, StorageWriter

        for number in (1, 2):
            state = {"w": self.torch.full((4, 3), float(number)), "b": self.torch.zeros(2)}
            dcp.save(state, storage_writer=StorageWriter(tmp_path / str(number), **to), no_dist=True)
        (data,) = [name for name in os.listdir(tmp_path / "1") if name.endswith(".distcp.sealed")]
        (kept, old) = ((tmp_path / number / data).read_bytes() for number in "21")

        def load():
            fresh = {"w": self.torch.zeros(4, 3), "b": self.torch.zeros(2)}
            dcp.load(fresh, storage_reader=StorageReader(tmp_path / "2", **trust), no_dist=True)
            return fresh["w"][0, 0].item()

        assert load() == 2
        (tmp_path / "2" / data).write_bytes(old)
        with pytest.raises(dcp.CheckpointException, match="file of another checkpoint"):
            load()
        (tmp_path / "2" / data).write_bytes(kept)
        (tmp_path / "2" / ".metadata.sealed").write_bytes((tmp_path / "1" / ".metadata.sealed").read_bytes())
        with pytest.raises(dcp.CheckpointException, match="file of another checkpoint"):
            load()

    def test_the_first_error_is_the_one_that_is_told(self, tmp_path, to, trust, keys):
        import torch.distributed.checkpoint as dcp
        from casemate.checkpoint import StorageReader, StorageWriter

        dcp.save({"w": self.torch.ones(3)}, storage_writer=StorageWriter(tmp_path / "c", **to), no_dist=True)
        for wrong, error in [
            ({"signer": keys.stranger.public_key}, "is not an expected signer"),
            ({"keys": keys.bob}, "sealed to|recipient"),
        ]:
            reader = StorageReader(tmp_path / "c", **{**trust, **wrong})
            with pytest.raises(dcp.CheckpointException, match=error) as told:
                dcp.load({"w": self.torch.zeros(3)}, storage_reader=reader, no_dist=True)
            assert "use_collectives" not in str(told.value)

    def test_a_checkpoint_states_its_step_and_its_parent(self, tmp_path, to, trust):
        import torch.distributed.checkpoint as dcp
        from casemate.checkpoint import StorageReader, StorageWriter

        def save(step, **options):
            writer = StorageWriter(tmp_path / str(step), **to, step=step, **options)
            dcp.save({"w": self.torch.ones(3)}, storage_writer=writer, no_dist=True)
            return writer.checkpoint

        def load(step, **options):
            reader = StorageReader(tmp_path / str(step), **trust, **options)
            dcp.load({"w": self.torch.zeros(3)}, storage_reader=reader, no_dist=True)
            return reader.checkpoint

        first = save(10)
        second = save(20, parent=first)
        assert load(10) == first
        assert load(20, min_step=20) == second._replace(parent=first.artifact)
        assert load(10, min_step=10).parent is None
        with pytest.raises(dcp.CheckpointException, match="is of step 20; expected step 21 or later"):
            load(20, min_step=21)
        for step in (10, 9, None):
            with pytest.raises(ValueError, match="must be later than the parent's, 10"):
                StorageWriter(tmp_path / "late", **to, step=step, parent=first)
        dcp.save({"w": self.torch.ones(3)}, storage_writer=StorageWriter(tmp_path / "none", **to), no_dist=True)
        assert load("none").step is None
        with pytest.raises(dcp.CheckpointException, match="states no step; expected step 1 or later"):
            load("none", min_step=1)
        with pytest.raises(ValueError, match="no checkpoint was written"):
            _ = StorageWriter(tmp_path / "never", **to).checkpoint

    def test_metadata_that_name_no_artifacts_are_refused(self, tmp_path, to, trust):
        import torch.distributed.checkpoint as dcp
        from casemate.checkpoint import CONTENT_TYPE, METADATA_TYPE, StorageReader

        dcp.save({"w": self.torch.ones(3)}, storage_writer=dcp.FileSystemWriter(tmp_path / "c"), no_dist=True)
        for name in os.listdir(tmp_path / "c"):
            plain = tmp_path / "c" / name
            kind = METADATA_TYPE if name == ".metadata" else CONTENT_TYPE
            casemate.seal(plain.read_bytes(), f"{plain}.sealed", content_type=kind, **to)
            plain.unlink()
        with pytest.raises(dcp.CheckpointException, match="does not name one artifact"):
            dcp.load({"w": self.torch.zeros(3)}, storage_reader=StorageReader(tmp_path / "c", **trust), no_dist=True)

    def test_a_checkpoint_is_complete_and_has_one_set_of_metadata(self, tmp_path, to, trust, monkeypatch):
        import torch.distributed.checkpoint as dcp
        from casemate import checkpoint

        state = {f"w{number}": self.torch.ones(3) for number in range(6)}
        with pytest.raises(ValueError, match="use_collectives"):
            checkpoint.StorageWriter(tmp_path / "c", **to).set_up_storage_writer(True, rank=0, use_collectives=False)
        dcp.save(state, storage_writer=checkpoint.StorageWriter(tmp_path / "c", **to), no_dist=True)
        with pytest.raises(ValueError, match="use_collectives"):
            checkpoint.StorageReader(tmp_path / "c", **trust).read_metadata(rank=0)
        # A data file in place of the metadata is not unpickled.
        (data, *_) = (tmp_path / "c").glob("*.distcp.sealed")
        (tmp_path / "c" / ".metadata.sealed").write_bytes(data.read_bytes())
        with pytest.raises(casemate.VerificationError, match="not sealed as the metadata"):
            checkpoint.StorageReader(tmp_path / "c", **trust).read_metadata()

        # One of two threads fails.
        seal, calls = checkpoint._seal.seal, []

        def failing(*arguments, **more):
            calls.append(1)
            if len(calls) == 1:
                raise OSError("the disk is full")
            return seal(*arguments, **more)

        monkeypatch.setattr(checkpoint._seal, "seal", failing)
        writer = checkpoint.StorageWriter(tmp_path / "d", thread_count=2, single_file_per_rank=False, **to)
        with pytest.raises(dcp.CheckpointException):
            dcp.save(state, storage_writer=writer, no_dist=True)
        assert not (tmp_path / "d" / ".metadata.sealed").exists()

    def test_pytorch_alone_reads_a_checkpoint_that_was_opened(self, tmp_path, to, trust):
        import torch.distributed.checkpoint as dcp
        from casemate.checkpoint import StorageWriter

        dcp.save({"w": self.torch.ones(3)}, storage_writer=StorageWriter(tmp_path / "c", **to), no_dist=True)
        for name in os.listdir(tmp_path / "c"):
            with casemate.open(tmp_path / "c" / name, **trust) as file:
                (tmp_path / "c" / name.removesuffix(".sealed")).write_bytes(file.read())
        script = """
import sys, torch, torch.distributed.checkpoint as dcp
state = {"w": torch.zeros(3)}
dcp.load(state, checkpoint_id=sys.argv[1], no_dist=True)
assert state["w"].tolist() == [1, 1, 1] and "casemate" not in sys.modules
"""
        subprocess.run([sys.executable, "-c", script, tmp_path / "c"], check=True)

    def test_two_ranks_write_and_read_one_checkpoint(self, tmp_path, keys):
        for name, key in {"opener.pem": keys.alice, "publisher.pem": keys.publisher}.items():
            key.to_file(tmp_path / name)
        script = Path(__file__).with_name("two_ranks.py")
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        done = subprocess.run([*launch, script, tmp_path], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        names = sorted(path.name for path in (tmp_path / "c").iterdir())
        assert names == [".metadata.sealed", "__0_0.distcp.sealed", "__1_0.distcp.sealed"]


def test_onnx_session_from_an_artifact(tmp_path, to, trust):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from casemate.onnx import inference_session

    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    casemate.seal(model.SerializeToString(), tmp_path / "m", **to)
    session = inference_session(tmp_path / "m", providers=["CPUExecutionProvider"], **trust)
    assert session.run(None, {"x": np.array([1, 2], np.float32)})[0].tolist() == [2, 4]
    flip(tmp_path / "m", 200)
    with pytest.raises(casemate.VerificationError):
        inference_session(tmp_path / "m", **trust)


def test_fsspec_reads_sealed_files_of_any_file_system(tmp_path, to, trust):
    fsspec = pytest.importorskip("fsspec")
    content = os.urandom(3_000_000)
    casemate.seal(content, tmp_path / "x.sealed", **to)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/x.sealed", (tmp_path / "x.sealed").read_bytes())
    fs = fsspec.filesystem("casemate", fs=memory, **trust)
    assert fs.cat_file("/bucket/x.sealed", start=1_500_000, end=1_500_010) == content[1_500_000:1_500_010]
    info = fs.info("/bucket/x.sealed")
    assert info["size"] == len(content) < info["sealed_size"]
    with fs.open("/bucket/x.sealed") as file:
        file.seek(-5, 2)
        assert file.read() == content[-5:]
    # Every size is that of the content; files that are not artifacts keep their own size.
    memory.pipe_file("/bucket/plain.sealed", b"none")
    memory.pipe_file("/bucket/a/y", b"plain")
    sizes = {"/bucket/x.sealed": len(content), "/bucket/plain.sealed": 4, "/bucket/a/y": 5}
    assert fs.find("/bucket", detail=True).keys() == sizes.keys()
    assert {name: one["size"] for name, one in fs.find("/bucket", detail=True).items()} == sizes
    assert fs.du("/bucket") == sum(sizes.values()) and fs.size("/bucket/x.sealed") == len(content)
    assert {one["name"]: one["size"] for one in fs.ls("/bucket") if one["type"] == "file"} == {
        name: size for name, size in sizes.items() if name.count("/") == 2
    }
    casemate.seal(b"short", tmp_path / "x.sealed", force=True, **to)
    memory.pipe_file("/bucket/x.sealed", (tmp_path / "x.sealed").read_bytes())
    assert fs.find("/bucket", detail=True)["/bucket/x.sealed"]["size"] == 5
    fs.invalidate_cache()
    assert fs.cat("/bucket/x.sealed") == b"short"
    casemate.seal(content, tmp_path / "x.sealed", force=True, **to)
    memory.pipe_file("/bucket/x.sealed", (tmp_path / "x.sealed").read_bytes())
    with fsspec.open("casemate::memory://bucket/x.sealed", casemate=trust) as file:
        assert file.read() == content
    with pytest.raises(ValueError, match="read-only"):
        fs.open("/bucket/x.sealed", "wb")
