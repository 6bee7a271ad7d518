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
    policy: str | None = None,
    **arguments: Any,
) -> Any:
    """An :class:`onnxruntime.InferenceSession` of a sealed model, which is decrypted into memory only.

    ``model`` is what :func:`casemate.open_artifact` takes, or a file that is open (:func:`casemate.open_signed`). A model with external data needs the files it names on a path: mount the sealed folder
    with ``casemate mount`` and give ONNX Runtime the mounted path. Raises as :func:`casemate.open_artifact`.
    """
    import onnxruntime

    opened = _files.content_of(model, keys, signer, allow_unknown_signer, policy)
    content = opened.read_at(0, opened.size)
    return onnxruntime.InferenceSession(content, sess_options, **arguments)
