"""Counts that need help to be read: a mask that is found, a dark, noise round zero, values beyond float32."""

import numpy as np
import pytest
from spoiling import FRAMES, N, kinds, sound, written

from ptycho_core.errors import DataError, SettingsError
from ptycho_core.formats.opening import open_scan


@pytest.fixture(scope="module")
def good():
    return sound()


def whole(scan):
    return scan.patterns.read(slice(None)).astype(float)


def flagged(good, value, kind=np.int32):
    """Counts with a gap of two rows that holds a flag."""
    counts = good["intensity"].copy()
    counts[:, 9:11] = value
    return good | {"intensity": counts.astype(kind)}


@pytest.mark.parametrize(("value", "kind"), [(-1, np.int32), (-7, np.int16), (np.nan, np.float32), (4294967295, np.uint32)])
def test_auto_masks_flags_of_bad_pixels(good, tmp_path, value, kind):
    scan = open_scan(written(tmp_path / "scan.npz", flagged(good, value, kind)), {"mask": "auto"})
    assert np.unique(np.argwhere(~scan.mask)[:, 0]).tolist() == [9, 10]
    assert (~scan.mask).sum() == 2 * N
    assert f"{2 * N} {'not finite' if np.isnan(value) else 'constant'}" in scan.notes[-1]
    clean = whole(open_scan(written(tmp_path / "clean.npz", good)))
    np.testing.assert_array_equal(whole(scan)[:, scan.mask], clean[:, scan.mask])
    assert (whole(scan)[:, ~scan.mask] == 0).all()


def test_auto_masks_each_kind_counts_them_and_adds_to_the_mask_of_the_file(good, tmp_path):
    counts = good["intensity"].copy()
    counts[:, 16, 14] = 0
    counts[:, 3, 3] = np.random.default_rng(0).poisson(900, FRAMES)
    counts[:, 25:27, 5] = 44
    own = np.ones((N, N), bool)
    own[0] = False
    path = written(tmp_path / "scan.npz", good | {"intensity": counts, "mask": own})
    scan = open_scan(path, {"mask": "auto"})
    wanted = own.copy()
    wanted[16, 14] = wanted[3, 3] = wanted[25, 5] = wanted[26, 5] = False
    np.testing.assert_array_equal(scan.mask, wanted)
    assert any(f"auto masks 0 saturated, 1 dead, 1 hot, 2 constant pixels of {N * N}" in note for note in scan.notes)
    assert kinds(path, mask="auto") == set()


def test_auto_masks_saturated_pixels_of_amplitudes_too(good, tmp_path):
    clipped = np.minimum(good["intensity"], 250)
    scan = open_scan(
        written(tmp_path / "scan.npz", good | {"intensity": np.sqrt(clipped), "signal": "amplitude"}), {"mask": "auto"}
    )
    assert (~scan.mask).sum() > 5
    assert whole(scan).max() < 250
    assert (clipped[:, ~scan.mask].max(axis=0) == 250).all()


def test_a_mask_that_leaves_nothing_is_refused(good, tmp_path):
    stuck = np.full((FRAMES, N, N), 9) + np.arange(N * N).reshape(N, N) * 0 - 30
    with pytest.raises(DataError, match="leaves no good pixel"):
        open_scan(written(tmp_path / "scan.npz", good | {"intensity": stuck.astype(np.int32)}), {"mask": "auto"})


@pytest.mark.parametrize("value", [-1, -200])
def test_flags_are_refused_as_a_mask(good, tmp_path, value):
    with pytest.raises(DataError) as caught:
        whole(open_scan(written(tmp_path / "scan.npz", flagged(good, value))))
    assert f"The same {2 * N} pixels hold {value} in every frame" in caught.value.remedy
    assert "--mask auto" in caught.value.remedy


@pytest.mark.parametrize("seed", [1, 2])
def test_noise_round_zero_is_refused_and_can_be_clipped(good, tmp_path, seed):
    noisy = (good["intensity"] + np.random.default_rng(seed).normal(0, 1.1, (FRAMES, N, N))).astype(np.float32)
    path = written(tmp_path / "scan.npz", good | {"intensity": noisy})
    with pytest.raises(DataError) as caught:
        whole(open_scan(path))
    assert "--clip-negative" in caught.value.remedy
    assert "before the dark was subtracted" in caught.value.remedy
    np.testing.assert_allclose(whole(open_scan(path, {"clip_negative": True})), np.maximum(noisy, 0))


@pytest.mark.parametrize("ending", ["number", "text", "npy", "npz"])
def test_a_dark_is_subtracted(good, tmp_path, ending):
    level = np.full((N, N), 15.0)
    if ending in ("npy", "npz"):
        level[:, : N // 2] = 4
    path = written(tmp_path / "scan.npz", good | {"intensity": good["intensity"] + level})
    np.save(tmp_path / "dark.npy", level)
    np.savez(tmp_path / "dark.npz", dark=level)
    dark = {"number": 15, "text": "15"}.get(ending, tmp_path / f"dark.{ending}")
    scan = open_scan(path, {"dark": dark})
    np.testing.assert_array_equal(whole(scan), good["intensity"])
    assert any(note.startswith("Dark: ") for note in scan.notes)


def test_a_dark_above_the_counts_is_refused_unless_it_is_clipped(good, tmp_path):
    path = written(tmp_path / "scan.npz", good)
    with pytest.raises(DataError) as caught:
        whole(open_scan(path, {"dark": "5"}))
    assert "--clip-negative" in caught.value.remedy
    np.testing.assert_array_equal(
        whole(open_scan(path, {"dark": "5", "clip_negative": True})), np.maximum(good["intensity"] - 5, 0)
    )


@pytest.mark.parametrize(
    ("dark", "words"),
    [("none.npy", "does not exist"), ("wrong.npy", r"has shape \(3, 3\)"), ("inf.npy", "must hold finite")],
)
def test_a_dark_that_cannot_be_is_refused(good, tmp_path, dark, words):
    np.save(tmp_path / "wrong.npy", np.zeros((3, 3)))
    np.save(tmp_path / "inf.npy", np.full((N, N), np.inf))
    with pytest.raises(DataError, match=words):
        open_scan(written(tmp_path / "scan.npz", good), {"dark": tmp_path / dark})


@pytest.mark.parametrize("dark", [True, float("inf"), []])
def test_a_dark_is_a_file_or_a_number(good, tmp_path, dark):
    with pytest.raises(SettingsError, match="dark"):
        open_scan(written(tmp_path / "scan.npz", good), {"dark": dark})


@pytest.mark.parametrize(("factor", "signal"), [(1e41, "counts"), (1e22, "amplitude"), (1e180, "amplitude")])
def test_values_beyond_float32_are_refused_with_a_sentence(good, tmp_path, factor, signal):
    stored = (np.sqrt(good["intensity"]) if signal == "amplitude" else good["intensity"]) * factor
    path = written(tmp_path / "scan.npz", good | {"intensity": stored, "signal": signal})
    with pytest.raises(DataError, match="float32 ends at") as caught:
        whole(open_scan(path))
    assert "--photons" in caught.value.remedy


@pytest.mark.parametrize(("factor", "signal"), [(1e41, "counts"), (1e-60, "counts"), (1e22, "amplitude"), (1e140, "amplitude")])
def test_photons_bring_any_unit_to_counts(good, tmp_path, factor, signal):
    stored = (np.sqrt(good["intensity"]) if signal == "amplitude" else good["intensity"]) * factor
    arrays = {name: value for name, value in good.items() if name != "probe_in_counts"}
    path = written(tmp_path / "scan.npz", arrays | {"intensity": stored, "signal": signal})
    wanted = good["intensity"]
    found = whole(open_scan(path, {"photons": wanted.sum() / FRAMES}))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("layout", ["plain", "pinn"])
def test_more_patterns_than_positions_are_refused_with_both_numbers(good, tmp_path, layout):
    rows, columns = good["positions_px"][:-3].T
    if layout == "plain":
        path = written(tmp_path / "scan.npz", good | {"positions_px": good["positions_px"][:-3]})
    else:
        path = tmp_path / "scan.npz"
        np.savez(path, diffraction=good["intensity"], xcoords=columns, ycoords=rows)
    with pytest.raises(DataError, match=f"{FRAMES}") as caught:
        open_scan(path)
    assert str(FRAMES - 3) in caught.value.message
    assert "Remove the 3 patterns that have no positions" in caught.value.remedy


@pytest.mark.parametrize(("axis", "stored"), [("first", "last"), ("last", "first")])
def test_frames_along_the_other_axis_are_refused_by_name(good, tmp_path, axis, stored):
    counts = good["intensity"] if stored == "first" else np.moveaxis(good["intensity"], 0, -1)
    path = written(tmp_path / "scan.npz", good | {"intensity": counts})
    with pytest.raises(DataError) as caught:
        open_scan(path, {"frame_axis": axis})
    assert f"--frame-axis {stored}" in caught.value.remedy
    assert len(open_scan(path, {"frame_axis": stored})) == FRAMES
