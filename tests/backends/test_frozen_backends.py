"""Two backends of contract 1.0 that nobody edits, installed and run for real by the core of today."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.formats.product import load_reconstruction
from ptycho_core.model import load_model

FROZEN = Path(__file__).parents[1] / "frozen"
PLUGINS = {"frozen_bare": "plugin", "frozen_classic": "plugin:backend"}
SCRIPT = """
import json, sys
import numpy as np
from ptycho_core import contract, evaluate
job = contract.EvaluateJob(
    object=np.ones((8, 8), complex), probe=np.ones((1, 8, 8), complex), positions=np.zeros((2, 2)),
    counts=np.full((2, 8, 8), 3.0), mask=np.ones((8, 8), bool), background=np.ones((8, 8)), weights={"nll": 2.0}, gradients=True,
)
answer = evaluate(job, backend=sys.argv[1], precision="float32")
print(json.dumps([float(answer.intensities.mean()), dict(answer.losses), sorted(answer.gradients)]))
"""


def test_they_are_what_they_were():
    sums = dict(reversed(line.split()) for line in (FROZEN / "SHA256SUMS").read_text().splitlines())
    files = [path for short in ("bare", "classic") for kind in ("*.py", "*.toml") for path in (FROZEN / short).rglob(kind)]
    found = {str(path.relative_to(FROZEN)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert found == sums, "A frozen backend was edited. Restore it: if the core no longer runs it, the core broke the contract."


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs Python where both are installed, in a folder with a scan."""
    site, work = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("work")
    for package, value in PLUGINS.items():
        shutil.copytree(FROZEN / package.removeprefix("frozen_") / package, site / package)
        info = site / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ptycho.backends]\n{package} = {package}.{value}\n")
    environment = {key: item for key, item in os.environ.items() if not key.startswith("PTYCHO_")} | {"PYTHONPATH": str(site)}

    def run(*words, status=0):
        done = subprocess.run(
            [sys.executable, *map(str, words)], cwd=work, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == status, done.stderr
        return done

    run("-m", "ptycho_core", "simulate", "scan.npz", "--size", "32", "--frames", "25", "--photons", "1e4")
    run.folder = work
    return run


@pytest.mark.parametrize("name", PLUGINS)
def test_each_is_sound(run, name):
    row = json.loads(run("-m", "ptycho_core", "backends", "doctor", name, "--json").stdout)[0]
    assert (row["state"], row["reason"]) == ("ok", "")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("frozen_bare", [3.0, {"amplitude": 0.0}, []]),
        ("frozen_classic", [4.0, {"nll": 2.0}, ["object", "positions"]]),
    ],
)
def test_each_evaluates(run, name, expected):
    assert json.loads(run("-c", SCRIPT, name).stdout) == expected


def test_all_of_reconstruct(run):
    words = ("--refine-positions", "--background", "constant", "--accelerator", "cpu", "--threads", "2")
    options = ("brightness=3", "sweeps=4", "mirror=true", "flavour=rich", "remark=so it is")
    given = [word for option in options for word in ("--opt", f"frozen_classic.{option}")]
    done = run("-m", "ptycho_core", "reconstruct", "scan.npz", "-o", "image", "--backend", "frozen_classic", *words, *given)
    found = load_reconstruction(run.folder / "image")
    assert len(found.history) == 4
    assert np.array_equal(found.held_out, [0, 1])
    assert found.background is not None
    told = {name: found.facts[name] for name in ("flavour", "remark", "environment", "device")}
    assert told == {"flavour": "rich", "remark": "so it is", "environment": "set", "device": "cpu:0"}
    settings = json.loads((run.folder / "image" / "settings.json").read_text())["settings"]
    assert settings["threads"]["disposition"]["kind"] == "adjusted"
    assert settings["frozen_classic.brightness"]["effective"] == 3
    assert "it was quick" in done.stderr
    unknown = ("--object-alpha", "0.1", "--backend", "frozen_classic")
    refused = run("-m", "ptycho_core", "reconstruct", "scan.npz", "-o", "image2", *unknown, status=4)
    assert "object_alpha = 0.1: it is not looked at. (from --object-alpha 0.1)" in refused.stderr


def test_train_and_infer(run):
    quick = ("--epochs", "2", "--backend", "frozen_classic", "--precision", "float64")
    run("-m", "ptycho_core", "train", "scan.npz", "-o", "net", *quick)
    assert [row["loss"] for row in load_model(run.folder / "net" / "best.ptycho").history] == [0.5, 0.25]
    run("-m", "ptycho_core", "train", "scan.npz", "-o", "net", "--resume", "--epochs", "3", *quick[2:])
    assert len(load_model(run.folder / "net" / "last.ptycho").history) == 3
    run("-m", "ptycho_core", "infer", "scan.npz", "--model", "net", "-o", "seen", "--backend", "frozen_classic")
    assert np.isfinite(load_reconstruction(run.folder / "seen").object).all()
