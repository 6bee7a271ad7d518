"""Runs one job of another library on a file and prints how long the job itself took, without starting Python and importing.

    python others.py JOB INPUT OUTPUT
"""

from __future__ import annotations

import base64
import mmap
import os
import sys
import time
from pathlib import Path


def warm_memory(size: int) -> None:
    """Touches as much memory as a job needs, and gives it back.

    The host of a virtual machine takes free memory back within seconds and finds it again page by page when it is touched, which costs more
    than all the cryptography. Where the memory of a job comes from is no merit of the job. Huge pages, because those are not made of small
    ones that have just been freed, while small ones are made of huge ones.
    """
    block = bytes(1 << 22)
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, size - len(block), len(block)):
            memory[at : at + len(block)] = block


def begin(source: str) -> float:
    """The time when a job starts that needs as much memory as a file is long."""
    warm_memory(os.path.getsize(source))
    return time.perf_counter()


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
    start = begin(source)
    cryptotensors.torch.save_file(tensors, target, config=config.to_dict())
    return time.perf_counter() - start


def casemate_trust(home: str, password: str) -> dict[str, object]:
    import casemate

    store = casemate.open_store(home, passphrase=Path(password))
    return {"keys": store.private("model"), "signer": store.public("publisher"), "sign": store.private("publisher")}


def casemate_save(source: str, target: str, home: str, password: str) -> float:
    import casemate.safetensors
    import safetensors.torch

    tensors = safetensors.torch.load_file(source)
    # What is only mapped has not been read.
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    trust = casemate_trust(home, password)
    start = begin(source)
    casemate.safetensors.save_file(tensors, target, to=trust["keys"], sign=trust["sign"])
    return time.perf_counter() - start


def casemate_load(source: str, _: str, home: str, password: str) -> float:
    import casemate.safetensors
    import torch  # noqa: F401 - its import is not what is measured

    trust = casemate_trust(home, password)
    start = begin(source)
    tensors = casemate.safetensors.load_file(source, framework="pt", keys=trust["keys"], signer=trust["signer"])
    for tensor in tensors.values():
        tensor.view(-1)[:: max(1, 2048 // tensor.element_size())].sum()
    return time.perf_counter() - start


def cryptotensors_load(source: str, _: str) -> float:
    import cryptotensors
    import cryptotensors.torch

    content, signer = cryptotensors_keys()
    cryptotensors.register_direct_key_provider(keys=[content, signer])
    start = begin(source)
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
    start = begin(source)
    pyrage.encrypt_file(source, target, [recipient])
    return time.perf_counter() - start


def rage_decrypt(source: str, target: str) -> float:
    import pyrage

    identity = rage_identity(source)
    start = begin(source)
    pyrage.decrypt_file(source, target, [identity])
    return time.perf_counter() - start


JOBS = {
    "warm": lambda size: warm_memory(int(size)),
    "casemate-save": casemate_save,
    "casemate-load": casemate_load,
    "cryptotensors-save": cryptotensors_save,
    "cryptotensors-load": cryptotensors_load,
    "rage-encrypt": rage_encrypt,
    "rage-decrypt": rage_decrypt,
}

if __name__ == "__main__":
    print(JOBS[sys.argv[1]](*sys.argv[2:]))
