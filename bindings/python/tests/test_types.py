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


USE = """
import casemate
from pathlib import Path

class Object:
    size = 3
    def read_at(self, offset: int, length: int) -> bytes:
        return b""

def use(path: str, key: casemate.PrivateKey, store: casemate.KeyStore) -> bytes:
    casemate.seal([b"x", [b"y"]], path, to=[key.public_key, Path("a.pub"), "team"], sign=key, force=True)
    casemate.configure(keys=[store, lambda ids: None], signer="lab", to=key, policy=Path("p.toml"))
    casemate.rewrap(path, add="team", remove=["0" * 64])
    casemate.inspect(Object())
    with casemate.open(path, keys=key, allow_unknown_signer=True) as file:
        return file.read_at(0, file.size)
"""

#: One argument of a wrong type each.
MISUSE = [
    "casemate.open(7)",
    "casemate.open('p', keyz=1)",
    "casemate.open('p', keys=1)",
    "casemate.open('p', signer=1)",
    "casemate.inspect(object())",
    "casemate.seal(1, 'p')",
    "casemate.seal(b'x', 'p', to=1)",
    "casemate.seal(b'x', 'p', sign=store)",
    "casemate.rewrap('p', add=1)",
    "casemate.rewrap('p', remove=[1])",
    "casemate.configure(policy=1)",
]


def _checked(folder, text):
    (folder / "use.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "cache"), "use.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_user_code_type_checks(tmp_path):
    done = _checked(tmp_path, USE)
    assert done.returncode == 0, done.stdout


def test_misuse_does_not_type_check(tmp_path):
    head = "import casemate\n\ndef misuse(store: casemate.KeyStore) -> None:\n"
    done = _checked(tmp_path, head + "".join(f"    {line}\n" for line in MISUSE))
    refused = {line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line}
    first = head.count("\n") + 1
    assert refused == {str(first + at) for at in range(len(MISUSE))}, done.stdout
