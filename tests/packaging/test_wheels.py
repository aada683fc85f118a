"""What a user installs is the wheel: it must hold every file and work away from the checkout."""

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def ptycho(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed console script, away from the checkout."""
    command = [str(installed / "venv" / "bin" / "ptycho"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=installed, env=clean(), timeout=300)


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def test_the_wheels_hold_data_files_and_licences(installed: Path) -> None:
    names = {name for wheel in (installed / "dist").glob("*.whl") for name in zipfile.ZipFile(wheel).namelist()}
    assert "ptycho_core/py.typed" in names
    assert "ptycho_core/backends/known.toml" in names
    assert "ptycho_core/backends/template/verbs/package/plugin.py.in" in names
    assert "ptycho_core/compatibility/pinn.toml" in names
    assert "ptycho_core/conformance/reference/ptycho-backend.toml" in names
    assert "ptycho_core/formats/layouts/csaxs.toml" in names
    assert "ptycho_core/numpy_backend/ptycho-backend.toml" in names
    assert "ptycho_core/samples/siemens_star.npz" in names
    assert "ptycho_core/samples/LICENSE-siemens-star.txt" in names
    for package in ("ptycho_backend_torch", "ptycho_backend_tensorflow"):
        assert f"{package}/ptycho-backend.toml" in names
        assert f"{package}/py.typed" in names


def test_the_installed_command_lists_the_backend_and_is_not_the_checkout(installed: Path) -> None:
    done = ptycho(installed, "backends", "list")
    assert done.returncode == 0, done.stderr
    rows = [line.split()[:2] for line in done.stdout.splitlines()]
    for name in ("torch", "tensorflow", "numpy", "reference"):
        assert [name, "ok"] in rows
    code = (
        "import ptycho_core as a, ptycho_backend_torch as b, ptycho_backend_tensorflow as c\n"
        "print(a.__file__, b.__file__, c.__file__)"
    )
    python = str(installed / "venv" / "bin" / "python")
    where = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=installed, env=clean(), check=True).stdout
    assert str(ROOT) not in where


@pytest.mark.parametrize("name", ["ptycho_train", "ptycho_inference"])
def test_the_commands_of_ptychopinn_are_installed(installed: Path, name: str) -> None:
    command = [str(installed / "venv" / "bin" / name), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=installed, env=clean(), timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"usage: {name} " in done.stdout


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_a_tiny_job_runs_from_the_installed_wheels(installed: Path, backend: str) -> None:
    made = ptycho(installed, "simulate", f"{backend}.npz", "--size", "32", "--frames", "36", "--photons", "1e5")
    assert made.returncode == 0, made.stderr
    quick = ["--epochs", "3", "--iterations", "5"]
    done = ptycho(installed, "reconstruct", f"{backend}.npz", "-o", f"out-{backend}", "--backend", backend, *quick)
    assert done.returncode == 0, done.stderr
    assert (installed / f"out-{backend}" / "reconstruction.h5").is_file()


@pytest.mark.parametrize(
    ("chosen", "status"),
    [("test_backend or test_evaluate", 1), pytest.param("", 0, marks=pytest.mark.long)],
    ids=["a part, which is no proof", "all"],
)
def test_the_kit_runs_from_the_installed_wheel(installed: Path, chosen: str, status: int) -> None:
    python, report = str(installed / "venv" / "bin" / "python"), installed / "report.json"
    arguments = ["--pyargs", "ptycho_core.conformance", "--ptycho-backend=reference", f"--ptycho-report={report}", "-k", chosen]
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=installed, env=clean(), timeout=300)
    assert done.returncode == status, done.stdout + done.stderr
    outcomes = [one["outcome"] for one in json.loads(report.read_text())["tests"]]
    assert set(outcomes) <= {"passed", "not run"}
    assert outcomes.count("passed") > 20
    code = "import ptycho_core.conformance.suite.session as one; print(one.__file__)"
    where = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=installed, env=clean(), check=True).stdout
    assert str(ROOT) not in where
