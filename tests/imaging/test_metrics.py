"""Metrics of images whose quality is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.restoration import unwrap_phase

from ptycho_core.formats.product import StoredObject
from ptycho_core.imaging.metrics import (
    RingCorrelation,
    Score,
    complex_correlation,
    data_misfit,
    image_quality,
    nrmse,
    phases,
    position_error,
    ring_correlation,
    score,
)
from ptycho_core.imaging.registration import register
from ptycho_core.physics.forward import intensities
from ptycho_core.scan.patterns import ArrayPatterns
from ptycho_core.scan.scan import Scan

RNG = np.random.default_rng(1)


def field(size: int = 96, cut: float = 0.1, strength: float = 1.0) -> np.ndarray:
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    rng = np.random.default_rng(5)
    phase = np.fft.ifft2(np.fft.fft2(rng.normal(size=(size, size))) * np.exp(-((f / cut) ** 2))).real
    return np.exp(1j * strength * phase / np.abs(phase).max())


def complex_noise(shape: tuple[int, ...]) -> np.ndarray:
    return (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)) / np.sqrt(2)


def scan_of(patterns: np.ndarray, positions: np.ndarray, mask: np.ndarray) -> Scan:
    stored = ArrayPatterns(lambda: patterns, patterns.shape, patterns.dtype, where="test", mask=mask)
    return Scan(patterns=stored, positions=positions, mask=mask)


@pytest.fixture
def simulated():
    probe = np.zeros((2, 16, 16), complex)
    probe[0, 4:12, 4:12], probe[1, 6:10, 5:9] = 5.0, 2.0j
    positions = np.array([[r, c] for r in np.arange(0, 30, 3.3) for c in np.arange(0, 30, 3.7)])
    image = field(48)
    return image, probe, positions, intensities(image, probe, positions)


def test_the_true_model_has_no_misfit_and_a_scaled_one_a_known_one(simulated):
    image, probe, positions, counts = simulated
    scan = scan_of(counts, positions, np.ones((16, 16), bool))
    assert data_misfit(scan, image, probe, positions) < 1e-6
    assert data_misfit(scan, 1.1 * image, probe, positions, batch=7) == pytest.approx(0.1, rel=1e-4)


def test_masked_pixels_and_other_frames_do_not_count_in_the_misfit(simulated):
    image, probe, positions, counts = simulated
    counts = counts.copy()
    counts[:, 3, 4] = 1e6
    counts[5] *= 4
    mask = np.ones((16, 16), bool)
    mask[3, 4] = False
    scan = scan_of(counts, positions, mask)
    others = np.setdiff1d(np.arange(len(positions)), [5])
    assert data_misfit(scan, image, probe, positions, frames=others) < 1e-6
    assert data_misfit(scan, image, probe, positions, frames=np.array([5])) == pytest.approx(0.5, rel=1e-4)


def test_a_background_is_part_of_the_model(simulated):
    image, probe, positions, counts = simulated
    scan = scan_of(counts + 2.0, positions, np.ones((16, 16), bool))
    assert data_misfit(scan, image, probe, positions) > 0.01
    assert data_misfit(scan, image, probe, positions, background=np.full((16, 16), 2.0)) < 1e-6


def test_error_and_correlation_of_equal_and_of_different_images():
    image = field()
    assert nrmse(image, image) == 0
    assert nrmse(1.25 * image, image) == pytest.approx(0.25)
    assert complex_correlation((3 - 2j) * image, image) == pytest.approx(1)
    assert complex_correlation(complex_noise(image.shape), image) < 0.1


def test_psnr_follows_its_definition_and_ssim_is_one_for_equal_images():
    reference = np.linspace(0, 2, 32 * 32).reshape(32, 32)
    psnr, ssim = image_quality(reference + 0.02, reference)
    assert psnr == pytest.approx(40)
    assert 0.9 < ssim < 1
    assert image_quality(reference, reference) == (None, pytest.approx(1))
    assert image_quality(reference, np.ones((32, 32))) == (None, None)
    assert image_quality(reference[:8, :8] + 1, reference[:8, :8])[1] is None


@pytest.mark.parametrize("shape", [(40, 52), (300, 41)], ids=["one piece", "several pieces"])
def test_the_range_of_the_quality_is_that_of_the_reference(shape):
    """The image spans three times as much; skimage is reported the range here, and the other range gives other numbers."""
    rng = np.random.default_rng(3)
    slope = np.linspace(0, 1, shape[0])[:, None]
    reference, image = (factor * slope + rng.normal(scale=0.02, size=shape) for factor in (1, 3))
    psnr, ssim = image_quality(image, reference)
    kind = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    span = reference.max() - reference.min()
    assert psnr == pytest.approx(peak_signal_noise_ratio(reference, image, data_range=span))
    assert ssim == pytest.approx(structural_similarity(reference, image, data_range=span, **kind), rel=1e-9)
    for other in (np.ptp(image), 1.2 * span):
        assert ssim != pytest.approx(structural_similarity(reference, image, data_range=other, **kind), rel=1e-3)


def test_numbers_worked_out_by_hand():
    reference = np.array([[1, 2j], [-2, 4]])
    image = reference + np.array([[0, 3], [0, 4j]])
    assert nrmse(image, reference) == pytest.approx(5 / 5)  # √(9 + 16) / √(1 + 4 + 4 + 16)
    assert nrmse(reference, 2 * reference) == pytest.approx(1 / 2)  # of the reference's norm, not the image's
    # ⟨image, reference⟩ = 25 + 3·2j + (−4j)·4, up to which of the two is conjugated
    assert complex_correlation(image, reference) == pytest.approx(abs(25 - 10j) / (np.sqrt(1 + 13 + 4 + 32) * 5))
    assert complex_correlation(1j * reference, reference) == pytest.approx(1)
    assert complex_correlation(np.conj(reference), reference) == pytest.approx(17 / 25)  # 1 − 4 + 4 + 16


@pytest.mark.parametrize(("frames", "batch"), [(100, 64), (65, 64), (63, 10), (64, 64)])
def test_every_batch_counts_in_the_misfit_the_last_and_shorter_one_too(frames, batch):
    """Ratio of sums, not mean of ratios: each frame is measured and modelled at another level."""
    positions = np.zeros((frames, 2))
    factors = np.linspace(0.5, 3.0, frames)
    probe = np.zeros((1, 8, 8), complex)
    probe[0, 4, 4] = 8.0  # a point: 64 counts spread evenly over 64 pixels, 1 in each
    counts = factors[:, None, None] ** 2 * np.ones((frames, 8, 8))
    scan = scan_of(counts, positions, np.ones((8, 8), bool))
    by_hand = np.abs(1 - factors).sum() / factors.sum()
    assert data_misfit(scan, np.ones((8, 8)), probe, positions, batch=batch) == pytest.approx(by_hand, rel=1e-6)
    assert data_misfit(scan, np.ones((8, 8)), probe, positions) == pytest.approx(by_hand, rel=1e-6)


def test_mask_background_and_frames_act_in_the_misfit_together():
    probe = np.zeros((2, 8, 8), complex)
    probe[0, 4, 4], probe[1, 2, 3] = 8.0, 4.0  # 1 and 0.25 counts in each pixel
    background = np.arange(64.0).reshape(8, 8)
    mask = np.ones((8, 8), bool)
    mask[1, 2:5] = False  # no symmetry that a transposed or shifted mask would share
    counts = np.full((5, 8, 8), 4.0)
    counts[:, ~mask] = 1e5
    counts[3] *= 9
    scan = scan_of(counts, np.zeros((5, 2)), mask)
    for frames, levels in ((np.array([3]), [6.0]), (np.array([0, 3]), [2.0, 6.0]), (None, [2.0, 2.0, 2.0, 6.0, 2.0])):
        modelled = np.sqrt(1.25 + background[mask])
        by_hand = sum(np.abs(modelled - level).sum() for level in levels) / (sum(levels) * mask.sum())
        found = data_misfit(scan, np.ones((8, 8)), probe, np.zeros((5, 2)), background=background, frames=frames, batch=2)
        assert found == pytest.approx(by_hand, rel=1e-6)


def test_phases_beyond_one_turn_are_compared_without_jumps():
    ramp = np.exp(1j * 0.3 * np.arange(80))[None, :] * np.ones((40, 1))
    ours, theirs = phases(ramp * np.exp(0.1j), ramp)
    assert np.ptp(theirs) == pytest.approx(0.3 * 79)
    assert np.allclose(ours - theirs, 0.1)


def test_the_wrapped_phase_of_the_image_is_added_to_that_of_the_reference():
    """Swapped or conjugated, the difference would change its sign."""
    rng = np.random.default_rng(8)
    reference = np.exp(1j * rng.uniform(-0.4, 0.4, (20, 30)))
    bent = np.exp(0.3j * np.arange(30) / 30) * np.exp(0.2j)
    ours, theirs = phases(reference * bent, reference)
    assert np.allclose(ours - theirs, 0.3 * np.arange(30) / 30 + 0.2)
    assert np.median(theirs) == pytest.approx(0)


@pytest.mark.parametrize("seed", range(4))
def test_a_phase_is_unwrapped_as_skimage_does(seed):
    """Summed up where no path differs from another, left to skimage where one does."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:60, :70]
    smooth = 9 * np.sin(rows / 11 + seed) * np.cos(columns / (9 + seed)) + 0.2 * columns
    image = np.exp(1j * smooth) + (0.5 if seed % 2 else 0.0) * (
        rng.normal(size=smooth.shape) + 1j * rng.normal(size=smooth.shape)
    )
    turned = np.angle(image * np.exp(-1j * np.angle(image.sum())))
    expected = unwrap_phase(turned, rng=0)
    _, found = phases(image, image)
    assert np.allclose(found, expected - np.median(expected))
    assert np.ptp(found) > 7


def rings(size: int, correlations: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Spectra of two images whose correlation on ring r, counted from 1, is as given."""
    rng = np.random.default_rng(9)
    frequency = np.fft.fftfreq(size) * size
    radius = np.rint(np.hypot(frequency[:, None], frequency[None, :])).astype(int)
    inside = np.hypot(frequency[:, None], frequency[None, :]) <= size / 2
    first = np.exp(2j * np.pi * rng.uniform(size=(size, size))) * inside * (radius > 0)
    second = first.copy()
    for ring, correlation in enumerate(correlations, 1):
        places = np.flatnonzero((radius == ring) & inside)
        # second = c · first + √(1 − c²) · something perpendicular to it in every pair of pixels
        half = len(places) // 2
        even, odd = places[: 2 * half : 2], places[1 : 2 * half : 2]
        other = np.zeros(size * size, complex)
        other[even], other[odd] = first.ravel()[even], -first.ravel()[odd]
        if len(places) % 2:
            other[places[-1]] = 1j * first.ravel()[places[-1]]
        second.ravel()[places] = correlation * first.ravel()[places] + np.sqrt(1 - correlation**2) * other[places]
    return first, second


def test_rings_and_crossings_of_a_spectrum_made_by_hand(monkeypatch):
    """Spectra with a known correlation on each ring; no window mixes them here."""
    size, correlations = 64, [1.0] * 9 + [0.9, 0.7, 0.3, 0.2, 0.1] + [0.0] * 18
    first, second = rings(size, correlations)
    monkeypatch.setattr(np, "hanning", np.ones)
    curve = ring_correlation(3j * np.fft.ifft2(first), 3j * np.fft.ifft2(second))
    assert len(curve.correlation) == 32
    assert curve.correlation == pytest.approx(correlations, abs=1e-9)
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    around = [radius[(np.rint(radius * size) == ring) & (radius <= 0.5)].mean() / 0.5 for ring in range(1, 33)]
    assert curve.frequency == pytest.approx(around)
    values = Score(register(field(), field()), 0, 1, None, None, None, None, curve, pixel_size_m=1e-8).as_dict()
    half, seventh = values["frc_half"], values["frc_seventh"]
    assert half == pytest.approx((around[10] + around[11]) / 2)  # between 0.7 and 0.3
    assert seventh == pytest.approx(around[12] + (around[13] - around[12]) * (0.2 - 1 / 7) / 0.1)
    assert values["frc_half_half_period_m"] == pytest.approx(1e-8 / half)
    assert values["frc_seventh_half_period_m"] == pytest.approx(1e-8 / seventh)


def test_the_ring_correlation_keeps_the_sign_and_the_real_part_only(monkeypatch):
    monkeypatch.setattr(np, "hanning", np.ones)
    image = complex_noise((48, 64))
    image -= image.mean()
    assert ring_correlation(-image, image).correlation == pytest.approx(-1)
    assert ring_correlation(1j * image, image).correlation == pytest.approx(0, abs=1e-12)
    assert ring_correlation(np.exp(0.25j * np.pi) * image, 5 * image).correlation == pytest.approx(np.sqrt(0.5))
    assert len(ring_correlation(image, image).correlation) == 24  # rings as wide as a step of the shorter side


def test_the_ring_correlation_of_an_image_with_itself_is_one_everywhere():
    curve = ring_correlation(field(), field())
    assert np.allclose(curve.correlation, 1)
    assert curve.crossing(1 / 2) is None
    assert curve.frequency[0] == pytest.approx(2 / 96, rel=0.25)
    assert 0.95 < curve.frequency[-1] <= 1


def test_noise_lowers_the_ring_correlation_where_the_image_is_weak():
    truth = field(cut=0.15)
    curve = ring_correlation(truth + 0.05 * complex_noise(truth.shape), truth)
    half, seventh = curve.crossing(1 / 2), curve.crossing(1 / 7)
    assert half is not None
    assert seventh is not None
    assert 0.1 < half < seventh < 1
    assert curve.correlation[:3].min() > 0.95


def test_a_crossing_lies_between_the_rings_around_it():
    curve = RingCorrelation(np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.7, 0.2]))
    assert curve.crossing(0.5) == pytest.approx(0.24)
    assert curve.crossing(0.1) is None


def test_position_error_ignores_a_common_offset():
    truth = RNG.uniform(0, 50, (40, 2))
    moved = truth + np.array([3, -7])
    assert position_error(moved, truth) < 1e-12
    moved[::2] += [0.3, 0.4]
    moved[1::2] -= [0.3, 0.4]
    assert position_error(moved, truth) == pytest.approx(0.5)


def test_a_score_removes_what_is_not_known_and_uses_the_positions():
    truth = field(128)
    positions = np.array([[r, c] for r in range(20, 80, 6) for c in range(24, 84, 6)], float)
    rows, columns = np.mgrid[:100, :104]
    ours = truth[12:112, 16:120] * np.exp(1j * (0.4 * rows - 0.1 * columns)) * 3
    result = StoredObject(ours, np.ones((1, 24, 24)), positions - [12, 16], pixel_size_m=(1e-8, 1e-8))
    found = score(result, StoredObject(truth, None, positions), twin=True)
    assert found.nrmse < 1e-6
    assert found.correlation == pytest.approx(1)
    assert found.ssim_phase == pytest.approx(1)
    assert found.position_error_px == pytest.approx(0, abs=1e-12)
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert values["registration"]["area_rows"] == [32, 87]
    assert values["registration"]["offset_px"] == [12, 16]
    assert values["frc_half"] is None
    assert values["frc_half_half_period_m"] is None


def test_the_score_of_a_twin_takes_the_positions_the_other_way_round():
    truth = field(128)
    positions = np.array([[r, c] for r in range(20, 80, 6) for c in range(24, 84, 6)], float)
    turned = StoredObject(np.conj(truth[::-1, ::-1]), np.ones((1, 24, 24)), 128 - 24 - positions)
    found = score(turned, StoredObject(truth, None, positions), twin=True)
    assert found.registration.twin
    assert found.nrmse < 1e-6
    assert found.position_error_px == pytest.approx(0, abs=1e-12)


def test_the_half_period_is_the_pixel_over_the_crossing():
    truth = field(128, cut=0.15)
    noisy = StoredObject(truth + 0.1 * complex_noise(truth.shape), pixel_size_m=(2e-8, 2e-8))
    values = score(noisy, truth, max_shift=2).as_dict()
    assert values["frc_half_half_period_m"] == pytest.approx(2e-8 / values["frc_half"])
