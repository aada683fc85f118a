"""What the network sees of a group of patterns: an estimate of the object after a few update steps from flat.

``specs/network.md`` defines it. Everything is in the order of the FFT at the detector and without derivatives; the factors of the
transforms are in the probes, since the memory traffic of small transforms costs more than their arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ptycho_core.engine.forward.thin_sample import shifted_probe
from ptycho_core.engine.saturation import where_free

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps, Corners
    from ptycho_core.engine.forward.model import ForwardModel
    from ptycho_core.engine.state import Measured

__all__ = ["Estimate", "Illumination", "Overlaps", "estimate_object", "group_overlaps", "unit_phase"]

ESTIMATE_COUNTS_FLOOR = 0.1
"""Counts added to modelled intensities before their root is taken: where hardly a count is modelled, the phase is not known."""

STEP_GAIN = 4.0
"""Steps are small compared with the estimate; the network sees them enlarged."""


class Illumination(NamedTuple):
    """The probe of a batch of frames.

    Attributes:
        probe: complex (mode, N, N), as it is where a position has no remainder.
        shifted: complex (frame, mode, N, N), at the remainders of the positions.
        ramps: complex (frame, 1, N, N), what shifted it in Fourier space.
        weight: real (N, N), intensity of the unshifted probe, greatest 1.
        power: counts that an empty object sends to the good pixels.
    """

    probe: Array
    shifted: Array
    ramps: Array
    weight: Array
    power: Array

    @classmethod
    def at(cls, xp: ArrayOps, probe: Array, remainders: Array, mask: Array | None, forward: ForwardModel) -> Illumination:
        """Of a probe (mode, N, N), for remainders (frame, 2); ``mask`` is real (N, N) in the order of the FFT."""
        ramps = xp.shift_ramps(remainders, xp.size(probe))
        power = counts_of_empty(xp, probe, mask, forward)
        return cls(probe, shifted_probe(xp, probe, ramps), ramps, relative_intensity(xp, probe), xp.rounded(power))


def relative_intensity(xp: ArrayOps, probe: Array) -> Array:
    """Intensity of a probe (mode, N, N), greatest 1: real (N, N)."""
    weight = xp.sum(xp.abs2(probe), 0)
    return weight / xp.max(weight)


def counts_of_empty(xp: ArrayOps, probe: Array, mask: Array | None, forward: ForwardModel) -> Array:
    """Counts that an empty object sends to the good pixels, in double precision."""
    empty = xp.sum(xp.abs2(forward.propagate(xp, probe)), 0)
    return xp.sum64(empty if mask is None else empty * mask)


class Overlaps(NamedTuple):
    """Windows that share a canvas.

    Attributes:
        corners: their places.
        canvas: real, gives the canvas its shape.
    """

    corners: Corners
    canvas: Array


def group_overlaps(xp: ArrayOps, corners: NDArray[np.int64], size: int) -> Overlaps:
    """Windows of groups, corners (group, C, 2), each group on its own square canvas, stacked along the rows."""
    places = corners - corners.min(axis=1, keepdims=True)
    side = xp.canvas_length(int(places.max(initial=0)) + size, size)
    places[:, :, 0] += np.arange(len(corners))[:, None] * side
    canvas = xp.zeros((len(corners) * side, side))
    return Overlaps(xp.corners(places.reshape(-1, 2), canvas, size), canvas)


class Estimate(NamedTuple):
    """What is known of a batch of groups before the network.

    Attributes:
        patches: complex (group, C, N, N), the object in each window, its phase turned so that the group's mean under the
            illumination is real.
        step: complex (group, C, N, N), the update that would follow, turned alike.
    """

    patches: Array
    step: Array

    def features(self, xp: ArrayOps, weight: Array) -> Array:
        """The network's input: real (group, 5 C, N, N).

        For all C patterns the real parts of estimate less one, the imaginary parts, then those of the step, enlarged, and the
        root of the illumination ``weight``.
        """
        real, imaginary = xp.real(self.patches), xp.imag(self.patches)
        root = xp.broadcast(xp.sqrt(weight), real)
        given = [real - 1, imaginary, xp.real(self.step) * STEP_GAIN, xp.imag(self.step) * STEP_GAIN, root]
        return xp.concat(given, 1)


def unit_phase(xp: ArrayOps, values: Array) -> Array:
    """Complex values over their moduli; 0 for 0."""
    return xp.over_real(values, xp.at_least(xp.abs(values), xp.tiny))


def estimate_object(
    xp: ArrayOps,
    measured: Measured,
    overlaps: Overlaps | None,
    illumination: Illumination,
    description: Mapping[str, Any],
    forward: ForwardModel,
) -> Estimate:
    """Estimate the object of each group from its counts and the known probe.

    Args:
        xp: the operations.
        measured: of all frames of all groups, (group · C, N, N).
        overlaps: `group_overlaps` of the windows; None for C = 1.
        illumination: of these frames.
        description: of the network: ``estimate`` says how many steps, their regularization and momentum.
        forward: what takes object and probe to the detector.
    """
    asked, frames, size = description["estimate"], int(description["gridsize"]) ** 2, int(description["size"])
    momentum = float(asked["momentum"])
    step = _step(xp, measured, overlaps, illumination, (frames, size, float(asked["alpha"])), forward)

    def update(patches: Array, change: Array) -> tuple[Array, Array]:
        change = xp.add_scaled(step(patches), change, momentum)
        return patches + change, change

    amplitudes = measured.amplitudes
    counts = xp.sum(xp.reshape(amplitudes * amplitudes, (-1, frames * size * size)), 1) / frames
    flat = xp.reshape(xp.sqrt(counts / illumination.power), (-1, 1, 1, 1))
    real = xp.reshape(xp.broadcast(flat, xp.reshape(amplitudes, (-1, frames, size, size))), (-1, size, size))
    start = xp.complex(real, xp.zeros_like(real))
    patches, _ = xp.repeat(update, int(asked["steps"]), start, xp.zeros_like(start))
    mean = xp.sum(xp.reshape(xp.times_real(patches, illumination.weight), (-1, frames * size * size)), 1)
    turn = xp.conj(unit_phase(xp, mean))[:, None, None, None]
    shape = (-1, frames, size, size)
    return Estimate(xp.reshape(patches, shape) * turn, xp.reshape(step(patches), shape) * turn)


def _step(
    xp: ArrayOps,
    measured: Measured,
    overlaps: Overlaps | None,
    illumination: Illumination,
    fixed: tuple[int, int, float],
    forward: ForwardModel,
) -> Callable[[Array], Array]:
    """One preconditioned gradient step of the amplitude misfit, for all windows of all groups at once.

    ``Σ_j conj(P_j) D†[(√n / √I − 1) D_j] / (Σ_j |P_j|² + α max Σ_j |P_j|²)``, summed over the modes and over the windows of the
    group that overlap: rPIE's denominator (Maiden et al., Optica 4 (2017) 736) for simultaneous updates. The bracket is 0 at bad
    pixels, and where more is modelled than a saturated pixel counts.

    Returns:
        The step, complex (frame, N, N), as a function of patches (frame, N, N).
    """
    frames, size, alpha = fixed
    unit = forward.unit(size)

    def shared(patches: Array) -> Array:
        """What all windows of a group put at each pixel of each."""
        if overlaps is None:
            return patches
        total = xp.scatter_add(xp.zeros_like(overlaps.canvas, patches), patches, overlaps.corners)
        return xp.reshape(xp.gather(total, overlaps.corners, size), (-1, size, size))

    illuminated = xp.reshape(shared(xp.mode_sum(xp.abs2(illumination.shifted))), (-1, frames, size, size))
    greatest = xp.max(illuminated, (1, 2, 3))[:, None, None, None]
    inverse = xp.reshape(unit / (illuminated + alpha * greatest), (-1, size, size))
    probes = xp.times_real(illumination.shifted, xp.scalar(1 / unit))
    back = xp.times_real(xp.conj(illumination.shifted), inverse[:, None])

    def step(patches: Array) -> Array:
        waves = forward.transform(xp, probes * patches[:, None], illumination.ramps)
        intensity = xp.mode_sum(xp.abs2(waves)) + ESTIMATE_COUNTS_FLOOR
        factor = where_free(xp, xp.rsqrt(intensity) * measured.amplitudes - 1, intensity, measured, 0.0)
        if measured.mask is not None:
            factor = factor * measured.mask
        change = forward.transform_adjoint(xp, xp.times_real(waves, factor[:, None]), illumination.ramps)
        return shared(xp.mode_sum(change * back))

    return step
