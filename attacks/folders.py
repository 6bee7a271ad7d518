"""Attacks by storage, which changes a sealed folder without knowing a key."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from answers import IS_A_LINK, IS_SPECIAL, NO_REVISION, OTHER_VERSION, TOO_OLD
from bytes_attacks import NO_FOOTER, REJECTED, SIGNATURE
from judge import INSPECT, OPEN_ANYONES, OPEN_FROM, REWRAP, VERIFY, Case, Cases, Promise, attack, content_of, trials
from victim import CONTENT, FOLDER, OTHER_FOLDER, Setup, copy, parts, rebuilt, write_tree

READERS = (OPEN_FROM, OPEN_ANYONES, VERIFY)
ALL = (*READERS, REWRAP)
CONFIG, FIRST, SECOND = "config.json.sealed", "model-1.safetensors.sealed", "model-2.safetensors.sealed"
NEXT = FOLDER | {"config.json": b'{"layers": 3}'}


@attack("folder-mix-versions", "storage", "sealed-directory 5.5")
def mix_versions(house: Setup) -> Cases:
    """A file of another version of the same folder."""
    old, new = house.sealed_folder(), house.next_folder
    says = OTHER_VERSION.format("config.json", "artifact id")
    for label, honest, donor, content in (("older file", new, old, NEXT), ("newer file", old, new, FOLDER)):
        forged = house.copy(honest)
        copy(donor / CONFIG, forged / CONFIG)
        yield Case(label, honest, forged, content, trials(says, *READERS))
    forged = house.copy(old)
    copy(new / "manifest.casemate", forged / "manifest.casemate")
    yield Case("newer manifest", old, forged, FOLDER, trials(says, *READERS))


@attack("folder-swap-files", "storage", "sealed-directory 5.5")
def swap_files(house: Setup) -> Cases:
    """Two files of a folder are swapped."""
    honest = house.sealed_folder()
    forged = house.copy(honest)
    for source, target in ((FIRST, SECOND), (SECOND, FIRST)):
        copy(honest / source, forged / target)
    says = OTHER_VERSION.format("model-1.safetensors", "artifact id")
    yield Case("swapped", honest, forged, FOLDER, trials(says, *READERS))


@attack("folder-file-of-another", "storage", "sealed-directory 5.5")
def file_of_another(house: Setup) -> Cases:
    """A file from another folder with the same publisher, recipients and path, and a single artifact in place of a file."""
    honest = house.sealed_folder()
    for label, donor in {"same path": house.sealed_folder(other=True) / FIRST, "single artifact": house.sealed()}.items():
        forged = house.copy(honest)
        copy(donor, forged / FIRST)
        says = OTHER_VERSION.format("model-1.safetensors", "artifact id")
        yield Case(label, honest, forged, FOLDER, trials(says, *READERS))
    # The expected header with other hashes.
    forged = house.copy(honest)
    (forged / FIRST).write_bytes(rebuilt(honest / FIRST, k3=bytes(32)))
    says = OTHER_VERSION.format("model-1.safetensors", "root")
    yield Case("same header, other hashes", honest, forged, FOLDER, trials(says, *READERS))


@attack("folder-add-file", "storage", "sealed-directory 5.4")
def add_file(house: Setup) -> Cases:
    """A file or folder that is not in the manifest."""
    honest = house.sealed_folder()
    for name in ("extra.bin", "extra.bin.sealed", ".hidden", "onnx/model.bin", "config.json", "config.json.sealed.bak"):
        forged = house.copy(honest)
        (forged / name).write_bytes(b"x")
        says = f"{name} does not belong to this version of the folder"
        yield Case(name, honest, forged, FOLDER, trials(says, *(ALL if name == "extra.bin" else (OPEN_FROM,))))
    for name in ("empty", ".casemate-rewrap", "onnx/deeper"):
        forged = house.copy(honest)
        (forged / name).mkdir()
        says = f"{name} does not belong to this version of the folder"
        yield Case(f"folder {name}", honest, forged, FOLDER, trials(says, OPEN_FROM))
    forged = house.copy(honest)
    (forged / "\x1b[2J\r").write_bytes(b"x")
    says = "\\u{1b}[2J\\r does not belong to this version of the folder"
    yield Case("escape sequence", honest, forged, FOLDER, trials(says, OPEN_FROM))


@attack("folder-drop-file", "storage", "sealed-directory 5.4")
def drop_file(house: Setup) -> Cases:
    """A file in the manifest is missing."""
    honest = house.sealed_folder()
    for name in (CONFIG, "onnx/model.onnx.sealed"):
        forged = house.copy(honest)
        (forged / name).unlink()
        yield Case(name, honest, forged, FOLDER, trials(f"{name[:-7]} is missing", *ALL))
    forged = house.copy(honest)
    shutil.rmtree(forged / "onnx")
    yield Case("folder", honest, forged, FOLDER, trials("onnx/model.onnx is missing", *ALL))
    forged = house.copy(honest)
    (forged / "manifest.casemate").unlink()
    yield Case("manifest", honest, forged, FOLDER, trials("x.sealed is not a sealed folder", *READERS))


@attack("folder-rename-file", "storage", "sealed-directory 5.4")
def rename_file(house: Setup) -> Cases:
    """A file has another name, or a name that differs only in case."""
    honest = house.sealed_folder()
    for new in ("other.json.sealed", "Config.json.sealed", "config.json.SEALED", "onnx/config.json.sealed"):
        forged = house.copy(honest)
        (forged / CONFIG).rename(forged / new)
        says = f"{new} does not belong to this version of the folder"
        yield Case(new, honest, forged, FOLDER, trials(says, OPEN_FROM, VERIFY))


@attack("folder-change-file", "storage", "sealed-artifact 5.3, 5.5")
def change_file(house: Setup) -> Cases:
    """The contents of a file's artifact are changed, cut or emptied."""
    honest = house.sealed_folder()
    data, body = (honest / FIRST).read_bytes(), parts(honest / FIRST)[1]
    flipped = data[:500] + bytes([data[500] ^ 1]) + data[501:]
    name = "model-1.safetensors: "
    for label, changed, says, commands in (
        ("content", flipped, f"{name}segment 0 was changed", READERS),
        ("cut", data[:-1], name + NO_FOOTER, ALL),
        ("empty", b"", name + NO_FOOTER, ALL),
        ("recipients", rebuilt(honest / FIRST, k1=parts(honest / FIRST)[2][1][:1]), name + REJECTED, (OPEN_FROM, OPEN_ANYONES)),
    ):
        assert changed != data and body
        forged = house.copy(honest)
        (forged / FIRST).write_bytes(changed)
        yield Case(label, honest, forged, FOLDER, trials(says, *commands))


def dropped_bob(house: Setup, honest: Path) -> Path:
    """Return a copy in which one file has lost a recipient, so that nobody can open it."""
    forged = house.copy(honest)
    (forged / FIRST).write_bytes(rebuilt(honest / FIRST, k1=parts(honest / FIRST)[2][1][:1]))
    return forged


@attack("verify-changed-recipients", "storage", "sealed-directory 5")
def verify_changed_recipients(house: Setup) -> Cases:
    """A recipient of one file is dropped, so nobody can open it; verifying with a key opens each file and detects this."""
    honest = house.sealed_folder()
    says = f"model-1.safetensors: {REJECTED}"
    yield Case("dropped", honest, dropped_bob(house, honest), FOLDER, trials(says, VERIFY, OPEN_FROM, OPEN_ANYONES))


@attack("rewrap-skips-forged-list", "storage", "sealed-directory 5, 6")
def rewrap_skips_forged_list(house: Setup) -> Cases:
    """The forged recipient list is the wanted one; a rewrap that skipped it without opening it would report success."""
    honest = house.sealed_folder()
    yield Case("dropped", honest, dropped_bob(house, honest), FOLDER, trials(f"model-1.safetensors: {REJECTED}", REWRAP))


@attack("rewrap-mixed-folder", "storage", "sealed-directory 6")
def rewrap_mixed_folder(house: Setup) -> Cases:
    """A folder contains a file of another version; rewrap refuses it before it changes anything."""
    honest = house.sealed_folder()
    for name, donor in ((CONFIG, house.next_folder / CONFIG), (SECOND, house.sealed())):
        forged = house.copy(honest)
        copy(donor, forged / name)
        yield Case(name, honest, forged, FOLDER, trials(OTHER_VERSION.format(name[:-7], "artifact id"), REWRAP))


@attack("folder-unsigned-file", "storage", "sealed-directory 5", Promise.CONTAINED)
def unsigned_file(house: Setup) -> Cases:
    """The signature of one file is removed; the manifest's signature covers it, and the file on its own is refused."""
    honest = house.sealed_folder()
    forged = house.copy(honest)
    (forged / FIRST).write_bytes(rebuilt(honest / FIRST, k4=None))
    seen = trials("signed by   nobody", ("inspect", f"x.sealed/{FIRST}"), code=0)
    alone = trials("the artifact is not signed", ("open", f"x.sealed/{FIRST}", "-o", "alone", "--signer", "@publisher"))
    yield Case("one file", honest, forged, FOLDER, seen + alone)
    # It opens like the untouched folder, so no trial can distinguish them.
    copied = house.fresh() / "x.sealed"
    copy(forged, copied)
    house.ok("alice", *OPEN_FROM, cwd=copied.parent)
    assert content_of(copied.parent / "out") == FOLDER


@attack("folder-other-manifest", "storage", "sealed-directory 5")
def other_manifest(house: Setup) -> Cases:
    """The manifest of another folder, an artifact that is not a manifest, and a manifest without its signature."""
    honest = house.sealed_folder()
    manifest = honest / "manifest.casemate"
    oid, key_id, signature = parts(manifest)[2][4]
    flipped = [oid, key_id, signature[:-1] + bytes([signature[-1] ^ 1])]
    checkers = (OPEN_FROM, VERIFY, REWRAP)
    other = house.sealed_folder(other=True) / "manifest.casemate"
    name = "manifest.casemate: "
    for label, data, says, commands in (
        ("of another folder", other.read_bytes(), OTHER_VERSION.format("config.json", "artifact id"), READERS),
        ("a file of the folder", (honest / CONFIG).read_bytes(), "invalid manifest: wrong content type", ALL),
        ("unsigned", rebuilt(manifest, k4=None), f"{name}the artifact is not signed", checkers),
        ("signature changed", rebuilt(manifest, k4=flipped), name + SIGNATURE, checkers),
        ("hashes changed", rebuilt(manifest, k3=bytes(32)), name + SIGNATURE, checkers),
        ("cut", manifest.read_bytes()[:-1], name + NO_FOOTER, ALL),
    ):
        forged = house.copy(honest)
        (forged / "manifest.casemate").write_bytes(data)
        yield Case(label, honest, forged, FOLDER, trials(says, *commands))


@attack("folder-roll-back", "storage", "sealed-directory 5.3")
def roll_back(house: Setup) -> Cases:
    """The whole older version, when the reader sets the least acceptable revision."""
    old, new = house.sealed_folder(), house.next_folder
    least = ("--min-revision", "2")
    says = TOO_OLD.format(1, 2)
    commands = ((*OPEN_FROM, *least), (*OPEN_ANYONES, *least), (*VERIFY, *least))
    yield Case("--min-revision 2", new, old, NEXT, trials(says, *commands))
    file = trials(NO_REVISION.format(2), *commands)
    yield Case("a single file instead", new, house.sealed(), NEXT, file)


@attack("folder-roll-back-remembered", "storage", "sealed-directory 5")
def roll_back_remembered(house: Setup) -> Cases:
    """The whole older version, when the reader sets no revision but has opened the newer one before."""
    old, new = house.sealed_folder(), house.next_folder
    house.ok("watchful", "verify", new, "--signer", "@publisher")
    says = trials("revision 1 is older than revision 2, which was already seen on this machine", OPEN_FROM, VERIFY)
    yield Case("older", new, old, NEXT, says, owner="watchful")


@attack("folder-roll-back-unasked", "storage", "sealed-directory 1", Promise.NOT_PROMISED)
def roll_back_unasked(house: Setup) -> Cases:
    """When the reader sets no revision: the older version, another folder of the same publisher, a file instead of a folder."""
    opened = trials("opened 4 files", OPEN_FROM, code=0)
    yield Case("older version", house.next_folder, house.sealed_folder(), NEXT, opened, opens_to=FOLDER)
    other = house.sealed_folder(other=True)
    yield Case("another folder", house.next_folder, other, NEXT, opened, opens_to=OTHER_FOLDER)
    yield Case("one file instead", house.next_folder, house.sealed(), NEXT, trials("opened", OPEN_FROM, code=0), opens_to=CONTENT)


def linked(house: Setup, honest: Path, name: str, to: Path | str) -> Path:
    """Return a copy with a link in place of `name`."""
    forged = house.copy(honest)
    place = forged / name
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(to)
    return forged


@attack("folder-link", "storage", "sealed-directory 5.4")
def link(house: Setup) -> Cases:
    """A symbolic link in place of a file, a folder or the journal, or in addition to them."""
    honest = house.sealed_folder()
    elsewhere = house.fresh()
    copy(honest, elsewhere / "m")
    for name, to in (
        (CONFIG, elsewhere / "m" / CONFIG),  # the right content in another place
        (FIRST, SECOND),
        (FIRST, "/etc/passwd"),
        (FIRST, "nowhere"),
        ("onnx", elsewhere / "m/onnx"),
        ("more", "/"),
        (".casemate-rewrap", "/etc/passwd"),
    ):
        forged = linked(house, honest, name, to)
        yield Case(f"{name} to {Path(to).name}", honest, forged, FOLDER, trials(IS_A_LINK.format(f"x.sealed/{name}"), OPEN_FROM, REWRAP))
    forged = linked(house, honest, "manifest.casemate", elsewhere / "m/manifest.casemate")
    says = "cannot open x.sealed/manifest.casemate <- Too many levels of symbolic links (os error 40)"
    yield Case("manifest.casemate", honest, forged, FOLDER, trials(says, *READERS, INSPECT, code=3))


@attack("folder-special-file", "storage", "sealed-directory 5.4")
def special_file(house: Setup) -> Cases:
    """A pipe, which would block a program that opens it for reading."""
    honest = house.sealed_folder()
    for name in (CONFIG, "more"):
        forged = house.copy(honest)
        (forged / name).unlink(missing_ok=True)
        os.mkfifo(forged / name)
        says = IS_SPECIAL.format(f"x.sealed/{name}")
        yield Case(name, honest, forged, FOLDER, trials(says, *ALL))
    forged = house.copy(honest)
    (forged / "manifest.casemate").unlink()
    os.mkfifo(forged / "manifest.casemate")
    yield Case("manifest", honest, forged, FOLDER, trials("x.sealed is not a sealed folder", OPEN_FROM, VERIFY))


@attack("link-name-on-terminal", "storage", "sealed-directory 5.4")
def link_name_on_terminal(house: Setup) -> Cases:
    """Names with terminal control sequences, which the error shows escaped."""
    honest = house.sealed_folder()
    shown = "x.sealed/\\u{1b}[2J"
    yield Case("link", honest, linked(house, honest, "\x1b[2J", "/"), FOLDER, trials(IS_A_LINK.format(shown), *ALL))
    forged = house.copy(honest)
    os.mkfifo(forged / "\x1b[2J")
    yield Case("pipe", honest, forged, FOLDER, trials(IS_SPECIAL.format(shown), *ALL))


@attack("folder-type-confusion", "publisher", "sealed-directory 5.1")
def type_confusion(house: Setup) -> Cases:
    """The publisher signs a file that happens to be a manifest, and storage puts it in place of a manifest."""
    honest = house.sealed_folder(other=True)
    forged = house.copy(honest)
    manifest = parts(honest / "manifest.casemate")[0].open(house.kem["alice"].private_pem)
    work = house.fresh()
    write_tree(work, {"upload": manifest})
    house.ok("publisher", "seal", "upload", "--to", "@alice", "--sign", "publisher", cwd=work)
    copy(work / "upload.sealed", forged / "manifest.casemate")
    says = "invalid manifest: wrong content type"
    yield Case("signed upload", honest, forged, OTHER_FOLDER, trials(says, *ALL))


@attack("planted-journal", "storage", "sealed-directory 6", Promise.CONTAINED)
def planted_journal(house: Setup) -> Cases:
    """A planted rewrap journal names a recipient; it is reported, and no rewrap takes a recipient from it."""
    honest = house.sealed_folder(to=("alice",))
    stranger = "ab" * 32
    for label, text in {
        "a stranger": f"casemate-rewrap 1\n{stranger}\n",
        "bob": f"casemate-rewrap 1\n{house.kem['bob'].key_id.hex()}\n",
        "nonsense": "\x1b[2J" * 100,
        "endless": "casemate-rewrap 1\n" + f"{stranger}\n" * 10_000,
        "not UTF-8": "casemate-rewrap 1\n\udcff",
    }.items():
        forged = house.copy(honest)
        (forged / ".casemate-rewrap").write_bytes(os.fsencode(text))
        says = trials("was not finished; run `casemate rewrap` again", OPEN_FROM, VERIFY, code=0)
        yield Case(label, honest, forged, FOLDER, says)
        for change in (("--to", "@alice"), ("--remove", "@bob")) if label == "bob" else ():
            rewrapped = house.copy(forged)
            house.ok("alice", "rewrap", rewrapped, *change, "--signer", "@publisher")
            assert not (rewrapped / ".casemate-rewrap").exists()
            for path in rewrapped.rglob("*.*"):
                if path.is_file():
                    assert [r.key_id for r in parts(path)[0].recipients] == [house.kem["alice"].key_id]
