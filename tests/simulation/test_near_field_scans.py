"""``ptycho simulate --regime near``: what the detector counts, from inside the window and from outside, and what is written."""

import numpy as np
import pytest

from ptycho_core.cli.main import main
from ptycho_core.errors import SettingsError
from ptycho_core.formats.opening import open_scan
from ptycho_core.physics.near_field import Propagation, near_field
from ptycho_core.physics.windows import cut_windows, split_positions
from ptycho_core.simulate import simulate_scan

SETTINGS = {"regime": "near", "size": 32, "frames": 4, "step": 6.0, "subpixel": False, "noise": False, "seed": 3}


def test_patterns_hold_what_comes_in_from_outside():
    """A window of the detector's own size wraps round: it is right in the middle and wrong at the edge."""
    made = simulate_scan(**SETTINGS, detector_pixel_size_m=1e-6)
    corners, _ = split_positions(made.positions_true)
    exits = cut_windows(made.object_true, corners, 32) * made.probe_true
    wrapped = np.abs(near_field(exits, made.scan().propagation)) ** 2
    wrong = np.abs(wrapped - made.intensity) / made.intensity.mean()
    assert np.median(wrong[:, 14:18, 14:18]) < 0.01
    assert np.median(wrong[:, 0]) > 0.1


def test_the_dose_and_the_guess_are_as_asked():
    made = simulate_scan(**SETTINGS, amplitude=(1, 1), phase=(0, 0), photons=1e5)
    np.testing.assert_allclose(made.intensity.sum(axis=(1, 2)), 1e5, rtol=1e-5)
    exact = simulate_scan(**SETTINGS, defocus_fraction=1.0)
    np.testing.assert_allclose(exact.probe_guess, exact.probe_true)
    on_detector = simulate_scan(**SETTINGS, amplitude=(1, 1), phase=(0, 0), defocus_fraction=0.0)
    np.testing.assert_allclose(np.abs(on_detector.probe_guess[0]) ** 2, on_detector.intensity[0], rtol=1e-4)


@pytest.mark.parametrize(
    ("divergence", "words", "pixel"),
    [
        ([], "near field  angular-spectrum, magnified 1 times, object pixel 650 nm", 650e-9),
        (
            ["--focus-to-sample-m", "0.1", "--detector-distance-m", "0.9", "--detector-pixel-size-m", "1e-5"],
            "near field  fresnel, magnified 10 times, object pixel 1000 nm",
            1e-6,
        ),
    ],
)
def test_the_file_says_all_that_a_reconstruction_needs(tmp_path, capsys, divergence, words, pixel):
    path = tmp_path / "scan.npz"
    assert main(["simulate", str(path), "--regime", "near", "--frames", "4", "--size", "32", *divergence]) == 0
    assert words in capsys.readouterr().out
    scan = open_scan(path)
    assert scan.object_pixel_m == pytest.approx(pixel)
    assert isinstance(scan.propagation, Propagation)
    assert scan.propagation.propagator == words.split()[2].rstrip(",")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"focus_to_sample_m": 0.1}, "focus_to_sample_m acts in the near field"),
        ({"probe": "diffuser"}, "A diffuser fills the window"),
        ({"regime": "nera"}, "regime is 'nera'; known are far, near. Did you mean 'near'"),
        ({"regime": "near", "propagator": "fresnell"}, "propagator is 'fresnell'"),
        ({"regime": "near", "detector_distance_m": 1.0}, "size is 64, and with λz/p² = 173 no window of fewer pixels"),
        ({"regime": "near", "photon_energy_ev": 0.0}, "photon_energy_ev is 0"),
    ],
)
def test_what_cannot_be_simulated_is_refused(asked, words):
    with pytest.raises(SettingsError, match=words):
        simulate_scan(**asked)
