"""Attacks that are known to go through and should not. Each says what the program ought to answer.

Once one is answered like that, its test fails until the mark is taken off and the attack moves to where it belongs.
"""

from __future__ import annotations

from bytes_attacks import REJECTED
from folders import CONFIG, FIRST, OTHER_VERSION, SECOND, linked
from judge import MODEL, REWRAP, VERIFY, Case, Cases, attack, trials
from manifests import Press
from models import TOUCH
from signatures import signed_by
from victim import CONTENT, FOLDER, OTHER_CONTENT, House, copy, parts, rebuilt

ADD_BOB = ("rewrap", "x.sealed", "--add", "@bob", "--signer", "@second")
NOT_SEALED_BY = "the artifact was not sealed by the key that signed it"


@attack("re-sign-to-read", "publisher", "sealed-artifact 5.4", gap=True)
def re_sign_to_read(house: House) -> Cases:
    """Another trusted publisher, who cannot open a file, signs it as its own and asks a recipient to add a key: now it can."""
    stolen = house.sealed(to=("alice",))
    honest = house.sealed("other", signer="second", to=("alice",))
    forged = house.write(rebuilt(stolen, k4=signed_by(parts(stolen)[0], house.sign["second"])))
    yield Case("file", honest, forged, OTHER_CONTENT, trials(NOT_SEALED_BY, ADD_BOB), owner="both")


@attack("adopt-to-read", "publisher", "sealed-directory 5", gap=True)
def adopt_to_read(house: House) -> Cases:
    """The same with a folder: a manifest lists an artifact that its publisher cannot open, and needs no digest that is right."""
    press = Press(house)
    stolen = house.sealed(to=("alice",))
    press.sealed["a"] = stolen.read_bytes()
    manifest = press.manifest([press.entry("a")])
    forged = press.folder(manifest, {"a": "a"}, signer="second")
    press.sealed["a"] = house.seal(b"own", signer="second")
    honest = press.folder(press.manifest([press.entry("a")]), {"a": "a"}, signer="second")
    yield Case("folder", honest, forged, {"a": b"own"}, trials("a: " + NOT_SEALED_BY, ADD_BOB), owner="both")


@attack("verify-changed-recipients", "storage", "sealed-artifact 5.5", gap=True)
def verify_changed_recipients(house: House) -> Cases:
    """A recipient of one file is dropped, so nobody can open it: `verify` has a key, and says that all is there and intact."""
    honest = house.sealed_folder()
    forged = house.copy(honest)
    (forged / FIRST).write_bytes(rebuilt(honest / FIRST, k1=parts(honest / FIRST)[2][1][:1]))
    yield Case("dropped", honest, forged, FOLDER, trials(f"model-1.safetensors: {REJECTED}", VERIFY))


@attack("rewrap-skips-forged-list", "storage", "sealed-directory 6", gap=True)
def rewrap_skips_forged_list(house: House) -> Cases:
    """The forged list is the wanted one: `rewrap` takes it for done without opening it, and reports success."""
    honest = house.sealed_folder()
    forged = house.copy(honest)
    (forged / FIRST).write_bytes(rebuilt(honest / FIRST, k1=parts(honest / FIRST)[2][1][:1]))
    yield Case("dropped", honest, forged, FOLDER, trials(f"model-1.safetensors: {REJECTED}", REWRAP))


@attack("rewrap-mixed-folder", "storage", "sealed-directory 6", gap=True)
def rewrap_mixed_folder(house: House) -> Cases:
    """A folder with a file of another version is refused only after the files before it were changed, and the journal stays."""
    honest = house.sealed_folder()
    for name, donor in ((CONFIG, house.next_folder / CONFIG), (SECOND, house.sealed())):
        forged = house.copy(honest)
        copy(donor, forged / name)
        yield Case(name, honest, forged, FOLDER, trials(OTHER_VERSION.format(name[:-7], "artifact id"), REWRAP))


@attack("link-name-on-terminal", "storage", "sealed-directory 5.4", gap=True)
def link_name_on_terminal(house: House) -> Cases:
    """The name of a link goes to the terminal as it is; that of an additional file is escaped."""
    honest = house.sealed_folder()
    forged = linked(house, honest, "\x1b[2J", "/")
    yield Case("link", honest, forged, FOLDER, trials("x.sealed/\\u{1b}[2J is a symbolic link", VERIFY))


@attack("pickle-unnamed", "anybody", "SECURITY: model header, pickle", gap=True)
def pickle_unnamed(house: House) -> Cases:
    """A pickle without magic that the scan gives up on is called none of the known formats, although it imports and calls before that."""
    honest = house.write(house.seal(b"N."))
    for label, content, says in (
        ("a long line before", b"S'" + b"a" * 5000 + b"'\n0" + TOUCH, "the header has too many lines, or too large ones"),
        ("an unknown operation after", TOUCH[:-1] + b"\xff", "not well-formed pickle: an operation that is not known"),
    ):
        yield Case(label, honest, house.write(house.seal(content)), CONTENT, trials(says, MODEL))
