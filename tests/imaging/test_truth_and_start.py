"""The truth of a file is what a result is compared with, and never what a fit begins with."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from ptycho_core.comparison.scoring import find_reference
from ptycho_core.errors import DataError
from ptycho_core.formats.opening import open_scan
from ptycho_core.formats.product import Reconstruction, StoredObject, read_object, read_probe
from ptycho_core.imaging.metrics import score
from ptycho_core.simulate import simulate_scan

OBJECTS = ("object", "reconstructed_object", "object_guess", "objectGuess")
PROBES = ("probe", "reconstructed_probe", "probe_guess", "probeGuess")
TRUE = {"object_true": np.full((20, 21), 7j), "probe_true": np.full((2, 8, 8), 7j), "positions_true_px": np.full((3, 2), 0.7)}


def written(path, arrays):
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for key, values in arrays.items():
                file[key] = values
    else:
        np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize(("image", "probe"), list(zip(OBJECTS, PROBES, strict=True)))
def test_each_purpose_gets_its_own_whatever_the_order_of_the_keys(tmp_path, suffix, image, probe):
    guess = {image: np.ones((20, 21), complex), probe: np.ones((8, 8), complex), "positions_px": np.zeros((3, 2))}
    for number, order in enumerate([(guess, TRUE), (TRUE, guess)]):
        path = written(tmp_path / f"{number}{suffix}", order[0] | order[1])
        assert (read_probe(path) == 1).all()
        for purpose in ("start", "result"):
            stored = read_object(path, purpose)
            assert (stored.object == 1).all()
            assert (stored.probe == 1).all()
            assert (stored.positions == 0).all()
        stored = read_object(path, "reference")
        assert (stored.object == 7j).all()
        assert (stored.probe == 7j).all()
        assert (stored.positions == 0.7).all()


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_a_file_of_truths_is_no_start_and_says_what_is(tmp_path, suffix):
    path = written(tmp_path / f"a{suffix}", TRUE | {"positions_px": np.zeros((3, 2))})
    with pytest.raises(DataError, match=r"holds no object to start from: its 'object_true' is the truth.*object_guess") as caught:
        read_object(path, "start")
    assert str(path) in str(caught.value)
    with pytest.raises(DataError, match=r"holds no probe to start from: its 'probe_true' is the truth.*probe_guess"):
        read_probe(path)
    assert (read_object(path).object == 7j).all()  # a result to be scored may be anything
    assert (read_object(path).positions == 0.7).all()


def test_an_object_guess_without_a_probe_does_not_bring_the_true_one(tmp_path):
    path = written(tmp_path / "a.npz", TRUE | {"object_guess": np.ones((20, 21), complex)})
    assert read_object(path, "start").probe is None
    assert read_object(path, "start").positions is None


def test_true_positions_are_those_of_the_true_object_and_stated_ones_serve_without(tmp_path):
    del (stated := dict(TRUE))["positions_true_px"]
    path = written(tmp_path / "a.npz", stated | {"positions_px": np.full((3, 2), 3.0)})
    assert (read_object(path, "reference").positions == 3).all()


def test_a_probe_file_replaces_the_scans_own_without_its_truth(tmp_path):
    path = tmp_path / "scan.npz"
    simulate_scan(size=32, frames=9).write(path)
    with np.load(path) as file:
        guess, true = file["probe_guess"], file["probe_true"]
    assert not np.allclose(guess, true)
    assert np.array_equal(open_scan(path, {"probe": str(path)}).probe.reshape(guess.shape), guess)
    del (held := dict(np.load(path)))["probe_guess"]
    np.savez(tmp_path / "true.npz", **held)
    with pytest.raises(DataError, match="'probe_true' is the truth"):
        open_scan(path, {"probe": str(tmp_path / "true.npz")})


@pytest.fixture(scope="module")
def blurred(tmp_path_factory):
    """A simulated scan whose stated positions are wrong by a pixel and, together, by 3 and -5."""
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    simulate_scan(size=32, frames=49, position_error=1.0, seed=3).write(path)
    held = dict(np.load(path))
    held["positions_px"] = held["positions_px"] + [3.0, -5.0]
    np.savez(path, **held)
    return path, held


def rms(values):
    return np.sqrt(((values - values.mean(axis=0)) ** 2).sum(axis=1).mean())


def results(held):
    """Positions as a fit may leave them, in pixels of an object that begins elsewhere, and how wrong they are."""
    stated, true = held["positions_px"], held["positions_true_px"]
    refined = true + 0.02 * np.random.default_rng(1).normal(size=true.shape) + [0.4, -0.3]
    return {"stated": (stated, rms(stated - true)), "refined": (refined, rms(refined - true)), "true": (true, 0.0)}


@pytest.mark.parametrize("name", ["stated", "refined", "true"])
@pytest.mark.parametrize("twin", [False, True])
def test_the_position_error_is_that_against_the_true_positions_without_their_common_shift(blurred, name, twin):
    path, held = blurred
    positions, wanted = results(held)[name]
    image, corner = held["object_true"], np.array([2, 1])
    image = image[2:, 1:]
    positions = positions - np.rint((positions - held["positions_true_px"]).mean(axis=0)) - corner
    if twin:
        positions, image = np.array(image.shape) - 32 - positions, np.conj(image[::-1, ::-1])
    found = score(Reconstruction(image, held["probe_true"], positions), path, twin=twin)
    assert found.registration.twin == twin
    assert found.position_error_px == pytest.approx(wanted, abs=1e-9)
    assert (wanted > 1) == (name == "stated")
    assert found.nrmse < 0.02


def test_a_comparison_with_the_truth_of_its_scan_says_the_same(blurred):
    path, held = blurred
    positions, wanted = results(held)["stated"]
    judge = find_reference(path, None)
    quality, _ = judge.add("one", StoredObject(held["object_true"], held["probe_true"], positions))
    assert judge.label == "truth"
    assert quality["position_error_px"] == pytest.approx(wanted, abs=1e-9)
