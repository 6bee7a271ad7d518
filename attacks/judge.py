"""Judges attacks.

An attack consists of cases. A case has the victim as it was sealed, the forgery that the attacker made of it, and trials: commands, each with
its one correct answer. A trial runs in a separate folder, which a refused command must leave byte for byte unchanged.

Each trial also runs on the untouched victim. There the command must succeed, the content must be the sealed one, and the judge must report a
fault: a judge that accepts the untouched victim could not detect a successful attack.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from victim import Content, Setup, Output, copy


class Promise(StrEnum):
    """The outcome that the specification promises for an attack."""

    REFUSED = "refused"
    CONTAINED = "contained"  # it opens to exactly what the publisher sealed
    NOT_PROMISED = "not promised"  # the attack succeeds, and the documents say so


@dataclass(frozen=True)
class Trial:
    """A command on `x.sealed`. With code 0 it succeeds, and `says` is part of its output.

    Either of two damaged segments may be detected first, so `says` may list several answers, separated by ` | `.
    """

    command: tuple[str, ...]
    says: str
    code: int = 1


@dataclass(frozen=True)
class Case:
    """One forgery."""

    label: str
    honest: Path
    forged: Path
    content: Content
    trials: tuple[Trial, ...]
    owner: str = "alice"
    # If refusal is not promised: the content it opens to, and the owner who opens the twin if it is another one.
    opens_to: Content | None = None
    twin_owner: str | None = None


Cases = Iterator[Case]


@dataclass(frozen=True)
class Attack:
    """One idea, with a case for each of its forms."""

    name: str
    attacker: str
    spec: str
    promise: Promise
    gap: bool
    make: Callable[[Setup], Iterable[Case]]

    @property
    def idea(self) -> str:
        """Return the first line of the function's docstring."""
        return (self.make.__doc__ or "").split("\n")[0].strip()

    @property
    def file(self) -> str:
        """Return the name of its module."""
        return f"{self.make.__module__}.py"


ATTACKS: dict[str, Attack] = {}


def attack(
    name: str, attacker: str, spec: str, promise: Promise = Promise.REFUSED, *, gap: bool = False
) -> Callable[[Callable[[Setup], Iterable[Case]]], Attack]:
    """Register the decorated function. A `gap` is an attack that is known to succeed but should not."""

    def register(make: Callable[[Setup], Iterable[Case]]) -> Attack:
        assert name not in ATTACKS and make.__doc__
        ATTACKS[name] = Attack(name, attacker, spec, promise, gap, make)
        return ATTACKS[name]

    return register


OPEN = ("open", "x.sealed", "-o", "out")
OPEN_FROM = (*OPEN, "--signer", "@publisher")
OPEN_ANYONES = (*OPEN, "--allow-unknown-signer")
VERIFY = ("verify", "x.sealed", "--signer", "@publisher")
INSPECT = ("inspect", "x.sealed")
REWRAP = ("rewrap", "x.sealed", "--to", "@alice", "--signer", "@publisher")
# Run by `both`, who also trusts the second publisher.
ADD_BOB = ("rewrap", "x.sealed", "--add", "@bob", "--signer", "@second")
MODEL = ("inspect", "--model", "x.sealed")
MODEL_JSON = ("--json", *MODEL)


def trials(says: str, *commands: tuple[str, ...], code: int = 1) -> tuple[Trial, ...]:
    """Return trials that expect the same answer to each command."""
    return tuple(Trial(command, says, code) for command in commands)


@dataclass
class Report:
    """The result of one attack."""

    attack: Attack
    problems: list[str] = field(default_factory=list)  # wrong answers to the attack
    broken: list[str] = field(default_factory=list)  # faults of the attack itself: its twin is refused, or its check cannot fail
    cases: int = 0
    commands: int = 0
    seconds: float = 0
    answers: list[str] = field(default_factory=list)

    @property
    def word(self) -> str:
        """Return the result in a word or two."""
        if self.broken:
            return "BROKEN"
        if self.attack.gap:
            return "KNOWN GAP" if self.problems else "GAP CLOSED"
        return "NOT REFUSED" if self.problems else str(self.attack.promise)


@dataclass(frozen=True)
class Run:
    """One run of a trial."""

    said: Output
    changed: bool
    written: Content | None


def snapshot(root: Path) -> dict[str, str]:
    """Return everything below a folder. Follows no links and opens only regular files."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                seen = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                seen = os.readlink(path) if stat.S_ISLNK(mode) else str(stat.S_IFMT(mode))
            found[str(path.relative_to(root))] = seen
    return found


def content_of(path: Path) -> Content | None:
    """Return what a command wrote."""
    if path.is_dir():
        return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    return path.read_bytes() if path.is_file() else None


def perform(setup: Setup, owner: str, command: tuple[str, ...], target: Path) -> Run:
    """Run one command, one folder down, so that a path that leaves the folder is detected."""
    outer = setup.fresh()
    inner = outer / "here"
    inner.mkdir()
    copy(target, inner / "x.sealed")
    before = snapshot(outer)
    said = setup.run(owner, *command, cwd=inner)
    run = Run(said, snapshot(outer) != before, content_of(inner / "out"))
    shutil.rmtree(outer)
    return run


def faults(trial: Trial, run: Run, content: Content) -> list[str]:
    """Return what is wrong with a command's answer to a forgery; empty if it is correct."""
    said = run.said
    found = []
    if said.code < 0 or "panicked" in said.err:
        found.append(f"it crashed with {said.code}: {said.err!r}")
    if said.code != trial.code:
        found.append(f"exit code {said.code} instead of {trial.code}: {said.err!r}")
    if trial.code == 0:
        if trial.says not in said.out + said.err:
            found.append(f"its output does not contain {trial.says!r}: {said.out + said.err!r}")
        if "out" in trial.command and run.written != content:
            found.append("it wrote content that is not the sealed content")
        if "out" not in trial.command and run.changed:
            found.append("it left or changed files")
        return found
    if said.error not in trial.says.split(" | "):
        found.append(f"its error is {said.error!r} instead of {trial.says!r}")
    if run.changed:
        found.append("it left or changed files")
    return found


class Judge:
    """Judges attacks in one setup; caches the runs on untouched victims."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._untouched: dict[tuple[str, Path, tuple[str, ...]], Run] = {}

    def judge(self, attack: Attack) -> Report:
        """Run every trial of an attack on its forgery and on the honest twin."""
        report, started = Report(attack), time.monotonic()
        for case in attack.make(self.setup):
            report.cases += 1
            for trial in case.trials:
                report.commands += 1
                run = perform(self.setup, case.owner, trial.command, case.forged)
                where = f"{case.label}: {' '.join(trial.command)}: "
                report.problems += [where + fault for fault in faults(trial, run, wanted(case))]
                report.broken += [where + fault for fault in self.twin_faults(case, trial)]
                report.answers.append(f"{case.label}: {run.said.error or (trial.says if trial.code == 0 else 'no error')}")
        if not report.commands:
            report.broken.append("it has no trials")
        report.seconds = time.monotonic() - started
        return report

    def twin_faults(self, case: Case, trial: Trial) -> list[str]:
        """Return what is wrong with the twin: it must open to its content, and the judge must not accept that as the expected answer."""
        twin = self.untouched(case.twin_owner or case.owner, case.honest, trial.command)
        found = [f"the untouched victim is refused: {twin.said.err!r}"] if twin.said.code else []
        if "out" in trial.command and twin.written != case.content:
            found.append("the untouched victim opens to different content")
        if not faults(trial, self.untouched(case.owner, case.honest, trial.command), wanted(case)):
            found.append("the judge accepts the untouched victim, so it could not detect an attack")
        return found

    def untouched(self, owner: str, victim: Path, command: tuple[str, ...]) -> Run:
        """Return the run of a command on an untouched victim."""
        key = (owner, victim, command)
        if key not in self._untouched:
            self._untouched[key] = perform(self.setup, owner, command, victim)
        return self._untouched[key]


def wanted(case: Case) -> Content:
    """Return the content that a successful command must write."""
    return case.content if case.opens_to is None else case.opens_to
