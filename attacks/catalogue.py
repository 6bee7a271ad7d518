"""All attacks. Importing a module registers its attacks."""

from __future__ import annotations

import importlib

from judge import ATTACKS

__all__ = ["ATTACKS"]

for module in ("bytes_attacks", "tail_attacks", "signatures", "recipients", "owners", "folders", "manifests", "models"):
    importlib.import_module(module)
