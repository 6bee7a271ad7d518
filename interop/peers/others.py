"""Runs one job of another library on a file and prints the time of the job, without startup and imports.

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
    """Touch as much memory as a job needs, and free it.

    The host of a virtual machine reclaims free memory within seconds and returns it page by page when it is touched, which costs more than all the
    cryptography and must not be counted as part of the job. The memory uses huge pages: the kernel splits huge pages into small ones, but does not
    merge freshly freed small pages into huge ones.
    """
    block = bytes(1 << 22)
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, size - len(block), len(block)):
            memory[at : at + len(block)] = block


def begin(source: str) -> float:
    """Prepare the memory for a job on a file, and return the start time."""
    warm_memory(os.path.getsize(source))
    return time.perf_counter()


def cryptotensors_keys() -> tuple[dict[str, str], dict[str, str]]:
    """Return a fixed content key and signing key, for measurements only."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    def text(value: bytes) -> str:
        return base64.b64encode(value).decode()

    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = private.public_key().public_bytes_raw()
    content = {"kty": "oct", "kid": "content", "alg": "aes256gcm", "k": text(bytes(32))}
    return content, {"kty": "okp", "kid": "signer", "alg": "ed25519", "crv": "Ed25519", "d": text(bytes(range(32))), "x": text(public)}


def cryptotensors_save(source: str, target: str) -> float:
    """Save a model that is already in memory; the library cannot work from file to file."""
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
    # Touch the data: mapped memory has not been read yet.
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
    # Touch the data: mapped memory has not been read yet.
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
