"""The stubs match the compiled module, and the package type-checks."""

import inspect
import subprocess
import sys
from pathlib import Path

import casemate
from casemate import _casemate


def test_every_public_name_has_a_docstring_and_a_stub():
    stub = Path(casemate.__file__).with_name("_casemate.pyi").read_text()
    for name, value in vars(_casemate).items():
        if name.startswith("_") or inspect.ismodule(value):
            continue
        assert f"class {name}" in stub or f"def {name}" in stub, name
        assert value.__doc__, name
        if inspect.isclass(value) and not issubclass(value, Exception):
            for method in [m for m in vars(value) if not m.startswith("_")]:
                assert f"def {method}(" in stub, f"{name}.{method}"
                assert getattr(value, method).__doc__, f"{name}.{method}"
    for name in casemate.__all__:
        if name != "__version__":
            assert getattr(casemate, name).__doc__, name


def test_user_code_type_checks(tmp_path):
    (tmp_path / "use.py").write_text(
        "import casemate\n"
        "def f(path: str, key: casemate.PrivateKey) -> bytes:\n"
        "    casemate.seal(b'x', path, to=key.public_key, force=True)\n"
        "    with casemate.open(path, keys=key, allow_unknown_signer=True) as file:\n"
        "        return file.read_at(0, file.size)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "use.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (tmp_path / "use.py").write_text("import casemate\ncasemate.open(7, keyz=1)\n")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1
