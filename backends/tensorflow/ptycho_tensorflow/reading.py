"""Patterns of the batches to come, read by ``tf.data`` while a step computes; for scans that do not fit on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ptycho_core.training.course import Batch
    from ptycho_tensorflow.sample import Sample

__all__ = ["ReadAhead"]

BATCHES_AHEAD = 2
"""Batches that are kept read; more only cost memory, since reading is either faster than a step or it is not."""


class ReadAhead:
    """Gives the amplitudes of one batch after the other."""

    def __init__(self, samples: Sequence[Sample], batches: Sequence[Batch]) -> None:
        self._samples, self._batches = samples, batches
        self._failure: BaseException | None = None
        frames = samples[0].frames
        kind = tf.TensorSpec((None, frames.size, frames.size), samples[0].kind.real_dtype)
        data = tf.data.Dataset.from_generator(self._read, output_signature=kind)
        self._left = iter(data.prefetch(BATCHES_AHEAD))

    def next(self) -> tf.Tensor:
        """Real (frame, N, N), the amplitudes of the next batch.

        Raises:
            DataError: they cannot be read.
        """
        try:
            return next(self._left)
        except tf.errors.OpError:
            if self._failure is not None:  # what happened, instead of TensorFlow's account of it
                raise self._failure from None
            raise

    def _read(self) -> Iterator[tf.Tensor]:
        for batch in self._batches:
            try:
                with tf.device("cpu"):
                    amplitudes = self._samples[batch.scan].frames.amplitudes(batch.groups.reshape(-1))
            except BaseException as error:
                self._failure = error
                raise
            yield amplitudes
