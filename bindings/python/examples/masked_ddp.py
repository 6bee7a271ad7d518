"""Trains with DistributedDataParallel over gloo, so that the network learns nothing of weights and gradients.

    python -m torch.distributed.run --nproc_per_node 3 masked_ddp.py FOLDER

FOLDER holds each rank's private key (`rank-0.pem`), the roster, and the public key of its signer (`owner.pub`).
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from casemate import train
from casemate.train.torch import MaskedAllReduce

folder = Path(sys.argv[1])
dist.init_process_group("gloo")
rank = dist.get_rank()

roster = train.open_roster(folder / "roster", signer=folder / "owner.pub")
reduce = MaskedAllReduce.connect(roster, me=f"rank-{rank}", key=folder / f"rank-{rank}.pem")
model = reduce.wrap(torch.nn.Linear(20, 1))  # in place of DistributedDataParallel(...)

optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
wanted = torch.arange(20.0) / 10
samples = torch.randn(200, 20, generator=torch.Generator().manual_seed(rank))
targets = (samples @ wanted).unsqueeze(1)

for _step in range(100):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(model(samples), targets).backward()
    optimizer.step()

error = (model.module.weight.detach()[0] - wanted).abs().max().item()
print(f"rank-{rank}: largest error of a weight after 100 steps: {error:.4f}")
assert error < 0.05, error
reduce.close()
dist.destroy_process_group()
# A gloo thread may still hold a result, and aborts the process if it releases it while the interpreter shuts down. So skip the shutdown.
sys.stdout.flush()
os._exit(0)
