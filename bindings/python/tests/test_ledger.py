"""What a client keeps on record, in a folder that others may interfere with."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import casemate
import pytest

pytest.importorskip("flwr")

from casemate.flower._ledger import KEPT_SECONDS, Ledger, default_folder


def test_a_step_is_taken_once_by_all_processes(tmp_path):
    folder = tmp_path / "deep/records"
    with Ledger(folder) as ledger:
        ledger.take(b"one")
        ledger.take(b"two")
        with pytest.raises(casemate.CasemateError, match="already taken"):
            ledger.take(b"one")
    again = "import sys, pathlib; from casemate.flower._ledger import Ledger; Ledger(pathlib.Path(sys.argv[1])).take(b'one')"
    done = subprocess.run([sys.executable, "-c", again, folder], capture_output=True, text=True, timeout=60)
    assert "already taken" in done.stderr
    assert done.returncode == 1
    assert len(os.listdir(folder)) == 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_a_record_is_durable_before_the_step_is_taken(tmp_path, monkeypatch):
    events = []
    opened, synced = os.open, os.fsync
    monkeypatch.setattr(os, "open", lambda path, *rest, **more: (events.append(("open", str(path))), opened(path, *rest, **more))[1])
    monkeypatch.setattr(os, "fsync", lambda of: (events.append(("sync", os.readlink(f"/proc/self/fd/{of}"))), synced(of))[1])
    folder = tmp_path / "new"
    with Ledger(folder) as ledger:
        assert ("sync", str(tmp_path)) in events
        events.clear()
        ledger.take(b"one")
        kinds = [kind for kind, _ in events]
        assert kinds == ["open", "sync"]
        assert events[1] == ("sync", str(folder))


def test_old_records_of_steps_go_and_everything_else_stays(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.accept(SimpleNamespace(job=bytes(16), epoch=3))
        ledger.take(b"old")
        (old,) = (name for name in os.listdir(tmp_path) if len(name) == 64)
        ledger.take(b"new")
        (tmp_path / "notes.txt").write_text("keep me")
        (tmp_path / ("a" * 64)).mkdir()
        (tmp_path / ("b" * 64)).symlink_to("notes.txt")
        for name in os.listdir(tmp_path):
            if name == old or len(name) != 64 or name[0] in "ab":
                os.utime(tmp_path / name, (0, 0), follow_symlinks=False)
        before = set(os.listdir(tmp_path))
        ledger.prune(KEPT_SECONDS - 1)
        assert set(os.listdir(tmp_path)) == before
        ledger.prune(time.time())
        assert set(os.listdir(tmp_path)) == before - {old}


def test_records_that_another_process_removes_are_no_error(tmp_path, monkeypatch):
    with Ledger(tmp_path) as ledger:
        ledger.take(b"one")
        (name,) = os.listdir(tmp_path)
        os.utime(tmp_path / name, (0, 0))
        monkeypatch.setattr(os, "listdir", lambda _: [name, "0" * 64])
        ledger.prune(time.time())
        assert not (tmp_path / name).exists()


def test_a_roster_of_an_older_epoch_is_refused(tmp_path):
    one, two = bytes(16), bytes([1]) * 16
    with Ledger(tmp_path) as ledger:
        for job, epoch in [(one, 9), (one, 10), (one, 10), (two, 1)]:
            ledger.accept(SimpleNamespace(job=job, epoch=epoch))
        with pytest.raises(casemate.CasemateError, match="the roster has epoch 9, and this client has seen epoch 10"):
            ledger.accept(SimpleNamespace(job=one, epoch=9))


def test_a_folder_of_others_is_refused(tmp_path):
    for mode in (0o770, 0o702):
        tmp_path.chmod(mode)
        with pytest.raises(casemate.CasemateError, match="nobody else may write to it; run: chmod 700"):
            Ledger(tmp_path)
    tmp_path.chmod(0o700)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(OSError, match="link"):
        Ledger(link)
    if os.geteuid() == 0:
        other = tmp_path / "other"
        other.mkdir(0o700)
        os.chown(other, 12345, 12345)
        with pytest.raises(casemate.CasemateError, match="must belong to the client's user"):
            Ledger(other)


def test_a_folder_that_others_can_exchange_is_refused(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    for mode, refused in [(0o777, True), (0o1777, False), (0o755, False)]:
        shared.chmod(mode)
        if refused:
            with pytest.raises(casemate.CasemateError, match="other users can rename what is in"):
                Ledger(shared / "a/state")
        else:
            Ledger(shared / "a/state")
    if os.geteuid() == 0:
        os.chown(shared, 12345, 12345)
        with pytest.raises(casemate.CasemateError, match="other users can rename what is in"):
            Ledger(shared / "a/state")


def test_the_default_folder_ignores_a_relative_state_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value, wanted in [("", tmp_path / ".local/state"), ("here", tmp_path / ".local/state"), ("/state", "/state")]:
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert str(default_folder()) == f"{wanted}/casemate/used-states"
