"""The network of the guide: its file is the example, and its commands train, infer and verify with each backend."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.model import load_model

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plugins" / "fourier-network"
GUIDE = (ROOT / "docs" / "writing-a-network.md").read_text("utf-8")
ONE_PROCESS = """
import json, sys
from ptycho_core.cli.main import main
for words in json.loads(sys.argv[1]):
    assert main(words) == 0, words
"""
MODES = "Layer 'block_1_far' has 40 modes; a picture of 16 x 16 pixels has at most 8."
JAX = ROOT / "examples" / "plugins" / "jax"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL)


def commands():
    """The guide's commands, those of ptycho."""
    (shown,) = blocks("sh")
    lines = [shlex.split(line) for line in shown.splitlines()]
    assert lines[0] == ["pip", "install", "."]
    assert {words[0] for words in lines[1:]} == {"ptycho"}
    return [words[1:] for words in lines[1:]]


@pytest.fixture
def installed(site):
    """The guide's file and entry point, installed."""
    (code,), (setup,) = blocks("python"), blocks("ini")
    (entry,) = re.findall(r"ptycho\.networks =\n    (.*)\n", setup)
    site.distribution("fourier_network", code, networks=entry)
    return site


def test_the_example_is_the_file_of_the_guide():
    assert blocks("python") == [(EXAMPLE / "fourier_network.py").read_text("utf-8")]
    assert blocks("ini") == [(EXAMPLE / "setup.cfg").read_text("utf-8")]
    assert [path.suffix for path in EXAMPLE.glob("*.py")] == [".py"]
    assert len((EXAMPLE / "fourier_network.py").read_text("utf-8").splitlines()) <= 120
    assert not re.search(r"torch|tensorflow|jax|numpy", blocks("python")[0])


def run_the_guide(site, folder, backend, *more):
    """Every command of the guide in one process, in a folder."""
    shown = [words + (["--backend", backend] if words[0] == "model" else []) for words in commands()]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PTYCHO_")}
    environment |= {
        "PYTHONPATH": os.pathsep.join(map(str, (site.folder, *more))), "PTYCHO_BACKEND": backend, "PTYCHO_THREADS": "1",
        "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PTYCHO_FIGURES": "false",
    }  # fmt: skip
    command = [sys.executable, "-c", ONE_PROCESS, json.dumps(shown)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "fourier    network  fourier-network 1.0" in done.stdout
    model = load_model(folder / "run" / "best.ptycho")
    assert model.network["name"] == "fourier"
    assert model.weights["block_1_far.weight"].shape == (2, 16, 16, 8, 4)
    assert np.any(model.weights["exit.weight"])
    return model


EACH = ["torch", pytest.param("tensorflow", marks=pytest.mark.long), pytest.param("jax", marks=pytest.mark.long)]


@pytest.mark.parametrize("backend", EACH)
def test_the_commands_of_the_guide_train_infer_and_verify(installed, tmp_path, backend):
    if backend == "jax":
        pytest.importorskip("jax", reason="JAX is not installed")
        info = installed.folder / "ptycho_jax-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ptycho-jax\nVersion: 1.0\n")
        (entry,) = re.findall(r"ptycho\.backends =\n    (.*)\n", (JAX / "setup.cfg").read_text())
        (info / "entry_points.txt").write_text(f"[ptycho.backends]\n{entry}\n")
        run_the_guide(installed, tmp_path, backend, JAX)
        return
    run_the_guide(installed, tmp_path, backend)
    if backend == "torch":
        return  # what follows hardly depends on the backend, and takes its time
    resumed = ("train", tmp_path / "scan.npz", "-o", tmp_path / "run", "--resume", "--backend", backend)
    assert "fourier_modes = 5 contradicts" in installed.refused(*resumed, "--fourier-modes", "5")
    # A model holds its layers: it infers and continues where what made them is not installed.
    bare = type(installed)(tmp_path / "bare")
    scan, run, short = str(tmp_path / "scan.npz"), str(tmp_path / "run"), ["--no-figures", "--threads", "1"]
    infer = ["infer", scan, "--model", run, "-o", str(tmp_path / "again"), *short]
    bare.all_done(backend, [infer, ["train", scan, "-o", run, "--resume", "--epochs", "4", *short]])


@pytest.mark.long
@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_a_training_that_is_resumed_ends_bit_for_bit_as_one_that_was_not(installed, tmp_path, backend):
    installed.done("simulate", tmp_path / "scan.npz", "--size", "32", "--frames", "49", "--seed", "3")
    short = ("--network", "fourier", "--fourier-width", "8", "--fourier-modes", "4", "--backend", backend, "--threads", "1")
    short = (*short, "--no-figures", "--scheduler", "constant", "--batch-size", "8")
    for name, epochs in (("whole", 4), ("parts", 2)):
        installed.done("train", tmp_path / "scan.npz", "-o", tmp_path / name, "--epochs", epochs, *short)
    installed.done("train", tmp_path / "scan.npz", "-o", tmp_path / "parts", "--resume", "--epochs", "4", "--backend", backend)
    whole, parts = (load_model(tmp_path / name / "last.ptycho") for name in ("whole", "parts"))
    assert all(np.array_equal(whole.weights[name], parts.weights[name]) for name in whole.weights)


def test_settings_that_make_no_network_are_refused_before_anything_is_computed(installed, tmp_path):
    installed.done("simulate", tmp_path / "scan.npz", "--size", "32", "--frames", "9")
    words = ("train", tmp_path / "scan.npz", "-o", tmp_path / "run", "--network", "fourier", "--backend", "torch")
    told = installed.refused(*words, "--fourier-modes", "40")
    assert "Network 'fourier' (fourier-network 1.0) cannot be built as it is asked for" in told
    assert MODES in told
    assert MODES in GUIDE
    assert not (tmp_path / "run").exists()
