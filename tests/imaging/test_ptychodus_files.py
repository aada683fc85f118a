"""Files that ptychodus 1.7.0 wrote of one tiny scan: each says where its windows lie, so that a start and a score are right."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_core.comparison.existing import _misfit
from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import Reconstruction, read_object, read_probe
from ptycho_core.imaging.metrics import data_misfit, score
from ptycho_core.reconstruction.start import prepare_start
from ptycho_core.settings.reconstruction import ReconstructionSettings

HERE = Path(__file__).parent / "ptychodus"
SCAN = HERE / "scan.npz"
ALL = ["product.h5", "product.npz", "product_opr.h5", "training.h5", "ptychopinn.npz"]
N = 16


def started(path, scan=SCAN):
    return prepare_start(open_scan(scan), ReconstructionSettings(modes=2, start=str(path)), seed=0)


def misfit(start, scan=SCAN, shift=0.0):
    return data_misfit(open_scan(scan), start.object, start.probe, start.positions + shift)


def changed(tmp_path, name="product.h5", **arrays):
    """A copy with other datasets; None takes one away."""
    path = tmp_path / name
    path.write_bytes((HERE / name).read_bytes())
    with h5py.File(path, "a") as file:
        for key, values in arrays.items():
            attributes = dict(file[key].attrs)
            del file[key]
            if values is not None:
                file[key] = values
                file[key].attrs.update(attributes)
    return path


def padded(tmp_path):
    """The object with 12 and 4 rows, 9 and 20 columns more, and its centre moved with it; positions in metres stay."""
    with h5py.File(HERE / "product.h5") as file:
        image = file["object"][()]
    path = changed(tmp_path, object=np.pad(image, [(0, 0), (12, 4), (9, 20)], constant_values=1))
    with h5py.File(path, "a") as file:
        attributes = file["object"].attrs
        attributes["center_y_m"] += (4 - 12) / 2 * attributes["pixel_height_m"]
        attributes["center_x_m"] += (20 - 9) / 2 * attributes["pixel_width_m"]
    return path


@pytest.mark.parametrize("name", ALL)
def test_windows_lie_where_the_scan_says(name):
    stored = read_object(HERE / name, "start")
    difference = open_scan(SCAN).positions - stored.positions
    assert np.abs(difference - [100.25, -30.5]).max() < 1e-9
    assert stored.object.shape == (42, 37)
    assert stored.probe.shape == (2, N, N)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("scan", ["scan.npz", "ptychopinn.npz"])
def test_a_start_explains_the_patterns_best_where_it_is_put(name, scan):
    start = started(HERE / name, HERE / scan)
    right = misfit(start, HERE / scan)
    assert right < 0.045  # noise alone leaves 0.0435
    assert all(misfit(start, HERE / scan, shift) > 1.5 * right for shift in (-0.5, 0.5))
    assert start.probe_factor == pytest.approx(1, abs=2e-3)


def test_an_object_with_a_border_starts_like_one_without(tmp_path):
    one, other = started(HERE / "product.h5"), started(padded(tmp_path))
    assert misfit(other) == pytest.approx(misfit(one), rel=1e-6)


def test_positions_go_with_the_number_of_their_frame_and_several_of_a_frame_are_averaged(tmp_path):
    with h5py.File(HERE / "product.h5") as file:
        numbers, x, y = (file[f"probe_position_{key}"][()] for key in ("indexes", "x_m", "y_m"))
    assert (np.diff(numbers) < 0).any()
    twice = changed(
        tmp_path,
        probe_position_indexes=np.append(numbers, numbers[3]),
        probe_position_x_m=np.append(x, x[3] + 2e-8),
        probe_position_y_m=np.append(y, y[3] - 4e-8),
    )
    one, other = read_object(HERE / "product.h5"), read_object(twice)
    assert other.frames.tolist() == list(range(7, 27))
    moved = np.zeros((20, 2))
    moved[numbers[3] - 7] = [-2e-8 / 5e-8, 1e-8 / 6e-8]
    assert np.allclose(other.positions - one.positions, moved)


def test_a_product_of_some_frames_is_paired_by_their_numbers(tmp_path):
    with h5py.File(HERE / "product.h5") as file:
        some = {name: file[name][()][4:] for name in ("probe_position_indexes", "probe_position_x_m", "probe_position_y_m")}
    path = changed(tmp_path, **some)
    found = score(path, HERE / "product.h5")
    assert found.registration.offset == (0, 0)
    assert found.position_error_px == pytest.approx(0, abs=1e-9)
    some["probe_position_indexes"] -= 7  # as the frames of the scan are counted
    assert np.allclose(started(changed(tmp_path, **some)).origin, started(HERE / "product.h5").origin)


@pytest.mark.parametrize("name", ["product.h5", "product.npz", "training.h5", "ptychopinn.npz"])
def test_a_score_knows_the_scanned_area_whichever_program_wrote_the_files(name, tmp_path):
    one = read_object(HERE / "product.h5")
    ours = Reconstruction(one.object, one.probe, one.positions).save(tmp_path / "ours.h5")
    wanted = score(ours, ours)
    assert wanted.registration.area.shape[0] < 42 - N
    for pair in (
        (HERE / name, HERE / "product.h5"),
        (HERE / "product.h5", HERE / name),
        (HERE / name, ours),
        (ours, HERE / name),
    ):
        found = score(*pair)
        assert found.registration.area == wanted.registration.area
        assert found.nrmse < 1e-6
        assert found.position_error_px == pytest.approx(0, abs=1e-9)
    moved = score(padded(tmp_path), HERE / name)
    assert moved.registration.area == wanted.registration.area
    assert moved.registration.offset == (-12, -9)


def test_old_names_are_read_and_a_product_without_a_centre_says_that_its_place_is_not_known(tmp_path):
    path = changed(tmp_path, loss_values=None)
    with h5py.File(path, "a") as file:
        del file.attrs["photon_energy_eV"], file.attrs["far_field"]
        file.attrs["probe_energy_eV"], file["costs"] = 8800.0, np.zeros(2)
        file["probe"].attrs["pixel_width_m"] = file["probe"].attrs["pixel_height_m"] = 0.0
    assert np.array_equal(read_object(path).positions, read_object(HERE / "product.h5").positions)
    assert started(path).notes == ()
    with h5py.File(path, "a") as file:
        del file["object"].attrs["center_x_m"]
    assert read_object(path).positions is None
    (note,) = started(path).notes
    assert "does not say where its object lies" in note


def test_what_of_an_opr_product_is_left_out_is_told():
    (note,) = started(HERE / "product_opr.h5").notes
    assert "of 2 OPR modes of the probe the first is taken" in note
    assert note in open_scan(SCAN, {"probe": str(HERE / "product_opr.h5")}).notes
    notes: list[str] = []
    assert np.array_equal(read_probe(HERE / "product_opr.h5", notes), read_probe(HERE / "product.h5", notes))
    assert len(notes) == 1


def test_the_bad_pixels_of_ptychodus_are_the_mask_and_its_patterns_counts(tmp_path):
    scan, plain = open_scan(HERE / "ptychopinn.npz"), open_scan(SCAN)
    assert np.array_equal(scan.mask, plain.mask)
    assert np.argwhere(~scan.mask).tolist() == [[3, 11]]
    with np.load(HERE / "ptychopinn.npz") as file:
        held = dict(file)
    path = tmp_path / "a.npz"
    np.savez(path, **held | {"diff3d": held["diff3d"].astype(np.float32)})
    assert open_scan(path).signal == "counts"
    del held["bad_pixels"]
    np.savez(path, **held)
    without = open_scan(path)
    assert without.mask.all()
    assert np.allclose(scan.positions - without.positions, 0.5)  # middles (N - 1) / 2 in place of the pixel N // 2
    np.savez(path, **held, bad_pixels=np.zeros((N, N), np.uint8))
    with pytest.raises(DataError, match=r"a\.npz: 'bad_pixels' is of type uint8.*True = bad"):
        open_scan(path)


def test_a_comparison_gives_the_misfit_of_a_foreign_product_whatever_the_scale_of_its_probe(tmp_path):
    with h5py.File(HERE / "product.h5") as file:
        probe, image = file["probe"][()], file["object"][()]
    for path in (HERE / "product.h5", changed(tmp_path, probe=probe * 1e-3)):
        assert _misfit(read_object(path), path, open_scan(SCAN)) == (pytest.approx(0.0435, abs=5e-4), "")
    cut = changed(tmp_path, object=image[:, 9:])  # whose windows reach beyond it
    value, why = _misfit(read_object(cut), cut, open_scan(SCAN))
    assert value is None
    assert "no R: " in why


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"probe_position_x_m": np.zeros(19)}, r"'probe_position_y_m' has shape \(20,\) and 'probe_position_x_m' \(19,\)"),
        ({"probe_position_x_m": np.full(20, np.nan)}, "'probe_position_x_m' of shape .20,. holds values that are not finite"),
        ({"probe_position_indexes": np.zeros(20)}, "'probe_position_indexes' has shape .20,. and type float64"),
        ({"probe_position_indexes": np.arange(5)}, "'probe_position_indexes' has shape .5,.*each of 20 positions"),
        ({"object": np.ones((2, 42, 37), complex)}, r"object has shape \(2, 42, 37\); one layer"),
    ],
)
def test_parts_of_a_product_that_do_not_fit_are_named(tmp_path, arrays, words):
    with pytest.raises(DataError, match=words):
        read_object(changed(tmp_path, **arrays))
