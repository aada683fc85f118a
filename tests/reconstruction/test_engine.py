"""The engine on small scans: what each setting does, and what must never happen."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ptycho_core.physics.forward import intensities
from ptycho_core.reconstruction.stages import Result
from ptycho_core.settings.reconstruction import ReconstructionSettings

SIZE = 32
QUICK = ReconstructionSettings(epochs=4, iterations=8)


class Patterns:
    """Counts in memory, and how often they were read."""

    def __init__(self, counts: np.ndarray) -> None:
        self.counts, self.shape, self.reads = counts, counts.shape, 0

    def __len__(self) -> int:
        return len(self.counts)

    def read(self, frames: Any) -> np.ndarray:
        self.reads += 1
        return self.counts[frames].astype(np.float32)


def simulated(side: int = 8, photons: float = 1e5, modes: int = 1, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Counts, positions, probe and true object of a small scan."""
    random = np.random.default_rng(seed)
    steps = 3.0 * np.arange(side)
    positions = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2) + random.uniform(0, 1, (side**2, 2)) + 4
    length = int(np.ceil(positions.max())) + SIZE + 4
    spread = np.fft.fftfreq(length)
    smooth = np.exp(-(spread[:, None] ** 2 + spread**2) * 200)
    field = np.fft.ifft2(np.fft.fft2(random.standard_normal((2, length, length))) * smooth).real
    amplitude, phase = field / np.abs(field).max((1, 2), keepdims=True)
    truth = (0.8 + 0.2 * amplitude) * np.exp(0.6j * phase)
    radius = np.hypot(*np.meshgrid(np.arange(SIZE) - SIZE / 2, np.arange(SIZE) - SIZE / 2))
    first = np.exp(-((radius / 6) ** 2) + 0.03j * radius**2)
    probe = np.stack([first, 0.5 * first * (np.arange(SIZE) - SIZE / 2) / 6])[:modes]
    probe *= np.sqrt(photons / (np.abs(probe) ** 2).sum())
    return random.poisson(intensities(truth, probe, positions)), positions, probe, truth


Run = Callable[..., Result]


@pytest.fixture(scope="module")
def run(engine: Any) -> Run:
    """Reconstruct a scan."""
    reconstruct = engine.module("engine").reconstruct

    def found(scan: tuple[np.ndarray, ...], settings: ReconstructionSettings = QUICK, **more: Any) -> Result:
        counts, positions, probe, truth = scan
        patterns = more.pop("patterns", Patterns(counts))
        return reconstruct(patterns, positions, probe, np.ones(truth.shape, complex), options=settings, **more)

    return found


@pytest.fixture(scope="module")
def scan() -> tuple[np.ndarray, ...]:
    return simulated()


def test_patterns_that_do_not_fit_into_memory_are_read_again_and_give_the_same(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    kept, again = Patterns(scan[0]), Patterns(scan[0])
    first = run(scan, patterns=kept)
    second = run(scan, replace(QUICK, memory_gib=0.0), patterns=again)
    assert again.reads > 10 * kept.reads
    assert np.array_equal(first.object, second.object)


def test_float64_and_float32_agree_to_single_precision(run: Run, engine: Any, scan: tuple[np.ndarray, ...]) -> None:
    settings = replace(QUICK, epochs=2, iterations=0)
    single, double = run(scan, settings), run(scan, settings, dtype=engine.dtype("float64"))
    assert double.object.dtype == np.complex128
    assert np.linalg.norm(single.object - double.object) < 1e-3 * np.linalg.norm(double.object)


def test_more_epochs_and_the_joint_fit_lower_the_misfit(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    epochs = [row["misfit"] for row in run(scan, replace(QUICK, coarse_start=False, iterations=8)).history]
    assert epochs[-1] < epochs[3] < epochs[0]


def test_masked_pixels_do_not_matter(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    counts, *rest = scan
    mask = np.ones((SIZE, SIZE), bool)
    mask[10:14, 3:30] = False
    spoilt = counts.copy()
    spoilt[:, ~mask] = 10**6
    clean, dirty = run(scan, mask=mask), run((spoilt, *rest), mask=mask)
    assert np.array_equal(clean.object, dirty.object)


def test_frames_held_out_change_nothing_however_wrong_they_are(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    settings = replace(QUICK, held_out=0.1, likelihood="amplitude", total_variation=0.0)
    clean = run(scan, settings)
    assert 5 <= len(clean.held_out) <= 7
    spoilt = scan[0].copy()
    spoilt[clean.held_out] = spoilt[clean.held_out][:, ::-1]
    again = run((spoilt, *scan[1:]), settings)
    assert np.array_equal(again.held_out, clean.held_out)
    assert np.array_equal(again.object, clean.object)


def test_wrong_positions_are_found(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    counts, positions, probe, truth = scan
    error = np.random.default_rng(1).uniform(-1, 1, positions.shape)
    moved = (counts, positions + error, probe, truth)
    found = run(moved, ReconstructionSettings(refine_positions=True, iterations=20)).positions - positions
    left = np.sqrt(((found - found.mean(0)) ** 2).sum(1).mean())
    assert left < 0.35 * np.sqrt(((error - error.mean(0)) ** 2).sum(1).mean())


def test_a_constant_background_is_found(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    counts, *rest = scan
    lifted = (counts + np.random.default_rng(2).poisson(5.0, counts.shape), *rest)
    settings = replace(QUICK, likelihood="poisson", refine_probe=False, iterations=60)
    with_it, without = run(lifted, replace(settings, background="constant")), run(lifted, settings)
    assert with_it.background is not None
    # The object's 62 x 62 complex pixels are a ninth of the number of data and fit as much of the noise, thus of the background.
    assert float(with_it.background.mean()) == pytest.approx(5.0, rel=0.2)
    assert with_it.history[-1]["misfit"] < without.history[-1]["misfit"]


def test_a_fixed_probe_stays_as_it_is(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    found = run(scan, replace(QUICK, refine_probe=False))
    assert np.allclose(found.probe, scan[2], rtol=1e-5, atol=1e-5 * np.abs(scan[2]).max())


def test_total_variation_smooths_the_object(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    def roughness(weight: float) -> float:
        image = run(scan, replace(QUICK, total_variation=weight, iterations=20)).object[8:-8, 8:-8]
        return float(np.abs(np.diff(image, axis=0)).mean() / np.abs(image).mean())

    assert roughness(5.0) < roughness(0.0)


def test_a_stop_returns_what_there_is(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    seen: list[str] = []
    found = run(scan, report=lambda progress, _: seen.append(progress.stage), stop_requested=lambda: len(seen) >= 3)
    assert found.interrupted
    assert len(seen) == 3
    assert np.isfinite(found.object).all()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda counts: counts * 0,
        lambda counts: np.where(np.arange(len(counts))[:, None, None] % 3 == 0, 0, counts),
        lambda counts: np.where(np.arange(len(counts))[:, None, None] == 7, 10**7, counts),
    ],
    ids=["no counts at all", "empty frames", "one frame far too bright"],
)
def test_nothing_becomes_nan(run: Run, scan: tuple[np.ndarray, ...], spoil: Callable[[np.ndarray], np.ndarray]) -> None:
    found = run((spoil(scan[0]), *scan[1:]))
    assert np.isfinite(found.object).all()
    assert np.isfinite(found.probe).all()


def test_what_is_asked_for_and_cannot_be_done_is_said(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    notes = run(scan, replace(QUICK, epochs=1, iterations=0, coarse_start=True, total_variation=1.0)).notes
    assert [note for note in notes if note.startswith("no coarse start: patterns of 32 pixels")]
    assert [note for note in notes if note.startswith("no total variation")]
    assert not [note for note in run(scan, replace(QUICK, epochs=1, iterations=0)).notes if note.startswith("no ")]


def test_a_scan_of_one_frame_runs(run: Run) -> None:
    assert np.isfinite(run(simulated(side=1)).object).all()


def test_at_low_dose_the_likelihood_and_the_variation_are_chosen_from_the_data(run: Run) -> None:
    found = run(simulated(photons=500), ReconstructionSettings(iterations=15))
    notes = " ".join(found.notes)
    assert "poisson" in notes
    assert "total variation weight" in notes
    assert {row["stage"] for row in found.history} >= {"pie", "joint", "all frames"}
