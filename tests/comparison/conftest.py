"""A small scan with known truth, backends that behave as told, and the command line in a separate process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ptycho_core.cli.main import main

MANIFEST = """
name = "{name}"
contract = "2.0"
title = "{name}"
capabilities = ["{capability}"]
{framework}

[[options]]
name = "noise"
type = "float"
default = 0.0
help = "relative noise on the object"
"""

PLUGIN = """
import os, sys, time
from pathlib import Path
import numpy as np
from ptycho_core import hookimpl
from ptycho_core.backends.manifest import read_manifest
from ptycho_core.contract import Device, Disposition, Event, ExecutionPlan, ProbeReport, ReconstructResult
from ptycho_core.errors import DataError

@hookimpl
def ptycho_backend_spec():
    return read_manifest(Path(__file__).with_name("ptycho-backend.toml"), "{name}")

@hookimpl
def ptycho_probe():
    return ProbeReport("1", (Device("cpu", "cpu"),), ("float32",))

@hookimpl
def ptycho_plan(request, probe):
    answers = {{name: Disposition("applied") for name in request.requested}}
    return ExecutionPlan("cpu", request.execution, request.options, answers)

@hookimpl
def ptycho_{capability}(job, plan, events):
    scan = np.load(job.scan.source)
    image = scan["object_true" if "object_true" in scan else "truth"].astype(complex)
    noise = np.random.default_rng(1).normal(size=(2, *image.shape))
    image = image * (1 + float(plan.options["noise"]) * (noise[0] + 1j * noise[1]))
    events.emit(Event("epoch", "fit", 1, 1, {{"loss": 1.0, "misfit": 0.5}}))
    {then}
    return ReconstructResult(image, job.probe, scan["positions_px"], None,
                             [{{"stage": "fit", "epoch": 1, "loss": 1.0}}], np.zeros(0, dtype=np.int64), "it knows the truth",
                             facts={{"omp": os.environ.get("OMP_NUM_THREADS", "")}})
"""


class Fakes:
    """A folder of installed backends, first on the path of the commands that it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "site"
        self.cwd = folder

    def add(
        self, name: str, then: str = "pass", *, capability: str = "reconstruct", framework: str = "", provides: str = ""
    ) -> None:
        """Install a backend that knows the truth, and does something on its way; ``provides`` gives it another name."""
        provides = provides or name
        package, info = self.folder / f"fake_{name}", self.folder / f"fake_{name}-1.0.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fake-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ptycho.backends]\n{provides} = fake_{name}.plugin\n")
        (package / "__init__.py").write_text("")
        (package / "plugin.py").write_text(PLUGIN.format(name=provides, then=then, capability=capability))
        manifest = MANIFEST.format(name=provides, capability=capability, framework=framework)
        (package / "ptycho-backend.toml").write_text(manifest)

    def environment(self) -> dict[str, str]:
        own = {key: value for key, value in os.environ.items() if not key.startswith("PTYCHO_")}
        return own | {"PYTHONPATH": os.pathsep.join([str(self.folder), *filter(None, [own.get("PYTHONPATH", "")])])}

    @contextmanager
    def start(self, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        """Start ``ptycho compare``; what is not over in the end is killed."""
        command = [sys.executable, "-m", "ptycho_core", "compare", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=self.environment(), cwd=self.cwd, **pipes) as process:
            try:
                yield process
            finally:
                process.kill()

    def compare(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run ``ptycho compare`` as a user does."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=180)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path)


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 frames of 32 x 32 pixels, with their truth."""
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    assert main(["simulate", str(path), "--size", "32", "--frames", "36", "--photons", "1e5", "--seed", "3"]) == 0
    return path


@pytest.fixture
def table() -> Callable[[Path], dict[str, Any]]:
    """``comparison.json`` of a folder, its entries by name."""

    def read(folder: Path) -> dict[str, Any]:
        found = json.loads((folder / "comparison.json").read_text("utf-8"))
        return found | {"entries": {entry["name"]: entry for entry in found["entries"]}}

    return read
