"""What TensorFlow decides once for a process: its threads, its messages; and the plan that says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from ptycho_backend_tensorflow.devices import configured, threads_in_use
from ptycho_backend_tensorflow.planning import plan
from ptycho_backend_tensorflow.starting import without_start_messages
from ptycho_core.contract import Device, Disposition, ExecutionPlan, ExecutionRequest, ProbeReport

PROBE = ProbeReport("2.21", (Device("cpu", "cpu"),), ("float32", "float64", "bf16-mixed"))


def request(**execution) -> ExecutionRequest:
    values = {"accelerator": "cpu", "precision": "float32", "threads": None, "deterministic": "on"} | execution
    return ExecutionRequest("reconstruct", values, {}, {}, frozenset(execution))


def fresh(code: str) -> str:
    """What a separate process prints."""
    environment = dict(os.environ) | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=True)
    return done.stdout


def test_threads_that_already_run_are_told_and_planned() -> None:
    with configured(ExecutionPlan("cpu", {"threads": 1}, {}, {})):
        tf.zeros(1)
    running = threads_in_use()
    assert running is not None
    answer = plan(request(threads=running + 3), PROBE)
    assert answer.execution["threads"] == running
    assert answer.dispositions["threads"].kind == "adjusted"
    assert "at the first operation" in answer.dispositions["threads"].why
    assert plan(request(threads=running), PROBE).dispositions["threads"] == Disposition("applied", running)
    assert plan(request(), PROBE).execution["threads"] == running


def test_a_probe_starts_nothing_and_a_job_in_a_new_process_gets_its_threads(tmp_path: Path) -> None:
    code = f"""
import json
from ptycho_core.cli.main import main
from ptycho_backend_tensorflow.plugin import ptycho_probe
ptycho_probe()
from ptycho_backend_tensorflow.devices import threads_in_use
before = threads_in_use()
assert main(["simulate", {str(tmp_path / "s.npz")!r}, "--size", "32", "--frames", "36"]) == 0
quick = ["--backend", "tensorflow", "--epochs", "1", "--iterations", "1", "--quiet"]
strict = ["--threads", "3", "--deterministic=strict"]
assert main(["reconstruct", {str(tmp_path / "s.npz")!r}, "-o", {str(tmp_path / "out")!r}, *strict, *quick]) == 0
again = ["--no-deterministic", "--overwrite"]
assert main(["reconstruct", {str(tmp_path / "s.npz")!r}, "-o", {str(tmp_path / "again")!r}, *again, *quick]) == 0
print(json.dumps([before, threads_in_use()]))
"""
    assert json.loads(fresh(code).splitlines()[-1]) == [None, 3]
    first, second = (json.loads((tmp_path / name / "settings.json").read_text())["settings"] for name in ("out", "again"))
    assert first["threads"]["effective"] == second["threads"]["effective"] == 3
    assert (first["deterministic"]["effective"], first["deterministic"]["disposition"]["kind"]) == ("strict", "applied")
    assert second["deterministic"]["effective"] == "strict"
    assert second["deterministic"]["disposition"]["kind"] == "adjusted"
    assert "an earlier job of this process wanted it" in second["deterministic"]["disposition"]["why"]


def test_on_a_cpu_what_is_deterministic_anyway_is_said_to_be_so() -> None:
    answer = plan(request(deterministic="off"), PROBE)
    assert answer.execution["deterministic"] == "on"
    assert "in any case" in answer.dispositions["deterministic"].why
    assert plan(request(deterministic="strict"), PROBE).dispositions["deterministic"] == Disposition("applied", "strict")


def test_on_a_gpu_there_is_one_deterministic_mode() -> None:
    on_gpu = ProbeReport("2.21", (*PROBE.devices, Device("cuda", "gpu:0")), PROBE.precisions)
    answers = {word: plan(request(deterministic=word, accelerator="cuda"), on_gpu) for word in ("off", "on", "strict")}
    assert [answer.execution["deterministic"] for answer in answers.values()] == ["off", "strict", "strict"]
    kinds = [answer.dispositions["deterministic"].kind for answer in answers.values()]
    assert kinds == ["applied", "adjusted", "applied"]


@pytest.mark.parametrize("threads", [1, 3])
def test_two_runs_are_equal_bit_by_bit(threads: int, tmp_path: Path) -> None:
    code = f"""
import numpy as np, ptycho_core
from ptycho_core.cli.main import main
path = {str(tmp_path / "s.npz")!r}
assert main(["simulate", path, "--size", "32", "--frames", "64"]) == 0
settings = dict(threads={threads}, epochs=5, iterations=3, modes=2, refine_positions=True, background="pixel")
first, second = (ptycho_core.reconstruct(path, backend="tensorflow", **settings) for _ in range(2))
print(all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("object", "probe", "positions", "background")))
"""
    assert fresh(code).splitlines()[-1] == "True"


def test_what_tensorflow_says_on_starting_is_held_back_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    with without_start_messages():
        os.write(2, b"I0000 00:00:1795519017.420634    7186 port.cc:153] oneDNN custom operations are on.\nsomething else\n")
        os.write(2, b"2026-01-02 03:04:05.678901: W tensorflow/stream.cc:1] old\n")
        print("from Python", file=sys.stderr)
    assert sorted(capfd.readouterr().err.splitlines()) == ["from Python", "something else"]


def test_where_starting_fails_all_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        os.write(2, b"E0000 00:00:1795519017.420634    7186 cuda.cc:52] why\n")
        raise ImportError("broken")

    with pytest.raises(ImportError, match="broken"), without_start_messages():
        fail()
    assert "cuda.cc:52] why" in capfd.readouterr().err
