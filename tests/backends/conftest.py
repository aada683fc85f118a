"""Installs small distributions into a folder, as an installer would leave them, and runs the command in child processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import packaging
import pluggy
import pytest

ROOT = Path(__file__).parents[2]

MANIFEST = """
name = "{name}"
contract = "2.0"
title = "{title}"
capabilities = ["evaluate"]
issues_url = "https://example.org/issues"

[framework]
module = "fakeflow"
title = "Fakeflow"
distributions = ["fakeflow-gpu", "fakeflow"]
minimum = "2.0"
below = "3"
"""

PLUGIN = """
from pathlib import Path
from ptycho_core import hookimpl
from ptycho_core.backends.manifest import read_manifest
from ptycho_core.contract import Device, Disposition, EvaluateResult, ExecutionPlan, ProbeReport

@hookimpl
def ptycho_backend_spec():
    return read_manifest(Path(__file__).with_name("ptycho-backend.toml"), "{name}")

@hookimpl
def ptycho_probe():
    import fakeflow
    return ProbeReport(fakeflow.__version__, (Device("cpu", "cpu:0", "a CPU"),), ("float32",))

@hookimpl
def ptycho_plan(request, probe):
    answers = {{name: Disposition("applied") for name in request.requested}}
    return ExecutionPlan("cpu:0", request.execution, request.options, answers)

@hookimpl
def ptycho_evaluate(job, plan):
    return EvaluateResult(job.counts, {{}}, {{}})
"""


class Site:
    """A folder of installed distributions, first on the path of the processes that it starts."""

    manifest = MANIFEST
    sound_plugin = PLUGIN

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cwd = folder / "cwd"
        self.cwd.mkdir(parents=True)

    def write(self, path: str, text: str | bytes) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return target

    def distribution(self, name: str, version: str = "1.0", entry_points: str = "") -> None:
        info = f"{name.replace('-', '_')}-{version}.dist-info"
        self.write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if entry_points:
            self.write(f"{info}/entry_points.txt", entry_points)

    def backend(
        self,
        name: str = "acme",
        *,
        manifest: str | bytes | None = MANIFEST,
        plugin: str | bytes = PLUGIN,
        distribution: str = "",
        version: str = "1.0",
    ) -> str:
        """Install a backend; returns its package."""
        package = f"ptycho_{name}"
        self.distribution(distribution or f"ptycho-{name}", version, f"[ptycho.backends]\n{name} = {package}.plugin\n")
        self.write(f"{package}/__init__.py", "")
        self.write(f"{package}/plugin.py", plugin.format(name=name) if plugin is PLUGIN else plugin)
        if manifest is not None:
            text = manifest.format(name=name, title=name.capitalize()) if isinstance(manifest, str) else manifest
            self.write(f"{package}/ptycho-backend.toml", text)
        return package

    def framework(self, version: str = "2.5", body: str = "", distribution: str = "fakeflow") -> None:
        self.write("fakeflow/__init__.py", f"__version__ = '{version}'\n{textwrap.dedent(body)}")
        self.distribution(distribution, version)

    def python(self, *arguments: str, bare: bool = False, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python on this folder and the libraries that loading a backend needs, so that it sees no other distribution.

        ``bare`` leaves the libraries out too.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PTYCHO_")}
        path = [self.folder, self.core()] if bare else [self.folder, self.core(), self.libraries()]
        environment |= {"PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1", **variables}
        command = [sys.executable, "-S", *arguments]
        return subprocess.run(command, cwd=self.cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)

    def core(self) -> Path:
        """A folder with a link to the core alone: next to it in the checkout lies metadata, which installs a backend."""
        folder = self.folder.parent / "core"
        if not folder.exists():
            folder.mkdir()
            (folder / "ptycho_core").symlink_to(ROOT / "ptycho_core")
        return folder

    def libraries(self) -> Path:
        """A folder with links to the libraries, without what else is installed next to them."""
        folder = self.folder.parent / "libraries"
        if not folder.exists():
            folder.mkdir()
            for module in (np, packaging, pluggy):
                package = Path(module.__file__).parent
                for name in (package.name, f"{package.name}.libs"):
                    if package.with_name(name).exists():
                        (folder / name).symlink_to(package.with_name(name))
        return folder

    def ptycho(self, *arguments: str, bare: bool = False, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "ptycho_core", *arguments, bare=bare, **variables)

    def rows(self, **variables: str) -> list[dict[str, str]]:
        done = self.ptycho("backends", "list", "--json", **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def row(self, name: str = "acme", **variables: str) -> dict[str, str]:
        rows = [row for row in self.rows(**variables) if row["name"] == name]
        assert len(rows) == 1, rows
        return rows[0]

    def choose(self, name: str | None, then: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Choose a backend in a fresh process, run some lines with ``row``, and print the error as the command does."""
        code = textwrap.dedent("""
            import sys
            from ptycho_core.backends import choose, load
            from ptycho_core.errors import PtychoError
            try:
                row = choose({name!r})
                {then}
            except PtychoError as error:
                print(error, file=sys.stderr)
                sys.exit(error.exit_status)
        """).format(name=name, then=textwrap.indent(textwrap.dedent(then).strip(), " " * 4).strip() or "pass")
        return self.python("-c", code, **variables)


@pytest.fixture(scope="session")
def make_site() -> type[Site]:
    """For fixtures that share a site among tests."""
    return Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture(autouse=True)
def _no_framework_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process import the real framework, which a backend here would be refused for."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
