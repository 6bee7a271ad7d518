"""age files between casemate and the npm `age-encryption` client, in both directions."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

WORK = Path(os.environ["CASEMATE_INTEROP_DIR"])
NODE = WORK / "node_modules" / "node" / "bin" / "node"
CLIENT = Path(__file__).with_name("age_client.mjs")
SIZES = [0, 21, 65_536, 200_001]

pytestmark = pytest.mark.skipif(not NODE.exists(), reason="npm is not installed: the age client was not tried")


def node(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([NODE, CLIENT, *arguments], capture_output=True, text=True)


class Home:
    """A key store with one hybrid key, and an identity that the client made."""

    def __init__(self, work: Path) -> None:
        self.work = work
        (work / "passphrase").write_text("correct horse battery")
        self.ok("keys", "init")
        self.ok("keys", "generate", "--name", "recovery", "--kind", "kem", "--suite", "mlkem768-x25519")
        self.ours = self.ok("keys", "export", "recovery", "--age").strip()
        self.theirs = json.loads(node("keys").stdout)
        (work / "identity").write_text(f"# a comment\n{self.theirs['identity']}\n")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(os.environ["CASEMATE_BIN"]).resolve()), "--home", "home", "--passphrase-file", "passphrase"]
        return subprocess.run([*command, *arguments], cwd=self.work, capture_output=True, text=True)

    def ok(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("age"))


@pytest.mark.parametrize("armor", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_casemate_encrypts_and_age_decrypts(home: Home, size: int, armor: bool) -> None:
    content = random.Random(size).randbytes(size)
    (home.work / "a").write_bytes(content)
    form = ["--armor"] if armor else []
    home.ok("age", "encrypt", "a", "-o", "a.age", "--force", "--to", home.theirs["recipient"], "--to", "recovery", *form)
    done = node("decrypt", home.theirs["identity"], home.work / "a.age", home.work / "back")
    assert done.returncode == 0, done.stderr
    assert (home.work / "back").read_bytes() == content
    home.ok("age", "decrypt", "a.age", "-o", "ours", "--force")
    assert (home.work / "ours").read_bytes() == content
    other = json.loads(node("keys").stdout)["identity"]
    assert node("decrypt", other, home.work / "a.age", home.work / "back").returncode != 0


@pytest.mark.parametrize("form", ["encrypt", "armor"])
@pytest.mark.parametrize("size", SIZES)
def test_age_encrypts_and_casemate_decrypts(home: Home, size: int, form: str) -> None:
    content = random.Random(size).randbytes(size)
    (home.work / "b").write_bytes(content)
    for recipient, identity in [(home.ours, []), (home.theirs["recipient"], ["--identity", "identity"])]:
        assert node(form, recipient, home.work / "b", home.work / "b.age").returncode == 0
        home.ok("age", "decrypt", "b.age", "-o", "out", "--force", *identity)
        assert (home.work / "out").read_bytes() == content


def test_a_stranger_and_a_changed_file_are_refused_and_leave_nothing(home: Home) -> None:
    (home.work / "c").write_text("secret")
    assert node("encrypt", home.ours, home.work / "c", home.work / "c.age").returncode == 0
    refused = home.run("age", "decrypt", "c.age", "-o", "nothing", "--identity", "identity")
    assert (refused.returncode, "no key fits" in refused.stderr) == (4, True), refused.stderr
    whole = (home.work / "c.age").read_bytes()
    (home.work / "c.age").write_bytes(whole[:-1])
    refused = home.run("age", "decrypt", "c.age", "-o", "nothing")
    assert (refused.returncode, "changed or cut short" in refused.stderr) == (1, True), refused.stderr
    assert not (home.work / "nothing").exists()


def test_keys_move_between_the_two(home: Home) -> None:
    home.ok("keys", "import", "identity", "--name", "mine")
    assert home.ok("keys", "export", "mine", "--age").strip() == home.theirs["recipient"]
    (home.work / "theirs.txt").write_text(json.loads(node("keys").stdout)["recipient"] + "\n")
    shown = json.loads(home.ok("--json", "keys", "import", "theirs.txt", "--name", "theirs"))
    assert (shown["suite"], shown["half"]) == ("mlkem768-x25519", "public")
    refused = home.run("keys", "import", "identity", "--name", "again")
    assert (refused.returncode, "holds this key already" in refused.stderr) == (2, True), refused.stderr
    home.ok("keys", "generate", "--name", "p384", "--kind", "kem")
    refused = home.run("keys", "export", "p384", "--age")
    assert (refused.returncode, "mlkem768-x25519" in refused.stderr) == (2, True), refused.stderr
