"""Attacks on the signer: signatures removed, halved, made by others, and with other suites."""

from __future__ import annotations

import hashlib

from answers import NO_REVISION, TOO_OLD, hex_id, sealed_by
from bytes_attacks import ALL, FIRST, REJECTED, SIGNATURE, WHOLE, changed
from judge import ADD_BOB, OPEN, OPEN_ANYONES, OPEN_FROM, REWRAP, VERIFY, Case, Cases, Promise, attack, trials
from sealed_reader import Artifact, sha384
from sealed_writer import AESGCM, KeyFile, cbor, seal_part, segment_form, sign
from standards import Signature, spki
from victim import CONTENT, OTHER_CONTENT, SEGMENT, WEAKER, Setup, parts, rebuilt, signing_key

CHECKERS = (OPEN_FROM, VERIFY, REWRAP)
FORGED_CONTENT = b"forged!" + CONTENT[7:]


def signed_by(artifact: Artifact, key: KeyFile) -> list[object]:
    """Return a signature over the contents of a tail."""
    return [key.suite.oid, key.key_id, sign(key, artifact.header.digest + artifact.root)]


def claimed_by(artifact: Artifact, key: KeyFile | None) -> dict[str, object]:
    """Return a header with another publisher or none, and a valid signature over it, as an attacker without the artifact key can."""
    header = cbor({name: value for name, value in (artifact.header.fields() | {7: key and key.key_id}).items() if value is not None})
    signature = [key.suite.oid, key.key_id, sign(key, sha384(header) + artifact.root)] if key else None
    return {"k0": header, "k4": signature}


def message_of(artifact: Artifact, hashes: bytes, publisher_part: bytes) -> bytes:
    """Return the message that a publisher signs, with these hashes and this publisher part."""
    count = artifact.header.segments.to_bytes(8)
    listed = artifact.floe_header + sha384(publisher_part) + sha384(artifact.public_part) + count + hashes
    return artifact.header.digest + artifact.header.hashed("casemate/v1/artifact-root", listed)


def artifact_key(setup: Setup, artifact: Artifact, recipient: str) -> bytes:
    """Return the artifact key, which a recipient knows."""
    key = setup.kem[recipient]
    record = next(r for r in artifact.recipients if r.key_id == key.key_id)
    return record.kem.open_base(*key.secret, record.enc, b"casemate/v1/artifact-key\0" + artifact.header.digest, record.ct)


def forge(setup: Setup, artifact: Artifact, recipient: str = "bob") -> tuple[dict[str, bytes], bytes]:
    """Replace the content with FORGED_CONTENT as well as a recipient can. Returns the changes, and the message that would need a signature."""
    opened = artifact.unlock(setup.kem[recipient].private_pem)
    prefix, aad = segment_form(0, WHOLE, False)
    nonce, zero = bytes(12), (0).to_bytes(8)
    content = AESGCM(artifact.floe_kdf(opened.message_key, b"DEK:" + zero, 32)).encrypt(nonce, FORGED_CONTENT[:SEGMENT], aad)
    segment = prefix + nonce + content
    hashes = artifact.header.hashed("casemate/v1/artifact-segment", segment) + artifact.hashes[artifact.header.hash_size :]
    body = changed(artifact.data[: artifact.header.body], FIRST, segment)
    key, salt = artifact_key(setup, artifact, recipient), bytes(32)
    plain = cbor({0: "model", 1: artifact.header.length, 2: {}})
    said = seal_part(plain, key, b"casemate/v1/artifact-publisher", artifact.header.digest, salt)
    message = message_of(artifact, hashes, said)
    aad = message + sha384(artifact.recipients_encoded)
    bound = seal_part(cbor({}), key, b"casemate/v1/artifact-recipients", aad, salt)
    return {"body": body, "k2": said, "k3": hashes, "k5": bound}, message


@attack("strip-signature", "storage", "sealed-artifact 5.4, 7.4")
def strip_signature(setup: Setup) -> Cases:
    """The signature is removed."""
    victim = setup.sealed()
    says = trials("the artifact is not signed", OPEN, *CHECKERS)
    yield Case("null", victim, setup.write(rebuilt(victim, k4=None)), CONTENT, says)
    # With the signature check waived, it fails because the artifact key is bound to the header.
    anonymous = setup.write(rebuilt(victim, **claimed_by(parts(victim)[0], None)))
    yield Case("null, and no publisher", victim, anonymous, CONTENT, says + trials(REJECTED, OPEN_ANYONES))


@attack("strip-half-signature", "storage", "sealed-artifact 5.4")
def strip_half_signature(setup: Setup) -> Cases:
    """One half of the composite is removed, blanked, or replaced by half of another artifact's signature."""
    victim = setup.sealed()
    _, _, tail = parts(victim)
    oid, key_id, whole = tail[4]
    other = parts(setup.sealed("other"))[2][4][2]
    suite = setup.sign["publisher"].suite
    assert isinstance(suite, Signature)
    at = suite.mldsa_sig
    for label, signature in {
        "only ML-DSA": whole[:at],
        "only ECDSA": whole[at:],
        "ML-DSA blanked": bytes(at) + whole[at:],
        "ECDSA blanked": whole[:at] + bytes(len(whole) - at),
        "ML-DSA of another artifact": other[:at] + whole[at:],
        "ECDSA of another artifact": whole[:at] + other[at:],
        "of another artifact": other,
        "empty": b"",
        "a byte more": whole + b"\0",
    }.items():
        forged = setup.write(rebuilt(victim, k4=[oid, key_id, signature]))
        yield Case(label, victim, forged, CONTENT, trials(SIGNATURE, *CHECKERS))


@attack("one-half-broken", "recipient", "sealed-artifact 5.4")
def one_half_broken(setup: Setup) -> Cases:
    """A recipient forges content with the publisher's private key for one half, as if that algorithm were broken."""
    victim = setup.sealed()
    artifact, _, tail = parts(victim)
    change, message = forge(setup, artifact)
    publisher, stranger = setup.sign["publisher"], signing_key()
    suite = publisher.suite
    assert isinstance(suite, Signature)
    at = suite.mldsa_sig
    genuine, strangers, recorded = sign(publisher, message), sign(stranger, message), tail[4][2]
    for label, signature in {
        "ECDSA broken, ML-DSA by a stranger": strangers[:at] + genuine[at:],
        "ECDSA broken, ML-DSA recorded": recorded[:at] + genuine[at:],
        "ML-DSA broken, ECDSA by a stranger": genuine[:at] + strangers[at:],
        "ML-DSA broken, ECDSA recorded": genuine[:at] + recorded[at:],
    }.items():
        signed = [suite.oid, publisher.key_id, signature]
        forged = setup.write(rebuilt(victim, **change, k4=signed))
        yield Case(label, victim, forged, CONTENT, trials(SIGNATURE, *CHECKERS))


@attack("re-sign", "publisher", "sealed-artifact 5.4")
def re_sign(setup: Setup) -> Cases:
    """Another publisher signs the artifact: under their own key id, under the victim's, and with a header that names the other."""
    victim = setup.sealed()
    artifact = parts(victim)[0]
    rival, publisher = setup.sign["rival"], setup.sign["publisher"]
    oid, key_id, signature = signed_by(artifact, rival)
    own = setup.write(rebuilt(victim, k4=[oid, key_id, signature]))
    yield Case("own key id", victim, own, CONTENT, trials(sealed_by(publisher, rival), OPEN, *ALL))
    theirs = setup.write(rebuilt(victim, k4=[oid, publisher.key_id, signature]))
    yield Case("the publisher's key id", victim, theirs, CONTENT, trials(SIGNATURE, OPEN, *CHECKERS))
    claimed = setup.write(rebuilt(victim, **claimed_by(artifact, rival)))
    named = trials(f"the artifact is signed by key {hex_id(rival)}, not by {hex_id(publisher)}", *CHECKERS)
    unknown = trials(f"the artifact names key {hex_id(rival)} as its signer, which is not in the key store", OPEN, code=4)
    yield Case("a header of the own", victim, claimed, CONTENT, named + unknown + trials(REJECTED, OPEN_ANYONES))
    # The publisher's own signature, over a header that names another publisher or none.
    for label, key in (("rival", rival), ("nobody", None)):
        header = claimed_by(artifact, key)["k0"]
        forged = setup.write(rebuilt(victim, k0=header))
        yield Case(f"a header of {label}", victim, forged, CONTENT, trials(sealed_by(key, publisher), OPEN, *ALL))
    nobodys = setup.sealed(signer=None)
    forged = setup.write(rebuilt(nobodys, k4=signed_by(parts(nobodys)[0], rival)))
    yield Case("one that nobody signed", victim, forged, CONTENT, trials(sealed_by(None, rival), OPEN, *ALL))


@attack("re-sign-to-read", "publisher", "sealed-artifact 5.4")
def re_sign_to_read(setup: Setup) -> Cases:
    """Another trusted publisher, who cannot open a file, signs it as their own and asks a recipient to add a key, in order to read it."""
    stolen = setup.sealed(to=("alice",))
    honest = setup.sealed("other", signer="second", to=("alice",))
    artifact, publisher, second = parts(stolen)[0], setup.sign["publisher"], setup.sign["second"]
    for label, change, says in (
        ("the publisher's header", {"k4": signed_by(artifact, second)}, sealed_by(publisher, second)),
        ("a header of the own", claimed_by(artifact, second), REJECTED),
    ):
        yield Case(label, honest, setup.write(rebuilt(stolen, **change)), OTHER_CONTENT, trials(says, ADD_BOB), owner="both")


@attack("file-roll-back", "storage", "sealed-artifact 5.1")
def file_roll_back(setup: Setup) -> Cases:
    """An older version of a file, when the reader sets the least acceptable revision, and a revision invented by storage."""
    old, new = setup.sealed("other", revision=1), setup.sealed(revision=2)
    least = ("--min-revision", "2")
    commands = ((*OPEN_FROM, *least), (*OPEN_ANYONES, *least), (*VERIFY, *least))
    yield Case("older", new, old, CONTENT, trials(TOO_OLD.format(1, 2), *commands))
    yield Case("without a revision", new, setup.sealed("other"), CONTENT, trials(NO_REVISION.format(2), *commands))
    artifact = parts(old)[0]
    forged = setup.write(rebuilt(old, k0=cbor(artifact.header.fields() | {8: 2})))
    yield Case("made up", new, forged, CONTENT, trials(SIGNATURE, commands[0], commands[2]) + trials(REJECTED, commands[1]))


@attack("recipient-forges-content", "recipient", "sealed-artifact 5.3, 5.4")
def recipient_forges_content(setup: Setup) -> Cases:
    """A recipient, who knows the artifact key, seals other content under it; only the signature is the publisher's."""
    victim = setup.sealed()
    change, message = forge(setup, parts(victim)[0])
    for label, forged in {
        "all that a key can make": rebuilt(victim, **change),
        "signed by the recipient": rebuilt(victim, **change, k4=[*parts(victim)[2][4][:2], sign(signing_key(), b"")]),
    }.items():
        yield Case(label, victim, setup.write(forged), CONTENT, trials(SIGNATURE, OPEN, *CHECKERS))
    # A valid tag does not help, because the hash was signed.
    forged = setup.write(rebuilt(victim, body=change["body"]))
    yield Case("the signed hashes", victim, forged, CONTENT, trials("segment 0 was changed", OPEN_FROM, OPEN_ANYONES, VERIFY))


@attack("recipient-renames", "recipient", "sealed-artifact 5.5")
def recipient_renames(setup: Setup) -> Cases:
    """A recipient rewrites the name and the metadata next to a valid signature."""
    victim = setup.sealed()
    artifact, _, tail = parts(victim)
    key = artifact_key(setup, artifact, "bob")
    plain = cbor({0: "other.onnx", 1: artifact.header.length, 2: {"licence": "none"}})
    said = seal_part(plain, key, b"casemate/v1/artifact-publisher", artifact.header.digest, bytes(32))
    message = message_of(artifact, tail[3], said)
    bound = seal_part(cbor({}), key, b"casemate/v1/artifact-recipients", message + sha384(artifact.recipients_encoded), bytes(32))
    forged = setup.write(rebuilt(victim, k2=said, k5=bound))
    yield Case("the name", victim, forged, CONTENT, trials(SIGNATURE, OPEN, *CHECKERS))


@attack("recipient-forges-unchecked", "recipient", "sealed-artifact 1", Promise.NOT_PROMISED)
def recipient_forges_unchecked(setup: Setup) -> Cases:
    """The same forgery when the user waives the signature check: it opens, so only the signature prevents it."""
    victim = setup.sealed()
    change, message = forge(setup, parts(victim)[0])
    forged = setup.write(rebuilt(victim, **change))
    says = trials("warning: the signature is not checked", OPEN_ANYONES, code=0)
    yield Case("--allow-unknown-signer", victim, forged, CONTENT, says, opens_to=FORGED_CONTENT)
    # With the private keys of both halves, nothing is protected; so each case of `one-half-broken` lacks only the other half.
    publisher = setup.sign["publisher"]
    signed = [publisher.suite.oid, publisher.key_id, sign(publisher, message)]
    forged = setup.write(rebuilt(victim, **change, k4=signed))
    yield Case("the publisher's own key", victim, forged, CONTENT, trials("opened", OPEN_FROM, code=0), opens_to=FORGED_CONTENT)


@attack("downgrade-signature-suite", "storage", "sealed-artifact 5.4")
def downgrade_signature_suite(setup: Setup) -> Cases:
    """The tail names another suite: a weaker composite, one half alone, a classical one."""
    victim = setup.sealed()
    _, key_id, whole = parts(victim)[2][4]
    publisher = setup.sign["publisher"]
    suite = publisher.suite
    assert isinstance(suite, Signature)
    plain = "2.16.840.1.101.3.4.3.19"  # ML-DSA-87 alone
    for label, signature in {"weaker composite": [WEAKER, key_id, whole], "ML-DSA alone": [plain, key_id, whole[: suite.mldsa_sig]]}.items():
        yield Case(label, victim, setup.write(rebuilt(victim, k4=signature)), CONTENT, trials(SIGNATURE, *CHECKERS))
    # The publisher's ML-DSA half as a separate key, which has another identifier.
    half = hashlib.sha256(spki(plain, publisher.public[: suite.mldsa_pk])).digest()
    forged = setup.write(rebuilt(victim, k4=[plain, half, whole[: suite.mldsa_sig]]))
    yield Case("the half as a key", victim, forged, CONTENT, trials(sealed_by(publisher, half), *CHECKERS))
    for label, classical in {"Ed25519": "1.3.101.112", "ECDSA": "1.2.840.10045.4.3.3", "nothing": "", "escape sequence": "\x1b[2J1.3"}.items():
        says = f"unknown suite {classical.replace(chr(27), '')}"
        forged = setup.write(rebuilt(victim, k4=[classical, key_id, whole]))
        yield Case(label, victim, forged, CONTENT, trials(says, *CHECKERS, OPEN_ANYONES))


@attack("sign-other-context", "publisher", "sealed-artifact 5.4")
def sign_other_context(setup: Setup) -> Cases:
    """A signature by the publisher's key, made for another purpose."""
    honest = setup.write(setup.seal())
    for label, options in {
        "no context": {"context": b""},
        "of a request": {"context": b"casemate/v1/http"},
        "root without header": {"edit_message": lambda message: message[48:]},
        "header without root": {"edit_message": lambda message: message[:48]},
    }.items():
        forged = setup.write(setup.seal(**options))
        yield Case(label, honest, forged, CONTENT, trials(SIGNATURE, *CHECKERS))
