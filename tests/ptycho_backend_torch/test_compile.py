"""``--opt torch.compile=true``: the network is compiled where there is a compiler, and refused where there is none."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ptycho_backend_torch.arrays import TorchArrays
from ptycho_backend_torch.planning import plan
from ptycho_core.cli.main import main
from ptycho_core.conformance.suite.every_operation import EveryOperation
from ptycho_core.contract import Device, Disposition, ExecutionRequest, ProbeReport
from ptycho_core.engine.network import Network
from ptycho_core.formats.product import load_reconstruction
from ptycho_core.model import load_model
from ptycho_core.networks import describe, initial_weights
from ptycho_core.settings.execution import ExecutionSettings

COMPILE = ["--opt", "torch.compile=true"]


def planned(verb: str = "train") -> tuple[Disposition, object]:
    request = ExecutionRequest(verb, vars(ExecutionSettings()), {}, {"compile": True}, frozenset({"torch.compile"}))
    found = plan(request, ProbeReport("2.9", (Device("cpu", "cpu"),), ("float32",)))
    return found.dispositions["torch.compile"], found.options["compile"]


def test_a_compiler_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "my-c++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "my-c++")
    assert planned() == (Disposition("applied", True), True)
    compiler.unlink()
    why = "torch.compile needs a C++ compiler on a CPU, and there is no 'my-c++'"
    assert planned() == (Disposition("unsupported", None, why), False)


def test_what_has_no_network_has_nothing_to_compile() -> None:
    answer, effective = planned("reconstruct")
    assert (answer.kind, effective) == ("unsupported", False)
    assert "serves 'reconstruct' nothing" in answer.why


def test_without_a_compiler_the_command_refuses_or_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    scan, out = str(tmp_path / "scan.npz"), str(tmp_path / "out")
    assert main(["simulate", scan, "--size", "32", "--frames", "36"]) == 0
    words = ["train", scan, "-o", out, "--backend", "torch", *COMPILE]
    assert main(words) == 4
    assert "torch.compile = True: torch.compile needs a C++ compiler on a CPU" in " ".join(capsys.readouterr().err.split())
    small = ["--epochs", "1", "--network-width", "4", "--update-steps", "1", "--quiet"]
    assert main([*words, "--allow-unsupported", *small]) == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["facts"]["compilations"] == 0


@pytest.mark.long
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="there is no C++ compiler on this machine")
def test_the_network_is_compiled_once_and_gives_the_same(tmp_path: Path) -> None:
    """One translation serves batches of 12 and 11 groups; about half a minute, nearly all of it in the compiler."""
    scan = str(tmp_path / "scan.npz")
    assert main(["simulate", scan, "--size", "32", "--frames", "35", "--photons", "1e5", "--seed", "8"]) == 0
    small = ["--epochs", "2", "--network-width", "4", "--update-steps", "2", "--batch-size", "12", "--threads", "1", "--quiet"]
    environment = dict(os.environ) | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "OMP_WAIT_POLICY": "PASSIVE"}

    def ptycho(*words: str) -> None:
        line = [sys.executable, "-m", "ptycho_core", *words, "--backend", "torch"]
        done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""

    for name, option in (("plain", []), ("compiled", COMPILE)):
        ptycho("train", scan, "-o", str(tmp_path / name), *small, *option)
        common = ["--model", str(tmp_path / "plain"), "--threads", "1", "--quiet"]
        ptycho("infer", scan, "-o", str(tmp_path / f"{name}-out"), *common, *option)
    facts = [json.loads((tmp_path / name / "metrics.json").read_text())["facts"] for name in ("plain", "compiled")]
    assert [one["compilations"] for one in facts] == [0, 1]
    plain, other = (load_model(tmp_path / name / "last.ptycho").weights for name in ("plain", "compiled"))
    for name, value in plain.items():
        assert np.linalg.norm(other[name] - value) <= 1e-4 * max(np.linalg.norm(value), 1e-3), name
    first, second = (load_reconstruction(tmp_path / f"{name}-out").object for name in ("plain", "compiled"))
    assert 0 < np.linalg.norm(second - first) <= 1e-5 * np.linalg.norm(first)


@pytest.mark.long
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_operation_of_a_network_is_the_same_when_it_is_compiled() -> None:
    description = describe(
        32, {"gridsize": 1, "update_steps": None, "output_form": "real-imaginary", "amplitude_activation": "none"},
        architecture=EveryOperation(),
    )  # fmt: skip
    random, weights, found = np.random.default_rng(0), initial_weights(description, 1), []
    weights = {name: (one + random.normal(0, 0.1, one.shape)).astype(np.float32) for name, one in weights.items()}
    given = random.standard_normal((2, 5, 32, 32))
    for translated in (False, True):
        xp = TorchArrays("cpu", torch.float32, translated=translated)
        layout = xp.layout(description)
        held = [xp.from_numpy(layout.native(name, one)).requires_grad_() for name, one in weights.items()]
        channels = Network(xp, description, layout, mixed=False)(held, xp.from_numpy(given))
        found.append([channels, *torch.autograd.grad(channels.square().sum(), held)])
    for plain, compiled in zip(*found, strict=True):
        assert torch.linalg.norm(compiled - plain) < 1e-4 * torch.linalg.norm(plain)
