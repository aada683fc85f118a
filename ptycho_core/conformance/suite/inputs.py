"""What a backend is given: a scan whose object is known, batches, and a model whose weights are nowhere zero."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ptycho_core.conformance.batches import known_object
from ptycho_core.contract import BatchRecipe, EvaluateJob

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ptycho_core.contract import Value
    from ptycho_core.networks import Architecture

__all__ = ["FRAMES", "PHASE", "N", "known_scan", "perturbed_model", "random_batch"]

N: Final = 32
FRAMES: Final = 25
_SIDE: Final = 5
_STEP: Final = 3.7
_BAD: Final = 0.05
"""Share of the pixels that are bad, where some are."""

PHASE: Final = 0.9
"""Phase of the object, radian: enough to see, without wrapping."""


_ENERGY, _DISTANCE, _PITCH = 17e3, 0.1, 1e-6
"""eV and m: waves at the highest frequency of a scan in the near field go sideways by 4 pixels."""


def known_scan(
    path: Path,
    *,
    size: int = N,
    modes: int = 1,
    masked: bool = False,
    garbage: int = 0,
    background: float = 0.0,
    fluctuation: float = 0.0,
    end: float = math.inf,
    light: float = 1.0,
    order: str = "as scanned",
    spoilt: tuple[int, ...] = (),
    near: bool = False,
) -> Path:
    """Write a scan with its object: positions between the pixels, Poisson counts; nothing depends on anything but the arguments.

    Args:
        path: where.
        size: of a pattern.
        modes: of the probe.
        masked: whether some pixels are bad, so that no symmetry brings the mask to itself.
        garbage: seed of what bad pixels hold.
        background: counts added to every pixel.
        end: counts at which pixels end.
        fluctuation: range of the dose of frames about their mean, which `known_flux` gives.
        light: factor on the probe's amplitude.
        order: ``reversed`` for the same frames in reverse order.
        spoilt: frames whose pixels change places, all of them in the same way: no sum of counts changes.
        near: whether the detector is in the near field.
    """
    from ptycho_core.formats.plain_npz import write_plain_npz
    from ptycho_core.physics import intensities
    from ptycho_core.scan.scan import Geometry

    geometry = Geometry(_ENERGY, _DISTANCE, _PITCH, regime="near" if near else "far")
    random = np.random.default_rng(11)
    row, column = np.mgrid[:size, :size] - size / 2 + 0.3
    disc = 40 * light / (1 + np.exp(2 * (np.hypot(row, column) - 8))) * np.exp(0.015j * (row**2 + 2 * column**2))
    probe = np.stack([disc * (column / 6) ** mode / (1 + mode) for mode in range(modes)]).astype(np.complex64)
    steps = np.stack(np.divmod(np.arange(FRAMES), _SIDE), axis=1) * _STEP
    positions = steps + random.uniform(0, 1.5, steps.shape)
    positions[:2] = np.floor(positions[:2])
    shape = (int(positions[:, 0].max()) + size + 2, int(positions[:, 1].max()) + size + 2)
    truth = known_object(shape, PHASE)
    flux = known_flux(fluctuation)
    mean = intensities(truth, probe, positions, flux=flux, way=geometry.propagation) + background
    counts = np.minimum(random.poisson(mean), end)
    mask = random.random((size, size)) >= (_BAD if masked else -1)
    bad = np.random.default_rng(garbage).integers(0, 4 * int(counts.max()), counts.shape)
    counts = np.where(mask, counts, bad)
    places = np.random.default_rng(12).permutation(np.flatnonzero(mask))
    for frame in spoilt:
        counts[frame].reshape(-1)[np.flatnonzero(mask)] = counts[frame].reshape(-1)[places]
    frames = np.arange(FRAMES)[:: -1 if order == "reversed" else 1]
    arrays: dict[str, Any] = {
        "intensity": counts[frames].astype(np.uint32), "positions_px": positions[frames], "probe_guess": probe,
        "probe_in_counts": np.array(True), "object_true": truth, "mask": mask,
    }  # fmt: skip
    if near:
        stated = {"photon_energy_ev": _ENERGY, "detector_distance_m": _DISTANCE, "detector_pixel_size_m": _PITCH}
        arrays |= stated | {"regime": geometry.regime, "propagator": geometry.propagator}
    write_plain_npz(path, arrays)
    return path


def known_flux(fluctuation: float) -> NDArray[np.float64]:
    """The dose of the frames of a known scan, (frame,), mean 1."""
    drawn = 1 + fluctuation * np.random.default_rng(13).uniform(-1, 1, FRAMES)
    found: NDArray[np.float64] = drawn / drawn.mean()
    return found


def random_batch(*, size: int = 16, gradients: bool = True) -> EvaluateJob:
    """A batch for the forward model: two modes, mask, background, positions between the pixels, an object that is not square."""
    random = np.random.default_rng(3)
    shape, frames = (size + 14, size + 18), 7

    def noise(*sides: int) -> NDArray[np.complex128]:
        found: NDArray[np.complex128] = random.normal(size=sides) + 1j * random.normal(size=sides)
        return found

    row, column = np.mgrid[:size, :size] - size / 2
    probe = 12 * np.exp(-(row**2 + column**2) / (30 * (size / 16) ** 2)) * (1 + 0.3 * noise(2, size, size))
    object_ = 0.8 + 0.2 * noise(*shape)
    positions = random.uniform(0, 13.5, (frames, 2))
    positions[0] = (3, 11)
    return EvaluateJob(
        object=object_,
        probe=probe,
        positions=positions,
        counts=random.poisson(9.0, (frames, size, size)).astype(np.float64),
        mask=random.random((size, size)) >= max(0.05, 5 / size**2),
        background=random.uniform(0.5, 1, (size, size)),
        weights={"nll": 0.3, "amplitude": 1.0, "mae": 0.5, "tv": 20.0},
        gradients=gradients,
    )


def perturbed_model(path: Path, scan: Path, architecture: Architecture | None = None, **settings: Value) -> BatchRecipe:
    """Write a model for a scan, as a training would begin with but with weights that are nowhere zero.

    Returns:
        A batch without groups of the training that would begin with it.

    With a zero output layer, as the core makes it, nearly all gradients are zero and a comparison is empty.
    """
    from ptycho_core.formats.opening import open_scan
    from ptycho_core.model import save_model
    from ptycho_core.settings.resolution import resolve
    from ptycho_core.training.data import training_data
    from ptycho_core.training.prepare import initial_model

    asked: dict[str, Value] = {"network_width": 4, "update_steps": 3, "seed": 2} | settings
    groups = resolve("train", overrides=asked).groups()
    data = training_data([open_scan(scan, groups["data"])], groups)
    model, random = initial_model(data, groups, {}, {}, architecture), np.random.default_rng(5)
    weights = {name: (value + random.normal(0, 0.04, value.shape)).astype(np.float32) for name, value in model.weights.items()}
    physics = dict(model.physics) | {"log_scale": np.full(1, 0.3, np.float32)}
    save_model(path, replace(model, weights=weights, physics=physics))
    return BatchRecipe((scan,), path, groups, 0, np.zeros((0, 1), dtype=np.int64))
