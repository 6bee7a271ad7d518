"""Loads sealed model folders with ``transformers``."""

from __future__ import annotations

import json
import os
from pathlib import PurePosixPath
from typing import Any

from . import _casemate, _files, _keys, _signed, safetensors, torch

#: Suffixes of files with weights, which stay sealed.
WEIGHTS = {
    ".bin", ".ckpt", ".gguf", ".h5", ".msgpack", ".npz", ".onnx", ".ot", ".pkl", ".pt", ".pth", ".safetensors",
}  # fmt: skip
#: Maximum length of a configuration file, in bytes.
TEXT_BYTES_MAX = 256 << 20


#: Arguments for downloads, which have no meaning for a folder.
HUB = ("cache_dir", "code_revision", "force_download", "local_files_only", "mirror", "proxies", "revision", "token")
#: Arguments for the weights; all others go to the configuration first.
FOR_WEIGHTS = ("dtype", "quantization_config", "torch_dtype")


def state_dict(
    opened: _files.Folder | _signed.SignedModel,
    device: str = "cpu",
    *,
    variant: str | None = None,
    subfolder: str = "",
    use_safetensors: bool | None = None,
) -> dict[str, Any]:
    """Load the weights of a folder in the Hugging Face layout as PyTorch tensors, from one file or from shards with their index.

    ``model.safetensors`` is preferred to ``pytorch_model.bin``, which is unpickled with ``weights_only``; ``use_safetensors`` restricts the choice to one
    of them. ``variant`` is part of the file names, as in ``model.fp16.safetensors``.
    """
    for name in _weight_files(variant, use_safetensors):
        path = str(PurePosixPath(subfolder, name))
        if path not in opened:
            continue
        if not name.endswith(".json"):
            return _weights(opened, path, device)
        return _shards(opened, path, device)
    names = ", ".join(_weight_files(variant, use_safetensors))
    where = f"{subfolder!r} in the folder" if subfolder else "the folder"
    raise FileNotFoundError(f"{where} has none of the weight files {names}")


def _weight_files(variant: str | None, use_safetensors: bool | None) -> list[str]:
    dot = f".{variant}" if variant else ""
    safe = [f"model{dot}.safetensors", f"model.safetensors.index{dot}.json"]
    pickled = [f"pytorch_model{dot}.bin", f"pytorch_model.bin.index{dot}.json"]
    return (safe if use_safetensors is not False else []) + (pickled if not use_safetensors else [])


def _weights(opened: _files.Folder | _signed.SignedModel, path: str, device: str) -> dict[str, Any]:
    if path.endswith(".safetensors"):
        return safetensors.load(opened.content(path), device, framework="pt")
    return torch.load(opened.open(path), map_location=device)


def _shards(opened: _files.Folder | _signed.SignedModel, path: str, device: str) -> dict[str, Any]:
    index = json.loads(opened.open(path).read())
    weights: dict[str, Any] = {}
    for shard in sorted(set(index["weight_map"].values())):
        weights.update(_weights(opened, str(PurePosixPath(path).parent / shard), device))
    missing = set(index["weight_map"]) - set(weights)
    if missing:
        raise KeyError(f"the index lists tensors that are in no shard, such as {min(missing)!r}")
    return weights


def from_pretrained(
    auto_class: Any,
    root: str | os.PathLike[str] | _files.Folder | _signed.SignedModel,
    *,
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    min_revision: int | None = None,
    policy: _keys.PathLike | None = None,
    **arguments: Any,
) -> Any:
    """Call ``auto_class.from_pretrained`` for a sealed folder, as in ``from_pretrained(AutoModelForCausalLM, "model.sealed", ...)``.

    ``root`` may also be the result of :func:`casemate.open_folder` or :func:`casemate.open_signed`; pass the expected signer there. Other arguments are
    those of ``from_pretrained``: ``variant``, ``subfolder``, ``dtype``, and those that change the configuration, such as ``num_labels``.

    Weights are decrypted directly into memory. transformers needs paths for configuration and tokenizer files, so these are stored during the call in
    a folder in memory (``$XDG_RUNTIME_DIR`` or ``/dev/shm``) that only its owner can read. Models with their own code are refused; use ``casemate mount`` for
    them.

    Raises the errors of :func:`casemate.open_folder` and ``from_pretrained``.
    """
    if arguments.pop("trust_remote_code", False):
        raise ValueError("cannot load a model with its own code this way; use `casemate mount`")
    if isinstance(root, (_files.Folder, _signed.SignedModel)):
        _files.refuse_terms(
            keys=keys,
            signer=signer,
            allow_unknown_signer=allow_unknown_signer,
            min_revision=min_revision,
            policy=policy,
        )
        opened = root
    else:
        opened = _files.open_folder(
            root,
            keys=keys,
            signer=signer,
            allow_unknown_signer=allow_unknown_signer,
            min_revision=1 if min_revision is None else min_revision,
            policy=policy,
        )
    texts = [path for path in opened.files if _is_text(opened, path)]
    with _casemate.MemoryFolder(sum(opened.size(path) for path in texts)) as memory:
        folder = os.fspath(memory)
        for path in texts:
            place = os.path.join(folder, path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "xb") as file:
                file.write(opened.open(path).read())
        if not _takes_weights(auto_class):
            return auto_class.from_pretrained(folder, trust_remote_code=False, **arguments)
        for name in HUB:
            arguments.pop(name, None)
        if arguments.get("gguf_file") is not None:
            raise ValueError("cannot load GGUF files this way; use `casemate mount`")
        chosen = {name: arguments.pop(name, None) for name in ("variant", "use_safetensors")}
        subfolder = arguments.pop("subfolder", None) or ""
        if subfolder and not any(path.startswith(f"{subfolder.strip('/')}/") for path in opened.files):
            raise FileNotFoundError(f"the folder has no subfolder {subfolder!r}")
        arguments.pop("weights_only", None)
        place = os.path.join(folder, subfolder)
        config, arguments = _configured(auto_class, place, arguments)
        generation = _generation_config(place)
    weights = state_dict(opened, subfolder=subfolder, **chosen)
    model_class, config = _model_class(auto_class, config)
    loaded = model_class.from_pretrained(None, config=config, state_dict=weights, trust_remote_code=False, **arguments)
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    if opened is not root:
        # transformers takes the name from a path, but it was given none.
        model.name_or_path = model.config.name_or_path = os.fspath(root)
    if generation is not None and getattr(model, "generation_config", None) is not None:
        model.generation_config = generation
    return loaded


def _configured(auto_class: Any, folder: str, arguments: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the configuration, changed by its arguments, and the remaining arguments."""
    from transformers import AutoConfig

    config = arguments.pop("config", None)
    if config is not None and not isinstance(config, (str, os.PathLike)):
        return config, arguments
    kept = {name: arguments.pop(name) for name in FOR_WEIGHTS if name in arguments}
    config_class = getattr(auto_class, "config_class", None) or AutoConfig
    if config_class is AutoConfig:
        arguments["trust_remote_code"] = False
    config, rest = config_class.from_pretrained(
        folder if config is None else config, return_unused_kwargs=True, **arguments
    )
    rest.pop("trust_remote_code", None)
    return config, {**rest, **kept}


def _is_text(opened: Any, path: str) -> bool:
    return PurePosixPath(path).suffix not in WEIGHTS and opened.size(path) <= TEXT_BYTES_MAX


def _generation_config(folder: str) -> Any:
    if not os.path.exists(os.path.join(folder, "generation_config.json")):
        return None
    from transformers import GenerationConfig

    return GenerationConfig.from_pretrained(folder)


def _model_class(auto_class: Any, config: Any) -> tuple[Any, Any]:
    """Return the class that an auto class stands for, and its configuration: for a multimodal model, possibly only the text part."""
    from transformers.models.auto.auto_factory import _BaseAutoModelClass, _get_model_class

    if not issubclass(auto_class, _BaseAutoModelClass):
        return auto_class, config
    if type(config) not in auto_class._model_mapping:
        raise ValueError(f"{auto_class.__name__} has no model class for {type(config).__name__}")
    model_class = _get_model_class(config, auto_class._model_mapping)
    text_class = config.sub_configs.get("text_config")
    if text_class is None or getattr(model_class, "config_class", None) is not text_class:
        return model_class, config
    text = config.get_text_config()
    quantization = getattr(config, "quantization_config", None)
    if quantization is not None:
        text.quantization_config = quantization
    return model_class, text


def _takes_weights(auto_class: Any) -> bool:
    """Return whether the class is a model, not a tokenizer, a processor or a configuration."""
    from transformers import PreTrainedModel
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

    return isinstance(auto_class, type) and issubclass(auto_class, (PreTrainedModel, _BaseAutoModelClass))
