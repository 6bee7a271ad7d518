"""Runs one job of another library on a file and prints how long the job itself took, without starting Python and importing.

    python others.py JOB INPUT OUTPUT
"""

from __future__ import annotations

import base64
import sys
import time


def cryptotensors_keys() -> tuple[dict[str, str], dict[str, str]]:
    """A content key and a signing key, always the same: nothing is protected here."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    def text(value: bytes) -> str:
        return base64.b64encode(value).decode()

    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = private.public_key().public_bytes_raw()
    content = {"kty": "oct", "kid": "content", "alg": "aes256gcm", "k": text(bytes(32))}
    return content, {"kty": "okp", "kid": "signer", "alg": "ed25519", "crv": "Ed25519", "d": text(bytes(range(32))), "x": text(public)}


def cryptotensors_save(source: str, target: str) -> float:
    """The whole model is in memory before: it has no way from file to file."""
    import cryptotensors
    import cryptotensors.torch
    import safetensors.torch

    tensors = {name: tensor.clone() for name, tensor in safetensors.torch.load_file(source).items()}
    content, signer = cryptotensors_keys()
    config = cryptotensors.SerializeCryptoConfig(enc_key=content, sign_key=signer)
    start = time.perf_counter()
    cryptotensors.torch.save_file(tensors, target, config=config.to_dict())
    return time.perf_counter() - start


def casemate_trust(home: str, password: str) -> dict[str, object]:
    import casemate

    store = casemate.open_store(home, passphrase=password)
    return {"keys": store.private("model"), "signer": store.public("publisher"), "sign": store.private("publisher")}


def casemate_save(source: str, target: str, home: str, password: str) -> float:
    import casemate.safetensors
    import safetensors.torch

    tensors = safetensors.torch.load_file(source)
    # What is only mapped has not been read.
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    trust = casemate_trust(home, password)
    start = time.perf_counter()
    casemate.safetensors.save_file(tensors, target, to=trust["keys"], sign=trust["sign"])
    return time.perf_counter() - start


def casemate_load(source: str, _: str, home: str, password: str) -> float:
    import casemate.safetensors
    import torch  # noqa: F401 - its import is not what is measured

    trust = casemate_trust(home, password)
    start = time.perf_counter()
    tensors = casemate.safetensors.load_file(source, framework="pt", keys=trust["keys"], signer=trust["signer"])
    for tensor in tensors.values():
        tensor.view(-1)[:: max(1, 2048 // tensor.element_size())].sum()
    return time.perf_counter() - start


def cryptotensors_load(source: str, _: str) -> float:
    import cryptotensors
    import cryptotensors.torch

    content, signer = cryptotensors_keys()
    cryptotensors.register_direct_key_provider(keys=[content, signer])
    start = time.perf_counter()
    tensors = cryptotensors.torch.load_file(source)
    # What is only mapped has not been read.
    for tensor in tensors.values():
        tensor.view(-1)[:: max(1, 2048 // tensor.element_size())].sum()
    return time.perf_counter() - start


def rage_identity(target: str):
    import pyrage

    path = target + ".identity"
    try:
        with open(path) as file:
            return pyrage.x25519.Identity.from_str(file.read())
    except FileNotFoundError:
        identity = pyrage.x25519.Identity.generate()
        with open(path, "w") as file:
            file.write(str(identity))
        return identity


def rage_encrypt(source: str, target: str) -> float:
    import pyrage

    recipient = rage_identity(target).to_public()
    start = time.perf_counter()
    pyrage.encrypt_file(source, target, [recipient])
    return time.perf_counter() - start


def rage_decrypt(source: str, target: str) -> float:
    import pyrage

    identity = rage_identity(source)
    start = time.perf_counter()
    pyrage.decrypt_file(source, target, [identity])
    return time.perf_counter() - start


JOBS = {
    "casemate-save": casemate_save,
    "casemate-load": casemate_load,
    "cryptotensors-save": cryptotensors_save,
    "cryptotensors-load": cryptotensors_load,
    "rage-encrypt": rage_encrypt,
    "rage-decrypt": rage_decrypt,
}

if __name__ == "__main__":
    print(JOBS[sys.argv[1]](*sys.argv[2:]))
