"""Object, probe and, where asked, positions and background fitted together by preconditioned L-BFGS.

The gradient of all frames is written by hand.  Each unknown is scaled by the root of its share of the curvature: the
object by the illumination ``sum |P|^2`` at each pixel, the probe by ``sum |O|^2``, a position by the slope of the probe.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho_core.reconstruction.constants import WEAK
from ptycho_core.reconstruction.lbfgs import minimise
from ptycho_tensorflow.compiled import compiled
from ptycho_tensorflow.likelihood import amplitude_loss, poisson_loss
from ptycho_tensorflow.propagation import (
    Model,
    Windows,
    fft2_ortho,
    fft_frequencies,
    gather,
    ifft2_ortho,
    mode_sum,
    propagate,
    scatter_add,
    shift_ramps,
    squared_modulus,
    windows_at,
)
from ptycho_tensorflow.regularisation import total_variation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ptycho_tensorflow.frames import Frames

__all__ = ["Joint", "chunk_length", "illumination_of", "score"]

CHUNK_PIXELS = 1 << 18
"""Detector pixels treated at once; about the second-level cache of a CPU core."""


def chunk_length(size: int, modes: int, device: str) -> int:
    """Frames treated at once."""
    pixels = CHUNK_PIXELS if "CPU" in device else CHUNK_PIXELS * 64
    return max(1, pixels // (size * size * modes))


def illumination_of(model: Model, frames: npt.NDArray[np.int64]) -> tf.Tensor:
    """``sum |P|^2`` over modes and ``frames`` at every object pixel: real (rows, columns)."""
    power = tf.reduce_sum(squared_modulus(model.probe), 0)
    total = tf.zeros(model.object.shape, power.dtype)
    for start in range(0, len(frames), 256):
        windows = windows_at(np.floor(model.positions[frames[start : start + 256]]), model.object)
        total = _add_everywhere(total, power, windows)
    return total


@compiled
def _add_everywhere(total: tf.Tensor, power: tf.Tensor, windows: Windows) -> tf.Tensor:
    frames = tf.shape(windows.corners)[:1]
    return scatter_add(total, tf.broadcast_to(power, tf.concat([frames, tf.shape(power)], 0)), windows)


class Fields(NamedTuple):
    """The fields of a model, or derivatives ``dL/d conj`` of object and probe and (real) of the background."""

    object: tf.Tensor
    probe: tf.Tensor
    background: tf.Tensor | None


class Measured(NamedTuple):
    """Amplitudes of some frames, real (frame, N, N), and the mask, real (N, N), both in FFT order."""

    amplitudes: tf.Tensor
    mask: tf.Tensor | None


def _dot(first: tf.Tensor, second: tf.Tensor) -> float:
    return float(_inner(first, second))


@compiled
def _inner(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(first * second)


def _loss(likelihood: str, intensity: tf.Tensor, measured: Measured) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    chosen = poisson_loss if likelihood == "poisson" else amplitude_loss
    return chosen(intensity, measured.amplitudes, measured.mask)


def score(model: Model, frames: Frames, chosen: npt.NDArray[np.int64], likelihood: str) -> tuple[float, float]:
    """(loss a frame, R) of the ``chosen`` frames, without changing anything."""
    total, misfit = 0.0, 0.0
    length = chunk_length(frames.size, len(model.probe), model.object.device)
    for part, amplitudes in frames.in_turn([chosen[start : start + length] for start in range(0, len(chosen), length)]):
        fields = Fields(model.object, model.probe, model.background)
        windows = windows_at(model.positions[part], model.object)
        loss, absolute = _score(fields, windows, Measured(amplitudes, frames.mask), likelihood=likelihood)
        total, misfit = total + float(loss), misfit + float(absolute)
    return total / max(len(chosen), 1), misfit / max(float(frames.amplitude_sums[chosen].sum()), 1.0)


@compiled
def _score(fields: Fields, windows: Windows, measured: Measured, *, likelihood: str) -> tuple[tf.Tensor, tf.Tensor]:
    ramps = None if windows.remainders is None else shift_ramps(windows.remainders, tf.shape(fields.probe)[-1])
    intensity = propagate(fields.object, fields.probe, windows, ramps, fields.background).intensity
    loss, _, absolute = _loss(likelihood, intensity, measured)
    return loss, absolute


class Joint:
    """The joint fit of a model to the frames ``used``.

    Attributes:
        misfit: R at the last evaluation.
    """

    def __init__(
        self,
        model: Model,
        frames: Frames,
        used: npt.NDArray[np.int64],
        *,
        likelihood: str,
        refine_probe: bool,
        refine_positions: bool,
        tv_weight: float,
    ) -> None:
        """``tv_weight`` is relative to the photon noise: it is multiplied by the root of the typical illumination."""
        self._start, self._frames, self._used = model.copy(), frames, used
        self._likelihood = likelihood
        self._refine_probe, self._refine_positions = refine_probe, refine_positions
        self._whole = np.floor(model.positions)
        self._real = model.object.dtype.real_dtype
        self.misfit = math.nan
        self._set_scales()
        counts = self._typical_illumination()
        self._tv_weight = tv_weight * math.sqrt(counts)
        # About the photon noise of one object pixel: smaller differences are noise, larger ones may be edges.
        self._tv_rounding = 0.5 / math.sqrt(counts)

    def _typical_illumination(self) -> float:
        """Counts that fell on an object pixel, well inside the scan: 0.7 quantile over the illuminated ones, at least 1."""
        illumination = self._illumination.numpy()
        lit = illumination[illumination > 0].astype(np.float64)
        return max(float(np.quantile(lit, 0.7)), 1.0) if lit.size else 1.0

    def _set_scales(self) -> None:
        model, size = self._start, self._frames.size
        tiny = np.finfo(self._real.as_numpy_dtype).tiny
        self._illumination = illumination_of(model, self._used)
        self._object_scale = tf.math.rsqrt(self._illumination + WEAK * tf.reduce_max(self._illumination) + tiny)
        transmission = squared_modulus(model.object)
        seen = tf.zeros((size, size), transmission.dtype)
        for start in range(0, len(self._used), 256):
            windows = windows_at(self._whole[self._used[start : start + 256]], model.object)
            seen += _seen(transmission, windows, tf.constant(size))
        self._probe_scale = tf.math.rsqrt(seen + WEAK * tf.reduce_max(seen) + tiny)[None]
        frequencies = fft_frequencies(size, self._real) * (2 * math.pi)
        spectrum = tf.reduce_sum(squared_modulus(fft2_ortho(model.probe)), 0)
        typical = tf.reduce_mean(seen) / max(len(self._used), 1)
        weighted = [spectrum * frequencies[:, None] ** 2, spectrum * frequencies**2]
        self._position_scale = tf.math.rsqrt(0.5 * tf.reduce_sum(tf.stack(weighted), (1, 2)) * typical + tiny)
        if model.background is not None:
            share = size * size / int(tf.size(model.background))
            self._background_scale = 1 / math.sqrt(max(len(self._used), 1) * share)

    def iterate(self) -> Iterator[tuple[Model, float]]:
        """Yield (model, loss a frame) after each iteration."""
        for step in minimise(self._evaluate, self._pack(), _dot):
            if step.stuck:
                return
            yield self._unpack(step.point), step.loss / max(len(self._used), 1)

    def _pack(self) -> tf.Tensor:
        start = self._start
        parts = [_flat(start.object / _complex(self._object_scale))]
        if self._refine_probe:
            parts.append(_flat(start.probe / _complex(self._probe_scale)))
        if self._refine_positions:
            rest = tf.constant(start.positions - self._whole, dtype=self._real)
            parts.append(tf.reshape(rest / self._position_scale, [-1]))
        if start.background is not None:
            # The background is the square of the unknown, so that it cannot become negative.
            parts.append(tf.reshape(tf.sqrt(tf.maximum(start.background, 0.0)), [-1]) / self._background_scale)
        return tf.concat(parts, 0)

    def _unpack(self, point: tf.Tensor) -> Model:
        start = self._start
        model = Model(start.object, start.probe, start.positions, start.background)
        used = 2 * int(tf.size(start.object))
        model.object = _complex(self._object_scale) * _field(point[:used], start.object)
        if self._refine_probe:
            length = 2 * int(tf.size(start.probe))
            part = _field(point[used : used + length], start.probe)
            model.probe, used = _complex(self._probe_scale) * part, used + length
        if self._refine_positions:
            length = 2 * len(start.positions)
            rest = tf.reshape(point[used : used + length], [-1, 2]) * self._position_scale
            model.positions, used = self._whole + rest.numpy().astype(np.float64), used + length
        if start.background is not None:
            root = point[used:] * self._background_scale
            model.background = tf.reshape(root * root, start.background.shape)
        return model

    def _pack_gradient(self, model: Model, gradient: Fields, positions: npt.NDArray[np.floating] | None) -> tf.Tensor:
        # dL/dRe z + i dL/dIm z = 2 dL/dz*
        parts = [_flat(_complex(2 * self._object_scale) * gradient.object)]
        if self._refine_probe:
            parts.append(_flat(_complex(2 * self._probe_scale) * gradient.probe))
        if positions is not None:
            parts.append(tf.reshape(tf.constant(positions) * self._position_scale, [-1]))
        if gradient.background is not None and model.background is not None:
            root, each = tf.sqrt(model.background), gradient.background
            by_background = each if root.shape == each.shape else tf.reduce_sum(each)
            parts.append(tf.reshape(2 * root * by_background, [-1]) * self._background_scale)
        return tf.concat(parts, 0)

    def _evaluate(self, point: tf.Tensor) -> tuple[float, tf.Tensor]:
        """Loss and gradient at ``point``, summed over the used frames."""
        model = self._unpack(point)
        fields = Fields(model.object, model.probe, model.background)
        size = self._frames.size
        # Of a constant background too each pixel's is summed by itself first.
        background = None if model.background is None else tf.zeros((size, size), self._real)
        gradient = Fields(tf.zeros_like(model.object), tf.zeros_like(model.probe), background)
        positions = None
        if self._refine_positions:
            positions = np.zeros(model.positions.shape, self._real.as_numpy_dtype)
        length = chunk_length(size, len(model.probe), point.device)
        total, misfit = 0.0, 0.0
        parts = [self._used[start : start + length] for start in range(0, len(self._used), length)]
        for part, amplitudes in self._frames.in_turn(parts):
            windows = windows_at(
                model.positions[part], model.object, whole=self._whole[part], with_remainders=self._refine_positions
            )
            gradient, slopes, loss, absolute = _with_chunk(
                gradient,
                fields,
                windows,
                Measured(amplitudes, self._frames.mask),
                likelihood=self._likelihood,
                refine_probe=self._refine_probe,
                refine_positions=self._refine_positions,
            )
            if positions is not None and slopes is not None:
                positions[part] = slopes.numpy()
            total, misfit = total + float(loss), misfit + float(absolute)
        self.misfit = misfit / max(float(self._frames.amplitude_sums[self._used].sum()), 1.0)
        if self._tv_weight > 0:
            variation, slope = total_variation(model.object, tf.constant(self._tv_rounding, self._real))
            total += self._tv_weight * float(variation)
            gradient = gradient._replace(object=gradient.object + self._tv_weight * slope)
        return total, self._pack_gradient(model, gradient, positions)


@compiled
def _with_chunk(
    gradient: Fields,
    fields: Fields,
    windows: Windows,
    measured: Measured,
    *,
    likelihood: str,
    refine_probe: bool,
    refine_positions: bool,
) -> tuple[Fields, tf.Tensor | None, tf.Tensor, tf.Tensor]:
    """``gradient`` with that of a few frames added, slopes of their positions, loss, sum of absolute amplitude differences."""
    ramps = None if windows.remainders is None else shift_ramps(windows.remainders, tf.shape(fields.probe)[-1])
    probes, patches, waves, intensity = propagate(fields.object, fields.probe, windows, ramps, fields.background)
    loss, factor, absolute = _loss(likelihood, intensity, measured)
    by_object, by_probe, by_background = gradient
    if by_background is not None:
        by_background += tf.reduce_sum(factor, 0)
    back = ifft2_ortho(_complex(factor)[:, None] * waves)
    by_object = scatter_add(by_object, mode_sum(tf.math.conj(probes) * back), windows)
    slopes = None
    if refine_probe or refine_positions:
        seen = tf.math.conj(patches)[:, None] * back
        if ramps is None:
            by_probe += tf.reduce_sum(seen, 0)
        else:
            unshifted = tf.signal.fft2d(seen) * tf.math.conj(ramps)
            by_probe += tf.signal.ifft2d(tf.reduce_sum(unshifted, 0))
            if refine_positions:
                slopes = _slopes(fields.probe, unshifted)
    return Fields(by_object, by_probe, by_background), slopes, loss, absolute


def _slopes(probe: tf.Tensor, unshifted: tf.Tensor) -> tf.Tensor:
    """dL/d position (frame, 2): ``2 Re sum conj(dL/dP*) dP/d position``, summed in Fourier space (Parseval)."""
    size = tf.shape(probe)[-1]
    real = probe.dtype.real_dtype
    frequencies = fft_frequencies(size, real) * (2 * math.pi)
    # conj(g) * (-i w) P: its real part is w Im(conj(g) P)
    product = tf.reduce_sum(tf.math.imag(tf.math.conj(unshifted) * tf.signal.fft2d(probe)), 1)
    rows = tf.reduce_sum(tf.reduce_sum(product, 2) * frequencies, 1)
    columns = tf.reduce_sum(tf.reduce_sum(product, 1) * frequencies, 1)
    return tf.stack([rows, columns], 1) * (2 / tf.cast(size, real) ** 2)


@compiled
def _seen(transmission: tf.Tensor, windows: Windows, size: tf.Tensor) -> tf.Tensor:
    """Sum over the frames of what is in their windows: real (N, N)."""
    return tf.reduce_sum(gather(transmission, windows, size), 0)


def _complex(real: tf.Tensor) -> tf.Tensor:
    """A real tensor as a complex one of the same precision."""
    return tf.complex(real, tf.zeros_like(real))


def _flat(field: tf.Tensor) -> tf.Tensor:
    """Real and imaginary parts of a complex field, one after the other for each pixel: real vector."""
    return tf.reshape(tf.bitcast(field, field.dtype.real_dtype), [-1])


def _field(vector: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """The inverse of `_flat`, in the shape of ``like``."""
    return tf.bitcast(tf.reshape(vector, [*like.shape, 2]), like.dtype)
