"""Protected training with ``torch.distributed``.

===========================================  ===========================================
train like ``DistributedDataParallel``       :class:`MaskedAllReduce`
send tensors from one rank to another        :class:`ProcessGroupLink`, with a
                                             :class:`casemate.train.GradientChannel`
===========================================  ===========================================
"""

from ._all_reduce import MaskedAllReduce
from ._process_group import ProcessGroupLink

__all__ = ["MaskedAllReduce", "ProcessGroupLink"]
