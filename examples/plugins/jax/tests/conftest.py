"""The plugin as a user has it: installed from its wheel, in a separate folder that only these tests look into."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed plugin."""
    folder = tmp_path_factory.mktemp("jax")
    shutil.copytree(PLUGIN, folder / "source", ignore=shutil.ignore_patterns("tests", "build", "__pycache__", "*.egg-info"))
    words = ["install", "--no-deps", "--no-build-isolation", "--target", str(folder / "site"), str(folder / "source")]
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words], check=True)
    return folder / "site"


@pytest.fixture(scope="session")
def python(site: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python in a separate process that sees the plugin; it must succeed."""
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    own = {name: value for name, value in os.environ.items() if not name.startswith("PTYCHO_")} | {"PYTHONPATH": path}

    def run(*words: object, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, env=own, timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def ptycho(python: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """Run the command; what it printed."""
    return lambda *words: python("-m", "ptycho_core", *words).stdout


@pytest.fixture(scope="session")
def scan(ptycho: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 frames of 32 x 32."""
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    ptycho("simulate", path, "--size", "32", "--frames", "36", "--photons", "1e5", "--seed", "8")
    return path


SMALL = ["--network-width", "4", "--update-steps", "2", "--batch-size", "12", "--seed", "3", "--quiet", "--threads", "1"]


@pytest.fixture(scope="session")
def trained(ptycho: Callable[..., str], scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The run of a small training of three epochs, made when it is first asked for."""
    known: dict[tuple[str, ...], Path] = {}

    def run(*asked: str) -> Path:
        if asked not in known:
            (backend, precision), more = asked[:2], asked[2:]
            folder = tmp_path_factory.mktemp("run") / backend
            ptycho("train", scan, "-o", folder, "--backend", backend, "--precision", precision, "--epochs", "3", *more, *SMALL)
            known[asked] = folder
        return known[asked]

    return run


@pytest.fixture(scope="session")
def metrics() -> Callable[[Path], dict[str, float]]:
    """The figures of a result."""
    return lambda folder: json.loads((folder / "metrics.json").read_text())
