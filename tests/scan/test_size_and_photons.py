"""Patterns cropped or padded, and brought to counts: what belongs to them follows, and the physics stays the same."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import StoredObject
from ptycho_core.physics import intensities
from ptycho_core.scan.scan import scaled_probe
from ptycho_core.scan.size import followed_object

N = 32
WAVES = ((0.02, 0.03, 0.2), (-0.03, 0.01, 0.15j))
"""Frequencies (row, column) in turns a pixel, and amplitudes; with the probe they stay below a quarter of a turn."""


def waves(rows, columns, scale=1.0):
    """The object at pixels ``1 / scale`` times as wide."""
    r, c = np.mgrid[:rows, :columns] / scale
    return 0.8 + sum(a * np.exp(2j * np.pi * (f * r + g * c)) for f, g, a in WAVES)


def probe(power=1e4):
    r, c = np.mgrid[:N, :N] - N // 2
    lit = np.exp(-(r**2 + c**2) / (2 * 3.5**2)) * np.exp(0.1j * r)
    return (lit * np.sqrt(power / (np.abs(lit) ** 2).sum()))[None]


def arrays(**changes):
    positions = np.random.default_rng(3).integers(0, 20, (12, 2)).astype(float)
    truth = waves(60, 60)
    plain = {
        "intensity": intensities(truth, probe(), positions), "positions_px": positions, "probe_guess": probe(),
        "probe_in_counts": np.array(True), "object_guess": truth, "photon_energy_ev": 8000.0, "detector_distance_m": 1.0,
        "detector_pixel_size_m": 75e-6,
    }  # fmt: skip
    return {name: value for name, value in (plain | changes).items() if value is not None}


@pytest.fixture
def make(tmp_path):
    def write(name="scan.npz", **changes):
        np.savez(tmp_path / name, **arrays(**changes))
        return tmp_path / name

    return write


def whole(scan):
    return scan.patterns.read(slice(None)).astype(float)


@pytest.mark.parametrize("size", [16, 20, 27, 48, 49, 64])
def test_the_forward_model_of_what_follows_gives_the_patterns_that_were_cropped_or_padded(make, size):
    scan = open_scan(make(), {"size": size})
    stored = whole(open_scan(make()))
    assert (scan.size, scan.stored_size, scan.mask.shape) == (size, N, (size, size))
    rows, columns = np.ceil(scan.positions.max(axis=0)).astype(int) + size + 1
    found = intensities(waves(rows, columns, size / N), scan.probe, scan.positions)
    np.testing.assert_allclose(found[:, scan.mask], whole(scan)[:, scan.mask], atol=2e-4 * stored.max())
    first = abs(N // 2 - size // 2)
    inner = slice(first, first + min(size, N))
    if size < N:
        np.testing.assert_array_equal(whole(scan), stored[:, inner, inner])
        assert scan.mask.all()
    else:
        np.testing.assert_array_equal(whole(scan)[:, inner, inner], stored)
        assert scan.mask[inner, inner].all()
        assert scan.mask.sum() == N**2
        assert whole(scan).sum() == pytest.approx(stored.sum())


def test_what_is_beside_the_patterns_follows_and_is_told(make):
    plain, scan = (open_scan(make(), {"size": size}) for size in (None, 16))
    np.testing.assert_allclose(scan.positions, plain.positions / 2)
    assert (np.abs(scan.probe) ** 2).sum() == pytest.approx(1e4, rel=1e-3)
    assert scan.probe_scaled
    assert scan.object_pixel_m == pytest.approx(2 * plain.object_pixel_m)
    wanted = waves(31, 31, 0.5)
    inside = (slice(4, 26), slice(4, 26))
    np.testing.assert_allclose(scan.object_guess[inside], wanted[inside], atol=0.02)
    assert any("16 x 16" in note and "cropped" in note for note in scan.notes)
    assert open_scan(make(), {"size": N}).stored_size is None


def test_the_object_covers_every_window_whatever_the_size(make):
    positions = np.array([[0.0, 0.0], [28.9, 3.2], [5.0, 28.99]])
    path = make(positions_px=positions, intensity=arrays()["intensity"][:3])
    for size in range(8, 70, 3):
        scan = open_scan(path, {"size": size})
        assert (np.floor(scan.positions).max(axis=0) + size <= np.array(scan.object_guess.shape) + 1e-9).all()


@pytest.mark.parametrize("size", [N, 16, 48])
def test_a_probe_file_may_be_of_either_size(make, tmp_path, size):
    np.save(tmp_path / "probe.npy", probe()[0])
    own, given = (open_scan(make(), {"size": size} | how) for how in ({}, {"probe": str(tmp_path / "probe.npy")}))
    np.testing.assert_allclose(given.probe, own.probe)
    np.save(tmp_path / "small.npy", own.probe[0])
    np.testing.assert_allclose(open_scan(make(), {"size": size, "probe": str(tmp_path / "small.npy")}).probe, own.probe)
    np.save(tmp_path / "other.npy", np.ones((10, 10), complex))
    with pytest.raises(DataError, match="10 x 10"):
        open_scan(make(), {"size": size, "probe": str(tmp_path / "other.npy")})


def test_an_object_out_of_another_file_follows_by_the_probe_beside_it(make):
    scan, truth = open_scan(make(), {"size": 16}), waves(60, 60)
    beside = StoredObject(truth, probe(), positions=np.full((12, 2), 6.0), origin=np.array([4.0, 6.0]))
    found = followed_object(scan, beside, "start.npz", own=False)
    np.testing.assert_allclose(found.object, scan.object_guess)
    assert (found.probe.shape, found.origin.tolist(), found.positions[0].tolist()) == ((1, 16, 16), [2, 3], [3, 3])
    small = replace(beside, probe=scan.probe)
    assert followed_object(scan, small, "start.npz", own=False) is small
    assert followed_object(open_scan(make()), beside, "start.npz", own=False) is beside
    for other, told in ((None, "no probe next to it"), (np.ones((1, 20, 20)), "patterns of 20 pixels")):
        with pytest.raises(DataError, match=told) as caught:
            followed_object(scan, replace(beside, probe=other), "start.npz", own=False)
        assert "--size" in caught.value.remedy
    own = followed_object(scan, StoredObject(truth), "scan.npz", own=True)
    np.testing.assert_allclose(own.object, scan.object_guess)


def test_a_size_that_leaves_nothing_is_refused(make):
    mask = np.ones((N, N), bool)
    mask[8:24, 8:24] = False
    with pytest.raises(DataError, match="none of the 12 x 12 pixels"):
        open_scan(make(mask=mask), {"size": 12})


def test_photons_bring_patterns_and_a_stated_probe_to_counts_and_leave_the_object(make):
    plain, scan = (open_scan(make(), {"photons": photons}) for photons in (None, 5e6))
    assert whole(scan).sum() / 12 == pytest.approx(5e6, rel=1e-5)
    assert scan.counts_factor == pytest.approx(5e6 / (whole(plain).sum() / 12), rel=1e-5)
    found = intensities(arrays()["object_guess"], scan.probe, scan.positions)
    np.testing.assert_allclose(found, whole(scan), rtol=1e-4, atol=1e-3 * found.max())
    assert any("5e+06 in a pattern" in note and f"{scan.counts_factor:.6g}" in note for note in scan.notes)


def test_a_probe_of_unknown_scale_follows_the_counts_by_itself(make):
    scan = open_scan(make(probe_in_counts=None), {"photons": 5e6})
    assert np.array_equal(scan.probe, probe())
    assert (np.abs(scaled_probe(scan)[0]) ** 2).sum() == pytest.approx(5e6, rel=1e-5)


def test_normalised_amplitudes_become_counts_by_what_the_file_states_unless_the_user_does(make, tmp_path):
    values = arrays()
    amplitude = np.sqrt(values["intensity"])
    centres = values["positions_px"] + N // 2
    pinn = {"diffraction": (amplitude / amplitude.max()).astype(np.float32), "ycoords": centres[:, 0], "xcoords": centres[:, 1]}
    for key in ("photons", "nphotons"):
        np.savez(tmp_path / "pinn.npz", **pinn, **{key: 3e4})
        assert whole(open_scan(tmp_path / "pinn.npz")).sum() / 12 == pytest.approx(3e4, rel=1e-5)
        assert whole(open_scan(tmp_path / "pinn.npz", {"photons": 2e4})).sum() / 12 == pytest.approx(2e4, rel=1e-5)
    np.savez(tmp_path / "pinn.npz", **pinn, nphotons=0.0)
    with pytest.raises(DataError, match="'nphotons' is 0") as caught:
        open_scan(tmp_path / "pinn.npz")
    assert "--photons" in caught.value.remedy


def test_photons_are_those_of_the_stored_pattern_before_it_is_cropped(make):
    scan = open_scan(make(photons=np.array(1e5)), {"size": 16})
    wanted = whole(open_scan(make(photons=np.array(1e5))))[:, 8:24, 8:24]
    np.testing.assert_array_equal(whole(scan), wanted)
    assert wanted.sum() / 12 < 1e5


def test_patterns_without_counts_cannot_be_scaled(make):
    with pytest.raises(DataError, match="no counts at all"):
        open_scan(make(intensity=np.zeros((12, N, N))), {"photons": 1e4})
