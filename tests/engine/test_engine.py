"""The engine on small scans: what each setting does, and what must never happen."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_fit import Fitted
from small_scans import small_scan

from ptycho_core.conformance.parity import relative_distance as distance
from ptycho_core.physics.forward import intensities
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


Run = Callable[..., Fitted]


@pytest.fixture(scope="module")
def run(engine: Any) -> Run:
    """Reconstruct a scan."""
    reconstruct = engine.reconstruct

    def found(scan: tuple[np.ndarray, ...], settings: ReconstructionSettings = QUICK, **more: Any) -> Fitted:
        counts, positions, probe, truth = scan
        patterns, start = more.pop("patterns", Patterns(counts)), more.pop("start", np.ones(truth.shape, complex))
        return reconstruct(patterns, positions, probe, start, options=settings, **more)

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
    single, double = run(scan, settings), run(scan, settings, precision="float64")
    assert double.object.dtype == np.complex128
    assert np.linalg.norm(single.object - double.object) < 1e-3 * np.linalg.norm(double.object)


def test_more_epochs_and_the_joint_fit_lower_the_misfit_to_what_they_should(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    counts, positions, probe, truth = scan
    left = np.abs(np.sqrt(intensities(truth, probe, positions)) - np.sqrt(counts)).sum() / np.sqrt(counts).sum()
    misfits = [row["misfit"] for row in run(scan, replace(QUICK, coarse_start=False)).history]
    assert misfits[0] > 4 * left  # what photon noise leaves of the truth
    assert misfits[3] < 1.6 * left  # measured 1.33
    assert misfits[-1] < left  # measured 0.98: object and probe fit some of the noise too


def test_wrong_positions_are_found(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    counts, positions, probe, truth = scan
    error = np.random.default_rng(1).uniform(-1, 1, positions.shape)
    moved = (counts, positions + error, probe, truth)
    found = run(moved, ReconstructionSettings(refine_positions="on", iterations=20)).positions - positions
    left = np.sqrt(((found - found.mean(0)) ** 2).sum(1).mean())
    assert left < 0.35 * np.sqrt(((error - error.mean(0)) ** 2).sum(1).mean())


@pytest.mark.parametrize(("background", "likelihood"), [("constant", "amplitude"), ("pixel", "poisson")])
def test_a_background_is_found_where_it_is(run: Run, background: str, likelihood: str) -> None:
    scan = small_scan(side=8, photons=4e3, level=3.0 * (background == "pixel"))
    more = 0 if background == "pixel" else np.random.default_rng(2).poisson(3.0, scan.counts.shape) * scan.mask
    known = (scan.counts + more, scan.positions, scan.probe, scan.object)
    settings = ReconstructionSettings(
        epochs=0, iterations=25, tolerance=1e-6, likelihood=likelihood, refine_probe=False, held_out=0.2, total_variation=0.0
    )
    found, without = (
        run(known, replace(settings, background=one), mask=scan.mask, start=scan.object) for one in (background, "none")
    )
    assert found.history[-1]["held_out"] < 0.75 * without.history[-1]["held_out"]  # measured 0.56 and 0.71
    assert found.background is not None
    assert 1.7 < found.background.mean() < 3  # the object takes some of it: measured 1.84 and 2.44
    if background == "pixel":
        brightest = [np.array(np.unravel_index(one.argmax(), one.shape)) for one in (found.background, scan.background)]
        assert np.abs(brightest[0] - brightest[1]).max() <= 1
        assert distance(found.background[scan.mask], scan.background[scan.mask]) < 0.5  # measured 0.33; 1 if nothing


def test_a_fixed_probe_stays_as_it_is(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    found = run(scan, replace(QUICK, refine_probe=False))
    assert np.allclose(found.probe, scan[2], rtol=1e-5, atol=1e-5 * np.abs(scan[2]).max())


def test_a_stop_returns_what_there_is(run: Run, scan: tuple[np.ndarray, ...]) -> None:
    found = run(scan, stop_after=3)
    assert found.interrupted
    assert len(found.history) == 3
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
