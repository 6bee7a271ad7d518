"""All attacks: importing a module registers what is in it."""

from __future__ import annotations

import importlib

from judge import ATTACKS

__all__ = ["ATTACKS"]

for module in ("bytes_attacks", "tail_attacks", "signatures", "recipients", "owners", "folders", "manifests", "models"):
    importlib.import_module(module)
