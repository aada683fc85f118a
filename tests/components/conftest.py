"""Distributions with losses and metrics, as an installer leaves them, and the command in processes that see them."""

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ptycho_core.backends import discovery
from ptycho_core.settings.components import components, forget

GUIDE = (Path(__file__).parents[2] / "docs" / "writing-a-component.md").read_text("utf-8")
ALL = """
import json, sys
from ptycho_core.cli.main import main
assert not any(main(words) for words in json.loads(sys.argv[1]))
"""


class Site:
    """A folder of installed distributions, first on the path of the processes that it starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def distribution(
        self, name: str, code: str, losses: str = "", metrics: str = "", observers: str = "", networks: str = ""
    ) -> None:
        """Install the module ``name`` with entry points, each a line ``NAME = module:attribute``."""
        (self.folder / f"{name}.py").write_text(textwrap.dedent(code))
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[ptycho.losses]\n{losses}\n[ptycho.metrics]\n{metrics}\n[ptycho.observers]\n{observers}\n"
            f"[ptycho.networks]\n{networks}\n"
        )

    def guide(self) -> None:
        """Install what the guide writes."""
        code = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL))
        (observers,) = re.findall(r"^    (logger\..* = )acme_logger:(\w+)$", GUIDE, flags=re.MULTILINE)
        (config,) = re.findall(r"```ini\n(.*?)```", GUIDE, flags=re.DOTALL)
        losses, metrics = (
            re.search(rf"^ptycho.{kind} =\n((?:    .*\n?)+)", config, flags=re.MULTILINE)[1] for kind in ("losses", "metrics")
        )
        groups = (*(textwrap.dedent(lines) for lines in (losses, metrics)), "acme_losses:".join(observers))
        self.distribution("acme_losses", code, *groups)

    def python(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PTYCHO_")}
        environment |= {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        environment |= {"PTYCHO_FIGURES": "false", **variables}  # no test here looks at a picture
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)

    def ptycho(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "ptycho_core", *arguments, **variables)

    def done(self, *arguments: object, **variables: str) -> str:
        """What a command printed that must work."""
        done = self.ptycho(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: object, status: int = 2, **variables: str) -> str:
        """What a command said that must be refused."""
        done = self.ptycho(*arguments, **variables)
        assert done.returncode == status, done.stderr
        assert "unexpected" not in done.stderr
        return done.stderr

    def all_done(self, backend: str, commands: list[list[str]]) -> None:
        """Run commands that must work in one process: a framework takes its time to load."""
        done = self.python("-c", ALL, json.dumps([[*words, "--backend", backend] for words in commands]))
        assert done.returncode == 0, done.stderr

    @contextmanager
    def here(self, **variables: str) -> Iterator[None]:
        """What is installed serves this process for a while."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            patch.syspath_prepend(self.folder)
            forget_all()
            yield
        forget_all()
        for module in self.folder.glob("*.py"):
            sys.modules.pop(module.stem, None)

    def reasons(self, **variables: str) -> dict[str, str]:
        """Why each component is left out, empty for those that are not."""
        with self.here(**variables):
            return {one.name: one.reason for kind in ("loss", "network", "metric") for one in components(kind)}


def forget_all() -> None:
    discovery.forget()
    forget()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture(scope="session")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The loss, the metric and the logger of the guide, installed."""
    found = Site(tmp_path_factory.mktemp("guide") / "site")
    found.guide()
    return found


@pytest.fixture(scope="session")
def scan(guide: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 frames of 32 x 32 pixels."""
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    guide.done("simulate", path, "--size", "32", "--frames", "36", "--photons", "1e5", "--seed", "3")
    return path
