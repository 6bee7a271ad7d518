"""Protected training: channels for gradients between the members of a job.

=================================  ===========================================================
name the members of a job          :func:`sign_roster`, :func:`open_roster`
send tensors to another member     :class:`GradientChannel`
over a socket or queues            :class:`SocketLink`, :class:`QueueLink`
over ``torch.distributed``         :class:`casemate.train.torch.ProcessGroupLink`
=================================  ===========================================================

A handshake with hybrid keys proves both ends to each other; everything after it is encrypted with AES-256-GCM. ``spec/training.md`` specifies the bytes.
"""

from .._casemate import Roster
from ._channel import GradientChannel
from ._links import Link, QueueLink, SocketLink
from ._roster import open_roster, sign_roster

__all__ = ["GradientChannel", "Link", "QueueLink", "Roster", "SocketLink", "open_roster", "sign_roster"]
