"""ONNX Runtime sessions from sealed models."""

from __future__ import annotations

from typing import Any

from . import _files, _keys


def inference_session(
    model: Any,
    sess_options: Any = None,
    *,
    keys: _keys.Keys = None,
    signer: _keys.Signers = None,
    allow_unknown_signer: bool = False,
    policy: _keys.PathLike | None = None,
    **arguments: Any,
) -> Any:
    """Create an :class:`onnxruntime.InferenceSession` from a sealed model, which is decrypted only into memory.

    ``model`` is anything that :func:`casemate.open_artifact` accepts, or an open file (:func:`casemate.open_signed`). A model with external data needs its
    files at a path: mount the sealed folder with ``casemate mount`` and pass the mounted path to ONNX Runtime. Raises the errors of
    :func:`casemate.open_artifact`.
    """
    import onnxruntime

    opened = _files.content_of(model, keys, signer, allow_unknown_signer, policy)
    content = opened.read_at(0, opened.size)
    return onnxruntime.InferenceSession(content, sess_options, **arguments)
