"""Attacks that change the recipients of an artifact that belongs to another owner."""

from __future__ import annotations

from typing import Any

from bytes_attacks import ALL
from judge import Case, Cases, attack, trials
from sealed_reader import sha384
from sealed_writer import KeyFile, cbor, encapsulate, recipient_list, seal_part
from signatures import artifact_key
from standards import spki
from victim import CONTENT, Setup, parts, rebuilt, signing_key

UNTIL = 2_000_000_000
ADD_BOB = ("rewrap", "x.sealed", "--add", "@bob", "--signer", "@publisher")


@attack("recipient-changes-owned", "recipient", "sealed-artifact 5.7")
def recipient_changes_owned(setup: Setup) -> Cases:
    """A recipient adds someone to an artifact that only its owner may change: with the old list, with none, and with lists of their own."""
    owner, stranger = setup.sign["second"], signing_key()
    victim = setup.write(setup.seal(owner=owner))
    artifact, _, tail = parts(victim)
    key = artifact_key(setup, artifact, "alice")
    added = setup.kem["bob"]
    entry = [*added.suite.triple, added.key_id, *encapsulate(added, b"casemate/v1/artifact-key\0" + artifact.header.digest, key)]  # type: ignore[union-attr]
    entries = [*tail[1], entry]
    aad = artifact.header.digest + artifact.root + sha384(cbor(entries))
    bound = seal_part(cbor({}), key, b"casemate/v1/artifact-recipients", aad, bytes(32))

    def listed(by: KeyFile, **options: Any) -> list[Any]:
        return recipient_list(artifact.header.digest, entries, {"owner": by, "epoch": 2} | options)

    def forged(list_: list[Any] | None) -> bytes:
        return rebuilt(victim, k1=entries, k5=bound, k6=list_)

    own, another = listed(stranger), "the recipient list belongs to another owner"
    borrowed = [own[0], own[1], spki(owner.suite.oid, owner.public), None, own[4]]
    unsigned = "the owner did not sign these recipients"
    delegated = listed(stranger, delegation=(stranger, (UNTIL, 9)))
    claimed = [delegated[0], delegated[1], spki(owner.suite.oid, owner.public), delegated[3], delegated[4]]
    for label, list_, says in (
        ("the old list", tail[6], unsigned),
        ("no list", None, "the owner's signed recipient list is missing"),
        ("a list of the own", own, another),
        ("a list of the own under the owner's key", borrowed, unsigned),
        ("a delegation of the own", claimed, "the delegation does not cover this recipient list"),
    ):
        yield Case(label, victim, setup.write(forged(list_)), CONTENT, trials(says, *ALL[:4]))


@attack("delegate-after-the-end", "past delegate", "sealed-artifact 5.7")
def delegate_after_the_end(setup: Setup) -> Cases:
    """A delegate signs lists after the end of the delegation, or past its last epoch."""
    owner, delegate = setup.sign["second"], signing_key()
    given = {"owner": owner, "delegation": (delegate, (UNTIL, 5))}
    victim = setup.write(setup.seal(**given, epoch=5, date=UNTIL))
    says = trials("the delegation does not cover this recipient list", *ALL[:4])
    for label, late in {"later": {"epoch": 5, "date": UNTIL + 1}, "a higher epoch": {"epoch": 6, "date": UNTIL}}.items():
        yield Case(label, victim, setup.write(setup.seal(**given, **late)), CONTENT, says)


@attack("rewrap-without-the-owner", "recipient", "sealed-artifact 5.7")
def rewrap_without_the_owner(setup: Setup) -> Cases:
    """A recipient runs the program itself, which says whose permission is missing."""
    honest = setup.sealed(to=("alice",))
    owned = setup.write(setup.seal(owner=setup.sign["second"]))
    says = f"only the owner, key {setup.sign['second'].key_id.hex()}, may change the recipients"
    yield Case("rewrap", honest, owned, CONTENT, trials(says, ADD_BOB, code=4))
