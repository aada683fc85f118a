"""The real ptychodus with the plugin installed from its wheel, in the environment that ``make test-all`` makes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from host_runs import HERE, HOST, ended, within


@pytest.fixture(scope="session")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment without settings, with a home of its own, in which ptychodus finds nothing."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PTYCHO_", "PYTHONPATH"))}
    return own | {"HOME": str(tmp_path_factory.mktemp("home")), "QT_QPA_PLATFORM": "offscreen", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture(scope="session")
def host(env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of that environment, with the plugin as it is now."""
    assert HOST.exists(), f"There is no {HOST}; 'make test-all' makes it."
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(HERE.parent, source, ignore=shutil.ignore_patterns("tests", "build", "__pycache__", "*.egg-info"))
    pip = [HOST / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps", "--force-reinstall"]
    status, said = ended([*pip, "--no-build-isolation", source], env, source)
    assert status == 0, said
    return HOST


@pytest.fixture(scope="session")
def given(host: Path, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A copy of a folder of `make_input.py`, with settings."""
    made = tmp_path_factory.mktemp("given")
    scan = ["simulate", "scan.npz", "--size", "32", "--frames", "49", "--photons", "1e5", "--seed", "3"]
    for command in ([sys.executable, "-m", "ptycho_core", *scan], [host / "python", HERE / "make_input.py", "scan.npz", "."]):
        status, said = ended(command, env, made)
        assert status == 0, said

    def copy(name: str, settings: str) -> Path:
        folder = tmp_path_factory.mktemp(name) / "given"
        shutil.copytree(made / name, folder)
        (folder / "settings.ini").write_text(settings)
        return folder

    return copy


@pytest.fixture(scope="session")
def batch(host: Path, env: dict[str, str]) -> Callable[..., tuple[int, str]]:
    """Run ``ptycho-ptychodus -b ACTION`` on a folder into ``results`` next to it; status, and what it said."""

    def run(action: str, folder: Path, command: str = "ptycho-ptychodus") -> tuple[int, str]:
        return ended([host / command, "-b", action, "-i", folder, "-o", folder.parent / "results"], env, folder.parent)

    return run


@pytest.fixture
def started(host: Path, env: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """Start the same, and wait until a snapshot is there; whatever still runs in the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> subprocess.Popen[str]:
        results = folder.parent / "results"
        command = [host / "ptycho-ptychodus", "-b", "reconstruct", "-i", folder, "-o", results]
        with (folder.parent / "said.txt").open("w") as said:
            one = subprocess.Popen(
                command, env=env, cwd=folder.parent, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
            )
        running.append(one)
        within(120, lambda: len(list(results.glob("product.*.h5"))) > 2)
        return one

    yield start
    for one in running:
        if one.poll() is None:
            one.kill()
            one.wait()
