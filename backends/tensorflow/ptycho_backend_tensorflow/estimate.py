"""What the network sees of a group of patterns: an estimate of the object after a few update steps from flat.

``specs/network.md`` defines it. Everything is in the order of the FFT at the detector and without gradients; the factors of the
transforms are in the probes, since the memory traffic of small transforms costs more than their arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho_backend_tensorflow.arrays import fft2_ortho, gather, mode_sum, scatter_add, shift_ramps, squared_modulus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Estimate",
    "Illumination",
    "canvas_zeros",
    "estimate_object",
    "group_canvases",
    "group_windows",
    "shifted_probe",
    "unit_phase",
]

SMALLEST = 0.1
"""Counts added to modelled intensities before their root is taken: where hardly a count is modelled, the phase is not known."""


STEP_GAIN = 4.0
"""Steps are small beside the estimate; the network sees them enlarged."""


def shifted_probe(probe: tf.Tensor, ramps: tf.Tensor) -> tf.Tensor:
    """The probe (mode, N, N) at every frame, moved by ``ramps``: (frame, mode, N, N)."""
    return tf.signal.ifft2d(tf.signal.fft2d(probe)[None] * ramps)


class Illumination(NamedTuple):
    """The probe of a batch of frames.

    Attributes:
        probe: complex (mode, N, N), as it is where the position has no remainder.
        shifted: complex (frame, mode, N, N).
        weight: real (N, N), intensity of the unshifted probe, greatest 1.
        power: counts that an empty object sends to the good pixels, float64.
    """

    probe: tf.Tensor
    shifted: tf.Tensor
    weight: tf.Tensor
    power: tf.Tensor

    @classmethod
    def at(cls, probe: tf.Tensor, remainders: tf.Tensor, mask: tf.Tensor | None) -> Illumination:
        """The illumination for remainders (frame, 2) of the positions; ``mask`` is real (N, N) in the order of the FFT."""
        weight = tf.reduce_sum(squared_modulus(probe), 0)
        far = tf.reduce_sum(squared_modulus(fft2_ortho(probe)), 0)
        power = tf.reduce_sum(tf.cast(far if mask is None else far * mask, tf.float64))
        ramps = shift_ramps(tf.cast(remainders, weight.dtype), tf.shape(probe)[-1])
        return cls(probe, shifted_probe(probe, ramps), weight / tf.reduce_max(weight), power)


class Estimate(NamedTuple):
    """What is known of a batch of groups before the network.

    Attributes:
        patches: complex (group, C, N, N), the object in each window, its phase turned so that the group's mean under the
            illumination is real.
        step: complex (group, C, N, N), the update that would follow, turned alike.
        weight: real (N, N), intensity of the illumination, greatest 1.
    """

    patches: tf.Tensor
    step: tf.Tensor
    weight: tf.Tensor

    def features(self) -> tf.Tensor:
        """The network's input: real (group, N, N, 5 C).

        For all C patterns the real parts of estimate less one, the imaginary parts, then those of the step, enlarged, and the
        root of the illumination.
        """
        patches, step = self.patches, self.step
        root = tf.broadcast_to(tf.sqrt(self.weight), tf.shape(patches))
        given = [tf.math.real(patches) - 1, tf.math.imag(patches)]
        given += [tf.math.real(step) * STEP_GAIN, tf.math.imag(step) * STEP_GAIN, root]
        return tf.transpose(tf.concat(given, 1), (0, 2, 3, 1))


def unit_phase(values: tf.Tensor) -> tf.Tensor:
    """Complex values over their moduli; 0 for 0."""
    modulus = tf.abs(values)
    return values / tf.cast(tf.maximum(modulus, np.finfo(modulus.dtype.as_numpy_dtype).tiny), values.dtype)


def canvas_zeros(extents: Iterable[int], size: int, dtype: tf.DType, *, few: bool) -> tf.Tensor:
    """Zeros with the shape of a canvas for windows whose corners extend so far; a graph learns its shape from them.

    With ``few`` the sides are multiples of N, for XLA, which compiles anew for each shape.
    """
    return tf.zeros([-(-(one + size) // size) * size if few else one + size for one in extents], dtype)


def group_canvases(corners: npt.NDArray[np.int64], size: int, dtype: tf.DType, *, few: bool) -> tf.Tensor:
    """Zeros (group · side, side) with the shape of the canvases that `group_windows` stacks, for corners (group, C, 2)."""
    extent = int(np.ptp(corners, axis=1).max(initial=0))
    return tf.tile(canvas_zeros((extent, extent), size, dtype, few=few), (len(corners), 1))


def group_windows(corners: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Corners (group · C, 2) of groups, (group, C, 2), each group on a square canvas of its own, stacked along the rows.

    ``side`` is that of one canvas; all of them make (group · side, side).
    """
    places = corners - tf.reduce_min(corners, 1, keepdims=True)
    rows = tf.range(tf.shape(corners, tf.int64)[0])[:, None] * tf.cast(side, tf.int64)
    places = tf.stack([places[:, :, 0] + rows, places[:, :, 1]], 2)
    return tf.reshape(places, (-1, 2))


def estimate_object(
    amplitudes: tf.Tensor,
    corners: tf.Tensor,
    canvas: tf.Tensor | None,
    light: Illumination,
    mask: tf.Tensor | None,
    description: Mapping[str, Any],
) -> Estimate:
    """Estimate the object of each group from its counts and the known probe.

    Args:
        amplitudes: real (group · C, N, N), roots of the counts.
        corners: int64 (group, C, 2), whole-pixel corners of the windows.
        canvas: real zeros (group · side, side), which gives the stacked canvases of `group_windows` their shape; None for C = 1.
        light: of these frames.
        mask: real (N, N), 1 for good pixels, or None.
        description: of the network: ``estimate`` says how many steps, their regularisation and momentum.
    """
    asked, frames = description["estimate"], int(description["gridsize"]) ** 2
    groups = tf.shape(corners)[0]
    windows = None if canvas is None else group_windows(corners, tf.shape(canvas)[1])
    step = _Step(amplitudes, light, mask, windows, canvas, groups, float(asked["alpha"]))
    counts = tf.reduce_sum(tf.reshape(tf.square(amplitudes), (groups, -1)), 1) / frames
    start = tf.cast(tf.sqrt(counts / tf.cast(light.power, counts.dtype)), light.probe.dtype)
    patches = tf.broadcast_to(tf.repeat(start, frames)[:, None, None], tf.shape(amplitudes))
    momentum = tf.constant(float(asked["momentum"]), patches.dtype)

    def update(patches: tf.Tensor, change: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        change = step.of(patches) + momentum * change
        return patches + change, change

    patches, _ = tf.while_loop(
        lambda *_: True,
        update,
        (patches, tf.zeros_like(patches)),
        parallel_iterations=1,
        maximum_iterations=int(asked["steps"]),
    )
    return _turned(patches, step.of(patches), light, groups, frames)


class _Step:
    """One preconditioned gradient step of the amplitude misfit, for all windows of all groups at once.

    ``Σ_j conj(P_j) F⁻¹[(√n / √I − 1) F_j] / (Σ_j |P_j|² + α max Σ_j |P_j|²)``, summed over the modes and over the windows of the
    group that overlap: rPIE's denominator (Maiden et al., Optica 4 (2017) 736) for simultaneous updates.
    """

    def __init__(
        self,
        amplitudes: tf.Tensor,
        light: Illumination,
        mask: tf.Tensor | None,
        windows: tf.Tensor | None,
        canvas: tf.Tensor | None,
        groups: tf.Tensor,
        alpha: float,
    ) -> None:
        self._amplitudes, self._mask, self._windows, self._canvas = amplitudes, mask, windows, canvas
        self._size = tf.shape(amplitudes)[-1]
        lit = mode_sum(squared_modulus(light.shifted))
        if windows is not None and canvas is not None:
            total = scatter_add(canvas, lit, windows)
            greatest = tf.reduce_max(tf.reshape(total, (groups, -1)), 1)
            greatest = tf.repeat(greatest, tf.shape(lit)[0] // groups)
            lit = gather(total, windows, self._size)
        else:
            greatest = tf.reduce_max(lit, (1, 2))
        side = tf.cast(self._size, lit.dtype)
        inverse = side / (lit + alpha * greatest[:, None, None])
        # TensorFlow's transforms have no factor forth and 1 / N² back; what makes them orthonormal is here.
        self._probe = light.shifted * tf.cast(1 / side, light.shifted.dtype)
        self._back = tf.math.conj(light.shifted) * tf.cast(inverse, light.shifted.dtype)[:, None]

    def of(self, patches: tf.Tensor) -> tf.Tensor:
        """The step (frame, N, N) at patches (frame, N, N)."""
        waves = tf.signal.fft2d(self._probe * patches[:, None])
        factor = tf.math.rsqrt(mode_sum(squared_modulus(waves)) + SMALLEST) * self._amplitudes - 1
        if self._mask is not None:
            factor *= self._mask
        step = mode_sum(tf.signal.ifft2d(waves * tf.cast(factor, waves.dtype)[:, None]) * self._back)
        if self._windows is None or self._canvas is None:
            return step
        return gather(scatter_add(tf.cast(self._canvas, step.dtype), step, self._windows), self._windows, self._size)


def _turned(patches: tf.Tensor, step: tf.Tensor, light: Illumination, groups: tf.Tensor, frames: int) -> Estimate:
    size = tf.shape(patches)[-1]
    lit = tf.cast(light.weight, patches.dtype)
    mean = tf.reduce_sum(tf.reshape(patches * lit, (groups, -1)), 1)
    turn = tf.math.conj(unit_phase(mean))[:, None, None, None]
    shape = tf.stack([groups, frames, size, size])
    return Estimate(tf.reshape(patches, shape) * turn, tf.reshape(step, shape) * turn, light.weight)
