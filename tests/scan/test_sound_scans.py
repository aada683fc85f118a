"""Sound scans raise no doubt, whatever the object, the probe, the order of the positions and the dose."""

from pathlib import Path

import numpy as np
import pytest

from ptycho_core.formats.opening import open_scan
from ptycho_core.scan.plausibility import find_doubts
from ptycho_core.simulate import simulate_scan
from ptycho_core.simulation.objects import OBJECTS

DOSES = (1e2, 1e4, 1e6, 1e9)


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("photons", DOSES)
@pytest.mark.parametrize(("scan", "probe", "size", "frames"), [("raster", "aperture", 64, 49), ("spiral", "disk", 32, 80)])
def test_a_simulated_scan_raises_no_doubt(name, photons, scan, probe, size, frames):
    seed = DOSES.index(photons)
    made = simulate_scan(object=name, photons=photons, scan=scan, probe=probe, size=size, frames=frames, seed=seed)
    assert find_doubts(made.scan()) == ()


@pytest.mark.parametrize(
    "settings",
    [
        {"modes": 3},
        {"noise": False},
        {"position_error": 1.0},
        {"subpixel": False},
        {"overlap": 0.5},
        {"frames": 4},
        {"photons": 1e11},
    ],
    ids=lambda one: next(iter(one)),
)
def test_nor_does_one_that_is_unusual(settings):
    assert find_doubts(simulate_scan(**{"size": 32, "frames": 64, "seed": 2} | settings).scan()) == ()


def test_the_measured_sample_raises_no_doubt():
    assert find_doubts(open_scan("sample:siemens-star")) == ()


@pytest.mark.parametrize(
    "settings", [{"size": 16}, {"size": 48}, {"photons": 3e4}, {"mask": "auto"}], ids=lambda one: next(iter(one))
)
def test_settings_that_change_how_a_scan_is_read_raise_none(settings, tmp_path):
    path: Path = simulate_scan(size=32, frames=64, photons=1e5, seed=1).write(tmp_path / "scan.npz")
    scan = open_scan(path, settings)
    assert find_doubts(scan) == ()
    if "mask" in settings:
        assert scan.mask.all()
        assert any("0 saturated, 0 dead, 0 hot, 0 constant" in note for note in scan.notes)


def test_amplitudes_in_place_of_counts_raise_none(tmp_path):
    made = simulate_scan(size=32, frames=64, photons=3e3, seed=1)
    centres = made.positions + 16
    np.savez(
        tmp_path / "pinn.npz", diffraction=np.sqrt(made.intensity).astype(np.float32), ycoords=centres[:, 0],
        xcoords=centres[:, 1], probeGuess=made.probe_guess[0],
    )  # fmt: skip
    assert find_doubts(open_scan(tmp_path / "pinn.npz")) == ()
