"""Simulated scans: truth, noise, positions, probes, and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ptycho_core.cli import simulate as command
from ptycho_core.cli.main import main
from ptycho_core.errors import SettingsError
from ptycho_core.formats.opening import open_scan
from ptycho_core.physics.forward import intensities
from ptycho_core.scan.canvas import overlap
from ptycho_core.simulate import simulate_scan
from ptycho_core.simulation.objects import OBJECTS, make_object
from ptycho_core.simulation.positions import SCANS
from ptycho_core.simulation.probes import MODE_DECAY, PROBES, make_probe

SMALL = {"size": 32, "frames": 25, "photons": 1e5}


def same(one, other):
    return np.array_equal(one.intensity, other.intensity) and np.array_equal(one.positions, other.positions)


def test_the_same_seed_gives_the_same_scan_and_another_seed_another():
    first = simulate_scan(**SMALL, seed=1)
    assert same(first, simulate_scan(**SMALL, seed=1))
    assert not same(first, simulate_scan(**SMALL, seed=2))


def test_another_object_or_dose_leaves_the_positions_as_they_are():
    first = simulate_scan(**SMALL)
    for change in ({"object": "random-lines"}, {"photons": 1e3}):
        np.testing.assert_array_equal(simulate_scan(**{**SMALL, **change}).positions, first.positions)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("kind", OBJECTS)
def test_counts_are_poisson_draws_of_the_forward_model(kind, scan):
    made = simulate_scan(**SMALL, object=kind, scan=scan, modes=2, position_error=1.5, seed=3)
    mean = intensities(made.object_true, made.probe_true, made.positions_true)
    chi = ((made.intensity - mean) ** 2).sum() / mean.sum()
    assert chi == pytest.approx(1, abs=0.15)
    assert np.std(made.positions - made.positions_true) == pytest.approx(1.5, rel=0.3)


def test_photons_are_the_counts_of_an_empty_object():
    made = simulate_scan(**SMALL, amplitude=(1, 1), phase=(0, 0))
    assert made.intensity.sum() / 25 == pytest.approx(1e5, rel=0.01)
    for probe in (made.probe_true, made.probe_guess):
        assert (np.abs(probe.astype(complex)) ** 2).sum() == pytest.approx(1e5, rel=1e-5)


def test_without_noise_the_patterns_are_the_model_itself():
    made = simulate_scan(**SMALL, noise=False)
    assert made.intensity.dtype == np.float32
    np.testing.assert_allclose(
        made.intensity, intensities(made.object_true, made.probe_true, made.positions_true), rtol=1e-6, atol=1e-6
    )


def test_large_counts_are_stored_in_32_bits():
    assert simulate_scan(**SMALL).intensity.dtype == np.uint16
    assert simulate_scan(**{**SMALL, "photons": 1e9}).intensity.dtype == np.uint32


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_have_contrast_in_amplitude_and_in_phase_within_their_ranges(kind):
    image = make_object(kind, (90, 70), (0.3, 0.9), (-0.5, 1.5), np.random.default_rng(0))
    amplitude, phase = np.abs(image), np.angle(image)
    assert image.shape == (90, 70)
    assert amplitude.min() >= 0.3 - 1e-12
    assert amplitude.max() <= 0.9 + 1e-12
    assert np.ptp(amplitude) > 0.4
    assert phase.min() >= -0.5 - 1e-12
    assert phase.max() <= 1.5 + 1e-12
    assert np.ptp(phase) > 1.2
    other = make_object(kind, (90, 70), (0.3, 0.9), (-0.5, 1.5), np.random.default_rng(1))
    assert not np.allclose(image, other)


@pytest.mark.parametrize("kind", PROBES)
def test_modes_are_orthogonal_with_falling_powers(kind):
    modes = make_probe(kind, 48, 20.0, 1e4, modes=4)
    gram = np.einsum("aij,bij->ab", modes.conj(), modes)
    powers = np.diag(gram).real
    np.testing.assert_allclose(gram - np.diag(powers), 0, atol=1e-8 * powers[0])
    np.testing.assert_allclose(powers[1:] / powers[:-1], MODE_DECAY)
    assert powers.sum() == pytest.approx(1e4)


def test_the_aperture_is_out_of_focus_by_its_fraction():
    full, none = (np.abs(make_probe("aperture", 64, 25.6, 1.0, defocus=part)[0]) for part in (1.0, 0.0))
    assert none.max() > 2 * full.max()
    far = [np.abs(np.fft.fft2(make_probe("aperture", 64, 25.6, 1.0, defocus=part)[0])) for part in (1.0, 0.85)]
    np.testing.assert_allclose(far[0], far[1], atol=1e-9)


@pytest.mark.parametrize("scan", SCANS)
def test_a_field_is_filled_and_a_number_of_frames_is_exact(scan):
    filled = simulate_scan(size=32, field=60.0, scan=scan, jitter=0.0)
    span = np.ptp(filled.positions_true, axis=0)
    assert (span <= 60).all()
    assert (span > 45).all()
    assert len(simulate_scan(size=32, frames=23, scan=scan).positions) == 23


def test_step_and_overlap_say_the_same():
    made = simulate_scan(size=32, frames=49, overlap=0.6, jitter=0.0)
    assert overlap(made.positions_true, made.probe_true).linear == pytest.approx(0.6, abs=1e-6)
    again = simulate_scan(size=32, frames=49, step=5.0, jitter=0.0)
    assert overlap(again.positions_true, None).step == pytest.approx(5.0)


def test_whole_pixels_and_jitter_act():
    assert (simulate_scan(**SMALL, subpixel=False).positions_true % 1 == 0).all()
    assert (simulate_scan(**SMALL).positions_true % 1 != 0).any()
    straight = simulate_scan(**SMALL, jitter=0.0).positions_true
    assert len(np.unique(np.round(straight[:, 0], 6))) == 5


def test_a_written_scan_opens_as_the_scan_in_memory_with_its_probe_in_counts(tmp_path):
    made = simulate_scan(**SMALL, position_error=1.0)
    path = made.write(tmp_path / "scan.npz")
    inside, opened = made.scan(), open_scan(path)
    np.testing.assert_array_equal(opened.patterns.read(slice(None)), inside.patterns.read(slice(None)))
    np.testing.assert_array_equal(opened.positions, inside.positions)
    np.testing.assert_array_equal(opened.probe, inside.probe)
    assert opened.probe_scaled
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["positions_true_px"], made.positions_true)
        np.testing.assert_array_equal(file["object_true"], made.object_true)
        np.testing.assert_array_equal(file["probe_true"], made.probe_true)
        assert json.loads(str(file["simulation"]))["position_error"] == 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"object": "siemens-stern"}, "Did you mean 'siemens-star'"),
        ({"obejct": "natural"}, "Did you mean 'object'"),
        ({"size": 33}, "even"),
        ({"size": 0}, "from 8"),
        ({"frames": 0}, "from 1"),
        ({"frames": 9, "field": 20.0}, "exclude"),
        ({"overlap": 1.0}, "0.99"),
        ({"photons": float("nan")}, "photons"),
        ({"amplitude": (0.5, 1.5)}, "within 0 to 1"),
        ({"phase": (1.0, 0.0)}, "must rise"),
        ({"probe_width": 100.0}, "probe_width"),
        ({"field": 90_000.0, "step": 0.1}, "too many frames"),
        ({"frames": 10_000, "step": 5_000.0}, "too large"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, words):
    with pytest.raises(SettingsError, match=words):
        simulate_scan(**change)


def test_the_command_offers_the_words_that_the_simulation_knows():
    assert tuple(OBJECTS) == command._OBJECTS
    assert PROBES == command._PROBES
    assert SCANS == command._SCANS


FLAGS = {
    "--seed": ["7"],
    "--object": ["dead-leaves"],
    "--amplitude": ["0.1", "0.5"],
    "--phase": ["0", "2"],
    "--probe": ["disk"],
    "--probe-width": ["9"],
    "--modes": ["2"],
    "--defocus-fraction": ["0.5"],
    "--scan": ["spiral"],
    "--frames": ["4"],
    "--field": ["12"],
    "--overlap": ["0.5"],
    "--step": ["3"],
    "--jitter": ["0"],
    "--position-error": ["2"],
    "--whole-pixels": [],
    "--size": ["16"],
    "--photons": ["1000"],
    "--no-noise": [],
}


@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_changes_the_file(tmp_path, flag):
    base = {"--size": ["32"], "--frames": ["9"]}
    if flag == "--field":
        del base["--frames"]
    changed = {**base, flag: FLAGS[flag]}
    files = []
    for name, given in (("base", base), ("changed", changed)):
        path = tmp_path / f"{name}.npz"
        assert main(["simulate", str(path), *[word for item, values in given.items() for word in (item, *values)]]) == 0
        with np.load(path) as file:
            files.append({key: file[key] for key in file.files if key != "simulation"})
    assert any(not np.array_equal(files[0][key], files[1][key]) for key in files[0])


def test_an_existing_file_is_replaced_only_when_asked(tmp_path, capsys):
    path = tmp_path / "scan.npz"
    run = ["simulate", str(path), "--size", "16", "--frames", "4"]
    assert main(run) == 0
    before = path.read_bytes()
    assert main([*run, "--seed", "3"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main([*run, "--seed", "3", "--overwrite"]) == 0
    assert path.read_bytes() != before
    assert [file.name for file in tmp_path.iterdir()] == ["scan.npz"]


def test_the_command_reports_and_draws_a_preview(tmp_path, capsys):
    flags = ["--size", "16", "--frames", "9", "--preview", str(tmp_path / "truth.png")]
    assert main(["simulate", str(tmp_path / "scan.npz"), *flags]) == 0
    out = capsys.readouterr().out
    assert "9 of 16 x 16 pixels" in out
    assert (tmp_path / "truth.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_value_or_place_leaves_nothing_behind(tmp_path, capsys):
    assert main(["simulate", str(tmp_path / "scan.npz"), "--size", "15"]) == 2
    assert main(["simulate", str(tmp_path / "none" / "scan.npz")]) == 2
    assert "no folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
