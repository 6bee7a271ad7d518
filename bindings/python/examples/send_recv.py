"""Two ranks train one model on their own data, and exchange gradients over channels that the network cannot read.

    python -m torch.distributed.run --nproc_per_node 2 send_recv.py FOLDER

FOLDER holds each rank's private key (`rank-0.pem`), the roster, and the public key of its signer (`owner.pub`).
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from casemate import train
from casemate.train.torch import ProcessGroupLink

folder = Path(sys.argv[1])
dist.init_process_group("gloo")
rank = dist.get_rank()
other = 1 - rank

roster = train.open_roster(folder / "roster", signer=folder / "owner.pub")
link = ProcessGroupLink(other)
me, peer = f"rank-{rank}", f"rank-{other}"
key = folder / f"{me}.pem"
if rank == 0:
    channel = train.GradientChannel.connect(link, roster, me=me, key=key, peer=peer)
else:
    channel = train.GradientChannel.accept(link, roster, me=me, key=key, peer=peer)

torch.manual_seed(0)
model = torch.nn.Linear(20, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
wanted = torch.arange(20.0) / 10
samples = torch.randn(200, 20, generator=torch.Generator().manual_seed(rank))
targets = (samples @ wanted).unsqueeze(1)

for step in range(100):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(samples), targets)
    loss.backward()
    for name, parameter in model.named_parameters():
        theirs = torch.empty_like(parameter.grad)
        # One sends while the other receives, so that neither waits for room.
        if rank == 0:
            channel.send(parameter.grad, name)
            channel.receive(theirs, name)
        else:
            channel.receive(theirs, name)
            channel.send(parameter.grad, name)
        parameter.grad.add_(theirs).div_(2)
    optimizer.step()

error = (model.weight.detach()[0] - wanted).abs().max().item()
print(f"{me}: largest error of a weight after 100 steps: {error:.4f}")
assert error < 0.05, error
dist.barrier()
dist.destroy_process_group()
# A gloo thread may still hold a result, and aborts the process if it releases it while the interpreter shuts down. So skip the shutdown.
sys.stdout.flush()
os._exit(0)
