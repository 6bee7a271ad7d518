"""Kills commands that write to one key store, and checks that everything they acknowledged is there and logged.

This is a drill, because it takes minutes. Run `python interop/drills/key_store_kills.py BINARY [KILLS] [SEED]`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BINARY = str(Path(sys.argv[1]).resolve())
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 200
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1
WRITERS = 2


class Drill:
    """A key store, what commands acknowledged, and checkpoints that were taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.random = random.Random(SEED)
        self.acknowledged: set[str] = set()
        self.checkpoints: list[Path] = []
        self.lock = threading.Lock()
        self.killed = 0
        self.killed_and_written = 0
        self.failure: str | None = None
        self.seconds = 0.0

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [BINARY, "--home", str(self.folder / "home"), "--passphrase-file", str(self.folder / "key"), "keys"]
        return subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder
        )

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        out, err = process.communicate()
        if process.returncode != 0:
            sys.exit(f"{' '.join(arguments)}: {err}")
        return out

    def write_until_killed(self, writer: int, wait: float) -> None:
        """Write key after key; kill the command that runs when the time is over."""
        end = time.monotonic() + wait
        number = 0
        while True:
            name = f"k{self.killed}-{writer}-{number}"
            number += 1
            process = self.start("generate", "--name", name, "--kind", "kem")
            try:
                _, err = process.communicate(timeout=max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                return
            if process.returncode != 0:
                self.failure = f"generate {name}: {err}"
                return
            with self.lock:
                self.acknowledged.add(f"{name}@1")

    def check(self) -> None:
        """Require everything that was acknowledged in the list and in the log."""
        listed = {f"{key['name']}@{key['version']}" for key in json.loads(self.run("list", "--json"))["keys"]}
        if missing := self.acknowledged - listed:
            sys.exit(f"lost after kill {self.killed}: {sorted(missing)}")
        self.killed_and_written += len(listed - self.acknowledged)
        self.acknowledged |= listed
        known = [argument for path in self.checkpoints[-1:] for argument in ("--checkpoint", str(path))]
        self.run("audit", "verify", *known)
        entries = json.loads(self.run("audit", "show", "--json"))["entries"]
        created = [entry["key"] for entry in entries if entry["what"] == "created"]
        if len(created) != len(set(created)) or set(created) != listed:
            sys.exit(f"the log and the list differ after kill {self.killed}: {sorted(set(created) ^ listed)}")
        path = self.folder / f"checkpoint-{self.killed}"
        self.run("audit", "checkpoint", "-o", str(path))
        self.checkpoints.append(path)

    def kill_once(self) -> None:
        # Longer than a command takes, so that kills fall anywhere in one.
        waits = [self.random.uniform(0, 3 * self.seconds) for _ in range(WRITERS)]
        threads = [
            threading.Thread(target=self.write_until_killed, args=(writer, wait)) for writer, wait in enumerate(waits)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failure:
            sys.exit(self.failure)
        self.killed += WRITERS
        self.check()


def main() -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", ".")) as folder:
        drill = Drill(Path(folder))
        drill.run("init", "--random-key")
        drill.run("audit", "enable", "--origin", "example.com/drill", "-o", "log.keys")
        start = time.monotonic()
        drill.run("generate", "--name", "first", "--kind", "kem")
        drill.seconds = time.monotonic() - start
        while drill.killed < KILLS:
            drill.kill_once()
            print(f"\r{drill.killed} of {KILLS} kills", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        proven = [argument for path in drill.checkpoints for argument in ("--checkpoint", str(path))]
        drill.run("audit", "verify", *proven)
        print(
            f"{drill.killed} kills: {len(drill.acknowledged)} keys, none that was acknowledged is missing, "
            f"{drill.killed_and_written} were written and not acknowledged; "
            f"the log fits all {len(drill.checkpoints)} checkpoints"
        )


if __name__ == "__main__":
    main()
