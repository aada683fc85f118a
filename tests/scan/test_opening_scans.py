"""Reading scans: what each layout means, lazily, by content."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.formats.opening import ScanFile, open_scan

FRAMES, SIZE = 6, 8


def arrays(**changes):
    random = np.random.default_rng(1)
    plain = {
        "intensity": random.poisson(20, (FRAMES, SIZE, SIZE)).astype(np.uint16),
        "positions_px": random.uniform(0, 30, (FRAMES, 2)),
        "probe_guess": (random.standard_normal((SIZE, SIZE)) + 1j).astype(np.complex64),
    }
    return {**plain, **changes}


def pinn(**changes):
    plain = arrays()
    layout = {
        "diffraction": np.sqrt(plain["intensity"]).astype(np.float32),
        "xcoords": plain["positions_px"][:, 1] + SIZE / 2,
        "ycoords": plain["positions_px"][:, 0] + SIZE / 2,
        "probeGuess": plain["probe_guess"],
        "objectGuess": np.ones((60, 61), np.complex64),
        "scan_index": np.zeros(FRAMES, int),
    }
    return {**layout, **changes}


def save(path, values, *, compressed=True):
    (np.savez_compressed if compressed else np.savez)(path, **values)
    return path


def whole(scan):
    return scan.patterns.read(slice(None))


@pytest.mark.parametrize("compressed", [True, False])
def test_plain_layout_is_read_as_stored(tmp_path, compressed):
    values = arrays()
    scan = open_scan(save(tmp_path / "scan.npz", values, compressed=compressed))
    assert scan.patterns.shape == (FRAMES, SIZE, SIZE)
    assert scan.patterns.dtype == np.uint16
    assert len(scan) == len(scan.patterns) == FRAMES
    counts = whole(scan)
    assert counts.dtype == np.float32
    np.testing.assert_array_equal(counts, values["intensity"])
    np.testing.assert_array_equal(scan.positions, values["positions_px"])
    np.testing.assert_array_equal(scan.probe, values["probe_guess"][np.newaxis])
    assert scan.mask.all()
    assert not scan.probe_scaled
    assert scan.geometry is None


@pytest.mark.parametrize("compressed", [True, False])
def test_frames_come_in_the_order_asked_for_and_may_be_changed(tmp_path, compressed):
    values = arrays()
    scan = open_scan(save(tmp_path / "scan.npz", values, compressed=compressed))
    some = scan.patterns.read(np.array([4, 0, 4]))
    np.testing.assert_array_equal(some, values["intensity"][[4, 0, 4]])
    some[:] = -1
    np.testing.assert_array_equal(scan.patterns.read(slice(3, 5)), values["intensity"][3:5])
    with pytest.raises(IndexError):
        scan.patterns.read(np.array([FRAMES]))


def test_fortran_order_is_read_alike_stored_or_compressed(tmp_path):
    values = arrays(intensity=np.asfortranarray(arrays()["intensity"]))
    for compressed in (True, False):
        scan = open_scan(save(tmp_path / f"{compressed}.npz", values, compressed=compressed))
        np.testing.assert_array_equal(whole(scan), values["intensity"])


def test_both_layouts_of_one_scan_agree(tmp_path):
    plain = open_scan(save(tmp_path / "plain.npz", arrays()))
    other = open_scan(save(tmp_path / "pinn.npz", pinn()))
    np.testing.assert_allclose(whole(other), whole(plain), rtol=1e-6)
    np.testing.assert_allclose(other.positions, plain.positions, atol=1e-12)
    np.testing.assert_array_equal(other.probe, plain.probe)
    assert (plain.signal, other.signal) == ("counts", "amplitude")
    assert other.object_guess.shape == (60, 61)
    assert other.scan_index.tolist() == [0] * FRAMES


def test_old_axis_order_is_told_by_the_number_of_positions(tmp_path):
    old = pinn(diffraction=np.moveaxis(pinn()["diffraction"], 0, -1))
    scan = open_scan(save(tmp_path / "old.npz", old))
    np.testing.assert_array_equal(whole(scan), whole(open_scan(save(tmp_path / "new.npz", pinn()))))
    assert any("(row, column, frame)" in note for note in scan.notes)


def test_an_ambiguous_axis_is_settled_by_the_user(tmp_path):
    cube = np.random.default_rng(2).random((SIZE, SIZE, SIZE)).astype(np.float32)
    spots = np.arange(float(SIZE))
    path = save(tmp_path / "cube.npz", {"diffraction": cube, "xcoords": spots, "ycoords": spots})
    first, last = (whole(open_scan(path, {"frame_axis": word})) for word in ("first", "last"))
    np.testing.assert_array_equal(first, cube**2)
    np.testing.assert_array_equal(last, np.moveaxis(cube, -1, 0) ** 2)


def test_diff3d_of_whole_numbers_is_counts(tmp_path):
    values = pinn(diff3d=arrays()["intensity"])
    del values["diffraction"]
    scan = open_scan(save(tmp_path / "raw.npz", values))
    assert scan.signal == "counts"
    np.testing.assert_array_equal(whole(scan), arrays()["intensity"])


def test_the_users_word_on_the_signal_beats_the_files_and_the_files_beats_the_type(tmp_path):
    floats = pinn(diffraction=arrays()["intensity"].astype(np.float32))
    stored = floats["diffraction"]
    unstated = save(tmp_path / "unstated.npz", floats)
    stated = save(tmp_path / "stated.npz", floats | {"signal": np.array("counts")})
    np.testing.assert_array_equal(whole(open_scan(unstated)), stored**2)
    np.testing.assert_array_equal(whole(open_scan(stated)), stored)
    np.testing.assert_array_equal(whole(open_scan(unstated, {"signal": "counts"})), stored)
    overruled = open_scan(stated, {"signal": "amplitude"})
    np.testing.assert_array_equal(whole(overruled), stored**2)
    assert "although" in overruled.notes[0]


def test_intensity_of_floats_is_counts_because_its_name_says_so(tmp_path):
    values = arrays(intensity=arrays()["intensity"] * 0.5)
    np.testing.assert_allclose(whole(open_scan(save(tmp_path / "scan.npz", values))), values["intensity"])


def test_the_format_is_told_by_content_not_by_name(tmp_path):
    path = save(tmp_path / "scan.npz", arrays()).rename(tmp_path / "scan.data")
    assert open_scan(path).format == "plain npz"


def test_truth_is_never_part_of_a_scan(tmp_path):
    values = arrays(probe_true=np.ones((SIZE, SIZE), complex), object_true=np.ones((50, 50), complex))
    del values["probe_guess"]
    scan = open_scan(save(tmp_path / "scan.npz", values))
    assert scan.probe is None
    assert scan.object_guess is None


def test_geometry_is_mixed_from_file_and_settings_and_gives_the_object_pixel(tmp_path):
    path = save(tmp_path / "scan.npz", arrays(photon_energy_ev=np.array(8000.0), detector_distance_m=np.array(2.0)))
    incomplete = open_scan(path)
    assert incomplete.geometry is None
    assert any("detector_pixel_size_m" in note for note in incomplete.notes)
    scan = open_scan(path, {"detector_pixel_size_m": 75e-6, "photon_energy_ev": 12398.41984})
    # 12.398 keV is 1 Angstrom; lambda z / (N p) = 1e-10 * 2 / (8 * 75e-6)
    assert scan.object_pixel_m == pytest.approx(1e-10 * 2 / (SIZE * 75e-6), rel=1e-6)


@pytest.mark.parametrize("kind", ["npy", "npz", "tif"])
def test_a_mask_file_hides_bad_pixels_whatever_they_hold(tmp_path, kind):
    good = np.ones((SIZE, SIZE), bool)
    good[2, 3] = False
    mask = tmp_path / f"mask.{kind}"
    if kind == "npy":
        np.save(mask, good)
    elif kind == "npz":
        np.savez(mask, mask=good)
    else:
        from skimage.io import imsave

        imsave(mask, good.astype(np.uint8) * 255, check_contrast=False)
    values = arrays(intensity=arrays()["intensity"].astype(np.float32))
    values["intensity"][:, 2, 3] = [np.nan, -1, np.inf, 0, 1, 2]
    scan = open_scan(save(tmp_path / "scan.npz", values), {"mask": str(mask)})
    counts = whole(scan)
    np.testing.assert_array_equal(scan.mask, good)
    assert not counts[:, 2, 3].any()
    np.testing.assert_array_equal(counts[:, good], values["intensity"][:, good])


def test_the_mask_of_the_settings_replaces_that_of_the_file(tmp_path):
    inside, other = np.ones((SIZE, SIZE), bool), np.ones((SIZE, SIZE), bool)
    inside[0, 0] = other[1, 1] = False
    path = save(tmp_path / "scan.npz", arrays(mask=inside))
    np.save(tmp_path / "mask.npy", other)
    np.testing.assert_array_equal(open_scan(path).mask, inside)
    np.testing.assert_array_equal(open_scan(path, {"mask": str(tmp_path / "mask.npy")}).mask, other)


def test_settings_are_taken_as_a_mapping_or_as_the_typed_group(tmp_path):
    path = save(tmp_path / "scan.npz", pinn())
    from ptycho_core.settings.data import DataSettings

    np.testing.assert_array_equal(whole(open_scan(path, DataSettings(signal="counts"))), pinn()["diffraction"])
    with pytest.raises(SettingsError, match="Did you mean 'signal'"):
        open_scan(path, {"signl": "counts"})
    with pytest.raises(SettingsError, match="must be one of"):
        open_scan(path, {"signal": "photons"})
    with pytest.raises(SettingsError, match="must be above 0"):
        open_scan(path, {"detector_distance_m": 0})


def test_a_file_that_is_open_serves_until_it_changes(tmp_path):
    path = save(tmp_path / "scan.npz", arrays())
    opened = ScanFile(path)
    assert opened.holds_any("intensity")
    for settings in ({}, {"size": 8}):
        np.testing.assert_array_equal(whole(open_scan(opened, settings)), whole(open_scan(path, settings)))
    save(path, arrays(positions_px=arrays()["positions_px"] + 1))
    with pytest.raises(DataError, match=r"scan\.npz has changed since this job looked at it"):
        open_scan(opened)


def test_a_file_is_looked_at_when_it_is_first_used(tmp_path):
    opened = ScanFile(tmp_path / "none.npz")
    with pytest.raises(DataError, match="does not exist"):
        open_scan(opened)
    path = save(tmp_path / "none.npz", arrays())
    assert open_scan(opened).source == path


def test_opening_reads_no_pattern(tmp_path):
    path = save(tmp_path / "scan.npz", arrays())
    code = (
        "import sys, numpy as np\n"
        "from ptycho_core import open_scan\n"
        "read = np.lib.format.read_array\n"
        "seen = []\n"
        "def watched(file, **options):\n"
        "    seen.append(file.name)\n"
        "    return read(file, **options)\n"
        "np.lib.format.read_array = watched\n"
        "scan = open_scan(sys.argv[1])\n"
        "assert 'positions_px.npy' in seen and 'intensity.npy' not in seen, seen\n"
        "scan.patterns.read(slice(0, 1))\n"
        "assert 'intensity.npy' in seen, seen\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_the_bundled_sample_opens_by_name_and_is_small():
    scan = open_scan("sample:siemens-star")
    assert scan.patterns.shape == (516, 128, 128)
    assert scan.probe.shape == (1, 128, 128)
    assert scan.source.stat().st_size <= 6e6
    assert whole(scan).max() == 963
    assert "UChicago Argonne, LLC" in (scan.source.parent / "LICENSE-siemens-star.txt").read_text()
