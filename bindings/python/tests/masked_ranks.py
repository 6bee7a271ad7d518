"""One rank of a training with masked all-reduce: `masked_ranks.py FOLDER RANK RANKS TASK`. Writes what it found to `FOLDER/TASK-RANK.json`."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from casemate import train
from casemate.train import _all_reduce
from casemate.train.torch import MaskedAllReduce
from torch.nn.parallel import DistributedDataParallel

FOLDER, RANK, RANKS, TASK = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
#: A gradient that a wire shows as these bytes, in a message that is easy to find.
MARK = 0.123456789


def connect(**options):
    roster = train.open_roster(FOLDER / "roster", signer=FOLDER / "owner.pub")
    return MaskedAllReduce.connect(roster, me=f"rank-{RANK}", key=FOLDER / f"rank-{RANK}.pem", timeout=60, **options)


def model_and_data():
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(20, 600), torch.nn.Tanh(), torch.nn.Linear(600, 600), torch.nn.Linear(600, 3))
    inputs, labels = torch.randn(RANKS * 40, 20), torch.randint(0, 3, (RANKS * 40,))
    mine = slice(RANK, None, RANKS)
    return model, inputs[mine], labels[mine]


def weights_after(model, inputs, labels, steps=20):
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        optimiser.step()
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def trains(pairs="pairs"):
    """Train plainly and with masks, with more weights than one bucket holds."""
    small = {"bucket_cap_mb": 1}
    model, inputs, labels = model_and_data()
    plain = weights_after(DistributedDataParallel(model, **small), inputs, labels)
    model, inputs, labels = model_and_data()
    if RANK > 0:
        # The weights are those of rank 0.
        for parameter in model.parameters():
            parameter.data.zero_()
    # Weights take several messages each.
    _all_reduce._SENT_AT_ONCE = 1000
    reduce = connect(pairs=pairs == "pairs")
    masked = weights_after(reduce.wrap(model, **small), inputs, labels)
    number = reduce._ring.next_number
    reduce.close()
    return {"difference": float((plain - masked).abs().max()), "moved": float(plain.abs().max()), "reductions": number}


def types():
    reduce = connect()
    found = {}
    for dtype in ("float32", "bfloat16", "float16"):
        values = (torch.arange(1000) * (RANK + 1) / 1000).to(getattr(torch, dtype))
        wanted = torch.arange(1000) * (RANKS + 1) / 2 / 1000
        found[dtype] = float((reduce.average(values).double() - wanted).abs().max())
    found["nan"] = bool(reduce.average(torch.tensor([1.0, float("nan") if RANK else 2.0])).isnan().all())
    found["zero"] = float(reduce.average(torch.zeros(5)).abs().sum())
    found["matrix"] = reduce.average(torch.full((2, 3), float(RANK))).tolist()
    # A refusal before anything is sent does not end the session.
    for refused in (
        torch.zeros(2, dtype=torch.float64),
        torch.zeros(3, dtype=torch.int64),
        torch.zeros(4, 4).t()[1:],
        torch.zeros(0),
        torch.zeros(3).to_sparse(),
    ):
        try:
            reduce.average(refused)
        except Exception as error:
            found.setdefault("errors", []).append(str(error))
    # More than is handed to the library at once.
    for dtype in (torch.float32, torch.bfloat16):
        values = torch.sin(torch.arange(3 * 2**19 + 1) * (RANK + 1)).to(dtype)
        each = [torch.sin(torch.arange(3 * 2**19 + 1) * (rank + 1)).to(dtype).double() for rank in range(RANKS)]
        wanted = sum(each) / RANKS
        found.setdefault("large", []).append(float((reduce.average(values).double() - wanted).abs().max()))
    reduce.close()
    for _ in range(2):
        try:
            reduce.average(torch.ones(3))
        except Exception as error:
            found.setdefault("closed", []).append(str(error))
    return found


def labels():
    """Two tensors of one shape change places on one rank."""
    reduce = connect()
    one, two = torch.ones(10), torch.full((10,), 5.0)
    names = ["first", "second"] if RANK == 0 else ["second", "first"]
    try:
        for name, tensor in zip(names, (one, two), strict=True):
            reduce.average(tensor, name)
    except Exception as error:
        return {"error": str(error), "nan": bool(one.isnan().all())}
    return {"error": None}


def buckets():
    """Buckets of the same sizes hold other parameters on one rank, as a changed broadcast of DDP makes them."""
    reduce = connect()
    layers = torch.nn.ModuleDict({name: torch.nn.Linear(50, 50, bias=False) for name in ("a", "b")})
    order = ("a", "b") if RANK == 0 else ("b", "a")
    model = reduce.wrap(torch.nn.Sequential(*(layers[name] for name in order)), bucket_cap_mb=0.001)
    if RANK == 1:
        # The names of the other ranks' parameters, in another order.
        parameters = dict(model.module.named_parameters())
        swapped = {id(parameters["0.weight"]): "1.weight", id(parameters["1.weight"]): "0.weight"}
        hook = reduce._average_bucket
        reduce._average_bucket = lambda bucket, label: hook(
            bucket, [*label[:2], [[swapped[id(one)], shape] for one, (_, shape) in zip(bucket.parameters(), label[2], strict=True)]]
        )
    try:
        model(torch.ones(3, 50)).sum().backward()
    except Exception as error:
        return {"error": str(error)}
    return {"error": None}


def refused():
    reduce = connect()
    found = {}

    def text(action):
        try:
            action()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    linear = torch.nn.Linear(2, 2)
    for name in ("find_unused_parameters", "init_sync", "broadcast_buffers", "process_group", "device_mesh"):
        found[name] = text(lambda name=name: reduce.wrap(linear, **{name: True}))
    found["norm"] = text(lambda: reduce.wrap(torch.nn.Sequential(linear, torch.nn.SyncBatchNorm(2))))
    model = reduce.wrap(linear)
    found["twice"] = text(lambda: reduce.wrap(model))
    found["inside"] = text(lambda: reduce.wrap(torch.nn.Sequential(DistributedDataParallel(torch.nn.Linear(2, 2)))))
    found["outside"] = text(lambda: DistributedDataParallel(model))
    found["double"] = text(lambda: reduce.wrap(torch.nn.Linear(2, 2).double()))
    found["array"] = text(lambda: reduce.average([1.0]))
    found["join"] = text(model.join)
    return found


def marked(how):
    """Average vectors with a known sum, plainly or masked, many times."""
    reduce = connect() if how == "masked" else None
    for _ in range(5):
        values = torch.full((5000,), MARK * (RANK + 1))
        if reduce is None:
            dist.all_reduce(values)
        else:
            reduce.average(values)
    return {"sum": [float(value) for value in values[:1]]}


def tampered(where):
    """A byte is changed in what one rank sends to the library, or receives from it."""
    reduce = connect()
    model, inputs, labels = model_and_data()
    model = reduce.wrap(model)
    plain = dist.all_reduce

    def changed(tensor, *arguments, **options):
        flip = RANK == 1 and tensor.dtype == torch.int64
        if flip and where in ("sent", "tensor"):
            tensor.view(torch.uint8)[77] ^= 1
        work = plain(tensor, *arguments, **options)
        if flip and where == "received":
            work.wait()
            tensor.view(torch.uint8)[77] ^= 1
        return work

    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    dist.all_reduce = changed
    errors = []
    if where == "tensor":
        tensor = torch.ones(1000)
        try:
            reduce.average(tensor)
        except Exception as error:
            errors.append(str(error))
        return {"errors": errors, "nan": bool(tensor.isnan().all())}
    for _ in range(2):
        try:
            torch.nn.functional.cross_entropy(model(inputs), labels).backward()
            optimiser.step()
        except Exception as error:
            errors.append(str(error))
    dist.all_reduce = plain
    same = all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    return {"errors": errors, "same": same}


def dies():
    """A rank is gone in the middle of a training; the others must not wait for it for ever, nor go on."""
    reduce = connect()
    reduce.average(torch.ones(1000))
    if RANK == 1:
        os.kill(os.getpid(), 9)
    errors = []
    for _ in range(2):
        try:
            reduce.average(torch.ones(1000))
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
    return {"errors": errors}


def strangers():
    """A rank whose key is not that of the roster."""
    if RANK == 1:
        from casemate import PrivateKey

        PrivateKey.generate("mldsa65-ed25519").to_file(FOLDER / f"other-{RANK}.pem")
        (FOLDER / f"other-{RANK}.pem").rename(FOLDER / f"rank-{RANK}.pem")
    try:
        connect()
    except Exception as error:
        return {"error": str(error)}
    return {"error": None}


def main():
    store = dist.FileStore(str(FOLDER / f"store-{TASK}-{os.environ.get('ATTEMPT')}"), RANKS)
    dist.init_process_group("gloo", store=store, rank=RANK, world_size=RANKS, timeout=timedelta(seconds=60))
    task, *arguments = TASK.split("-")
    found = globals()[task](*arguments)
    (FOLDER / f"{TASK}-{RANK}.json").write_text(json.dumps(found))
    # As in two_ranks.py: a gloo thread may abort the process if it ends while the interpreter shuts down.
    os._exit(0)


main()
