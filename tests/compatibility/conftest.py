"""Two small scans as PtychoPINN stores them, and what a command line of PtychoPINN comes to."""

import os

import numpy as np
import pytest

from ptycho_core import simulate_scan
from ptycho_core.cli.options import collect
from ptycho_core.compatibility.main import parsed
from ptycho_core.compatibility.table import COMMANDS
from ptycho_core.settings.resolution import resolve
from ptycho_core.settings.rules import check_together

NEEDED = {"train": ["--train_data_file", "T.npz"], "inference": ["--model_path", "RUN", "--test_data", "V.npz"]}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in list(os.environ):
        if name.startswith("PTYCHO_"):
            monkeypatch.delenv(name)


@pytest.fixture
def settle():
    """Resolve a command line, with the arguments that it needs, and hold its settings against each other."""

    def settled(command, *words, environment=None):
        args = parsed(command, [*NEEDED[command], *words])
        given = collect(args, COMMANDS[command])
        found = resolve(COMMANDS[command], overrides=given.overrides, file=given.config, environment=environment or {})
        check_together(found)
        return found

    return settled


def write_pinn(path, seed):
    """A simulated scan in the keys and units of PtychoPINN: amplitudes, float32, coordinates of the windows' centres."""
    made = simulate_scan(size=32, frames=40, photons=1e5, seed=seed)
    centres = made.positions + 16
    np.savez(
        path, diff3d=np.sqrt(made.intensity).astype(np.float32), xcoords=centres[:, 1], ycoords=centres[:, 0],
        probeGuess=made.probe_guess[0] / np.abs(made.probe_guess).max(), objectGuess=np.ones((96, 96), np.complex64),
    )  # fmt: skip


@pytest.fixture(scope="session")
def pinn_scans(tmp_path_factory):
    """The folder with ``T.npz`` and ``V.npz``."""
    folder = tmp_path_factory.mktemp("pinn")
    write_pinn(folder / "T.npz", 3)
    write_pinn(folder / "V.npz", 4)
    return folder
