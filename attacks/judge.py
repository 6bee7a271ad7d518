"""How an attack is judged.

An attack makes cases. A case has what was honestly sealed, what the attacker made of it, and trials: commands with the one answer that
is right. A trial runs in a directory of its own, which a refused command must leave byte for byte as it was.

Each trial runs on the honest one as well. There the command must succeed, the content must be what was sealed, and the judge must find
fault: a judge that is content with the untouched victim could not tell an attack that went through.
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

from victim import Content, House, Said, copy


class Promise(StrEnum):
    """What the specification says will become of an attack."""

    REFUSED = "refused"
    CONTAINED = "contained"  # what opens is exactly what the publisher sealed
    NOT_PROMISED = "not promised"  # the attack works, and the documents say so


@dataclass(frozen=True)
class Trial:
    """A command on `x.sealed`. Code 0 means that it goes on, and `says` is then part of what it says.

    Of two damaged segments either may be seen first, so there are answers with ` | ` between them.
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
    # Where an attack is not promised to be refused: what it opens to, and who opens the twin, if not the same.
    opens_to: Content | None = None
    twin_owner: str | None = None


Cases = Iterator[Case]


@dataclass(frozen=True)
class Attack:
    """One idea, with as many cases as it has forms."""

    name: str
    attacker: str
    spec: str
    promise: Promise
    gap: bool
    make: Callable[[House], Iterable[Case]]

    @property
    def idea(self) -> str:
        """The first line of what the function says about itself."""
        return (self.make.__doc__ or "").split("\n")[0].strip()

    @property
    def file(self) -> str:
        """The module that has it."""
        return f"{self.make.__module__}.py"


ATTACKS: dict[str, Attack] = {}


def attack(
    name: str, attacker: str, spec: str, promise: Promise = Promise.REFUSED, *, gap: bool = False
) -> Callable[[Callable[[House], Iterable[Case]]], Attack]:
    """Registers the function below it. A `gap` is an attack that is known to go through and should not."""

    def register(make: Callable[[House], Iterable[Case]]) -> Attack:
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
# By `both`, who trusts the second publisher as well.
ADD_BOB = ("rewrap", "x.sealed", "--add", "@bob", "--signer", "@second")
MODEL = ("inspect", "--model", "x.sealed")
MODEL_JSON = ("--json", *MODEL)


def trials(says: str, *commands: tuple[str, ...], code: int = 1) -> tuple[Trial, ...]:
    """The same answer to each command."""
    return tuple(Trial(command, says, code) for command in commands)


@dataclass
class Report:
    """What became of one attack."""

    attack: Attack
    problems: list[str] = field(default_factory=list)  # with the answers to the attack
    broken: list[str] = field(default_factory=list)  # with the attack itself: its twin is refused, or its check cannot fail
    cases: int = 0
    commands: int = 0
    seconds: float = 0
    answers: list[str] = field(default_factory=list)

    @property
    def word(self) -> str:
        """What became of it, in a word or two."""
        if self.broken:
            return "BROKEN"
        if self.attack.gap:
            return "KNOWN GAP" if self.problems else "GAP CLOSED"
        return "NOT REFUSED" if self.problems else str(self.attack.promise)


@dataclass(frozen=True)
class Run:
    """A trial on one victim."""

    said: Said
    changed: bool
    written: Content | None


def snapshot(root: Path) -> dict[str, str]:
    """Everything below a directory; nothing is followed or opened that is no regular file."""
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
    """What a command wrote."""
    if path.is_dir():
        return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    return path.read_bytes() if path.is_file() else None


def perform(house: House, owner: str, command: tuple[str, ...], target: Path) -> Run:
    """Runs one command. It works one directory down, so that a path that climbs out is seen."""
    outer = house.fresh()
    inner = outer / "here"
    inner.mkdir()
    copy(target, inner / "x.sealed")
    before = snapshot(outer)
    said = house.run(owner, *command, cwd=inner)
    run = Run(said, snapshot(outer) != before, content_of(inner / "out"))
    shutil.rmtree(outer)
    return run


def faults(trial: Trial, run: Run, content: Content) -> list[str]:
    """What is wrong with how a command took a forgery; empty if all is as it should be."""
    said = run.said
    found = []
    if said.code < 0 or "panicked" in said.err:
        found.append(f"it crashed with {said.code}: {said.err!r}")
    if said.code != trial.code:
        found.append(f"exit code {said.code} instead of {trial.code}: {said.err!r}")
    if trial.code == 0:
        if trial.says not in said.out + said.err:
            found.append(f"it does not say {trial.says!r}: {said.out + said.err!r}")
        if "out" in trial.command and run.written != content:
            found.append("what it wrote is not what was sealed")
        if "out" not in trial.command and run.changed:
            found.append("it left or changed files")
        return found
    if said.error not in trial.says.split(" | "):
        found.append(f"it says {said.error!r} instead of {trial.says!r}")
    if run.changed:
        found.append("it left or changed files")
    return found


class Judge:
    """Judges attacks in one house; what commands did with untouched victims is remembered."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._untouched: dict[tuple[str, Path, tuple[str, ...]], Run] = {}

    def judge(self, attack: Attack) -> Report:
        """Runs every trial of an attack on its forgery and on the honest twin."""
        report, started = Report(attack), time.monotonic()
        for case in attack.make(self.house):
            report.cases += 1
            for trial in case.trials:
                report.commands += 1
                run = perform(self.house, case.owner, trial.command, case.forged)
                where = f"{case.label}: {' '.join(trial.command)}: "
                report.problems += [where + fault for fault in faults(trial, run, wanted(case))]
                report.broken += [where + fault for fault in self.twin_faults(case, trial)]
                report.answers.append(f"{case.label}: {run.said.error or (trial.says if trial.code == 0 else 'no error')}")
        if not report.commands:
            report.broken.append("it tried nothing")
        report.seconds = time.monotonic() - started
        return report

    def twin_faults(self, case: Case, trial: Trial) -> list[str]:
        """What is wrong with the twin: it must open to its content, and the judge must see that as not the answer it wants."""
        twin = self.untouched(case.twin_owner or case.owner, case.honest, trial.command)
        found = [f"the untouched victim is refused: {twin.said.err!r}"] if twin.said.code else []
        if "out" in trial.command and twin.written != case.content:
            found.append("the untouched victim opens to something else")
        if not faults(trial, self.untouched(case.owner, case.honest, trial.command), wanted(case)):
            found.append("the judge finds no fault with the untouched victim, so it could not find one with an attack")
        return found

    def untouched(self, owner: str, victim: Path, command: tuple[str, ...]) -> Run:
        """The run of a command on a victim as it was sealed."""
        key = (owner, victim, command)
        if key not in self._untouched:
            self._untouched[key] = perform(self.house, owner, command, victim)
        return self._untouched[key]


def wanted(case: Case) -> Content:
    """What a command that goes on has to write."""
    return case.content if case.opens_to is None else case.opens_to
