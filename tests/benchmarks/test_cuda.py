"""The script that compares a GPU with the CPU: two processes on the CPU are equal, and what is wrong is said."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.errors import CapabilityError

KEY = ("simulated", "float32", "infer")


@pytest.fixture(scope="module")
def cuda():
    """The script, its folder on the path as it is when it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        return importlib.import_module("cuda")


@pytest.mark.long
def test_every_verb_on_the_cpu_is_equal_in_two_processes(cuda, capsys):
    assert cuda.main(["--device", "cpu", "--small", "--backends", "torch"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  simulated")]
    assert len(rows) == len(cuda.VERBS) * 2
    assert all(" 0.0e+00 / 0.0e+00 (" in row for row in rows)


def test_a_difference_above_its_limit_and_a_failure_are_wrong_and_named(cuda):
    def gave(value):
        return {"found": {"object": np.array([value])}, "seconds": 1.0, "MB": None}

    most = cuda.limits("float32")["infer"]
    assert cuda.row(KEY, gave(1.0), gave(1 + most["object"] / 2), most)[1]
    line, right = cuda.row(KEY, gave(1.0), gave(1 + most["object"] * 2), most)
    assert not right
    assert "2.0e-04 / 1.0e-04 ABOVE (object)" in line
    line, right = cuda.row(KEY, gave(1.0), CapabilityError("no such thing."), most)
    assert not right
    assert "failed on the device: no such thing." in line


def test_a_machine_without_cuda_is_said_to_have_none(cuda, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert cuda.main(["--small", "--backends", "torch"]) == 1
    assert "torch: nothing is compared, as it cannot compute on cuda here" in capsys.readouterr().out
