"""Measures latency and failures of an honest client, and memory, while strangers and clients attack a gateway.

usage: gateway_attacks.py --casemate BINARY [--compare BINARY] [--seconds N] [KIND ...]

The gateway and the honest client run on the first core, the attackers on the second. This is a measurement of several minutes, not a test.
`--compare` is another build, such as one of an earlier commit, to measure in addition. Run it with
`target/interop/venv/bin/python interop/drills/gateway_attacks.py --casemate target/release/casemate`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("CASEMATE_INTEROP_DIR", str(Path(__file__).parents[2] / "target" / "interop"))
sys.path.insert(0, str(Path(__file__).parents[1] / "clients"))

import attackers  # noqa: E402
import support  # noqa: E402


@dataclass
class Seen:
    """Figures of the honest client and of the gateway's process."""

    milliseconds: list[float]
    failed: int
    resident: int
    done: int = 0

    def row(self) -> str:
        if not self.milliseconds:
            return f"{'-':>8} {'-':>8} {self.failed:>7} {self.resident:>7} {self.done:>8}"
        ordered = sorted(self.milliseconds)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        return f"{statistics.median(ordered):>8.1f} {p99:>8.1f} {self.failed:>7} {self.resident:>7} {self.done:>8}"


def resident(pid: int) -> int:
    """Return the resident memory in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


def honest(connector: support.Service, gateway: support.Service, seconds: float) -> Seen:
    """Request predictions one after another."""
    body = json.dumps({"instances": [support.samples(1)[0]["image"]]})
    host, seen = connector.url.removeprefix("http://"), Seen([], 0, 0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        try:
            connection = http.client.HTTPConnection(host, timeout=20)
            connection.request("POST", "/predict", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            good = answer.status == 200
            connection.close()
        except OSError:
            good = False
        if good:
            seen.milliseconds.append((time.monotonic() - start) * 1000)
        else:
            seen.failed += 1
        seen.resident = max(seen.resident, resident(gateway.process.pid))
        time.sleep(0.01)
    return seen


def pinned(core: int, job: Callable[..., None], *arguments: object) -> None:
    os.sched_setaffinity(0, {core})
    job(*arguments)


def measure(binary: str, kind: str, seconds: float) -> Seen:
    """Measure one attack on a fresh gateway."""
    support.BINARY = binary
    # The program refuses passphrase files that others can read.
    os.umask(0o077)
    os.sched_setaffinity(0, {0})
    with tempfile.TemporaryDirectory() as folder:
        site = support.Site(Path(folder))
        # Builds before tokens accept every local program, and have no option for it.
        shown = subprocess.run([binary, "connect", "--help"], capture_output=True, text=True).stdout
        open_to_all = ["--no-token"] if "--no-token" in shown else []
        # Attackers use Python's TLS, which does not have a hybrid group on every system.
        second = '[[client]]\nname = "second"\nkey = "other-gateway"\n'
        with site.gateway(FALLBACK_CRYPTO="enabled", allow=second) as gateway:
            arguments = [*site.connect_arguments(gateway.url), *open_to_all]
            others = [word if word != "client" else "other-gateway" for word in arguments]
            with (
                support.Service(arguments, r"listening on (http://\S+), forwarding to") as connector,
                support.Service(others, r"listening on (http://\S+), forwarding to") as other,
            ):
                honest(connector, gateway, 1)
                attackers.DONE.value = 0
                attack = attackers.KINDS[kind]
                target = (gateway.port, str(site.root), site.python, site.pinned, other.url)
                processes = [] if attack is None else [multiprocessing.Process(target=pinned, args=(1, attack, *target), daemon=True)]
                for process in processes:
                    process.start()
                if processes:
                    time.sleep(attackers.SETTLE.get(kind, 2))
                try:
                    seen = honest(connector, gateway, seconds)
                    seen.done = attackers.DONE.value
                    return seen
                finally:
                    for process in processes:
                        process.kill()
                        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--casemate", required=True)
    parser.add_argument("--compare")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(attackers.KINDS))
    options = parser.parse_args()
    print(f"{'attack':<12} {'build':<8} {'p50 ms':>8} {'p99 ms':>8} {'failed':>7} {'MiB':>7} {'acts':>8}")
    for kind in options.kinds or attackers.KINDS:
        for name, binary in (("before", options.compare), ("now", options.casemate)):
            if binary:
                print(f"{kind:<12} {name:<8} {measure(str(Path(binary).resolve()), kind, options.seconds).row()}", flush=True)


if __name__ == "__main__":
    main()
