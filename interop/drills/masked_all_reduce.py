"""Times masked all-reduce beside gloo's own, between ranks in network namespaces with a limited rate.

This is a drill, because it needs root, `ip` and `tc`. With the packages `casemate` and `torch` installed, run
`python interop/drills/masked_all_reduce.py [MBIT_PER_SECOND] [VALUES] [RANKS]`. A rate of 0 is the loopback.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

REPEATS = 7
PREFIX = "casemate-rank"
NETWORK = "10.213.7"


def sh(command: str) -> None:
    subprocess.run(command.split(), check=True)


@contextlib.contextmanager
def namespaces(ranks: int, rate: int) -> Iterator[list[list[str]]]:
    """Yield what starts a process of each rank: namespaces on one bridge, each of which sends at most at a rate."""
    if not rate:
        yield [[] for _ in range(ranks)]
        return
    bridge = f"{PREFIX}-br"[:15]
    try:
        sh(f"ip link add {bridge} type bridge")
        sh(f"ip link set {bridge} up")
        for rank in range(ranks):
            space, near, far = f"{PREFIX}-{rank}", f"cmr{rank}a", f"cmr{rank}b"
            sh(f"ip netns add {space}")
            sh(f"ip link add {near} type veth peer name {far}")
            sh(f"ip link set {near} master {bridge} up")
            sh(f"ip link set {far} netns {space}")
            sh(f"ip -n {space} addr add {NETWORK}.{rank + 1}/24 dev {far}")
            sh(f"ip -n {space} link set {far} up")
            sh(f"ip -n {space} link set lo up")
            sh(f"ip netns exec {space} tc qdisc add dev {far} root tbf rate {rate}mbit burst 128kb latency 300ms")
        yield [["ip", "netns", "exec", f"{PREFIX}-{rank}"] for rank in range(ranks)]
    finally:
        for rank in range(ranks):
            subprocess.run(["ip", "netns", "del", f"{PREFIX}-{rank}"], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "del", bridge], check=False, stderr=subprocess.DEVNULL)


def rank_main(folder: Path, rank: int, ranks: int, rate: int, count: int) -> None:
    import torch
    import torch.distributed as dist

    from casemate import train
    from casemate.train.torch import MaskedAllReduce

    torch.set_num_threads(1)
    address = f"{NETWORK}.1" if rate else "127.0.0.1"
    dist.init_process_group(
        "gloo", init_method=f"tcp://{address}:29577", rank=rank, world_size=ranks, timeout=timedelta(seconds=120)
    )
    roster = train.open_roster(folder / "roster", signer=folder / "owner.pub")
    masked = MaskedAllReduce.connect(roster, me=f"rank-{rank}", key=folder / f"rank-{rank}.pem")
    values = torch.randn(count)

    def timed(action: Callable[[], object]) -> tuple[float, float]:
        dist.barrier()
        wall, processor = time.perf_counter(), time.process_time()
        action()
        return (time.perf_counter() - wall) * 1e3, (time.process_time() - processor) * 1e3

    times: dict[str, list[tuple[float, float]]] = {"gloo": [], "masked": []}
    masked.average(values)
    for _ in range(REPEATS):
        plain = values.clone()
        times["gloo"].append(timed(lambda plain=plain: dist.all_reduce(plain)))  # type: ignore[misc]
        times["masked"].append(timed(lambda: masked.average(values)))
    if rank == 0:
        medians = {name: [statistics.median(one) for one in zip(*found, strict=True)] for name, found in times.items()}
        where = f"{rate} Mbit/s" if rate else "loopback"
        print(f"{count} values, {ranks} ranks, {where}; medians of {REPEATS}, processor time of one rank")
        for name, (wall, processor) in medians.items():
            print(f"  {name:8} {wall:9.1f} ms   processor {processor:7.1f} ms")
        print(f"  ratio    {medians['masked'][0] / medians['gloo'][0]:9.4f}", flush=True)
    os._exit(0)


def write_job(folder: Path, ranks: int) -> None:
    import casemate
    from casemate import train

    owner = casemate.PrivateKey.generate("mldsa65-ed25519")
    keys = {f"rank-{rank}": casemate.PrivateKey.generate("mldsa65-ed25519") for rank in range(ranks)}
    for name, key in keys.items():
        key.to_file(folder / f"{name}.pem")
    (folder / "owner.pub").write_text(owner.public_key.to_pem())
    (folder / "roster").write_bytes(train.sign_roster(keys, sign=owner))


def main() -> None:
    if sys.argv[1:2] == ["--rank"]:
        rank, ranks, rate, count = map(int, sys.argv[3:])
        rank_main(Path(sys.argv[2]), rank, ranks, rate, count)
    given = [int(argument) for argument in sys.argv[1:]]
    rate, count, ranks = [*given, *[100, 10_000_000, 3][len(given) :]]
    with tempfile.TemporaryDirectory() as name, namespaces(ranks, rate) as starts:
        write_job(Path(name), ranks)
        processes = []
        for rank, start in enumerate(starts):
            environment = os.environ | {"GLOO_SOCKET_IFNAME": f"cmr{rank}b" if rate else "lo", "OMP_NUM_THREADS": "1"}
            arguments = [name, *map(str, (rank, ranks, rate, count))]
            command = [*start, sys.executable, __file__, "--rank", *arguments]
            processes.append(subprocess.Popen(command, env=environment))
        codes = [process.wait() for process in processes]
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
