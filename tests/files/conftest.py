"""A small scan, and the verbs with the small backend."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_backend import SPEC, Small

from ptycho_core import backends
from ptycho_core.cli.main import main
from ptycho_core.imaging import figures
from ptycho_core.imaging.drawing import empty_figure


@pytest.fixture(autouse=True)
def _small_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures without content: what they show is tested elsewhere, and takes most of the time of a small job."""
    for name in [name for name in vars(figures) if name.startswith("figure_of_")]:
        monkeypatch.setattr(figures, name, lambda *_, **__: empty_figure(1, 1))


@pytest.fixture
def small() -> Iterator[Small]:
    """The backend, registered."""
    plugin = Small()
    backends.register("small", plugin, SPEC)
    yield plugin
    backends.unregister("small")


def simulated(path: Path, *words: str) -> Path:
    assert main(["simulate", str(path), "--photons", "1e5", "--seed", "1", *words]) == 0
    return path


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """49 frames of 16 x 16 pixels."""
    return simulated(tmp_path_factory.mktemp("scan") / "s16.npz", "--size", "16", "--frames", "49")


@pytest.fixture(scope="session")
def scan32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of 32 x 32 pixels, which a network can take."""
    return simulated(tmp_path_factory.mktemp("scan") / "s32.npz", "--size", "32", "--frames", "12")


Contents = dict[str, bytes]


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], Contents]:
    """Every file in a folder with its bytes."""

    def contents(folder: Path) -> Contents:
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    return contents


@pytest.fixture
def fit(scan: Path, small: Small) -> Callable[..., int]:
    """Reconstructs the scan into a folder with the small backend; the exit status."""

    def fit(folder: Path, *words: str) -> int:
        return main(["reconstruct", str(scan), "-o", str(folder), "--backend", "small", "--quiet", *words])

    return fit


@pytest.fixture
def train(scan32: Path, small: Small) -> Callable[..., int]:
    """Trains with the second scan; the exit status."""

    def train(folder: Path, *words: str) -> int:
        given = [] if "--resume" in words else ["--network-width", "4"]
        given += [] if {"--resume", "--epochs"} & {*words} else ["--epochs", "2"]
        words = ("--backend", "small", "--quiet", *given, *words)
        return main(["train", str(scan32), "-o", str(folder), *words])

    return train
