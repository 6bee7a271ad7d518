"""The Rust program and the independent Python reader and writer open each other's artifacts, and refuse invalid ones.

    CASEMATE_BIN=/path/to/casemate pytest test_reader.py
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import sealed_reader
from sealed_reader import MAX_GAP, MAX_TAIL, SealedError, read
from sealed_writer import KeyFile, Raw, assemble, cbor, cbor_head, footer, new_kem_key, new_signing_key, seal
from standards import KEMS, SIGNATURES, HashBased

KEM_NAMES = ["mlkem1024-p384", "mlkem768-x25519", "mlkem768-p256", "mlkem1024", "mlkem1024-x25519"]
SIGN_NAMES = ["mldsa87-p384", "mldsa65-ed25519", "mldsa65-p384", "mldsa87"]
NODE = Path(os.environ.get("CASEMATE_INTEROP_DIR", "")) / "node_modules" / "node" / "bin" / "node"
SIZES = [0, 1, 65535, 65536, 65537, 300000]


@dataclass
class Store:
    """A key store of the Rust program with the private keys generated here, and a working directory."""

    binary: str
    work: Path
    kem: dict[str, KeyFile]
    sign: dict[str, KeyFile]

    def run(self, *arguments: str | Path, policy: str = "experimental") -> subprocess.CompletedProcess[str]:
        """Run the program in the working directory."""
        common: list[str | Path] = ["--home", self.work / "home", "--passphrase-file", self.work / "passphrase", "--policy", policy]
        return subprocess.run([self.binary, *common, *arguments], cwd=self.work, capture_output=True, text=True, timeout=60)

    def ok(self, *arguments: str | Path, policy: str = "experimental") -> str:
        """Run the program and expect success."""
        done = self.run(*arguments, policy=policy)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def seal(self, content: bytes, to: list[str], sign: str, *more: str, policy: str = "experimental") -> bytes:
        """Seal with the Rust program."""
        (self.work / "plain").write_bytes(content)
        recipients = [part for name in to for part in ("--to", f"./{name}.pub")]
        self.ok("seal", "plain", "-o", "a", "--force", *recipients, "--sign", sign, "--segment-size", "64k", *more, policy=policy)
        return (self.work / "a").read_bytes()

    def open(self, artifact: bytes, sign: str) -> bytes:
        """Verify and open with the Rust program."""
        (self.work / "a").write_bytes(artifact)
        self.ok("verify", "a", "--signer", f"./{sign}.pub")
        self.ok("open", "a", "-o", "opened", "--force", "--signer", f"./{sign}.pub")
        return (self.work / "opened").read_bytes()

    def inspect(self, artifact: bytes) -> subprocess.CompletedProcess[str]:
        """Run `inspect --json`."""
        (self.work / "i").write_bytes(artifact)
        return self.run("--json", "inspect", "i")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Generate keys in Python and import them in Rust."""
    binary = os.environ.get("CASEMATE_BIN")
    if not binary:
        pytest.exit("set CASEMATE_BIN to the path of the casemate program", 2)
    work = tmp_path_factory.mktemp("interop")
    (work / "passphrase").write_text("correct horse battery")
    kem = dict(zip(KEM_NAMES, map(new_kem_key, KEMS.values()), strict=True))
    kem["other"] = new_kem_key(KEMS[0x647A, 1, 2])
    suites = [suite for suite in SIGNATURES.values() if not isinstance(suite, HashBased)]
    sign = dict(zip(SIGN_NAMES, map(new_signing_key, suites), strict=True))
    made = Store(str(Path(binary).resolve()), work, kem, sign)
    made.ok("keys", "init")
    for name, key in (kem | sign).items():
        (work / f"{name}.pub").write_text(key.public_pem)
        (work / f"{name}.key").write_text(key.private_pem)
        if name != "other":
            shown = json.loads(made.ok("--json", "keys", "import", "--name", name, f"{name}.key"))
            assert key.key_id.hex() in json.dumps(shown)
            assert made.ok("keys", "export", name) == key.public_pem
    return made


def refused(kind: str, action: Callable[[], object]) -> None:
    """Check that the Python reader refuses with this class of error."""
    with pytest.raises(SealedError) as caught:
        action()
    assert caught.value.kind == kind, caught.value


# --- What Rust sealed, Python opens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kem", KEM_NAMES)
def test_rust_seals_python_opens(store: Store, kem: str, size: int) -> None:
    """Every KEM with every size. The signature suites rotate, so that every pair of suites occurs."""
    sign = SIGN_NAMES[(KEM_NAMES.index(kem) + SIZES.index(size)) % 4]
    content = random.Random(size).randbytes(size)
    artifact = read(store.seal(content, [kem], sign))
    key, signer = store.kem[kem], store.sign[sign]
    assert artifact.verify(signer.public_pem) is True
    assert artifact.open(key.private_pem, signer.public_pem) == content
    assert (artifact.header.hash, artifact.gap, artifact.cut) == (1, 0, 0)


@pytest.mark.skipif(not NODE.exists(), reason="npm is not installed: skipped SLH-DSA")
@pytest.mark.parametrize("suite", ["slhdsa-sha2-192s", "slhdsa-sha2-256s"])
def test_rust_signs_with_slh_dsa_and_noble_verifies(store: Store, suite: str) -> None:
    """Rust generates the key, because PyCA has no SLH-DSA; Python reads the file around the signature."""
    store.ok("keys", "generate", "--name", suite, "--kind", "sign", "--suite", suite)
    artifact = read(store.seal(b"root", ["mlkem1024-p384"], suite))
    public = store.ok("keys", "export", suite)
    assert artifact.verify(public) is True
    assert artifact.open(store.kem["mlkem1024-p384"].private_pem, public) == b"root"
    other = replace(read(store.seal(b"root", ["mlkem1024-p384"], suite)), signature=artifact.signature)
    refused("signature", lambda: other.verify(public))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("policy", "kem", "sign"), [("cnsa2", "mlkem1024", "mldsa87"), ("bsi", "mlkem1024-p384", "mldsa87-p384")])
def test_sha384(store: Store, policy: str, kem: str, sign: str, size: int) -> None:
    """The profiles that select SHA-384."""
    content = random.Random(size).randbytes(size)
    artifact = read(store.seal(content, [kem], sign, policy=policy))
    assert artifact.header.hash == 2
    assert artifact.verify(store.sign[sign].public_pem)
    assert artifact.open(store.kem[kem].private_pem) == content


def test_recipients_metadata_and_inspect(store: Store) -> None:
    """Each of several recipients opens the artifact, both programs read the same fields, and any part can be read alone."""
    content = random.Random(7).randbytes(200_000)
    more = ["--metadata", "b=2", "--metadata", "aaa=1", "--metadata", "ü=ß ", "--content-type", "text/plain"]
    data = store.seal(content, [*KEM_NAMES, "other"], "mldsa65-p384", *more)
    artifact = read(data)
    for name, key in store.kem.items():
        opened = artifact.unlock(key.private_pem)
        assert opened.read() == content, name
        assert (opened.private.name, opened.private.metadata) == ("plain", {"b": "2", "aaa": "1", "ü": "ß "})
    for offset, length in [(0, 1), (65535, 2), (65536, 65536), (131071, 2), (199_999, 5), (200_000, 5), (10, 0), (100, 199_000)]:
        assert opened.read(offset, length) == content[offset : offset + length]
    seen, header = json.loads(store.inspect(data).stdout), artifact.header
    assert seen["root"] == artifact.root.hex()
    assert seen["id"] == header.artifact_id.hex()
    assert (seen["content_bytes"], seen["segments"], seen["segment_bytes"]) == (header.length, header.segments, header.segment)
    assert (seen["content_type"], seen["created"]) == (header.content_type, header.created) and header.content_type == "text/plain"
    assert [r["key"] for r in seen["recipients"]] == [r.key_id.hex() for r in artifact.recipients]


def test_publisher_and_revision(store: Store) -> None:
    """Section 5.1: the header names the signer, and a minimum revision is enforced."""
    key, signer = store.kem["mlkem768-x25519"], store.sign["mldsa65-ed25519"]
    plain = read(store.seal(b"hello", ["mlkem768-x25519"], "mldsa65-ed25519"))
    assert (plain.header.publisher, plain.header.revision) == (signer.key_id, None)
    refused("revision", lambda: plain.open(key.private_pem, signer.public_pem, 1))
    artifact = read(store.seal(b"hello", ["mlkem768-x25519"], "mldsa65-ed25519", "--revision", "3"))
    assert artifact.header.revision == 3
    assert artifact.open(key.private_pem, signer.public_pem, 3) == b"hello"
    refused("revision", lambda: artifact.open(key.private_pem, signer.public_pem, 4))
    for revision, least, code in ((3, "3", 0), (3, "4", 1), (None, "1", 1)):
        options = {} if revision is None else {"revision": revision}
        (store.work / "a").write_bytes(seal(b"hello", [key], signer, **options))
        for command in (("verify", "a"), ("open", "a", "-o", "opened", "--force")):
            done = store.run(*command, "--signer", "./mldsa65-ed25519.pub", "--min-revision", least)
            assert done.returncode == code, done.stderr


def test_rewrap(store: Store) -> None:
    """Only the recipients and the recipient part change; a removed recipient can no longer open the artifact."""
    content = b"rewrapped" * 20_000
    old = read(store.seal(content, ["mlkem768-x25519", "mlkem768-p256"], "mldsa65-ed25519"))
    store.ok("rewrap", "a", "--to", "./mlkem1024-p384.pub", "--to", "./other.pub", "--signer", "./mldsa65-ed25519.pub")
    new = read((store.work / "a").read_bytes())
    assert (new.header, new.hashes, new.signature, new.root) == (old.header, old.hashes, old.signature, old.root)
    assert new.recipient_part[:32] != old.recipient_part[:32] and new.publisher_part == old.publisher_part
    for name in ("mlkem1024-p384", "other"):
        assert new.open(store.kem[name].private_pem, store.sign["mldsa65-ed25519"].public_pem) == content
    refused("no-recipient", lambda: new.open(store.kem["mlkem768-p256"].private_pem))


def test_command_line(store: Store) -> None:
    """The reader works as a program."""
    store.seal(b"hello", ["mlkem768-p256"], "mldsa87")
    paths = [str(store.work / name) for name in ("a", "mldsa87.pub", "mlkem768-p256.key", "out")]
    arguments = [paths[0], "--signer", paths[1], "--key", paths[2], "-o", paths[3]]
    assert sealed_reader.main(arguments) == 0
    assert Path(paths[3]).read_bytes() == b"hello"
    (store.work / "a").write_bytes(b"")
    assert sealed_reader.main(arguments) == 1


# --- What Python sealed, Rust opens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", SIGN_NAMES)
@pytest.mark.parametrize("kem", KEM_NAMES)
def test_python_seals_rust_opens(store: Store, kem: str, sign: str) -> None:
    """Every pair of suites; sizes and hashes rotate."""
    turn = KEM_NAMES.index(kem) * 4 + SIGN_NAMES.index(sign)
    content = random.Random(turn).randbytes(SIZES[turn % 6])
    data = seal(content, [store.kem["other"], store.kem[kem]], store.sign[sign], hash=1 + turn % 2, metadata={"b": "", "aaa": "ü"})
    assert store.open(data, sign) == content
    assert read(data).open(store.kem["other"].private_pem, store.sign[sign].public_pem) == content


def test_gap_and_leftover(store: Store) -> None:
    """Section 8: a gap, and bytes after the newest valid footer, are ignored and reported; at most 32 candidates are tried."""
    key, signer = store.kem["mlkem768-x25519"], store.sign["mldsa65-ed25519"]
    for hidden in (b"x" * 100, b"CSMT" * 10):
        data = seal(b"gap", [key], signer, gap=len(hidden))
        artifact = read(data)
        assert (artifact.gap, artifact.open(key.private_pem)) == (len(hidden), b"gap")
        assert store.open(data, "mldsa65-ed25519") == b"gap"
    whole = seal(b"cut", [key], signer)
    partial = seal(b"cut", [key], signer)[-3000:-20]
    magic = b"CSMT" + bytes(28)
    structured = [b"CSMT\0\1\0\0" + bytes(8) + (len(whole) + 32 * i).to_bytes(4) + bytes(12) for i in range(32)]
    for junk in (b"\0", partial, magic * 31, b"".join(structured[:31])):
        assert read(whole + junk).cut == len(junk)
        assert store.open(whole + junk, "mldsa65-ed25519") == b"cut"
        assert json.loads(store.inspect(whole + junk).stdout)["leftover_bytes"] == len(junk)
    for junk in (magic * 32, b"".join(structured)):
        refused("not-an-artifact", lambda junk=junk: read(whole + junk))
        assert store.inspect(whole + junk).returncode == 1


# --- What must be refused -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def small(store: Store) -> tuple[bytes, bytes, bytes, str, str]:
    """Return a small artifact of the Rust program, its body and tail, and the PEM files that open and verify it."""
    data = store.seal(b"hello", ["mlkem768-x25519", "mlkem768-p256"], "mldsa65-ed25519", "--metadata", "a=b")
    body, tail = data[: read(data).header.body], data[read(data).header.body : -32]
    return data, body, tail, store.kem["mlkem768-x25519"].private_pem, store.sign["mldsa65-ed25519"].public_pem


def test_wrong_keys(store: Store, small: tuple[bytes, bytes, bytes, str, str]) -> None:
    """A key that is not a recipient, keys that did not sign, and no signature."""
    data, _, _, key, signer = small
    artifact = read(data)
    refused("no-recipient", lambda: artifact.open(store.kem["other"].private_pem))
    for name in ("mldsa87-p384", "mldsa65-p384", "mldsa87"):
        refused("other-signer", lambda name=name: artifact.open(key, store.sign[name].public_pem))
    stranger = new_signing_key(SIGNATURES["1.3.6.1.5.5.7.6.48"])
    refused("other-signer", lambda: artifact.verify(stranger.public_pem))
    unsigned = seal(b"x", [store.kem["other"]], None)
    assert read(unsigned).open(store.kem["other"].private_pem) == b"x"
    refused("unsigned", lambda: read(unsigned).open(store.kem["other"].private_pem, signer))
    (store.work / "a").write_bytes(unsigned)
    assert store.run("verify", "a", "--signer", "./mldsa65-ed25519.pub").returncode == 1
    # A valid signature, but not by the key in the header.
    for publisher in (None, store.sign["mldsa87"].key_id):
        changed = seal(b"x", [store.kem["other"]], store.sign["mldsa65-ed25519"], publisher=publisher)
        refused("malformed", lambda changed=changed: read(changed))
        assert store.inspect(changed).returncode == 1
    named = seal(b"x", [store.kem["mlkem768-p256"]], None, publisher=artifact.header.publisher)
    assert read(named).open(store.kem["mlkem768-p256"].private_pem) == b"x"
    refused("unsigned", lambda: read(named).open(store.kem["mlkem768-p256"].private_pem, signer))
    assert store.inspect(named).returncode == 0
    # The key id of a recipient with an encapsulation to another key.
    other = seal(b"x", [store.kem["other"]], None, edit=lambda t: t | {1: [[*t[1][0][:3], read(data).recipients[0].key_id, *t[1][0][4:]]]})
    refused("rejected", lambda: read(other).open(key))


def test_every_flipped_byte(small: tuple[bytes, bytes, bytes, str, str]) -> None:
    """As accidental damage, and with a recomputed checksum."""
    data, body, tail, key, signer = small
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        with pytest.raises(SealedError):
            read(bytes(flipped)).open(key, signer)
    for at in range(len(tail)):
        flipped = bytearray(tail)
        flipped[at] ^= 1 << at % 8
        with pytest.raises(SealedError):
            read(assemble(body, bytes(flipped))).open(key, signer)


def test_every_truncation(store: Store, small: tuple[bytes, bytes, bytes, str, str]) -> None:
    """Python tries every length, Rust some."""
    data = small[0]
    for length in range(len(data)):
        refused("not-an-artifact", lambda length=length: read(data[:length]))
    for length in (0, 1, 31, 32, 74, len(small[1]), len(data) - 33, len(data) - 32, len(data) - 1):
        assert store.inspect(data[:length]).returncode == 1


def encodings(tail: dict[int, object], header: list[tuple[int, object]]) -> Iterator[tuple[str, bytes]]:
    """Yield the same data, or nearly the same, in other encodings."""

    def put(pairs: list[tuple[object, object]], head: bytes | None = None) -> bytes:
        return (head or cbor_head(5, len(pairs))) + b"".join(cbor(k) + cbor(v) for k, v in pairs)

    pairs: list[tuple[object, object]] = list(tail.items())
    replace = lambda at, value: [*pairs[:at], (at, Raw(value)), *pairs[at + 1 :]]  # noqa: E731
    hashes, recipients, signature = tail[3], tail[1], tail[4]
    assert isinstance(hashes, bytes) and isinstance(recipients, list) and isinstance(signature, list)
    yield "map head not shortest", put(pairs, cbor_head(5, 8, 1))
    yield "map indefinite", put(pairs, b"\xbf") + b"\xff"
    yield "keys out of order", put([pairs[1], pairs[0], *pairs[2:]])
    yield "key twice", put([*pairs, pairs[7]])
    yield "key twice, eight in all", put([*pairs[:3], pairs[2], *pairs[4:]])
    yield "key unknown", put([*pairs, (8, 0)])
    yield "key missing", put(pairs[:7])
    yield "key not shortest", put([(Raw(cbor_head(0, 0, 1)), pairs[0][1]), *pairs[1:]])
    yield "bytes after", put(pairs) + b"\0"
    yield "tagged", b"\xd9\xd9\xf7" + put(pairs)
    for width in (2, 4, 8):
        yield f"length in {width} bytes", put(replace(3, cbor_head(2, len(hashes), width) + hashes))
    yield "string indefinite", put(replace(3, b"\x5f" + cbor(hashes) + b"\xff"))
    yield "text for bytes", put(replace(3, cbor("a" * len(hashes))))
    yield "length past the end", put(replace(3, cbor_head(2, 2**64 - 1) + hashes))
    yield "array indefinite", put(replace(1, b"\x9f" + b"".join(map(cbor, recipients)) + b"\xff"))
    yield "array head not shortest", put(replace(1, cbor_head(4, len(recipients), 1) + b"".join(map(cbor, recipients))))
    yield "recipient with seven", put(replace(1, cbor([[*recipients[0], 0]])))
    yield "no recipients", put(replace(1, cbor([])))
    yield "recipient twice", put(replace(1, cbor(recipients * 2)))
    yield "triple unknown", put(replace(1, cbor([[0x647A, 1, 3, *recipients[0][3:]]])))
    yield "enc short", put(replace(1, cbor([[*recipients[0][:4], recipients[0][4][1:], recipients[0][5]]])))
    yield "ct long", put(replace(1, cbor([[*recipients[0][:5], recipients[0][5] + b"x"]])))
    yield "kem not shortest", put(replace(1, b"\x81\x86\x1a\0\0\x64\x7a" + b"".join(map(cbor, recipients[0][1:]))))
    yield "undefined for null", put(replace(4, b"\xf7"))
    yield "signature suite unknown", put(replace(4, cbor(["1.2.3", *signature[1:]])))
    yield "signature too long", put(replace(4, cbor([*signature[:2], bytes(32769)])))
    yield "hash too many", put(replace(3, cbor(hashes * 2)))
    yield "publisher part too long", put(replace(2, cbor(bytes((1 << 20) + 1))))
    yield "recipient part too long", put(replace(5, cbor(bytes(1025))))
    yield "list of one", put(replace(6, cbor([1])))
    yield "list without an owner", put(replace(6, cbor([1, 1, bytes(9), None, bytes(9)])))
    many = [[*recipients[0][:3], hashlib.sha256(i.to_bytes(2)).digest(), *recipients[0][4:]] for i in range(1025)]
    yield "too many recipients", put(replace(1, cbor(many)))
    fields: list[tuple[object, object]] = list(header)
    with_header = lambda encoded: put(replace(0, cbor(encoded)))  # noqa: E731
    field = lambda at, value: with_header(put([*fields[:at], (at, value), *fields[at + 1 :]]))  # noqa: E731
    yield "header: version not shortest", field(0, Raw(b"\x18\x01"))
    yield "header: version 2", field(0, 2)
    yield "header: bytes after", with_header(put(fields) + b"\0")
    yield "header: keys out of order", with_header(put([fields[1], fields[0], *fields[2:]]))
    yield "header: id short", field(1, bytes(15))
    for size in (0, 1 << 15, 65535, 65537, 98304, 1 << 25, 1 << 63):
        yield f"header: segment size {size}", field(2, size)
    yield "header: other segment size than FLOE", field(2, 1 << 17)
    yield "header: hash 3", field(3, 3)
    for length in (0, 105, 74 + 65536 + 33, 74 + 65536 + 64, 2**64 - 1):
        yield f"header: body length {length}", field(4, length)
    yield "header: content type too long", field(6, "a/" + "b" * 254)
    yield "header: content type no UTF-8", field(6, Raw(b"\x61\xff"))
    yield "header: publisher short", field(7, fields[7][1][:-1])  # type: ignore[index]
    yield "header: publisher is text", field(7, "a" * 32)
    yield "header: another publisher", field(7, bytes(32))
    yield "header: no publisher", with_header(put(fields[:7]))
    yield "header: publisher twice", with_header(put([*fields, fields[7]]))
    yield "header: revision 0", with_header(put([*fields, (8, 0)]))
    yield "header: revision is text", with_header(put([*fields, (8, "1")]))
    yield "header: revision before publisher", with_header(put([*fields[:7], (8, 1), fields[7]]))
    yield "header: key unknown", with_header(put([*fields, (10, 1)]))
    yield "header: ten keys", with_header(put([*fields, (8, 1), (10, 1)]))
    yield "header: ignored value is a list", with_header(put([*fields, (64, [])]))


def test_other_encodings(store: Store) -> None:
    """With a correct checksum, both programs refuse every other encoding and accept the original."""
    kept: dict[int, object] = {}
    data = seal(b"hello", [store.kem["other"]], store.sign["mldsa65-ed25519"], edit=lambda t: kept.update(t) or t)
    h = read(data).header
    fields = [*h.fields().items()]
    assert cbor(h.fields()) == h.encoded and assemble(data[: h.body], cbor(kept)) == data
    assert store.inspect(data).returncode == 0
    for name, tail in encodings(kept, fields):
        changed = assemble(data[: h.body], tail)
        with pytest.raises(SealedError):
            read(changed)
            pytest.fail(f"Python accepted: {name}")
        assert store.inspect(changed).returncode == 1, name
    for plain in ({1: 5}, {0: "n", 1: 6, 2: {}}, {0: "n" * 4097, 1: 5, 2: {}}):
        check_private(store, cbor(plain))
    good = cbor({0: "n", 1: 5, 2: {"b": "1", "aa": "2"}})
    swapped = good[: good.index(b"\xa2")] + b"\xa2" + cbor("aa") + cbor("2") + cbor("b") + cbor("1")
    for plain_ in (good + b"\0", swapped, good.replace(cbor("aa"), cbor("b"))):
        check_private(store, plain_)


def check_private(store: Store, plain: bytes) -> None:
    """Check that both programs refuse a publisher part with this plaintext."""
    key, signer = store.kem["mlkem768-x25519"], store.sign["mldsa65-ed25519"]
    data = seal(b"hello", [key], signer, private=plain)
    with pytest.raises(SealedError):
        read(data).open(key.private_pem)
    (store.work / "a").write_bytes(data)
    assert store.run("open", "a", "-o", "opened", "--force", "--signer", "./mldsa65-ed25519.pub").returncode == 1


def test_agreement_on_random_changes(store: Store, small: tuple[bytes, bytes, bytes, str, str]) -> None:
    """Both parsers agree on 400 tails with a random change and a correct checksum."""
    _, body, tail, _, _ = small
    draw = random.Random(20261122)
    interesting = [0x00, 0x18, 0x19, 0x40, 0x58, 0x5F, 0x80, 0x9F, 0xA0, 0xF6, 0xFF]
    verdicts = [0, 0]
    for _ in range(400):
        changed, at = bytearray(tail), draw.choice([draw.randrange(130), draw.randrange(len(tail))])
        byte = draw.choice([*interesting, draw.randrange(256)])
        match draw.randrange(3):
            case 0:
                changed[at:at] = bytes([byte])
            case 1:
                del changed[at]
            case _:
                changed[at] = byte
        whole = assemble(body, bytes(changed))
        try:
            read(whole)
            accepted = True
        except SealedError:
            accepted = False
        assert (store.inspect(whole).returncode == 0) == accepted, bytes(changed)[:160].hex()
        verdicts[accepted] += 1
    assert min(verdicts) > 20, verdicts


def test_footers_and_limits(store: Store, small: tuple[bytes, bytes, bytes, str, str]) -> None:
    """Section 6, the limits of sections 3 and 8 on sparse files, and the FLOE parameters."""
    data, body, tail, _, _ = small
    good = footer(tail, len(body))

    def remade(start: int, value: bytes) -> bytes:
        head = good[:start] + value + good[start + len(value) : 20]
        return body + tail + head + hashlib.sha256(head + tail).digest()[:12]

    for kind, changed in [
        ("version", remade(4, b"\0\2")),
        ("not-an-artifact", remade(6, b"\0\1")),
        ("not-an-artifact", remade(0, b"CSMU")),
        ("not-an-artifact", remade(15, b"\0")),
        ("malformed", body + tail[:0] + footer(b"", len(body))),
        ("malformed", b"\1" + data[1:]),
        ("malformed", assemble(body[:-1], tail)),
        ("malformed", data + tail + b"\0" + footer(tail + b"\0", len(data))),
    ]:
        refused(kind, lambda changed=changed: read(changed))
        assert store.inspect(changed).returncode == 1, kind

    def sparse(*parts: tuple[int, bytes], size: int) -> str | None:
        path = store.work / "sparse"
        with path.open("wb") as file:
            for at, part in parts:
                file.seek(at)
                file.write(part)
            file.truncate(size)
        rust = store.run("inspect", "sparse").returncode
        with path.open("rb") as file, sealed_reader.mmap.mmap(file.fileno(), 0, access=sealed_reader.mmap.ACCESS_READ) as mapped:
            try:
                read(mapped)
                kind = None
            except SealedError as error:
                kind = error.kind
        path.unlink()
        assert (rust == 0) == (kind is None), (rust, kind)
        return kind

    at = len(body) + MAX_TAIL + 1
    head = b"CSMT\0\1\0\0" + len(body).to_bytes(8) + (MAX_TAIL + 1).to_bytes(4) + bytes(12)
    assert sparse((0, body), (at, head), size=at + 32) == "limit"
    for extra, expected in ((0, None), (1, "malformed")):
        at = len(body) + MAX_GAP + extra
        assert sparse((0, body), (at, tail + footer(tail, at)), size=at + len(tail) + 32) == expected
    for extra, expected in ((0, None), (1, "not-an-artifact")):
        assert sparse((0, data), size=len(data) - 32 + MAX_GAP + extra) == expected


def test_segments(store: Store) -> None:
    """A segment forged by another recipient has a valid tag but the wrong hash, and so do swapped segments."""
    key = store.kem["other"]
    data = seal(bytes(200_000), [key], None)
    size, start = 65536 + 32, 74
    first, second = data[start : start + size], data[start + size : start + 2 * size]
    exchanged = read(data[:start] + second + first + data[start + 2 * size :])
    refused("segment", lambda: exchanged.open(key.private_pem))
    opened = exchanged.unlock(key.private_pem)
    assert opened.read(2 * 65536, 10) == bytes(10)
    refused("segment", lambda: opened.read(65536 * 2 - 1, 2))
    # Correct hashes over wrong prefixes: only a holder of the artifact key can create these, in an unsigned artifact.
    for at in (start, start + 3 * size):
        changed = data[:at] + b"\0\0\0\0" + data[at + 4 :]
        artifact = read(changed)
        segment = artifact.data[at : at + size if at == start else artifact.header.body]
        hashed = artifact.header.hashed("casemate/v1/artifact-segment", segment)
        index = (at - start) // size
        hashes = artifact.hashes[: index * 32] + hashed + artifact.hashes[index * 32 + 32 :]
        object.__setattr__(artifact, "hashes", hashes)
        assert artifact.segment(index) == segment
        opened = sealed_reader.Opened(artifact, read(data).unlock(key.private_pem).message_key, opened.private)
        refused("rejected", lambda opened=opened, index=index: opened.open_segment(index))
