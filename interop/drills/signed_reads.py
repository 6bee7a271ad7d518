"""Measures the cost of checking a signed model, for the first tensor and for the whole model, compared with reads without checks.

usage: signed_reads.py [--mebibytes N] [--rounds N]

This is a measurement, not a test. It needs the packages `casemate`, `safetensors` and NumPy, as in the environment of the Python tests:
`target/python/venv/bin/python interop/drills/signed_reads.py`. With bindfs installed (Debian) and CASEMATE_BIN set, it also reads through mounts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import casemate
import casemate.safetensors
import numpy as np
import safetensors
import safetensors.numpy

MIB = 1 << 20
TENSOR = (2048, 4096)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    kept = work()
    seconds = time.perf_counter() - start
    del kept
    return seconds


def in_turn(ways: dict[str, Callable[[], object]], rounds: int) -> None:
    """Print medians, and ratios to the last way, which is the baseline."""
    for work in ways.values():
        work()
    seconds = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            seconds[name].append(timed(work))
    baseline = statistics.median(list(seconds.values())[-1])
    for name, found in seconds.items():
        median = statistics.median(found)
        print(f"  {name:<34} {median * 1000:>9.2f} ms  {min(found) * 1000:>9.2f} to {max(found) * 1000:<9.2f} {baseline / median:>5.2f}x")


@contextmanager
def mounted(command: list[str | Path], shown: Path) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not shown.exists():
            assert process.poll() is None, command
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()


def through(command: list[str | Path], shown: Path) -> float:
    """Return the seconds for one read through a fresh mount with an empty cache."""
    with mounted(command, shown):
        return timed(lambda: subprocess.run(["cat", shown], stdout=subprocess.DEVNULL, check=True))


def mounts(model: Path, public: Path, rounds: int) -> None:
    binary = os.environ.get("CASEMATE_BIN")
    if not (binary and shutil.which("bindfs")):
        print("mounts: skipped; set CASEMATE_BIN and install bindfs")
        return
    point = model.parent / "mounted"
    point.mkdir()
    shown = point / "model.safetensors"
    signed = [binary, "mount", model, point, "--signature", f"{model}.sig", "--signer", public]
    plain = ["bindfs", "-f", "-r", "--multithreaded", model, point]
    found = {"casemate mount --signature": [], "bindfs": []}
    for _ in range(rounds):
        found["casemate mount --signature"].append(through(signed, shown))
        found["bindfs"].append(through(plain, shown))
    baseline = statistics.median(found["bindfs"])
    print("whole read through a mount (cat)")
    for name, seconds in found.items():
        median = statistics.median(seconds)
        print(f"  {name:<34} {median * 1000:>9.2f} ms  {min(seconds) * 1000:>9.2f} to {max(seconds) * 1000:<9.2f} {baseline / median:>5.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mebibytes", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    os.umask(0o077)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        model.mkdir()
        path = model / "model.safetensors"
        random = np.random.default_rng(1)
        size = TENSOR[0] * TENSOR[1] * 2
        count = max(options.mebibytes * MIB // size, 1)
        tensors = {f"layer{at}": np.frombuffer(random.bytes(size), dtype=np.float16).reshape(TENSOR) for at in range(count)}
        safetensors.numpy.save_file(tensors, path)
        del tensors
        key = casemate.PrivateKey.generate("mldsa87-p384")
        public = Path(folder) / "publisher.pub"
        public.write_text(key.public_key.to_pem())
        casemate.sign(model, sign=key)
        middle = f"layer{count // 2}"

        def opened() -> object:
            return casemate.open_signed(model, signer=key.public_key).content("model.safetensors")

        def first() -> object:
            with casemate.safetensors.safe_open(opened()) as file:
                return file.get_slice(middle)[0:64]

        def first_plain() -> object:
            with safetensors.safe_open(path, framework="np") as file:
                return file.get_slice(middle)[0:64].copy()

        print(f"{path.stat().st_size / 2**30:.2f} GiB, {count} tensors, page cache warm; ratios to the last line of each")
        print("open, and 64 rows of a tensor in the middle")
        in_turn({"casemate.open_signed": first, "safetensors.safe_open": first_plain}, options.rounds * 3)
        print("whole model into memory")
        whole = {
            "casemate.safetensors of it": lambda: casemate.safetensors.load_file(opened()),
            "safetensors.load_file": lambda: safetensors.numpy.load_file(path),
            "numpy.fromfile": lambda: np.fromfile(path, dtype=np.uint8),
        }
        in_turn(whole, options.rounds)
        mounts(model, public, options.rounds)


if __name__ == "__main__":
    main()
