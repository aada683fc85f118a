"""Operations on single numbers, cells and neighborhoods, and the way back; float64 (batch, channel, row, column)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["convolve", "convolve_back", "fold", "gelu", "gelu_slope", "silu", "silu_slope", "unfold"]


def silu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """``x / (1 + exp(-x))``."""
    with np.errstate(over="ignore"):  # exp(-x) = ∞ gives the right 0
        found: NDArray[np.float64] = x / (1 + np.exp(-x))
    return found


def silu_slope(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The derivative of `silu`: ``s + x s (1 - s)``, ``s = 1 / (1 + exp(-x))``."""
    with np.errstate(over="ignore"):
        s = 1 / (1 + np.exp(-x))
    found: NDArray[np.float64] = s + x * s * (1 - s)
    return found


def gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """``x (1 + tanh t) / 2``, ``t = √(2 / π) (x + 0.044715 x³)``."""
    found: NDArray[np.float64] = x * (1 + np.tanh(_bent(x))) / 2
    return found


def gelu_slope(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The derivative of `gelu`: ``(1 + T) / 2 + x (1 − T²) / 2 · dt/dx``, ``T = tanh t``."""
    level = np.tanh(_bent(x))
    found: NDArray[np.float64] = (1 + level) / 2 + x * (1 - level**2) / 2 * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return found


def _bent(x: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return found


def fold(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the size, four times the channels: channel ``4 c + 2 a + b`` at ``[i, j]`` is channel c at ``[2 i + a, 2 j + b]``."""
    number, depth, rows, columns = x.shape
    cells = x.reshape(number, depth, rows // 2, 2, columns // 2, 2)
    return cells.transpose(0, 1, 3, 5, 2, 4).reshape(number, 4 * depth, rows // 2, columns // 2)


def unfold(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `fold`, which is its adjoint: it only moves numbers."""
    number, depth, rows, columns = x.shape
    cells = x.reshape(number, depth // 4, 2, 2, rows, columns)
    return cells.transpose(0, 1, 4, 2, 5, 3).reshape(number, depth // 4, 2 * rows, 2 * columns)


def convolve(x: NDArray[np.float64], weight: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """Cross-correlation, one place of the kernel after the other, without bias.

    Args:
        x: (batch, in, row, column).
        weight: (out, in, kernel, kernel); with kernel 3 there is one row and column of zeros around.
        stride: step between places.

    Returns:
        (batch, out, row / stride, column / stride).
    """
    padded = _padded(x, weight.shape[-1])
    rows, columns = x.shape[2] // stride, x.shape[3] // stride
    total = np.zeros((len(x), len(weight), rows, columns))
    for a, b in np.ndindex(weight.shape[2:]):
        seen = padded[:, :, a : a + stride * rows : stride, b : b + stride * columns : stride]
        total += np.einsum("oi,gixy->goxy", weight[:, :, a, b], seen, optimize=True)
    return total


def convolve_back(
    x: NDArray[np.float64], weight: NDArray[np.float64], stride: int, slope: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gradients of a loss with respect to ``x`` and ``weight``, given that with respect to the result of `convolve`.

    With ``y[o] = Σ w[o, i, a, b] x[i, at a, b]`` these are ``dx[i, at a, b] += w[o, i, a, b] dy[o]`` and
    ``dw[o, i, a, b] = Σ dy[o] x[i, at a, b]``.
    """
    side = weight.shape[-1]
    padded = _padded(x, side)
    rows, columns = slope.shape[2:]
    of_padded, of_weight = np.zeros_like(padded), np.empty_like(weight)
    for a, b in np.ndindex(side, side):
        place = (slice(None), slice(None), slice(a, a + stride * rows, stride), slice(b, b + stride * columns, stride))
        of_padded[place] += np.einsum("oi,goxy->gixy", weight[:, :, a, b], slope, optimize=True)
        of_weight[:, :, a, b] = np.einsum("goxy,gixy->oi", slope, padded[place], optimize=True)
    margin = _margin(side)
    return of_padded[:, :, margin : margin + x.shape[2], margin : margin + x.shape[3]], of_weight


def _margin(side: int) -> int:
    return 1 if side == 3 else 0


def _padded(x: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    margin = _margin(side)
    return np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
