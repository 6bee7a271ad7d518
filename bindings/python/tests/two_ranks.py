"""One of two ranks: writes a sealed checkpoint of tensors spread over both ranks, reads it back, and compares. Started by `torch.distributed.run`."""

import os
import sys
from pathlib import Path

import casemate
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from casemate.checkpoint import StorageReader, StorageWriter
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

folder = Path(sys.argv[1])
opener, publisher = (casemate.PrivateKey.from_file(folder / name) for name in ("opener.pem", "publisher.pem"))
dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))


def state(fill):
    """Return a tensor shared by both ranks, and one of each rank."""
    whole = fill(torch.arange(48, dtype=torch.float32).reshape(8, 6))
    own = fill(torch.full((3,), float(dist.get_rank() + 1)))
    return {"whole": distribute_tensor(whole, mesh, [Shard(0)]), f"own{dist.get_rank()}": own}


written = state(lambda tensor: tensor)
dcp.save(written, storage_writer=StorageWriter(folder / "c", to=opener.public_key, sign=publisher))
dist.barrier()
read = state(torch.zeros_like)
dcp.load(read, storage_reader=StorageReader(folder / "c", keys=opener, signer=publisher.public_key))
for name, tensor in written.items():
    local = [getattr(one, "to_local", lambda one=one: one)() for one in (tensor, read[name])]
    assert torch.equal(*local), name
# Storage shows each rank a different, complete checkpoint.
for number in (1, 2):
    state = {"whole": distribute_tensor(torch.full((8, 6), float(number)), mesh, [Shard(0)])}
    dcp.save(state, storage_writer=StorageWriter(folder / str(number), to=opener.public_key, sign=publisher))
reader = StorageReader(folder / str(dist.get_rank() + 1), keys=opener, signer=publisher.public_key)
try:
    dcp.load(state, storage_reader=reader)
except dcp.CheckpointException as error:
    assert "different checkpoints" in str(error), error
else:
    raise AssertionError("half of one checkpoint and half of another were loaded")
dist.barrier()
dist.destroy_process_group()
# A gloo thread may still hold a result, and aborts the process if it releases it while the interpreter shuts down. So skip the shutdown.
os._exit(0)
