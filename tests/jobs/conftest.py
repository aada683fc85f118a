"""A small scan of an aperture out of focus, whose file holds no probe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_core.orientation import ORIENTATIONS
from ptycho_core.physics.forward import intensities
from ptycho_core.physics.pupil import Pupil
from ptycho_core.scan.canvas import object_canvas
from ptycho_core.simulation.objects import make_object

SIZE, PHASE = 32, -28.0
"""Pixels across a pattern, and the phase of the probe in rad at the edge of the detector: a disc of 11 pixels."""


def small_scan(path: Path, turned: str = "as-stated", photons: float = 1e5, frames: int = 49, **more: Any) -> Path:
    """Write a scan whose positions are turned; ``more`` are further keys."""
    random = np.random.default_rng(3)
    probe = Pupil.of_aperture(SIZE, SIZE / 2.5).probe(PHASE)
    probe *= np.sqrt(photons) / np.linalg.norm(probe)
    side = int(np.sqrt(frames))
    positions = 3.0 * np.indices((side, side)).reshape(2, -1).T + random.uniform(-0.5, 0.5, (side**2, 2))
    origin, shape = object_canvas(positions, SIZE)
    image = make_object("dead-leaves", shape, (0.6, 1.0), (0.0, 1.0), random)
    counts = random.poisson(intensities(image, probe, positions - origin)).astype(np.uint16)
    stated = ORIENTATIONS[turned].of_points(positions)
    np.savez(path, intensity=counts, positions_px=stated, object_true=image, positions_true_px=positions - origin, **more)
    return path


@pytest.fixture(autouse=True, scope="module")
def _alone(only_the_backend_under_test: None) -> None:
    """The backend need not be named."""


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``scan(turned=…, photons=…, frames=…, key=…)``: the path of a scan; those that are alike are made once."""
    folder, made = tmp_path_factory.mktemp("scans"), dict[str, Path]()

    def make(**how: Any) -> Path:
        name = repr(sorted((key, np.shape(value) or value) for key, value in how.items()))
        if name not in made:
            made[name] = small_scan(folder / f"{len(made)}.npz", **how)
        return made[name]

    return make
