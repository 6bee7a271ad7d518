#!/usr/bin/env python3
"""Installs the pinned clients in `CASEMATE_INTEROP_DIR` and runs the tests: `CASEMATE_BIN=… run.py [pytest options]`.

Nothing is written to the source tree.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import gettempdir

HERE = Path(__file__).resolve().parent
WORK = Path(os.environ.get("CASEMATE_INTEROP_DIR") or Path(gettempdir()) / "casemate-interop-clients")
INPUTS = ("requirements.txt", "package.json")


def install() -> Path:
    python = WORK / "venv" / "bin" / "python"
    stamp = WORK / "installed"
    wanted = "".join((HERE / name).read_text() for name in INPUTS)
    if not stamp.exists() or stamp.read_text() != wanted:
        WORK.mkdir(parents=True, exist_ok=True)
        venv.create(WORK / "venv", with_pip=True, clear=True)
        packages = ["install", "--quiet", "--only-binary", ":all:", "-r", str(HERE / "requirements.txt")]
        subprocess.run([python, "-m", "pip", *packages], check=True)
        shutil.copy(HERE / "package.json", WORK)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=WORK, check=True)
        stamp.write_text(wanted)
    return python


def main() -> int:
    python = install()
    environment = os.environ | {"CASEMATE_INTEROP_DIR": str(WORK), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-p", "no:cacheprovider", "--timeout", "120", *sys.argv[1:]]
    return subprocess.run([python, "-m", "pytest", str(HERE), *options], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
