"""Scans of fold_slice, a pair of files, and its results of MATLAB."""

import h5py
import numpy as np
import pytest
import scipy.io
from small_scan import FRAMES, PIXEL, SIZE, WAVELENGTH, SmallScan, assert_same

from ptycho_core.cli.main import main
from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import read_object, read_probe
from ptycho_core.physics.geometry import electron_wavelength

RNG = np.random.default_rng(3)
PROBE = (RNG.normal(size=(SIZE, SIZE, 3)) + 1j).astype(np.complex64)
IMAGE = (RNG.normal(size=(71, 50)) + 1j).astype(np.complex64)
SHIFT = np.ceil((np.array(IMAGE.shape) - SIZE) / 2)


def write(path, **values):
    with h5py.File(path, "w") as file:
        for key, value in values.items():
            if value is not None:
                file[key] = value
    return path


def frames(folder, small, name="data_roi0_dp.hdf5"):
    """MATLAB writes (row, column, frame); HDF5 lists the axes the other way."""
    return write(folder / name, dp=small.counts.transpose(1, 2, 0).T)


def para(folder, small, name="data_roi0_para.hdf5", **changes):
    values = {"ppX": -small.metres[:, 1], "ppY": -small.metres[:, 0], "lambda": [[WAVELENGTH]], "dx": [[PIXEL]], "angle": [[0.0]]}
    return write(folder / name, **(values | changes))


def test_a_pair_is_found_by_its_names(tmp_path):
    small = SmallScan()
    path, other = frames(tmp_path, small), para(tmp_path, small)
    for given in (path, other):
        scan = open_scan(given)
        assert_same(scan, small)
        assert scan.object_pixel_m == pytest.approx(PIXEL)


def test_columns_of_matlab_are_positions_too(tmp_path):
    small = SmallScan()
    para(tmp_path, small, ppX=-small.metres[:, 1][np.newaxis], ppY=-small.metres[:, 0][:, np.newaxis])
    assert_same(open_scan(frames(tmp_path, small)), small)


def test_positions_given_by_the_user_go_first(tmp_path):
    small = SmallScan()
    para(tmp_path, small, ppX=np.zeros(FRAMES), ppY=np.zeros(FRAMES))
    other = para(tmp_path, small, "elsewhere.h5")
    assert_same(open_scan(frames(tmp_path, small, "anything.h5"), {"positions": str(other), "format": "foldslice"}), small)
    assert_same(open_scan(tmp_path / "anything.h5", {"positions": str(other)}), small)


def test_a_table_serves_with_the_geometry_of_the_pair(tmp_path):
    small = SmallScan()
    path = frames(tmp_path, small)
    para(tmp_path, small, ppX=np.zeros(FRAMES), ppY=np.zeros(FRAMES))
    np.savetxt(tmp_path / "t.csv", small.metres, delimiter=",", header="y_m,x_m")
    assert_same(open_scan(path, {"positions": str(tmp_path / "t.csv")}), small)


def test_a_table_next_to_the_frames_serves_without_a_pair(tmp_path):
    small = SmallScan()
    np.savetxt(tmp_path / "positions.csv", small.positions, delimiter=",", header="y_px,x_px")
    assert_same(open_scan(frames(tmp_path, small)), small)


def test_a_simulated_pair_without_geometry_needs_the_pixel(tmp_path):
    small = SmallScan()
    para(tmp_path, small, **{"lambda": None, "dx": None})
    path = frames(tmp_path, small)
    with pytest.raises(DataError, match="--object-pixel-m"):
        open_scan(path)
    assert_same(open_scan(path, {"object_pixel_m": PIXEL}), small)


def test_a_short_wavelength_is_that_of_electrons(tmp_path):
    small = SmallScan()
    para(tmp_path, small, **{"lambda": electron_wavelength(80e3)})
    from ptycho_core.formats.foldslice import FoldSlice
    from ptycho_core.formats.opening import ScanFile, source_of
    from ptycho_core.settings.data import data_settings

    raw = FoldSlice().read(source_of(ScanFile(frames(tmp_path, small)), data_settings(None)))
    assert raw.electrons
    assert raw.stated["photon_energy_ev"].value == pytest.approx(80e3)


@pytest.mark.parametrize("turned", [False, True])
def test_positions_in_angstrom_are_those_of_electrons(turned, tmp_path):
    small = SmallScan()
    points = -small.metres[:, ::-1].T * 1e10
    write(tmp_path / "data_position.hdf5", probe_positions_0=points.T if turned else points)
    assert_same(open_scan(frames(tmp_path, small), {"object_pixel_m": PIXEL}), small)


def test_a_missing_companion_is_named(tmp_path):
    with pytest.raises(DataError, match=r"data_roi0_para\.hdf5 is not next to it") as caught:
        open_scan(frames(tmp_path, SmallScan()))
    assert "--positions" in caught.value.remedy


def test_positions_without_frames_are_told(tmp_path):
    with pytest.raises(DataError, match=r"holds positions and no frames, and data_roi0_dp\.hdf5 is not next to it"):
        open_scan(para(tmp_path, SmallScan()))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ppX": np.zeros(FRAMES - 1)}, r"'ppX' has shape"),
        ({"ppX": np.zeros(FRAMES - 1), "ppY": np.zeros(FRAMES - 1)}, rf"{FRAMES - 1} positions and 'dp'"),
        ({"dx": [[-1.0]]}, r"'dx' is -1; it must be positive"),
        ({"dx": [[1.0, 2.0]]}, r"'dx' must be one number"),
    ],
)
def test_wrong_values_are_named(changes, told, tmp_path):
    small = SmallScan()
    para(tmp_path, small, **changes)
    with pytest.raises(DataError, match=told):
        open_scan(frames(tmp_path, small))


def result(small):
    """Variables with axes as in MATLAB."""
    return {
        "object": IMAGE, "probe": PROBE, "p": {"dx_spec": np.array([[PIXEL, PIXEL]]), "lambda": WAVELENGTH, "energy": 8.8},
        "outputs": {"probe_positions": (small.positions - SHIFT)[:, ::-1]},
    }  # fmt: skip


def version5(path, variables):
    scipy.io.savemat(path, variables)
    return path


def compressed(path, variables):
    """As MATLAB saves by default."""
    scipy.io.savemat(path, variables, do_compression=True)
    return path


def bare73(path, variables):
    """As other programs write version 7.3: without a block before HDF5, and without classes."""
    with h5py.File(path, "w") as file:
        _put(file, variables, classes=False)
    return path


def version73(path, variables):
    """Axes the other way, complex numbers as pairs, a block of text before HDF5 begins, classes as attributes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        _put(file, variables)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Thu Jul  7 17:45:51 2022 HDF5 schema 1.00 .")
    return path


def _put(group, variables, *, classes=True):
    for name, value in variables.items():
        if isinstance(value, dict):
            _put(group.create_group(name), value, classes=classes)
            continue
        value = np.atleast_2d(value).T
        if np.iscomplexobj(value):
            pairs = np.empty(value.shape, [("real", value.real.dtype), ("imag", value.real.dtype)])
            pairs["real"], pairs["imag"] = value.real, value.imag
            value = pairs
        group[name] = value
        if classes:
            group[name].attrs["MATLAB_class"] = np.bytes_("single")


@pytest.mark.parametrize("write_mat", [version5, compressed, version73, bare73])
def test_a_result_is_read(write_mat, tmp_path):
    small = SmallScan()
    path = write_mat(tmp_path / "Niter100.mat", result(small))
    found = read_object(path)
    np.testing.assert_array_equal(found.object, IMAGE)
    np.testing.assert_array_equal(found.probe, np.moveaxis(PROBE, -1, 0))
    np.testing.assert_allclose(found.positions, small.positions, atol=1e-9)
    assert found.pixel_size_m == pytest.approx((PIXEL, PIXEL))
    np.testing.assert_array_equal(read_probe(path), np.moveaxis(PROBE, -1, 0))


@pytest.mark.parametrize("write_mat", [version5, compressed, version73, bare73])
def test_axes_that_matlab_drops_or_adds(write_mat, tmp_path):
    """One mode has no its own axis; varying probes have a fourth; a result may lack all but its arrays."""
    one = read_object(write_mat(tmp_path / "a.mat", {"object": IMAGE, "probe": PROBE[..., 0]}))
    np.testing.assert_array_equal(one.probe, PROBE[np.newaxis, ..., 0])
    assert one.positions is None
    varying = np.stack([PROBE, PROBE * 2], axis=-1)
    found = read_object(write_mat(tmp_path / "b.mat", {"object": IMAGE, "probe": varying}))
    np.testing.assert_array_equal(found.probe, np.moveaxis(PROBE, -1, 0))
    assert any("of 2 OPR modes" in note for note in found.notes)
    probe = read_probe(write_mat(tmp_path / "c.mat", {"probe": PROBE}))
    np.testing.assert_array_equal(probe, np.moveaxis(PROBE, -1, 0))


def test_a_pixel_of_electrons_is_in_angstrom(tmp_path):
    found = read_object(version5(tmp_path / "a.mat", result(SmallScan()) | {"p": {"dx_spec": [0.2, 0.2]}}))
    assert found.pixel_size_m == pytest.approx((2e-11, 2e-11))
    assert any("in Angstrom" in note for note in found.notes)


@pytest.mark.parametrize("write_mat", [version5, compressed, version73, bare73])
def test_a_result_is_scored_and_starts(write_mat, tmp_path, capsys):
    path = write_mat(tmp_path / "a.mat", result(SmallScan()))
    assert main(["score", str(path), "--reference", str(path)]) == 0
    with pytest.raises(DataError, match="is a result of fold_slice, not a scan"):
        open_scan(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"object": np.ones((2, 70, 50)), "probe": PROBE}, "one layer"),
        ({"object": "text", "probe": PROBE}, r"'object' cannot be read: it holds no numbers"),
        ({"probe": np.full((SIZE, SIZE), np.nan)}, r"'probe', shape .* not finite"),
        ({"outputs": {"probe_positions": np.ones((FRAMES, 3))}}, r"'outputs.probe_positions' has shape"),
        ({"p": {"dx_spec": [0.0, 0.0]}}, r"'p.dx_spec' has shape \(2,\)"),
    ],
)
def test_wrong_results_are_named(changes, told, tmp_path):
    with pytest.raises(DataError, match=told):
        read_object(version5(tmp_path / "a.mat", result(SmallScan()) | changes))
