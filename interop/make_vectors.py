"""Writes `vectors/mlkem1024-x25519.json`: vectors computed with PyCA primitives, for a suite without published vectors.

usage: make_vectors.py FILE
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

LABEL = b"MLKEM1024-X25519"
COUNT = 4


def vector(number: int) -> dict[str, str]:
    """Return a key pair from a numbered seed, and an encapsulation to it with PyCA's own randomness."""
    seed = hashlib.sha256(b"casemate mlkem1024-x25519 vector %d" % number).digest()
    full = hashlib.shake_256(seed).digest(96)
    private = mlkem.MLKEM1024PrivateKey.from_seed_bytes(full[:64])
    curve = x25519.X25519PrivateKey.from_private_bytes(full[64:])
    ek_t = curve.public_key().public_bytes_raw()
    ss_m, ct_m = private.public_key().encapsulate()
    ephemeral = x25519.X25519PrivateKey.generate()
    ct_t = ephemeral.public_key().public_bytes_raw()
    ss_t = ephemeral.exchange(curve.public_key())
    secret = hashlib.sha3_256(ss_m + ss_t + ct_t + ek_t + LABEL).digest()
    public = private.public_key().public_bytes_raw() + ek_t
    return {"seed": seed.hex(), "ek": public.hex(), "ct": (ct_m + ct_t).hex(), "ss": secret.hex()}


def main() -> None:
    document = {"suite": "mlkem1024-x25519", "vectors": [vector(number) for number in range(COUNT)]}
    Path(sys.argv[1]).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
