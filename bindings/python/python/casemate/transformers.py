"""Sealed model folders in ``transformers``."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import PurePosixPath
from typing import Any

from . import _casemate, _files, _keys, _signed, safetensors

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
#: Endings of files that hold weights, which stay sealed.
WEIGHTS = {
    ".bin", ".ckpt", ".gguf", ".h5", ".msgpack", ".npz", ".onnx", ".ot", ".pkl", ".pt", ".pth", ".safetensors",
}  # fmt: skip
#: Longest text file that is read as configuration, in bytes.
TEXT_BYTES_MAX = 256 << 20


def state_dict(directory: _files.Directory | _signed.SignedModel, device: str = "cpu") -> dict[str, Any]:
    """The weights of a folder in the Hugging Face layout, as PyTorch tensors: one file, or shards with their index."""
    if SINGLE in directory:
        return safetensors.load(directory.content(SINGLE), device, framework="pt")
    if INDEX not in directory:
        raise FileNotFoundError(f"the folder has neither {SINGLE} nor {INDEX}")
    index = json.loads(directory.open(INDEX).read())
    shards = sorted(set(index["weight_map"].values()))
    weights: dict[str, Any] = {}
    for shard in shards:
        weights.update(safetensors.load(directory.content(shard), device, framework="pt"))
    missing = set(index["weight_map"]) - set(weights)
    if missing:
        raise KeyError(f"the index names tensors that no shard has, such as {min(missing)!r}")
    return weights


def from_pretrained(
    auto_class: Any,
    root: str | os.PathLike[str] | _files.Directory | _signed.SignedModel,
    *,
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    min_revision: int = 1,
    policy: str | None = None,
    **arguments: Any,
) -> Any:
    """``auto_class.from_pretrained`` of a sealed folder, as in ``from_pretrained(AutoModelForCausalLM, "model.sealed", ...)``.

    ``root`` may also be what :func:`casemate.open_directory` or :func:`casemate.open_signed` gave.

    Weights go from the artifacts into memory. Configuration and tokenizer files, without the weights, are for the time of the call in a folder in
    memory (``$XDG_RUNTIME_DIR`` or ``/dev/shm``) that only the owner can read, because transformers takes paths. Models that bring their own code are refused:
    mount the folder for them.

    Raises as :func:`casemate.open_directory`, and as ``from_pretrained``.
    """
    if arguments.pop("trust_remote_code", False):
        raise ValueError("models with code of their own do not load this way: use `casemate mount`")
    if isinstance(root, (_files.Directory, _signed.SignedModel)):
        directory = root
    else:
        directory = _files.open_directory(
            root,
            keys=keys,
            signer=signer,
            allow_unknown_signer=allow_unknown_signer,
            min_revision=min_revision,
            policy=policy,
        )
    texts = [path for path in directory.files if _is_text(directory, path)]
    memory = _casemate.memory_folder(sum(directory.size(path) for path in texts))
    with tempfile.TemporaryDirectory(prefix="casemate-", dir=memory) as folder:
        for path in texts:
            place = os.path.join(folder, path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "xb") as file:
                file.write(directory.open(path).read())
        if not _takes_weights(auto_class):
            return auto_class.from_pretrained(folder, trust_remote_code=False, **arguments)
        config = arguments.pop("config", None)
        if config is None:
            from transformers import AutoConfig

            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        generation = _generation_config(folder)
    weights = state_dict(directory)
    model = _model_class(auto_class, config).from_pretrained(
        None, config=config, state_dict=weights, trust_remote_code=False, **arguments
    )
    if generation is not None and getattr(model, "generation_config", None) is not None:
        model.generation_config = generation
    return model


def _is_text(directory: Any, path: str) -> bool:
    return PurePosixPath(path).suffix not in WEIGHTS and directory.size(path) <= TEXT_BYTES_MAX


def _generation_config(folder: str) -> Any:
    if not os.path.exists(os.path.join(folder, "generation_config.json")):
        return None
    from transformers import GenerationConfig

    return GenerationConfig.from_pretrained(folder)


def _model_class(auto_class: Any, config: Any) -> Any:
    """The class that an auto class stands for."""
    from transformers.models.auto.auto_factory import _BaseAutoModelClass, _get_model_class

    if not issubclass(auto_class, _BaseAutoModelClass):
        return auto_class
    if type(config) not in auto_class._model_mapping:
        raise ValueError(f"{auto_class.__name__} has no model for {type(config).__name__}")
    return _get_model_class(config, auto_class._model_mapping)


def _takes_weights(auto_class: Any) -> bool:
    """Whether it is a model, not a tokenizer, a processor or a configuration."""
    from transformers import PreTrainedModel
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

    return isinstance(auto_class, type) and issubclass(auto_class, (PreTrainedModel, _BaseAutoModelClass))
