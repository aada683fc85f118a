"""The execution flags of ``ptycho train --backend tensorflow``: into the payload, the records of the run, and the run."""

from execution_flags import ExecutionFlags


class TestTheTrainCommandWithTensorFlow(ExecutionFlags):
    verb = "train"
    name = "tensorflow"
