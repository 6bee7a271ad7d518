"""Shared keys and signatures for other formats."""

import itertools
import os
import subprocess

import casemate
import pytest
from casemate import hybrid


@pytest.mark.parametrize("suite", ["mlkem1024-p384", "mlkem768-x25519", "mlkem768-p256"])
def test_both_ends_derive_the_same_key(suite):
    ours, other = casemate.PrivateKey.generate(suite), casemate.PrivateKey.generate(suite)
    key, ciphertext = hybrid.encapsulate(ours.public_key, b"example.com/a")
    assert len(key) == 32 and hybrid.decapsulate(ours, ciphertext, b"example.com/a") == key
    assert hybrid.encapsulate(ours.public_key, b"example.com/a")[0] != key
    changed = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    for found in [
        lambda: hybrid.decapsulate(ours, ciphertext, b"example.com/b"),
        lambda: hybrid.decapsulate(ours, ciphertext, b"example.com/a", length=33)[:32],
        lambda: hybrid.decapsulate(other, ciphertext, b"example.com/a"),
        lambda: hybrid.decapsulate(ours, changed, b"example.com/a"),
    ]:
        assert found() != key
    for wrong in [b"", ciphertext[:-1], ciphertext + b"\0"]:
        with pytest.raises(casemate.CasemateError):
            hybrid.decapsulate(ours, wrong, b"example.com/a")


@pytest.mark.parametrize("suite", ["mldsa87-p384", "mldsa65-ed25519"])
def test_both_halves_of_a_signature_must_verify(suite):
    key, other = casemate.PrivateKey.generate(suite), casemate.PrivateKey.generate(suite)
    signature = hybrid.sign(key, b"message", b"use")
    assert hybrid.verify(key.public_key, b"message", signature, b"use") is None
    # Replace either half with that of another key's signature. ML-DSA comes first.
    forged = hybrid.sign(other, b"message", b"use")
    first = {"mldsa87-p384": 4627, "mldsa65-ed25519": 3309}[suite]
    for wrong in [forged, signature[:first] + forged[first:], forged[:first] + signature[first:], b"", signature[:-1]]:
        with pytest.raises(casemate.VerificationError):
            hybrid.verify(key.public_key, b"message", wrong, b"use")
    for message, context in [(b"messag", b"use"), (b"emessage", b"us"), (b"essage", b"usem")]:
        with pytest.raises(casemate.VerificationError):
            hybrid.verify(key.public_key, message, signature, context)


def test_wrong_keys_limits_and_policies():
    kem, sign = casemate.PrivateKey.generate("mlkem768-x25519"), casemate.PrivateKey.generate("mldsa65-ed25519")
    key, ciphertext = hybrid.encapsulate(kem.public_key, b"use")
    for call, error in [
        (lambda: hybrid.encapsulate(sign.public_key, b"use"), TypeError),
        (lambda: hybrid.decapsulate(sign, ciphertext, b"use"), TypeError),
        (lambda: hybrid.sign(kem, b"m", b"use"), TypeError),
        (lambda: hybrid.verify(kem.public_key, b"m", b"", b"use"), TypeError),
        (lambda: hybrid.encapsulate(kem.public_key, bytes(256)), casemate.CasemateError),
        (lambda: hybrid.encapsulate(kem.public_key, b"use", length=8), casemate.CasemateError),
        (lambda: hybrid.encapsulate(kem.public_key, b"use", policy="cnsa2"), casemate.CasemateError),
        (lambda: hybrid.decapsulate(kem, ciphertext, b"use", policy="cnsa2"), casemate.CasemateError),
        (lambda: hybrid.sign(sign, b"m", b"use", policy="cnsa2"), casemate.CasemateError),
    ]:
        with pytest.raises(error):
            call()


@pytest.mark.skipif("CASEMATE_BIN" not in os.environ, reason="CASEMATE_BIN is not set to the casemate program")
def test_a_key_that_has_ended_neither_signs_nor_verifies(tmp_path):
    (tmp_path / "pass").write_text("correct horse\n")
    (tmp_path / "pass").chmod(0o600)

    def run(*arguments):
        command = [os.environ["CASEMATE_BIN"], "--home", tmp_path / "home", "--passphrase-file", tmp_path / "pass"]
        subprocess.run([*command, *arguments], check=True, capture_output=True)

    run("keys", "init")
    run("keys", "generate", "--name", "signer", "--kind", "sign")
    run("keys", "generate", "--name", "me", "--kind", "kem")
    opened = lambda: casemate.open_store(tmp_path / "home", passphrase=tmp_path / "pass")  # noqa: E731
    store = opened()
    signature = hybrid.sign(store.private("signer"), b"m", b"use")
    hybrid.verify(store.public("signer"), b"m", signature, b"use")
    _, ciphertext = hybrid.encapsulate(store.public("me"), b"use")
    for name in ("signer", "me"):
        run("keys", "retire", name, "--compromised")
    store = opened()
    for call in [
        lambda: hybrid.sign(store.private("signer"), b"m", b"use"),
        lambda: hybrid.verify(store.public("signer"), b"m", signature, b"use"),
        lambda: hybrid.encapsulate(store.public("me"), b"use"),
    ]:
        with pytest.raises(casemate.CasemateError, match="compromised"):
            call()
    # Earlier ciphertexts must still be decrypted.
    assert len(hybrid.decapsulate(store.private("me"), ciphertext, b"use")) == 32


def test_the_context_is_not_part_of_the_message():
    key = casemate.PrivateKey.generate("mldsa65-ed25519")
    texts = [b"", b"\0", b"a", b"aa", b"\x01a"]
    for (context, message), (other, changed) in itertools.permutations(itertools.product(texts, texts), 2):
        if len(context + message) == len(other + changed) == 2:
            with pytest.raises(casemate.VerificationError):
                hybrid.verify(key.public_key, changed, hybrid.sign(key, message, context), other)
