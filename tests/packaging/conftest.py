"""The built wheels, in their own environment."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the built wheels in ``dist`` and its own environment, ``venv``, into which they were installed.

    The environment borrows the third-party packages of this one by a path line, which (unlike a site folder) runs none of its
    ``.pth`` files: the checkout, installed here in editable form, cannot be imported from there.
    """
    folder = tmp_path_factory.mktemp("wheels")
    for source in (ROOT, ROOT / "backends" / "torch", ROOT / "backends" / "tensorflow"):
        copy = folder / f"source-{source.name}"
        tracked = subprocess.run(["git", "ls-files", "-z", "."], cwd=source, capture_output=True, text=True, check=True).stdout
        for name in filter(None, tracked.split("\0")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((source / name).read_bytes())
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder / "dist"), str(copy))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    site = next((folder / "venv").glob("lib/python*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = str(folder / "venv" / "bin" / "python")
    pip("--python", python, "install", "--no-deps", "--ignore-installed", *map(str, (folder / "dist").glob("*.whl")))
    return folder


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments], check=True)


@pytest.fixture(scope="session")
def shell(installed: Path) -> Callable[[str, Path], subprocess.CompletedProcess[str]]:
    """Runs lines of a shell in a folder, as a user of that environment does: its ``ptycho``, ``pip`` and ``pytest``.

    Only that pip takes nothing from the network: what is built is built with the tools that are there.
    """
    commands, python = installed / "commands", installed / "venv" / "bin" / "python"
    commands.mkdir()
    build = '"$1" --no-build-isolation --no-deps "${@:2}"'
    pip_line = f"exec {sys.executable} -m pip --disable-pip-version-check --quiet --python {python} {build}"
    for name, line in (("pip", pip_line), ("pytest", f'exec {python} -m pytest -q "$@"')):
        (commands / name).write_text(f"#!/bin/bash\n{line}\n")
        (commands / name).chmod(0o755)
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("PTYCHO_")}
    own |= {"PATH": os.pathsep.join([str(commands), str(python.parent), own["PATH"]])}

    def run(lines: str, folder: Path) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-e", "-u", "-o", "pipefail", "-c", lines]
        return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, timeout=600)

    return run
