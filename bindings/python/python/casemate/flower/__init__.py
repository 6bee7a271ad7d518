"""Secure aggregation in Flower: a client mod and a strategy, for Flower's message API (tested with flwr 1.42).

The server learns the mean of the clients' updates and nothing else about any of them. Two lines change::

    app = ClientApp(mods=[casemate.flower.SecureAggregation()])                           # in the client app
    strategy = casemate.flower.SecureFedAvg(context, key="./aggregator.pem", roster=...)    # in the server app

Each SuperNode names its member of the roster in its node config: ``casemate-name``, ``casemate-key``, ``casemate-roster``, ``casemate-policy`` and
``casemate-signer``, and, if it should not be in the user's state directory, ``casemate-state``. The last five are absolute paths.

The app that a SuperNode runs comes from the SuperLink: start SuperNodes with ``--trusted-entities``, so that they run apps of publishers that you trust only.
An app of the server's choice could send whatever it reads.
"""

from ._client import SecureAggregation
from ._server import SecureFedAvg

__all__ = ["SecureAggregation", "SecureFedAvg"]
