"""The command on a terminal, as an interactive user sees it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

ECHO = 3  # Index of the local flags in the result of `termios.tcgetattr`.


@pytest.mark.parametrize("command", [["seal", "f", "--to", "me"], ["keys", "list"], ["run", "g.sealed", "--allow-unknown-signer", "--memory", "--", "true"]])
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_prompt_restores_the_terminal(tmp_path: Path, command: list[str], stop: signal.Signals) -> None:
    binary = str(Path(os.environ["CASEMATE_BIN"]).resolve())
    (tmp_path / "f").write_text("x")
    (tmp_path / "passphrase").write_text("correct horse")
    home = [binary, "--home", "home"]
    for setup in (["keys", "init"], ["keys", "generate", "--name", "me", "--kind", "kem", "--suite", "mlkem768-x25519"], ["seal", "f", "-o", "g.sealed", "--to", "me"]):
        subprocess.run([*home, "--passphrase-file", "passphrase", *setup], cwd=tmp_path, check=True, capture_output=True)
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    assert before[ECHO] & termios.ECHO
    # A new session, so that the terminal becomes its controlling terminal.
    login = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "cwd": tmp_path, "start_new_session": True}
    attach = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(["python3", "-c", attach, *home, *command], **login)
    try:
        deadline = time.monotonic() + 20
        while termios.tcgetattr(theirs)[ECHO] & termios.ECHO:
            assert time.monotonic() < deadline, "the prompt never appeared"
            time.sleep(0.02)
        process.send_signal(stop)
        assert process.wait(timeout=20) == 130
        assert termios.tcgetattr(theirs) == before
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def test_a_prompt_asks_on_the_terminal_while_standard_input_is_a_pipe(tmp_path: Path) -> None:
    binary = str(Path(os.environ["CASEMATE_BIN"]).resolve())
    (tmp_path / "passphrase").write_text("correct horse")
    home = [binary, "--home", "home"]
    for command in (["keys", "init"], ["keys", "generate", "--name", "me", "--kind", "kem", "--suite", "mlkem768-x25519"]):
        subprocess.run([*home, "--passphrase-file", "passphrase", *command], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "f").write_text("secret content")
    encrypt = [*home, "--passphrase-file", "passphrase", "age", "encrypt", "f", "--to", "me"]
    subprocess.run(encrypt, cwd=tmp_path, check=True, capture_output=True)
    ours, theirs = pty.openpty()
    # Only standard error is a terminal; input and output are pipes.
    attach = "import fcntl, os, sys, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    command = ["python3", "-c", attach, *home, "age", "decrypt", "-", "-o", "-"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": theirs}
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes)
    try:
        deadline = time.monotonic() + 20
        while termios.tcgetattr(theirs)[ECHO] & termios.ECHO:
            assert time.monotonic() < deadline, "the prompt never appeared"
            time.sleep(0.02)
        os.write(ours, b"correct horse\n")
        out, _ = process.communicate((tmp_path / "f.age").read_bytes(), timeout=20)
        assert (process.returncode, out) == (0, b"secret content")
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
