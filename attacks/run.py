"""Runs the attacks and reports the results.

    python attacks/run.py --casemate PATH [NAME ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True

import catalogue  # noqa: E402
from judge import Judge, Report  # noqa: E402
from victim import Setup, workplace  # noqa: E402


def line(report: Report) -> str:
    """Format a report as one line."""
    attack = report.attack
    return f"{report.word:12}  {attack.name:28}  {attack.attacker:12}  {report.commands:3} commands {report.seconds:5.1f} s  {attack.idea}"


def main(arguments: list[str] | None = None) -> int:
    """Return exit code 1 if the answer to an attack is not the specified one."""
    parser = argparse.ArgumentParser(description="Attack sealed files and folders")
    parser.add_argument("--casemate", type=Path, required=True, metavar="PATH", help="the program to attack")
    parser.add_argument("--answers", action="store_true", help="show the program's answer to each command")
    parser.add_argument("names", nargs="*", metavar="NAME", help="attacks to run (default: all)")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(catalogue.ATTACKS)
    if unknown:
        parser.error(f"unknown attack: {', '.join(sorted(unknown))}")
    chosen = [attack for name, attack in catalogue.ATTACKS.items() if name in options.names or not options.names]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attacks-", dir=workplace()) as root, ThreadPoolExecutor(2) as pool:
        judge = Judge(Setup(options.casemate, Path(root)))
        reports = []
        for report in pool.map(judge.judge, chosen):
            print(line(report), flush=True)
            shown = [f"said: {answer}" for answer in report.answers] if options.answers else []
            for text in report.broken + report.problems + shown:
                print(f"    {text}")
            reports.append(report)
    through = sum(bool(report.problems or report.broken) for report in reports)
    known = sum(report.word == "KNOWN GAP" for report in reports)
    commands = sum(report.commands for report in reports)
    print(f"{len(reports)} attacks, {commands} commands, {time.monotonic() - started:.0f} s, {through} failed, {known} of them known gaps")
    return 1 if through else 0


if __name__ == "__main__":
    sys.exit(main())
