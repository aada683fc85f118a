"""Far-field propagation of probe times object, for batches of scan positions.

Fields are complex tensors with the zero frequency of the detector at ``[0, 0]`` (the order of the FFT); frames are
brought into that order once, on reading.  Model of one frame with its window's ``[0, 0]`` corner at ``position``:

``psi_m = shift(P_m, position - floor(position)) * O[window]``,  ``I = sum_m |FFT2_ortho(psi_m)|^2 + background``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

__all__ = [
    "Model",
    "Propagated",
    "Windows",
    "fft2_ortho",
    "fft_frequencies",
    "gather",
    "ifft2_ortho",
    "mode_sum",
    "propagate",
    "scatter_add",
    "shift_ramps",
    "shifted_probe",
    "squared_modulus",
    "windows_at",
]


@dataclass
class Model:
    """What is reconstructed.

    Attributes:
        object: complex (rows, columns).
        probe: complex (mode, N, N); its squared modulus sums to the mean counts of a pattern of an empty object.
        positions: float64 NumPy (frame, 2), row and column of the window's ``[0, 0]`` corner, in object pixels.
        background: real (1, 1) or (N, N) counts a pixel in FFT order, or None for none.
    """

    object: tf.Tensor
    probe: tf.Tensor
    positions: npt.NDArray[np.float64]
    background: tf.Tensor | None = None

    def copy(self) -> Model:
        """A copy whose parts can be replaced; tensors never change, so they are shared."""
        return Model(self.object, self.probe, self.positions.copy(), self.background)

    def is_finite(self) -> bool:
        """Whether object, probe and positions hold finite numbers only."""
        finite = bool(np.isfinite(self.object.numpy()).all()) and bool(np.isfinite(self.probe.numpy()).all())
        return finite and bool(np.isfinite(self.positions).all())


class Windows(NamedTuple):
    """The places of a batch of windows.

    Attributes:
        corners: int64 (frame, 2), whole-pixel row and column of every window's corner.
        remainders: real (frame, 2), what is left of the position, or None where all are zero.
    """

    corners: tf.Tensor
    remainders: tf.Tensor | None


def windows_at(
    positions: npt.NDArray[np.float64],
    like: tf.Tensor,
    *,
    whole: npt.NDArray[np.float64] | None = None,
    with_remainders: bool = False,
) -> Windows:
    """Windows of (frame, 2) ``positions`` in the object ``like``.

    ``whole`` fixes the corners (frame, 2) instead of rounding down, so that positions can move smoothly;
    ``with_remainders`` gives remainders even where all are zero.
    """
    if whole is None:
        whole = np.floor(positions)
    rest = positions - whole
    remainders = None
    if with_remainders or rest.any():
        remainders = tf.constant(rest, dtype=like.dtype.real_dtype)
    return Windows(tf.constant(whole.astype(np.int64)), remainders)


def gather(canvas: tf.Tensor, windows: Windows, size: int | tf.Tensor) -> tf.Tensor:
    """Cut (frame, N, N) windows out of a (rows, columns) canvas."""
    flat = _flat_indices(windows, size, tf.shape(canvas)[1])

    def cut(values: tf.Tensor) -> tuple[tf.Tensor, object]:
        # Without a gradient of its own TensorFlow would keep the indices and sum them up later, far more slowly.
        return _taken(values, flat), lambda upstream: _summed(upstream, flat, tf.shape(values))

    return tf.custom_gradient(cut)(canvas)


def scatter_add(canvas: tf.Tensor, patches: tf.Tensor, windows: Windows) -> tf.Tensor:
    """The canvas with (frame, N, N) patches added to their windows; the adjoint of `gather`.

    On the CPU frames are added in order, so that the sum is the same in every run.  On CUDA it is where determinism is asked
    for; else sums there differ in the last digits from run to run.
    """
    flat = _flat_indices(windows, tf.shape(patches)[-1], tf.shape(canvas)[1])

    def add(values: tf.Tensor) -> tuple[tf.Tensor, object]:
        return _summed(values, flat, tf.shape(canvas)), lambda upstream: _taken(upstream, flat)

    return canvas + tf.custom_gradient(add)(patches)


def _flat_indices(windows: Windows, size: int | tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """int64 (frame, N, N), flat indices into the canvas."""
    steps = tf.range(tf.cast(size, tf.int64), dtype=tf.int64)
    rows = (windows.corners[:, 0, None] + steps) * tf.cast(columns, tf.int64)
    return rows[:, :, None] + (windows.corners[:, 1, None] + steps)[:, None, :]


def _taken(canvas: tf.Tensor, flat: tf.Tensor) -> tf.Tensor:
    # On a CPU nearly twice as fast as `tf.gather`, which copies each single number as if it were a row.
    return tf.gather_nd(tf.reshape(canvas, [-1]), flat[..., None])


def _summed(patches: tf.Tensor, flat: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.math.unsorted_segment_sum(patches, flat, tf.reduce_prod(shape)), shape)


def fft2_ortho(field: tf.Tensor) -> tf.Tensor:
    """Orthonormal transform of (..., N, N); TensorFlow's own has no factor."""
    return tf.signal.fft2d(field) * tf.cast(1 / tf.cast(tf.shape(field)[-1], tf.float64), field.dtype)


def ifft2_ortho(field: tf.Tensor) -> tf.Tensor:
    """Inverse of `fft2_ortho`; TensorFlow's own divides by N²."""
    return tf.signal.ifft2d(field) * tf.cast(tf.shape(field)[-1], field.dtype)


def fft_frequencies(size: int | tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Real (N,), cycles a pixel in the order of the FFT; for even N the Nyquist frequency is -1/2."""
    size = tf.cast(size, tf.int64)
    steps = tf.range(size, dtype=tf.int64)
    wrapped = tf.where(steps < (size + 1) // 2, steps, steps - size)
    return tf.cast(wrapped / size, dtype)


def shift_ramps(remainders: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
    """Fourier factors, complex (frame, 1, N, N), that move a field by (row, column) remainders (frame, 2).

    ``exp(-2 pi i (f_row d_row + f_col d_col))``, the shift theorem.
    """
    angles = -2 * math.pi * remainders[:, :, None] * fft_frequencies(size, remainders.dtype)
    ramps = tf.complex(tf.cos(angles), tf.sin(angles))
    # As a matrix product: several times faster than a product with two broadcasts.
    return tf.linalg.matmul(ramps[:, 0, :, None], ramps[:, 1, None, :])[:, None]


def shifted_probe(probe: tf.Tensor, ramps: tf.Tensor | None) -> tf.Tensor:
    """The probe (mode, N, N) at every frame: (frame, mode, N, N), or (1, mode, N, N) where no ramp is given."""
    if ramps is None:
        return probe[None]
    return tf.signal.ifft2d(tf.signal.fft2d(probe)[None] * ramps)


def squared_modulus(field: tf.Tensor) -> tf.Tensor:
    """``|field|^2`` (faster than through ``abs``, which takes a root)."""
    return tf.square(tf.math.real(field)) + tf.square(tf.math.imag(field))


def mode_sum(field: tf.Tensor) -> tf.Tensor:
    """Sum over modes, the second axis."""
    return tf.reduce_sum(field, 1)


class Propagated(NamedTuple):
    """A batch on its way to the detector.

    Attributes:
        probes: complex (frame, mode, N, N), shifted; (1, mode, N, N) where no frame needs a shift.
        patches: complex (frame, N, N), the object in the windows.
        waves: complex (frame, mode, N, N) at the detector, in the order of the FFT.
        intensity: real (frame, N, N), counts, in the order of the FFT.
    """

    probes: tf.Tensor
    patches: tf.Tensor
    waves: tf.Tensor
    intensity: tf.Tensor


def propagate(
    transmission: tf.Tensor,
    probe: tf.Tensor,
    windows: Windows,
    ramps: tf.Tensor | None,
    background: tf.Tensor | None = None,
) -> Propagated:
    """The forward model of a batch: ``I = sum_m |FFT2_ortho(shift(P_m) O[window])|^2 + background``.

    Differentiable in all tensors.

    Args:
        transmission: the object, complex (rows, columns).
        probe: complex (mode, N, N).
        windows: where the frames are.
        ramps: what `shift_ramps` gives for the remainders, or None where all are zero.
        background: real (N, N) or (1, 1), counts, in the order of the FFT, or None.
    """
    probes = shifted_probe(probe, ramps)
    patches = gather(transmission, windows, tf.shape(probe)[-1])
    waves = fft2_ortho(probes * patches[:, None])
    intensity = mode_sum(squared_modulus(waves))
    return Propagated(probes, patches, waves, intensity if background is None else intensity + background)
