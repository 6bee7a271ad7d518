"""Writes small model files with the real libraries, as seeds for the fuzzer: python interop/make_model_seeds.py fuzz/corpus/model."""

import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import onnx
import safetensors.numpy
import torch


class Attack:
    def __reduce__(self):
        return (print, ("x",))


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
tensors = {"w": np.zeros((3, 4), np.float16), "b": np.zeros(2, np.int64)}
safetensors.numpy.save_file(tensors, folder / "safetensors", metadata={"format": "pt"})
torch.save({"w": torch.zeros(3), "b": torch.zeros(2, dtype=torch.bfloat16)}, folder / "torch")
weight = onnx.numpy_helper.from_array(np.zeros((2, 3), np.float32), "w")
y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 3])
graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["w"], ["y"])], "g", [], [y], [weight])
onnx.save(onnx.helper.make_model(graph), folder / "onnx")
for protocol in (0, 2, 5):
    (folder / f"pickle-{protocol}").write_bytes(pickle.dumps({"a": Attack(), "b": [1, "x", 2.5]}, protocol))
pair = text("name") + struct.pack("<I", 8) + text("tiny")
items = text("list") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc")
tensor = text("w") + struct.pack("<IQQIQ", 2, 3, 4, 1, 0)
(folder / "gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + pair + items + tensor)
