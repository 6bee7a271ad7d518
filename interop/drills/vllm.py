"""Serves a sealed folder with vLLM through `casemate run`.

This is a drill, because vLLM and its dependencies are six gigabytes. With `vllm` on the path, and CASEMATE_BIN and CASEMATE_INTEROP_DIR set as in
`cargo xtask interop`, run `pytest interop/drills/vllm.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engines"))

from test_engines import HERE, MODES, House, house  # noqa: F401 - a fixture

VLLM = shutil.which("vllm")
ENVIRONMENT = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
QUESTION = {"model": "demo", "prompt": "hello", "max_tokens": 12, "temperature": 0, "return_token_ids": True}

if VLLM is None:
    pytest.fail("vllm is not on the path; install it and run this drill again", pytrace=False)


def ask(command: list[str], port: int, work: Path) -> list[int]:
    """Start a server, send one prompt, stop the server, and return the tokens of the answer."""
    arguments = ["--served-model-name", "demo", "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "128", "--enforce-eager"]
    with open(work / "vllm.log", "wb") as log:
        server = subprocess.Popen([*command, *arguments], cwd=work, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True)
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", json.dumps(QUESTION).encode(), {"content-type": "application/json"}
    )
    try:
        for _ in range(240):
            if server.poll() is not None:
                break
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)["choices"][0]["token_ids"]
            except urllib.error.URLError:
                time.sleep(1)
        raise AssertionError((work / "vllm.log").read_text())
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
            server.wait(60)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("mode", MODES)
def test_vllm_gives_the_same_answer_from_sealed_and_plain_folders(house: House, mode: list[str]) -> None:  # noqa: F811
    assert VLLM is not None
    python = Path(VLLM).with_name("python")
    subprocess.run([python, HERE / "make_llama.py", house.work / "llama"], check=True, capture_output=True)
    plain = ask([VLLM, "serve", "llama"], free_port(), house.work)
    assert len(plain) == 12
    house.casemate("seal", "llama", "-o", "llama.sealed", "--to", "me", "--sign", "publisher")
    shutil.rmtree(house.work / "llama")
    binary = str(Path(os.environ["CASEMATE_BIN"]).resolve())
    run = [binary, "--home", "home", "--passphrase-file", "passphrase", "run", *mode, "llama.sealed", "--", VLLM, "serve", "{}"]
    assert ask(run, free_port(), house.work) == plain

    shard = next((house.work / "llama.sealed").glob("model-00002*"))
    damaged = bytearray(shard.read_bytes())
    damaged[100_000] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(AssertionError, match="segment"):
        ask(run, free_port(), house.work)
    shutil.rmtree(house.work / "llama.sealed")
