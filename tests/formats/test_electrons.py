"""Scans of electrons on a grid: EMD 0.2, py4DSTEM, NeXus of HyperSpy."""

import h5py
import numpy as np
import pytest
from electron_files import COLUMNS, DK, PIXEL, ROWS, WAVELENGTH, axes, emd, grid, hspy, nexus, py4dstem
from small_scan import SIZE, assert_same

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.formats.electron_grid import Axis
from ptycho_core.formats.opening import open_scan, source_of, stated
from ptycho_core.formats.source import ScanFile
from ptycho_core.settings.data import data_settings

# EMD 0.2


def test_a_file_of_hyperspy_has_all_axes_reversed(tmp_path):
    small, cube = grid()
    scan = open_scan(emd(tmp_path / "a.emd", cube))
    assert_same(scan, small)
    assert (scan.format, scan.object_pixel_m) == ("EMD 0.2 (NCEM)", pytest.approx(PIXEL))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("steps", "units"),
    [
        ((DK * 10, DK * 10, 0.1, 0.1), ("1/nm", "nm^-1", "nm", "[n_m]")),
        ((DK, DK, 1.0, 1.0), ("$A^{-1}$", "Å⁻¹", "A", "angstrom")),
        ((DK, DK, 1e-4, 1e-1), ("1 / Å", "1/Angstrom", "µm", "nm")),
    ],
)
def test_units_are_read_as_they_are_written(steps, units, full, tmp_path):
    small, cube = grid()
    scan = open_scan(emd(tmp_path / "a.emd", cube, steps, units, full=full))
    assert_same(scan, small)
    assert scan.object_pixel_m == pytest.approx(PIXEL)


def test_angles_need_the_energy_of_the_electrons(tmp_path):
    small, cube = grid()
    angle = DK * 1e10 * WAVELENGTH * 1e3
    path = emd(tmp_path / "a.emd", cube, (angle, angle, 1.0, 1.0), ("mrad", "[m_r_a_d]", "Å", "Å"))
    with pytest.raises(DataError, match="how wide a pixel of the object is") as raised:
        open_scan(path)
    assert "--photon-energy-ev" in str(raised.value)
    scan = open_scan(path, {"photon_energy_ev": 80e3})
    assert_same(scan, small, within=1e-3)
    assert scan.geometry.electrons
    assert scan.geometry.wavelength_m == pytest.approx(WAVELENGTH, rel=1e-5)


def test_the_microscope_states_the_voltage(tmp_path):
    small, cube = grid()
    with h5py.File(emd(tmp_path / "a.emd", cube), "a") as file:
        file.require_group("microscope").attrs["voltage"] = 80.0
    scan = open_scan(tmp_path / "a.emd")
    assert_same(scan, small)
    assert scan.geometry.wavelength_m == pytest.approx(WAVELENGTH, rel=1e-5)


def test_axes_that_begin_with_the_scan_lie_in_order(tmp_path):
    small, cube = grid()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        top = file.create_group("4DSTEM_experiment")
        top.attrs["version_major"] = 0
        group = top.create_group("data/datacubes/datacube_0")
        group.attrs["emd_group_type"] = 1
        group["data"] = cube
        names, units = ("R_x", "R_y", "Q_x", "Q_y"), ("A", "A", "A^-1", "A^-1")
        axes(file, group.name, names, cube.shape, (1.0, 1.0, DK, DK), units, 1)
    assert_same(open_scan(tmp_path / "a.h5"), small)


def test_several_datacubes_are_named(tmp_path):
    _, cube = grid()
    for name in ("d2", "d3"):
        emd(tmp_path / "a.emd", cube, name=name)
    with pytest.raises(DataError, match=r"2 datacubes: 'signals/d2/data' \(16, 16, 3, 4\), 'signals/d3/data'"):
        open_scan(tmp_path / "a.emd")


@pytest.mark.parametrize("named", ["signals/d3", "/signals/d3/data"])
def test_one_of_several_datacubes_is_chosen(named, tmp_path):
    small, cube = grid()
    emd(tmp_path / "a.emd", np.zeros_like(cube))
    path = emd(tmp_path / "a.emd", cube, name="d3")
    assert_same(open_scan(path, {"dataset": named}), small)
    with pytest.raises(DataError, match="none at 'signals/d4'") as raised:
        open_scan(path, {"dataset": "signals/d4"})
    assert "--dataset" in str(raised.value)


def test_a_choice_where_there_is_none_is_refused(tmp_path):
    _, cube = grid()
    with pytest.raises(SettingsError, match="not those of 'signals/d4'"):
        open_scan(emd(tmp_path / "a.emd", cube), {"dataset": "signals/d4"})


def test_a_scan_without_steps_says_what_to_give(tmp_path):
    small, cube = grid()
    path = emd(tmp_path / "a.emd", cube, units=("[1_/_Å]", "[1_/_Å]", "", "pixels"))
    with pytest.raises(DataError, match="are in 'scan steps'") as raised:
        open_scan(path)
    assert "--position-unit" in str(raised.value)
    assert_same(open_scan(path, {"position_unit": "A"}), small)


def test_frames_that_are_cut_have_a_coarser_pixel(tmp_path):
    """The step of frequency stays; the window has fewer of them."""
    small, cube = grid()
    wide = np.zeros((ROWS, COLUMNS, SIZE + 4, SIZE + 8), np.uint16)
    wide[:, :, 3 : 3 + SIZE, 5 : 5 + SIZE] = cube
    path = emd(tmp_path / "a.emd", wide)
    asked = {"beam_center": f"{3 + SIZE // 2},{5 + SIZE // 2}", "size": SIZE}
    scan = open_scan(path, asked)
    assert_same(scan, small)
    assert scan.object_pixel_m == pytest.approx(PIXEL)


def test_the_size_of_a_datacube_is_a_fact(tmp_path):
    _, cube = grid()
    found = stated(ScanFile(emd(tmp_path / "a.emd", cube)), data_settings({}))
    assert {name: value for name, (value, _) in found.items()} == {"size": SIZE}


# py4DSTEM


def test_a_datacube_of_py4dstem_is_read(tmp_path):
    small, cube = grid()
    scan = open_scan(py4dstem(tmp_path / "a.h5", cube))
    assert_same(scan, small)
    assert scan.format == "py4DSTEM"
    assert scan.geometry.wavelength_m == pytest.approx(WAVELENGTH, rel=1e-5)
    assert scan.object_pixel_m == pytest.approx(PIXEL)


def test_calibrations_go_before_axes(tmp_path):
    small, cube = grid()
    assert_same(open_scan(py4dstem(tmp_path / "a.h5", cube, dims=(1, 1, 1, 1), units=["pixels"] * 4)), small)


def test_axes_serve_where_nothing_is_calibrated(tmp_path):
    small, cube = grid()
    nothing = {"Q_pixel_size": "_None", "R_pixel_size": "_None"}
    assert_same(open_scan(py4dstem(tmp_path / "a.h5", cube, nothing)), small)


def test_milliradians_and_nanometers(tmp_path):
    small, cube = grid()
    angle = {"Q_pixel_size": DK * 1e10 * WAVELENGTH * 1e3, "Q_pixel_units": "mrad", "R_pixel_size": 0.1, "R_pixel_units": "nm"}
    assert_same(open_scan(py4dstem(tmp_path / "a.h5", cube, angle | {"accelerating_voltage": 80.0})), small, within=1e-3)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    "told", [{"QR_rotation": 0.3}, {"QR_rotation_degrees": np.degrees(0.3)}, {"QR_rotation": np.degrees(0.3)}]
)
def test_the_grid_is_turned_and_then_swapped(told, flip, tmp_path):
    small, cube = grid()
    scan = open_scan(py4dstem(tmp_path / "a.h5", cube, told | {"QR_flip": flip}))
    rows, columns = small.positions.T
    turned = np.stack([np.cos(0.3) * rows + np.sin(0.3) * columns, -np.sin(0.3) * rows + np.cos(0.3) * columns], axis=1)
    small.positions = turned[:, ::-1] if flip else turned
    assert_same(scan, small)


def test_the_origin_is_the_pixel_of_the_beam(tmp_path):
    small, cube = grid()
    wide = np.zeros((ROWS, COLUMNS, SIZE + 4, SIZE + 4), np.uint16)
    wide[:, :, 4:, :SIZE] = cube
    scan = open_scan(py4dstem(tmp_path / "a.h5", wide, {"qx0_mean": 4.2 + SIZE // 2, "qy0_mean": SIZE // 2 - 0.3}))
    assert scan.patterns.shape == small.counts.shape
    assert_same(scan, small)
    assert scan.object_pixel_m == pytest.approx(PIXEL)


def test_several_cubes_of_py4dstem_are_named(tmp_path):
    _, cube = grid()
    for name in ("a", "b"):
        py4dstem(tmp_path / "a.h5", cube, name=name)
    with pytest.raises(DataError, match="2 datacubes: 'root/a/data'"):
        open_scan(tmp_path / "a.h5")


# NeXus of HyperSpy


def test_a_nexus_file_of_hyperspy_is_read(tmp_path):
    small, cube = grid()
    scan = open_scan(nexus(tmp_path / "a.nxs", cube))
    assert_same(scan, small)
    assert scan.format == "NeXus of HyperSpy"
    assert scan.geometry.detector_distance_m == pytest.approx(0.1)
    assert scan.geometry.wavelength_m == pytest.approx(WAVELENGTH, rel=1e-5)
    assert scan.object_pixel_m == pytest.approx(PIXEL)


def test_axes_of_the_detector_are_found_by_their_units(tmp_path):
    small, cube = grid()
    names, units, steps = ("a", "b", "c", "d"), ("1/nm", "1/nm", "nm", "nm"), (DK * 10, DK * 10, 0.1, 0.1)
    assert_same(open_scan(nexus(tmp_path / "a.nxs", np.moveaxis(cube, (2, 3), (0, 1)), names, units, steps)), small)


@pytest.mark.parametrize("unit", ["A^-1", "1/A", "1 / Å", "Å^{-1}", "$A^{-1}$", "[1_/_Å]", "A**-1", "1/(A)", "Å⁻¹", "Å-1"])
def test_words_of_spatial_frequency(unit):
    pixel = Axis("", unit, np.array([0.0, 0.5])).pixel
    assert (pixel.value, pixel.angle) == (pytest.approx(0.5e10), False)


def test_the_wrong_format_by_name_is_refused(tmp_path):
    _, cube = grid()
    for name in ("py4dstem", "hyperspy_nexus"):
        with pytest.raises(DataError, match="no datacube"):
            open_scan(emd(tmp_path / f"{name}.emd", cube), {"format": name})
    assert source_of(ScanFile(tmp_path / "py4dstem.emd"), data_settings({})).has("signals")


# HyperSpy's own


@pytest.mark.parametrize("angle", [False, True])
def test_a_file_of_hyperspy_is_read(angle, tmp_path):
    """The axes that it does not navigate are the detector's, wherever they lie."""
    small, cube = grid()
    step, unit = (DK * WAVELENGTH * 1e13, "mrad") if angle else (DK * 10, "1/nm")
    names, units, steps = ("ky", "kx", "y", "x"), (unit, unit, "nm", "nm"), (step, step, 0.1, 0.1)
    scan = open_scan(hspy(tmp_path / "a.hspy", np.moveaxis(cube, (2, 3), (0, 1)), names, units, steps))
    assert_same(scan, small, within=1e-3)
    assert (scan.format, scan.object_pixel_m) == ("HyperSpy", pytest.approx(PIXEL, rel=1e-4))
