"""Attacks by a trusted publisher, who signs a hostile manifest with the real key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from answers import OTHER_VERSION, hex_id
from bytes_attacks import REJECTED
from judge import ADD_BOB, OPEN_ANYONES, OPEN_FROM, VERIFY, Case, Cases, Promise, attack, trials
from sealed_reader import read
from sealed_writer import Raw, cbor, cbor_head
from signatures import claimed_by
from victim import Setup, parts, rebuilt, write_tree

TYPE = "application/vnd.casemate.manifest"
READERS = (OPEN_FROM, OPEN_ANYONES, VERIFY)
FILES = {"a": b"first", "b": b"second"}
NOT_A_MANIFEST = "invalid manifest: "
Entry = list[Any]


class FolderBuilder:
    """Creates folders with two good files and an arbitrary manifest."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.sealed = {path: setup.seal(content) for path, content in FILES.items()}
        self.entries = {path: self.entry(path) for path in FILES}
        self.honest = self.folder(self.manifest([*self.entries.values()]))

    def entry(self, path: object, of: str | None = None) -> Entry:
        """Return a manifest entry for a file, with any path. Only writers use the digest."""
        data = self.sealed[of or str(path)]
        artifact = read(data)
        return [path, artifact.header.length, artifact.header.artifact_id, artifact.root, bytes(32), 0]

    def manifest(self, files: object, **change: Any) -> bytes:
        """Return the encoded content of a manifest."""
        self.files = files if isinstance(files, list) else []
        return cbor({0: 1, 1: bytes(16), 2: 1, 3: files, 4: [[self.setup.kem["alice"].key_id]]} | {int(name[1:]): value for name, value in change.items()})

    def folder(self, manifest: bytes, names: dict[str, str] | None = None, **options: Any) -> Path:
        """Create a folder with this manifest; `names` maps paths to artifacts."""
        root = self.setup.fresh() / "forged"
        options = {"public": self.public(names)} | options
        sealed = self.setup.seal(manifest, content_type=TYPE, **options)
        placed = {f"{path}.sealed": self.sealed[of] for path, of in (names or {"a": "a", "b": "b"}).items()}
        write_tree(root, {"manifest.casemate": sealed} | placed)
        return root

    def public(self, names: dict[str, str] | None = None) -> bytes:
        """Return the public list for the last manifest, with the headers of the artifacts in the folder."""
        places = names or {"a": "a", "b": "b"}

        def header(path: object) -> bytes:
            of = places.get(path) if isinstance(path, str) else None
            return read(self.sealed[of]).header.digest if of else bytes(48)

        return cbor([[entry[0], header(entry[0]), entry[3]] for entry in self.files])

    def case(self, label: str, manifest: bytes, says: str, code: int = 1, **options: Any) -> Case:
        """Return a case with a manifest that must be refused. All commands read it with the same code, so one is enough."""
        return Case(label, self.honest, self.folder(manifest, **options), FILES, trials(says, OPEN_FROM, code=code))


def path_rules() -> dict[str, list[str]]:
    """Return paths by the rule that they break."""
    return {
        "is absolute or has an empty component": ["/etc/passwd", "/", "", "a//b", "c/", "//host/share"],
        "has a component `.` or `..`": ["..", "../out", "c/../../out", "c/..", "./c", "c/./d", "../../../../../../../../tmp/x"],
        "has a backslash or a control character": ["..\\out", "C:\\x", "c\\d", "c\0d", "c\nd", "c\x1b[2J", "c\x7f", "c\x9b2J", "c\u202egnp.exe", "c\u2066d"],
        "begins with a name reserved for the sealed folder": ["manifest.casemate", ".casemate-rewrap", "manifest.casemate/c", ".casemate-rewrap/c"],
        "has a component longer than 240 bytes": ["c" * 241, "c/" + "ü" * 121],
        "has more than 64 components": ["/".join("c" * 65), "/" * 65],
        "is longer than 1,024 bytes": ["/".join(["c" * 204] * 5 + ["d"]), "c" * 1025, "/../" * 300],
    }


def shown(path: str) -> str:
    """Return a path as shown in an error: escaped and truncated."""
    special = {"\\": "\\\\", "\n": "\\n", "\0": "\\0"}
    escaped = (special.get(c) or (c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in path)
    return "".join(escaped)[:200]


@attack("manifest-path", "publisher", "sealed-folder 3.1")
def manifest_path(setup: Setup) -> Cases:
    """Paths that leave the folder, disguise themselves, or are too long: zip-slip in every form."""
    press = FolderBuilder(setup)
    for rule, paths in path_rules().items():
        for path in paths:
            manifest = press.manifest([press.entry(path, "a")])
            says = trials(f"path `{shown(path)}` {rule}", OPEN_FROM)
            yield Case(repr(path[:20]), press.honest, press.folder(manifest), FILES, says)
    entry = press.entries["a"]
    for label, text in {"not UTF-8": b"\xff\xfe", "surrogate": b"\xed\xa0\x80", "overlong dot": b"\xc0\xae\xc0\xae"}.items():
        name = Raw(cbor_head(3, len(text)) + text)
        yield press.case(label, press.manifest([[name, *entry[1:]]]), NOT_A_MANIFEST + "unexpected CBOR structure")
    yield press.case("bytes", press.manifest([[b"c", *entry[1:]]]), NOT_A_MANIFEST + "unexpected CBOR structure")


@attack("manifest-collision", "publisher", "sealed-folder 3, 3.1")
def manifest_collision(setup: Setup) -> Cases:
    """Two files where one would replace the other, or where a file would have to be a folder."""
    press = FolderBuilder(setup)

    def files(*paths: str) -> bytes:
        return press.manifest([press.entry(path, "a") for path in paths])

    order = NOT_A_MANIFEST + "paths are not in ascending order"
    yield press.case("twice", files("a", "a"), order)
    yield press.case("not in order", files("b", "a"), order)
    below = "path `{}` lies below another file in the list, or below its artifact"
    for paths in (("a", "a/b"), ("a", "a.b", "a/c"), ("a", "a.sealed/b"), ("a", "a/b/c/d")):
        yield press.case(" ".join(paths), files(*paths), below.format(paths[-1]))


@attack("manifest-case", "publisher", "sealed-folder 3.1", Promise.CONTAINED)
def manifest_case(setup: Setup) -> Cases:
    """Names that differ in case or in Unicode normal form; where the file system distinguishes them, each keeps its content."""
    press = FolderBuilder(setup)
    for label, first, second in (("case", "README", "readme"), ("composition", "e\u0301", "\u00e9"), ("look-alike", "a", "\u0430")):
        manifest = press.manifest([press.entry(first, "a"), press.entry(second, "b")])
        forged = press.folder(manifest, {first: "a", second: "b"})
        opened = trials("opened 2 files", OPEN_FROM, code=0)
        yield Case(label, press.honest, forged, FILES, opened, opens_to={first: FILES["a"], second: FILES["b"]})


@attack("manifest-bomb", "publisher", "sealed-folder 3")
def manifest_bomb(setup: Setup) -> Cases:
    """Unbounded counts and lengths, and a manifest past its limit."""
    press = FolderBuilder(setup)
    start = cbor_head(5, 5) + b"".join(cbor(k) + cbor(v) for k, v in ((0, 1), (1, bytes(16)), (2, 1))) + cbor(3)
    shape = NOT_A_MANIFEST + "unexpected CBOR structure"
    for label, manifest in {
        "65,536 files that do not follow": start + cbor_head(4, 65_536),
        "file of 2^64-1 elements": start + cbor_head(4, 1) + cbor_head(4, 2**64 - 1),
        "path of 2^64-1 bytes": start + cbor_head(4, 1) + cbor_head(4, 6) + cbor_head(3, 2**64 - 1),
        "nested": start + b"\x81" * 1_000_000,
        "nothing": b"",
    }.items():
        yield press.case(label, manifest, shape)
    for count in (65_537, 2**64 - 1):
        says = f"{count} files exceed the limit of 65536"
        yield press.case(f"{count} files", start + cbor_head(4, count), says)
    limit = 64 << 20
    says = f"manifest.casemate: content length of {limit + 1} exceeds the limit of {limit}"
    yield press.case("64 MiB and a byte", bytes(limit + 1), says, segment=1 << 24)


@attack("manifest-form", "publisher", "sealed-folder 3, 5")
def manifest_form(setup: Setup) -> Cases:
    """A manifest of another version, in another encoding, without files, or with roots of another length."""
    press = FolderBuilder(setup)
    files = [*press.entries.values()]
    good = press.manifest(files)
    shape, form = NOT_A_MANIFEST + "unexpected CBOR structure", NOT_A_MANIFEST + "not in deterministic encoding"
    entry, self_id = press.entries["a"], setup.kem["alice"].key_id
    for label, manifest, says in (
        ("version 2", press.manifest(files, k0=2), NOT_A_MANIFEST + "unknown version"),
        ("revision 0", press.manifest(files, k2=0), NOT_A_MANIFEST + "revisions start at 1"),
        ("negative revision", press.manifest(files, k2=Raw(b"\x20")), shape),
        ("no files", press.manifest([]), NOT_A_MANIFEST + "it lists no files"),
        ("id of 15 bytes", press.manifest(files, k1=bytes(15)), shape),
        ("unknown key", press.manifest(files, k6=0), shape),
        ("no sets", press.manifest(files, k4=[]), shape),
        ("more sets than files", press.manifest(files, k4=[[bytes(32)]] * 3), shape),
        ("an empty set", press.manifest(files, k4=[[]]), shape),
        ("a set that is not there", press.manifest([[*line[:5], 1] for line in files]), shape),
        ("a set that no file has", press.manifest(files, k4=[[self_id], [bytes(32)]]), form),
        ("expiry is text", press.manifest(files, k5="never"), shape),
        ("byte after", good + b"\0", form),
        ("long number", press.manifest(files, k2=Raw(b"\x18\x01")), form),
        ("indefinite list", press.manifest(Raw(b"\x9f" + b"".join(map(cbor, files)) + b"\xff")), shape),
        ("root of 31 bytes", press.manifest([[*entry[:3], bytes(31), bytes(31), 0]]), NOT_A_MANIFEST + "a root or digest has the wrong length"),
        ("digest of another length", press.manifest([[*entry[:4], bytes(48), 0]]), NOT_A_MANIFEST + "a root or digest has the wrong length"),
    ):
        yield press.case(label, manifest, says)
    says = NOT_A_MANIFEST + "wrong content type"
    plain = press.folder(good)
    (plain / "manifest.casemate").write_bytes(setup.seal(good))
    yield Case("another content type", press.honest, plain, FILES, trials(says, *READERS))


@attack("manifest-entry", "publisher", "sealed-folder 5.5")
def manifest_entry(setup: Setup) -> Cases:
    """A line of the manifest that does not match the file that is there."""
    press = FolderBuilder(setup)
    entry = press.entries["a"]
    for what, at, value in (("length", 1, 6), ("length", 1, 2**64 - 1), ("artifact id", 2, bytes(16)), ("root", 3, bytes(32))):
        files = [[*entry[:at], value, *entry[at + 1 :]], press.entries["b"]]
        yield press.case(f"{what} {value!r:.12}", press.manifest(files), OTHER_VERSION.format("a", what))


@attack("public-list", "publisher", "sealed-folder 3.2")
def public_list(setup: Setup) -> Cases:
    """The public list differs from the manifest that recipients read, or is missing."""
    press = FolderBuilder(setup)
    good = press.manifest([*press.entries.values()])
    lines = [[path, read(press.sealed[path]).header.digest, read(press.sealed[path]).root] for path in FILES]
    assert press.public() == cbor(lines)
    other, none = NOT_A_MANIFEST + "the public list does not match it", NOT_A_MANIFEST + "the public list is not valid"
    for label, public, says in (
        ("nothing", b"", none),
        ("no files", cbor([]), none),
        ("a file less", cbor(lines[:1]), other),
        ("another root", cbor([[*lines[0][:2], bytes(32)], lines[1]]), other),
        ("another path", cbor([["0", *lines[0][1:]], lines[1]]), other),
        ("another header", cbor([[lines[0][0], bytes(48), lines[0][2]], lines[1]]), OTHER_VERSION.format("a", "header")),
        ("a header too short", cbor([[lines[0][0], bytes(47), lines[0][2]], lines[1]]), none),
        ("not in order", cbor(lines[::-1]), NOT_A_MANIFEST + "paths are not in ascending order"),
        ("a path that climbs", cbor([["../a", *lines[0][1:]], lines[1]]), "path `../a` has a component `.` or `..`"),
        ("long numbers", b"\x98\x02" + cbor(lines)[1:], none),
        ("a byte after", cbor(lines) + b"\0", none),
    ):
        yield press.case(label, good, says, public=public)


@attack("manifest-signer", "publisher", "sealed-folder 5.1")
def manifest_signer(setup: Setup) -> Cases:
    """A valid manifest by an untrusted publisher, or unsigned."""
    press = FolderBuilder(setup)
    good = press.manifest([*press.entries.values()])
    rival, expected = hex_id(setup.sign["rival"]), hex_id(setup.sign["publisher"])
    checkers = (OPEN_FROM, VERIFY)
    # Even with the signature check waived, the files are reported as another publisher's.
    anyones = trials(OTHER_VERSION.format("a", "publisher"), OPEN_ANYONES)
    unknown = trials(f"the artifact names key {rival} as its signer, which is not in the key store", OPEN_FROM[:4], code=4)
    named = trials(f"manifest.casemate: the artifact is signed by key {rival}, not by {expected}", *checkers)
    yield Case("rival", press.honest, press.folder(good, signer="rival"), FILES, named + unknown + anyones)
    unsigned = trials("manifest.casemate: the artifact is not signed", *checkers) + trials("the artifact is not signed", OPEN_FROM[:4])
    yield Case("nobody", press.honest, press.folder(good, signer=None), FILES, unsigned + anyones)


@attack("adopt-to-read", "publisher", "sealed-folder 5.5")
def adopt_to_read(setup: Setup) -> Cases:
    """Like `re-sign-to-read`, with a folder: a manifest lists an artifact that its publisher cannot open."""
    press = FolderBuilder(setup)
    stolen = setup.sealed(to=("alice",))
    other = OTHER_VERSION.format("a", "publisher")
    claimed = rebuilt(stolen, **claimed_by(parts(stolen)[0], setup.sign["second"]))
    for label, adopted, says in (
        ("as it is", stolen.read_bytes(), other),
        ("with a header of the own", claimed, f"a: {REJECTED}"),
        ("one that nobody signed", setup.seal(signer=None), other),
    ):
        press.sealed["a"] = adopted
        forged = press.folder(press.manifest([press.entry("a")]), {"a": "a"}, signer="second")
        press.sealed["a"] = setup.seal(b"own", signer="second")
        honest = press.folder(press.manifest([press.entry("a")]), {"a": "a"}, signer="second")
        yield Case(label, honest, forged, {"a": b"own"}, trials(says, ADD_BOB), owner="both")
