"""Sealing and opening files, folders and memory."""

import copy
import io
import os
import pickle
import subprocess
import sys
import threading

import casemate
import numpy as np
import pytest
from conftest import flip

CONTENT = np.arange(3_000_000, dtype=np.uint32).tobytes()


@pytest.fixture
def sealed(tmp_path, to):
    path = tmp_path / "data.sealed"
    casemate.seal(CONTENT, path, name="data", metadata={"epoch": "7"}, **to)
    return path


def test_content_comes_back_with_name_and_metadata(sealed, trust):
    with casemate.open(sealed, **trust) as file:
        assert file.read() == CONTENT
        assert (file.sealed_name, file.metadata, file.size) == ("data", {"epoch": "7"}, len(CONTENT))
    seen = casemate.inspect(sealed)
    assert seen.size == len(CONTENT)
    assert seen.recipients == [trust["keys"].id]
    assert seen.signer == trust["signer"].id


def test_the_inspected_artifact_is_the_one_that_is_opened(sealed, trust, to, keys):
    seen = casemate.inspect(sealed)
    casemate.seal(b"another", sealed, force=True, **to)
    with casemate.open(seen, **trust) as file:
        assert file.read() == CONTENT and file.artifact_id == seen.id
    with casemate.open(sealed, **trust) as file:
        assert file.read() == b"another"
    with pytest.raises(casemate.VerificationError):
        casemate.open(seen, keys=trust["keys"], signer=keys.stranger.public_key)


def test_lines_are_those_of_a_plain_file(tmp_path, trust, to):
    text = b"".join(b"x" * (at % 500) + b"\n" for at in range(3000)) + b"y" * 600_000 + b"\nlast"
    (tmp_path / "plain").write_bytes(text)
    casemate.seal(text, tmp_path / "lines.sealed", **to)
    with casemate.open(tmp_path / "lines.sealed", **trust) as file, open(tmp_path / "plain", "rb") as plain:
        assert list(file) == list(plain)
        for at, size in ((0, 5), (3, -1), (3, None), (100_000, 0), (len(text) - 4, 10), (len(text), -1), (len(text) + 9, -1)):
            file.seek(at)
            plain.seek(at)
            assert file.readline(*([] if size is None else [size])) == plain.readline(*([] if size is None else [size]))
            assert file.tell() == plain.tell()
            assert file.read(7) == plain.read(7) and file.readlines(1000) == plain.readlines(1000)


def test_a_sealed_file_behaves_like_a_plain_file(sealed, trust, tmp_path):
    plain_path = tmp_path / "plain"
    plain_path.write_bytes(CONTENT)
    random = np.random.default_rng(7)
    with casemate.open(sealed, **trust) as file, open(plain_path, "rb", buffering=0) as plain:
        for _ in range(200):
            act = random.integers(4)
            if act == 0:
                offset = int(random.integers(0, len(CONTENT) + 100))
                assert file.seek(offset) == plain.seek(offset)
            elif act == 1:
                size = int(random.integers(0, 3_000_000))
                assert file.read(size) == plain.read(size)
            elif act == 2:
                first, second = bytearray(100_000), bytearray(100_000)
                assert file.readinto(first) == plain.readinto(second)
                assert first == second
            else:
                offset = -int(random.integers(0, 1000))
                assert file.seek(offset, io.SEEK_END) == plain.seek(offset, io.SEEK_END)
            assert file.tell() == plain.tell()
    with pytest.raises(ValueError):
        file.read()
    with casemate.open(sealed, **trust) as file, pytest.raises(OSError):
        file.seek(-1)
    with casemate.open(sealed, **trust) as file, pytest.raises(io.UnsupportedOperation):
        file.write(b"x")


def test_many_threads_read_at_once(sealed, trust):
    opened = casemate.open_artifact(sealed, **trust)
    wrong = []

    def work(seed):
        random = np.random.default_rng(seed)
        for _ in range(30):
            offset = int(random.integers(0, len(CONTENT)))
            length = int(random.integers(1, 50_000))
            if opened.read_at(offset, length) != CONTENT[offset : offset + length]:
                wrong.append((offset, length))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_interpreter_is_free_while_it_decrypts(tmp_path, to, trust):
    path = tmp_path / "large.sealed"
    casemate.seal(np.zeros(200_000_000, np.uint8), path, **to)
    opened = casemate.open_artifact(path, **trust)
    out = np.empty(opened.size, np.uint8)
    steps, done = 0, threading.Event()

    def read():
        opened.readinto(0, out)
        done.set()

    thread = threading.Thread(target=read)
    thread.start()
    while not done.is_set():
        steps += 1
    thread.join()
    assert steps > 1000
    assert not out.any()


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1 << 20])
def test_boundary_sizes_round_trip(tmp_path, to, trust, size):
    content = os.urandom(size)
    casemate.seal([content[: size // 2], content[size // 2 :]], tmp_path / "x", segment_size=65_536, **to)
    assert casemate.open(tmp_path / "x", **trust).read() == content


def test_a_changed_byte_anywhere_is_refused(tmp_path, to, trust):
    path = tmp_path / "small.sealed"
    casemate.seal(b"weights" * 20, path, **to)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        flip(path, at)
        with pytest.raises(casemate.CasemateError):
            casemate.open(path, **trust).read()
        path.write_bytes(whole)
    assert casemate.open(path, **trust).read() == b"weights" * 20


def test_untrusted_signers_and_missing_keys_are_reported(sealed, keys, trust):
    with pytest.raises(casemate.VerificationError, match="not an expected signer"):
        casemate.open(sealed, keys=keys.alice, signer=keys.stranger)
    with pytest.raises(casemate.NotARecipientError, match="sealed to"):
        casemate.open(sealed, keys=keys.bob, signer=keys.publisher)
    with pytest.raises(casemate.CasemateError, match="no expected signer was given"):
        casemate.open(sealed, keys=keys.alice)
    with pytest.raises(casemate.CasemateError, match="no key to open with"):
        casemate.open(sealed, signer=keys.publisher)
    assert casemate.open(sealed, keys=keys.alice, allow_unknown_signer=True).read(4) == CONTENT[:4]
    with pytest.raises(ValueError, match="cannot be combined"):
        casemate.open(sealed, allow_unknown_signer=True, **trust)


def test_an_unsigned_artifact_is_refused_where_a_signer_is_expected(tmp_path, keys, trust):
    casemate.seal(b"x", tmp_path / "u", to=keys.alice.public_key)
    with pytest.raises(casemate.VerificationError, match="not signed"):
        casemate.open(tmp_path / "u", **trust)


def test_a_key_file_that_others_can_read_is_refused(sealed, keys, trust, tmp_path):
    path = tmp_path / "alice.key"
    keys.alice.to_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        keys.bob.to_file(path)
    assert casemate.open(sealed, **{**trust, "keys": path}).read()
    path.chmod(0o644)
    for read in (lambda: casemate.open(sealed, **{**trust, "keys": path}), lambda: casemate.open_store(tmp_path, passphrase=path)):
        with pytest.raises(casemate.CasemateError, match="other users can read or change"):
            read()


def test_keys_come_from_files_functions_and_defaults(sealed, keys, tmp_path):
    keys.alice.to_file(tmp_path / "alice.key")
    (tmp_path / "pub").write_text(keys.publisher.public_key.to_pem())
    asked = []

    def find(recipients):
        asked.extend(recipients)
        return keys.alice

    for source in [tmp_path / "alice.key", [keys.bob, keys.alice], find]:
        assert casemate.open(sealed, keys=source, signer=tmp_path / "pub").read(4) == CONTENT[:4]
    assert asked == [keys.alice.id]
    casemate.configure(keys=keys.alice, signer=keys.publisher, to=[keys.bob.public_key], sign=keys.publisher)
    assert casemate.open(sealed).read(4) == CONTENT[:4]
    casemate.seal(b"for bob", tmp_path / "b")
    assert casemate.open(tmp_path / "b", keys=keys.bob).read() == b"for bob"
    casemate.configure()
    with pytest.raises(casemate.CasemateError):
        casemate.open(sealed)


def test_private_keys_reveal_nothing(keys):
    pem = keys.alice.to_pem()
    assert casemate.PrivateKey.from_pem(pem).id == keys.alice.id
    assert repr(keys.alice) == "<PrivateKey mlkem1024-p384>"
    for give in [pickle.dumps, copy.copy, copy.deepcopy]:
        with pytest.raises(TypeError, match="cannot be pickled"):
            give(keys.alice)
    with pytest.raises(casemate.CasemateError):
        casemate.PrivateKey.from_pem(b"not a key")
    with pytest.raises(casemate.CasemateError, match="no suite"):
        casemate.PrivateKey.generate("rsa")


def test_a_key_of_another_kind_is_named(sealed, keys, tmp_path):
    with pytest.raises(TypeError, match="expected a key of kind `sign`"):
        casemate.inspect(sealed).verify(keys.bob.public_key)
    with pytest.raises(TypeError, match="expected a key of kind `kem`"):
        casemate.seal(b"x", tmp_path / "x", to=keys.publisher.public_key)


def test_policy_and_wrong_input_are_refused(tmp_path, keys, to):
    with pytest.raises(casemate.CasemateError):
        casemate.seal(b"x", tmp_path / "x", policy="cnsa2", **to)
    with pytest.raises(ValueError, match="power of two"):
        casemate.seal(b"x", tmp_path / "x", segment_size=1000, **to)
    with pytest.raises(TypeError):
        casemate.seal(7, tmp_path / "x", **to)
    with pytest.raises(FileNotFoundError):
        casemate.seal(tmp_path / "missing", tmp_path / "x", **to)
    with pytest.raises(FileNotFoundError):
        casemate.open(tmp_path / "missing", keys=keys.alice, signer=keys.publisher)
    assert not (tmp_path / "x").exists()
    (tmp_path / "x").write_bytes(b"kept")
    with pytest.raises(FileExistsError):
        casemate.seal(b"x", tmp_path / "x", **to)
    assert (tmp_path / "x").read_bytes() == b"kept"


def test_the_environment_chooses_the_policy_as_for_the_command(tmp_path, keys, to, monkeypatch):
    monkeypatch.setenv("PQC_KEY_MANAGEMENT", "pq")
    with pytest.raises(casemate.CasemateError):
        casemate.seal(b"x", tmp_path / "x", **to)
    monkeypatch.setenv("CASEMATE_POLICY", "hybrid")
    casemate.seal(b"x", tmp_path / "x", **to)
    monkeypatch.delenv("CASEMATE_POLICY")
    monkeypatch.setenv("PQC_KEY_MANAGEMENT", "classical")
    with pytest.raises(casemate.CasemateError, match="PQC_KEY_MANAGEMENT"):
        casemate.seal(b"x", tmp_path / "y", **to)


def test_a_python_source_is_read_by_ranges_and_its_errors_propagate(sealed, trust):
    class Ranges:
        def __init__(self, data):
            self.data, self.size, self.read = data, len(data), 0

        def read_at(self, offset, length):
            self.read += length
            return self.data[offset : offset + length]

    ranges = Ranges(sealed.read_bytes())
    opened = casemate.open_artifact(ranges, **trust)
    assert opened.read_at(5_000_000, 10) == CONTENT[5_000_000:5_000_010]
    assert ranges.read < 2_300_000

    class Broken(Ranges):
        def read_at(self, offset, length):
            raise ConnectionError("the store is gone")

    with pytest.raises(ConnectionError, match="the store is gone"):
        casemate.open_artifact(Broken(sealed.read_bytes()), **trust)
    short = Ranges(sealed.read_bytes())
    short.read_at = lambda offset, length: b"x"
    with pytest.raises(EOFError):
        casemate.open_artifact(short, **trust)


def test_folders(tmp_path, to, trust, keys):
    source = tmp_path / "m"
    (source / "a").mkdir(parents=True)
    (source / "config.json").write_text("{}")
    (source / "a" / "w.bin").write_bytes(CONTENT)
    (source / "a" / "x.tmp").write_bytes(b"x")
    (source / "secret.env").write_bytes(b"x")
    (source / ".casemateignore").write_text("*.env\n")
    sealed = casemate.seal_folder(source, tmp_path / "s", exclude=["*.tmp"], **to)
    assert (sealed.revision, sealed.files, sealed.unchanged) == (1, 2, 0)
    folder = casemate.open_folder(tmp_path / "s", **trust)
    assert folder.files == ["a/w.bin", "config.json"]
    assert folder.open("a/w.bin").read() == CONTENT
    folder.extract(tmp_path / "out")
    assert (tmp_path / "out/a/w.bin").read_bytes() == CONTENT
    with pytest.raises(KeyError):
        folder.open("a/x.tmp")
    with pytest.raises(casemate.VerificationError, match="revision 1 is older"):
        casemate.open_folder(tmp_path / "s", min_revision=2, **trust)
    (tmp_path / "s" / "added").write_bytes(b"x")
    with pytest.raises(casemate.VerificationError, match="added does not belong"):
        casemate.open_folder(tmp_path / "s", **trust)
    with pytest.raises(ZeroDivisionError):
        casemate.seal_folder(source, tmp_path / "t", exclude=lambda *_: 1 / 0, **to)


def test_the_next_version_reuses_unchanged_artifacts(tmp_path):
    me, publisher, other = (casemate.PrivateKey.generate(suite) for suite in ("mlkem768-x25519", "mldsa65-ed25519", "mldsa65-ed25519"))
    to, trust = {"to": me.public_key, "sign": publisher}, {"keys": me, "signer": publisher.public_key}
    source = tmp_path / "m"
    source.mkdir()
    (source / "w.bin").write_bytes(CONTENT)
    (source / "config.json").write_text("{}")
    first = casemate.seal_folder(source, tmp_path / "1", **to)
    (source / "config.json").write_text("{1}")
    before = casemate.open_folder(tmp_path / "1", **trust)
    second = casemate.seal_folder(source, tmp_path / "2", since=before, **to)
    assert (second.id, second.revision, second.unchanged) == (first.id, 2, 1)
    third = casemate.seal_folder(source, tmp_path / "3", since=before, to=me.public_key, sign=other)
    assert third.unchanged == 0
    folder = casemate.open_folder(tmp_path / "2", min_revision=2, **trust)
    assert folder.open("config.json").read() == b"{1}" and folder.open("w.bin").read() == CONTENT


def test_an_older_file_is_refused(tmp_path):
    me, publisher = casemate.PrivateKey.generate("mlkem768-x25519"), casemate.PrivateKey.generate("mldsa65-ed25519")
    to, trust = {"to": me.public_key, "sign": publisher}, {"keys": me, "signer": publisher.public_key}
    casemate.seal(b"x", tmp_path / "2", revision=2, **to)
    casemate.seal(b"x", tmp_path / "none", **to)
    assert casemate.inspect(tmp_path / "2").revision == 2
    assert casemate.open(tmp_path / "2", min_revision=2, **trust).read() == b"x"
    for name, floor in (("2", 3), ("none", 1)):
        with pytest.raises(casemate.VerificationError, match="older than the minimum|has no revision"):
            casemate.open(tmp_path / name, min_revision=floor, **trust)
    with pytest.raises(casemate.CasemateError, match="revisions start at 1"):
        casemate.seal(b"x", tmp_path / "zero", revision=0, **to)


def test_reads_after_the_end_are_empty(sealed, trust):
    with casemate.open(sealed, **trust) as file:
        for position in (len(CONTENT), len(CONTENT) + 1, 2**40):
            file.seek(position)
            assert file.read() == file.read(5) == file.read_at(position, 5) == b""
            assert file.readinto(bytearray(5)) == 0


def test_opening_a_folder_that_is_being_changed_does_not_block_other_threads(tmp_path, keys, to, trust):
    """Waiting for the file lock releases the interpreter lock, or no other thread could release the file lock."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a").write_bytes(b"x")
    casemate.seal_folder(tmp_path / "m", tmp_path / "f", **to)
    script = """
import fcntl, sys, threading, time
import casemate
manifest = open(sys.argv[1] + "/manifest.casemate", "rb")
fcntl.flock(manifest, fcntl.LOCK_EX)
waiting = threading.Thread(target=casemate.open_folder, args=sys.argv[1:2], kwargs={"keys": lambda ids: [], "signer": lambda i: None})
waiting.start()
time.sleep(0.5)
assert waiting.is_alive()
manifest.close()
waiting.join()
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "f"], capture_output=True, text=True, timeout=60)
    assert "went on" in done.stdout, done.stderr


def test_a_key_that_the_policy_forbids_is_skipped_in_a_folder(tmp_path, keys, to, trust):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a").write_bytes(b"x")
    casemate.seal_folder(tmp_path / "m", tmp_path / "f", **to)
    pure = casemate.PrivateKey.generate("mlkem1024")
    more = {**trust, "keys": [pure, keys.alice], "policy": "hybrid"}
    assert casemate.open_folder(tmp_path / "f", **more).open("a").read() == b"x"
    with pytest.raises(casemate.CasemateError, match="policy"):
        casemate.open_folder(tmp_path / "f", **more | {"keys": pure})


@pytest.mark.skipif("CASEMATE_BIN" not in os.environ, reason="CASEMATE_BIN is not set to the casemate program")
@pytest.mark.parametrize("secret", ["correct horse\n", "correct horse\r\n", None])
def test_the_command_line_and_python_read_each_other(tmp_path, secret):
    if secret:
        (tmp_path / "pass").write_bytes(secret.encode())
    home = tmp_path / "home"

    def run(*arguments):
        command = [os.environ["CASEMATE_BIN"], "--home", home, "--passphrase-file", tmp_path / "pass", *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)

    run("keys", "init", *([] if secret else ["--random-key"]))
    run("keys", "generate", "--name", "me", "--kind", "kem")
    run("keys", "generate", "--name", "pub", "--kind", "sign")
    (tmp_path / "f").write_bytes(CONTENT)
    run("seal", "f", "--to", "me", "--sign", "pub")
    store = casemate.open_store(home, passphrase=tmp_path / "pass")
    assert casemate.open(tmp_path / "f.sealed", keys=store).read() == CONTENT
    casemate.seal(tmp_path / "f", tmp_path / "g.sealed", to=store.public("me"), sign=store.private("pub"))
    run("open", "g.sealed")
    assert (tmp_path / "g").read_bytes() == CONTENT
    with pytest.raises(casemate.KeyStoreError):
        casemate.open_store(home, passphrase=b"wrong")
    with pytest.raises(TypeError) as refused:
        casemate.open_store(home, passphrase="correct horse")
    assert "correct horse" not in str(refused.value)
    with pytest.raises(casemate.KeyStoreError, match="the key file is damaged"):
        casemate.open_store(home, passphrase=b"casemate-store-key-1:AAAA")
