"""The execution flags of ``ptycho infer --backend torch``: into the payload, the records of the run, and the run."""

from execution_flags import ExecutionFlags


class TestTheInferCommandWithPyTorch(ExecutionFlags):
    verb = "infer"
    name = "torch"
