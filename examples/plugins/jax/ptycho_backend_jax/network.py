"""How JAX holds the weights and pictures of a described network: channels last, which XLA takes on a processor as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ChannelsLast", "convolution", "fold", "unfold"]


class ChannelsLast:
    """Weights are (row, column, in, out), pictures channels last; see `ptycho_core.engine.Layout`."""

    def native(self, name: str, value: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002 - all are held alike
        """Of (out, in, kernel, kernel), or (out,)."""
        return np.ascontiguousarray(value.transpose(2, 3, 1, 0)) if value.ndim == 4 else value

    def canonical(self, name: str, value: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002
        """The inverse of `native`."""
        return np.ascontiguousarray(value.transpose(3, 2, 0, 1)) if value.ndim == 4 else value

    def weight(self, value: jax.Array) -> jax.Array:
        """Convolutions take native weights."""
        return value

    def enter(self, planes: jax.Array) -> jax.Array:
        """Channels last."""
        return jnp.transpose(planes, (0, 2, 3, 1))

    def planes(self, picture: jax.Array) -> jax.Array:
        """Channels first."""
        return jnp.transpose(picture, (0, 3, 1, 2))

    def ordered(self, picture: jax.Array, layer: str, place: int) -> jax.Array:  # noqa: ARG002
        """Channels come as described."""
        return picture

    def leave(self, channels: jax.Array) -> jax.Array:
        """Channels first."""
        return self.planes(channels)


def convolution(given: jax.Array, weight: jax.Array, bias: jax.Array, stride: int) -> jax.Array:
    """Cross-correlation of pictures; weights of 3 x 3 pad by one, others do not. "highest": no shorter numbers inside."""
    padding = [(1, 1), (1, 1)] if weight.shape[0] == 3 else "VALID"
    axes = ("NHWC", "HWIO", "NHWC")
    found = jax.lax.conv_general_dilated(given, weight, (stride, stride), padding, dimension_numbers=axes, precision="highest")
    return found + bias


def fold(given: jax.Array) -> jax.Array:
    """Each 2 x 2 pixels as four channels, those of one channel one after the other."""
    batch, rows, columns, channels = given.shape
    parts = given.reshape(batch, rows // 2, 2, columns // 2, 2, channels)
    return parts.transpose(0, 1, 3, 5, 2, 4).reshape(batch, rows // 2, columns // 2, 4 * channels)


def unfold(given: jax.Array) -> jax.Array:
    """The inverse of `fold`."""
    batch, rows, columns, channels = given.shape
    parts = given.reshape(batch, rows, columns, channels // 4, 2, 2)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(batch, 2 * rows, 2 * columns, channels // 4)
