"""Measures the cost of sealing compared with a plain copy and with third-party tools, on one realistic model file.

    python interop/peers/speed.py --casemate target/release/casemate [--folder /dev/shm] [--size 2.2e9] [--rounds 5] [--only TEXT] [--json FILE]

Every installed tool runs once in each round, in turn, so that a busy moment affects all of them. The figure is the median, and the spread is the median
absolute deviation. The file is in the page cache and the output in memory (`--folder`), so that only the processor is measured. Before each run, that
much memory is touched and freed again, because memory that the host has to provide costs more than all the cryptography. Every compared result is
also checked: the opened content must equal the file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OTHER = [sys.executable, str(Path(__file__).with_name("others.py"))]

# Shapes of a model of 1.1 billion parameters with 22 layers, bfloat16.
LAYER = [(2048, 2048), (256, 2048), (256, 2048), (2048, 2048), (5632, 2048), (5632, 2048), (2048, 5632), (2048,), (2048,)]
OUTER = [(32000, 2048), (32000, 2048), (2048,)]


def make_model(path: Path, size: float) -> None:
    """Write a safetensors file of about `size` bytes with Gaussian weights in bfloat16."""
    import numpy as np

    shapes = [*OUTER]
    while sum(2 * _count(shape) for shape in shapes) < size - 2 * sum(map(_count, LAYER)):
        shapes += LAYER
    header, at = {}, 0
    for number, shape in enumerate(shapes):
        end = at + 2 * _count(shape)
        header[f"layer.{number}"] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(1)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes:
            weights = random.standard_normal(_count(shape), dtype=np.float32)
            file.write((weights.view(np.uint32) >> 16).astype(np.uint16).tobytes())


def _count(shape) -> int:
    total = 1
    for side in shape:
        total *= side
    return total


class Tool:
    """A command to time: its name, its arguments, its output, and a check of the output."""

    def __init__(self, name, command, output=None, check=None, inner=False):
        self.name, self.command, self.output, self.check = name, command, output, check
        # The command prints the time of its job, without the start of an interpreter.
        self.inner = inner
        self.seconds: list[float] = []
        self.memory = 0

    def run(self, size: int) -> None:
        if self.output:
            self.output.unlink(missing_ok=True)
        # In a separate process, or it would count toward the tool's peak.
        subprocess.run([*OTHER, "warm", str(size)], check=True, stdout=subprocess.DEVNULL)
        start = time.perf_counter()
        with tempfile.TemporaryFile() as answer:
            process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=answer, stderr=subprocess.PIPE)
            said = process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            answer.seek(0)
            self.seconds.append(float(answer.read().split()[-1]) if self.inner and status == 0 else seconds)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{self.name} failed: {said.decode(errors='replace')}")
        self.memory = max(self.memory, usage.ru_maxrss)
        if self.check:
            self.check()
        if self.output:
            # The folder is in memory, so free the space for the next tool.
            self.output.unlink()


def same(first: Path, second: Path):
    def check() -> None:
        if subprocess.run(["cmp", first, second]).returncode != 0:
            raise SystemExit(f"{second} differs from {first}")

    return check


def prepare(arguments, folder: Path, model: Path) -> list[Tool]:
    # The identity files of age and rage are not encrypted either. The cost of a passphrase, which is the same for every job, has a separate row.
    casemate = [os.path.abspath(arguments.casemate), "--home", str(folder / "home"), "--passphrase-file", str(folder / "store.key")]
    remembered = [*casemate[:2], str(folder / "remembered"), *casemate[3:4], str(folder / "pass")]
    (folder / "pass").write_text("correct horse battery\n")

    def quiet(*command, **more):
        return subprocess.run(command, check=True, capture_output=True, **more)

    quiet(*casemate, "keys", "init", "--random-key")
    quiet(*remembered, "keys", "init")
    quiet(*casemate, "keys", "generate", "--name", "model", "--kind", "kem")
    quiet(*casemate, "keys", "generate", "--name", "second", "--kind", "kem")
    quiet(*casemate, "keys", "generate", "--name", "publisher", "--kind", "sign")
    quiet(*casemate, "keys", "export", "publisher", "-o", str(folder / "publisher.pub"))
    sealed, opened, copied = folder / "m.sealed", folder / "m.opened", folder / "m.copy"
    seal = [*casemate, "seal", str(model), "--to", "model", "--sign", "publisher", "-o"]
    quiet(*seal, str(folder / "kept.sealed"))
    kept = str(folder / "kept.sealed")
    tools = [
        Tool("cp", ["cp", str(model), str(copied)], copied, same(model, copied)),
        Tool("casemate keys list, random key", [*casemate, "keys", "list"]),
        Tool("casemate keys list, passphrase", [*remembered, "keys", "list"]),
        Tool("casemate seal", [*seal, str(sealed)], sealed),
        Tool("casemate open", [*casemate, "open", kept, "-o", str(opened)], opened, same(model, opened)),
        Tool("casemate verify", [*casemate[:1], "verify", kept, "--signer", str(folder / "publisher.pub")]),
        Tool("casemate rewrap", [*casemate, "rewrap", kept, "--to", "model", "--to", "second"]),
    ]
    if shutil.which("age"):
        quiet("age-keygen", "-o", str(folder / "age.key"))
        recipient = quiet("age-keygen", "-y", str(folder / "age.key")).stdout.decode().strip()
        encrypted, plain = folder / "m.age", folder / "m.age.plain"
        quiet("age", "-r", recipient, "-o", str(folder / "kept.age"), str(model))
        tools += [
            Tool("age encrypt (X25519)", ["age", "-r", recipient, "-o", str(encrypted), str(model)], encrypted),
            Tool(
                "age decrypt",
                ["age", "-d", "-i", str(folder / "age.key"), "-o", str(plain), str(folder / "kept.age")],
                plain,
                same(model, plain),
            ),
        ]
    if shutil.which("gpg"):
        home = folder / "gnupg"
        home.mkdir(mode=0o700)
        encrypted = folder / "m.gpg"
        command = ["gpg", "--homedir", str(home), "--batch", "--yes", "--pinentry-mode", "loopback"]
        command += ["--passphrase-file", str(folder / "pass"), "--compress-algo", "none", "--cipher-algo", "AES256"]
        tools.append(Tool("gpg -c, no compression", [*command, "-o", str(encrypted), "-c", str(model)], encrypted))
    if shutil.which("openssl"):
        encrypted = folder / "m.ctr"
        command = ["openssl", "enc", "-aes-256-ctr", "-pbkdf2", "-pass", f"file:{folder / 'pass'}"]
        tools.append(
            Tool("openssl enc (no authentication)", [*command, "-in", str(model), "-out", str(encrypted)], encrypted)
        )
    if importable("pyrage"):
        encrypted, plain, kept_rage = folder / "m.rage", folder / "m.rage.plain", folder / "kept.rage"
        quiet(*OTHER, "rage-encrypt", str(model), str(kept_rage))
        tools += [
            Tool("rage encrypt (pyrage)", [*OTHER, "rage-encrypt", str(model), str(encrypted)], encrypted, inner=True),
            Tool("rage decrypt", [*OTHER, "rage-decrypt", str(kept_rage), str(plain)], plain, same(model, plain), inner=True),
        ]
    if importable("casemate") and importable("torch"):
        saved = folder / "m.saved"
        keys = str(folder / "home"), str(folder / "store.key")
        tools += [
            Tool("casemate.safetensors save (from memory)", [*OTHER, "casemate-save", str(model), str(saved), *keys], saved, inner=True),
            Tool("casemate.safetensors load (into memory)", [*OTHER, "casemate-load", kept, "-", *keys], inner=True),
        ]
    if importable("cryptotensors") and importable("torch"):
        saved, kept_ct = folder / "m.ct", folder / "kept.ct"
        quiet(*OTHER, "cryptotensors-save", str(model), str(kept_ct))
        tools += [
            Tool("CryptoTensors save (from memory)", [*OTHER, "cryptotensors-save", str(model), str(saved)], saved, inner=True),
            Tool("CryptoTensors load (into memory)", [*OTHER, "cryptotensors-load", str(kept_ct), "-"], inner=True),
        ]
    if shutil.which("mlar"):
        key, archive, kept_mla, out = folder / "mla", folder / "m.mla", folder / "kept.mla", folder / "mla-out"
        quiet("mlar", "keygen", str(key))
        ours, theirs = ["-k", f"{key}.mlapriv"], ["-p", f"{key}.mlapub"]
        create = ["mlar", "create", "--uncompressed", *ours, *theirs, "-o"]
        quiet(*create, str(kept_mla), str(model))
        extract = ["mlar", "extract", *ours, *theirs, "-i", str(kept_mla), "-o", str(out)]
        extracted = out / model.relative_to("/")
        tools += [
            Tool("MLA create, not compressed", [*create, str(archive), str(model)], archive),
            Tool("MLA extract", extract, extracted, same(model, extracted)),
        ]
    if importable("model_signing"):
        keys = folder / "oms"
        quiet("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{keys}.pem")
        quiet("openssl", "ec", "-in", f"{keys}.pem", "-pubout", "-out", f"{keys}.pub")
        signing = [sys.executable, "-m", "model_signing"]
        signature = f"{keys}.sig"
        quiet(*signing, "sign", "key", str(model), "--private_key", f"{keys}.pem", "--signature", signature)
        verify = ["verify", "key", str(model), "--signature", signature, "--public_key", f"{keys}.pub"]
        ours = ["verify", str(model), "--signature", signature, "--oms", f"{keys}.pub", "--allow-classical"]
        tools += [
            Tool("model_signing verify", [*signing, *verify]),
            Tool("casemate verify of the same signature", [*casemate[:1], *ours]),
        ]
    if importable("casemate") and importable("safetensors"):
        plain = "import safetensors.numpy as s; s.load_file(%r)" % str(model)
        sealed_load = (
            "import pathlib, casemate, casemate.safetensors as s\n"
            "store = casemate.open_store(%r, passphrase=pathlib.Path(%r))\n"
            "s.load_file(%r, keys=store.private('model'), signer=store.public('publisher'))"
        ) % (str(folder / "home"), str(folder / "store.key"), kept)
        tools += [
            Tool("safetensors.numpy.load_file, plain", [sys.executable, "-c", "import ml_dtypes; " + plain]),
            Tool("casemate.safetensors.load_file", [sys.executable, "-c", "import ml_dtypes; " + sealed_load]),
        ]
    return tools


LATENCY = """
import pathlib, statistics, sys, time
import ml_dtypes, safetensors
import casemate, casemate.safetensors as sealed

home, password, kept, model = sys.argv[1:]
store = casemate.open_store(home, passphrase=pathlib.Path(password))
trust = {"keys": store.private("model"), "signer": store.public("publisher")}


def median(task):
    seconds = []
    for _ in range(31):
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def plain(task):
    with safetensors.safe_open(model, "np") as file:
        return task(file)


def protected(task):
    with sealed.safe_open(kept, **trust) as file:
        return task(file)


print(f"{'milliseconds, each with a fresh open':40} {'sealed':>8} {'plain':>8}")
print(f"{'open, both signatures verified':40} {median(lambda: casemate.open_artifact(kept, **trust)):8.2f}")
for name, task in [
    ("open and list the tensors", lambda file: file.keys()),
    ("a tensor of 4 KB", lambda file: file.get_tensor("layer.2")),
    ("16 rows of a tensor of 131 MB", lambda file: file.get_slice("layer.0")[1000:1016]),
    ("a tensor of 23 MB", lambda file: file.get_tensor("layer.7")),
]:
    print(f"{name:40} {median(lambda: protected(task)):8.2f} {median(lambda: plain(task)):8.2f}")
both = [store.public("model"), store.public("second")]
print(f"{'change the recipients':40} {median(lambda: casemate.rewrap(kept, to=both, **trust)):8.2f}")
"""


def measure_latencies(folder: Path, model: Path) -> None:
    """Measure latencies in one process, with the file in the page cache."""
    arguments = [str(folder / name) for name in ("home", "store.key", "kept.sealed")]
    command = [sys.executable, "-c", LATENCY, *arguments, str(model)]
    subprocess.run(command, check=True)


def importable(name: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--casemate", required=True)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--size", type=float, default=2.2e9)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", metavar="TEXT", help="run only cp and tools whose name contains TEXT")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="casemate-speed-") as folder:
        folder = Path(folder)
        model = folder / "model.safetensors"
        # In a separate process: the memory of this process would count toward every child's peak.
        maker = f"import speed, pathlib; speed.make_model(pathlib.Path({str(model)!r}), {arguments.size})"
        subprocess.run([sys.executable, "-c", maker], check=True, cwd=Path(__file__).parent)
        size = model.stat().st_size
        tools = prepare(arguments, folder, model)
        tools = [tool for tool in tools if tool is tools[0] or arguments.only in tool.name]
        for number in range(arguments.rounds):
            for tool in tools:
                print(f"\rround {number + 1} of {arguments.rounds}: {tool.name:40}", end="", file=sys.stderr)
                tool.run(size)
        print(file=sys.stderr)
        overhead = (folder / "kept.sealed").stat().st_size / size - 1
        report(tools, size, overhead, arguments)
        if importable("casemate") and importable("safetensors"):
            sys.stdout.flush()
            measure_latencies(folder, model)


def report(tools: list[Tool], size: int, overhead: float, arguments) -> None:
    base = statistics.median(tools[0].seconds)
    load = os.getloadavg()[0]
    print(f"{size:,} bytes, {arguments.rounds} rounds, {os.cpu_count()} cores, load {load:.1f} at the end")
    print(f"a sealed file is {100 * overhead:.4f} % longer, for two recipients")
    print(f"{'':40} {'seconds':>8} {'+-':>6} {'least':>7} {'GB/s':>6} {'x cp':>6} {'peak MB':>8}")
    rows = []
    for tool in tools:
        median = statistics.median(tool.seconds)
        spread = statistics.median(abs(value - median) for value in tool.seconds)
        rows.append({"name": tool.name, "seconds": tool.seconds, "median": median, "peak_kilobytes": tool.memory})
        rate = size / median / 1e9
        least = min(tool.seconds)
        print(f"{tool.name:40} {median:8.3f} {spread:6.3f} {least:7.3f} {rate:6.2f} {base / median:6.2f} {tool.memory / 1000:8.0f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"bytes": size, "overhead": overhead, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
