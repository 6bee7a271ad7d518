"""What a client must not forget: which steps it has taken, and the newest roster that it has seen."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from .._casemate import CasemateError, Roster

#: How long a step is kept on record. Rounds take minutes.
KEPT_SECONDS = 90 * 24 * 60 * 60
_STEP = re.compile("[0-9a-f]{64}")
_ROSTER = re.compile("roster-([0-9a-f]{32})-([0-9]{1,20})")


class Ledger:
    """Empty files in a folder, each durable before a method returns. A step is recorded by the hash of what is used up by it.

    Several processes may use one folder.
    """

    def __init__(self, folder: Path) -> None:
        _make(folder)
        _require_own_way_to(folder)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self._folder = os.open(folder, flags)
        found = os.fstat(self._folder)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            os.close(self._folder)
            raise CasemateError(f"{folder} must belong to the client's user, and nobody else may write to it; run: chmod 700 {folder}")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._folder)

    def take(self, step: bytes) -> None:
        """Record that a step is taken. Raises :class:`casemate.CasemateError` if it was taken before."""
        if not self._create(hashlib.sha256(step).hexdigest()):
            raise CasemateError("this step of the round was already taken")

    def accept(self, roster: Roster) -> None:
        """Record that a roster is used. Raises :class:`casemate.CasemateError` if a newer one of its job was used before."""
        job = roster.job.hex()
        matches = (_ROSTER.fullmatch(name) for name in os.listdir(self._folder))
        epochs = [int(match[2]) for match in matches if match and match[1] == job]
        newest = max(epochs, default=0)
        if roster.epoch < newest:
            raise CasemateError(
                f"the roster has epoch {roster.epoch}, and this client has seen epoch {newest} of the job; get the newest roster"
            )
        if roster.epoch > newest:
            self._create(f"roster-{job}-{roster.epoch}")

    def prune(self, now: float) -> None:
        """Remove the records of steps that are older than 90 days."""
        for name in os.listdir(self._folder):
            if not _STEP.fullmatch(name):
                continue
            try:
                found = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and found.st_mtime < now - KEPT_SECONDS:
                    os.unlink(name, dir_fd=self._folder)
            except FileNotFoundError:
                pass  # Another process removed it.

    def _create(self, name: str) -> bool:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            os.close(os.open(name, flags, 0o600, dir_fd=self._folder))
        except FileExistsError:
            return False
        os.fsync(self._folder)
        return True


def _require_own_way_to(folder: Path) -> None:
    """Refuse a folder that another user can put another one in the place of, without the records."""
    for above in folder.resolve().parents:
        found = above.stat()
        is_shared = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()) or is_shared:
            raise CasemateError(f"other users can rename what is in {above}; keep {folder} elsewhere")


def default_folder() -> Path:
    """Return ``casemate/used-states`` in the user's state directory. A relative ``XDG_STATE_HOME`` is ignored, as its specification demands."""
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local/state") / "casemate/used-states"


def _make(folder: Path) -> None:
    """Create a folder and those above it, each durable: records in a folder that is gone after a crash would record nothing."""
    missing = [folder, *folder.parents]
    missing = [one for one in missing if not one.is_dir()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
        above = os.open(one.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(above)
        finally:
            os.close(above)
