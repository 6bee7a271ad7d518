"""Sealed AI models: hybrid post-quantum encryption that loads like plain files.

====================================  =======================================================
seal a file, bytes or arrays          :func:`seal`
open it as a file object              :func:`open`, or :func:`open_artifact` for reads at an offset
seal and open a folder                :func:`seal_folder`, :func:`open_folder`
sign a model without sealing it       :func:`sign`, :func:`open_signed`
change the recipients                 :func:`rewrap`
keys and signatures for other formats :mod:`casemate.hybrid`
safetensors                           :mod:`casemate.safetensors`
PyTorch, distributed checkpoints      :mod:`casemate.torch`, :mod:`casemate.checkpoint`
checkpoints of Trainer and Accelerate :mod:`casemate.trainer`, :mod:`casemate.accelerate`
ONNX Runtime, transformers, fsspec    :mod:`casemate.onnx`, :mod:`casemate.transformers`, :mod:`casemate.fsspec`
training data, and what was used      :mod:`casemate.data`, :mod:`casemate.lineage`
training over networks                :mod:`casemate.train`, :mod:`casemate.train.torch`, :mod:`casemate.flower`
====================================  =======================================================

Pass keys to each call, or once to :func:`configure`. To open content, pass the publisher's public key as ``signer=``. Content that is signed by
another key is refused before any of it is decrypted.
"""

from ._casemate import (
    CasemateError,
    KeyStore,
    KeyStoreError,
    NotARecipientError,
    PrivateKey,
    PublicKey,
    TrustList,
    VerificationError,
    __version__,
)
from ._files import (
    Folder,
    SealedFile,
    SignedFile,
    inspect,
    open,
    open_artifact,
    open_folder,
)
from ._keys import configure, open_store
from ._rewrap import Rewrapped, rewrap
from ._seal import seal, seal_folder
from ._signed import SignedModel, open_signed, sign

__all__ = [
    "CasemateError",
    "Folder",
    "KeyStore",
    "KeyStoreError",
    "NotARecipientError",
    "PrivateKey",
    "PublicKey",
    "Rewrapped",
    "SealedFile",
    "SignedFile",
    "SignedModel",
    "TrustList",
    "VerificationError",
    "__version__",
    "configure",
    "inspect",
    "open",
    "open_artifact",
    "open_folder",
    "open_signed",
    "open_store",
    "rewrap",
    "seal",
    "seal_folder",
    "sign",
]
