"""The plugin as a user has it: built into a wheel and installed, in a separate folder that only these tests look into."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ptycho_core.backends.discovery import forget
from ptycho_core.cli.main import main

PLUGIN = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed wheel."""
    folder = tmp_path_factory.mktemp("ptychi")
    source = folder / "source"
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        source.mkdir(exist_ok=True)
        (source / name).write_bytes((PLUGIN / name).read_bytes())
    (source / "ptycho_backend_ptychi").mkdir()
    for path in (PLUGIN / "ptycho_backend_ptychi").glob("[!_]*.*"):
        (source / "ptycho_backend_ptychi" / path.name).write_bytes(path.read_bytes())
    (source / "ptycho_backend_ptychi" / "__init__.py").write_bytes(
        (PLUGIN / "ptycho_backend_ptychi" / "__init__.py").read_bytes()
    )
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    pip("install", "--no-deps", "--target", str(folder / "site"), str(wheel))
    return folder / "site"


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments], check=True)


@pytest.fixture(scope="module", autouse=True)
def _installed(site: Path) -> Iterator[None]:
    """This process, and those that it starts, see the plugin while a module of these tests runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
        patch.setenv("PTYCHO_BACKENDS_ALLOW", "ptychi,torch")
        forget()
        yield
    forget()


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """49 frames of 32 x 32 pixels with known truth, and a probe guess that is a little wrong."""
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    assert main(["simulate", str(path), "--size", "32", "--frames", "49", "--photons", "1e6", "--seed", "3"]) == 0
    return path


@pytest.fixture
def reconstruct(scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Path, str]]:
    """Run the real command; the result's folder, and what it said."""
    number = 0

    def run(*arguments: str, scan: Path = scan_file) -> tuple[Path, str]:
        nonlocal number
        number += 1
        folder = tmp_path / f"result-{number}"
        capsys.readouterr()
        words = ["--backend", "ptychi", "--threads", "1", *arguments]
        status = main(["reconstruct", str(scan), "-o", str(folder), *words])
        message = capsys.readouterr().err
        assert status == 0, message
        return folder, message

    return run


@pytest.fixture(scope="session")
def displaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan whose stated positions are wrong by 0.7 px rms along each axis."""
    path = tmp_path_factory.mktemp("displaced") / "scan.npz"
    words = ["--size", "32", "--frames", "64", "--photons", "1e6", "--seed", "5", "--position-error", "0.7"]
    assert main(["simulate", str(path), *words]) == 0
    return path


@pytest.fixture(scope="session")
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
