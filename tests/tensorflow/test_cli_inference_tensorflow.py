"""The execution flags of ``ptycho infer --backend tensorflow``: into the payload, the records of the run, and the run."""

from execution_flags import ExecutionFlags


class TestTheInferCommandWithTensorFlow(ExecutionFlags):
    verb = "infer"
    name = "tensorflow"
