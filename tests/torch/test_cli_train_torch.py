"""The execution flags of ``ptycho train --backend torch``: into the payload, the records of the run, and the run."""

from execution_flags import ExecutionFlags


class TestTheTrainCommandWithPyTorch(ExecutionFlags):
    verb = "train"
    name = "torch"
