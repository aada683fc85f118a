"""The hand-written gradient of the joint fit is that of its loss."""

from typing import Any

import numpy as np
import pytest

from ptycho_core.engine.forward import forward_of
from ptycho_core.engine.frequencies import Frequencies
from ptycho_core.engine.joint import Joint
from ptycho_core.engine.losses import Amplitude, Loss, Nll
from ptycho_core.engine.saturation import ceiling
from ptycho_core.physics.forward import intensities
from ptycho_core.physics.near_field import Propagation

SIZE, FRAMES = 12, 9


class Patterns:
    def __init__(self, counts: np.ndarray) -> None:
        self.counts, self.shape = counts, counts.shape

    def __len__(self) -> int:
        return len(self.counts)

    def read(self, frames: np.ndarray) -> np.ndarray:
        return self.counts[frames].astype(np.float32)


def noise(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.standard_normal(shape) + 1j * random.standard_normal(shape)


@pytest.mark.parametrize("likelihood", [Amplitude(), Nll()], ids=["amplitude", "poisson"])
@pytest.mark.parametrize("modes", [1, 2])
@pytest.mark.parametrize("variation", [0.0, 2.0])
@pytest.mark.parametrize("way", [None, Propagation("fresnel", 5.0, 0.01)], ids=["far", "near"])
@pytest.mark.parametrize("background", [None, (1, 1), (SIZE, SIZE)], ids=["none", "constant", "pixel"])
def test_the_gradient_agrees_with_central_differences(engine: Any, likelihood: Loss, modes, variation, way, background) -> None:
    random = np.random.default_rng(4)
    transmission, probe = 1 + 0.3 * noise(random, 24, 25), 4 * noise(random, modes, SIZE, SIZE)
    positions = random.uniform(0, 11, (FRAMES, 2))
    counts = random.poisson(intensities(1 + 0.3 * noise(random, 24, 25), probe, positions, way=way)).astype(np.float64)
    mask = random.random((SIZE, SIZE)) > 0.1
    end = float(np.quantile(counts, 0.9))
    counts = np.minimum(counts, end)
    level = None if background is None else random.uniform(1, 3, background)
    state = engine.state(transmission, probe, positions, level)
    state.flux = random.uniform(0.5, 2, FRAMES)
    frames = engine.frames(Patterns(counts), mask, "float64")
    frames.ceiling = ceiling(frames.xp, end)
    scales = tuple(Frequencies(frames.xp, random.uniform(1, 5, shape)) for shape in ((24, 25), (SIZE, SIZE)))
    joint = Joint(
        state, frames, np.arange(FRAMES),
        forward=forward_of(frames.xp, way, SIZE), likelihood=likelihood, refine_probe=True, refine_positions=True,
        tv_weight=variation, refine_flux=True, scales=(None, None) if modes == 1 else scales,
    )  # fmt: skip
    point = joint._pack()
    _, gradient = joint._evaluate(point)
    for _ in range(4):
        direction = random.standard_normal(len(point)) * np.abs(np.asarray(point)).mean()
        step = 1e-5
        above, below = (joint._evaluate(point + engine.tensor(sign * step * direction))[0] for sign in (1, -1))
        slope, size = float(np.asarray(gradient) @ direction), np.linalg.norm(gradient) * np.linalg.norm(direction)
        # A direction may be nearly level: there the quotient's own error shows, measured 2e-9 of what a slope could be.
        assert slope == pytest.approx((above - below) / (2 * step), rel=2e-6, abs=1e-8 * size)
