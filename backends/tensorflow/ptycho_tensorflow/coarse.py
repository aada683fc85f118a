"""A coarse start: the middle half of the detector shows the same object at half the resolution, four times cheaper.

Smooth phase, which converges slowest, is found there first; object and probe are then brought to full resolution by padding
their Fourier transforms with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho_tensorflow.compiled import compiled
from ptycho_tensorflow.propagation import Model, fft2_ortho, ifft2_ortho

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ptycho_tensorflow.frames import Frames

__all__ = ["CoarseFrames", "coarse_model", "fine_model"]


def _crop_spectrum(spectrum: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """The lowest frequencies of an FFT-ordered (mode, n, m) array as (mode, rows, columns)."""
    centred = tf.signal.fftshift(spectrum, axes=(-2, -1))
    top = centred.shape[-2] // 2 - rows // 2
    left = centred.shape[-1] // 2 - columns // 2
    return tf.signal.ifftshift(centred[:, top : top + rows, left : left + columns], axes=(-2, -1))


def _pad_spectrum(spectrum: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """The adjoint of `_crop_spectrum`."""
    centred = tf.signal.fftshift(spectrum, axes=(-2, -1))
    top = rows // 2 - centred.shape[-2] // 2
    left = columns // 2 - centred.shape[-1] // 2
    below, beside = rows - top - centred.shape[-2], columns - left - centred.shape[-1]
    return tf.signal.ifftshift(tf.pad(centred, [[0, 0], [top, below], [left, beside]]), axes=(-2, -1))


class CoarseFrames:
    """The middle half of every frame, with the attributes and the amplitudes of `frames.Frames`."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self.number, self.size = frames.number, frames.size // 2
        keep = np.fft.ifftshift(np.arange(self.size)) - self.size // 2
        self._keep = tf.constant(keep % frames.size)
        self.mask = None if frames.mask is None else _middle(frames.mask, self._keep)
        self._amplitudes: tf.Tensor | None = None
        if frames.cached:
            self._amplitudes = _middle(frames.amplitudes(np.arange(frames.number)), self._keep)
        self.amplitude_sums = frames.inner_amplitude_sums

    def amplitudes(self, frames: npt.NDArray[np.int64]) -> tf.Tensor:
        """Real (len(frames), N / 2, N / 2) in FFT order."""
        if self._amplitudes is not None:
            return tf.gather(self._amplitudes, tf.constant(frames))
        return _middle(self._frames.amplitudes(frames), self._keep)

    def in_turn(self, batches: Sequence[npt.NDArray[np.int64]]) -> Iterator[tuple[npt.NDArray[np.int64], tf.Tensor]]:
        """Batches of frames, each with its `amplitudes`."""
        if self._amplitudes is not None:
            yield from ((frames, self.amplitudes(frames)) for frames in batches)
            return
        for frames, amplitudes in self._frames.in_turn(batches):
            yield frames, _middle(amplitudes, self._keep)


@compiled
def _middle(fields: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.gather(fields, keep, axis=-2), keep, axis=-1)


def coarse_model(model: Model) -> Model:
    """Object and probe at half the resolution, positions halved; values of the object stay, power of the probe too."""
    size = model.probe.shape[-1] // 2
    probe = ifft2_ortho(_crop_spectrum(fft2_ortho(model.probe), size, size))
    rows, columns = (2 * (length // 2) for length in model.object.shape)
    field = tf.signal.fft2d(model.object[None, :rows, :columns])
    # One row and column more than half: windows at half a pixel may reach beyond the last whole one.
    small = tf.signal.ifft2d(_crop_spectrum(field, rows // 2, columns // 2))[0] / 4
    small = tf.concat([small, small[-1:]], 0)
    small = tf.concat([small, small[:, -1:]], 1)
    return Model(small, probe, model.positions / 2, None)


def fine_model(coarse: Model, fine: Model) -> Model:
    """``fine`` with object and probe taken from ``coarse``."""
    size = fine.probe.shape[-1]
    probe = ifft2_ortho(_pad_spectrum(fft2_ortho(coarse.probe), size, size))
    rows, columns = (2 * (length // 2) for length in fine.object.shape)
    spectrum = tf.signal.fft2d(coarse.object[None, : rows // 2, : columns // 2])
    large = tf.signal.ifft2d(_pad_spectrum(spectrum, rows, columns))[0] * 4
    result = fine.copy()
    wide = tf.concat([large, fine.object[:rows, columns:]], 1)
    result.object = tf.concat([wide, fine.object[rows:]], 0)
    result.probe = probe
    return result
