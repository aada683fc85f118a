"""A detector whose pitch along rows is not that along columns."""

from pathlib import Path

import numpy as np
import pytest

from ptycho_core.conversion import convert
from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.scan.scan import Scan

ENERGY, DISTANCE, ROWS, COLUMNS, SIZE = 8000.0, 2.0, 75e-6, 150e-6, 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    random = np.random.default_rng(3)
    probe = (random.standard_normal((1, SIZE, SIZE)) + 1j).astype(np.complex64)
    np.savez(
        tmp_path / "scan.npz", intensity=random.poisson(9.0, (7, SIZE, SIZE)).astype(np.uint16), signal="counts",
        positions_px=random.uniform(0, 20, (7, 2)), probe_guess=probe, object_guess=np.ones((40, 41), np.complex64),
        photon_energy_ev=ENERGY, detector_distance_m=DISTANCE, detector_pixel_size_m=ROWS, detector_pixel_width_m=COLUMNS,
    )  # fmt: skip
    return tmp_path / "scan.npz"


def sides(scan: Scan) -> np.ndarray:
    assert scan.object_pixels_m is not None
    return np.array(scan.object_pixels_m)


def test_the_object_has_a_pixel_for_each_axis(path: Path) -> None:
    scan = open_scan(path)
    wavelength = 1.239841984e-6 / ENERGY
    assert sides(scan) == pytest.approx(wavelength * DISTANCE / SIZE / np.array([ROWS, COLUMNS]), rel=1e-8)
    assert sides(open_scan(path, {"bin": 2})) == pytest.approx(sides(scan))
    assert sides(open_scan(path, {"size": 8})) == pytest.approx(2 * sides(scan))
    assert sides(open_scan(path, {"detector_pixel_size_m": ROWS})) == pytest.approx(sides(scan)[[0, 0]])


@pytest.mark.parametrize("form", ["plain", "nexus", "cxi"])
def test_a_file_that_states_both_keeps_both(form: str, path: Path, tmp_path: Path) -> None:
    """The files have positions in metres, so that these are converted along each axis, there and back."""
    before = open_scan(path)
    convert(path, tmp_path / "other", form)
    after = open_scan(tmp_path / "other")
    assert sides(after) == pytest.approx(sides(before), rel=1e-9)
    moved = after.positions - before.positions
    assert moved - moved[0] == pytest.approx(np.zeros((7, 2)), abs=1e-3)


def test_a_file_that_cannot_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="takes square ones only") as caught:
        convert(path, tmp_path / "other.ptyd", "ptyd")
    assert "7.5e-05 m from row to row and 0.00015 m from column to column" in str(caught.value)


def test_a_rotation_turns_lengths(path: Path) -> None:
    plain, turned = open_scan(path), open_scan(path, {"rotation_deg": 90})
    lengths = (plain.positions - (plain.positions.max(axis=0) + plain.positions.min(axis=0)) / 2) * sides(plain)
    found = (turned.positions - (turned.positions.max(axis=0) + turned.positions.min(axis=0)) / 2) * sides(turned)
    assert found == pytest.approx(np.stack([-lengths[:, 1], lengths[:, 0]], axis=1), abs=1e-12)


def test_lengths_of_a_probe_that_is_made_are_refused(path: Path) -> None:
    from ptycho_core.scan.made_probe import stated_phase

    with pytest.raises(DataError, match="not square"):
        stated_phase(open_scan(path), "350um")
