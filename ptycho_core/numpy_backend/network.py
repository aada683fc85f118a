"""How NumPy holds the weights and pictures of a described network, and its convolutions.

Pictures are (batch, row, column, channel), so that a convolution is one matrix product: channels are what is summed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ChannelsLast", "convolution", "fold", "unfold"]

_AT_ONCE: Final = 1 << 22
"""Bytes of gathered pixels that are multiplied at once: they stay in the cache, and memory does not grow with the batch."""


class ChannelsLast:
    """Weights are (row, column, in, out), pictures channels last; see `ptycho_core.engine.network.Layout`."""

    def native(self, name: str, value: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002 - all are held alike
        """Of (out, in, kernel, kernel), or (out,)."""
        return np.ascontiguousarray(value.transpose(2, 3, 1, 0)) if value.ndim == 4 else value

    def canonical(self, name: str, value: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002
        """The inverse of `native`."""
        return np.ascontiguousarray(value.transpose(3, 2, 0, 1)) if value.ndim == 4 else value

    def weight(self, value: NDArray[Any]) -> NDArray[Any]:
        """Convolutions take native weights."""
        return value

    def enter(self, planes: NDArray[Any]) -> NDArray[Any]:
        """Channels last."""
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))

    def planes(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Channels first."""
        return np.ascontiguousarray(picture.transpose(0, 3, 1, 2))

    def ordered(self, picture: NDArray[Any], layer: str, place: int) -> NDArray[Any]:  # noqa: ARG002
        """Channels come as described."""
        return picture

    def leave(self, channels: NDArray[Any]) -> NDArray[Any]:
        """Channels first."""
        return self.planes(channels)


def convolution(given: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any], stride: int) -> NDArray[Any]:
    """Cross-correlation of pictures; weights of 3 x 3 pad by one, others do not."""
    kernel, channels, gives = weight.shape[0], weight.shape[2], weight.shape[3]
    padding = 1 if kernel == 3 else 0
    rows, columns = ((one + 2 * padding - kernel) // stride + 1 for one in given.shape[1:3])
    found = np.empty((len(given), rows, columns, gives), given.dtype)
    matrix, taken = weight.reshape(-1, gives), kernel * kernel * channels
    at_once = max(1, _AT_ONCE // (rows * columns * taken * given.itemsize))
    for first in range(0, len(given), at_once):
        part = slice(first, first + at_once)
        seen = _neighborhoods(given[part], kernel, stride, padding, (rows, columns))
        np.matmul(seen.reshape(-1, taken), matrix, out=found[part].reshape(-1, gives))
    found += bias
    return found


def _neighborhoods(given: NDArray[Any], kernel: int, stride: int, padding: int, shape: tuple[int, int]) -> NDArray[Any]:
    """What each pixel of the result is made of: (batch, row, column, kernel, kernel, channel)."""
    if kernel == 1 and stride == 1:
        return np.ascontiguousarray(given)
    rows, columns = shape
    if padding:
        given = np.pad(given, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    seen = np.empty((len(given), rows, columns, kernel, kernel, given.shape[3]), given.dtype)
    for row in range(kernel):
        for column in range(kernel):
            seen[:, :, :, row, column] = given[:, row : row + stride * rows : stride, column : column + stride * columns : stride]
    return seen


def fold(given: NDArray[Any]) -> NDArray[Any]:
    """Each 2 x 2 pixels as four channels, those of one channel one after the other."""
    batch, rows, columns, channels = given.shape
    parts = given.reshape(batch, rows // 2, 2, columns // 2, 2, channels)
    return parts.transpose(0, 1, 3, 5, 2, 4).reshape(batch, rows // 2, columns // 2, 4 * channels)


def unfold(given: NDArray[Any]) -> NDArray[Any]:
    """The inverse of `fold`."""
    batch, rows, columns, channels = given.shape
    parts = given.reshape(batch, rows, columns, channels // 4, 2, 2)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(batch, 2 * rows, 2 * columns, channels // 4)
