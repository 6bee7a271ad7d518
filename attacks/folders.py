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


@attack("folder-mix-versions", "storage", "sealed-folder 5.5")
def mix_versions(setup: Setup) -> Cases:
    """A file of another version of the same folder."""
    old, new = setup.sealed_folder(), setup.next_folder
    says = OTHER_VERSION.format("config.json", "artifact id")
    for label, honest, donor, content in (("older file", new, old, NEXT), ("newer file", old, new, FOLDER)):
        forged = setup.copy(honest)
        copy(donor / CONFIG, forged / CONFIG)
        yield Case(label, honest, forged, content, trials(says, *READERS))
    forged = setup.copy(old)
    copy(new / "manifest.casemate", forged / "manifest.casemate")
    yield Case("newer manifest", old, forged, FOLDER, trials(says, *READERS))


@attack("folder-swap-files", "storage", "sealed-folder 5.5")
def swap_files(setup: Setup) -> Cases:
    """Two files of a folder are swapped."""
    honest = setup.sealed_folder()
    forged = setup.copy(honest)
    for source, target in ((FIRST, SECOND), (SECOND, FIRST)):
        copy(honest / source, forged / target)
    says = OTHER_VERSION.format("model-1.safetensors", "artifact id")
    yield Case("swapped", honest, forged, FOLDER, trials(says, *READERS))


@attack("folder-file-of-another", "storage", "sealed-folder 5.5")
def file_of_another(setup: Setup) -> Cases:
    """A file from another folder with the same publisher, recipients and path, and a single artifact in place of a file."""
    honest = setup.sealed_folder()
    for label, donor in {"same path": setup.sealed_folder(other=True) / FIRST, "single artifact": setup.sealed()}.items():
        forged = setup.copy(honest)
        copy(donor, forged / FIRST)
        says = OTHER_VERSION.format("model-1.safetensors", "artifact id")
        yield Case(label, honest, forged, FOLDER, trials(says, *READERS))
    # The expected header with other hashes.
    forged = setup.copy(honest)
    (forged / FIRST).write_bytes(rebuilt(honest / FIRST, k3=bytes(32)))
    says = OTHER_VERSION.format("model-1.safetensors", "root")
    yield Case("same header, other hashes", honest, forged, FOLDER, trials(says, *READERS))


@attack("folder-add-file", "storage", "sealed-folder 5.4")
def add_file(setup: Setup) -> Cases:
    """A file or folder that is not in the manifest."""
    honest = setup.sealed_folder()
    for name in ("extra.bin", "extra.bin.sealed", ".hidden", "onnx/model.bin", "config.json", "config.json.sealed.bak"):
        forged = setup.copy(honest)
        (forged / name).write_bytes(b"x")
        says = f"{name} does not belong to this version of the folder"
        yield Case(name, honest, forged, FOLDER, trials(says, *(ALL if name == "extra.bin" else (OPEN_FROM,))))
    for name in ("empty", ".casemate-rewrap", "onnx/deeper"):
        forged = setup.copy(honest)
        (forged / name).mkdir()
        says = f"{name} does not belong to this version of the folder"
        yield Case(f"folder {name}", honest, forged, FOLDER, trials(says, OPEN_FROM))
    forged = setup.copy(honest)
    (forged / "\x1b[2J\r").write_bytes(b"x")
    says = "\\u{1b}[2J\\r does not belong to this version of the folder"
    yield Case("escape sequence", honest, forged, FOLDER, trials(says, OPEN_FROM))


@attack("folder-drop-file", "storage", "sealed-folder 5.4")
def drop_file(setup: Setup) -> Cases:
    """A file in the manifest is missing."""
    honest = setup.sealed_folder()
    for name in (CONFIG, "onnx/model.onnx.sealed"):
        forged = setup.copy(honest)
        (forged / name).unlink()
        yield Case(name, honest, forged, FOLDER, trials(f"{name[:-7]} is missing", *ALL))
    forged = setup.copy(honest)
    shutil.rmtree(forged / "onnx")
    yield Case("folder", honest, forged, FOLDER, trials("onnx/model.onnx is missing", *ALL))
    forged = setup.copy(honest)
    (forged / "manifest.casemate").unlink()
    yield Case("manifest", honest, forged, FOLDER, trials("x.sealed is not a sealed folder", *READERS))


@attack("folder-rename-file", "storage", "sealed-folder 5.4")
def rename_file(setup: Setup) -> Cases:
    """A file has another name, or a name that differs only in case."""
    honest = setup.sealed_folder()
    for new in ("other.json.sealed", "Config.json.sealed", "config.json.SEALED", "onnx/config.json.sealed"):
        forged = setup.copy(honest)
        (forged / CONFIG).rename(forged / new)
        says = f"{new} does not belong to this version of the folder"
        yield Case(new, honest, forged, FOLDER, trials(says, OPEN_FROM, VERIFY))


@attack("folder-change-file", "storage", "sealed-artifact 5.3, 5.5")
def change_file(setup: Setup) -> Cases:
    """The contents of a file's artifact are changed, cut or emptied."""
    honest = setup.sealed_folder()
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
        forged = setup.copy(honest)
        (forged / FIRST).write_bytes(changed)
        yield Case(label, honest, forged, FOLDER, trials(says, *commands))


def dropped_bob(setup: Setup, honest: Path) -> Path:
    """Return a copy in which one file has lost a recipient, so that nobody can open it."""
    forged = setup.copy(honest)
    (forged / FIRST).write_bytes(rebuilt(honest / FIRST, k1=parts(honest / FIRST)[2][1][:1]))
    return forged


@attack("verify-changed-recipients", "storage", "sealed-folder 5")
def verify_changed_recipients(setup: Setup) -> Cases:
    """A recipient of one file is dropped, so nobody can open it; verifying with a key opens each file and detects this."""
    honest = setup.sealed_folder()
    says = f"model-1.safetensors: {REJECTED}"
    yield Case("dropped", honest, dropped_bob(setup, honest), FOLDER, trials(says, VERIFY, OPEN_FROM, OPEN_ANYONES))


@attack("rewrap-skips-forged-list", "storage", "sealed-folder 5, 6")
def rewrap_skips_forged_list(setup: Setup) -> Cases:
    """The forged recipient list is the wanted one; a rewrap that skipped it without opening it would report success."""
    honest = setup.sealed_folder()
    yield Case("dropped", honest, dropped_bob(setup, honest), FOLDER, trials(f"model-1.safetensors: {REJECTED}", REWRAP))


@attack("rewrap-mixed-folder", "storage", "sealed-folder 6")
def rewrap_mixed_folder(setup: Setup) -> Cases:
    """A folder contains a file of another version; rewrap refuses it before it changes anything."""
    honest = setup.sealed_folder()
    for name, donor in ((CONFIG, setup.next_folder / CONFIG), (SECOND, setup.sealed())):
        forged = setup.copy(honest)
        copy(donor, forged / name)
        yield Case(name, honest, forged, FOLDER, trials(OTHER_VERSION.format(name[:-7], "artifact id"), REWRAP))


@attack("folder-unsigned-file", "storage", "sealed-folder 5", Promise.CONTAINED)
def unsigned_file(setup: Setup) -> Cases:
    """The signature of one file is removed; the manifest's signature covers it, and the file on its own is refused."""
    honest = setup.sealed_folder()
    forged = setup.copy(honest)
    (forged / FIRST).write_bytes(rebuilt(honest / FIRST, k4=None))
    seen = trials("signed by   nobody", ("inspect", f"x.sealed/{FIRST}"), code=0)
    alone = trials("the artifact is not signed", ("open", f"x.sealed/{FIRST}", "-o", "alone", "--signer", "@publisher"))
    yield Case("one file", honest, forged, FOLDER, seen + alone)
    # It opens like the untouched folder, so no trial can distinguish them.
    copied = setup.fresh() / "x.sealed"
    copy(forged, copied)
    setup.ok("alice", *OPEN_FROM, cwd=copied.parent)
    assert content_of(copied.parent / "out") == FOLDER


@attack("folder-other-manifest", "storage", "sealed-folder 5")
def other_manifest(setup: Setup) -> Cases:
    """The manifest of another folder, an artifact that is not a manifest, and a manifest without its signature."""
    honest = setup.sealed_folder()
    manifest = honest / "manifest.casemate"
    oid, key_id, signature = parts(manifest)[2][4]
    flipped = [oid, key_id, signature[:-1] + bytes([signature[-1] ^ 1])]
    checkers = (OPEN_FROM, VERIFY, REWRAP)
    other = setup.sealed_folder(other=True) / "manifest.casemate"
    name = "manifest.casemate: "
    for label, data, says, commands in (
        ("of another folder", other.read_bytes(), OTHER_VERSION.format("config.json", "artifact id"), READERS),
        ("a file of the folder", (honest / CONFIG).read_bytes(), "invalid manifest: wrong content type", ALL),
        ("unsigned", rebuilt(manifest, k4=None), f"{name}the artifact is not signed", checkers),
        ("signature changed", rebuilt(manifest, k4=flipped), name + SIGNATURE, checkers),
        ("hashes changed", rebuilt(manifest, k3=bytes(32)), name + SIGNATURE, checkers),
        ("cut", manifest.read_bytes()[:-1], name + NO_FOOTER, ALL),
    ):
        forged = setup.copy(honest)
        (forged / "manifest.casemate").write_bytes(data)
        yield Case(label, honest, forged, FOLDER, trials(says, *commands))


@attack("folder-roll-back", "storage", "sealed-folder 5.3")
def roll_back(setup: Setup) -> Cases:
    """The whole older version, when the reader sets the least acceptable revision."""
    old, new = setup.sealed_folder(), setup.next_folder
    least = ("--min-revision", "2")
    says = TOO_OLD.format(1, 2)
    commands = ((*OPEN_FROM, *least), (*OPEN_ANYONES, *least), (*VERIFY, *least))
    yield Case("--min-revision 2", new, old, NEXT, trials(says, *commands))
    file = trials(NO_REVISION.format(2), *commands)
    yield Case("a single file instead", new, setup.sealed(), NEXT, file)


@attack("folder-roll-back-remembered", "storage", "sealed-folder 5")
def roll_back_remembered(setup: Setup) -> Cases:
    """The whole older version, when the reader sets no revision but has opened the newer one before."""
    old, new = setup.sealed_folder(), setup.next_folder
    setup.ok("watchful", "verify", new, "--signer", "@publisher")
    says = trials("revision 1 is older than revision 2, which was already seen on this machine", OPEN_FROM, VERIFY)
    yield Case("older", new, old, NEXT, says, owner="watchful")


@attack("folder-roll-back-unasked", "storage", "sealed-folder 1", Promise.NOT_PROMISED)
def roll_back_unasked(setup: Setup) -> Cases:
    """When the reader sets no revision: the older version, another folder of the same publisher, a file instead of a folder."""
    opened = trials("opened 4 files", OPEN_FROM, code=0)
    yield Case("older version", setup.next_folder, setup.sealed_folder(), NEXT, opened, opens_to=FOLDER)
    other = setup.sealed_folder(other=True)
    yield Case("another folder", setup.next_folder, other, NEXT, opened, opens_to=OTHER_FOLDER)
    yield Case("one file instead", setup.next_folder, setup.sealed(), NEXT, trials("opened", OPEN_FROM, code=0), opens_to=CONTENT)


def linked(setup: Setup, honest: Path, name: str, to: Path | str) -> Path:
    """Return a copy with a link in place of `name`."""
    forged = setup.copy(honest)
    place = forged / name
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(to)
    return forged


@attack("folder-link", "storage", "sealed-folder 5.4")
def link(setup: Setup) -> Cases:
    """A symbolic link in place of a file, a folder or the journal, or in addition to them."""
    honest = setup.sealed_folder()
    elsewhere = setup.fresh()
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
        forged = linked(setup, honest, name, to)
        yield Case(f"{name} to {Path(to).name}", honest, forged, FOLDER, trials(IS_A_LINK.format(f"x.sealed/{name}"), OPEN_FROM, REWRAP))
    forged = linked(setup, honest, "manifest.casemate", elsewhere / "m/manifest.casemate")
    says = "cannot open x.sealed/manifest.casemate <- Too many levels of symbolic links (os error 40)"
    yield Case("manifest.casemate", honest, forged, FOLDER, trials(says, *READERS, INSPECT, code=3))


@attack("folder-special-file", "storage", "sealed-folder 5.4")
def special_file(setup: Setup) -> Cases:
    """A pipe, which would block a program that opens it for reading."""
    honest = setup.sealed_folder()
    for name in (CONFIG, "more"):
        forged = setup.copy(honest)
        (forged / name).unlink(missing_ok=True)
        os.mkfifo(forged / name)
        says = IS_SPECIAL.format(f"x.sealed/{name}")
        yield Case(name, honest, forged, FOLDER, trials(says, *ALL))
    forged = setup.copy(honest)
    (forged / "manifest.casemate").unlink()
    os.mkfifo(forged / "manifest.casemate")
    yield Case("manifest", honest, forged, FOLDER, trials("x.sealed is not a sealed folder", OPEN_FROM, VERIFY))


@attack("link-name-on-terminal", "storage", "sealed-folder 5.4")
def link_name_on_terminal(setup: Setup) -> Cases:
    """Names with terminal control sequences, which the error shows escaped."""
    honest = setup.sealed_folder()
    shown = "x.sealed/\\u{1b}[2J"
    yield Case("link", honest, linked(setup, honest, "\x1b[2J", "/"), FOLDER, trials(IS_A_LINK.format(shown), *ALL))
    forged = setup.copy(honest)
    os.mkfifo(forged / "\x1b[2J")
    yield Case("pipe", honest, forged, FOLDER, trials(IS_SPECIAL.format(shown), *ALL))


@attack("folder-type-confusion", "publisher", "sealed-folder 5.1")
def type_confusion(setup: Setup) -> Cases:
    """The publisher signs a file that happens to be a manifest, and storage puts it in place of a manifest."""
    honest = setup.sealed_folder(other=True)
    forged = setup.copy(honest)
    manifest = parts(honest / "manifest.casemate")[0].open(setup.kem["alice"].private_pem)
    work = setup.fresh()
    write_tree(work, {"upload": manifest})
    setup.ok("publisher", "seal", "upload", "--to", "@alice", "--sign", "publisher", cwd=work)
    copy(work / "upload.sealed", forged / "manifest.casemate")
    says = "invalid manifest: wrong content type"
    yield Case("signed upload", honest, forged, OTHER_FOLDER, trials(says, *ALL))


@attack("planted-journal", "storage", "sealed-folder 6", Promise.CONTAINED)
def planted_journal(setup: Setup) -> Cases:
    """A planted rewrap journal names a recipient; it is reported, and no rewrap takes a recipient from it."""
    honest = setup.sealed_folder(to=("alice",))
    stranger = "ab" * 32
    for label, text in {
        "a stranger": f"casemate-rewrap 1\n{stranger}\n",
        "bob": f"casemate-rewrap 1\n{setup.kem['bob'].key_id.hex()}\n",
        "nonsense": "\x1b[2J" * 100,
        "endless": "casemate-rewrap 1\n" + f"{stranger}\n" * 10_000,
        "not UTF-8": "casemate-rewrap 1\n\udcff",
    }.items():
        forged = setup.copy(honest)
        (forged / ".casemate-rewrap").write_bytes(os.fsencode(text))
        says = trials("was not finished; run `casemate rewrap` again", OPEN_FROM, VERIFY, code=0)
        yield Case(label, honest, forged, FOLDER, says)
        for change in (("--to", "@alice"), ("--remove", "@bob")) if label == "bob" else ():
            rewrapped = setup.copy(forged)
            setup.ok("alice", "rewrap", rewrapped, *change, "--signer", "@publisher")
            assert not (rewrapped / ".casemate-rewrap").exists()
            for path in rewrapped.rglob("*.*"):
                if path.is_file():
                    assert [r.key_id for r in parts(path)[0].recipients] == [setup.kem["alice"].key_id]
